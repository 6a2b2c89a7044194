"""Products as gdal_translate and QGIS read them (Debian: ``gdal-bin``, ``python3-qgis``)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

import tamrf_xr
from tamrf_xr.export.cogs import export_cogs
from tamrf_xr.export.selecting import Selection
from tests.scenes import random_cube

SIZE, BAND, NODATA = 600, 3, -32768
WINDOW = np.s_[77:227, 123:323]

READ = """
import json, os, sys
from qgis.core import QgsApplication, QgsRasterLayer
app = QgsApplication([], False)
app.initQgis()
layer = QgsRasterLayer(sys.argv[1], "product", "gdal")
size, band = int(sys.argv[2]), int(sys.argv[3])
block = layer.dataProvider().block(band, layer.extent(), size, size)
rows = [[None if block.isNoData(i, j) else block.value(i, j) for j in range(size)]
        for i in range(size)]
print(json.dumps({"crs": layer.crs().authid(), "rows": rows}), flush=True)
os._exit(0)
"""
"""QGIS by itself, in Debian's Python; its extent is that of the file."""


def _has_qgis() -> bool:
    python = Path("/usr/bin/python3")
    command = [python, "-c", "import qgis.core"]
    return (
        python.exists()
        and not subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode
    )


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    cube = random_cube((SIZE, SIZE), hr=2, lr=2)
    path, options = folder / "fused.zarr", {"method": "linear", "progress": False}
    tamrf_xr.run_job(cube, path, ["2022-01-10"], layout="gdal", **options)
    export_cogs(path, folder / "cogs", Selection(sensors=("sentinel2",)), progress=False)
    return folder


@pytest.fixture(scope="module")
def pixels(product) -> np.ndarray:
    tree = xr.open_datatree(product / "fused.zarr", engine="zarr", mask_and_scale=False, chunks={})
    return tree["sentinel2"]["reflectance"][0, BAND - 1].values


@pytest.fixture(params=["cog", "zarr"])
def source(request, product) -> tuple[str, int]:
    """What GDAL opens, and the number of the band there."""
    if request.param == "cog":
        return str(product / "cogs/sentinel2_20220110.tif"), BAND
    return f'ZARR:"{product / "fused.zarr"}":/sentinel2/reflectance:0:{BAND - 1}', 1


@pytest.mark.skipif(shutil.which("gdal_translate") is None, reason="needs gdal_translate")
def test_a_window_by_gdal_translate_is_the_store(source, pixels, tmp_path):
    name, band = source
    rows, cols = WINDOW
    sides = cols.stop - cols.start, rows.stop - rows.start
    cut = map(str, (cols.start, rows.start, *sides))
    command = ["gdal_translate", "-q", "-b", str(band), "-srcwin", *cut, name, tmp_path / "cut.tif"]
    subprocess.run(command, check=True)
    with rasterio.open(tmp_path / "cut.tif") as file:
        np.testing.assert_array_equal(file.read(1), pixels[WINDOW])
        assert file.crs.to_epsg() == 32631


@pytest.mark.skipif(not _has_qgis(), reason="needs QGIS in /usr/bin/python3")
def test_qgis_reads_the_store_and_the_overviews_of_a_cog(source, pixels):
    name, band = source
    truth = np.where(pixels == NODATA, np.nan, pixels / 1e4)
    np.testing.assert_allclose(_by_qgis(name, SIZE, band), truth, rtol=0, atol=1e-7)
    if name.endswith(".tif"):
        blocks = truth.reshape(SIZE // 2, 2, SIZE // 2, 2).swapaxes(1, 2).reshape(-1, 4)
        some = np.isfinite(blocks).any(axis=1)
        means = np.full(len(blocks), np.nan)
        means[some] = np.nanmean(blocks[some], axis=1)
        means = means.reshape(SIZE // 2, SIZE // 2)
        np.testing.assert_allclose(_by_qgis(name, SIZE // 2, band), means, rtol=0, atol=5.01e-5)


def _by_qgis(name: str, size: int, band: int) -> np.ndarray:
    asked = ["/usr/bin/python3", "-c", READ, name, str(size), str(band)]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(asked, check=True, capture_output=True, text=True, env=environment)
    found = json.loads(done.stdout)
    assert found["crs"] == "EPSG:32631"
    return np.array(found["rows"], dtype=float)

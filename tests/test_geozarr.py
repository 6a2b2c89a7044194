"""Products and cubes as readers of other makers open them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

import tamrf_xr
from studies.readers import table
from tamrf_xr.cube import grid_of
from tamrf_xr.errors import OptionError
from tamrf_xr.geozarr import PLACED
from tamrf_xr.scale.damage import verify
from tamrf_xr.scale.job import Execution
from tests.jobs.run import QUERIES, TILE
from tests.laid import run_tiles
from tests.numpy_fusers import blur_spec
from tests.scenes import random_cube


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Path:
    """The same cube and product, in both layouts; 36 x 45 pixels, tiles that do not divide it."""
    folder = tmp_path_factory.mktemp("stores")
    cube = random_cube((36, 45), nan=0.05)
    for layout in ("sharded", "gdal"):
        tamrf_xr.save_cube(cube, folder / f"cube-{layout}", layout=layout)
        how = Execution(workers=2, progress=False, layout=layout)
        out = folder / f"product-{layout}"
        run_tiles(cube, out, blur_spec(), QUERIES, tile=TILE, how=how)
    return folder


@pytest.mark.parametrize("kind", ["cube", "product"])
def test_both_layouts_hold_the_same(kind, stores):
    one, other = (tamrf_xr.open_cube(stores / f"{kind}-{name}") for name in ("sharded", "gdal"))
    for name in ("sentinel2", "landsat"):
        xr.testing.assert_identical(one[name].to_dataset(), other[name].to_dataset())
    for name in ("sharded", "gdal"):
        assert verify(stores / f"{kind}-{name}", deep=True).ok


@pytest.mark.parametrize("kind", ["cube", "product"])
@pytest.mark.parametrize("sensor", ["sentinel2", "landsat"])
def test_gdal_reads_each_date_and_band_where_they_lie(kind, sensor, stores):
    store = stores / f"{kind}-gdal"
    group = tamrf_xr.open_cube(store)[sensor].to_dataset()
    grid, truth = grid_of(group), group["reflectance"]
    for date, band in np.ndindex(truth.shape[:2]):
        with rasterio.open(f'ZARR:"{store}":/{sensor}/reflectance:{date}:{band}') as file:
            assert file.crs == grid.crs
            assert file.transform == grid.transform
            assert file.nodata == -32768
            read = file.read(1, masked=True).astype(np.float32).filled(np.nan)
            values = read * np.float32(file.scales[0])
        np.testing.assert_allclose(values, truth[date, band].values, rtol=1e-6)


def test_groups_say_where_they_lie_and_parts_of_them_do_not(stores):
    for layout, name in (("sharded", "zarr.json"), ("gdal", ".zattrs")):
        document = json.loads((stores / f"product-{layout}" / "sentinel2" / name).read_text())
        attrs = document.get("attributes", document)
        assert attrs["proj:code"] == "EPSG:32631"
        assert attrs["spatial:transform"] == [10.0, 0.0, 500000.0, 0.0, -10.0, 5000010.0]
        assert attrs["spatial:bbox"] == [500000.0, 4999650.0, 500450.0, 5000010.0]
        assert attrs["spatial:shape"] == [36, 45]
        group = tamrf_xr.open_cube(stores / f"product-{layout}")["sentinel2"]
        assert not set(PLACED) & set(group.attrs)
        assert "_CRS" not in group["reflectance"].attrs


def test_job_goes_on_only_in_its_own_layout(stores):
    cube = random_cube((36, 45), nan=0.05)
    for layout, found in (("gdal", 12), ("sharded", 0)):
        how = Execution(workers=2, progress=False, layout=layout)
        ask = (cube, stores / "product-gdal", blur_spec(), QUERIES)
        if found:
            assert run_tiles(*ask, tile=TILE, how=how).found == found
        else:
            with pytest.raises(tamrf_xr.errors.JobError, match="layout: found gdal, asked nothing"):
                run_tiles(*ask, tile=TILE, how=how)


def test_layouts_that_do_not_exist_are_named(tmp_path):
    for call in (
        lambda: tamrf_xr.save_cube(random_cube((12, 12)), tmp_path / "x", layout="cog"),
        lambda: Execution(layout="cog"),
    ):
        with pytest.raises(OptionError, match="layout is 'cog'; the layouts are"):
            call()
    assert not list(tmp_path.iterdir())


def test_readers_are_as_the_docs_say(tmp_path):
    docs = (Path(__file__).parents[1] / "docs" / "stores.md").read_text()
    for name, _, *words in table(tmp_path):
        if "not installed" not in words[0]:
            assert f"| {name} |" in docs
            line = next(one for one in docs.splitlines() if one.startswith(f"| {name} |"))
            assert [cell.strip()[:7] for cell in line.split("|")[3:-1]] == [w[:7] for w in words]

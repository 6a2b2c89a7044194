"""Products as COGs: numbers of the store, overviews of what is valid, killed and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import spyndex
import zarr
from rio_cogeo.cogeo import cog_validate

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.errors import DateError, JobError, OptionError, OutputExistsError
from tamrf_xr.export import cogs
from tamrf_xr.export.cogs import export_cogs
from tamrf_xr.export.selecting import Selection
from tamrf_xr.indices import Index, _parsed, find_indices, list_indices
from tamrf_xr.sensors import SENSORS
from tests.scenes import random_cube

DATES = ["2022-01-10", "2022-02-01"]
SIZE = 600  # larger than a block of a COG: there are overviews


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Path:
    """A product with holes: fused where it is, with a block and scattered pixels taken out."""
    folder = tmp_path_factory.mktemp("product")
    tamrf_xr.save_cube(random_cube((SIZE, SIZE + 30), hr=2, lr=2), folder / "cube.zarr")
    path = folder / "fused.zarr"
    cube = tamrf_xr.open_cube(folder / "cube.zarr")
    tamrf_xr.run_job(cube, path, DATES, method="linear", progress=False)
    made = tamrf_xr.open_cube(path).load()
    rng = np.random.default_rng(1)
    for name in ("sentinel2/reflectance", "landsat/reflectance", "landsat/surface_temperature"):
        values = made[name].values
        values[..., :70, :90] = np.nan
        values[:, ..., rng.random(values.shape[-2:]) < 0.2] = np.nan
    tamrf_xr.save_cube(made, folder / "holes.zarr")
    return folder / "holes.zarr"


def export(store, out, **what):
    return export_cogs(store, out, Selection(**what), progress=False, workers=2)


@pytest.fixture(scope="module")
def exported(product, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("cogs") / "out"
    report = export(product, out, indices=("NDVI", "SAVI"))
    assert len(report.written) == 8
    return out


@pytest.mark.parametrize("sensor", ["sentinel2", "landsat"])
def test_a_file_is_what_the_store_holds(product, exported, sensor):
    group = zarr.open_group(product, mode="r")[sensor]
    assert isinstance(group, zarr.Group)
    for position, stamp in enumerate(("20220110", "20220201")):
        stored = np.asarray(group["reflectance"][position])
        if sensor == "landsat":
            thermal = np.asarray(group["surface_temperature"][position])
            stored = np.concatenate([stored, thermal[None]])
        with rasterio.open(exported / f"{sensor}_{stamp}.tif") as file:
            np.testing.assert_array_equal(file.read(), stored)
            names = [band.name for band in SENSORS[sensor].all_bands]
            assert list(file.descriptions) == names
            scales = [0.1 if name == "LST" else 1e-4 for name in names]
            assert (list(file.scales), set(file.offsets)) == (scales, {0.0})
            assert file.nodata == -32768
            assert file.crs.to_epsg() == 32631
            assert file.bounds == rasterio.coords.BoundingBox(500000, 4994010, 506300, 5000010)
            waves = [float(file.tags(i, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]) for i in (1, 2)]
            assert waves == [band.center_wavelength for band in SENSORS[sensor].bands[:2]]


def test_every_file_is_a_valid_cog(exported):
    for path in exported.iterdir():
        valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
        assert (valid, errors, warnings) == (True, [], []), path


def test_an_overview_is_the_mean_of_what_is_valid(exported):
    with rasterio.open(exported / "sentinel2_20220110.tif") as file:
        full = file.read(masked=True).astype(float)
    with rasterio.open(exported / "sentinel2_20220110.tif", overview_level=0) as file:
        seen = file.read(masked=True)
    quads = full.reshape(full.shape[0], SIZE // 2, 2, -1, 2).mean(axis=(2, 4))
    assert seen.shape == quads.shape
    np.testing.assert_array_equal(np.ma.getmaskarray(seen), np.ma.getmaskarray(quads))
    assert 0 < np.ma.getmaskarray(quads).mean() < 0.1
    # Stored as integers: half a unit at most.
    assert np.abs(seen.astype(float) - quads).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("sensor", ["sentinel2", "landsat"])
def test_indices_are_those_of_spyndex(product, exported, sensor):
    red, nir = {"sentinel2": ("B04", "B08"), "landsat": ("B04", "B05")}[sensor]
    image = tamrf_xr.open_cube(product)[f"{sensor}/reflectance"].isel(time=1)
    given = {"N": image.sel(band=nir).values, "R": image.sel(band=red).values, "L": 1.0}
    with rasterio.open(exported / f"{sensor}_20220201_indices.tif") as file:
        assert file.descriptions == ("NDVI", "SAVI")
        assert np.isnan(file.nodata)
        for number, name in enumerate(file.descriptions, 1):
            expected = spyndex.computeIndex(name, given)
            np.testing.assert_allclose(file.read(number), expected, rtol=2e-5, atol=1e-6)
        told = json.loads(json.loads(file.tags()["TAMRF_XR"])["indices"])
    assert told["NDVI"] == f"(N-R)/(N+R) where N is {nir}, R is {red}"


def test_every_index_of_the_table_computes_as_spyndex_does_or_says_why_not():
    rng = np.random.default_rng(0)
    computed = dict.fromkeys(SENSORS, 0)
    for name, found in list_indices().items():
        for sensor, index in found.items():
            if isinstance(index, str):
                assert index
                continue
            bands = {b: rng.uniform(0.05, 0.6, (3, 4)) for b in index.bands.values()}
            given = {key: bands[band] for key, band in index.bands.items()} | dict(index.constants)
            with np.errstate(all="ignore"):
                expected = spyndex.computeIndex(name, given)
            where = np.isfinite(expected)
            made = index.compute(bands)
            np.testing.assert_allclose(made[where], expected[where], rtol=1e-5, err_msg=name)
            assert np.isnan(made[~where]).all()
            computed[sensor] += 1
    assert computed["sentinel2"] > 200
    assert computed["landsat"] > 150


@pytest.mark.parametrize(
    "formula",
    [
        *("__import__('os').system('true')", "N.real", "N if R else B", "[N]", "N@R", "'a'"),
        *("lambda: N", "N[0]", "True", "N+", "(" * 300 + "N" + ")" * 300, "1j*N", "N<R"),
    ],
)
def test_an_expression_holds_arithmetic_and_nothing_else(formula):
    with pytest.raises(OptionError, match="the expression"):
        _parsed(formula)


def test_no_value_and_no_data_are_nan():
    index = find_indices(["NDVI"], "sentinel2", ["B04", "B08"])["NDVI"]
    assert isinstance(index, Index)
    red = np.array([0.0, np.nan, 0.1, -0.3], np.float32)
    nir = np.array([0.0, 0.1, 0.3, 0.3], np.float32)
    made = index.compute({"B04": red, "B08": nir})
    np.testing.assert_allclose(made, [np.nan, np.nan, 0.5, np.nan], rtol=1e-6)


KILLED = """
import os, signal, sys
import rasterio.shutil
from tamrf_xr.export.cogs import export_cogs
from tamrf_xr.export.selecting import Selection
copy, count = rasterio.shutil.copy, 0
def counted(source, target, **options):
    global count
    count += 1
    copy(source, target, **options)
    if count == 3:
        os.truncate(target, os.path.getsize(target) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
rasterio.shutil.copy = counted
what = Selection(indices=("NDVI", "SAVI"))
export_cogs(sys.argv[1], sys.argv[2], what, workers=1, progress=False)
"""


def test_killed_and_run_again_gives_the_same_bytes_and_redoes_nothing(product, exported, tmp_path):
    out = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(product), str(out)], check=False)
    assert killed.returncode == -signal.SIGKILL
    whole = {path.name: path.stat().st_mtime_ns for path in out.glob("[!.]*")}
    assert len(whole) == 2
    assert len(list(out.iterdir())) == 3
    report = export(product, out, indices=("NDVI", "SAVI"))
    assert {path.name for path in report.found} == set(whole)
    assert len(report.written) == 6
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in exported.iterdir()
    }
    assert all((out / name).stat().st_mtime_ns == time for name, time in whole.items())


FULL = """
import resource, signal, sys
from tamrf_xr.export.cogs import export_cogs
from tamrf_xr.export.selecting import Selection
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
what = Selection(sensors=("sentinel2",))
report = export_cogs(sys.argv[1], sys.argv[2], what, workers=1, progress=False)
print(len(report.written), len(report.failed))
"""


@pytest.mark.parametrize("room", [10**6, 8_000_000])
def test_files_that_do_not_fit_fail_and_leave_nothing(product, tmp_path, room):
    """Not the strips, of 7.56 MB; or these, but not the file of 8.23 MB."""
    words = [sys.executable, "-c", FULL, str(product), str(tmp_path / "out"), str(room)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "2"]
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_not_of_this_export_is_neither_taken_for_it_nor_replaced(product, tmp_path):
    what = {"sensors": ("sentinel2",), "dates": "2022-01-10"}
    export(product, tmp_path, bands=("red",), **what)
    before = (tmp_path / "sentinel2_20220110.tif").read_bytes()
    with pytest.raises(OutputExistsError, match="not of this export"):
        export(product, tmp_path, bands=("red", "nir"), **what)
    assert (tmp_path / "sentinel2_20220110.tif").read_bytes() == before
    how = {"progress": False, "overwrite": True}
    report = export_cogs(product, tmp_path, Selection(bands=("red", "nir"), **what), **how)
    assert len(report.written) == 1
    with rasterio.open(tmp_path / "sentinel2_20220110.tif") as file:
        assert file.descriptions == ("B04", "B08")
    (tmp_path / "sentinel2_20220110.tif").write_text("precious")
    with pytest.raises(OutputExistsError, match="another kind"):
        export_cogs(product, tmp_path, Selection(bands=("red", "nir"), **what), **how)


def test_a_store_that_changed_is_exported_anew(tmp_path):
    store = tmp_path / "cube.zarr"
    tamrf_xr.save_cube(random_cube((30, 30), hr=1, lr=1, seed=1), store)
    export(store, tmp_path / "out")
    tamrf_xr.save_cube(random_cube((30, 30), hr=1, lr=1, seed=2), store, overwrite=True)
    with pytest.raises(OutputExistsError, match="not of this export"):
        export(store, tmp_path / "out")


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ({"bands": ("B99",)}, OptionError, "no band 'B99'.*sentinel2 has B02.*landsat has B01"),
        ({"sensors": ("modis",)}, OptionError, "no sensor 'modis'; there are sentinel2, landsat"),
        ({"dates": "2022-01-11"}, DateError, "no image of 2022-01-11.*it has 2 dates"),
        ({"dates": "2022-03-01/2022-04-01"}, DateError, "no image of 2022-03-01 to 2022-04-02"),
        ({"dates": "2022-04-01/2022-03-01"}, DateError, "end before they begin"),
        ({"bands": ()}, OptionError, "nothing to export"),
        ({"indices": ("NDVY",)}, OptionError, "unknown index 'NDVY'"),
        ({"indices": ("ndv",)}, OptionError, "did you mean .*NDVI"),
        ({"indices": ("EBBI",)}, OptionError, "EBBI cannot be computed: sentinel2 .*landsat "),
        ({"indices": ("NIRvP",)}, OptionError, "has no PAR"),
    ],
)
def test_what_is_not_there_is_told_and_nothing_is_written(product, tmp_path, what, error, words):
    with pytest.raises(error, match=words):
        export(product, tmp_path / "out", **what)
    assert not (tmp_path / "out").exists()


def test_dates_are_chosen_by_day_or_span(product, tmp_path):
    report = export(product, tmp_path / "a", dates="2022-01-11/2022-02-01", bands=("blue",))
    assert sorted(path.name for path in report.written) == [
        "landsat_20220201.tif",
        "sentinel2_20220201.tif",
    ]
    with rasterio.open(report.written[0]) as file:
        assert file.descriptions == ("B02",)


def test_an_unfinished_product_is_refused(product, tmp_path):
    cube = tamrf_xr.open_cube(product.parent / "cube.zarr").tamrf.clip()
    store = tmp_path / "f.zarr"
    tamrf_xr.run_job(cube, store, DATES, method="linear", tile=300, progress=False)
    next((store / ".tamrf_job" / "done").iterdir()).unlink()
    with pytest.raises(JobError, match="not finished"):
        export(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_fails_is_told_and_the_others_are_written(product, tmp_path, monkeypatch):
    def broken(image, bands, rows):
        if np.datetime64(image["time"].values) < np.datetime64("2022-02-01"):
            raise OSError("chunk 3 is damaged")
        return packed(image, bands, rows)

    packed = cogs._packed
    monkeypatch.setattr(cogs, "_packed", broken)
    report = export(product, tmp_path, sensors=("sentinel2",))
    assert [path.name for path in report.written] == ["sentinel2_20220201.tif"]
    assert {path.name: str(error) for path, error in report.failed.items()} == {
        "sentinel2_20220110.tif": "chunk 3 is damaged"
    }
    assert [path.name for path in tmp_path.iterdir()] == ["sentinel2_20220201.tif"]


def test_the_command_exports_lists_and_tells(product, tmp_path, capsys):
    words = ["export", "cog", str(product), str(tmp_path / "c"), "--bands", "none", "--quiet"]
    words += ["--indices", "NDREI", "--dates", "2022-01-10"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "landsat is without NDREI: Landsat-8/9 has no RE1" in said
    assert "1 written, 0 there, 0 failed" in said
    assert os.listdir(tmp_path / "c") == ["sentinel2_20220110_indices.tif"]
    assert main(["export", "indices", "NDVI"]) == 0
    assert "landsat: (N-R)/(N+R) where N is B05, R is B04" in capsys.readouterr().out
    assert main([*words[:3], str(product), "--quiet"]) == 1
    assert "is, or lies in, the input" in capsys.readouterr().err

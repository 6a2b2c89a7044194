"""A tile whose pixels cannot be reflectance or temperature fails; what is clipped is counted."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tamrf_xr import plausible
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import CubeError, TileError
from tamrf_xr.fuser import Packing, Series
from tamrf_xr.fusion import fuse, run_job
from tamrf_xr.scale.guard import check_plausible
from tamrf_xr.sensors import SENTINEL2, THERMAL
from tests.scenes import random_cube, rechunked

QUIET = {"method": "linear", "progress": False}


def scaled(cube, sensor, variable, factor, place=slice(None)):
    """The cube with values of one variable times `factor` in some rows."""
    groups = groups_of(cube)
    values = groups[sensor][variable].copy(deep=True)
    values[..., place, :] *= factor
    groups[sensor] = groups[sensor].assign({variable: values})
    return build_cube(groups)


CASES = [
    ("sentinel2", "reflectance", 1e4, "expected reflectance 0..1"),
    ("sentinel2", "reflectance", -1.0, "expected reflectance 0..1"),
    ("landsat", "reflectance", 100.0, "expected reflectance 0..1"),
    ("landsat", "surface_temperature", 0.1, "expected temperature in kelvin"),
    ("landsat", "surface_temperature", 10.0, "expected temperature in kelvin"),
]


@pytest.mark.parametrize(("sensor", "variable", "factor", "words"), CASES)
def test_a_tile_of_other_units_fails(sensor, variable, factor, words):
    cube = scaled(random_cube(), sensor, variable, factor)
    with pytest.raises(CubeError, match=rf"/{sensor}: .*{words}"):
        fuse(cube, "2022-01-20", method="linear")
    # Lazy values of a cube of ours are believed at the door.
    lazy = rechunked(cube, time=1, band=10, y=18, x=18)
    fused = fuse(lazy, "2022-01-20", method="linear")
    with pytest.raises(
        TileError, match=rf"/{sensor}/{variable} of valid pixels: .*{words}.*scaling"
    ):
        fused.load()


def test_one_date_of_other_units_fails():
    groups = groups_of(random_cube((48, 48), hr=40))
    pixels = groups["sentinel2"]["reflectance"].copy(deep=True)
    pixels[17] *= 1e4
    groups["sentinel2"] = groups["sentinel2"].assign(reflectance=pixels).chunk()
    fused = fuse(build_cube(groups), "2022-01-20", method="linear", window=None)
    with pytest.raises(TileError, match=r"median .* at acquisition 17 of the 40 that were read"):
        fused.load()


@pytest.mark.filterwarnings("ignore::tamrf_xr.errors.RereadWarning")
def test_only_the_tiles_that_are_wrong_fail_and_tell_their_bounds(tmp_path):
    cube = scaled(random_cube((48, 48)), "sentinel2", "reflectance", 1e4, slice(24, 48))
    cube = rechunked(cube, time=4, band=10, y=24, x=24)
    done = run_job(cube, tmp_path / "out.zarr", "2022-01-20", tile=24, **QUIET)
    assert (done.done, len(done.failed)) == (2, 2)
    assert {tile.index for tile in done.failed} == {(1, 0), (1, 1)}
    first = str(min(done.failed, key=lambda tile: tile.index))
    assert "bounds 500000, 4999530, 500240, 4999770" in first
    assert "as_cube(..., scaling=...)" in first


def test_pixels_that_are_not_valid_are_not_judged():
    cube = random_cube()
    groups = groups_of(cube)
    seen = groups["sentinel2"]["valid"]
    pixels = groups["sentinel2"]["reflectance"].where(seen, -9999.0)
    groups["sentinel2"] = groups["sentinel2"].assign(reflectance=pixels)
    fuse(build_cube(groups), "2022-01-20", method="linear").load()


@pytest.mark.parametrize("value", [-0.02, 0.0, 0.9, 1.3])
def test_water_and_clouds_pass(value):
    pixels = np.full((2, 10, 40, 40), value, np.float32)
    check_plausible({"sentinel2": Series(pixels, np.ones((2, 40, 40), bool), SENTINEL2.band_names)})


@pytest.mark.parametrize("value", [2000, 20000])
def test_integers_are_scaled_before_they_are_judged(value):
    pixels = np.full((2, 3, 40, 40), value, np.int16)
    pixels[:, 2] = 2900
    pixels[:, :, ::3] = -32768
    packing = Packing((1e-4, 1e-4, 0.1), -32768)
    series = Series(pixels, np.ones((2, 40, 40), bool), ("B04", "B05", THERMAL), packing)
    if value == 2000:
        check_plausible({"landsat": series})
        return
    with pytest.raises(CubeError, match="median 2, expected reflectance"):
        check_plausible({"landsat": series})


def test_the_guard_looks_at_few_values_whatever_the_tile(monkeypatch):
    looked = []
    monkeypatch.setattr(plausible, "question", lambda sample, **_: looked.append(sample.size) or "")
    pixels = np.broadcast_to(np.float32(0.2), (100, 10, 1000, 1000))
    valid = np.broadcast_to(np.True_, (100, 1000, 1000))
    check_plausible({"sentinel2": Series(pixels, valid, SENTINEL2.band_names)})
    assert 10_000 < sum(looked) < 1_000_000


def test_values_that_int16_does_not_hold_are_counted(tmp_path):
    groups = groups_of(random_cube((12, 12), hr=2, lr=2))
    pixels = groups["sentinel2"]["reflectance"].copy(deep=True)
    pixels[:, 0, 3, :7] = 3.5
    everywhere = xr.ones_like(groups["sentinel2"]["valid"])
    groups["sentinel2"] = groups["sentinel2"].assign(reflectance=pixels, valid=everywhere)
    dates = pd.DatetimeIndex(["2022-01-05", "2022-01-08", "2022-01-10"])
    done = run_job(build_cube(groups), tmp_path / "out.zarr", dates, **QUIET)
    assert done.clipped == 3 * 7
    assert "21 values clipped to what int16 holds" in str(done)
    usual = run_job(random_cube((12, 12)), tmp_path / "usual.zarr", dates, **QUIET)
    assert (usual.clipped, "clipped" in str(usual)) == (0, False)


def test_lazy_digital_numbers_do_not_reach_a_store(tmp_path):
    groups = groups_of(random_cube((12, 12)))
    numbers = da.full(
        groups["sentinel2"]["reflectance"].shape, np.float32(3000), chunks=(1, 1, 6, 6)
    )
    groups["sentinel2"]["reflectance"].data = numbers
    done = run_job(build_cube(groups), tmp_path / "out.zarr", "2022-01-05", **QUIET)
    assert len(done.failed) == done.tiles
    assert "median 3000" in done.failed[0].error


def test_a_window_without_a_date_of_one_sensor_is_no_fault():
    cube = random_cube((12, 12), hr=4, lr=2, seed=2)
    landsat = cube["landsat"].to_dataset()
    years_later = landsat.assign_coords(time=landsat["time"] + np.timedelta64(800, "D"))
    far = build_cube({"sentinel2": cube["sentinel2"].to_dataset(), "landsat": years_later})
    made = far.tamrf.fuse(["2022-01-20"], method="linear")
    alone = build_cube({"sentinel2": cube["sentinel2"].to_dataset()})
    wanted = alone.tamrf.fuse(["2022-01-20"], method="linear")["sentinel2/reflectance"]
    np.testing.assert_array_equal(made["sentinel2/reflectance"], wanted)
    assert made["landsat/reflectance"].isnull().all()

"""What is corrected: by the kernel, once, wherever a chunk ends, and holes stay holes."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.coregistration.correcting import LEAST_PX
from tamrf_xr.coregistration.moving import moved, moved_mask, reach
from tamrf_xr.coregistration.table import tabulate
from tamrf_xr.cube import build_backscatter, build_cube, grid_of, groups_of
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.sensors import SENSORS
from tests.coregistration.test_finding import still, waves
from tests.scenes import random_cube


def everywhere(shape, by):
    return np.full(shape, by[0]), np.full(shape, by[1])


@pytest.mark.parametrize("by", [(0.5, 0.0), (-0.3, 0.8), (1.2, -1.4)])
def test_a_band_limited_image_is_moved_back(by):
    image = waves((60, 60), shift=by)
    back = moved(image, np.ones(image.shape, bool), everywhere(image.shape, by))
    inner = np.s_[8:-8, 8:-8]
    contrast = waves((60, 60)).std()
    assert np.abs(back - waves((60, 60)))[inner].max() < 0.03 * contrast
    assert np.abs(image - waves((60, 60)))[inner].max() > 0.3 * contrast


def test_moving_by_nothing_or_whole_pixels_changes_no_bit():
    image = np.random.default_rng(0).random((3, 20, 20), dtype=np.float32)
    there = np.ones(image.shape, bool)
    assert (moved(image, there, everywhere((20, 20), (0.0, 0.0))) == image).all()
    found = moved(image, there, everywhere((20, 20), (2.0, -1.0)))
    assert (found[:, :-2, 1:] == image[:, 2:, :-1]).all()
    assert np.isnan(found[:, -2:]).all()
    assert np.isnan(found[:, :, 0]).all()


@pytest.mark.parametrize("by", [(0.3, -0.4), (1.6, 0.7)])
def test_a_hole_keeps_its_size_and_reaches_as_far_as_the_kernel(by):
    rng = np.random.default_rng(1)
    image = rng.random((40, 40), dtype=np.float32)
    there = np.ones((40, 40), bool)
    there[15:19, 20:25] = False
    whole = moved(image, np.ones_like(there), everywhere((40, 40), by))
    holed = moved(np.where(there, image, np.nan), there, everywhere((40, 40), by))
    lost = np.isnan(holed) & ~np.isnan(whole)
    assert lost.sum() == 20
    assert (moved_mask(there, everywhere((40, 40), by)) == np.isfinite(holed)).all()
    far = np.ones((40, 40), bool)
    near = reach(max(map(abs, by)))
    far[15 - near : 19 + near, 20 - near : 25 + near] = False
    np.testing.assert_allclose(holed[far], whole[far], rtol=1e-6)
    assert np.nanmax(np.abs(holed)) < 2  # normalised, not run away


def test_a_constant_stays_constant_beside_holes():
    there = np.random.default_rng(2).random((40, 40)) < 0.7
    by = everywhere((40, 40), (0.45, -0.55))
    found = moved(np.full((40, 40), 0.3, np.float32), there, by)
    np.testing.assert_allclose(found[np.isfinite(found)], 0.3, rtol=1e-5)


def of_shifts(cube, *, blocks=2, seed=0, most=12.0):
    """A table of drawn shifts, in metres, all trusted."""
    rng = np.random.default_rng(seed)
    groups = groups_of(cube)
    left, _, right, top = groups["sentinel2"].rio.bounds()
    half = (right - left) / blocks / 2
    found = {}
    for name, group in groups.items():
        drawn = rng.uniform(-most, most, (group.sizes["time"], blocks, blocks, 4))
        drawn[..., :2] /= SENSORS[name].gsd * 4
        drawn[..., :2] += rng.uniform(-1, 1, (len(drawn), 1, 1, 2)) / 2
        drawn[..., 2:] = 0.01, 500
        found[name] = drawn
    places = np.arange(blocks) * 2 * half + half
    return tabulate(
        found,
        times={name: group.indexes["time"] for name, group in groups.items()},
        gsds={name: SENSORS[name].gsd for name in groups},
        centres=(top - places, left + places),
        most_px=1.5,
        attrs={"block_m": 2 * half},
    )


@pytest.fixture(scope="module")
def cube():
    return random_cube((72, 72), hr=4, lr=4, nan=0.02)


def test_a_crop_corrected_is_the_crop_of_the_corrected(cube):
    table = of_shifts(cube)
    whole = cube.tamrf.coregister(shifts=table).tamrf.clip()
    left, bottom, right, top = cube["sentinel2"].to_dataset().rio.bounds()
    bounds = (left + 90, bottom + 120, right - 60, top - 30)
    inner = (left + 240, bottom + 270, right - 210, top - 180)
    part = cube.tamrf.clip(bounds).tamrf.coregister(shifts=table).tamrf.clip(inner)
    for name, group in groups_of(whole.tamrf.clip(inner)).items():
        for variable in group.data_vars:
            np.testing.assert_array_equal(part[name][variable].values, group[variable].values)


def test_chunks_change_no_bit(cube):
    table = of_shifts(cube)
    whole = cube.tamrf.coregister(shifts=table)
    chunked = build_cube(
        {name: group.chunk(time=3, band=2, y=25, x=11) for name, group in groups_of(cube).items()}
    ).tamrf.coregister(shifts=table)
    for name, group in groups_of(whole).items():
        for variable in group.data_vars:
            assert group[variable].chunks is not None  # lazily
            np.testing.assert_array_equal(chunked[name][variable], group[variable])
        moved_too = group["reflectance"].values
        assert not np.array_equal(moved_too, cube[name]["reflectance"], equal_nan=True)


def test_each_pixel_goes_where_the_table_says_between_the_centres_of_blocks():
    cube = still(4, (60, 60))
    found = {"sentinel2": np.zeros((4, 1, 2, 4))}
    found["sentinel2"][..., 2:] = 0.01, 500
    found["sentinel2"][0, 0, :, 1] = 0.0, 0.8
    found["sentinel2"][1, 0, :, 1] = 0.0, -0.8  # so that the mean is 0
    group = cube["sentinel2"].to_dataset()
    left, _, _, top = group.rio.bounds()
    table = tabulate(
        found,
        times={"sentinel2": group.indexes["time"]},
        gsds={"sentinel2": 10.0},
        centres=(np.array([top - 300.0]), np.array([left + 150.0, left + 450.0])),
        most_px=1.5,
        attrs={},
    )
    straight = groups_of(cube.tamrf.coregister(shifts=table))["sentinel2"]
    right = 0.8 * np.clip((np.arange(60) + 0.5 - 15) / 30, 0, 1)
    for place, sign in ((0, 1), (1, -1)):
        image = group["reflectance"].values[place]
        by = np.zeros((60, 60)), np.broadcast_to(sign * right, (60, 60))
        expected = moved(image, np.ones_like(image, bool), by)
        np.testing.assert_allclose(straight["reflectance"][place], expected, atol=1e-6)
    # What does not move keeps its bits.
    np.testing.assert_array_equal(straight["reflectance"][2:], group["reflectance"][2:])


def test_valid_pixels_hold_nothing_of_clouds(cube):
    groups = groups_of(cube)
    clouded = {
        name: group.assign(reflectance=group["reflectance"].where(group["valid"], 100.0))
        for name, group in groups.items()
    }
    straight = build_cube(clouded).tamrf.coregister(shifts=of_shifts(cube))
    for name, group in groups_of(straight).items():
        values = group["reflectance"].where(group["valid"])
        assert float(values.max()) < 2
        there = group["reflectance"].notnull() | ~group["valid"]
        assert there.mean() > 0.97, name  # 2 % of the pixels are missing
        assert 0.6 < float(group["valid"].mean()) < 0.75


def test_temperature_and_panchromatic_move_along_and_place_stays(cube):
    groups = groups_of(cube)
    fine = np.repeat(np.repeat(groups["landsat"]["reflectance"].values[:, 1], 2, -2), 2, -1)
    gsd = 7.5 * np.array([-1, 1])
    axes = {
        "y_15m": (groups["landsat"]["y"].values[:, None] - gsd).ravel(),
        "x_15m": (groups["landsat"]["x"].values[:, None] + gsd).ravel(),
    }
    sharp = xr.DataArray(fine, dims=("time", "y_15m", "x_15m"))
    groups["landsat"] = groups["landsat"].assign(panchromatic=sharp).assign_coords(axes)
    given = build_cube(groups)
    straight = given.tamrf.coregister(shifts=of_shifts(cube))
    tamrf_xr.validate(straight)
    for name, group in groups_of(straight).items():
        for axis in ("y", "x", "time"):
            xr.testing.assert_identical(group[axis], groups[name][axis])
        assert group.rio.crs == groups[name].rio.crs
        assert group["reflectance"].dtype == np.float32
    changed = straight["landsat"].to_dataset()
    for variable in ("surface_temperature", "panchromatic"):
        assert changed[variable].dims == given["landsat"][variable].dims
        assert not np.array_equal(changed[variable], given["landsat"][variable], equal_nan=True)
    inner = changed["panchromatic"].values[:, 6:-6, 6:-6]
    assert 0.9 < np.isfinite(inner).mean() < 1
    assert 250 < float(changed["surface_temperature"].min()) < 320


def test_small_shifts_leave_an_image_as_it_is():
    straight = still().tamrf.coregister()
    given = still()["sentinel2"]["reflectance"].values
    assert LEAST_PX > 0
    assert (straight["sentinel2"]["reflectance"].values == given).all()


def test_what_is_not_known_stays_or_is_masked_and_is_told():
    valid = np.ones((5, 48, 48), bool)
    valid[2] = False
    cube = still(5, valid=valid)
    kept, masked = (cube.tamrf.coregister(mask=mask)["sentinel2"] for mask in (False, True))
    assert "4 of 5 acquisitions found" in kept.attrs["coregistration"]
    assert "others left as they are" in kept.attrs["coregistration"]
    assert "others masked" in masked.attrs["coregistration"]
    np.testing.assert_array_equal(masked["valid"].any(("y", "x")), [True, True, False, True, True])
    bare = cube["sentinel2"].to_dataset().drop_vars("valid")
    bare["reflectance"][2] = np.nan
    made = build_cube({"sentinel2": bare}).tamrf.coregister(mask=True)
    np.testing.assert_array_equal(
        made["sentinel2"]["valid"].all(("y", "x")), masked["valid"].all(("y", "x"))
    )


def test_a_second_time_and_a_table_of_another_cube_are_refused():
    cube = still()
    with pytest.raises(CubeError, match="co-registered already"):
        cube.tamrf.coregister().tamrf.coregister()
    with pytest.raises(CubeError, match="5 acquisitions of sentinel2, the cube 4"):
        cube.tamrf.coregister(shifts=still(5).tamrf.shifts())
    with pytest.raises(OptionError, match="block is of finding shifts"):
        cube.tamrf.coregister(shifts=cube.tamrf.shifts(), block=900)
    with pytest.raises(OptionError, match="shifts is a int"):
        cube.tamrf.coregister(shifts=1)
    with pytest.raises(OptionError, match="mask is 1"):
        cube.tamrf.coregister(mask=1)
    with pytest.raises(OptionError, match="unknown options blocks"):
        cube.tamrf.coregister(blocks=900)
    with pytest.raises(CubeError, match="has no block_y, block_x, dx"):
        cube.tamrf.coregister(shifts=cube)
    with pytest.raises(CubeError, match="has no /sentinel2"):
        cube.tamrf.coregister(shifts=still(sensor="landsat").tamrf.shifts())


def test_a_corrected_scene_has_no_shifts_left(scene, table, capsys, tmp_path):
    source, out = tmp_path / "scene.zarr", tmp_path / "straight.zarr"
    tamrf_xr.save_cube(scene.cube, source)
    assert main(["coregister", str(source), str(out)]) == 0
    assert "/sentinel2: tamrf_xr" in capsys.readouterr().out
    after = tamrf_xr.open_cube(out).tamrf.shifts()
    for name, most in (("sentinel2", 0.7), ("landsat", 2.5)):
        left, had = (
            float(np.sqrt(np.nanmean(one[name]["overall_dx"].values ** 2)))
            for one in (after, table)
        )
        assert left < most < had, name
    assert main(["coregister", str(source), str(out)]) == 1
    assert "exists" in capsys.readouterr().err


def test_without_a_name_the_table_is_printed_and_nothing_written(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tamrf_xr.save_cube(still(), tmp_path / "still.zarr")
    assert main(["coregister", "still.zarr", "--bands", "red", "--block", "1km"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split()[:4] == ["sensor", "time", "dx_m", "dy_m"]
    assert len(shown) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["still.zarr"]


def test_what_a_cube_carries_of_sentinel1_is_left_as_it_is(scene, table):
    grid = grid_of(scene.cube["sentinel2"].to_dataset())
    decibels = np.random.default_rng(0).normal(-11, 2, (2, 1, *grid.shape)).astype("float32")
    times = scene.cube["sentinel2"]["time"].values[:2]
    group = build_backscatter(decibels, times=times, grid=grid, bands=("VV",))
    cube = build_cube(groups_of(scene.cube), beside={"sentinel1": group})
    straight = cube.tamrf.coregister(shifts=table)
    assert "coregistration" in straight["sentinel2"].attrs
    assert straight["sentinel1"].to_dataset().identical(group)

"""Shifts that are known are found, whatever the clouds; what cannot be told is told."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import tamrf_xr
from tamrf_xr.coregistration import as_frame, shifts
from tamrf_xr.coregistration.reference import LEAST_SEEN, Medians, area_means
from tamrf_xr.coregistration.registering import register
from tamrf_xr.cube import build_cube, build_group, groups_of
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.sensors import SENSORS
from tests.scenes import days, grid, random_cube


def waves(shape, *, shift=(0.0, 0.0), seed=0):
    """An image of waves of 5 pixels and longer, moved exactly down and right."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    image = np.zeros(shape)
    for _ in range(60):
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(5, 25)
        along = np.cos(angle) * (y - shift[0]) + np.sin(angle) * (x - shift[1])
        image += np.cos(2 * np.pi * along / length + rng.uniform(0, 2 * np.pi))
    return (0.2 + 0.01 * image).astype(np.float32)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -0.61), (-1.3, 0.05)])
def test_a_translation_is_found_through_gain_noise_and_clouds(shift):
    rng = np.random.default_rng(1)
    reference = np.stack([waves((64, 64), seed=band) for band in (0, 1)])
    image = np.stack([waves((64, 64), seed=band, shift=shift) for band in (0, 1)])
    seen = np.ones((64, 64), bool)
    found = register(image, seen, reference, seen)
    np.testing.assert_allclose(found.shift, shift, atol=0.015)
    worse = 0.8 * image + 0.05 + rng.normal(0, 0.003, image.shape).astype(np.float32)
    worse[:, 10:25, 30:50] += 0.3  # a cloud that no mask tells
    found = register(worse, seen, reference, seen)
    assert np.abs(np.subtract(found.shift, shift)).max() < max(5 * found.error, 0.02)
    assert 0 < found.error < 0.05


def test_pixels_that_a_mask_leaves_out_change_nothing():
    reference, image = waves((48, 48))[None], waves((48, 48), shift=(0.4, 0.2))[None]
    seen, good = np.ones((48, 48), bool), np.ones((48, 48), bool)
    good[:, :20] = False
    spoiled = np.where(good, image, np.float32(7))
    assert register(spoiled, good, reference, seen) == register(image, good, reference, seen)
    hidden = np.ones((48, 48), bool)
    hidden[30:] = False
    found = register(image, good, np.where(hidden, reference, np.float32(0)), hidden)
    np.testing.assert_allclose(found.shift, (0.4, 0.2), atol=0.02)


def test_too_few_pixels_give_no_shift():
    image, good = waves((48, 48))[None], np.zeros((48, 48), bool)
    good[20:32, 20:32] = True
    found = register(image, good, image, np.ones((48, 48), bool))
    assert np.isnan(found.shift).all()
    assert found.pixels == 144


@pytest.mark.parametrize("clear", [0.3, 0.8, 1.0])
def test_medians_are_those_of_numpy_without_the_one_left_out(clear):
    rng = np.random.default_rng(3)
    images = rng.integers(0, 6, (9, 2, 8, 8)).astype(np.float32)  # ties
    good = rng.random((9, 8, 8)) < clear
    medians = Medians(images, good)
    masked = np.where(good[:, None], images, np.nan)
    for place in [None, *range(9)]:
        kept = [t for t in range(9) if t != place]
        found, seen = medians.of_all() if place is None else medians.without(place)
        np.testing.assert_array_equal(seen, good[kept].sum(axis=0) >= LEAST_SEEN)
        expected = np.nanmedian(masked[kept][:, :, seen], axis=0)
        np.testing.assert_allclose(found[:, seen], expected, rtol=1e-6)
        assert not found[:, ~seen].any()


def test_area_means_count_pixels_that_are_clear_throughout():
    images = np.arange(36, dtype=np.float32).reshape(1, 1, 6, 6)
    good = np.ones((1, 6, 6), bool)
    good[0, 0, 5] = False
    means, whole = area_means(images, good, 3)
    assert means[0, 0].tolist() == [[7, 10], [25, 28]]
    assert whole[0].tolist() == [[True, False], [True, True]]


def errors(table, scene):
    """Errors in pixels of each sensor, less the mean of Sentinel-2, which cannot be known."""
    gauge, off = None, {}
    for sensor, true in scene.shifts().items():
        group = table[sensor].to_dataset()
        found = np.stack([group["overall_dx"], group["overall_dy"]])
        drawn = np.stack([true["dx"], true["dy"]])
        known = np.isfinite(found[0])
        if gauge is None:
            gauge = drawn[:, known].mean(axis=1)[:, None]
        off[sensor] = (found - drawn + gauge)[:, known] / SENSORS[sensor].gsd
    return off


def test_a_scene_with_clouds_gives_its_shifts_to_a_tenth_of_a_pixel(scene, table):
    for sensor, off in errors(table, scene).items():
        assert off.shape[1] >= 5, sensor
        assert np.sqrt(np.mean(off**2)) < 0.1, sensor
        drawn = scene.shifts()[sensor]
        assert np.sqrt(np.mean(drawn["dx"] ** 2 + drawn["dy"] ** 2)) > 0.2 * SENSORS[sensor].gsd


def test_it_needs_no_masks(scene):
    bare = build_cube({n: g.drop_vars("valid") for n, g in groups_of(scene.cube).items()})
    off = errors(bare.tamrf.shifts(), scene)
    assert np.sqrt(np.mean(off["sentinel2"] ** 2)) < 0.1
    assert off["sentinel2"].shape[1] >= 6


def test_the_mean_of_sentinel2_is_zero_and_its_overcast_dates_are_told(scene, table):
    group = table["sentinel2"].to_dataset()
    for name in ("overall_dx", "overall_dy"):
        assert abs(float(group[name].mean())) < 0.01
    covered = scene.cube["sentinel2"]["valid"].mean(("y", "x")) < 0.01
    assert covered.any()
    assert not group["trusted"].where(covered, False).any()
    assert np.isnan(group["overall_dx"].values[covered.values]).all()
    rows = as_frame(table)
    assert len(rows) == sum(g.sizes["time"] for g in groups_of(scene.cube).values())
    assert rows["dx_m"].isna().sum() == (rows["blocks"] == 0).sum() > 0


def test_a_store_memory_and_any_chunks_give_the_same(scene, table, tmp_path):
    tamrf_xr.save_cube(scene.cube, tmp_path / "scene.zarr")
    stored = tamrf_xr.open_cube(tmp_path / "scene.zarr")
    near = xr.DataTree.from_dict({n: g.load() for n, g in groups_of(stored).items()})
    chunked = tamrf_xr.open_cube(tmp_path / "scene.zarr", chunks={"y": 60, "x": 60})
    assert all(group.chunks for group in groups_of(chunked).values())
    expected = near.tamrf.shifts(block="480m", bands=["red"])
    for cube in (tamrf_xr.open_cube(tmp_path / "scene.zarr"), chunked):
        found = cube.tamrf.shifts(block=480, bands=["B04"])
        for name in expected.children:
            assert found[name].sizes["block_y"] == found[name].sizes["block_x"] == 2
            xr.testing.assert_equal(found[name].to_dataset(), expected[name].to_dataset())


def still(count=4, size=(48, 48), sensor="sentinel2", *, valid=None):
    """A series of one image, three bands, unmoved."""
    image = np.stack([waves(size, seed=band) for band in (0, 1, 2)])
    images = np.broadcast_to(image, (count, *image.shape)).copy()
    names = ("B03", "B04", "B08") if sensor == "sentinel2" else ("B03", "B04", "B05")
    where = grid(size, gsd=SENSORS[sensor].gsd)
    times = days(count)
    group = build_group(sensor, images, times=times, grid=where, bands=names, valid=valid)
    return build_cube({sensor: group})


@pytest.mark.parametrize("sensor", ["sentinel2", "landsat"])
def test_what_does_not_move_is_found_not_to(sensor):
    group = still(sensor=sensor).tamrf.shifts()[sensor].to_dataset()
    assert group["trusted"].all()
    np.testing.assert_allclose(group["dx"], 0, atol=1e-3)
    np.testing.assert_allclose(group["dy"], 0, atol=1e-3)


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ({"block": "100m"}, OptionError, "block is 100 m: 10 pixels of sentinel2"),
        ({"block": "wide"}, OptionError, "block is 'wide'"),
        ({"block": -5}, OptionError, "block is -5"),
        ({"block": float("nan")}, OptionError, "block is nan"),
        ({"most_px": 0}, OptionError, "most_px is 0"),
        ({"most_px": float("nan")}, OptionError, "most_px is nan"),
        ({"bands": []}, OptionError, "bands are none"),
        ({"bands": ["green", "B11"]}, OptionError, "/sentinel2 has B03, B04, B08"),
        ({"bands": ["red", "B04"]}, OptionError, "each once"),
        ({"bands": 1}, OptionError, "bands is 1"),
        ({"most_px": "x"}, OptionError, "most_px is 'x'"),
        ({"most_px": 9.0}, OptionError, "at most 3"),
        ({"block": True}, OptionError, "block is True"),
    ],
)
def test_options_without_a_meaning_are_refused(how, error, match):
    with pytest.raises(error, match=match):
        still().tamrf.shifts(**how)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(CubeError, match="has 1 acquisitions; expected at least 4"):
        still(1).tamrf.shifts()
    with pytest.raises(CubeError, match=r"9 x 48 pixels \(y, x\); expected at least 15"):
        still(size=(9, 48)).tamrf.shifts()
    apart = np.zeros((4, 48, 48), bool)
    for place in range(4):
        apart[place, 12 * place : 12 * place + 12] = True
    with pytest.raises(CubeError, match="no shift can be told"):
        still(valid=apart).tamrf.shifts()
    with pytest.raises(CubeError, match="not a cube"):
        shifts(xr.DataTree())
    with pytest.raises(CubeError, match="product of fuse already"):
        random_cube((48, 48)).tamrf.fuse("2022-01-20", method="linear").tamrf.shifts()

"""Acquisitions of one day become one image, variable by variable, whatever their order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.cube import FILL, build_cube, build_group, groups_of
from tamrf_xr.fuser import Packing, Series
from tamrf_xr.scale.mosaic import mosaic
from tamrf_xr.scale.reading import source_of
from tamrf_xr.sensors import LANDSAT
from tamrf_xr.store import open_cube, save_cube
from tamrf_xr.tiles import Window
from tests.scenes import grid

SIDE = 6
LANDSAT_BANDS = tuple(band.name for band in LANDSAT.all_bands)
WHOLE = Window(slice(0, SIDE), slice(0, SIDE))
NAN = np.float32(np.nan)


def scene(owners, *, seed=0, hole=0.0):
    """Landsat acquisitions of one day: `owners` (variable, y, x) tells which one covers a pixel."""
    rng = np.random.default_rng(seed)
    count = int(owners.max()) + 1
    covers = owners[:, None] == np.arange(count)[:, None, None]
    truth = np.concatenate(
        [
            rng.integers(0, 9999, (7, SIDE, SIDE)).astype(np.float32) * np.float32(1e-4),
            rng.integers(2800, 3100, (1, SIDE, SIDE)).astype(np.float32) * np.float32(0.1),
        ]
    )
    sharp = rng.random((2 * SIDE, 2 * SIDE), np.float32)
    finer = covers[2].repeat(2, -1).repeat(2, -2)
    return (
        np.where(covers[0][:, None], truth[:7], NAN),
        np.where(covers[1], truth[7], NAN),
        np.where(finer, sharp, NAN),
        truth,
        sharp,
    )


def merged(pixels, thermal, sharp, mask, order):
    order = list(order)
    bands = np.concatenate([pixels, thermal[:, None]], axis=1)[order]
    valid = np.isfinite(bands[:, :-1]).all(axis=1) & mask[order]
    series = Series(bands, valid, LANDSAT_BANDS, None, sharp[order])
    return mosaic(series, [len(order)], mask=mask[order])


owners = st.integers(0, 2**32).map(
    lambda seed: np.random.default_rng(seed).integers(0, 3, (3, SIDE, SIDE))
)


@given(owners, st.permutations(range(3)))
def test_any_order_of_parts_gives_the_whole_in_every_variable(owner, order):
    pixels, thermal, sharp, truth, fine = scene(owner)
    count = len(pixels)
    day = merged(pixels, thermal, sharp, np.ones((count, SIDE, SIDE), bool), order[:count])
    whole = day.pixels[0]
    np.testing.assert_array_equal(whole, truth)
    np.testing.assert_array_equal(day.panchromatic[0], fine)
    assert day.valid.all()


@given(st.integers(0, 2**32), st.permutations(range(3)))
def test_each_variable_is_its_first_clear_one(seed, order):
    rng = np.random.default_rng(seed)
    values = rng.random((3, 3, SIDE, SIDE), np.float32)
    values[rng.random(values.shape) < 0.4] = NAN
    mask = rng.random((3, SIDE, SIDE)) < 0.5
    values[:, 1][~np.isfinite(values[:, 0])] = NAN
    values[:, 0][~np.isfinite(values[:, 1])] = NAN
    order = list(order)
    found = mosaic(
        Series(values[order], (np.isfinite(values[:, 0]) & mask)[order], LANDSAT_BANDS[-3:]),
        [3],
        mask=mask[order],
    )
    for y, x in np.ndindex(SIDE, SIDE):
        there = [i for i in order if np.isfinite(values[i, 0, y, x])]
        valid = [i for i in there if mask[i, y, x]]
        best = (valid or there or [None])[0]
        expected = [NAN, NAN] if best is None else values[best, :2, y, x]
        np.testing.assert_array_equal(found.pixels[0, :2, y, x], expected)
        assert found.valid[0, y, x] == bool(valid)
        warm = [i for i in order if np.isfinite(values[i, 2, y, x])]
        clear = [i for i in warm if mask[i, y, x]]
        best = ([*clear, *([] if valid else warm)] or [None])[0]
        expected = NAN if best is None else values[best, 2, y, x]
        np.testing.assert_array_equal(found.pixels[0, 2, y, x], expected)


def test_temperature_of_a_cloud_is_no_temperature_of_a_valid_pixel():
    pixels = np.array([[[[0.1]], [[NAN]]], [[[0.8]], [[220.0]]]], np.float32)
    mask = np.array([[[True]], [[False]]])
    day = mosaic(Series(pixels, mask, LANDSAT_BANDS[-2:]), [2], mask=mask)
    np.testing.assert_array_equal(day.pixels[0, :, 0, 0], np.array([0.1, NAN], np.float32))


def test_integers_merge_as_floats_do():
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 9999, (5, 8, SIDE, SIDE)).astype(np.int16)
    stored[rng.random(stored.shape) < 0.3] = FILL
    stored[:, :7][(stored[:, :7] == FILL).any(axis=1)[:, None].repeat(7, 1)] = FILL
    mask = rng.random((5, SIDE, SIDE)) < 0.5
    floats = np.where(stored == FILL, NAN, stored.astype(np.float32))
    valid = (stored[:, 0] != FILL) & mask
    packing = Packing((1.0,) * 8, FILL)
    ours = mosaic(Series(stored, valid, LANDSAT_BANDS, packing), [2, 3], mask=mask)
    theirs = mosaic(Series(floats, valid, LANDSAT_BANDS), [2, 3], mask=mask)
    assert ours.pixels.dtype == np.int16
    back = np.where(ours.pixels == FILL, NAN, ours.pixels.astype(np.float32))
    np.testing.assert_array_equal(back, theirs.pixels)
    np.testing.assert_array_equal(ours.valid, theirs.valid)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
@pytest.mark.parametrize("packed", [False, True])
def test_a_tile_of_a_store_is_the_whole_in_any_order(tmp_path, packed, order):
    pixels, thermal, _, truth, _ = scene(np.random.default_rng(3).integers(0, 3, (3, SIDE, SIDE)))
    times = pd.DatetimeIndex(["2022-06-01T23:47", "2022-06-02T00:02", "2022-06-02T00:03"])
    group = build_group(
        "landsat",
        pixels[order],
        times=times[: len(order)],
        grid=grid((SIDE, SIDE), gsd=30.0),
        surface_temperature=thermal[order],
        valid=np.ones((len(order), SIDE, SIDE), bool),
    )
    path = tmp_path / "cube.zarr"
    save_cube(build_cube({"landsat": group}), path)
    read = source_of("landsat", groups_of(open_cube(path))["landsat"])
    series = read.series(WHOLE, [list(range(len(order)))], packed=packed)
    found = series.pixels[0]
    if packed:
        found = found * np.float32(series.packing.scale)[:, None, None]
    np.testing.assert_allclose(found, truth, rtol=1e-6)

"""int16 on disk, float32 in memory: exact, lazy, and the same however they are read."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import tamrf_xr
from tamrf_xr.cube import FILL, groups_of
from tamrf_xr.packed import integers, pack, unpack
from tamrf_xr.scale.reading import source_of
from tamrf_xr.tiles import Window
from tests.scenes import random_cube


@pytest.fixture
def opened(tmp_path):
    tamrf_xr.save_cube(random_cube(nan=0.2), tmp_path / "c.zarr")
    return tamrf_xr.open_cube(tmp_path / "c.zarr")


@pytest.mark.parametrize("variable", ["reflectance", "surface_temperature"])
def test_every_integer_survives_a_round_trip(variable):
    stored = np.arange(-32768, 32768, dtype=np.int16).reshape(64, 1024)
    np.testing.assert_array_equal(pack(unpack(stored, variable), variable), stored)


def test_what_is_opened_reads_as_xarray_scales_it_in_float32(opened, tmp_path):
    raw = xr.open_datatree(
        tmp_path / "c.zarr", engine="zarr", mask_and_scale=False, decode_coords="all"
    )
    stored = raw["sentinel2/reflectance"].values
    expected = np.where(stored == FILL, np.float32(np.nan), stored * np.float32(1e-4))
    read = opened["sentinel2/reflectance"]
    np.testing.assert_array_equal(read.values, expected)
    np.testing.assert_array_equal(
        read.isel(time=[2, 0], band=-1, y=slice(3, None, 2)).values, expected[[2, 0], -1, 3::2]
    )


def test_integers_are_read_in_their_context_only(opened):
    read = opened["sentinel2/reflectance"]
    with integers():
        stored = read.isel(time=slice(None)).variable.values
    assert stored.dtype == np.int16
    assert read.values.dtype == np.float32
    assert np.nanmax(read.values) < 1


@pytest.mark.parametrize("days", [[[0], [1], [2]], [[0, 2], [1]]], ids=["apart", "mosaic"])
def test_integers_and_floats_are_one_series(opened, days):
    for name, group in groups_of(opened).items():
        window = Window(slice(2, 9), slice(1, 11))
        source = source_of(name, group)
        floats, stored = (source.series(window, days, packed=packed) for packed in (False, True))
        assert floats.packing is None
        assert stored.pixels.dtype == np.int16
        scale = np.float32(stored.packing.scale)[:, None, None]
        there = stored.pixels != stored.packing.fill
        physical = np.where(there, stored.pixels * scale, np.float32(np.nan))
        np.testing.assert_array_equal(physical, floats.pixels)
        np.testing.assert_array_equal(stored.valid, floats.valid)


def test_arrays_in_memory_are_floats_whatever_is_asked(opened):
    group = groups_of(opened)["landsat"].load()
    series = source_of("landsat", group).series(
        Window(slice(0, 3), slice(0, 3)), [[0]], packed=True
    )
    assert series.packing is None
    assert series.pixels.dtype == np.float32

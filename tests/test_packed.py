"""int16 on disk, float32 in memory: exact, lazy, and the same however they are read."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st

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


def indexers(size):
    """Whatever isel takes along a dimension of `size`."""
    place = st.integers(-size, size - 1)
    edge = st.none() | st.integers(-size - 1, size + 1)
    step = st.sampled_from([None, 1, 2, -1, -2])
    # xarray itself fails on lazy arrays where a slice backwards takes nothing.
    slices = st.builds(slice, edge, edge, step).filter(
        lambda one: (one.step or 1) > 0 or len(range(size)[one])
    )
    return place | slices | st.lists(place, max_size=4)


@st.composite
def selections(draw, sizes, point="point"):
    """Integers, slices and lists along some dimensions; arrays that go together along others."""
    dims = draw(st.lists(st.sampled_from([*sizes]), unique=True))
    shape = draw(st.sampled_from([(), (0,), (1,), (3,), (2, 2)]))
    chosen = {}
    for dim in dims:
        if draw(st.booleans()):
            chosen[dim] = draw(indexers(sizes[dim]))
        else:
            count = int(np.prod(shape))
            place = st.integers(0, sizes[dim] - 1)
            places = draw(st.lists(place, min_size=count, max_size=count))
            named = [f"{point}{axis}" for axis in range(len(shape))]
            chosen[dim] = xr.Variable(named, np.array(places, int).reshape(shape))
    return chosen


@pytest.fixture(scope="module")
def readings(tmp_path_factory):
    """A cube as it is read lazily, with dask, in memory, and from integers with an offset."""
    folder = tmp_path_factory.mktemp("readings")
    cube = random_cube((12, 15), nan=0.2)
    tamrf_xr.save_cube(cube, folder / "c.zarr")
    offset = {"dtype": "uint16", "scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    encoding = {f"/{name}": {"reflectance": offset} for name in groups_of(cube)}
    cube.to_zarr(folder / "offset.zarr", encoding=encoding)
    return {
        ("c.zarr", None): folder / "c.zarr",
        ("c.zarr", "dask"): folder / "c.zarr",
        ("offset.zarr", None): folder / "offset.zarr",
    }


@pytest.mark.parametrize("kind", [("c.zarr", None), ("c.zarr", "dask"), ("offset.zarr", None)])
@given(data=st.data())
def test_any_selection_equals_that_of_the_loaded_array(readings, kind, data):
    chunks = {} if kind[1] else None
    opened = tamrf_xr.open_cube(readings[kind], chunks=chunks)["landsat/reflectance"]
    loaded = tamrf_xr.open_cube(readings[kind], chunks=None)["landsat/reflectance"].load()
    first = data.draw(selections(dict(opened.sizes)))
    other = loaded.isel(first)
    again = data.draw(selections(dict(other.sizes), "again")) if other.ndim and other.size else {}
    other = other.isel(again)
    # dask itself fails on pointwise selections of nothing.
    assume(other.size or not kind[1])
    one = opened.isel(first).isel(again)
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one.values, other.values)
    assert one.values.dtype == np.float32
    if not one.ndim:
        np.testing.assert_equal(float(one), float(other))
        np.testing.assert_equal(one.compute().item(), other.item())


@given(data=st.data())
def test_any_selection_of_integers_unpacks_to_that_of_floats(readings, data):
    opened = tamrf_xr.open_cube(readings["c.zarr", None])["landsat/reflectance"]
    chosen = data.draw(selections(dict(opened.sizes)))
    with integers():
        stored = opened.isel(chosen).variable.values
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(unpack(stored, "reflectance"), opened.isel(chosen).values)


@given(shape=st.sampled_from([(), (3,), (2, 3), (2, 1, 3), (0, 2)]))
def test_conversions_take_any_shape(shape):
    pixels = np.full(shape, 0.1234, np.float32)
    stored = pack(pixels, "reflectance")
    assert stored.shape == shape
    np.testing.assert_allclose(unpack(stored, "reflectance"), pixels, atol=1e-6)

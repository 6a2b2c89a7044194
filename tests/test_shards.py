"""Chunks read and written straight are what zarr-python reads and writes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

import tamrf_xr
from tamrf_xr.cube import groups_of
from tamrf_xr.scale.reading import Sharded, Stored, source_of
from tamrf_xr.shards import Files, encode, layout_of
from tamrf_xr.tiles import Window
from tests.scenes import random_cube

SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def arrays(draw):
    """Draw how an array lies, and a window of it."""
    depth = draw(st.integers(0, 1))
    chunk = (draw(st.integers(1, 5)), *(draw(st.integers(1, 3)) for _ in range(depth)), 4, 5)
    per_file = [draw(st.integers(1, 3)) for _ in chunk]
    shape = tuple(draw(st.integers(1, 9)) for _ in chunk)
    region = []
    for size in shape[1:]:
        low = draw(st.integers(0, size - 1))
        region.append(slice(low, draw(st.integers(low + 1, size))))
    return {
        "shape": shape,
        "chunk": chunk,
        "per_file": draw(st.just(None) | st.just(per_file)),
        "dtype": draw(st.sampled_from(["int16", "bool", "uint8", "int32"])),
        "codec": draw(st.sampled_from(["lz4", "zstd", "blosclz"])),
        "shuffle": draw(st.sampled_from(["bitshuffle", "shuffle", "noshuffle"])),
        "checked": draw(st.booleans()),
        "times": draw(st.lists(st.integers(0, shape[0] - 1), min_size=1, max_size=9)),
        "region": region,
        "blank": draw(st.floats(0, 1)),
    }


def made(folder: Path, drawn, values: np.ndarray | None = None) -> zarr.Array:
    dtype = np.dtype(drawn["dtype"])
    blosc = BloscCodec(
        cname=drawn["codec"], clevel=5, shuffle=drawn["shuffle"], typesize=dtype.itemsize
    )
    shards = drawn["per_file"] and tuple(
        c * n for c, n in zip(drawn["chunk"], drawn["per_file"], strict=True)
    )
    array = zarr.create_array(
        folder, shape=drawn["shape"], chunks=drawn["chunk"], shards=shards, dtype=dtype,
        compressors=(blosc, Crc32cCodec()) if drawn["checked"] else (blosc,),
        fill_value=False if dtype.kind == "b" else 7, overwrite=True,
    )  # fmt: skip
    if values is not None:
        array[...] = values
    return array


def numbers(drawn) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 100, drawn["shape"]).astype(drawn["dtype"])
    # Some chunks hold nothing but the fill value: they are not stored.
    blank = rng.random(drawn["shape"][0]) < drawn["blank"]
    values[blank] = np.dtype(drawn["dtype"]).type(0 if drawn["dtype"] == "bool" else 7)
    return values


def read(folder: Path, array: zarr.Array, times, region) -> np.ndarray:
    layout = layout_of(array)
    assert layout is not None
    out = np.zeros((len(times), *(one.stop - one.start for one in region)), layout.dtype)
    count = np.zeros(out.shape, int)

    def put(values, at):
        out[at] = values
        count[at] += 1

    Files(folder, pickle.loads(pickle.dumps(layout))).read(times, region, put)
    assert (count == 1).all()
    return out


@SETTINGS
@given(arrays(), st.booleans())
def test_a_window_reads_as_zarr_reads_it(tmp_path, monkeypatch, drawn, threaded):
    monkeypatch.setattr("tamrf_xr.shards.SHARED", 0 if threaded else 2**40)
    monkeypatch.setattr("tamrf_xr.shards.CACHED", 40)
    values = numbers(drawn)
    array = made(tmp_path / "a", drawn, values)
    found = read(tmp_path / "a", array, drawn["times"], drawn["region"])
    np.testing.assert_array_equal(found, values[drawn["times"]][(slice(None), *drawn["region"])])


@SETTINGS
@given(arrays())
def test_zarr_reads_what_is_encoded(tmp_path, drawn):
    values = numbers(drawn)
    array = made(tmp_path / "b", drawn)
    layout = layout_of(array)
    assert layout is not None
    counts = [-(-size // length) for size, length in zip(layout.shape, layout.file, strict=True)]
    for at in np.ndindex(*counts):
        here = tuple(slice(a * n, (a + 1) * n) for a, n in zip(at, layout.file, strict=True))
        path = tmp_path / "b" / layout.name_of(at)
        data = encode(layout, values[here])
        path.unlink(missing_ok=True)
        if data is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    np.testing.assert_array_equal(array[...], values)


DRAWN = {
    "shape": (4, 8, 10), "chunk": (2, 4, 5), "per_file": [2, 2, 2], "dtype": "int16",
    "codec": "lz4", "shuffle": "bitshuffle", "checked": True, "blank": 0.0,
}  # fmt: skip
ALL = [slice(0, 8), slice(0, 10)]


def test_no_flipped_bit_and_no_cut_goes_unseen(tmp_path):
    array = made(tmp_path / "c", DRAWN, numbers(DRAWN))
    (path,) = [found for found in (tmp_path / "c" / "c").rglob("*") if found.is_file()]
    good, draw = path.read_bytes(), np.random.default_rng(0)
    for bit in draw.choice(len(good) * 8, 200, replace=False):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(bad)
        with pytest.raises(OSError, match=path.name):
            read(tmp_path / "c", array, range(4), ALL)
    for size in (0, 3, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(OSError, match=path.name):
            read(tmp_path / "c", array, range(4), ALL)
    path.unlink()
    assert (read(tmp_path / "c", array, range(4), ALL) == 7).all()


@pytest.mark.parametrize("compressors", [(ZstdCodec(),), None, (BloscCodec(typesize=1),)])
def test_other_layouts_are_left_to_zarr(tmp_path, compressors):
    array = zarr.create_array(
        tmp_path / "d", shape=(4, 8, 10), chunks=(2, 4, 5), dtype="int16", compressors=compressors
    )
    assert layout_of(array) is None
    old = zarr.create_array(tmp_path / "e", shape=(4,), chunks=(2,), dtype="int16", zarr_format=2)
    assert layout_of(old) is None


@pytest.fixture
def opened(tmp_path):
    tamrf_xr.save_cube(random_cube((60, 96), nan=0.2), tmp_path / "cube.zarr", chunk=12)
    return tamrf_xr.open_cube(tmp_path / "cube.zarr")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("moved", [0, 6])
@pytest.mark.parametrize("days", [[[0], [1], [2]], [[2], [0]], [[0, 2], [1]]])
def test_a_tile_is_the_same_straight_and_through_xarray(opened, packed, moved, days):
    for name, whole in groups_of(opened).items():
        group = whole.isel(y=slice(moved, None), x=slice(moved, -moved or None))
        window = Window(slice(1, 9), slice(2, 10))
        source = source_of(name, group)
        assert {type(array) for array in source.arrays.values()} == {Sharded}
        slow = {key: Stored(group[key].variable) for key in source.arrays}
        expected = type(source)(slow, source.order).series(window, days, packed=packed)
        found = source.series(window, days, packed=packed)
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        np.testing.assert_array_equal(found.valid, expected.valid)
        assert found.packing == expected.packing


@pytest.mark.parametrize("packed", [False, True])
def test_a_variable_that_was_looked_at_changes_nothing(opened, packed):
    """xarray keeps what was read of it; the others are still read from the store."""
    group, window = groups_of(opened)["landsat"], Window(slice(0, 9), slice(0, 9))
    expected = source_of("landsat", group).series(window, [[0], [1]])
    assert np.isfinite(group["surface_temperature"].values).any()
    source = source_of("landsat", group)
    assert isinstance(source.arrays["surface_temperature"], Stored)
    found = source.series(window, [[0], [1]], packed=packed)
    assert found.packing is None
    np.testing.assert_array_equal(found.pixels, expected.pixels)


def test_what_is_no_window_of_a_store_goes_through_xarray(opened):
    group = groups_of(opened)["sentinel2"]
    for other in (group.isel(time=[2, 0]), group.isel(y=slice(None, None, 2)), group.load()):
        kinds = {type(array) for array in source_of("sentinel2", other).arrays.values()}
        assert kinds == {Stored}

"""A job reads its input as seldom as its tiles allow, and says so where that is often."""

from __future__ import annotations

import threading
import warnings

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.cube import build_cube, build_group, groups_of
from tamrf_xr.errors import RereadWarning
from tamrf_xr.fusion import fuse, run_job
from tamrf_xr.scale.rereads import reads_per_block, tiles_to_try
from tamrf_xr.tiles import TileGrid
from tests.scenes import days, grid

QUIET = {"method": "linear", "progress": False, "workers": 1}
LOCK = threading.Lock()


def counted(side, chunk, *, dates=3):
    """A cube of one value whose reflectance counts the blocks computed; valid is made of it."""
    made = []

    def block(block_info=None):
        with LOCK:
            made.append(block_info[None]["chunk-location"])
        return np.full(block_info[None]["chunk-shape"], 0.2, np.float32)

    chunks = da.core.normalize_chunks((1, -1, *chunk), (dates, 10, side, side))
    pixels = da.map_blocks(block, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 4, "f4"))
    valid = (pixels > 0).all(axis=1)
    place = grid((side, side))
    group = build_group("sentinel2", pixels, times=days(dates), grid=place, valid=valid)
    return build_cube({"sentinel2": group}), made


def blocks_of(cube):
    return int(np.prod(groups_of(cube)["sentinel2"]["reflectance"].data.numblocks))


@pytest.mark.parametrize("chunk", [(30, 90), (90, 90), (45, 30), (7, 100)])
def test_the_factor_is_that_of_the_blocks_computed(tmp_path, chunk):
    cube, made = counted(90, chunk)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run_job(cube, tmp_path / "out.zarr", "2022-01-10", tile=30, **QUIET)
    tiles = TileGrid((90, 90), (30, 30), {"sentinel2": 1}, {"sentinel2": 0})
    factor = reads_per_block(groups_of(cube), tiles)["sentinel2"]
    if 90 % chunk[0] == 0 == 90 % min(chunk[1], 90):
        assert len(made) == pytest.approx(factor * blocks_of(cube))
    (said,) = [t for t in told if t.category is RereadWarning] or [None]
    assert (said is not None) == (factor > 2)
    if said is not None:
        assert f"is read {factor:.1f} times" in str(said.message)
        assert "save_cube first" in str(said.message)
        assert said.filename.endswith(("test_rereads.py", "fusion.py"))


def test_automatic_tiles_are_whole_chunks(tmp_path):
    cube, made = counted(600, (300, 300), dates=2)
    run_job(cube, tmp_path / "out.zarr", "2022-01-10", **QUIET)
    assert len(made) == blocks_of(cube)


def test_an_image_a_chunk_is_one_tile_where_it_fits(tmp_path):
    cube, made = counted(720, (720, 720), dates=2)
    run_job(cube, tmp_path / "out.zarr", "2022-01-10", **QUIET)
    assert len(made) == blocks_of(cube)


def test_automatic_tiles_stay_where_memory_ends(tmp_path, monkeypatch):
    cube, made = counted(720, (720, 720), dates=2)
    monkeypatch.setattr("tamrf_xr.scale.prepared.TILE_MEMORY", 60e6)
    with pytest.warns(RereadWarning, match=r"read 4.0 times by tiles of 360x360 px"):
        run_job(cube, tmp_path / "out.zarr", "2022-01-10", **QUIET)
    assert len(made) == 4 * blocks_of(cube)


def test_a_graph_reads_each_block_once():
    cube, made = counted(90, (90, 90))
    fuse(cube, "2022-01-10", method="linear", tile=30).load()
    assert len(made) == blocks_of(cube)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 60), st.integers(0, 9))
def test_reads_are_counted_as_one_would_by_hand(sizes, tile, halo):
    side = sum(sizes)
    pixels = da.zeros((1, 10, side, side), chunks=(1, 10, tuple(sizes), tuple(sizes)), dtype="f4")
    group = build_group("sentinel2", pixels, times=days(1), grid=grid((side, side)))
    tiles = TileGrid((side, side), (tile, tile), {"sentinel2": 1}, {"sentinel2": halo})
    starts = np.cumsum([0, *sizes])[:-1]
    read = 0
    for index in np.ndindex(*tiles.counts):
        window = tiles[index].reads["sentinel2"]
        down, across = (
            sum(
                size
                for start, size in zip(starts, sizes, strict=True)
                if start < one.stop and start + size > one.start
            )
            for one in (window.y, window.x)
        )
        read += down * across
    found = reads_per_block({"sentinel2": group}, tiles)["sentinel2"]
    assert found == pytest.approx(read / side**2)


def test_arrays_in_memory_and_stores_are_read_directly():
    cube, _ = counted(90, (90, 90))
    groups = groups_of(cube.load())
    tiles = TileGrid((90, 90), (30, 30), {"sentinel2": 1}, {"sentinel2": 0})
    assert reads_per_block(groups, tiles) == {}
    assert tiles_to_try(groups, {"sentinel2": 1}, 30) == []

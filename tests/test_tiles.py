"""The tile planner: cores partition the grid, reads hold the halo or stop at the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.errors import MemoryBudgetError
from tamrf_xr.fuser import Cost, FuserSpec
from tamrf_xr.tiles import TileGrid, Workload, plan_tile, tile_bytes
from tests.numpy_fusers import blur_spec

RATIOS = {"sentinel2": 1, "landsat": 3}
grids = st.builds(
    lambda shape, tile, halos: TileGrid((3 * shape[0], 3 * shape[1]), tile, RATIOS, halos),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.fixed_dictionaries({"sentinel2": st.integers(0, 19), "landsat": st.integers(0, 20)}),
)


@given(grids)
def test_cores_partition_the_grid(grid):
    seen = np.zeros(grid.shape, int)
    for index in np.ndindex(*grid.counts):
        core = grid[index].core
        seen[core.y, core.x] += 1
        assert core.shape == (grid.chunks[0][index[0]], grid.chunks[1][index[1]])
    assert (seen == 1).all()


@given(grids)
def test_reads_hold_the_halo_or_stop_at_the_image(grid):
    for index in np.ndindex(*grid.counts):
        tile = grid[index]
        for sensor, ratio in RATIOS.items():
            for axis, core, read in (
                (0, tile.core.y, tile.reads[sensor].y),
                (1, tile.core.x, tile.reads[sensor].x),
            ):
                size, halo = grid.shape[axis] // ratio, grid.halos[sensor]
                assert read.start == 0 or core.start // ratio - read.start >= halo
                assert read.stop == size or read.stop - -(-core.stop // ratio) >= halo


@given(grids)
def test_crop_finds_the_core_in_what_was_read(grid):
    rows = np.arange(grid.shape[0])
    for index in np.ndindex(*grid.counts):
        tile = grid[index]
        for sensor, ratio in RATIOS.items():
            read = tile.reads[sensor].y
            fine = rows[read.start * ratio : read.stop * ratio]
            wanted, _ = tile.crop.within(sensor)
            np.testing.assert_array_equal(fine[wanted], rows[tile.core.y])


@given(st.floats(1e6, 1e10), st.integers(1, 60), st.integers(1, 60))
def test_planned_tiles_fit_the_budget(budget, dates, queries):
    spec = blur_spec(cost=Cost(fixed=1e5, per_date={"sentinel2": 300.0}, per_query=150.0))
    work = Workload((5000, 4000), {"sentinel2": dates}, queries)
    try:
        size = plan_tile(spec, work, tile=None, budget=budget)
    except MemoryBudgetError:
        assert tile_bytes(spec, work, 48) > budget
    else:
        assert tile_bytes(spec, work, size[0]) <= budget


def test_tile_is_never_larger_than_the_scene():
    assert plan_tile(blur_spec(), Workload((30, 60), {}, 1), tile=500, budget=1e9) == (30, 60)
    with pytest.raises(MemoryBudgetError, match="a tile of 500 px needs"):
        plan_tile(blur_spec(cost=Cost(fixed=2e9)), Workload((30, 60), {}, 1), tile=500, budget=1e9)


def test_memory_per_pixel_counts_the_widest_halo_in_full():
    spec = FuserSpec(
        "m", "a:b", (), halo=(("landsat", 10), ("sentinel2", 5)), cost=Cost(per_pixel=2.0)
    )
    work = Workload((1000, 1000), {"landsat": 3, "sentinel2": 4}, queries=2)
    assert tile_bytes(spec, work, 40) == 2.0 * 100**2
    assert tile_bytes(spec, Workload((50, 1000), work.dates, 2), 40) == 2.0 * 50 * 100


def test_a_tile_says_where_it_lies_in_the_scene():
    grid = TileGrid(
        (90, 90), (30, 30), {"sentinel2": 1, "landsat": 3}, {"sentinel2": 4, "landsat": 2}
    )
    for row, column in ((0, 0), (1, 2)):
        tile = grid[row, column]
        top, left = tile.crop.origin
        assert (tile.crop.y.start + top, tile.crop.x.start + left) == (
            tile.core.y.start,
            tile.core.x.start,
        )

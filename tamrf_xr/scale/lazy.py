"""A product as dask arrays: one task a tile.

The plan of the graph, from the leaves up:
1. `<name>-job`: the method, the dates and the grid of tiles, once.
2. `<name>-sources`: arrays that can be read directly (in memory, or lazily from a store), once.
3. `(<name>, row, column)`: reads its window with the halo of each sensor, gives every band of
   every query date. Arrays that are dask already come in as the blocks that the window touches.
4. `(<name>-<sensor>-<variable>, 0, 0, row, column)`: a view of one array of that result.
Nothing is read, and no method is built, before a task of 3 runs.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import psutil
import xarray as xr
from dask._task_spec import DataNode, Dict, List, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph

from tamrf_xr.cube import fine_grid, groups_of
from tamrf_xr.dates import DateLike, plan_dates, tell_of_counting
from tamrf_xr.days import SAME_DAY
from tamrf_xr.fuser import FuserSpec, Pixels
from tamrf_xr.iso8601 import Length
from tamrf_xr.scale.product import Part, build_product, parts_of
from tamrf_xr.scale.reading import (
    READABLE,
    Blocks,
    SensorSource,
    blocks_touched,
    order_of,
    source_of,
    window_of,
)
from tamrf_xr.scale.rereads import aligned, tiles_to_try
from tamrf_xr.scale.tilework import FuseJob, fuse_tile
from tamrf_xr.sensors import SENSORS
from tamrf_xr.tiles import TileGrid, Window, Workload, plan_tile, tile_bytes

TILE_MEMORY = 3 * 2**30
"""Bytes that a tile may take when its size is ours to choose: a laptop's share."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How days are counted and which acquisitions a query date sees; see `plan_dates`."""

    origin: DateLike | None = None
    """Day 0, or None for the default."""

    window: Length | None = "365D"
    """Length of the window, or None for no window."""

    same_day: Length = SAME_DAY
    """How far apart acquisitions of one day may be; see `tamrf_xr.days`."""


def fuse_lazily(
    cube: xr.DataTree,
    spec: FuserSpec,
    queries: pd.DatetimeIndex,
    *,
    timing: Timing = Timing(),
    tile: int | None = None,
) -> xr.DataTree:
    """Lay out a product; nothing is computed.

    Parameters
    ----------
    cube
        A valid cube.
    spec
        The method.
    queries
        Query dates.
    timing
        Origin and window.
    tile
        Edge of a tile in fine pixels, or None for the planner's choice.

    Returns
    -------
    xarray.DataTree
        A cube at the query dates, every group on the fine grid, made of dask arrays.

    Raises
    ------
    DateError
        If a query date has no acquisition in its window.
    MemoryBudgetError
        If a tile does not fit the memory there is.
    """
    job = plan_job(cube, spec, queries, timing=timing, tile=tile)
    name = f"fuse-{spec.method}-{uuid.uuid4().hex[:12]}"
    graph = _tile_graph(name, job, groups_of(cube))
    arrays = {part: _view(name, graph, job, part) for part in parts_of(spec)}
    return build_product(cube, arrays, spec, queries)


def plan_job(
    cube: xr.DataTree,
    spec: FuserSpec,
    queries: pd.DatetimeIndex,
    *,
    timing: Timing,
    tile: int | None,
) -> FuseJob:
    """Plan dates and tiles; see `fuse_lazily`."""
    groups = groups_of(cube)
    times = {name: pd.DatetimeIndex(group["time"].values) for name, group in groups.items()}
    tell_of_counting(times, origin=timing.origin, window=timing.window)
    dates = plan_dates(
        times,
        queries,
        origin=timing.origin,
        window=timing.window,
        same_day=timing.same_day,
    )
    shape = fine_grid(cube).shape
    work = Workload(shape, dates.dates, len(queries))
    budget = _budget(spec, tile)
    size = plan_tile(spec, work, tile=tile, budget=budget)
    finest = "sentinel2" if "sentinel2" in groups else None
    ratios = {name: 1 if name == finest else SENSORS[name].ratio for name in groups}
    halos = {name: spec.halo_of(name) for name in groups}
    grid = TileGrid(shape, size, ratios, halos)
    if tile is None:
        fits = [
            edge
            for edge in tiles_to_try(groups, ratios, max(size))
            if tile_bytes(spec, work, edge) <= budget
        ]
        grid = aligned(grid, groups, fits)
    return FuseJob(spec, dates, grid)


def _budget(spec: FuserSpec, tile: int | None) -> float:
    """Return the bytes that one tile may take on this machine."""
    available = psutil.virtual_memory().available
    if tile is not None:
        return 0.8 * available
    # Of the tiles in hand, one computes; the others hold but what they read.
    tiles = max(spec.at_once - 1, 1) if spec.at_once else (os.cpu_count() or 1)
    return min(TILE_MEMORY, 0.5 * available / tiles)


def _tile_graph(name: str, job: FuseJob, groups: Mapping[str, xr.Dataset]) -> HighLevelGraph:
    direct: dict[str, SensorSource] = {}
    chunked: dict[str, xr.Dataset] = {}
    for sensor, group in groups.items():
        arrays = group[[variable for variable in READABLE if variable in group]]
        if any(array.chunks for array in arrays.values()):  # which may differ
            chunked[sensor] = arrays.chunk()
        else:
            direct[sensor] = source_of(sensor, group)
    layer: dict[Any, Any] = {
        f"{name}-job": DataNode(f"{name}-job", job),
        f"{name}-sources": DataNode(f"{name}-sources", direct),
    }
    rows, cols = job.grid.counts
    for index in np.ndindex(rows, cols):
        blocks = {
            s: _block_source(s, group, job.grid[index].reads[s]) for s, group in chunked.items()
        }
        layer[name, *index] = Task(
            (name, *index),
            _run_tile,
            TaskRef(f"{name}-job"),
            index,
            TaskRef(f"{name}-sources"),
            Dict(blocks),
        )
    inputs = [array.data for group in chunked.values() for array in group.values()]
    return HighLevelGraph.from_collections(name, layer, inputs)


def _run_tile(
    job: FuseJob,
    index: tuple[int, int],
    direct: Mapping[str, SensorSource],
    blocks: Mapping[str, SensorSource],
) -> dict[str, Pixels]:
    return fuse_tile(job, index, {**direct, **blocks})


def _block_source(sensor: str, group: xr.Dataset, window: Window) -> Task:
    arrays = {str(v): _blocks(array.data, window_of(str(v), window)) for v, array in group.items()}
    return Task(None, SensorSource, Dict(arrays), order_of(sensor, group))


def _blocks(array: da.Array, window: Window) -> Task:
    touched = blocks_touched(array.chunks, window)
    refs = List(*(TaskRef((array.name, *index)) for index, _ in touched))
    return Task(None, Blocks, refs, [start for _, start in touched], array.shape)


def _view(name: str, tiles: HighLevelGraph, job: FuseJob, part: Part) -> da.Array:
    """Make a dask array of one part of every tile's result."""
    key = f"{name}-{part.sensor}-{part.variable.rpartition('_')[2]}"
    zeros = (0,) * len(part.middle)
    layer: dict[Any, Any] = {}
    for index in np.ndindex(*job.grid.counts):
        target = (key, 0, *zeros, *index)
        layer[target] = Task(target, _take, TaskRef((name, *index)), part)
    graph = HighLevelGraph({**tiles.layers, key: layer}, {**tiles.dependencies, key: {name}})
    chunks = ((job.dates.queries,), *((size,) for size in part.middle), *job.grid.chunks)
    return da.Array(graph, key, chunks, dtype=np.dtype(np.float32))


def _take(fused: Mapping[str, Pixels], part: Part) -> Pixels:
    return part.of(fused)

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

import uuid
from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask._task_spec import DataNode, Dict, List, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph

from tamrf_xr.scale.layers import Fused
from tamrf_xr.scale.prepared import Job
from tamrf_xr.scale.product import Part, build_product, parts_of
from tamrf_xr.scale.reading import (
    READABLE,
    Array,
    Blocks,
    SensorSource,
    blocks_touched,
    order_of,
    source_of,
    window_of,
)
from tamrf_xr.scale.tilework import FuseJob, fuse_tile
from tamrf_xr.tiles import Window

TILES = "fuse-"
"""How the names of what tiles give begin."""


def fuse_lazily(job: Job) -> xr.DataTree:
    """Lay out a product; nothing is computed.

    Parameters
    ----------
    job
        What is to be made.

    Returns
    -------
    xarray.DataTree
        A cube at the query dates, every group on the fine grid, made of dask arrays.

    Raises
    ------
    DateError, MemoryBudgetError
        As `Job.tiled`.
    """
    tiled = job.tiled()
    name = f"{TILES}{job.spec.method}-{uuid.uuid4().hex[:12]}"
    graph = _tile_graph(name, tiled, job.groups)
    return build_product(job, {part: _view(name, graph, tiled, part) for part in parts_of(tiled)})


def is_tile(key: Any) -> bool:
    """Tell whether a key of the graph is that of a tile."""
    return isinstance(key, tuple) and len(key) == 3 and str(key[0]).startswith(TILES)


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
) -> Fused:
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
    key = f"{name}-{part.sensor}-{part.variable}"
    zeros = (0,) * len(part.middle)
    layer: dict[Any, Any] = {}
    for index in np.ndindex(*job.grid.counts):
        target = (key, 0, *zeros, *index)
        layer[target] = Task(target, _take, TaskRef((name, *index)), part)
    graph = HighLevelGraph({**tiles.layers, key: layer}, {**tiles.dependencies, key: {name}})
    chunks = ((job.times,), *((size,) for size in part.middle), *job.grid.chunks)
    return da.Array(graph, key, chunks, dtype=part.dtype)


def _take(fused: Fused, part: Part) -> Array:
    return part.of(fused)

"""The store of a product: laid out before any tile, a shard per tile and array, written durably.

What makes a tile safe: its shards are written under other names and renamed (zarr does), then
synced to disk with the folders that name them; only then does the ledger say that it is done.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
import zarr

from tamrf_xr.cube import groups_of
from tamrf_xr.encoding import FILL, SCALES, packing
from tamrf_xr.fuser import Pixels
from tamrf_xr.packed import CODECS, pack
from tamrf_xr.scale.product import Part, build_product, parts_of
from tamrf_xr.scale.tilework import FuseJob
from tamrf_xr.storable import storable_attrs
from tamrf_xr.tiles import Window

LARGEST_CHUNK, SMALLEST_CHUNK = 132, 32
"""Fine pixels across a chunk inside a shard: what a map reads."""


def lay_out_product(
    cube: xr.DataTree,
    job: FuseJob,
    queries: pd.DatetimeIndex,
    *,
    store: Path,
    attrs: Mapping[str, str],
) -> None:
    """Write all of a product but its pixels, and sync it to disk.

    Parameters
    ----------
    cube
        What the product is made from.
    job
        The method and the tiles.
    queries
        Query dates.
    store
        Where to write; what is there is replaced.
    attrs
        Attributes of the root: where the product comes from.
    """
    blank = {part: _blank(part, job) for part in parts_of(job.spec)}
    product = build_product(cube, blank, job.spec, queries)
    groups = groups_of(product)
    for part in blank:
        groups[part.sensor][part.variable].encoding = _encoding(part, job)
    root = xr.Dataset(attrs=storable_attrs({**product.attrs, **attrs}))
    tree = xr.DataTree.from_dict({"/": root, **groups})
    tree.to_zarr(store, mode="w", zarr_format=3, consolidated=False, compute=False)
    with warnings.catch_warnings():
        # As in `store.lay_out`: every reader of ours understands it.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(store)
    for part in blank:
        for row in range(job.grid.counts[0]):
            _shard(store, part, (row, 0)).parent.mkdir(parents=True, exist_ok=True)
    sync_tree(store)


def _blank(part: Part, job: FuseJob) -> da.Array:
    # One chunk, never computed: a graph of one task whatever the number of tiles.
    shape = (job.dates.queries, *part.middle, *job.grid.shape)
    blank: da.Array = da.zeros(shape, dtype=np.float32, chunks=shape)
    return blank


def _encoding(part: Part, job: FuseJob) -> dict[str, Any]:
    tile = job.grid.tile
    inner = tuple(chunk_length(length) for length in tile)
    return packing(part.variable) | {
        "chunks": (1, *part.middle, *inner),
        "shards": (job.dates.queries, *part.middle, *tile),
        "compressors": CODECS,
    }


def chunk_length(tile: int) -> int:
    """Return the length of the chunks that divide a tile: about 120 pixels, or the whole tile.

    Examples
    --------
    >>> chunk_length(360), chunk_length(330), chunk_length(331), chunk_length(24)
    (120, 110, 331, 24)
    """
    lengths = range(min(tile, LARGEST_CHUNK), SMALLEST_CHUNK - 1, -1)
    return next((length for length in lengths if tile % length == 0), tile)


def write_tile(
    store: Path, job: FuseJob, index: tuple[int, int], fused: Mapping[str, Pixels]
) -> int:
    """Write the shards of one tile, and return when they are on the disk.

    Parameters
    ----------
    store
        A store laid out by `lay_out_product`.
    job
        The method and the tiles.
    index
        Row and column of the tile.
    fused
        What the fuser made.

    Returns
    -------
    int
        Values clipped, as int16 does not hold them.
    """
    core = job.grid[index].core
    clipped = 0
    for part in parts_of(job.spec):
        pixels = part.of(fused)
        clipped += count_clipped(pixels, part.variable)
        _write(store, part, (index, core), pixels)
    return clipped


def count_clipped(pixels: Pixels, variable: str) -> int:
    """Count the values that int16 does not hold: `tamrf_xr.packed.pack` clips them.

    Examples
    --------
    >>> count_clipped(np.array([[0.1, np.nan, 3.5, -4.0, 3.2767]], np.float32), "reflectance")
    2
    """
    limit = np.float32(-FILL - 1) * np.float32(SCALES[variable])
    # Image by image: the comparisons then stay in the cache.
    return sum(int(np.count_nonzero(np.abs(image) > limit)) for image in pixels)


def _write(store: Path, part: Part, place: tuple[tuple[int, int], Window], pixels: Pixels) -> None:
    index, core = place
    shard = _shard(store, part, index)
    # What an interrupted run may have left is replaced, not merged into.
    shard.unlink(missing_ok=True)
    _array(store / part.path)[..., core.y, core.x] = pack(pixels, part.variable)
    if shard.exists():  # a shard without any data is not stored
        sync(shard)
    sync(shard.parent)


def _shard(store: Path, part: Part, index: tuple[int, int]) -> Path:
    """Return the file of a tile's shard: each holds all dates and bands of its window."""
    zeros = ("0",) * (1 + len(part.middle))
    return store.joinpath(part.sensor, part.variable, "c", *zeros, *map(str, index))


def _array(path: Path) -> zarr.Array[Any]:
    # A store may have been replaced since this process opened its arrays.
    return _open(path, (path / "zarr.json").stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _open(path: Path, written: int) -> zarr.Array[Any]:  # noqa: ARG001  (part of the key)
    array: zarr.Array[Any] = zarr.open_array(path, mode="r+")
    return array


def remove_partials(store: Path) -> None:
    """Remove what writers that were killed left under temporary names."""
    for left in store.rglob("*.partial"):
        left.unlink(missing_ok=True)


def sync_tree(folder: Path) -> None:
    """Sync a folder and all in it to disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(Path(parent, name))
        sync(Path(parent))


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

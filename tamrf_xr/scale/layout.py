"""The store of a product: laid out before any tile, a shard per tile and array.

What makes a tile safe: its shards are written under other names and renamed
(`tamrf_xr.scale.writing`), then synced to disk with the folders that name them; only then does the
ledger say that it is done.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import xarray as xr
import zarr

from tamrf_xr.geozarr import PLAIN_CODEC, for_gdal, georeferenced
from tamrf_xr.linkless import FileStore
from tamrf_xr.listing import write_listing
from tamrf_xr.packed import CODECS, TOKEN_CODECS
from tamrf_xr.scale.disk import sync_tree
from tamrf_xr.scale.prepared import Job
from tamrf_xr.scale.product import Part, build_product, parts_of
from tamrf_xr.scale.reading import TOKENS
from tamrf_xr.scale.tilework import FuseJob
from tamrf_xr.storable import storable_attrs, with_checked_coords

LARGEST_CHUNK, SMALLEST_CHUNK = 132, 32
"""Fine pixels across a chunk inside a shard: what a map reads."""


def lay_out_product(
    job: Job,
    tiled: FuseJob,
    *,
    store: Path,
    attrs: Mapping[str, str],
    layout: str = "sharded",
) -> None:
    """Write all of a product but its pixels, and sync it to disk.

    Parameters
    ----------
    job
        What is to be made.
    tiled
        Its tiles.
    store
        Where to write; what is there is replaced.
    attrs
        Attributes of the root: where the product comes from.
    layout
        One of `LAYOUTS`.
    """
    blank = {part: _blank(part, tiled) for part in parts_of(tiled)}
    product = build_product(job, blank)
    plain = layout == "gdal"
    groups = {name: georeferenced(node.to_dataset()) for name, node in product.children.items()}
    groups = {
        name: for_gdal(group) if plain else with_checked_coords(group)
        for name, group in groups.items()
    }
    for part in blank:
        encoding = _plain_encoding(part, tiled) if plain else _encoding(part, tiled)
        variable = groups[part.sensor][part.variable]
        variable.attrs = {k: v for k, v in variable.attrs.items() if k != "_FillValue"}
        variable.encoding = encoding
    root = xr.Dataset(attrs=storable_attrs({**product.attrs, **attrs}))
    tree = xr.DataTree.from_dict({"/": root, **groups})
    tree.to_zarr(
        FileStore(store),
        mode="w",
        zarr_format=2 if plain else 3,
        consolidated=False,
        compute=False,
    )
    with warnings.catch_warnings():
        # As in `store.lay_out`: every reader of ours understands it.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(FileStore(store))
    for part in blank:
        array = zarr.open_array(store / part.path, mode="r")
        for row in range(tiled.grid.counts[0]):
            first = (0, *(0 for _ in part.middle), row, 0)
            name = array.metadata.encode_chunk_key(first)
            (store / part.path / name).parent.mkdir(parents=True, exist_ok=True)
    write_listing(store)
    sync_tree(store)


def _blank(part: Part, job: FuseJob) -> da.Array:
    # One chunk, never computed: a graph of one task whatever the number of tiles.
    shape = (job.times, *part.middle, *job.grid.shape)
    blank: da.Array = da.zeros(shape, dtype=part.dtype, chunks=shape)
    return blank


def _encoding(part: Part, job: FuseJob) -> dict[str, Any]:
    tile = job.grid.tile
    inner = tuple(chunk_length(length) for length in tile)
    return part.encoding | {
        "chunks": (1, *part.middle, *inner),
        "shards": (job.times, *part.middle, *tile),
        "compressors": TOKEN_CODECS if part.variable == TOKENS else CODECS,
    }


def _plain_encoding(part: Part, job: FuseJob) -> dict[str, Any]:
    return part.encoding | {
        "chunks": (1, *part.middle, *job.grid.tile),
        "compressors": PLAIN_CODEC,
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

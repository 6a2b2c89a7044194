"""Open and save cubes: Zarr v3, sharded, int16 on disk and float32 in memory."""

from __future__ import annotations

import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from dask.delayed import Delayed

from tamrf_xr import panchromatic
from tamrf_xr.cube import CUBE_VERSION, grid_of, groups_of, located, validate
from tamrf_xr.encoding import SCALES, floating, limit_of, packing
from tamrf_xr.errors import CubeError, OptionError, SourceNotFoundError
from tamrf_xr.linkless import FileStore
from tamrf_xr.listing import write_listing
from tamrf_xr.origins import places_of
from tamrf_xr.packed import CODECS, as_float32_lazily, is_packed, unpack_lazily
from tamrf_xr.paths import readable
from tamrf_xr.replacing import MARKER, check_store, fresh
from tamrf_xr.spatial_ref import find_crs, with_spatial_ref
from tamrf_xr.storable import (
    described,
    storable_attrs,
    storable_attrs_of,
    text_values,
    with_checked_coords,
)

CHUNK, SHARD = 60, 360
"""Fine pixels across a chunk and a shard on disk: little is read beside a halo; few files."""

TIME_CHUNK = 128
"""Acquisitions in a chunk: the whole series of a year, so that a tile is one read."""


def open_cube(store: str | os.PathLike[str], *, chunks: Any = None) -> xr.DataTree:
    """Open a cube lazily.

    Parameters
    ----------
    store
        Path or URL of a Zarr store.
    chunks
        None reads lazily without dask: `fuse` then reads just what each tile needs. ``{}`` or
        sizes give dask arrays, as in `xarray.open_dataset`.

    Returns
    -------
    xarray.DataTree
        The cube: float32 reflectance and temperature, NaN where there is no data.

    Raises
    ------
    SourceNotFoundError
        If there is no such store.
    CubeError
        If it is no cube.
    """
    place = readable(store, "store")
    path = os.fspath(place)
    if isinstance(place, Path) and not place.exists():
        raise SourceNotFoundError(f"no store at {path}; found nothing there")
    try:
        raw = xr.open_datatree(
            path, engine="zarr", chunks=chunks, mask_and_scale=False, decode_coords="all"
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise CubeError(f"{path} is not a Zarr store that holds a cube: {error}") from error
    groups = {node.path: _unpack(node.to_dataset(inherit=False)) for node in raw.subtree}
    root = groups["/"]
    tree = xr.DataTree.from_dict({path: _opened(group, root) for path, group in groups.items()})
    validate(tree)
    return tree


def _unpack(group: xr.Dataset) -> xr.Dataset:
    """Scale to float32: xarray itself would give float64, for JSON loses the type of the factor."""
    packed = {
        name for name, array in group.data_vars.items() if is_packed(array.variable, str(name))
    }
    for name, variable in group.data_vars.items():
        if name in packed and not variable.chunks:
            group[name] = unpack_lazily(variable.variable, str(name))
        elif "scale_factor" in variable.attrs and name in SCALES:
            group[name].attrs["scale_factor"] = np.float32(variable.attrs["scale_factor"])
    unpacked = xr.decode_cf(group, decode_coords="all")
    for name in unpacked.data_vars:
        mapping = unpacked[name].encoding.get("grid_mapping")
        if name in SCALES and unpacked[name].dtype == np.float64:
            unpacked[name] = as_float32_lazily(unpacked[name].variable)
        # Layout belongs to the store that was read, not to what is computed from it.
        # xarray and rioxarray would wrap what is changed and does not fit, and rioxarray declares
        # the scale of a packing over floats: findings/rioxarray_dataset_raster_scale.sh.
        encoding = floating(str(name))
        unpacked[name].encoding = encoding | ({"grid_mapping": mapping} if mapping else {})
    return unpacked


def _opened(group: xr.Dataset, root: xr.Dataset) -> xr.Dataset:
    """Bring coordinates, and where the CRS stands, to what they are in memory."""
    placed = with_spatial_ref(group, root if {"y", "x"} <= {*group.dims} else None)
    return described(placed, find_crs(placed))


def save_cube(
    cube: xr.DataTree,
    store: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    chunk: int = CHUNK,
    progress: AbstractContextManager[Any] | None = None,
) -> None:
    """Write a cube to a Zarr (v3) store, whole or not at all.

    Parameters
    ----------
    cube
        The cube.
    store
        Path of the store, on a local or shared file system (also ``~/...`` and ``file:///...``).
        It is written under another name, then renamed: a reader never sees half of it.
    overwrite
        Replace a cube or a product that exists, once the new one is whole; nothing else is ever
        replaced.
    chunk
        10 m pixels across a chunk on disk, a multiple of 3. That of tiles by default; to train
        on the cube, that of a patch reads less.
    progress
        Context in which dask computes, such as ``dask.diagnostics.ProgressBar()``.

    Raises
    ------
    OutputExistsError
        If `store` exists and `overwrite` is False, or it is no cube or job of ours.
    CubeError
        If `cube` is not a cube.
    OptionError
        If `chunk` is no multiple of 3, or `store` is a place that must stay: the working folder,
        home, a mount point, what the cube is read from, or a folder around one of these.
    """
    validate(cube)
    if chunk not in range(3, 10**6, 3):
        raise OptionError(f"chunk is {chunk!r:.40}; expected a multiple of 3 pixels of 10 m")
    target = check_store(store, "store", overwrite=overwrite, inputs=places_of(cube))
    with fresh(target, overwrite=overwrite) as partial:
        pending = lay_out(cube, partial, chunk=chunk)
        with progress or nullcontext():
            pending.compute()
        write_listing(partial)  # last: what has one is whole


def lay_out(cube: xr.DataTree, store: Path, *, chunk: int = CHUNK) -> Delayed:
    """Write all of a cube but its pixels: groups, coordinates, attributes, empty arrays.

    Parameters
    ----------
    cube
        A valid cube.
    store
        Path of a store; what is there is replaced.
    chunk
        10 m pixels across a chunk.

    Returns
    -------
    dask.delayed.Delayed
        Computing it writes the pixels.
    """
    # One document of metadata is written below: to_zarr would write it after the pixels.
    pending = _storable(cube, chunk).to_zarr(
        FileStore(store), mode="w", zarr_format=3, consolidated=False, compute=False
    )
    with warnings.catch_warnings():
        # Every reader of ours understands it; zarr warns that the v3 text does not have it yet.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(FileStore(store))
    return pending


def _storable(cube: xr.DataTree, chunk: int) -> xr.DataTree:
    """Clip to what int16 holds, in dask chunks that are whole shards."""
    gsd = {name: grid_of(group).gsd for name, group in groups_of(cube).items()}
    # Shards cover the same ground for every sensor, so that a tile reads as few as can be.
    groups = {
        name: _storable_group(group, chunk, ratio=round(gsd[name] / min(gsd.values())))
        for name, group in groups_of(cube).items()
    }
    root = cube.to_dataset()
    # Marked as ours, wherever it came from: what is not is never replaced.
    about = xr.Dataset(attrs=storable_attrs({MARKER: CUBE_VERSION, **root.attrs}))
    return xr.DataTree.from_dict({"/": about, **groups})


def _storable_group(group: xr.Dataset, chunk: int, *, ratio: int) -> xr.Dataset:
    placed = located(described(group, grid_of(group).crs))
    placed.attrs = storable_attrs(placed.attrs)
    arrays = {name: _stored(array, chunk, ratio) for name, array in placed.data_vars.items()}
    return with_checked_coords(placed.assign(arrays))


def _stored(array: xr.DataArray, chunk: int, ratio: int) -> xr.DataArray:
    """Return an array as it will lie in a store: our type, encoding and chunks alone."""
    name = str(array.name)
    if array.dtype.kind in "OUST":
        return _text(array)
    layout = {dim: _layout(str(dim), size, chunk, ratio) for dim, size in array.sizes.items()}
    stored = _typed(array).chunk({dim: shard for dim, (_, shard) in layout.items()})
    if name in SCALES:
        stored = _clipped(stored)
    stored.attrs = storable_attrs_of(array, physical=name in SCALES)
    stored.encoding = packing(name) if array.ndim > 1 else {}
    if array.ndim:
        stored.encoding |= {
            "chunks": tuple(chunk for chunk, _ in layout.values()),
            "shards": tuple(shard for _, shard in layout.values()),
            "compressors": CODECS,
        }
    return stored


def _typed(array: xr.DataArray) -> xr.DataArray:
    """Return an array of a type that every store holds."""
    if array.name == "valid" and array.dtype != bool:
        return (array.notnull() & (array != 0)).astype(bool)
    return array


def _text(array: xr.DataArray) -> xr.DataArray:
    """Return text in memory: of objects in dask, xarray says in a warning that it loads them."""
    stored = array.copy(data=text_values(array.values))
    stored.attrs = storable_attrs_of(array, physical=False)
    stored.encoding = {}
    return stored


def _clipped(array: xr.DataArray) -> xr.DataArray:
    """Clip to what int16 holds; a declared fill that it does not hold is no data."""
    limit = limit_of(str(array.name))
    fills = [array.attrs[name] for name in ("_FillValue", "missing_value") if name in array.attrs]
    for fill in np.ravel(fills).astype(float) if fills else ():
        if np.isfinite(fill) and abs(fill) > limit:
            array = array.where(array != array.dtype.type(fill))
    if array.dtype.kind == "f":
        array = array.where(abs(array) != np.inf)
    return array.clip(-limit, limit, keep_attrs=True)


def _layout(dim: str, size: int, chunk: int, ratio: int) -> tuple[int, int]:
    """Return the lengths of a chunk and of a shard along a dimension."""
    if dim in {"y", "x", *panchromatic.AXES.values()}:
        scale = panchromatic.RATIO if dim in panchromatic.AXES.values() else 1
        length = chunk // ratio * scale
        return length, length * max(SHARD // chunk, 1)
    length = min(size, TIME_CHUNK) if dim == "time" else size
    return length, length

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
from zarr.abc.store import Store

from tamrf_xr import panchromatic
from tamrf_xr.commits import Commits, Target
from tamrf_xr.cube import (
    CUBE_VERSION,
    OF_NO_SENSOR,
    beside_of,
    grid_of,
    groups_of,
    located,
    validate,
)
from tamrf_xr.encoding import SCALES, floating, limit_of, packing
from tamrf_xr.errors import CubeError, OptionError, OutputExistsError, SourceNotFoundError
from tamrf_xr.geozarr import LAYOUTS, PLAIN_CODEC, for_gdal, georeferenced, unplaced
from tamrf_xr.linkless import FileStore
from tamrf_xr.listing import listing_of, write_listing
from tamrf_xr.origins import places_of
from tamrf_xr.packed import CODECS, as_float32_lazily, is_packed, unpack_lazily
from tamrf_xr.places import Objects, StorageOptions, unreadable
from tamrf_xr.replaceable import LISTING, MANIFEST, MARKER, check_store
from tamrf_xr.replacing import fresh
from tamrf_xr.spatial_ref import find_crs, with_spatial_ref
from tamrf_xr.storable import (
    described,
    storable_attrs,
    storable_attrs_of,
    text_values,
    with_checked_coords,
)
from tamrf_xr.taking import ROOTS, check_target, clear, exists
from tamrf_xr.targets import opened, seen

CHUNK, SHARD = 60, 360
"""Fine pixels across a chunk and a shard on disk: little is read beside a halo; few files."""

TIME_CHUNK = 128
"""Acquisitions in a chunk: the whole series of a year, so that a tile is one read."""


def open_cube(
    store: Any, *, chunks: Any = None, storage_options: StorageOptions = None
) -> xr.DataTree:
    """Open a cube lazily.

    Parameters
    ----------
    store
        Path or URL of a Zarr store (``s3://``, ``gs://``, ``az://``, ``https://``,
        ``memory://``), or a Zarr store object, such as that of a session of Icechunk.
    chunks
        None reads lazily without dask: `fuse` then reads just what each tile needs. ``{}`` or
        sizes give dask arrays, as in `xarray.open_dataset`.
    storage_options
        Of a URL: keys of obstore's configuration (``region``, ``endpoint``, ...), besides
        ``client_options`` and ``retry_config``. What is not given comes from the environment.

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
    path, readable = opened_at(store, storage_options)
    try:
        raw = xr.open_datatree(
            readable, engine="zarr", chunks=chunks, mask_and_scale=False, decode_coords="all"
        )
    except unreadable() as error:
        if isinstance(error, FileNotFoundError) and "://" in path:
            raise SourceNotFoundError(f"no store at {path}; found nothing there") from error
        raise CubeError(f"{path} is not a Zarr store that holds a cube: {error}") from error
    groups = {
        node.path: _unpack(node.to_dataset(inherit=False), plain=node.name in OF_NO_SENSOR)
        for node in raw.subtree
    }
    root = groups["/"]
    tree = xr.DataTree.from_dict({path: _opened(group, root) for path, group in groups.items()})
    validate(tree)
    if "://" in path:
        tree.encoding["source"] = path
    return tree


def opened_at(store: Any, options: StorageOptions) -> tuple[str, Any]:
    """Return the name of a store, and what zarr opens of it."""
    place = seen(store, "store", options)
    if isinstance(place, Path):
        if not place.exists():
            raise SourceNotFoundError(f"no store at {place}; found nothing there")
        return os.fspath(place), os.fspath(place)
    if isinstance(place, Commits):
        if not place.finished:
            raise SourceNotFoundError(
                f"{place} holds nothing finished; a job at work there shows its product at the end"
            )
        return str(place), place.seen()
    return (str(store), store) if place is None else (str(place), place.zarr_store())


def _unpack(group: xr.Dataset, *, plain: bool) -> xr.Dataset:
    """Scale to float32: xarray itself would give float64, for JSON loses the type of the factor.

    In a group that is `plain`, integers stay so: what has no value is their fill.
    """
    packed = {
        name for name, array in group.data_vars.items() if is_packed(array.variable, str(name))
    }
    for name, variable in group.data_vars.items():
        if name in packed and not variable.chunks:
            group[name] = unpack_lazily(variable.variable, str(name))
        elif "scale_factor" in variable.attrs and name in SCALES:
            group[name].attrs["scale_factor"] = np.float32(variable.attrs["scale_factor"])
    fills = {
        str(name): array.attrs.pop("_FillValue")
        for name, array in group.data_vars.items()
        if plain and "_FillValue" in array.attrs
    }
    scaled = [name for name in group.data_vars if "scale_factor" in group[name].attrs]
    unpacked = xr.decode_cf(group, decode_coords="all")
    for name, fill in fills.items():
        unpacked[name].attrs["_FillValue"] = fill
    for name in unpacked.data_vars:
        mapping = unpacked[name].encoding.get("grid_mapping")
        if (name in SCALES or name in scaled) and unpacked[name].dtype == np.float64:
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
    return unplaced(described(placed, find_crs(placed)))


def raw_group(store: Any, options: StorageOptions = None) -> zarr.Group:
    """Open a store that `open_cube` opens as zarr has it: integers, and what was written of them.

    Parameters
    ----------
    store, options
        As of `open_cube`.
    """
    return zarr.open_group(opened_at(store, options)[1], mode="r")


def save_cube(
    cube: xr.DataTree,
    store: Any,
    *,
    overwrite: bool = False,
    chunk: int = CHUNK,
    progress: AbstractContextManager[Any] | None = None,
    storage_options: StorageOptions = None,
    layout: str = "sharded",
) -> None:
    """Write a cube to a Zarr store, whole or not at all.

    Parameters
    ----------
    cube
        The cube.
    store
        Path of the store, on a local or shared file system (also ``~/...`` and ``file:///...``).
        It is written under another name, then renamed: a reader never sees half of it. Or a URL,
        a Zarr store object or a repository of Icechunk; see docs/stores.md.
    overwrite
        Replace a cube or a product that exists, once the new one is whole; nothing else is ever
        replaced.
    chunk
        10 m pixels across a chunk on disk, a multiple of 3. That of tiles by default; to train
        on the cube, that of a patch reads less.
    progress
        Context in which dask computes, such as ``dask.diagnostics.ProgressBar()``.
    storage_options
        As of `open_cube`.
    layout
        ``"sharded"``, Zarr 3; or ``"gdal"``, Zarr 2 without shards and checksums, which GDAL 3.10
        opens.

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
    if layout not in LAYOUTS:
        raise OptionError(f"layout is {layout!r:.40}; the layouts are {', '.join(LAYOUTS)}")
    target = check_place(cube, store, overwrite=overwrite, storage_options=storage_options)
    if not isinstance(target, Path):
        with progress or nullcontext():
            _save_at(target, cube, chunk, layout, overwrite=overwrite)
        return
    with fresh(target, overwrite=overwrite) as partial:
        pending = lay_out(cube, partial, chunk=chunk, layout=layout)
        with progress or nullcontext():
            pending.compute()
        write_listing(partial)  # last: what has one is whole


def check_place(
    cube: xr.DataTree, store: Any, *, overwrite: bool, storage_options: StorageOptions = None
) -> Target:
    """Return where `save_cube` would write; raises as it does, before what may take long."""
    target = opened(store, "store", storage_options)
    if isinstance(target, Path):
        return check_store(target, "store", overwrite=overwrite, inputs=places_of(cube))
    check_target(target, cube, overwrite=overwrite)
    if exists(target) and not overwrite:
        raise OutputExistsError(
            f"{target} exists; pass overwrite=True (--overwrite) to replace it, or name another"
        )
    return target


def _save_at(
    target: Objects | Commits, cube: xr.DataTree, chunk: int, layout: str, *, overwrite: bool
) -> None:
    """Write a cube where there are no folders; readers see nothing of it before it is whole."""
    if isinstance(target, Commits):
        lay_out(cube, target.begin(), chunk=chunk, layout=layout).compute()
        target.note(MANIFEST, b"{}")
        target.commit("saved by tamrf_xr")
        target.publish()
        return
    clear(target, overwrite=overwrite)
    pending = lay_out(cube, target.zarr_store(), chunk=chunk, layout=layout)
    root = next(name for name in ROOTS if target.size(name) is not None)
    document = target.read(root)
    target.delete([root])
    pending.compute()
    target.write(LISTING, listing_of(target, {root: document}))
    target.write(root, document)


def lay_out(
    cube: xr.DataTree, store: Path | Store, *, chunk: int = CHUNK, layout: str = "sharded"
) -> Delayed:
    """Write all of a cube but its pixels: groups, coordinates, attributes, empty arrays.

    Parameters
    ----------
    cube
        A valid cube.
    store
        Path of a store, or one that zarr opened; what is there is replaced.
    chunk
        10 m pixels across a chunk.
    layout
        One of `LAYOUTS`.

    Returns
    -------
    dask.delayed.Delayed
        Computing it writes the pixels.
    """
    # One document of metadata is written below: to_zarr would write it after the pixels.
    place = FileStore(store) if isinstance(store, Path) else store
    tree, version = _storable(cube, chunk), 3
    if layout == "gdal":
        tree, version = tree.map_over_datasets(_plain), 2
    pending = tree.to_zarr(place, mode="w", zarr_format=version, consolidated=False, compute=False)
    if not place.supports_consolidated_metadata:  # Icechunk
        return pending
    with warnings.catch_warnings():
        # Every reader of ours understands it; zarr warns that the v3 text does not have it yet.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(place)
    return pending


def _plain(group: xr.Dataset) -> xr.Dataset:
    """Return a group of `_storable` for Zarr 2: a chunk a date where there was a shard."""
    if not group.data_vars:
        return group
    made = for_gdal(group)
    for name, variable in made.variables.items():
        shards = variable.encoding.pop("shards", None)
        variable.encoding.pop("compressors", None)
        if shards is not None and name in made.data_vars:
            chunks = (1 if variable.dims[0] == "time" else shards[0], *shards[1:])
            variable.encoding |= {"chunks": chunks, "compressors": PLAIN_CODEC}
    return made


def _storable(cube: xr.DataTree, chunk: int) -> xr.DataTree:
    """Clip to what int16 holds, in dask chunks that are whole shards."""
    gsd = {name: grid_of(group).gsd for name, group in groups_of(cube).items()}
    # Shards cover the same ground for every sensor, so that a tile reads as few as can be.
    groups = {
        name: _storable_group(group, chunk, ratio=round(gsd[name] / min(gsd.values())))
        for name, group in groups_of(cube).items()
    }
    groups |= {
        name: _storable_group(group, chunk, ratio=1) for name, group in beside_of(cube).items()
    }
    root = cube.to_dataset()
    # Marked as ours, wherever it came from: what is not is never replaced.
    about = xr.Dataset(attrs=storable_attrs({MARKER: CUBE_VERSION, **root.attrs}))
    return xr.DataTree.from_dict({"/": about, **groups})


def _storable_group(group: xr.Dataset, chunk: int, *, ratio: int) -> xr.Dataset:
    placed = georeferenced(located(described(group, grid_of(group).crs)))
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
    if array.dtype.kind in "iu" and "_FillValue" in array.attrs and name not in SCALES:
        fill = array.attrs["_FillValue"]
        stored.encoding |= {"_FillValue": fill, "fill_value": fill}
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

"""Overviews of a product in Zarr: levels of larger pixels, each the mean of what is there.

A block of 360 pixels of 10 m is read once, for all levels, and its part of each is a chunk a date;
a block that is whole is marked, and a run that was killed does what is left. The store is Zarr 2,
which GDAL 3.10 opens, made in a folder beside its place and renamed once it is whole.
Levels are named in ``multiscales`` (https://github.com/zarr-conventions/multiscales, 0.1.0).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from affine import Affine
from numpy.typing import NDArray
from tqdm import tqdm

from tamrf_xr.cube import CUBE_VERSION, Grid, grid_of, groups_of, located
from tamrf_xr.encoding import SCALES, packing
from tamrf_xr.errors import OptionError
from tamrf_xr.export.cogs import check_finished
from tamrf_xr.geozarr import PLAIN_CODEC, for_gdal, georeferenced
from tamrf_xr.linkless import FileStore
from tamrf_xr.listing import write_listing
from tamrf_xr.machine import usable_cores
from tamrf_xr.packed import pack
from tamrf_xr.paths import PathLike
from tamrf_xr.places import StorageOptions
from tamrf_xr.replaceable import MARKER, check_store
from tamrf_xr.replacing import put_in_place, remove
from tamrf_xr.scale.lock import held
from tamrf_xr.storable import described, storable_attrs, storable_attrs_of
from tamrf_xr.store import SHARD, open_cube, raw_group

FACTORS = (2, 4, 8)
"""Pixels of a level across one of it: to 80 m."""

VARIABLES = (*(name for name in SCALES if name != "panchromatic"), "valid")
"""What levels have of a group."""

_STORE, _LAID, _DONE, _LOCK = "store", "laid-out", "done", "lock"
"""In the folder of a run: what it makes, that it is laid out, which blocks are, who is at work."""

Array = NDArray[Any]


def overview(cube: xr.DataTree, factor: int) -> xr.DataTree:
    """Return one level of a cube or a product, lazily.

    Parameters
    ----------
    cube
        As `tamrf_xr.open_cube` gives it.
    factor
        Pixels across one of the level, at least 2.

    Returns
    -------
    xarray.DataTree
        Reflectance and temperature are means of the pixels that have a value, float32, NaN where
        none has one; ``valid`` is what most pixels are, usable if as many are as are not. A level
        is no cube: its pixels are not those of a sensor. At the far ends its pixels may reach
        beyond the ground.

    Raises
    ------
    OptionError
        If the factor is no such number.
    """
    _check_factors([factor])
    groups = {name: _level(group, factor) for name, group in groups_of(cube).items()}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=cube.attrs), **groups})


def _check_factors(factors: Sequence[Any]) -> None:
    # Blocks are 360 pixels of 10 m or 120 of 30 m.
    wrong = [one for one in factors if not (isinstance(one, int) and one > 1 and not 120 % one)]
    if wrong or not factors or sorted({*factors}) != [*factors]:
        raise OptionError(
            f"factors are {list(factors)!r:.60}; expected numbers above 1 that divide 120, each "
            "once and the smallest first, such as 2 4 8"
        )


def _level(group: xr.Dataset, factor: int) -> xr.Dataset:
    grid = _coarser(grid_of(group), factor)
    arrays = {name: _coarse(group[name], factor) for name in VARIABLES if name in group}
    kept = [name for name in group.coords if not {"y", "x"} & {*group[name].dims}]
    made = xr.Dataset(arrays, attrs=group.attrs).assign_coords(grid.coords())
    return located(made.assign_coords({name: group[name] for name in kept}))


def _coarser(grid: Grid, factor: int) -> Grid:
    gsd, left, top = grid.gsd * factor, grid.transform.c, grid.transform.f
    shape = tuple(-(-size // factor) for size in grid.shape)
    return Grid(grid.crs, Affine(gsd, 0, left, 0, -gsd, top), (shape[0], shape[1]))


def _coarse(array: xr.DataArray, factor: int) -> xr.Variable:
    edges = {dim: SHARD if dim in {"y", "x"} else -1 for dim in array.dims}
    whole = array.variable.chunk(edges).data
    sizes = [tuple(-(-n // factor) for n in sizes) for sizes in whole.chunks[-2:]]
    made = da.map_blocks(
        _shrunk, whole, factor, chunks=(*whole.chunks[:-2], *sizes),
        dtype=bool if array.dtype == bool else np.float32,
    )  # fmt: skip
    return xr.Variable(array.dims, made, array.attrs)


def _shrunk(pixels: Array, factor: int) -> Array:
    """Return means of what has a value, or what most are, of squares that may be cut at the end."""
    beyond = [(0, 0)] * (pixels.ndim - 2) + [(0, -size % factor) for size in pixels.shape[-2:]]
    there = np.pad(pixels, beyond) if pixels.dtype == bool else np.isfinite(pixels)
    rows, columns = (-(-size // factor) for size in pixels.shape[-2:])
    split = (*pixels.shape[:-2], rows, factor, columns, factor)
    if pixels.dtype == bool:
        within = np.pad(np.ones(pixels.shape[-2:], int), beyond[-2:]).reshape(split[-4:])
        return np.asarray(2 * there.reshape(split).sum(axis=(-3, -1)) >= within.sum(axis=(-3, -1)))
    values = np.pad(np.where(there, pixels, 0), beyond).reshape(split)
    count = np.pad(there, beyond).reshape(split).sum(axis=(-3, -1))
    total = values.sum(axis=(-3, -1), dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Levels:
    """What an export of overviews did."""

    path: Path
    """The store."""

    factors: tuple[int, ...]
    """Its levels, groups of these names."""

    blocks: int
    """Blocks that this run wrote."""

    found: int
    """Blocks that an earlier run had written."""


def export_overviews(
    store: Any,
    out: PathLike,
    *,
    factors: Sequence[int] = FACTORS,
    overwrite: bool = False,
    workers: int | None = None,
    progress: bool = True,
    storage_options: StorageOptions = None,
) -> Levels:
    """Write levels of a product or a cube into a store of their own; a rerun does what is left.

    Parameters
    ----------
    store
        As of `tamrf_xr.open_cube`.
    out
        Path of the store of the levels.
    factors
        Levels, by pixels across one of theirs; divisors of 120.
    overwrite
        Replace overviews, a cube or a job of ours that is there.
    workers
        Blocks at once; by default as many as there are cores. Each holds 360 x 360 pixels of all
        dates.
    progress
        Show a bar.
    storage_options
        As of `tamrf_xr.open_cube`.

    Returns
    -------
    Levels
        What was written.

    Raises
    ------
    OptionError
        If a factor is none, or `out` is, or lies in, the store.
    OutputExistsError
        If something is there that may not be replaced.
    JobError
        If the product is not finished, or another run makes these.
    """
    _check_factors(factors)
    if workers is not None and workers < 1:
        raise OptionError(f"workers must be at least 1, got {workers}")
    cube = open_cube(store, storage_options=storage_options)
    check_finished(store, storage_options)
    inputs = [store] if isinstance(store, str | Path) else []
    target = check_store(out, "store of overviews", overwrite=overwrite, inputs=inputs)
    raw = raw_group(store, storage_options).metadata.to_dict()
    asked = json.dumps([list(factors), raw], sort_keys=True, default=str)
    name = f".{target.name}.{hashlib.sha256(asked.encode()).hexdigest()[:16]}.overviews"
    work = target.with_name(name)
    work.mkdir(parents=True, exist_ok=True)
    with held(work / _LOCK):
        if not (work / _LAID).exists():
            _lay_out(cube, factors, work)
        left, found = _left(cube, work)
        _write(cube, factors, work, left, workers=workers or usable_cores(), shown=progress)
        write_listing(work / _STORE)
        put_in_place(work / _STORE, target, overwrite=overwrite)
    remove(work)
    return Levels(target, tuple(factors), len(left), found)


# The store


def _lay_out(cube: xr.DataTree, factors: Sequence[int], work: Path) -> None:
    levels = {
        f"/{factor}/{name}": _storable(_level(group, factor), factor)
        for factor in factors
        for name, group in groups_of(cube).items()
    }
    about = storable_attrs({MARKER: CUBE_VERSION, **cube.attrs}) | multiscales(factors)
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=about), **levels})
    place = FileStore(work / _STORE)
    tree.to_zarr(place, mode="w", zarr_format=2, consolidated=False, compute=False)
    zarr.consolidate_metadata(place)
    for mark in (work / _DONE).glob("*"):
        mark.unlink()
    (work / _DONE).mkdir(exist_ok=True)
    (work / _LAID).touch()


def multiscales(factors: Sequence[int]) -> dict[str, Any]:
    """Return the attributes that name levels; where each lies, its groups say."""
    layout = [
        {"asset": str(factor), "transform": {"scale": [factor / factors[0]] * 2}}
        for factor in factors
    ]
    return {"multiscales": {"version": "0.1.0", "resampling_method": "average", "layout": layout}}


def _storable(level: xr.Dataset, factor: int) -> xr.Dataset:
    grid = grid_of(level)
    placed = georeferenced(located(described(level, grid.crs)))
    placed.attrs = storable_attrs(placed.attrs)
    for name, array in placed.data_vars.items():
        edge = _block(grid.gsd / factor) // factor
        shape = (1, *array.shape[1:-2], edge, edge)
        array.attrs = storable_attrs_of(array, physical=name in SCALES)
        array.encoding = packing(str(name)) | {"chunks": shape, "compressors": PLAIN_CODEC}
    return for_gdal(placed)


def _block(gsd: float) -> int:
    """Return the pixels across a block: as much ground for every sensor."""
    return SHARD if gsd < 20 else SHARD // 3


Block = tuple[str, int, int]


def _left(cube: xr.DataTree, folder: Path) -> tuple[list[Block], int]:
    every = [(name, *at) for name, group in groups_of(cube).items() for at in _blocks(group)]
    left = [block for block in every if not _mark(folder, block).exists()]
    return left, len(every) - len(left)


def _blocks(group: xr.Dataset) -> Iterator[tuple[int, int]]:
    grid = grid_of(group)
    rows, columns = (range(-(-size // _block(grid.gsd))) for size in grid.shape)
    yield from product(rows, columns)


def _mark(folder: Path, block: Block) -> Path:
    return folder / _DONE / "_".join(map(str, block))


def _write(
    cube: xr.DataTree, factors: Sequence[int], folder: Path, left: Sequence[Block],
    *, workers: int, shown: bool,
) -> None:  # fmt: skip
    root: zarr.Group = zarr.open_group(FileStore(folder / _STORE), mode="r+")

    def one(block: Block) -> None:
        _write_block(groups_of(cube)[block[0]], factors, root, block)
        _mark(folder, block).touch()

    with ThreadPoolExecutor(workers) as pool:
        bar = tqdm(total=len(left), unit="block", disable=not shown)
        for _ in pool.map(one, left):
            bar.update()
        bar.close()


def _write_block(group: xr.Dataset, factors: Sequence[int], root: zarr.Group, block: Block) -> None:
    name, row, column = block
    edge = _block(grid_of(group).gsd)
    for variable in [one for one in VARIABLES if one in group]:
        inside = (slice(at * edge, (at + 1) * edge) for at in (row, column))
        pixels = group[variable].isel(dict(zip("yx", inside, strict=True))).values
        for factor in factors:
            made = _shrunk(pixels, factor)
            size = edge // factor
            array: Any = root[f"{factor}/{name}/{variable}"]
            rows = slice(row * size, row * size + made.shape[-2])
            columns = slice(column * size, column * size + made.shape[-1])
            array[..., rows, columns] = made if variable == "valid" else pack(made, variable)

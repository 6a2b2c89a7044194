"""Where a cube is read from: the Zarr arrays behind lazy variables and dask graphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
from dask.highlevelgraph import MaterializedLayer
from xarray.backends.zarr import ZarrArrayWrapper
from xarray.core.indexing import CopyOnWriteArray, LazilyIndexedArray, MemoryCachedArray
from zarr.storage import LocalStore

from tamrf_xr.packed import Unpacked

_INNER = ("array", "_array", "_variable", "_data", "value")
"""Attributes under which xarray, dask and `tamrf_xr.packed` keep what they wrap."""

_DEEPEST = 24

_TRANSPARENT = (
    xr.Variable,
    MemoryCachedArray,
    CopyOnWriteArray,
    LazilyIndexedArray,
    ZarrArrayWrapper,
)
"""Wrappers that change no value."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A Zarr array on a file system."""

    root: Path
    """Its store."""

    array: zarr.Array[Any]
    """The array."""

    start: tuple[int, ...] | None
    """Where what is read begins in it, if that is a window of it."""

    plain: bool
    """Whether its values are read as they are, but for `packed`."""

    packed: str
    """The variable as which `tamrf_xr.packed` unpacks it; empty where it does not."""

    shape: tuple[int, ...]
    """Of what is read."""

    @property
    def whole(self) -> bool:
        """Whether a window of what is read is the same window of the array."""
        return self.start is not None and not any(self.start) and self.shape == self.array.shape

    @property
    def folder(self) -> Path:
        """Where its metadata and chunks lie."""
        return self.root / self.array.path


def origins_of(variable: xr.Variable) -> list[Origin]:
    """List the Zarr arrays on file systems that a variable is read from."""
    graph = getattr(variable.data, "dask", None) if variable.chunks else None
    if graph is None:
        found = _unwrapped(variable)
        return [found] if found else []
    found_in = (_unwrapped(leaf) for leaf in _leaves(variable))
    return [replace(one, start=None) for one in found_in if one]


def _leaves(variable: xr.Variable) -> Iterator[Any]:
    """Give what a graph reads: it stands alone in a layer, once for all blocks."""
    for layer in getattr(getattr(variable.data, "dask", None), "layers", {}).values():
        if isinstance(layer, MaterializedLayer) and len(layer) == 1:
            yield next(iter(layer.values()))


def zarr_array_of(variable: xr.Variable) -> zarr.Array[Any] | None:
    """Return a Zarr array that a variable is read from, on whatever store; None where none is."""
    wrapped: list[Any] = list(_leaves(variable)) if variable.chunks else [variable]
    return next((found for one in wrapped if (found := _array_in(one)) is not None), None)


def _array_in(wrapped: Any) -> zarr.Array[Any] | None:
    for _ in range(_DEEPEST):
        if isinstance(wrapped, zarr.Array):
            return wrapped
        inner = next((name for name in _INNER if hasattr(wrapped, name)), None)
        if inner is None:
            return None
        wrapped = getattr(wrapped, inner)
    return None


def _unwrapped(wrapped: Any) -> Origin | None:
    shape = getattr(wrapped, "shape", ())
    start: tuple[int, ...] | None = (0,) * len(shape)
    plain, packed = True, ""
    for _ in range(_DEEPEST):
        if isinstance(wrapped, zarr.Array):
            if not isinstance(wrapped.store, LocalStore):
                return None
            return Origin(Path(wrapped.store.root), wrapped, start, plain, packed, shape)
        start = _shifted(start, wrapped)
        if isinstance(wrapped, Unpacked):
            packed = wrapped.name
        elif not isinstance(wrapped, _TRANSPARENT):
            plain = False
        inner = next((name for name in _INNER if hasattr(wrapped, name)), None)
        if inner is None:
            return None
        wrapped = getattr(wrapped, inner)
    return None


def _shifted(start: tuple[int, ...] | None, wrapped: Any) -> tuple[int, ...] | None:
    """Add where a lazily indexed array begins in what it wraps; None where that is no window."""
    key = getattr(getattr(wrapped, "key", None), "tuple", ())
    windows = all(isinstance(part, slice) and part.step in {None, 1} for part in key)
    if start is None or not windows:
        return None
    if not key:
        return start
    return tuple(at + (part.start or 0) for at, part in zip(start, key, strict=True))


def places_of(cube: xr.DataTree) -> set[Path]:
    """Return the stores and files on file systems that a cube is read from."""
    return {place for node in cube.subtree for place in _places(node)}


def _places(node: xr.DataTree) -> Iterator[Path]:
    dataset = node.to_dataset(inherit=False)
    lazy = [variable for variable in dataset.variables.values() if not variable._in_memory]
    # What was loaded needs its source no more.
    encodings = [node.encoding, dataset.encoding, *(v.encoding for v in lazy)] if lazy else []
    for encoding in encodings:
        source = encoding.get("source")
        if isinstance(source, (str, Path)) and Path(source).exists():
            yield Path(source)
    for variable in lazy:
        yield from (origin.root for origin in origins_of(variable))

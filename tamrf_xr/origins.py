"""Where a cube is read from: the Zarr arrays behind lazy variables and dask graphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
from dask.highlevelgraph import MaterializedLayer
from zarr.storage import LocalStore

_INNER = ("array", "_array", "_variable", "_data", "value")
"""Attributes under which xarray, dask and `tamrf_xr.packed` keep what they wrap."""

_DEEPEST = 24


@dataclass(frozen=True, slots=True)
class Origin:
    """A Zarr array on a file system."""

    root: Path
    """Its store."""

    array: zarr.Array[Any]
    """The array."""

    whole: bool
    """Whether it is read as it is: then a window of what is read is a window of it."""

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
    # What is read stands alone in a layer, once for all blocks.
    leaves = (
        next(iter(layer.values()))
        for layer in getattr(graph, "layers", {}).values()
        if isinstance(layer, MaterializedLayer) and len(layer) == 1
    )
    found_in = (_unwrapped(leaf) for leaf in leaves)
    return [Origin(one.root, one.array, whole=False) for one in found_in if one]


def _unwrapped(wrapped: Any) -> Origin | None:
    whole, shape = True, getattr(wrapped, "shape", None)
    for _ in range(_DEEPEST):
        if isinstance(wrapped, zarr.Array):
            store = wrapped.store
            same = whole and wrapped.shape == shape
            return (
                Origin(Path(store.root), wrapped, same) if isinstance(store, LocalStore) else None
            )
        whole = whole and _takes_all(wrapped)
        inner = next((name for name in _INNER if hasattr(wrapped, name)), None)
        if inner is None:
            return None
        wrapped = getattr(wrapped, inner)
    return None


def _takes_all(wrapped: Any) -> bool:
    """Tell whether a lazily indexed array takes all of what it wraps, in its order."""
    key = getattr(getattr(wrapped, "key", None), "tuple", ())
    return all(isinstance(part, slice) and part.step in {None, 1} for part in key)


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

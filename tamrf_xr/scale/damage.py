"""What of a store is not as it was written: by sizes and hashes, or by reading every chunk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from tamrf_xr.commits import Commits, Target
from tamrf_xr.errors import CubeError, OptionError, SourceNotFoundError
from tamrf_xr.listing import check_listing, read_listing
from tamrf_xr.machine import usable_cores
from tamrf_xr.places import Objects, StorageOptions
from tamrf_xr.scale.ledger import forget, read_done, read_manifest, why_damaged
from tamrf_xr.scale.writing import at
from tamrf_xr.taking import exists
from tamrf_xr.targets import seen

Index = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of a store."""

    store: Target
    """Which."""

    deep: bool
    """Whether every chunk was read."""

    tiles: int | None = None
    """Tiles of its job; None where none made it."""

    done: int = 0
    """Tiles that were recorded, the damaged ones included."""

    damaged: Mapping[Index, str] = field(default_factory=dict)
    """Per damaged tile, what is wrong."""

    files: tuple[str, ...] = ()
    """What is wrong with files beside tiles: a line each."""

    listed: bool = True
    """Whether the store says what it was written with."""

    @property
    def ok(self) -> bool:
        """Whether all is there and as it was written."""
        return not (self.damaged or self.files) and self.tiles in {None, self.done}

    def __str__(self) -> str:
        """Return lines for a person to read."""
        lines = [f"tile {index}: {why}" for index, why in self.damaged.items()]
        lines += list(self.files)
        return "\n".join([*lines, self._sum()])

    def _sum(self) -> str:
        how = "every chunk read" if self.deep else "sizes and metadata compared"
        wrong = len(self.damaged) + len(self.files)
        told = f"{self.store}: {wrong or 'nothing'} damaged, {how}"
        if self.tiles is not None:
            told += f"; {self.done} of {self.tiles} tiles done"
        if self.damaged:
            told += "; run its job again to mend these tiles"
        elif self.files:
            told += "; write it again"
        elif self.tiles not in {None, self.done}:
            told += "; run its job again to do the rest"
        elif not self.listed and not self.deep:
            told += "; it does not say what it was written with: --deep reads it all"
        return told


def verify(store: Any, *, deep: bool = False, storage_options: StorageOptions = None) -> Verdict:
    """Tell whether a cube or a product is as it was written.

    Damaged tiles of a product are taken out of its ledger, where the store may be written: a rerun
    of the job then makes just these.

    Parameters
    ----------
    store
        Path, URL or Zarr store object of the store.
    deep
        Read every chunk, whose checksum then tells of a flipped bit.
    storage_options
        As of `tamrf_xr.open_cube`.

    Raises
    ------
    SourceNotFoundError
        If there is no store.
    CubeError
        If it cannot be opened.
    """
    path = seen(store, "store", storage_options)
    if path is None:
        raise OptionError(f"a {type(store).__name__} is not verified; name its path or URL")
    if isinstance(path, Objects) and not path.lists:
        raise OptionError(f"{path} is behind a web server, which lists nothing; verify a copy")
    if not (path.is_dir() if isinstance(path, Path) else exists(path)):
        raise SourceNotFoundError(f"no store at {path}; found nothing there")
    try:
        arrays = dict(_arrays(path))
    except (OSError, ValueError, KeyError) as error:
        raise CubeError(f"{path} cannot be opened ({error}); write it again") from error
    listing = None if isinstance(path, Commits) else read_listing(path)
    manifest = read_manifest(path)
    files = []
    if listing is not None and not isinstance(path, Commits):
        files = check_listing(path, listing)
    if manifest is None:
        files += _unreadable(arrays) if deep else []
        return Verdict(path, deep, files=tuple(files), listed=listing is not None)
    done = read_done(path)
    damaged = find_damaged(path, done, deep=deep)
    if damaged and not (isinstance(path, Path) and not os.access(path, os.W_OK)):
        forget(path, damaged)
    rows, cols = manifest.counts
    beside = {name: array for name, array in arrays.items() if name not in _tiled(arrays)}
    files += _unreadable(beside) if deep else []
    return Verdict(path, deep, rows * cols, len(done), damaged, tuple(dict.fromkeys(files)))


def find_damaged(store: Target, done: Iterable[Index], *, deep: bool = False) -> dict[Index, str]:
    """Return which of the tiles that are done are not as they were recorded, and what is wrong.

    Parameters
    ----------
    store
        A store of a job.
    done
        Tiles to look at.
    deep
        Read every chunk.
    """
    there = dict(_arrays(store)) if deep else {}
    arrays = [there[name] for name in _tiled(there)]

    def look(index: Index) -> tuple[Index, str | None]:
        wrong = why_damaged(store, index)
        if deep and wrong is None:
            wrong = next(filter(None, (_why(a, _window(a, index)) for a in arrays)), None)
        return index, wrong

    remote = not isinstance(store, Path)
    with ThreadPoolExecutor(16 if remote else min(8, usable_cores())) as pool:
        found = pool.map(look, sorted(done)) if deep or remote else map(look, sorted(done))
        return {index: wrong for index, wrong in found if wrong}


def _tiled(arrays: Mapping[str, zarr.Array[Any]]) -> list[str]:
    """Return, of the arrays of a store, those that a job writes: images."""
    return [name for name, array in arrays.items() if name.count("/") == 1 and array.ndim >= 3]


def _window(array: zarr.Array[Any], index: Index) -> tuple[Any, ...]:
    edges = (array.shards or array.chunks)[-2:]
    return (..., *(slice(i * edge, (i + 1) * edge) for i, edge in zip(index, edges, strict=True)))


def _why(array: zarr.Array[Any], place: tuple[Any, ...]) -> str | None:
    """Read a part of an array; return why that fails."""
    try:
        array[place]
    except Exception as error:  # noqa: BLE001  (codecs raise what they like; it is what is asked)
        return f"{array.path or array.store_path}: {type(error).__name__}: {error}"
    return None


def _arrays(store: Target) -> Iterator[tuple[str, zarr.Array[Any]]]:
    group = zarr.open_group(at(store).zarr_store(), mode="r")
    for name, node in group.members(max_depth=None):
        if isinstance(node, zarr.Array):
            yield name, node


def _unreadable(arrays: Mapping[str, zarr.Array[Any]]) -> list[str]:
    """Read arrays file by file; return a line for each that cannot be read."""
    wrong = []
    for name, array in arrays.items():
        for index in np.ndindex(*_counts(array)):
            edges = array.shards or array.chunks
            region = tuple(slice(i * e, (i + 1) * e) for i, e in zip(index, edges, strict=True))
            if (why := _why(array, region)) is not None:
                key = array.metadata.encode_chunk_key(index)
                wrong.append(f"{name}/{key} cannot be read: {why.partition(': ')[2]}")
    return wrong


def _counts(array: zarr.Array[Any]) -> tuple[int, ...]:
    edges = array.shards or array.chunks
    return tuple(-(-size // edge) for size, edge in zip(array.shape, edges, strict=True))

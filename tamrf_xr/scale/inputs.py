"""Whether what a job reads is still what it was planned on: looked at before and after a tile.

Zarr takes a chunk that is missing for no data, so an input that is moved, cut short or not mounted
would read as an empty one. The plan:
1. Where a job starts, each array on a file system is listed: which chunk files there are, their
   sizes and times, the hash of its metadata; and which a cube says it was written with.
2. A tile compares the files that its windows touch before it reads, and again before it is
   recorded: a `stat` each. Where windows do not map to files (dask, slices), it compares folders,
   and lists those that have changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from tamrf_xr.commits import Target
from tamrf_xr.errors import InputChangedError
from tamrf_xr.listing import Listing, read_listing
from tamrf_xr.origins import Origin, origins_of
from tamrf_xr.owners import boot
from tamrf_xr.scale.reading import READABLE, Days, window_of
from tamrf_xr.scale.writing import at
from tamrf_xr.tiles import Window

ABSENT, LOST = -1, -2
"""Instead of a size: there is no such chunk; there was one when the cube was written."""

KEPT = ".tamrf_job/chunks.json"
"""File of a job: which chunks of its input there were when it was laid out."""

DOCUMENTS = ("zarr.json", ".zarray", ".zattrs")

Stamps = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ChunkFiles:
    """The files of one Zarr array, as they were when the job was planned."""

    root: Path
    """Store."""

    folder: Path
    """Of the array."""

    metadata: Any
    """Of the array: which chunk has which name."""

    chunk: tuple[int, ...]
    """Elements of a file along each dimension."""

    stamps: Stamps
    """Per file of the grid of chunks, bytes and nanoseconds: ``(..., 2)``."""

    documents: Mapping[Path, str]
    """SHA-256 of the metadata of store and array."""

    whole: bool
    """Whether a window of what is read is a window of the array."""

    planned: str
    """Boot of the machine that listed it: elsewhere times may be other ones."""

    def check(self, region: Sequence[slice] | None) -> None:
        """Compare the files of a region, or all, with what they were.

        Raises
        ------
        InputChangedError
            Naming the file.
        """
        for path, digest in self.documents.items():
            if _known_digest(path) != digest:
                raise InputChangedError(
                    f"the input {self.root} is another than when the job began, or gone: {path}"
                )
        if region is not None and self.whole:
            self._compare(_touched(region, self.chunk))
        elif not _unchanged(self.folder):
            # The folders first: what changes while files are compared is seen the next time.
            folders = _folder_times(self.folder)
            self._compare(np.ndindex(self.stamps.shape[:-1]))
            _FOLDERS[self.folder] = folders

    def _compare(self, indices: Any) -> None:
        near = self.planned == boot()
        for index in indices:
            size, time = self.stamps[index].tolist()
            path = self.folder / self.metadata.encode_chunk_key(index)
            found = _stamp(path)
            if size == LOST and found is None:
                raise InputChangedError(
                    f"{path} is missing, though {self.root} was written with it"
                )
            if found is None and size != ABSENT:
                raise InputChangedError(f"{path} is gone since the job began")
            if found is not None and (found[0] != size or (near and found[1] != time)):
                raise InputChangedError(f"{path} has changed since the job began")


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size, status.st_mtime_ns


def _touched(region: Sequence[slice], chunk: Sequence[int]) -> Iterator[tuple[int, ...]]:
    spans = (range(s.start // c, -(-s.stop // c)) for s, c in zip(region, chunk, strict=True))
    return product(*spans)


_DIGESTS: dict[Path, tuple[tuple[int, ...], str]] = {}


def _known_digest(path: Path) -> str:
    """Return the hash of a file, read again where the file has changed; empty where it is gone."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    known = _DIGESTS.get(path)
    if known is None or known[0] != stamp:
        known = _DIGESTS[path] = (stamp, hashlib.sha256(path.read_bytes()).hexdigest())
    return known[1]


_Folders = dict[str, tuple[int, int, int] | None]
_FOLDERS: dict[Path, _Folders] = {}


def _unchanged(folder: Path) -> bool:
    """Tell whether the folders of an array are as they were when its files were last compared."""
    known = _FOLDERS.get(folder)
    return known is not None and all(_folder_stamp(name) == time for name, time in known.items())


def _folder_times(folder: Path) -> _Folders:
    return {parent: _folder_stamp(parent) for parent, _, _ in os.walk(folder)}


def _folder_stamp(folder: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Inputs:
    """All arrays on file systems that a job reads."""

    files: Mapping[str, Sequence[tuple[str, ChunkFiles]]] = field(default_factory=dict)
    """Per sensor, names of variables and their files."""

    def check(self, windows: Mapping[str, Window], days: Mapping[str, Days]) -> None:
        """Compare what a tile reads with what it was.

        Raises
        ------
        InputChangedError
            If a file is gone, or another.
        """
        for sensor, arrays in self.files.items():
            positions = [position for day in days[sensor] for position in day]
            for variable, files in arrays:
                files.check(_region(files, window_of(variable, windows[sensor]), positions))

    def check_all(self) -> None:
        """Compare everything with what it was.

        Raises
        ------
        InputChangedError
            If a file is gone, or another.
        """
        for arrays in self.files.values():
            for _, files in arrays:
                _FOLDERS.pop(files.folder, None)
                files.check(None)


def _region(files: ChunkFiles, window: Window, positions: list[int]) -> list[slice] | None:
    if not files.whole or not positions:
        return None
    shape = files.metadata.shape
    middle = [slice(0, size) for size in shape[1:-2]]
    return [slice(min(positions), max(positions) + 1), *middle, window.y, window.x]


def inputs_of(groups: Mapping[str, xr.Dataset]) -> Inputs:
    """List what a job on the groups of a cube reads from file systems."""
    listings: dict[Path, Listing | None] = {}
    found: dict[str, list[tuple[str, ChunkFiles]]] = {}
    for sensor, group in groups.items():
        for name in (name for name in READABLE if name in group):
            for origin in origins_of(group[name].variable):
                if origin.root not in listings:
                    listings[origin.root] = read_listing(origin.root)
                files = _listed(origin, listings[origin.root])
                found.setdefault(sensor, []).append((name, files))
    return Inputs(found)


def expect(inputs: Inputs, store: Target) -> Inputs:
    """Hold inputs against what they were when the store was laid out; keep that where it is new.

    A chunk that was there for the first run, and is not for this one, is lost.
    """
    try:
        before: dict[str, str] = json.loads(at(store).read(KEPT))
    except (FileNotFoundError, ValueError):
        _keep(store, json.dumps(_present(inputs), indent=1) + "\n")
        return inputs
    for name, files in _named(inputs):
        there = np.frombuffer(base64.b64decode(before.get(name, "")), np.uint8)
        bits = np.unpackbits(there, count=files.stamps[..., 0].size) if there.size else None
        if bits is not None:
            sizes = files.stamps[..., 0]
            sizes[(bits.reshape(sizes.shape) == 1) & (sizes == ABSENT)] = LOST
    return inputs


def _keep(store: Target, text: str) -> None:
    if not isinstance(store, Path):
        store.note(KEPT, text.encode())
        return
    partial = store / f"{KEPT}.partial"
    partial.write_text(text)
    partial.replace(store / KEPT)


def _present(inputs: Inputs) -> dict[str, str]:
    """Return which chunks there are, a bit each."""
    return {name: _bits(files.stamps[..., 0]) for name, files in _named(inputs)}


def _bits(sizes: Stamps) -> str:
    return base64.b64encode(np.packbits(sizes.ravel() != ABSENT).tobytes()).decode()


def _named(inputs: Inputs) -> Iterator[tuple[str, ChunkFiles]]:
    for sensor, arrays in inputs.files.items():
        for place, (variable, files) in enumerate(arrays):
            shape = "x".join(map(str, files.stamps.shape[:-1]))
            yield f"{sensor}/{variable} {place} {shape}", files


def _listed(origin: Origin, listing: Listing | None) -> ChunkFiles:
    array, folder = origin.array, origin.folder
    chunk = tuple(array.shards or array.chunks)
    counts = tuple(-(-size // length) for size, length in zip(array.shape, chunk, strict=True))
    stamps = np.full((*counts, 2), ABSENT, np.int64)
    expected = set() if listing is None else set(listing.chunks)
    there = {path for parent, _, names in os.walk(folder) for path in _joined(parent, names)}
    for index in np.ndindex(counts):
        path = os.path.join(folder, array.metadata.encode_chunk_key(index))
        if path in there and (stamp := _stamp(Path(path))):
            stamps[index] = stamp
        elif expected and Path(path).relative_to(origin.root).as_posix() in expected:
            stamps[index] = LOST
    documents = {origin.root / name for name in DOCUMENTS} | {folder / name for name in DOCUMENTS}
    kept = {path: digest for path in sorted(documents) if (digest := _known_digest(path))}
    return ChunkFiles(
        origin.root, folder, array.metadata, chunk, stamps, kept, origin.whole, boot()
    )


def _joined(parent: str, names: list[str]) -> Iterator[str]:
    return (os.path.join(parent, name) for name in names)

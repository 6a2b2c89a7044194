"""Chunks of Zarr arrays on file systems, read and written straight, in the calling thread.

zarr-python takes each chunk through an event loop and a pool of threads: for the chunks of a tile
that costs more than to decode them. What is read and written here is the layout of our own stores,
Zarr 3 with blosc and crc32c, in shards or not (https://zarr-specs.readthedocs.io, version 3.1);
`layout_of` knows no other, and all else goes through zarr-python.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import Blosc, blosc  # type: ignore[import-untyped]
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    ShardingCodec,
)
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

from tamrf_xr.machine import usable_cores

Array = npt.NDArray[Any]
Region = Sequence[slice]

_NOWHERE = 2**64 - 1
"""Offset and length, in the index of a shard, of a chunk that holds nothing but the fill value."""

_CHECKSUM, _ENTRY = 4, 16
"""Bytes of a checksum, and of a chunk's offset and length."""

_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}


@dataclass(frozen=True, slots=True)
class Layout:
    """How an array lies in its files."""

    shape: tuple[int, ...]
    file: tuple[int, ...]
    """Elements of a file along each dimension."""

    chunk: tuple[int, ...]
    """Elements of a chunk."""

    sharded: bool
    """Whether a file holds several chunks and an index."""

    dtype: np.dtype[Any]
    fill: Any
    """Value of chunks that are not stored."""

    blosc: tuple[bytes, int, int, int]
    """Compressor, level, shuffle, block size."""

    checked: bool
    """Whether a chunk ends with its CRC-32C."""

    name_of: Callable[[tuple[int, ...]], str]
    """Names the file at an index."""

    @property
    def per_file(self) -> tuple[int, ...]:
        """Chunks of a file along each dimension."""
        return tuple(file // chunk for file, chunk in zip(self.file, self.chunk, strict=True))


def layout_of(array: zarr.Array[Any], *, floats: bool = False) -> Layout | None:
    """Describe an array that is read and written straight; None of one that is not.

    Floats are written straight where that is asked, but not read.
    """
    metadata = array.metadata
    if not array.shape or 0 in array.shape:
        return None
    if isinstance(metadata, ArrayV2Metadata):
        return _layout_of_v2(array, metadata)
    return _layout_of_v3(array, metadata, "biuf" if floats else "biu")


def _layout_of_v3(array: zarr.Array[Any], metadata: ArrayV3Metadata, dtypes: str) -> Layout | None:
    codecs, sharded = metadata.codecs, False
    if len(codecs) == 1 and isinstance(codecs[0], ShardingCodec):
        outer = codecs[0]
        plain = [type(codec) for codec in outer.index_codecs] == [BytesCodec, Crc32cCodec]
        if _configuration(outer)["index_location"] != "end" or not plain:
            return None
        codecs, sharded = outer.codecs, True
    kinds = [type(codec) for codec in codecs]
    if kinds not in ([BytesCodec, BloscCodec], [BytesCodec, BloscCodec, Crc32cCodec]):
        return None
    dtype = array.dtype
    if dtype.kind not in dtypes or not dtype.isnative or sys.byteorder != "little":
        return None
    packed = _configuration(codecs[1])
    if packed["typesize"] != dtype.itemsize:
        return None
    return Layout(
        array.shape,
        array.shards or array.chunks,
        array.chunks,
        sharded,
        dtype,
        metadata.fill_value,
        (
            packed["cname"].encode(),
            packed["clevel"],
            _SHUFFLES[packed["shuffle"]],
            packed["blocksize"],
        ),
        len(codecs) == 3,
        metadata.encode_chunk_key,
    )


def _configuration(codec: Any) -> Any:
    """Return a codec as metadata have it: its attributes are enums before zarr 3.4, text since."""
    return codec.to_dict()["configuration"]


def _layout_of_v2(array: zarr.Array[Any], metadata: ArrayV2Metadata) -> Layout | None:
    """Describe an array of Zarr 2 whose chunks are blosc alone; its chunks are its files."""
    packed, dtype = metadata.compressor, array.dtype
    if not isinstance(packed, Blosc) or metadata.filters or metadata.order != "C":
        return None
    known = dtype.kind in "biu" and dtype.isnative and sys.byteorder == "little"
    if not known or metadata.fill_value is None or packed.shuffle < 0:
        return None
    return Layout(
        array.shape,
        array.chunks,
        array.chunks,
        sharded=False,
        dtype=dtype,
        fill=metadata.fill_value,
        blosc=(packed.cname.encode(), packed.clevel, packed.shuffle, packed.blocksize),
        checked=False,
        name_of=metadata.encode_chunk_key,
    )


SHARED = 2**20
"""Elements of chunks from which on several threads decode them."""

READERS = min(usable_cores(), 4)
"""Threads that decode in a process: each holds a chunk, and a node may run many processes."""

CACHED = 2**17
"""Elements handed on at a time, a date at least: what is done to them is done in the cache."""

Index = tuple[slice, ...]
Put = Callable[[Array, Index], None]
"""Takes numbers of a store and their place in what was asked for, in any order, on any thread."""


@dataclass(frozen=True, slots=True)
class Files:
    """An array in the files of a folder."""

    folder: Path
    layout: Layout

    def read(self, times: Sequence[int], region: Region, put: Put) -> None:
        """Read a window.

        Parameters
        ----------
        times
            Positions along the first dimension, in any order.
        region
            Slices along the others, within the array.
        put
            Called with the numbers, part by part; every element comes once.

        Raises
        ------
        OSError
            If a file cannot be read, or a chunk is damaged: which one.
        """
        pieces = list(_pieces(self.layout, times, region))
        if len(pieces) * prod(self.layout.chunk) < SHARED:
            self._read(pieces, put)
            return
        shares = (pieces[one::READERS] for one in range(READERS))
        list(_pool(os.getpid()).map(partial(self._read, put=put), shares))

    def _read(self, pieces: Sequence[_Piece], put: Put) -> None:
        room = np.empty(self.layout.chunk, self.layout.dtype)
        for file, wanted in self._by_file(pieces).items():
            with _File(self.folder / self.layout.name_of(file), self.layout) as stored:
                for piece in wanted:
                    if not stored.read(piece.chunk, room):
                        room[...] = self.layout.fill
                    for source, target in piece.times:
                        put(room[(source, *piece.inside)], (target, *piece.place))

    def _by_file(self, pieces: Sequence[_Piece]) -> dict[tuple[int, ...], list[_Piece]]:
        found: dict[tuple[int, ...], list[_Piece]] = {}
        for piece in pieces:
            file = tuple(c // n for c, n in zip(piece.chunk, self.layout.per_file, strict=True))
            found.setdefault(file, []).append(piece)
        return found


@cache
def _pool(_process: int) -> ThreadPoolExecutor:
    """Return the threads that all reads of a process share: a fork has none of its parent's."""
    return ThreadPoolExecutor(READERS, thread_name_prefix="tamrf-read")


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is wanted of a chunk."""

    chunk: tuple[int, ...]
    times: Sequence[tuple[slice, slice]]
    """Positions in the chunk and in what is asked."""

    inside: Index
    """Along the other dimensions, where it is in the chunk."""

    place: Index
    """Where it goes."""


def _pieces(layout: Layout, times: Sequence[int], region: Region) -> Iterator[_Piece]:
    step = max(1, CACHED // max(1, prod(layout.chunk[1:])))
    axes = [_along(one, size) for one, size in zip(region, layout.chunk[1:], strict=True)]
    for (first, wanted), *rest in product(_runs(times, layout.chunk[0], step).items(), *axes):
        chunk, inside, place = zip(*rest, strict=True) if rest else ((), (), ())
        yield _Piece((first, *chunk), wanted, inside, place)


def _runs(times: Sequence[int], length: int, step: int) -> dict[int, list[tuple[slice, slice]]]:
    """Return, per chunk, runs of at most `step` consecutive times: in the chunk, and where they go.

    Examples
    --------
    >>> _runs([3, 4, 9], length=8, step=4)
    {0: [(slice(3, 5, None), slice(0, 2, None))], 1: [(slice(1, 2, None), slice(2, 3, None))]}
    """
    found: dict[int, list[tuple[slice, slice]]] = {}
    for target, time in enumerate(times):
        runs, at = found.setdefault(time // length, []), time % length
        if runs:
            source, place = runs[-1]
            if source.stop == at and place.stop == target and at - source.start < step:
                runs[-1] = slice(source.start, at + 1), slice(place.start, target + 1)
                continue
        runs.append((slice(at, at + 1), slice(target, target + 1)))
    return found


def _along(wanted: slice, length: int) -> list[tuple[int, slice, slice]]:
    """List the chunks of a dimension that a slice touches: number, part of it, where that goes."""
    found = []
    for chunk in range(wanted.start // length, -(-wanted.stop // length)):
        start = chunk * length
        low, high = max(start, wanted.start), min(start + length, wanted.stop)
        inside = slice(low - start, high - start)
        found.append((chunk, inside, slice(low - wanted.start, high - wanted.start)))
    return found


class _File:
    """A file of chunks, open; one that is not there holds the fill value."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path, self._layout = path, layout

    def __enter__(self) -> _File:
        try:
            self._handle = os.open(self._path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            self._handle = -1
            return self
        try:
            self._size = os.fstat(self._handle).st_size
            self._index = self._read_index() if self._layout.sharded else None
        except BaseException:
            os.close(self._handle)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle >= 0:
            os.close(self._handle)

    def read(self, chunk: tuple[int, ...], room: Array) -> bool:
        """Decode a chunk into `room`; False where it is not stored."""
        if self._handle < 0:
            return False
        offset, length = 0, self._size
        if self._index is not None:
            per_file = self._layout.per_file
            at = tuple(c % n for c, n in zip(chunk, per_file, strict=True))
            offset, length = map(int, self._index[at])
            if offset == _NOWHERE:
                return False
        self._decode(self._bytes(offset, length), chunk, room)
        return True

    def _read_index(self) -> npt.NDArray[np.uint64]:
        per_file = self._layout.per_file
        length = _ENTRY * prod(per_file)
        found = self._bytes(self._size - length - _CHECKSUM, length + _CHECKSUM)
        if not _is_whole(found):
            raise OSError(f"{self._path}: its index is damaged, its checksum differs")
        return np.frombuffer(found, "<u8", count=length // 8).reshape(*per_file, 2)

    def _bytes(self, offset: int, length: int) -> bytes:
        if offset < 0 or offset + length > self._size:
            raise OSError(f"{self._path} is cut short: it has {self._size} bytes")
        found = os.pread(self._handle, length, offset)
        while len(found) < length:  # a call reads 2 GiB at most
            more = os.pread(self._handle, length - len(found), offset + len(found))
            if not more:
                raise OSError(f"{self._path} was cut short while it was read")
            found += more
        return found

    def _decode(self, encoded: bytes, chunk: tuple[int, ...], room: Array) -> None:
        if self._layout.checked and not _is_whole(encoded):
            raise OSError(f"{self._path}: chunk {chunk} is damaged, its checksum differs")
        held = int.from_bytes(encoded[4:8], "little")  # of blosc's header, before compression
        if held != room.nbytes:
            raise OSError(f"{self._path}: chunk {chunk} holds {held} bytes, not {room.nbytes}")
        try:
            blosc.decompress(encoded, room)
        except RuntimeError as error:
            raise OSError(f"{self._path}: chunk {chunk} is damaged: {error}") from error


def _is_whole(checked: bytes) -> bool:
    """Compare the CRC-32C at the end of bytes with the rest."""
    said = int.from_bytes(checked[-_CHECKSUM:], "little")
    # Of an array, without a copy: it takes no memoryview.
    rest = np.frombuffer(checked, np.uint8)[:-_CHECKSUM]
    return bool(rest.size) and google_crc32c.value(rest) == said


def encode(layout: Layout, pixels: Array) -> bytes | None:
    """Encode one file of an array.

    Parameters
    ----------
    layout
        How the array lies.
    pixels
        All elements of the file, fewer at the end of the array.

    Returns
    -------
    bytes or None
        None where there is nothing but the fill value: that is not stored.
    """
    counts = layout.per_file if layout.sharded else (1,) * len(layout.chunk)
    index = np.full((*counts, 2), _NOWHERE, "<u8")
    encoded, offset = [], 0
    for at in np.ndindex(*counts):
        here = tuple(slice(a * n, (a + 1) * n) for a, n in zip(at, layout.chunk, strict=True))
        packed = _compress(layout, pixels[here])
        if packed is not None:
            encoded.append(packed)
            index[at] = offset, len(packed)
            offset += len(packed)
    if not encoded:
        return None
    return b"".join([*encoded, *([_checked(index.tobytes())] if layout.sharded else [])])


def _compress(layout: Layout, part: Array) -> bytes | None:
    if part.shape != layout.chunk:  # at the end of the array
        whole = np.full(layout.chunk, layout.fill, layout.dtype)
        whole[tuple(map(slice, part.shape))] = part
        part = whole
    if (part == layout.fill).all():
        return None
    packed = blosc.compress(np.ascontiguousarray(part), *layout.blosc)
    return _checked(packed) if layout.checked else bytes(packed)


def _checked(raw: bytes) -> bytes:
    checksum: int = google_crc32c.value(raw)
    return raw + checksum.to_bytes(_CHECKSUM, "little")

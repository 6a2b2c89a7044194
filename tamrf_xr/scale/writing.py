"""Write a tile's shards: encoded in memory, renamed into place, synced, in the store as it was.

The store is entered once a tile, by a handle: a store that another job has put in the place of this
one meanwhile has the same name, but is not what the handle leads to.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.storage import LocalStore

from tamrf_xr.commits import Commits, Target
from tamrf_xr.errors import JobError
from tamrf_xr.owners import is_silent, own_tag, runs_tagged
from tamrf_xr.packed import Integers
from tamrf_xr.places import Objects, Place
from tamrf_xr.scale.disk import sync_folder
from tamrf_xr.scale.layers import Fused, Values
from tamrf_xr.scale.product import Part, parts_of
from tamrf_xr.scale.tilework import FuseJob
from tamrf_xr.shards import Layout, encode, layout_of

REQUESTS = 8
"""Files of a tile that are on their way to an object store at once."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written of a tile."""

    sizes: Mapping[str, int]
    """Bytes of each shard; 0 where there was nothing but nodata, which is not stored."""

    clipped: int
    """Values clipped, as int16 does not hold them."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A store in a folder: a `tamrf_xr.places.Place`."""

    store: Path
    """Its name, when it was entered."""

    handle: int | None = None
    """Of its folder, which stays with it when it is renamed; None where it was not entered."""

    def __str__(self) -> str:
        """Return its name."""
        return str(self.store)

    def _at(self, name: str) -> str:
        return name if self.handle is not None else str(self.store / name)

    def read(self, name: str) -> bytes:
        """Return a file."""
        with os.fdopen(os.open(self._at(name), os.O_RDONLY, dir_fd=self.handle), "rb") as file:
            return file.read()

    def write(self, name: str, data: bytes | None) -> None:
        """Put a file in its place, whole and synced; None removes it."""
        put_file(self.handle, self._at(name), data)

    def note(self, name: str, data: bytes) -> None:
        """Write a file in place: killed before its text is there, its name is."""
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY
        handle = os.open(self._at(name), flags, 0o666, dir_fd=self.handle)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        sync_folder(self._at(name).rpartition("/")[0], inside=self.handle)

    def size(self, name: str) -> int | None:
        """Return the bytes of a file."""
        try:
            return os.stat(self._at(name), dir_fd=self.handle).st_size
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """List a folder."""
        return os.listdir(self.store / folder)

    def delete(self, names: list[str]) -> None:
        """Remove files."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._at(name), dir_fd=self.handle)
        for folder in {self._at(name).rpartition("/")[0] for name in names}:
            sync_folder(folder, inside=self.handle)

    def zarr_store(self) -> Store:
        """Return the folder as zarr reads it."""
        return LocalStore(self.store)


def at(target: Target | Place) -> Place:
    """Return the place of a target."""
    return Folder(target) if isinstance(target, Path) else target


@contextlib.contextmanager
def entered(target: Target) -> Iterator[Place]:
    """Enter a store for a while."""
    if not isinstance(target, Path):
        yield target
        return
    handle = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Folder(target, handle)
    finally:
        os.close(handle)


def write_tile(
    place: Place,
    job: FuseJob,
    index: tuple[int, int],
    fused: Fused,
    *,
    token: str = "",
) -> Written:
    """Write the shards of one tile, and return when they are on the disk.

    Parameters
    ----------
    place
        A store laid out by `tamrf_xr.scale.layout.lay_out_product`, entered.
    job
        The method and the tiles.
    index
        Row and column of the tile.
    fused
        What was made of it.
    token
        What the store was called when it was laid out: one of another token lies otherwise.
    """
    sizes: dict[str, int] = {}
    clipped = 0
    with _writer(place) as write:
        for part in parts_of(job):
            pixels = part.of(fused)
            clipped += count_clipped(pixels, part.limit)
            for name, data in _encoded(place, part, index, part.packed(pixels), token=token):
                write(name, data)
                sizes[name] = len(data or b"")
    return Written(sizes, clipped)


def write_part(
    place: Place, part: Part, index: tuple[int, int], packed: Integers, *, token: str = ""
) -> dict[str, int]:
    """Write the shards of one array of a tile, as they are stored; return their bytes."""
    sizes: dict[str, int] = {}
    with _writer(place) as write:
        for name, data in _encoded(place, part, index, packed, token=token):
            write(name, data)
            sizes[name] = len(data or b"")
    return sizes


def _encoded(
    place: Place, part: Part, index: tuple[int, int], packed: Integers, *, token: str
) -> Iterator[tuple[str, bytes | None]]:
    layout = _layout(place, part.path, token)
    for name, some in files_of(part, index, layout, packed):
        yield name, encode(layout, some)


@contextlib.contextmanager
def _writer(place: Place) -> Iterator[Callable[[str, bytes | None], object]]:
    """Give what writes files: done when the context is left.

    Where each is a request, several are on their way while the next one is encoded.
    """
    if not isinstance(place, Objects):
        yield place.write
        return
    sent: list[Future[None]] = []
    with ThreadPoolExecutor(REQUESTS) as pool:
        yield lambda name, data: sent.append(pool.submit(place.write, name, data))
        for one in sent:
            one.result()


def files_of(
    part: Part, index: tuple[int, int], layout: Layout, pixels: Integers
) -> Iterator[tuple[str, Integers]]:
    """Give the files of a tile in a store, and what each holds: all dates in one, or one each."""
    length = layout.file[0]
    for first in range(0, len(pixels), length):
        at_file = (first // length, *(0 for _ in part.middle), *index)
        yield f"{part.path}/{layout.name_of(at_file)}", pixels[first : first + length]


def count_clipped(pixels: Values, limit: float) -> int:
    """Count the values that the integers of a store do not hold, which are clipped.

    Examples
    --------
    >>> count_clipped(np.array([[0.1, np.nan, 3.5, -4.0, 3.2767]], np.float32), 3.2767)
    2
    """
    if pixels.dtype.kind != "f":
        return 0
    # Image by image: the comparisons then stay in the cache.
    return sum(int(np.count_nonzero(np.abs(image) > np.float32(limit))) for image in pixels)


def _layout(place: Place, path: str, token: str) -> Layout:
    """Return how an array of a store lies."""
    if isinstance(place, (Objects, Commits)):
        return _layout_of(place, path, token)
    if isinstance(place, Folder):
        # A store may have been replaced since this process read its metadata.
        return _layout_written(place.store, path, _written(place.store / path))
    return _read_layout(place, path)


def _written(folder: Path) -> int:
    for name in ("zarr.json", ".zarray"):
        with contextlib.suppress(FileNotFoundError):
            return (folder / name).stat().st_mtime_ns
    raise FileNotFoundError(folder / "zarr.json")


@lru_cache(maxsize=16)
def _layout_written(store: Path, path: str, written: int) -> Layout:  # noqa: ARG001  (of the key)
    return _read_layout(Folder(store), path)


@lru_cache(maxsize=16)
def _layout_of(place: Objects | Commits, path: str, token: str) -> Layout:  # noqa: ARG001  (part of the key)
    return _read_layout(place, path)


def _read_layout(place: Place, path: str) -> Layout:
    layout = layout_of(zarr.open_array(place.zarr_store(), path=path, mode="r"), floats=True)
    if layout is None:
        raise JobError(f"{place}/{path} is not laid out as this version writes it; see --overwrite")
    return layout


def put_file(inside: int | None, name: str, data: bytes | None) -> None:
    """Put a file in its place, whole and synced; None removes what an earlier run left there."""
    folder = name.rpartition("/")[0]
    if data is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=inside)
    else:
        partial = f"{name}.{own_tag()}.{uuid.uuid4().hex[:8]}.partial"
        try:
            handle = _write(inside, partial, data)
            try:
                os.replace(partial, name, src_dir_fd=inside, dst_dir_fd=inside)
                # After the rename: one commit of the file system's journal for both. What is not
                # on the disk by then is not recorded either.
                os.fsync(handle)
            finally:
                os.close(handle)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial, dir_fd=inside)
            raise
    sync_folder(folder, inside=inside)


def _write(inside: int | None, name: str, data: bytes) -> int:
    """Write a file that is not there; return its handle, open."""
    handle = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666, dir_fd=inside)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
    except BaseException:
        os.close(handle)
        raise
    return handle


def remove_partials(store: Target) -> None:
    """Remove what writers that are gone left under temporary names; elsewhere there are none."""
    if not isinstance(store, Path):
        return
    for left in store.rglob("*.partial"):
        _, tag, *_ = [*left.name.split("."), ""]
        running = runs_tagged(tag) if tag.count("-") == 3 else False
        if running is False or (running is None and is_silent(left, watch=False)):
            left.unlink(missing_ok=True)

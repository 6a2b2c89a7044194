"""Write a tile's shards: encoded in memory, renamed into place, synced, in the store as it was.

The store is entered once a tile, by a handle: a store that another job has put in the place of this
one meanwhile has the same name, but is not what the handle leads to.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import zarr
from zarr.storage import LocalStore

from tamrf_xr.encoding import FILL, SCALES
from tamrf_xr.errors import JobError
from tamrf_xr.fuser import Pixels
from tamrf_xr.owners import is_silent, own_tag, runs_tagged
from tamrf_xr.packed import pack
from tamrf_xr.scale.disk import sync_folder
from tamrf_xr.scale.product import Part, parts_of
from tamrf_xr.scale.tilework import FuseJob
from tamrf_xr.shards import Layout, encode, layout_of


@dataclass(frozen=True, slots=True)
class Written:
    """What was written of a tile."""

    sizes: Mapping[str, int]
    """Bytes of each shard; 0 where there was nothing but nodata, which is not stored."""

    clipped: int
    """Values clipped, as int16 does not hold them."""


@dataclass(frozen=True, slots=True)
class Place:
    """A store that was entered."""

    store: Path
    """Its name when it was."""

    handle: int
    """Of its folder, which stays with it when it is renamed."""


@contextlib.contextmanager
def entered(store: Path) -> Iterator[Place]:
    """Enter a store for a while."""
    handle = os.open(store, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Place(store, handle)
    finally:
        os.close(handle)


def write_tile(
    place: Place, job: FuseJob, index: tuple[int, int], fused: Mapping[str, Pixels]
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
        What the fuser made.
    """
    sizes, clipped = {}, 0
    for part in parts_of(job.spec):
        pixels = part.of(fused)
        clipped += count_clipped(pixels, part.variable)
        shard = encode(_layout(place.store / part.path), pack(pixels, part.variable))
        name = shard_of(part, index)
        put_file(place.handle, name, shard)
        sizes[name] = len(shard or b"")
    return Written(sizes, clipped)


def shard_of(part: Part, index: tuple[int, int]) -> str:
    """Return the file of a tile's shard in a store: it holds all dates and bands of its window."""
    return "/".join([part.path, "c", "0", *("0" for _ in part.middle), *map(str, index)])


def count_clipped(pixels: Pixels, variable: str) -> int:
    """Count the values that int16 does not hold: `tamrf_xr.packed.pack` clips them.

    Examples
    --------
    >>> count_clipped(np.array([[0.1, np.nan, 3.5, -4.0, 3.2767]], np.float32), "reflectance")
    2
    """
    limit = np.float32(-FILL - 1) * np.float32(SCALES[variable])
    # Image by image: the comparisons then stay in the cache.
    return sum(int(np.count_nonzero(np.abs(image) > limit)) for image in pixels)


def _layout(path: Path) -> Layout:
    """Return how an array of a store lies."""
    # A store may have been replaced since this process read its metadata.
    return _layout_written(path, (path / "zarr.json").stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _layout_written(path: Path, written: int) -> Layout:  # noqa: ARG001  (part of the key)
    layout = layout_of(zarr.open_array(LocalStore(path), mode="r"))
    if layout is None:
        raise JobError(f"{path} is not laid out as this version writes it; see --overwrite")
    return layout


def put_file(inside: int, name: str, data: bytes | None) -> None:
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


def _write(inside: int, name: str, data: bytes) -> int:
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


def remove_partials(store: Path) -> None:
    """Remove what writers that are gone left under temporary names."""
    for left in store.rglob("*.partial"):
        _, tag, *_ = [*left.name.split("."), ""]
        running = runs_tagged(tag) if tag.count("-") == 3 else False
        if running is False or (running is None and is_silent(left, watch=False)):
            left.unlink(missing_ok=True)

"""Numbers fetched in pieces that are kept until the cube is whole, so that a rerun goes on.

The plan: a piece is one block of one band on one date. It is written under another name and renamed
when it is whole, and its name tells what it is of: scenes, files, grid, place in the grid. What is
there is not fetched again, whatever else is asked the next time; what is no longer asked for does
no harm. The cube is then made of pieces alone, without a word to the catalogue's files.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.local import get_sync
from dask.optimization import cull
from tqdm import tqdm

from tamrf_xr.errors import JobError
from tamrf_xr.replacing import fresh_file, remove

Block = tuple[int, int, int]
"""Numbers of a block: date, row, column."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One block of one band on one date."""

    path: Path
    """Of its file."""

    shape: tuple[int, int, int]
    """Of its array: one date, y, x."""

    dtype: np.dtype[Any]
    """Of its array."""

    @property
    def is_there(self) -> bool:
        """Whether its file is whole."""
        try:
            found = self.read()
        except (OSError, ValueError):
            return False
        return found.shape == self.shape and found.dtype == self.dtype

    def read(self) -> npt.NDArray[Any]:
        """Return its array, of which only what is used is read."""
        found: npt.NDArray[Any] = np.load(self.path, mmap_mode="r")
        return found

    def write(self, values: npt.NDArray[Any]) -> int:
        """Write it whole or not at all; return its bytes."""
        with fresh_file(self.path) as partial, partial.open("wb") as file:
            np.save(file, values)
        return values.nbytes


@dataclass(frozen=True, slots=True)
class Kept:
    """The pieces of one sensor."""

    numbers: xr.Dataset
    """What they are pieces of, in blocks."""

    folder: Path
    """Where they are."""

    edge: int
    """Pixels across a piece that is not at an end."""

    names: Mapping[str, tuple[str, ...]]
    """Per band and date, what stands for all that a piece depends on but its place."""

    def pieces(self, band: str) -> Iterator[tuple[Block, Piece]]:
        """Return the pieces of a band."""
        array = self.numbers[band].data
        chunks: tuple[tuple[int, ...], ...] = array.chunks
        for block in product(*(range(len(sizes)) for sizes in chunks)):
            at: Block = (block[0], block[1], block[2])
            name = f"{self.names[band][at[0]]}-{at[1]}-{at[2]}.npy"
            shape = (chunks[0][at[0]], chunks[1][at[1]], chunks[2][at[2]])
            yield at, Piece(self.folder / name, shape, array.dtype)

    def opened(self, edge: int) -> xr.Dataset:
        """Return the numbers, read from their pieces in blocks of `edge` pixels."""
        made = {
            band: array.copy(data=self._opened(str(band), edge))
            for band, array in self.numbers.data_vars.items()
        }
        return self.numbers.assign(made)

    def _opened(self, band: str, edge: int) -> da.Array:
        array = self.numbers[band].data
        pieces = dict(self.pieces(band))
        step = self.edge // edge
        chunks = da.core.normalize_chunks((1, edge, edge), array.shape, dtype=array.dtype)

        def block(block_id: Block) -> npt.NDArray[Any]:
            date, row, column = block_id
            whole = pieces[date, row // step, column // step].read()
            top, left = row % step * edge, column % step * edge
            return np.array(whole[:, top : top + edge, left : left + edge])

        made: da.Array = da.map_blocks(
            block, chunks=chunks, dtype=array.dtype, meta=np.empty((0, 0, 0), array.dtype)
        )
        return made


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder of pieces, which goes where none is left: a second run there is refused.

    The lock goes with the process that has it, however that ends.

    Raises
    ------
    JobError
        If another process holds it.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JobError(
                f"another run fetches into {folder}; let it end, or name another store"
            ) from error
        try:
            yield
        finally:
            if not any(folder.glob("*.npy")):
                remove(folder)


def fetch(all_kept: Mapping[str, Kept], *, workers: int, progress: bool) -> int:
    """Fetch every piece that is not there.

    Parameters
    ----------
    all_kept
        Pieces, per sensor.
    workers
        Pieces at once.
    progress
        Show how much there is, and how fast it comes, on standard error: bytes of numbers.

    Returns
    -------
    int
        How many were fetched.

    Raises
    ------
    IngestError
        As reading does: what has been fetched stays.
    """
    wanted = [
        (graph, key, piece)
        for kept in all_kept.values()
        for band in map(str, kept.numbers.data_vars)
        for graph, key, piece in _wanted(kept, band)
    ]
    total = sum(piece.dtype.itemsize * int(np.prod(piece.shape)) for _, _, piece in wanted)
    stop = threading.Event()
    with (
        tqdm(total=total, desc="ingest", unit="B", unit_scale=True, disable=not progress) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):

        def one(graph: Mapping[Any, Any], key: Any, piece: Piece) -> None:
            if not stop.is_set():
                needed, _ = cull(graph, [key])
                bar.update(piece.write(get_sync(needed, key)))

        futures = [pool.submit(one, *task) for task in wanted]
        try:
            done = wait(futures, return_when=FIRST_EXCEPTION).done
        finally:
            # What has not begun shall not, if one failed or the user gave up.
            stop.set()
        for future in done:
            future.result()
    return len(wanted)


def _wanted(kept: Kept, band: str) -> Iterator[tuple[Mapping[Any, Any], Any, Piece]]:
    array = kept.numbers[band].data
    graph = dict(array.__dask_graph__())
    for block, piece in kept.pieces(band):
        if not piece.is_there:
            yield graph, (array.name, *block), piece

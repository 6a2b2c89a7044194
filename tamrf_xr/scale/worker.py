"""One tile of a job, from reading to the ledger: the same on a thread and on a cluster."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tamrf_xr.scale.layout import write_tile
from tamrf_xr.scale.ledger import FOLDER, record
from tamrf_xr.scale.reading import SensorSource
from tamrf_xr.scale.tilework import FuseJob, fuse_tile

FULL = (errno.ENOSPC, errno.EDQUOT)
STAGES = ("reading", "computing", "writing")


@dataclass(frozen=True, slots=True)
class TileWork:
    """All that the tiles of a job have in common: travels once to each worker."""

    job: FuseJob
    """The method, the dates, the tiles."""

    sources: Mapping[str, SensorSource]
    """Where to read, per sensor."""

    store: Path
    """Where to write."""

    cores: int = 0
    """Cores that a thread's libraries may use; 0 leaves them as they are."""


@dataclass(frozen=True, slots=True)
class Span:
    """One stage of a tile's work."""

    stage: str
    """One of `STAGES`."""

    start: float
    """Seconds of this machine's monotonic clock."""

    stop: float
    """Likewise."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a tile: a few bytes."""

    index: tuple[int, int]
    """Row and column."""

    spans: tuple[Span, ...] = ()
    """Stages that were gone through."""

    error: str | None = None
    """Why it failed, or None."""

    full: bool = False
    """True where it failed for want of room in the store."""

    clipped: int = 0
    """Values that int16 does not hold."""


class Stopwatch:
    """Times stages; lets none begin once the job is to stop."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        """Take what tells whether to stop."""
        self.spans: list[Span] = []
        self._stopping = stopping

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage."""
        if self._stopping():
            raise InterruptedError("the job was stopped")
        start = time.monotonic()
        try:
            yield
        finally:
            self.spans.append(Span(stage, start, time.monotonic()))


def run_tile(
    work: TileWork, index: tuple[int, int], *, stopping: Callable[[], bool] = lambda: False
) -> Outcome:
    """Read, fuse and write one tile, then say so in the ledger.

    Parameters
    ----------
    work
        The job.
    index
        Row and column of the tile.
    stopping
        Asked before each stage: True gives the tile up.

    Returns
    -------
    Outcome
        Errors are told in it: other tiles go on.
    """
    watch = Stopwatch(stopping)
    try:
        if work.cores:
            work.job.spec.use_cores(work.cores)
        fused = fuse_tile(work.job, index, work.sources, watch=watch)
        with watch("writing"):
            _check_store(work.store)
            clipped = write_tile(work.store, work.job, index, fused)
            record(work.store, index)
    except Exception as error:  # noqa: BLE001  (told in the outcome; the job goes on without it)
        return Outcome(index, tuple(watch.spans), _words(error), _is_full(error))
    return Outcome(index, tuple(watch.spans), clipped=clipped)


def _check_store(store: Path) -> None:
    if not (store / FOLDER).is_dir():
        raise FileNotFoundError(
            f"no store at {store} on this machine: workers write it themselves, so it must lie on "
            "a file system that all of them share"
        )


def _words(error: BaseException) -> str:
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}"


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False

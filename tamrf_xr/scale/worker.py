"""One tile of a job, from reading to the ledger: the same on a thread and on a cluster."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from tamrf_xr.commits import Target
from tamrf_xr.errors import InputChangedError, StoreError, StoreGoneError, StoreReplacedError
from tamrf_xr.places import Objects, Place
from tamrf_xr.scale.inputs import Inputs
from tamrf_xr.scale.layers import Fused
from tamrf_xr.scale.ledger import check_token, is_done, record
from tamrf_xr.scale.reading import SensorSource
from tamrf_xr.scale.tilework import FuseJob, fuse_tile
from tamrf_xr.scale.writing import entered, write_tile

FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What a store says that may not be written any more."""

Cause = Literal["", "full", "closed", "replaced", "unseen"]
"""A store without room, not to be written, or of another job: the job ends. An input or output that
the worker does not see: another one may."""

STAGES = ("reading", "computing", "writing")


@dataclass(frozen=True, slots=True)
class TileWork:
    """All that the tiles of a job have in common: travels once to each worker."""

    job: FuseJob
    """The method, the dates, the tiles."""

    sources: Mapping[str, SensorSource]
    """Where to read, per sensor."""

    store: Target
    """Where to write."""

    token: str = ""
    """What the store was called when it was laid out; see `tamrf_xr.scale.ledger.check_token`."""

    inputs: Inputs = field(default_factory=Inputs)
    """What the sources were when the job was planned."""

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

    cause: Cause = ""
    """What kind of failure, where that decides how the job goes on."""

    worker: str = ""
    """Which worker of a cluster."""

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
        with watch("reading"):
            _check_inputs(work, index)
        fused = _fused(work, index, watch)
        with watch("writing"):
            clipped = _written(work, index, fused)
    except Exception as error:  # noqa: BLE001  (told in the outcome; the job goes on without it)
        return Outcome(index, tuple(watch.spans), _words(error), _cause(error, watch.spans))
    return Outcome(index, tuple(watch.spans), clipped=clipped)


def _check_inputs(work: TileWork, index: tuple[int, int]) -> None:
    work.inputs.check(work.job.grid[index].reads, work.job.dates.reads)


def _fused(work: TileWork, index: tuple[int, int], watch: Stopwatch) -> Fused:
    try:
        return fuse_tile(work.job, index, work.sources, watch=watch)
    except Exception:
        # An input that goes away fails in many ways: what is said is that.
        _check_inputs(work, index)
        raise


def _written(work: TileWork, index: tuple[int, int], fused: Fused) -> int:
    """Write a tile into the store that it is for, and say so; return how many values it clips."""
    with _entered(work.store) as place:
        check_token(place, work.token)
        # Another run was faster: what is done stays as it is. In an object store it is not asked:
        # a PUT of the same bytes leaves what was there.
        if not isinstance(place, Objects) and is_done(place, index):
            return 0
        written = write_tile(place, work.job, index, fused, token=work.token)
        _check_inputs(work, index)
        check_token(place, work.token)
        record(place, index, written.sizes)
    return written.clipped


@contextmanager
def _entered(store: Target) -> Iterator[Place]:
    try:
        with entered(store) as place:
            yield place
    except FileNotFoundError as error:
        if isinstance(error, StoreGoneError):
            raise
        raise StoreGoneError(
            f"no store at {store} on this machine, or not as it was ({error}): workers write it "
            "themselves, so it must lie on a file system, or in an object store, that all share"
        ) from None


def _words(error: BaseException) -> str:
    cause = error if isinstance(error, StoreError) else error.__cause__ or error
    return f"{type(cause).__name__}: {cause}"


def _cause(error: BaseException | None, spans: Sequence[Span]) -> Cause:
    writing = bool(spans) and spans[-1].stage == "writing"
    while error is not None:
        if isinstance(error, StoreReplacedError):
            return "replaced"
        if isinstance(error, (StoreGoneError, InputChangedError)):
            return "unseen"
        if isinstance(error, OSError) and error.errno in FULL:
            return "full"
        if writing and isinstance(error, OSError) and error.errno in CLOSED:
            return "closed"
        error = error.__cause__ or error.__context__
    return ""

"""A product written tile by tile, safe to interrupt: laid out first, then a task per tile.

The plan of a run:
1. Find what is there: nothing, a job that asked the same, or something to refuse.
2. Hold the store's lock; lay the store out under a temporary name where there is none.
3. Run the tiles that the ledger does not name, on threads or on a cluster. A tile enters the
   ledger once its shards are on the disk, so that a run may die at any moment.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tamrf_xr.commits import Commits, Target
from tamrf_xr.errors import (
    InputChangedError,
    JobError,
    OptionError,
    OutputExistsError,
    StoreError,
    StoreFullError,
)
from tamrf_xr.fuser import FuserSpec
from tamrf_xr.geozarr import LAYOUTS
from tamrf_xr.machine import usable_cores
from tamrf_xr.origins import places_of
from tamrf_xr.owners import Owner, beating
from tamrf_xr.places import FOLDER
from tamrf_xr.replaceable import check_place, check_store
from tamrf_xr.replacing import partial_of, put_in_place, remove, remove_abandoned
from tamrf_xr.scale.damage import find_damaged
from tamrf_xr.scale.disk import tell_of_lacks
from tamrf_xr.scale.identity import asked_by, describe_origin, provenance
from tamrf_xr.scale.inputs import expect, inputs_of
from tamrf_xr.scale.laidout import flushed, lay_out_at, publish
from tamrf_xr.scale.layout import lay_out_product
from tamrf_xr.scale.ledger import (
    DONE,
    Manifest,
    check_same,
    check_token,
    forget,
    lock_of,
    read_done,
    read_manifest,
    read_token,
    write_manifest,
    write_token,
)
from tamrf_xr.scale.lock import abandon, acquire, held, kept
from tamrf_xr.scale.locks import lock_on
from tamrf_xr.scale.prepared import Job
from tamrf_xr.scale.progress import JobSummary, Progress
from tamrf_xr.scale.reading import source_of
from tamrf_xr.scale.rereads import warn_of_rereads
from tamrf_xr.scale.threads import OnThreads, crew_size
from tamrf_xr.scale.tilework import FuseJob
from tamrf_xr.scale.worker import FULL, Outcome, TileWork
from tamrf_xr.scale.writing import entered, remove_partials
from tamrf_xr.taking import check_target, exists
from tamrf_xr.targets import check_travels, opened

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Execution:
    """Where a job runs, and what it does with what is there."""

    client: Client | None = None
    """A dask.distributed client, whose workers share the store's file system."""

    cluster: str | os.PathLike[str] | None = None
    """``"local"``, ``"dask-cuda"`` or a YAML file: a cluster for this run; see docs/cluster.md."""

    workers: int | None = None
    """Threads, or processes of a cluster; by default as many as the method keeps busy."""

    resume: bool = True
    """Go on with a store that holds the same job."""

    overwrite: bool = False
    """Replace what is there."""

    progress: bool = True
    """Show a bar."""

    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    """Of the store, where it is no folder."""

    layout: str = "sharded"
    """How the store is laid out: one of `tamrf_xr.scale.layout.LAYOUTS`."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.client is not None and self.cluster is not None:
            raise OptionError("pass client= or cluster=, not both")
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers must be at least 1, got {self.workers}")
        if self.layout not in LAYOUTS:
            named = ", ".join(map(repr, LAYOUTS))
            raise OptionError(f"layout is {self.layout!r:.40}; the layouts are {named}")


def run_tiles(
    job: Job,
    store: Any,
    *,
    how: Execution = Execution(),
) -> JobSummary:
    """Write a product tile by tile; a rerun does only what is left.

    Parameters
    ----------
    job
        What is to be made. Its tile, where it leaves that open, is that of the store, or the
        planner's choice.
    store
        Path of the product, on a local or shared file system; a URL, a Zarr store object, or a
        repository of Icechunk: docs/stores.md.
    how
        Where it runs.

    Returns
    -------
    JobSummary
        What was done, and which tiles failed.

    Raises
    ------
    OutputExistsError
        If something else than a job is at `store`, or `resume` is False and a job is there.
    JobError
        If the job there was asked something else, or another run is at work on it.
    StoreFullError
        If there is no room left; what is done is safe.
    InputChangedError
        If the input was replaced, or went away in part, when its last tile was just read. While
        tiles are read, that fails those tiles.
    """
    target = _place(job.cube, store, how)
    manifest = _find(target, how)
    # The planner's choice depends on the memory that is free: take that of the store.
    tiled = job.tiled(max(manifest.tile) if manifest and job.tile is None else None)
    warn_of_rereads(job.groups, tiled.grid)
    asked = asked_by(job, tiled, how.layout)
    with _Runner(job.spec, how) as runner:
        if manifest is not None:
            check_same(target, manifest.asked, asked)
            holding = lock_on(target)
        else:
            runner.start()  # a cluster that is refused leaves, and replaces, nothing
            manifest = Manifest(tiled.grid.counts, tiled.grid.tile, asked, describe_origin(job))
            lay = _Laying(job, tiled, manifest, how.layout)
            holding = _created(lay, target=target, overwrite=how.overwrite)
        with holding:
            sources = {name: source_of(name, group) for name, group in job.groups.items()}
            inputs = expect(inputs_of(job.groups), target)
            work = TileWork(tiled, sources, target, token=read_token(target), inputs=inputs)
            with flushed(target):
                summary = _run(work, job.fine, runner, how)
            publish(target, summary)
            return summary


def _place(cube: xr.DataTree, store: Any, how: Execution) -> Target:
    read = places_of(cube)
    target = opened(store, "store", how.storage_options)
    if not isinstance(target, Path):
        if how.client is not None or how.cluster is not None:
            check_travels(target)
        check_target(target, cube, overwrite=how.overwrite)
        return target
    store = target
    if how.overwrite:
        return check_store(store, "store", overwrite=True, inputs=read)
    target = check_place(store, "store", inputs=read)
    remove_abandoned(target)
    return target


def _find(target: Target, how: Execution) -> Manifest | None:
    """Return the job to go on with; None where the store is to be laid out."""
    if how.overwrite or not exists(target):
        return None
    manifest = read_manifest(target)
    if manifest is None or not how.resume:
        what = "and is no job to go on with" if manifest is None else "and resume is False"
        raise OutputExistsError(
            f"{target} exists {what}; pass overwrite=True (--overwrite) to replace it, or name "
            "another"
        )
    return manifest


@dataclass(frozen=True, slots=True)
class _Laying:
    """What is to be laid out."""

    job: Job
    tiled: FuseJob
    manifest: Manifest
    layout: str

    def lay(self, folder: Path) -> None:
        """Lay the store and its ledger out in a folder."""
        attrs = provenance(self.manifest.asked, self.manifest.about)
        with beating(folder):
            lay_out_product(self.job, self.tiled, store=folder, attrs=attrs, layout=self.layout)
        write_manifest(folder, self.manifest)
        write_token(folder)


@contextlib.contextmanager
def _created(lay: _Laying, *, target: Target, overwrite: bool) -> Iterator[None]:
    """Lay a store out under a temporary name, locked, and put it in its place."""
    if not isinstance(target, Path):
        with lock_on(target):
            lay_out_at(target, lay.lay, overwrite=overwrite)
            yield
        return
    partial = partial_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    me = Owner.me()
    remove(partial)
    try:
        lay.lay(partial)
        acquire(lock_of(partial), me)
        _put(partial, target, overwrite=overwrite)
    except BaseException as error:
        abandon(me)
        if isinstance(error, OSError) and error.errno in FULL:
            raise StoreFullError(f"no room to lay {target} out: nothing was written") from error
        raise
    finally:
        remove(partial)
    with kept(lock_of(target), me):
        yield


def _put(partial: Path, target: Path, *, overwrite: bool) -> None:
    """Give the store its name, unless another run is at work on what has it."""
    busy = (target / FOLDER).is_dir()
    with held(lock_of(target)) if busy and overwrite else contextlib.nullcontext():
        try:
            put_in_place(partial, target, overwrite=overwrite)
        except OSError as error:
            if target.exists() and not overwrite:
                message = f"another run has just laid {target} out; run again to join"
                raise JobError(message) from error
            raise


def _run(work: TileWork, grid: Any, runner: _Runner, how: Execution) -> JobSummary:
    if isinstance(work.store, Path):
        tell_of_lacks(work.store, work.store / FOLDER)
    _forget_damaged(work)
    done = read_done(work.store)
    left = [index for index in np.ndindex(*work.job.grid.counts) if index not in done]
    remove_partials(work.store)
    progress = Progress(work.job, grid, found=len(done))
    if not left:
        return progress.summary()
    try:
        _follow(work, left, progress, runner, shown=how.progress)
    except KeyboardInterrupt:
        count = _count_done(work.store)
        logger.warning("interrupted: %d of %d tiles done; run again", count, progress.tiles)
        raise
    summary = progress.summary()
    if not summary.failed:
        _check_inputs(work)
    return summary


def _forget_damaged(work: TileWork) -> None:
    """Have tiles made again whose shards are not as they were recorded."""
    damaged = find_damaged(work.store, read_done(work.store))
    for index, why in damaged.items():
        logger.warning("tile %s is made again: %s", index, why)
    if damaged:
        forget(work.store, damaged)


def _check_inputs(work: TileWork) -> None:
    try:
        work.inputs.check_all()
    except InputChangedError as error:
        raise InputChangedError(
            f"{error}. Each of the tiles was read before that was seen, so {work.store} is of the "
            "input as it was; if that was not meant, pass overwrite=True (--overwrite)"
        ) from error


def _count_done(store: Target) -> int:
    """Count the tiles that are safe, whatever becomes of this process."""
    if isinstance(store, Commits):
        with contextlib.suppress(StoreError):
            store.commit("the last tiles of a run")
        return len(store.committed(f"{FOLDER}/{DONE}"))
    try:
        return len(read_done(store))
    except OSError:
        return 0


def _follow(
    work: TileWork,
    left: list[tuple[int, int]],
    progress: Progress,
    runner: _Runner,
    *,
    shown: bool,
) -> None:
    with (
        runner,  # it ends before the lock is let go of
        progress.shown() if shown else contextlib.nullcontext(),
        contextlib.closing(runner.start()(work, left)) as outcomes,
    ):
        progress.begin()
        for outcome in outcomes:
            if outcome.cause:
                _check_store(outcome, work)
            if outcome.error and outcome.index in read_done(work.store):
                outcome = Outcome(outcome.index)  # its worker died after it was done
            progress.add(outcome)


class _Runner(contextlib.ExitStack):
    """What runs tiles, threads or a cluster; started once, at the latest when tiles are left."""

    def __init__(self, spec: FuserSpec, how: Execution) -> None:
        super().__init__()
        self._spec, self._how = spec, how
        self._run: Any = None

    def start(self) -> Any:
        """Return what runs tiles; an error of a cluster is raised here."""
        self._run = self._run or self._started()
        return self._run

    def _started(self) -> Any:
        how, cores = self._how, usable_cores()
        if how.client is not None:
            from tamrf_xr.scale.cluster import OnClient

            return OnClient(how.client)
        if how.cluster is not None:
            from tamrf_xr.scale.cluster import THREADS, OnClient
            from tamrf_xr.scale.clusters import opened

            threads = crew_size(self._spec, min(THREADS, cores))
            cluster = opened(how.cluster, workers=how.workers, threads=threads)
            return OnClient(self.enter_context(cluster))
        return OnThreads(how.workers or crew_size(self._spec, cores))


def _check_store(outcome: Outcome, work: TileWork) -> None:
    """End a job whose store takes no more tiles."""
    store, tile, why = work.store, outcome.index, outcome.error
    safe = f"The {_count_done(store)} tiles that are done are safe"
    if outcome.cause == "full":
        raise StoreFullError(
            f"no room left for {store} at tile {tile}: {why}. {safe}; make room and run again to "
            "do the rest"
        )
    if outcome.cause == "closed":
        raise JobError(
            f"{store} may not be written any more, at tile {tile}: {why}. {safe}; make it writable "
            "and run again to do the rest"
        )
    try:
        with entered(store) as place:
            check_token(place, work.token)
    except FileNotFoundError as error:
        raise JobError(f"{store} is gone, at tile {tile}: {error}") from error

"""Run the tiles of a job on dask.distributed workers.

The plan of a run on a client:
1. A worker plugin carries the job: dask gives it once to every worker there is, and to those that
   join or come back later, so that a worker may die without taking anything along.
2. Tasks are a pair of numbers each. A bounded batch is in flight; as one ends the next is sent.
3. Where workers advertise a GPU, a tile asks for a share of one: several tiles are read and written
   around the one that computes (`FuserSpec.at_once` and `computing`), and none runs elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from tamrf_xr.errors import JobError, OptionError
from tamrf_xr.scale.threads import crew_size
from tamrf_xr.scale.worker import Outcome, TileWork, run_tile

try:
    from distributed import Client, Future, Worker, WorkerPlugin, as_completed, get_worker
except ImportError as error:
    raise OptionError(
        "a cluster needs dask.distributed: pip install 'tamrf-xr[cluster]'"
    ) from error

logger = logging.getLogger(__name__)


THREADS = 4
"""Of a worker process, for a method that does not say how many tiles it works on at once."""


AHEAD = 3
"""Tasks in flight per thread of the cluster: none waits for work, and none piles up."""

RECOUNT = 2.0
"""Seconds after which the threads of the cluster are counted again."""


class TilePlugin(WorkerPlugin):
    """Brings a job to each worker, once."""

    def __init__(self, work: TileWork, token: str, *, per_host: Mapping[str, int]) -> None:
        """Take the job, its name, and the workers on each machine."""
        self.name = f"tamrf-{token}"
        self._work, self._token, self._per_host = work, token, dict(per_host)

    def setup(self, worker: Worker) -> None:
        """Keep the job in the worker's process; share the machine's cores out."""
        sharing = self._per_host.get(_host(worker.address), max(self._per_host.values(), default=1))
        cores = max(1, len(os.sched_getaffinity(0)) // sharing)
        _WORK[self._token] = replace(self._work, cores=cores)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  (dask's signature)
        """Forget the job."""
        _WORK.pop(self._token, None)


_WORK: dict[str, TileWork] = {}


def _run(token: str, index: tuple[int, int]) -> Outcome:
    return replace(run_tile(_WORK[token], index), worker=get_worker().address)


def _host(address: str) -> str:
    return address.rpartition("://")[2].rpartition(":")[0]


class OnClient:
    """Runs tiles on the workers of a dask.distributed client."""

    def __init__(self, client: Client) -> None:
        """Take the client; it is left open."""
        self._client = client
        self._threads, self._counted = 1, -RECOUNT

    def __call__(self, work: TileWork, tiles: Sequence[tuple[int, int]]) -> Iterator[Outcome]:
        """Give the outcome of each tile as it comes; closing the iterator cancels the rest."""
        token = uuid.uuid4().hex[:12]
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        hosts = Counter(_host(address) for address in workers)
        plugin = TilePlugin(work, token, per_host=hosts)
        self._client.register_plugin(plugin)
        try:
            yield from self._follow(work, tiles, token)
        finally:
            # A run that is interrupted may find its cluster gone.
            with contextlib.suppress(OSError, TimeoutError):
                self._client.unregister_worker_plugin(plugin.name)

    def _follow(
        self, work: TileWork, tiles: Sequence[tuple[int, int]], token: str
    ) -> Iterator[Outcome]:
        feed, running = iter(tiles), dict[Future[Outcome], tuple[int, int]]()
        name, resources = f"fuse-{work.job.spec.method}-{token}", gpu_share(self._client, work)
        ended = as_completed(loop=self._client.loop, with_results=True, raise_errors=False)

        def submit(index: tuple[int, int], *again: str, **where: Any) -> Future[Outcome]:
            options = {"pure": False, "resources": resources, **where}
            future = self._client.submit(_run, token, index, key=(name, *index, *again), **options)
            running[future] = index
            ended.add(future)
            return future

        elsewhere = Elsewhere(self._client)
        try:
            while True:
                for index in islice(feed, max(0, self._room() - len(running))):
                    submit(index)
                if not running:
                    return
                for future in elsewhere.wait_for(ended):
                    # Its workers are gone: any other one may.
                    self._client.cancel([future], force=True)
                    submit(running[future], "anywhere")
                future, result = next(ended)
                index = running.pop(future)
                if elsewhere.gave_up(future):
                    continue
                outcome = _outcome(index, future, result)
                if others := elsewhere.others(outcome):
                    elsewhere.pin(submit(index, "again", workers=others), others)
                else:
                    yield elsewhere.told(outcome)
        finally:
            with contextlib.suppress(OSError, TimeoutError):
                self._client.cancel(list(running), force=True)

    def _room(self) -> int:
        """Return how many tasks keep every worker busy, those that joined meanwhile included."""
        if time.monotonic() > self._counted + RECOUNT:
            self._threads = sum(self._client.nthreads().values())
            self._counted = time.monotonic()
        return AHEAD * max(self._threads, 1)


class Elsewhere:
    """Hands tiles whose worker does not see the input or the store to other workers, once."""

    def __init__(self, client: Client) -> None:
        """Take the client."""
        self._client = client
        self._first: dict[tuple[int, int], Outcome] = {}
        self._blind: set[str] = set()
        self._pinned: dict[Future[Outcome], set[str]] = {}
        self._given_up: set[Future[Outcome]] = set()

    def pin(self, future: Future[Outcome], workers: Sequence[str]) -> None:
        """Remember which workers alone may do a tile: dask would let an idle one steal it."""
        self._pinned[future] = set(workers)

    def wait_for(self, ended: Any) -> list[Future[Outcome]]:
        """Wait for the end of a task; give those that are pinned to workers that are gone."""
        looked = time.monotonic()
        while self._pinned and not ended.has_ready():
            time.sleep(0.02)
            if time.monotonic() > looked + RECOUNT:
                looked = time.monotonic()
                there = set(self._client.scheduler_info(n_workers=-1)["workers"])
                lost = [future for future, workers in self._pinned.items() if not workers & there]
                if lost:
                    self._given_up |= set(lost)
                    return [future for future in lost if self._pinned.pop(future)]
        return []

    def gave_up(self, future: Future[Outcome]) -> bool:
        """Tell whether a task that ended was given up, and done by another one."""
        self._pinned.pop(future, None)
        if future in self._given_up:
            self._given_up.discard(future)
            return True
        return False

    def others(self, outcome: Outcome) -> list[str]:
        """Return the workers that may try a tile again; none where it is what it is."""
        if outcome.cause != "unseen" or outcome.index in self._first:
            return []
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        others = [address for address in workers if address != outcome.worker]
        if others:
            self._first[outcome.index] = outcome
        if others and outcome.worker not in self._blind:
            self._blind.add(outcome.worker)
            logger.warning(
                "worker %s: %s; its tiles go to another worker, once", outcome.worker, outcome.error
            )
        return [address for address in others if address not in self._blind] or others

    def told(self, outcome: Outcome) -> Outcome:
        """Return an outcome that names both workers where a tile failed on two."""
        first = self._first.pop(outcome.index, None)
        if outcome.cause != "unseen":
            return outcome
        where = f" (worker {outcome.worker})"
        before = "" if first is None else f"; before, on worker {first.worker}: {first.error}"
        return replace(outcome, error=f"{outcome.error}{where}{before}")


def _outcome(index: tuple[int, int], future: Future[Outcome], result: Any) -> Outcome:
    """Return what a task gave; workers that died again and again with it are its failure."""
    if isinstance(result, Outcome):
        return result
    if future.status != "error":
        raise JobError(
            f"the cluster was lost at tile {index} (its task is {future.status}); tiles that are "
            "done are safe: run again to do the rest"
        )
    error = result[1] if isinstance(result, tuple) else result
    return Outcome(index, error=f"{type(error).__name__}: {error}")


def gpu_share(client: Client, work: TileWork) -> dict[str, float] | None:
    """Return the share of a GPU that a tile asks for; None where no worker advertises one."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if not any(worker["resources"].get("GPU") for worker in workers):
        return None
    return {"GPU": 1 / crew_size(work.job.spec, THREADS)}

"""Run the tiles of a job on dask.distributed workers, and open clusters that a file describes.

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
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
import yaml

from tamrf_xr.errors import JobError, OptionError, SourceNotFoundError
from tamrf_xr.paths import local_path
from tamrf_xr.plain_yaml import load_yaml, one_line
from tamrf_xr.scale.batch import check_accepted, check_sent, telling, watched
from tamrf_xr.scale.threads import crew_size
from tamrf_xr.scale.worker import Outcome, TileWork, run_tile

try:
    from distributed import Client, Future, Worker, WorkerPlugin, as_completed, get_worker
except ImportError as error:
    raise OptionError(
        "a cluster needs dask.distributed: pip install 'tamrf-xr[cluster]'"
    ) from error

logger = logging.getLogger(__name__)

KINDS: Mapping[str, tuple[str, str, str]] = {
    "local": ("distributed", "LocalCluster", "cluster"),
    "dask-cuda": ("dask_cuda", "LocalCUDACluster", "cuda"),
    "slurm": ("dask_jobqueue", "SLURMCluster", "cluster"),
    "pbs": ("dask_jobqueue", "PBSCluster", "cluster"),
    "lsf": ("dask_jobqueue", "LSFCluster", "cluster"),
    "sge": ("dask_jobqueue", "SGECluster", "cluster"),
    "htcondor": ("dask_jobqueue", "HTCondorCluster", "cluster"),
    "oar": ("dask_jobqueue", "OARCluster", "cluster"),
}
"""Per kind of cluster: module, class, and the extra of tamrf-xr that installs it."""

KEYS = ("cluster", "address", "jobs", "options", "dask")
COUNTS = ("n_workers", "threads_per_worker", "cores", "processes")
"""Options of which none is a cluster without workers, that waits for ever."""

MOST = 100_000

THREADS = 4
"""Of a worker process, for a method that does not say how many tiles it works on at once."""

DASK = {"distributed.worker.profile.enabled": False}
"""Configuration of clusters that are ours: dask's profiler keeps an hour of call trees, by which a
worker grew 1.6 KB a tile. A file that says otherwise is obeyed."""

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


@contextlib.contextmanager
def opened(
    cluster: str | os.PathLike[str], *, workers: int | None = None, threads: int = 1
) -> Iterator[Client]:
    """Start a cluster, or join one, for the length of a job.

    Parameters
    ----------
    cluster
        ``"local"``, ``"dask-cuda"``, or a YAML file with the keys ``cluster`` (a kind) or
        ``address`` (of a scheduler that runs), ``jobs``, ``options`` (of the cluster's class) and
        ``dask`` (dask's configuration).
    workers
        Processes, or jobs of a batch system; instead of the file's.
    threads
        Tiles at once in each process of a cluster on this machine, where no option says so.

    Raises
    ------
    OptionError
        If the file says something else, or what it needs is not installed.
    SourceNotFoundError
        If there is no such file.
    """
    described = _described(os.fspath(cluster))
    with (
        dask.config.set(DASK | (described.get("dask") or {})),
        _quiet(),
        contextlib.ExitStack() as stack,
    ):
        if "address" in described:
            yield stack.enter_context(Client(described["address"]))
            return
        made = stack.enter_context(_make(described, workers, threads))
        jobs = (workers or described.get("jobs") or 0) if hasattr(made, "job_script") else 0
        if jobs:
            check_accepted(made)
            made.scale(jobs=jobs)
            check_sent(made, jobs)
        client = stack.enter_context(Client(made))
        if jobs:
            stack.enter_context(watched(client, made, jobs))
        logger.info("dashboard of the cluster: %s", client.dashboard_link)
        yield client


def check_cluster(cluster: str | os.PathLike[str]) -> None:
    """Check a description, before a job lays out its store.

    Raises
    ------
    OptionError, SourceNotFoundError
        As `opened` does.
    """
    if not isinstance(cluster, str | os.PathLike):
        raise OptionError(f"cluster is {cluster!r:.80}; expected its name, or a YAML file")
    described = _described(os.fspath(cluster))
    if "cluster" in described:
        _class_of(described["cluster"])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep dask from telling about every connection of a cluster that is ours."""
    talker = logging.getLogger("distributed")
    level = talker.level
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        talker.setLevel(logging.WARNING)
    try:
        yield
    finally:
        talker.setLevel(level)


def _described(cluster: str) -> dict[str, Any]:
    if cluster in {"local", "dask-cuda"}:
        return {"cluster": cluster}
    path = local_path(cluster, "file of the cluster")
    if not path.exists():
        raise SourceNotFoundError(
            f"no cluster {cluster!r}: neither 'local', 'dask-cuda' nor a YAML file that exists"
        )
    try:
        found = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is not YAML: {one_line(error)}") from error
    if not isinstance(found, dict) or ("cluster" in found) == ("address" in found):
        raise OptionError(f"{path} must have the key 'cluster' or 'address', and not both")
    if unknown := [str(key) for key in found if key not in KEYS]:
        raise OptionError(f"{path}: unknown {', '.join(unknown)}; the keys are: {', '.join(KEYS)}")
    _check_kinds(found, path)
    return found


def _check_kinds(found: Mapping[str, Any], path: Path) -> None:
    """Check values that would hang a cluster or fail inside it."""
    for key in ("options", "dask"):
        if not isinstance(found.get(key) or {}, dict):
            raise OptionError(f"{path}: {key} is {found[key]!r:.80}; expected a mapping")
    if "address" in found and not _is_address(found["address"]):
        raise OptionError(
            f"{path}: address is {found['address']!r:.80}; expected one such as tcp://host:8786"
        )
    counts = {"jobs": found.get("jobs")}
    counts |= {name: (found.get("options") or {}).get(name) for name in COUNTS}
    for name, value in counts.items():
        if name == "processes" and isinstance(value, bool):
            continue  # of dask's LocalCluster: processes or threads
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and (not whole or not 1 <= value <= MOST):
            raise OptionError(f"{path}: {name} is {value!r:.40}; expected 1 to {MOST}")


def _is_address(found: Any) -> bool:
    """Tell whether a scheduler can be there: at nonsense, dask knocks for half a minute."""
    try:
        parts = urlsplit(str(found))
        return bool(parts.scheme and parts.netloc) and parts.port != 0
    except ValueError:  # a port that cannot be
        return False


def _class_of(kind: Any) -> Any:
    if not isinstance(kind, str) or kind not in KINDS:
        raise OptionError(f"unknown cluster {kind!r:.80}; the clusters are: {', '.join(KINDS)}")
    module, name, extra = KINDS[kind]
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise OptionError(
            f"cluster {kind!r} needs {module}: pip install 'tamrf-xr[{extra}]' ({error})"
        ) from error


def _make(described: Mapping[str, Any], workers: int | None, threads: int) -> Any:
    kind = described["cluster"]
    make = _class_of(kind)
    options = {**_defaults(kind, workers, threads), **(described.get("options") or {})}
    if workers and "n_workers" in options:
        options["n_workers"] = workers
    if hasattr(make, "job_cls"):
        options["job_cls"] = telling(make.job_cls)
    try:
        return make(**options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"cluster {kind!r} does not start with {options}: {error}") from error


def _defaults(kind: str, workers: int | None, threads: int) -> dict[str, Any]:
    if kind == "local":
        cores = os.cpu_count() or 1
        # Few processes of several threads: what one computes in, others read and write around.
        return {
            "n_workers": workers or max(1, cores // 4),
            "threads_per_worker": threads,
            "dashboard_address": ":0",
        }
    if kind == "dask-cuda":
        chosen = {"n_workers": workers} if workers else {}
        return {"threads_per_worker": threads, "resources": {"GPU": 1}, **chosen}
    return {}

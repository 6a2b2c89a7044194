"""Clusters for one run: on this machine, or of a YAML file."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
import yaml

from tamrf_xr.errors import OptionError, SourceNotFoundError
from tamrf_xr.machine import usable_cores
from tamrf_xr.paths import local_path
from tamrf_xr.plain_yaml import load_yaml, one_line
from tamrf_xr.scale.batch import check_accepted, check_sent, telling, watched

try:
    from distributed import Client
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


DASK = {"distributed.worker.profile.enabled": False}
"""Configuration of clusters that are ours: dask's profiler keeps an hour of call trees, by which a
worker grew 1.6 KB a tile. A file that says otherwise is obeyed."""


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
        cores = usable_cores()
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

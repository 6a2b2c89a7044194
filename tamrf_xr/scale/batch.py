"""Jobs of a batch system: refused in its own words, watched while they wait, sent again when lost.

dask-jobqueue submits in a callback of its event loop, where a refusal of ``sbatch`` ends in
tornado's log and the run waits for ever. So SLURM is asked first (``sbatch --test-only`` queues
nothing, and knows nothing of limits on jobs), jobs keep why they were not taken, and a thread tells
of jobs that wait and sends those again that are gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from tamrf_xr.errors import JobError, OptionError

logger = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds between looks at the queue."""

ANSWER = 60.0
"""Seconds that a batch system has to answer."""

SENT_AGAIN = 3
"""Times that jobs which are gone are sent again."""


def check_accepted(cluster: Any) -> None:
    """Ask SLURM whether it would take a job of a cluster; nothing is queued.

    Parameters
    ----------
    cluster
        Of dask_jobqueue; other batch systems have no such question, and pass.

    Raises
    ------
    JobError
        In the words of the batch system, if it refuses.
    OptionError
        If there is no ``sbatch``.
    """
    command = shlex.split(cluster.job_cls.submit_command)
    if command[0] != "sbatch":
        return
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
        script.write(cluster.job_script())
        script.flush()
        said = _run([*command, "--test-only", script.name])
    if said.returncode:
        raise _refused(_in_a_line(said.stderr))


def telling(job: type[Any]) -> type[Any]:
    """Return a class of jobs of dask_jobqueue that keep why they were not taken, as `refusal`."""

    async def start(self: Any) -> None:
        try:
            await job.start(self)
        except (RuntimeError, ValueError, OSError) as error:
            self.refusal = _in_a_line(str(error).rpartition("stderr:")[2])
            self.status = type(self.status).running  # dask asserts it of all that was started

    async def close(self: Any) -> None:
        await job.close(self)
        self.status = type(self.status).closed  # and this at the end

    return type(job.__name__, (job,), {"start": start, "close": close, "refusal": ""})


def check_sent(cluster: Any, jobs: int) -> None:
    """Wait until the jobs of a cluster are sent.

    Parameters
    ----------
    cluster
        Of dask_jobqueue, its jobs `telling`.
    jobs
        How many were asked for.

    Raises
    ------
    JobError
        In the words of the batch system, if it took none of them.
    """
    deadline = time.monotonic() + ANSWER
    while len(cluster.workers) < jobs and time.monotonic() < deadline:
        time.sleep(0.05)
    sent = list(cluster.workers.values())
    refusals = [job.refusal for job in sent if job.refusal]
    if refusals and len(refusals) == len(sent):
        raise _refused(refusals[0])
    if refusals:
        logger.warning("%d of %d jobs were not taken: %s", len(refusals), jobs, refusals[0])


def _refused(words: str) -> JobError:
    return JobError(
        f"the batch system takes no such job: {words}; correct the options of the cluster "
        "(queue, account, cores, memory, walltime, job_extra_directives), or ask for fewer jobs. "
        "Nothing is queued"
    )


def _in_a_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER, check=False)
    except FileNotFoundError as error:
        raise OptionError(
            f"{command[0]} is not in PATH: run where the batch system is, or take another cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise JobError(f"{shlex.join(command)} gave no answer within {ANSWER:g} s") from error


@contextlib.contextmanager
def watched(client: Any, cluster: Any, jobs: int) -> Iterator[None]:
    """Watch the jobs of a cluster for the length of a run.

    Parameters
    ----------
    client
        Of dask.distributed.
    cluster
        Of dask_jobqueue.
    jobs
        How many were asked for.
    """
    over = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(client, cluster, jobs, over), name="tamrf-queue", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join(timeout=1)


def _watch(client: Any, cluster: Any, jobs: int, over: threading.Event) -> None:
    left = SENT_AGAIN
    while not over.wait(PATIENCE):
        # A run that ends takes its cluster away.
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):
            states = _states(cluster)
            gone = [name for name, state in states.items() if not state]
            lost = jobs - len(states) + len(gone)
            if lost > 0 and left and not over.is_set():
                left -= 1
                logger.warning("%d of %d jobs are gone: sent again", lost, jobs)
                cluster.sync(_forget, cluster, gone)
                cluster.scale(jobs=jobs)
            elif not client.scheduler_info(n_workers=-1)["workers"]:
                said = "; ".join(state for state in states.values() if state)
                logger.warning("no worker yet, %d jobs asked for: %s", jobs, said or "none queued")


async def _forget(cluster: Any, names: list[Any]) -> None:
    for name in names:
        cluster.workers.pop(name, None)


def _states(cluster: Any) -> dict[Any, str]:
    """Return what SLURM says of each job, empty where it is gone; of others, that it was sent."""
    held = cluster.workers
    jobs = {name: str(job.job_id) for name, job in held.items() if not job.refusal}
    refused = {name: "" for name, job in held.items() if job.refusal}
    if shlex.split(cluster.job_cls.submit_command)[0] != "sbatch":
        return refused | {name: f"job {job} sent" for name, job in jobs.items()}
    said = _run(["squeue", "--noheader", "--user", str(os.getuid()), "--format=%i job %i %T (%r)"])
    if said.returncode:
        raise OSError(said.stderr)
    known = dict(line.strip().split(" ", 1) for line in said.stdout.splitlines() if line.strip())
    return refused | {
        name: "being sent" if job == "None" else known.get(job, "") for name, job in jobs.items()
    }

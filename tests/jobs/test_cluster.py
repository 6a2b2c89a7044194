"""Clusters that a file describes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import tamrf_xr
from tamrf_xr.errors import JobError, OptionError, SourceNotFoundError
from tamrf_xr.scale import batch, clusters
from tamrf_xr.scale.ledger import forget, job_state
from tests.scenes import random_cube

LOCAL = "cluster: local\noptions: {processes: false, n_workers: 2, threads_per_worker: 1}\n"


def test_job_runs_on_a_cluster_from_a_file(tmp_path):
    (tmp_path / "c.yaml").write_text(LOCAL + "dask: {distributed.worker.memory.terminate: 0.99}\n")
    summary = tamrf_xr.run_job(
        random_cube(),
        tmp_path / "out.zarr",
        "2022-01-10",
        method="linear",
        cluster=tmp_path / "c.yaml",
        progress=False,
        tile=12,
    )
    assert summary.done == 12


SLURM = """cluster: slurm
jobs: 2
options: {queue: nope, cores: 1, processes: 1, memory: 1GB, interface: lo}
"""
REFUSAL = "sbatch: error: invalid partition specified: nope"


@pytest.fixture
def refused(tmp_path, monkeypatch) -> Path:
    """A cluster file, and an ``sbatch`` that takes no job."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f"#!/bin/sh\necho '{REFUSAL}' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:/usr/bin:/bin")
    (tmp_path / "slurm.yaml").write_text(SLURM)
    return tmp_path / "slurm.yaml"


def small_job(out, **how):
    options = {"method": "linear", "tile": 12, "progress": False, **how}
    return tamrf_xr.run_job(random_cube(), out, "2022-01-10", **options)


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_cluster_that_is_refused_leaves_and_replaces_nothing(refused, tmp_path):
    out = tmp_path / "out" / "out.zarr"
    with pytest.raises(JobError, match=f"takes no such job: {REFUSAL}"):
        small_job(out, cluster=refused)
    assert not out.exists()
    tamrf_xr.save_cube(random_cube(seed=1), out)
    before = files(out.parent)
    with pytest.raises(JobError, match=REFUSAL):
        small_job(out, cluster=refused, overwrite=True)
    assert files(out.parent) == before


TESTED = "case $1 in --test-only) exit 0;; esac"


@pytest.mark.parametrize("lacking", ["room", "command"])
def test_jobs_that_are_refused_when_they_are_sent_leave_nothing(lacking, refused, tmp_path, caplog):
    """``sbatch --test-only`` knows no limits on jobs; of other systems nothing is asked before."""
    sbatch, out, words = tmp_path / "bin" / "sbatch", tmp_path / "out.zarr", REFUSAL
    sbatch.write_text(sbatch.read_text().replace("#!/bin/sh", f"#!/bin/sh\n{TESTED}"))
    if lacking == "command":
        refused.write_text(SLURM.replace("slurm", "pbs"))
        words = "No such file or directory: 'qsub'"
    with pytest.raises(JobError, match=f"takes no such job: .*{words}.*Nothing is queued"):
        small_job(out, cluster=refused)
    assert not out.exists()
    assert "Traceback" not in caplog.text


def test_jobs_that_are_refused_in_part_are_told(tmp_path, caplog):
    taken, other = SimpleNamespace(refusal="", job_id="7"), SimpleNamespace(refusal=REFUSAL)
    submit = SimpleNamespace(submit_command="qsub")
    cluster = SimpleNamespace(workers={0: taken, 1: other}, job_cls=submit)
    batch.check_sent(cluster, 2)
    assert f"1 of 2 jobs were not taken: {REFUSAL}" in caplog.text
    assert batch._states(cluster) == {0: "job 7 sent", 1: ""}


def test_cluster_that_is_refused_keeps_a_job_that_is_gone_on_with(refused, tmp_path):
    out = tmp_path / "out" / "out.zarr"
    small_job(out)
    forget(out, [(0, 0)])
    with pytest.raises(JobError, match=REFUSAL):
        small_job(out, cluster=refused)
    assert job_state(out).done == 11
    assert small_job(out).done == 1
    small_job(out, cluster=refused)  # nothing is left: no cluster is asked for


def test_address_that_nobody_answers_leaves_nothing(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "address: tcp://127.0.0.1:9\ndask: {distributed.comm.timeouts.connect: 1s}\n"
    )
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9"):
        small_job(tmp_path / "out.zarr", cluster=tmp_path / "c.yaml")
    assert not (tmp_path / "out.zarr").exists()


def test_address_joins_a_scheduler_that_runs(tmp_path):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as running:
        (tmp_path / "c.yaml").write_text(f"address: {running.scheduler_address}\n")
        with clusters.opened(tmp_path / "c.yaml") as client:
            assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster: magic", "unknown cluster 'magic'; the clusters are: local, dask-cuda, slurm"),
        ("cluster: local\nqueue: gpu", "unknown queue; the keys are: cluster, address, jobs"),
        ("jobs: 3", "must have the key 'cluster' or 'address'"),
        ("cluster: local\naddress: tcp://a:1", "and not both"),
        ("cluster: [", "is not YAML"),
        (LOCAL.replace("n_workers", "colour"), "does not start with .*colour"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(OptionError, match=message), clusters.opened(tmp_path / "c.yaml"):
        pass


def test_file_that_is_not_there_is_named():
    with pytest.raises(SourceNotFoundError, match=r"no cluster 'slurm.yml'"):
        clusters._described("slurm.yml")


def test_what_is_not_installed_is_told_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    with (
        pytest.raises(OptionError, match=r"needs dask_cuda: pip install 'tamrf-xr\[cuda\]'"),
        clusters.opened("dask-cuda"),
    ):
        pass


def test_slurm_options_reach_the_job_script(tmp_path):
    described = {
        "cluster": "slurm",
        "options": {
            "queue": "gpu",
            "cores": 4,
            "processes": 1,
            "memory": "32GB",
            "walltime": "02:00:00",
            "job_extra_directives": ["--gres=gpu:1"],
            "worker_extra_args": ["--resources", "GPU=1", "--lifetime", "110m"],
        },
    }
    with clusters._make(described, None, 3) as cluster:
        script = cluster.job_script()
    assert "#SBATCH -p gpu" in script
    assert "#SBATCH --gres=gpu:1" in script
    assert "--resources GPU=1" in script

"""Clusters that a file describes."""

from __future__ import annotations

import sys

import pytest

import tamrf_xr
from tamrf_xr.errors import OptionError, SourceNotFoundError
from tamrf_xr.scale import cluster as clusters
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

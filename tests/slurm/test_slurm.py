"""On a real SLURM: the cluster file and the job files of docs/cluster.md, and what goes wrong.

`make slurm` starts one (tests/slurm/start.sh) and runs these; without one they are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

import tamrf_xr
from tamrf_xr.scale.ledger import job_state
from tests.scenes import random_cube
from tests.training.test_run import TINY, logged

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        not os.environ.get("SLURM_CONF") or not shutil.which("sbatch"),
        reason="no SLURM: `make slurm` starts one",
    ),
]
DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"
WORDS = ["--dates", "2022-01-08/2022-03-20/20D", "--method", "linear", "--tile", "15"]
OPTIONS = {
    "queue": "cpu",
    "cores": 1,
    "processes": 1,
    "memory": "1GB",
    "walltime": "00:10:00",
    "interface": "lo",
}
HASTE = "import sys, tamrf_xr.scale.batch as b; b.PATIENCE = 2; "
RUN = "from tamrf_xr.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("slurm") / "scene.zarr"
    tamrf_xr.save_cube(random_cube((96, 120), hr=14, lr=9, nan=0.05), path)
    return path


@pytest.fixture(scope="module")
def alone(scene):
    """The product of a run without a cluster."""
    out = scene.with_name("alone.zarr")
    tamrf_xr.run_job(
        tamrf_xr.open_cube(scene), out, WORDS[1], method="linear", tile=15, progress=False
    )
    return out


@pytest.fixture(autouse=True)
def _empty_queue():
    yield
    subprocess.run(["scancel", "--user", "root"], check=False)


def cluster_file(folder, jobs=2, **changed):
    path = folder / "slurm.yaml"
    options = OPTIONS | {"log_directory": str(folder / "logs")} | changed
    path.write_text(yaml.safe_dump({"cluster": "slurm", "jobs": jobs, "options": options}))
    return path


def command(scene, out, *words):
    return [sys.executable, "-c", HASTE + RUN, "fuse", "--quiet", scene, out, *WORDS, *words]


def run(scene, out, *words, timeout=120):
    return subprocess.run(
        list(map(str, command(scene, out, *words))),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def assert_same_product(one, other):
    for name, group in tamrf_xr.open_cube(one).children.items():
        for variable, expected in group.to_dataset().data_vars.items():
            found = tamrf_xr.open_cube(other)[f"{name}/{variable}"]
            np.testing.assert_array_equal(found.values, expected.values)


def queue():
    said = subprocess.run(
        ["squeue", "--noheader", "--format=%i %T"], capture_output=True, text=True, check=True
    )
    return [line.split() for line in said.stdout.splitlines()]


def wait_for(condition, seconds=90):
    for _ in range(int(seconds / 0.2)):
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s; queue: {queue()}")


def test_a_cluster_file_gives_the_product_of_one_process(scene, alone, tmp_path):
    done = run(scene, tmp_path / "out.zarr", "--cluster", cluster_file(tmp_path))
    assert done.returncode == 0, done.stderr
    assert_same_product(alone, tmp_path / "out.zarr")
    wait_for(lambda: not queue())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queue": "nope"}, "invalid partition specified: nope"),
        ({"memory": "100GB"}, "Requested node configuration is not available"),
        ({"job_extra_directives": ["--gres=gpu:9"]}, "Invalid generic resource"),
    ],
)
def test_a_refusal_is_told_in_the_words_of_slurm(scene, tmp_path, options, words):
    file = cluster_file(tmp_path, **options)
    done = run(scene, tmp_path / "out.zarr", "--cluster", file, timeout=30)
    assert done.returncode == 1
    assert "tamrf-xr: the batch system takes no such job" in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.zarr").exists()
    assert not queue()


def test_a_queue_that_stays_full_is_told(scene, tmp_path):
    file = cluster_file(tmp_path, queue="shut")
    words = list(map(str, command(scene, tmp_path / "out.zarr", "--cluster", file)))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
        line = running.stderr.readline()
        running.terminate()
        running.wait(timeout=30)
    assert "no worker yet, 2 jobs asked for: job" in line
    assert "PENDING (PartitionDown)" in line
    wait_for(lambda: not queue())


def test_a_worker_that_is_cancelled_loses_nothing(scene, alone, tmp_path):
    file = cluster_file(tmp_path, jobs=1)
    out = tmp_path / "out.zarr"
    words = list(map(str, command(scene, out, "--cluster", file)))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
        wait_for(lambda: any(state == "RUNNING" for _, state in queue()))
        subprocess.run(["scancel", queue()[0][0]], check=True)
        told = running.communicate(timeout=180)[1]
    assert running.returncode == 0, told
    assert "1 of 1 jobs are gone: sent again" in told
    assert_same_product(alone, out)


def job_file(number, folder, changes):
    """Write a job file of the docs, with what this SLURM has."""
    text = re.findall(r"```bash\n(#!/bin/bash.*?)```", DOCS.read_text(), re.DOTALL)[number]
    changes = {
        "--partition=gpu --gres=gpu:1": "--partition=cpu",
        "--cpus-per-task=8 --mem=64G": "--cpus-per-task=1 --mem=1G",
        "--cpus-per-task=2 --mem=8G": "--cpus-per-task=1 --mem=1G",
        "$SCRATCH": str(folder),
        "2022-01-08/2022-12-31/15D": WORDS[1],
        "--model weights.safetensors": "--method linear --tile 15 --quiet",
        "exec tamrf-xr": f"exec {sys.executable} -m tamrf_xr.cli",
        "python -m tamrf_xr.train": f"{sys.executable} -m tamrf_xr.train",
        **changes,
    }
    for old, new in changes.items():
        text = text.replace(old, new)
    path = folder / f"job{number}.sh"
    path.write_text(text)
    return path


def submit(path):
    said = subprocess.run(
        ["sbatch", "--parsable", f"--output={path}.log", str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=path.parent,
    )
    return said.stdout.strip()


def state_of(job):
    said = subprocess.run(
        ["scontrol", "show", "job", job], capture_output=True, text=True, check=True
    )
    return re.search(r"JobState=(\w+)", said.stdout)[1]


@pytest.mark.parametrize("number", [0, 1])
def test_job_files_of_the_docs_make_the_product(scene, alone, tmp_path, number):
    cluster_file(tmp_path).rename(tmp_path / "cpu.yaml")
    changes = {
        "31TCJ.zarr": os.path.relpath(scene, tmp_path),
        "--device cuda": "--device cpu",
        "--cluster cpu.yaml --workers 20": f"--cluster {tmp_path}/cpu.yaml --workers 1",
    }
    path = job_file(number, tmp_path, changes)
    job = submit(path)
    wait_for(lambda: state_of(job) in {"COMPLETED", "FAILED"}, 150)
    assert state_of(job) == "COMPLETED", Path(f"{path}.log").read_text()
    assert_same_product(alone, tmp_path / "31TCJ-fused.zarr")
    assert "complete" in str(job_state(tmp_path / "31TCJ-fused.zarr"))


def steps_of(folder):
    log = folder / "log.jsonl"
    return log.read_text().splitlines() if log.exists() else []


def test_training_that_is_requeued_twice_ends_as_if_undisturbed(scene, tmp_path):
    steps = ["optim.steps=14", f"data={scene}", "run.device=cpu"]
    words = " ".join(["--config-name", "quick", *TINY, *steps])
    path = job_file(2, tmp_path, {f'"data={tmp_path}/cubes/*.zarr"': words})
    job = submit(path)
    for reached in (2, 7):
        wait_for(
            lambda n=reached: state_of(job) == "RUNNING" and len(steps_of(tmp_path / "run")) > n
        )
        subprocess.run(["scancel", "--signal=USR1", "--batch", job], check=True)
        wait_for(lambda: state_of(job) in {"PENDING", "COMPLETING"})
    wait_for(lambda: state_of(job) in {"COMPLETED", "FAILED"}, 150)
    told = Path(f"{path}.log").read_text()
    assert state_of(job) == "COMPLETED", told
    assert told.count("run again to go on") == 2
    alone = [sys.executable, "-m", "tamrf_xr.train", *words.split(), f"output={tmp_path / 'alone'}"]
    subprocess.run(alone, check=True, capture_output=True)
    for kind in ("train", "validation"):
        assert logged(tmp_path / "run", kind) == logged(tmp_path / "alone", kind)

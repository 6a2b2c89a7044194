"""A process takes what its container or job may have, not what the machine has."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tamrf_xr import machine
from tamrf_xr.fuser import FuserSpec
from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.scale.prepared import _budget
from tests.scenes import random_cube

GIB = 1 << 30


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Files as of a cgroup, in place of this machine's, which has 500 GiB."""
    monkeypatch.setattr(machine, "_OF_SELF", tmp_path / "self")
    monkeypatch.setattr(machine, "_MOUNTED", tmp_path / "fs")
    memory = SimpleNamespace(available=400 * GIB, total=500 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    return tmp_path


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def test_a_job_of_slurm_has_the_memory_that_it_asked_for(tree):
    """Version 2: the limit is on the job, above the step that this process is in."""
    write(tree, self="0::/system.slice/job_7/step_0/task_0")
    job = tree / "fs/system.slice/job_7"
    write(job / "step_0/task_0", memory__max="max", memory__current=2 * GIB)
    stat = f"anon {2 * GIB}\ninactive_file {3 * GIB}\nactive_file {1 * GIB}"
    write(job, memory__max=16 * GIB, memory__current=6 * GIB, memory__stat=stat)
    assert machine.available_memory() == (16 - 6 + 4) * GIB
    assert machine.memory_limit() == 16 * GIB


def test_a_container_of_version_1_has_its_own(tree):
    """The path is the host's, which is not there inside; the group is mounted as the root."""
    write(tree, self="5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n1:name=systemd:/docker/ab")
    stat = f"inactive_file 0\ntotal_inactive_file {GIB}\ntotal_active_file 0"
    write(
        tree / "fs/memory",
        memory__limit_in_bytes=8 * GIB,
        memory__usage_in_bytes=3 * GIB,
        memory__stat=stat,
    )
    assert machine.available_memory() == 6 * GIB
    assert machine.memory_limit() == 8 * GIB


@pytest.mark.parametrize("limit", ["max", 9223372036854771712])
def test_without_a_limit_it_is_the_machine(tree, limit):
    write(tree, self="4:memory:/\n0::/")
    write(tree / "fs/memory", memory__limit_in_bytes=limit, memory__usage_in_bytes=GIB)
    write(tree / "fs", memory__max=limit, memory__current=GIB)
    assert machine.available_memory() == 400 * GIB
    assert machine.memory_limit() == 500 * GIB


def test_where_there_are_no_cgroups_it_is_the_machine(tree):
    assert machine.available_memory() == 400 * GIB
    assert machine.memory_limit() == 500 * GIB


def test_more_than_the_limit_is_nothing(tree):
    write(tree, self="0::/a")
    write(tree / "fs/a", memory__max=GIB, memory__current=2 * GIB)
    assert machine.available_memory() == 0


def linear() -> FuserSpec:
    given = {"sentinel2": tuple(random_cube()["sentinel2"].band.values)}
    return plan_method("linear", Request(given))


def test_tiles_fit_the_container(tree):
    assert _budget(linear(), 100) == 0.8 * 400 * GIB
    write(tree, self="0::/a")
    write(tree / "fs/a", memory__max=2 * GIB, memory__current=GIB)
    assert _budget(linear(), 100) == 0.8 * GIB


def test_cores_are_those_of_the_affinity(monkeypatch):
    monkeypatch.setattr("tamrf_xr.machine.cpu_count", lambda: 3)
    assert machine.usable_cores() == 3

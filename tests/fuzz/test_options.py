"""Some of the bad values of `tests.fuzz.options`, the same each time; ``make fuzz`` tries all."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.doors import every_case
from tests.fuzz.options import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
EVERY = 23


def test_there_are_bad_values_for_every_door():
    names = [case.name for case in every_case()]
    assert len(names) > 1000
    for door in (
        "fuse", "ingest", "info", "simulate", "quicklook", "weights", "adapt", "evaluate",
        "export", "view", "get",
    ):  # fmt: skip
        assert any(name.startswith(f"tamrf-xr {door}") for name in names)
    for door in ("train", "run_job", "as_cube", "save_cube", "clip", "load_model", "cluster.yaml"):
        assert any(name.startswith(door) for name in names)


@pytest.mark.slow
def test_bad_values_are_refused_within_seconds_and_leave_nothing():
    # In a process of its own: cases are forks, which threads of other tests do not survive.
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.options", "--every", str(EVERY)],
        cwd=ROOT, capture_output=True, text=True, check=False, errors="replace",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (slowest,) = re.findall(r"the slowest took ([\d.]+) s", done.stdout)
    assert float(slowest) < PATIENCE

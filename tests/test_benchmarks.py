"""Benchmarks run at tiny size, so that none rots; their figures are not looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    "words",
    [
        ["door.py", "--tiny"],
        ["io.py", "--tiny"],
        ["checksums.py", "--tiny"],
        ["laziness.py", "--tiny"],
        ["memory.py", "--method", "linear", "--widths", "60", "--height", "60"],
        ["overlap.py", "--tiny", "--method", "linear", "--shape", "60", "120", "--tile", "60"],
        ["learning.py", "--tiny"],
        ["loader.py", "--tiny"],
        ["precision.py", "--tiny"],
        ["scaling.py", "--tiny"],
        ["training_step.py", "--tiny"],
    ],
)
def test_benchmark_runs(words):
    command = [sys.executable, str(BENCHMARKS / words[0]), *words[1:]]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.strip()

"""The benchmark of the simulator runs at tiny size; its figures are not looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("what", ["speed", "compare", "scene"])
def test_benchmark_runs(what, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import simulation

    found = simulation.main([what, "--tiny", "--figure", str(tmp_path / "figure.png")])
    assert bool(found) == (what != "scene")
    assert (tmp_path / "figure.png").exists() == (what != "speed")

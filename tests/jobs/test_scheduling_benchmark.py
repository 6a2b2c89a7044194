"""The benchmark of scheduling still runs."""

from __future__ import annotations

from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_benchmark_runs_at_tiny_size(monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import scheduling

    figures = scheduling.main(["--tiles", "9", "--ways", "threads"])
    assert figures["threads"]["tiles"] == 9
    assert "ms a tile" in capsys.readouterr().out

"""The benchmark still runs, and what it compares still agrees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_benchmark_runs_at_tiny_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import inference

    report = inference.main(["--tiny", "--threads", "0", "--output", str(tmp_path)])
    (written,) = tmp_path.iterdir()
    assert written.name.startswith("inference-cpu-")
    assert json.loads(written.read_text())["total"] == report["total"]
    assert set(report["seconds"]) == {"eager", "float32", "bfloat16"}
    assert report["max_abs_difference_from_eager"]["float32"] < 1e-4
    assert "times eager" in capsys.readouterr().out

"""Benchmarks and studies run at tiny size, so that none rots; their figures are not looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import harness
from tests.forking import Server

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def server():
    started = Server()
    yield started
    started.close()


@pytest.fixture
def run(server):
    """``python -m module --tiny words``; what it printed."""

    def ran(module: str, *words: object) -> str:
        done = server.run(module, "--tiny", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return ran


@pytest.mark.parametrize(
    "module",
    [
        *(f"benchmarks.{name}" for name in (
            "checksums", "door", "engine", "io", "latent", "laziness", "loader", "memory",
            "overlap", "scaling", "scheduling", "stores", "training_border", "training_step",
            "update",
        )),
        "studies.alerts",
        "studies.causal",
        "studies.coregistration",
        "studies.coverage",
        "studies.default_weights",
        "studies.layers",
        "studies.learning",
        "studies.precision",
        "studies.quality_biomes",
        "studies.sentinel1",
        "studies.simulation_noise",
        "studies.temperature",
        "studies.update",
    ],
)  # fmt: skip
def test_it_runs_at_tiny_size(run, module):
    assert run(module).strip()


def test_inference_agrees_with_eager_and_is_kept(run, tmp_path):
    assert "times eager" in run("benchmarks.inference", "--threads", 0, "--results", tmp_path)
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("inference-cpu-")
    report = json.loads(kept.read_text())
    assert set(report["seconds"]) == {"eager", "float32", "tf32", "bfloat16"}
    assert report["max_abs_difference_from_eager"]["float32"] < 1e-4


def test_a_card_is_told_about_in_one_go_and_is_kept(run, tmp_path):
    run("benchmarks.gpu", "--device", "cpu", "--results", tmp_path)
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith("gpu-cpu-")
    parts = json.loads(kept.read_text())["parts"]
    assert set(parts) == {"parity", "inference", "blocks", "job", "training"}
    assert [row["computed"] for row in parts["parity"]] == ["float32", "tf32", "bfloat16"]
    assert {row[""] for row in parts["parity"]} == {"ok"}
    assert len(parts["inference"]) == 7
    assert parts["job"][0]["tiles"] == 16
    assert 0 < parts["job"][0]["device busy"] <= 1


def test_a_card_is_told_about_where_there_is_torch_alone(tmp_path):
    """Parity and speed of the network; a part that lacks something is told, the others go on."""
    blocked = "xarray zarr dask pandas rasterio pyproj scipy matplotlib PIL psutil rioxarray"
    code = f"""
import sys
sys.modules.update(dict.fromkeys({blocked.split()}))  # as if not installed
from benchmarks.gpu import main
words = ["--tiny", "--device", "cpu", "--results", {str(tmp_path)!r}]
parts = main([*words, "--parts", "job", "parity"])["parts"]
assert parts["job"].startswith("failed: "), parts
assert all(row[""] == "ok" for row in parts["parity"]), parts
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("what", ["speed", "compare", "scene"])
def test_simulation_runs(run, what, tmp_path):
    assert run("studies.simulation", what, "--figure", tmp_path / "figure.png").strip()
    assert (tmp_path / "figure.png").exists() == (what != "speed")


def test_biomes_are_drawn(run, tmp_path):
    assert "drew 2" in run("studies.simulation_biomes", "scenes", "--figure", tmp_path / "b.png")
    assert (tmp_path / "b.png").exists()


def test_another_checkout_runs_its_own_package(tmp_path):
    (tmp_path / "tamrf_xr").mkdir()
    (tmp_path / "tamrf_xr" / "__init__.py").touch()
    here, there = (harness.apart(where, checkout=place) for place in (ROOT, tmp_path))
    assert here == [str(ROOT / "tamrf_xr/__init__.py"), str(Path(__file__))]
    assert there == [str(tmp_path / "tamrf_xr/__init__.py"), str(Path(__file__))]


def where() -> list[str]:
    import tamrf_xr

    return [str(tamrf_xr.__file__), __file__]


def test_a_checkout_without_the_package_is_refused(tmp_path):
    """Python would find this one, and compare it with itself."""
    with pytest.raises(subprocess.CalledProcessError):
        harness.apart(where, checkout=tmp_path)


def test_turns_go_there_and_back_and_keep_the_least():
    order: list[str] = []
    times = iter([3.0, 5.0, 4.0, 6.0])
    ways = {name: lambda name=name: order.append(name) or {"s": next(times)} for name in "ab"}
    assert harness.in_turns(ways, turns=2) == {"b": {"s": 3.0}, "a": {"s": 4.0}}
    assert order == ["b", "a", "a", "b"]

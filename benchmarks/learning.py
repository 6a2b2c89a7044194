"""Does it learn: simulated cubes, ``--config-name quick``, and the curve of its losses.

``python benchmarks/learning.py`` takes about a quarter of an hour on two cores, simulation
included; it keeps the figures and ``docs/learning.png``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import keep

from tamrf_xr.simulate import write_scenes
from tamrf_xr.training.config import override
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import train

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "learning.png"


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Simulate, train, print, draw, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--size", type=int, default=180, help="10 m pixels of a scene")
    parser.add_argument("--steps", type=int, help="of the recipe, if not its own")
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.scenes, options.size, options.steps = 1, 60, 2
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        cubes = write_scenes(Path(folder) / "cubes", range(options.scenes), size_px=options.size)
        simulated = time.perf_counter() - start
        words = [f"data={','.join(map(str, cubes))}"]
        words += [f"optim.steps={options.steps}"] if options.steps else []
        words += ["run.validation_samples=2"] if options.tiny else []
        train(override(recipe("quick"), words), Path(folder) / "run", progress=not options.tiny)
        trained = time.perf_counter() - start - simulated
        lines = (Path(folder) / "run" / "log.jsonl").read_text().splitlines()
    log = [json.loads(line) for line in lines]
    checks = [(line["step"], line["total"]) for line in log if line["kind"] == "validation"]
    steps = [(line["step"], line["total"]) for line in log if line["kind"] == "train"]
    figures = {
        "scenes": options.scenes,
        "size_px": options.size,
        "simulation_s": simulated,
        "training_s": trained,
        "steps": len(steps),
        "first_20_steps": _mean(steps[:20]),
        "last_20_steps": _mean(steps[-20:]),
        "validation": checks,
    }
    print(
        f"{len(steps)} steps in {trained:.0f} s (simulation {simulated:.0f} s): training loss "
        f"{figures['first_20_steps']:.3f} to {figures['last_20_steps']:.3f}, validation "
        f"{checks[0][1]:.3f} to {checks[-1][1]:.3f}"
    )
    if not options.tiny:
        keep("learning-quick", figures)
        draw(steps, checks, PICTURE)
    return figures


def _mean(points: list[tuple[int, float]]) -> float:
    return sum(value for _, value in points) / len(points)


def draw(steps: list[tuple[int, float]], checks: list[tuple[int, float]], path: Path) -> None:
    """Draw the losses of steps, their moving mean, and those of validation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*steps, strict=True), color="#bbccee", lw=0.6, label="step")
    smooth, mean = [], steps[0][1]
    for step, value in steps:
        mean += 0.05 * (value - mean)
        smooth.append((step, mean))
    axes.plot(*zip(*smooth, strict=True), color="#4477aa", label="steps, moving mean")
    axes.plot(*zip(*checks, strict=True), "o-", color="#cc3311", label="validation")
    axes.set(xlabel="step", ylabel="total loss", ylim=(0, None), xlim=(0, steps[-1][0]))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

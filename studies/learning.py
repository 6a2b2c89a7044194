"""Does it learn: simulated cubes, ``--config-name quick``, and the curve of its losses.

``python -m studies.learning`` takes about a quarter of an hour on two cores, simulation
included; it keeps the figures and ``docs/learning.png``.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from benchmarks.harness import HERE, Row, finish, parse
from studies import RESULTS
from tamrf_xr.simulate import write_scenes
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import train
from tamrf_xr.training.setting import override

PICTURE = HERE / "docs" / "learning.png"


def main(arguments: list[str] | None = None) -> Row:
    """Simulate, train, print, draw, keep."""
    options = parse(__doc__, arguments, scenes=(12, 1), size=(180, 60), steps=(0, 2))
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
        draw(steps, checks, PICTURE)
    return finish("learning-quick", figures, options, folder=RESULTS)


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

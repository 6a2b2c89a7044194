"""Training steps of stacked samples against one by one, in turns, on the same samples.

``python -m benchmarks.training_step --device cuda`` (or ``cpu``): the recipe ``small``, the same on
72 px, and the paper's network on its patch (``smooth_l1``, which needs no file). Samples are read
beforehand; a step is all but reading: upload, loss, gradients, Adam. Of a GPU, seconds are between
two of its events, and its busy share is what the profiler tells that its kernels take of them.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

import torch

import tamrf_xr
from benchmarks.harness import Row, finish, in_turns, parse, show
from benchmarks.scenes import cloudless_cube
from tamrf_xr.model.device import resolve_device
from tamrf_xr.training.config import TrainConfig
from tamrf_xr.training.data import Sample
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import build, placed
from tamrf_xr.training.setting import override
from tamrf_xr.training.trainer import Trainer, World

CASES = {
    "small": ("small", []),
    "72px": ("small", ["data.patch_m=720"]),
    "paper": ("published", ["loss.perceptual=smooth_l1"]),
}
"""Recipe and what is set otherwise."""

TINY = ["data.patch_m=240", "data.dates=6", "model.latent=8", "model.growth=4", "loss.margin=3"]


def main(arguments: list[str] | None = None) -> Row:
    """Measure, print, keep."""
    options = parse(
        __doc__, arguments, device=("auto", "cpu"), cases=(tuple(CASES), ("small",)),
        batch=(16, 3), steps=(4, 1), turns=(3, 1),
    )  # fmt: skip
    device = resolve_device(options.device)
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cube.zarr"
        tamrf_xr.save_cube(cloudless_cube((165, 165), hr=73, lr=40), path)
        for name in options.cases:
            base, words = CASES[name]
            words = [*words, *(TINY if options.tiny else []), f"optim.batch={options.batch}"]
            config = override(recipe(base), [*words, f"run.device={device}"])
            rows |= measure(name, config, path, steps=options.steps, turns=options.turns)
    show(rows)
    return finish("training-step", {"device": str(device), "rows": rows}, options)


def measure(
    name: str, config: TrainConfig, path: Path, *, steps: int, turns: int
) -> dict[str, Row]:
    """Return the figures of both ways, and how many times as fast stacking is."""
    cubes = [tamrf_xr.open_cube(path)]
    trainers = {}
    for way, stack in (("one by one", 1), ("stacked", 0 if is_gpu(config) else config.optim.batch)):
        own = override(config, [f"run.stack={stack}"])
        model = placed(build(own, cubes, torch.device("cpu")), torch.device(own.run.device))
        trainers[way] = Trainer(own, cubes, model, World())
    first = trainers["stacked"]
    samples = [first.patches[number] for number in range(config.optim.batch)]
    ways = {way: partial(stretch, one, samples, steps) for way, one in trainers.items()}
    for take in ways.values():
        take()  # plans are made, memory is taken
    rows = {f"{name}, {way}": row for way, row in in_turns(ways, turns=turns).items()}
    seconds = [rows[f"{name}, {way}"]["s_a_sample"] for way in ("one by one", "stacked")]
    for row in rows.values():
        row["samples_per_s"] = 1 / row["s_a_sample"]
        if "kernel_s_a_sample" in row:
            row["busy_share"] = row["kernel_s_a_sample"] / row["s_a_sample"]
    rows[f"{name}, ratio"] = {"times_as_fast": seconds[0] / seconds[1], "stack": first.stack}
    return rows


def is_gpu(config: TrainConfig) -> bool:
    """Tell whether a run computes on a GPU."""
    return config.run.device.startswith("cuda")


def stretch(trainer: Trainer, samples: list[Sample], steps: int) -> Row:
    """Take some steps, without reading; return seconds a sample and, of a GPU, more."""
    if is_gpu(trainer.config):
        return stretch_on_gpu(trainer, samples, steps)
    start = time.perf_counter()
    for _ in range(steps):
        trainer._step(samples)
    return {"s_a_sample": (time.perf_counter() - start) / (steps * len(samples))}


def stretch_on_gpu(trainer: Trainer, samples: list[Sample], steps: int) -> Row:
    """Return seconds by events, those in kernels by the profiler, and GiB at the most."""
    torch.cuda.reset_peak_memory_stats()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(steps):
        trainer._step(samples)
    end.record()
    end.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as told:
        trainer._step(samples)
        torch.cuda.synchronize()
    kernels = sum(event.self_device_time_total for event in told.key_averages())
    return {
        "s_a_sample": start.elapsed_time(end) / 1e3 / (steps * len(samples)),
        "kernel_s_a_sample": kernels / 1e6 / len(samples),
        "memory_gib": torch.cuda.max_memory_allocated() / 2**30,
    }


if __name__ == "__main__":
    main()

"""Eager PyTorch against the engine, same inputs, interleaved in one process.

Run ``python -m benchmarks.inference`` (about 7 minutes on two cores), or ``--tiny`` (seconds).
The table is printed, and written to ``benchmarks/results/inference-<device>-<date>.json``.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.eager import Eager, Scene, cut, tiles
from benchmarks.harness import Row, finish, machine, parse
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.precision import fastest

STAGES = ("hr encoder", "lr encoder", "transformer", "attention", "decoder")
SIZES: dict[str, tuple[Any, Any]] = {
    "size": (330, 150),  # pixels of a side, multiple of 3
    "hr_dates": (20, 1),
    "lr_dates": (12, 1),
    "queries": (12, 1),
    "core": (165, 99),  # of an eager tile
    "margin": (18, 18),  # likewise
    "threads": (2, 2),
    "repeat": (1, 1),
    "device": ("cpu", "cpu"),
}
TINY = NetworkConfig(
    latent=16, growth=8, positional=16, sensor_token=4, num_heads=2, decoder_heads=2, num_layers=2
)


@dataclass
class Clock:
    """Seconds of each stage of one run."""

    device: str
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = self._now()
        yield
        took = self._now() - start
        with self.lock:  # blocks of pixels are timed in several threads
            self.seconds[name] += took

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return call(*args, **kwargs)

        return wrapped

    def _now(self) -> float:
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()


def main(arguments: list[str] | None = None) -> Row:
    """Run the benchmark, print its table, write and return its results."""
    options = parse(__doc__, arguments, **SIZES)
    if options.threads:
        torch.set_num_threads(options.threads)
    config = TINY if options.tiny else NetworkConfig()
    model = Tamrf(config, generator=torch.Generator().manual_seed(1)).eval()
    scene = _scene(options, model)
    load = [os.getloadavg()[0]]
    results = _measure(options, model, scene)
    load.append(os.getloadavg()[0])
    report = {
        "load_average": load,
        "threads": torch.get_num_threads(),
        "gpu": None if options.device == "cpu" else torch.cuda.get_device_name(),
        "options": {k: v for k, v in vars(options).items() if k not in {"results", "against"}},
        "gflop": {k: v / 1e9 for k, v in work(config, options).items()},
        **results,
    }
    _print(report)
    return finish(f"inference-{options.device}", report, options)


def work(config: NetworkConfig, options: argparse.Namespace) -> dict[str, float]:
    """Return the floating point operations each stage needs, done plainly and without halos."""
    latent, width, pixels = config.latent, config.width, options.size**2
    inputs = [latent + i * config.growth for i in range(5)]
    dense = config.growth * sum(inputs[:4]) + latent * inputs[4]
    hr_trunk, lr_trunk = (
        3 * blocks * dense + latent**2 for blocks in (config.num_blocks, config.lr_blocks)
    )
    coarse = pixels / config.ratio**2
    dates, queries = options.hr_dates + options.lr_dates, options.queries
    layer = 8 * width**2 + 4 * width * config.feedforward + 4 * dates * width
    query = 4 * width**2 + 4 * width * config.decoder_feedforward + 4 * dates * width
    lr = coarse * (lr_trunk + config.lr_bands * latent) + pixels * latent**2
    return {
        "hr encoder": 18 * pixels * options.hr_dates * (hr_trunk + config.hr_bands * latent),
        "lr encoder": 18 * options.lr_dates * lr,
        "transformer": pixels * dates * config.num_layers * layer,
        "attention": pixels * (dates * 4 * width**2 + queries * query),
        "decoder": 18 * pixels * queries * width * (width + config.bands),
    }


def _measure(options: argparse.Namespace, model: Tamrf, scene: Scene) -> Row:
    """Run one engine, in turn, after each eager tile, so that all see the same load."""
    device = torch.device(options.device)
    eager, scene = Eager(model).to(device), Scene(*(part.to(device) for part in _parts(scene)))
    taken = {asked: fastest(device, asked) for asked in ("float32", "tf32", "bfloat16")}
    engines = {p: Engine(model, device=device, precision=kind) for p, kind in taken.items()}
    cores = tiles(scene, core=options.core, margin=options.margin, ratio=model.config.ratio)
    shares = _shares(cores, options.margin)
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    outputs: dict[str, Tensor] = {}
    tile_outputs: list[Tensor] = []
    turn = cycle(engines)
    steps = [index for _ in range(options.repeat) for index in range(len(cores))]
    for step, index in enumerate(steps):
        tile = cut(scene, cores[index], margin=options.margin, ratio=model.config.ratio)
        clock = Clock(options.device)
        out = eager(tile, clock.stage)
        runs["eager"].append({k: v / shares[index] for k, v in clock.seconds.items()})
        if step < len(cores):
            tile_outputs.append(out)
        for name in [next(turn)] if len(steps) > 1 else engines:
            outputs[name] = _run_engine(engines[name], model, scene, runs[name])
    seconds = {name: _fastest(each) for name, each in runs.items()}
    return {
        "seconds": seconds,
        "total": {name: sum(stages.values()) for name, stages in seconds.items()},
        "runs": {name: [sum(run.values()) for run in each] for name, each in runs.items()},
        "computed_in": {name: engine.precision for name, engine in engines.items()},
        "max_abs_difference_from_eager": {
            name: _difference(out, tile_outputs, cores, options) for name, out in outputs.items()
        },
    }


def _shares(cores: list[tuple[slice, slice]], margin: int) -> list[float]:
    """Return the share of each tile in the pixels that eager reads: one tile tells the whole."""
    read = [(y.stop - y.start + 2 * margin) * (x.stop - x.start + 2 * margin) for y, x in cores]
    return [pixels / sum(read) for pixels in read]


def _fastest(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the run that took least: other processes can only add."""
    return min(runs, key=lambda run: sum(run.values()))


def _run_engine(engine: Engine, model: Tamrf, scene: Scene, runs: list[dict[str, float]]) -> Tensor:
    clock, pixels = Clock(engine.device.type), engine._pixels
    transform = clock.timed("transformer", pixels.transform)
    answer = clock.timed("attention", pixels.answer)
    with mock.patch.multiple(pixels, transform=transform, answer=answer):
        with clock.stage("lr encoder"):
            lr = engine.encode_lr(model.standardise(scene.lr, "lr"))
        with clock.stage("hr encoder"):
            hr = engine.encode_hr(model.standardise(scene.hr, "hr"))
        series = {"lr": (lr, scene.lr_days), "hr": (hr, scene.hr_days)}
        with clock.stage("all of attend"):
            attended = engine.attend(series, scene.query_days)
        with clock.stage("decoder"):
            out = engine.decode(attended)
    # blocks are side by side on a CPU, so their seconds are shares of what all of it took
    took, answered = clock.seconds.pop("all of attend"), clock.seconds["attention"]
    clock.seconds["attention"] = took * answered / (answered + clock.seconds["transformer"])
    clock.seconds["transformer"] = took - clock.seconds["attention"]  # with loading tokens
    runs.append(dict(clock.seconds))
    return out


def _difference(
    out: Tensor,
    tile_outputs: list[Tensor],
    cores: list[tuple[slice, slice]],
    options: argparse.Namespace,
) -> float:
    """Compare where the margin of the eager tiles covers the whole receptive field."""
    config = TINY if options.tiny else NetworkConfig()
    worst = float("nan")  # where no tile is wide enough
    for (y, x), tile in zip(cores, tile_outputs, strict=True):
        inside = config.lr_halo * config.ratio - options.margin
        if min(y.stop - y.start, x.stop - x.start) <= 2 * inside:
            continue
        a = out[..., y.start + inside : y.stop - inside, x.start + inside : x.stop - inside]
        edge = config.lr_halo * config.ratio
        b = tile[..., edge : tile.shape[-2] - edge, edge : tile.shape[-1] - edge]
        worst = max(float((a - b).abs().max()), worst)
    return worst


def _parts(scene: Scene) -> tuple[Tensor, ...]:
    return scene.lr, scene.lr_days, scene.hr, scene.hr_days, scene.query_days


def _scene(options: argparse.Namespace, model: Tamrf) -> Scene:
    draw, ratio = torch.Generator().manual_seed(2), model.config.ratio

    def series(sensor: str, dates: int, bands: int, size: int) -> Tensor:
        mean, std = (model.get_buffer(f"{sensor}_{k}")[:, None, None] for k in ("mean", "std"))
        return torch.randn(dates, bands, size, size, generator=draw) * std + mean

    lr = series("lr", options.lr_dates, model.config.lr_bands, options.size // ratio)
    hr = series("hr", options.hr_dates, model.config.hr_bands, options.size)
    lr_days, hr_days, asked = (
        torch.linspace(0, 364, n) for n in (options.lr_dates, options.hr_dates, options.queries)
    )
    return Scene(lr, lr_days, hr, hr_days, asked)


def _print(report: Row) -> None:
    seconds, total = report["seconds"], report["total"]
    print(f"{machine()['cpu']}, {report['threads']} threads, torch {torch.__version__}")
    names = ["eager", "float32", "bfloat16"]
    print(f"{'seconds (GFLOP/s)':<18}" + "".join(f"{name:>18}" for name in names))
    for stage in STAGES:
        gflop = report["gflop"][stage]
        cells = (f"{seconds[n][stage]:.2f} ({gflop / seconds[n][stage]:.0f})" for n in names)
        print(f"{stage:<18}" + "".join(f"{cell:>18}" for cell in cells))
    print(f"{'total':<18}" + "".join(f"{total[n]:>18.2f}" for n in names))
    print(f"{'times eager':<18}" + "".join(f"{total['eager'] / total[n]:>18.2f}" for n in names))
    print(f"load average before and after: {report['load_average']}")
    print(f"computed in: {report['computed_in']}")
    print(f"largest difference from eager: {report['max_abs_difference_from_eager']}")


if __name__ == "__main__":
    main()

"""All that is to be known of a card, in under five minutes: ``python -m benchmarks.gpu``.

Needs no network and no git: this checkout, torch, safetensors and pyyaml; xarray, zarr and the rest
for the job and for training, which are otherwise told as skipped. Prints one table and writes
``benchmarks/results/gpu-<card>-<date>.json``. Parts: parity with the published values in every
precision, with and without kernels; inference against `benchmarks/eager.py`, with each stage's
share on the card's own clock; blocks of the kernels, in case others suit the card better; a job of
16 tiles; training steps (`benchmarks.training_step`). A part that fails is told, and the others go
on; what begins after ``--budget`` seconds is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from unittest import mock

import numpy as np
import torch

from benchmarks.harness import HERE, Row, keep, parse

if find_spec("xarray") is None:  # the network alone: its package, without what opens cubes
    bare = ModuleType("tamrf_xr")
    bare.__path__ = [str(HERE / "tamrf_xr")]
    sys.modules.setdefault("tamrf_xr", bare)
if find_spec("psutil") is None:  # tells who holds a lock: nothing here takes one
    sys.modules["psutil"] = ModuleType("psutil")

from benchmarks import inference
from benchmarks.busy import Busy
from benchmarks.eager import Eager, Scene, cut, tiles
from tamrf_xr.errors import ModelError
from tamrf_xr.model.attend import PixelModel
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.precision import DTYPES, Precision, products
from tamrf_xr.model.stages import placed

ORACLE = HERE / "tests" / "data" / "oracle_small"
MOST_OFF = {"float32": 1e-4, "tf32": 2e-2, "bfloat16": 0.15}
"""From the published values: reflectance and kelvin / 1000, random weights."""

CASES = {"330 px": (330, 20, 12, 12), "399 px": (399, 60, 45, 24)}
TINY = {"30 px": (30, 2, 1, 2), "33 px": (33, 2, 2, 2)}
"""Pixels of a side, dates of Sentinel-2 and of Landsat, query dates."""

BLOCKS = ((128, 32, 8, 3), (128, 32, 8, 2), (64, 32, 4, 3), (64, 64, 4, 2), (128, 64, 8, 2))
"""Of the end of a block, as `tamrf_xr.model.kernels.ending.Blocks`; the first is built in."""


def main(arguments: list[str] | None = None) -> Row:
    """Measure, print, keep."""
    options = parse(
        __doc__, arguments, device=("cuda", "cpu"), budget=(280, 280), repeat=(3, 1),
        parts=(("parity", "inference", "blocks", "job", "training"),) * 2,
    )  # fmt: skip
    start = time.monotonic()
    report: Row = {"card": _card(options.device), "parts": {}}
    for name in options.parts:
        left = options.budget - (time.monotonic() - start)
        report["parts"][name] = _told(PARTS[name], options, left)
        print(f"\n{name}")
        _show(report["parts"][name])
    report["seconds"] = time.monotonic() - start
    if options.results or not options.tiny:
        folder = {"folder": options.results} if options.results else {}
        print(f"\nkept in {keep('gpu-' + report['card'].replace(' ', '-'), report, **folder)}")
    return report


def _card(device: str) -> str:
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device


def _told(part: Callable[[Namespace, float], list[Row]], options: Namespace, left: float) -> Any:
    if left <= 0:
        return "left out: the time is up"
    try:
        return part(options, left)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (the other parts go on)
        return f"failed: {type(error).__name__}: {error}"


def _engines(device: str, model: Tamrf) -> Iterator[tuple[str, bool, Engine | str]]:
    """Make an engine of every precision, without and, on a card, with kernels, or tell why not."""
    on_card = torch.device(device).type == "cuda"
    for kind, kernels in product(DTYPES, (False, True) if on_card else (False,)):
        try:
            engine = Engine(
                model, device=device, precision=cast("Precision", kind), kernels=kernels
            )
        except ModelError as error:  # too old a card, or kernels that disagree or do not compile
            yield kind, kernels, f"none: {error}"
            continue
        yield kind, kernels, engine


def parity(options: Namespace, _: float) -> list[Row]:
    """Compare with the values of the published implementation."""
    from tamrf_xr.model.checkpoint import load_model

    model = load_model(ORACLE / "checkpoint.ckpt", ORACLE / "config_composed.yaml")
    with np.load(ORACLE / "forward.npz") as arrays:
        values = {name: torch.from_numpy(array[0]) for name, array in arrays.items()}
    given: list[Any] = []
    for sensor in ("lr", "hr"):
        pixels = values[f"in_{sensor}"].float() / 10000
        given += [model.standardise(pixels, sensor), values[f"in_{sensor}_doy"]]
    expected = torch.cat([values[f"both_out_{sensor}"] for sensor in ("lr", "hr")], dim=1)
    rows = []
    for kind, kernels, engine in _engines(options.device, model):
        if isinstance(engine, str):
            rows.append({"computed": kind, "kernels": kernels, "": engine})
            continue
        found = engine.predict(*given, query_days=values["query_doy"]).cpu()
        off = float((found - expected).abs().max())
        verdict = "ok" if off <= MOST_OFF[kind] else f"WRONG: over {MOST_OFF[kind]}"
        rows.append({"computed": kind, "kernels": kernels, "largest difference": off, "": verdict})
    return rows


def measured(options: Namespace, _: float) -> list[Row]:
    """Time eager PyTorch and the engine, on scenes in the memory of the device."""
    config = inference.TINY if options.tiny else NetworkConfig()
    model = Tamrf(config, generator=torch.Generator().manual_seed(1)).eval()
    rows: list[Row] = []
    for name, sizes in (TINY if options.tiny else CASES).items():
        keys = ("size", "hr_dates", "lr_dates", "queries")
        case = Namespace(**dict(zip(keys, sizes, strict=True)))
        scene = Scene(
            *(part.to(options.device) for part in inference._parts(inference._scene(case, model)))
        )
        work = sum(inference.work(config, case).values()) / 1e12
        eager = _eager(options, model, scene) if name in {"330 px", "30 px"} else None
        if eager is not None:
            rows.append({"case": name, "computed": "eager", "s": eager, "TFLOP/s": work / eager})
        for kind, kernels, engine in _engines(options.device, model):
            if isinstance(engine, str):
                rows.append({"case": name, "computed": kind + " kernels" * kernels, "": engine})
                continue
            taken, stages = _fastest(options, engine, model, scene)
            ratio = {} if eager is None else {"x eager": eager / taken}
            rows.append(
                {"case": name, "computed": kind + " kernels" * kernels, "s": taken,
                 "TFLOP/s": work / taken, **ratio, **stages}
            )  # fmt: skip
    return rows


def _eager(options: Namespace, model: Tamrf, scene: Scene) -> float:
    """Time the network as research code runs it, with PyTorch's own settings, tile by tile."""
    network = Eager(model).to(options.device)
    core, margin = (15, 6) if options.tiny else (165, 18)
    cores = tiles(scene, core=core, margin=margin, ratio=model.config.ratio)

    def run() -> None:
        for at in cores:
            network(cut(scene, at, margin=margin, ratio=model.config.ratio))

    seconds = min(_seconds(options.device, run) for _ in range(options.repeat + 1))
    model.to("cpu")  # `Eager` holds it, and took it along
    return seconds


def _fastest(
    options: Namespace, engine: Engine, model: Tamrf, scene: Scene
) -> tuple[float, dict[str, float]]:
    """Return the least seconds of some runs, and the seconds of each stage of that run."""
    runs = []
    model.to(options.device)
    given = model.standardise(scene.lr, "lr"), scene.lr_days, model.standardise(scene.hr, "hr")
    model.to("cpu")
    for _ in range(options.repeat + 1):  # the first compiles and plans
        busy = Busy(options.device)
        with busy.watching():
            taken = _seconds(
                options.device,
                lambda: engine.predict(*given, scene.hr_days, query_days=scene.query_days),
            )
        runs.append((taken, busy.seconds()))
    return min(runs, key=lambda run: run[0])


def _seconds(device: str, call: Callable[[], Any]) -> float:
    def now() -> float:
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    start = now()
    call()
    return now() - start


def blocks(options: Namespace, _: float) -> list[Row]:
    """Time the end of a transformer block in several blocks, and in PyTorch's passes."""
    if torch.device(options.device).type != "cuda":
        return [{"": "kernels run on CUDA"}]
    from tamrf_xr.model.fused import fused_ending
    from tamrf_xr.model.kernels import ending

    place = placed(torch.device(options.device), torch.bfloat16, None)
    general = PixelModel(Tamrf(NetworkConfig()).eval(), place, head_multiple=8).layers[0].end
    x, found = (
        torch.randn(16384 * 32, wide, device=place.device, dtype=place.dtype) for wide in (136, 160)
    )
    fused = fused_ending(general, "ieee")  # type: ignore[arg-type]
    ways = {"passes of PyTorch": general} | dict.fromkeys(map(str, BLOCKS), fused)
    rows = []
    with torch.inference_mode(), products("bfloat16"):
        for name, blocked in zip(ways, (BLOCKS[0], *BLOCKS), strict=True):
            with mock.patch.dict(ending.BLOCKS, {2: ending.Blocks(*blocked)}):
                times = [_seconds(options.device, lambda: ways[name](x.clone(), found))  # noqa: B023
                         for _ in range(6)]  # fmt: skip
            rows.append(
                {"rows, slice, warps, stages": name, "ms, a copy included": min(times) * 1e3}
            )
    return rows


def job(options: Namespace, _: float) -> list[Row]:
    """Fuse a store of 16 tiles into another, and tell how long the card was at work."""
    from benchmarks import overlap

    sizes: Row = {"shape": (120, 120), "tile": 30, "dates": (2, 1), "queries": 2}
    if not options.tiny:
        sizes = {"shape": (1440, 1440), "tile": 360, "dates": (60, 45), "queries": 24}
    rows, busy = [], Busy(options.device)
    told = Namespace(**sizes, method="tamrf", device=options.device, tiny=True)
    with busy.watching():
        row = overlap.summarize(overlap.run(told))
    spent = sum(busy.seconds().values())
    per_tile = row["seconds"] / row["tiles"]
    rows.append(
        {"tiles": row["tiles"], "s": row["seconds"], "s a tile": per_tile,
         "device busy": spent / row["seconds"], **row["stage_seconds"],
         "tile-year, minutes": per_tile * 930 / 60}
    )  # fmt: skip
    return rows


def training(options: Namespace, left: float) -> list[Row]:
    """Run `benchmarks.training_step` on the device, in a process that can be stopped."""
    words = ["--device", options.device, *(["--tiny"] if options.tiny else [])]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.training_step", *words, "--results", folder],
            capture_output=True, text=True, check=False, cwd=HERE, timeout=max(left, 1),
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        (kept,) = Path(folder).iterdir()
        figures = json.loads(kept.read_text())
    return [{key: value for key, value in figures.items() if key != "machine"}]


PARTS = {
    "parity": parity, "inference": measured, "blocks": blocks, "job": job, "training": training,
}  # fmt: skip


def _show(rows: Any) -> None:
    if isinstance(rows, str):
        print(rows)
        return
    for row in rows:
        cells = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
        print("  ".join(cell.strip() for cell in cells))


if __name__ == "__main__":
    main()

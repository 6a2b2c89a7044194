"""Make weights like those that ship: ``python -m studies.default_weights FOLDER --minutes 10``.

``--device``, ``--start WEIGHTS``, ``--seed``, ``--size``; ``--tiny``: test-sized, kept nowhere

For whoever has a GPU for ten minutes, and nothing to think about. Scenes of all kinds of land are
simulated by the CPU's cores from the first second on. As soon as some are there the network is
trained on them, then on all that there are, each time for as many steps as its speed allows; last,
levels of days are fitted on all, the decoder behind them, and errors on some that no training saw.
``FOLDER/weights.safetensors`` is what comes of it. A CPU does the same in hours.

What the weights are worth: ``python -m studies.quality_table --model new=FOLDER/weights...`` and
``python -m studies.quality_biomes`` likewise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tamrf_xr.model.checkpoint import load_model, metadata_of, save_model
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.device import resolve_device
from tamrf_xr.model.levels import HEADS, TEMPERATURE
from tamrf_xr.simulate import write_scenes
from tamrf_xr.simulate.variety import beside
from tamrf_xr.store import open_cube
from tamrf_xr.training.config import TrainConfig
from tamrf_xr.training.decoder import Fit as DecoderFit
from tamrf_xr.training.decoder import fit_decoder
from tamrf_xr.training.levels import Fit as LevelsFit
from tamrf_xr.training.levels import fit_levels
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import LOG, train
from tamrf_xr.training.uncertainty import Fit, fit_errors

SIZES = NetworkConfig(
    latent=48,
    growth=24,
    positional=40,
    sensor_token=8,
    feedforward=256,
    decoder_feedforward=256,
)

SEED, LAST = 8_400_000, 8_500_000
"""Of scenes: those that weights are judged on are others."""

PROBE = 10
"""Steps that tell how fast steps are, the first two left out."""

FOR_STEPS = 0.9
"""Part of a training's time that goes into steps; the rest into validations."""

DAYS = LevelsFit(samples=200, checked=20, steps=600)
"""Weather is what temperatures are learnt from, and every scene has its own: all are taken."""

DECODER = DecoderFit(samples=300, checked=20, steps=150)

ENDS = {"begin": 0.15, "first": 0.42, "last": 0.78}
"""Parts of the time by which to begin at the latest, and by which each training ends."""


@dataclass(frozen=True)
class Plan:
    """What is asked, and when it began."""

    folder: Path
    seconds: float
    config: TrainConfig
    fit: Fit
    days: LevelsFit
    decoder: DecoderFit
    scene: Mapping[str, Any]
    first: int = 24
    """Scenes that are waited for."""

    others: int = 8
    """The last of them, that errors are fitted on and nothing else."""

    calibrated: float = 0.3
    """Part of their places that errors are calibrated on."""

    most: int = 1_000_000
    """Steps of one training."""

    began: float = field(default_factory=time.monotonic)

    def until(self, part: str) -> float:
        """Return the seconds that are left of a part."""
        return self.began + ENDS[part] * self.seconds - time.monotonic()


def main(arguments: list[str] | None = None) -> Path:
    """Simulate, train, fit errors; return the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--start", help="weights to go on from; by default, new ones are drawn")
    parser.add_argument("--size", type=int, default=120, help="pixels of 10 m across a scene")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    if options.tiny:
        with tempfile.TemporaryDirectory() as folder:
            return made(_tiny(Path(folder)))
    if options.folder is None:
        parser.error("name the folder to keep it in")
    scene = {"size_px": options.size}
    seconds, config = 60 * options.minutes, _config(options)
    return made(Plan(options.folder, seconds, config, Fit(), DAYS, DECODER, scene))


def _config(options: argparse.Namespace) -> TrainConfig:
    small, gpu = recipe("small"), resolve_device(options.device).type != "cpu"
    return replace(
        small,
        model=SIZES,
        loss=replace(small.loss, masked_temperature=True),
        data=replace(
            small.data, patch_m=720 if gpu else 360, stride_m=240, threads=4 if gpu else 1
        ),
        optim=replace(small.optim, batch=24 if gpu else 4, lr=1.2e-3, warmup=60, average=0.99),
        run=replace(small.run, device=options.device, start=options.start, seed=options.seed),
    )


def _tiny(folder: Path) -> Plan:
    quick = recipe("quick")
    config = replace(
        quick,
        data=replace(quick.data, dates=6, threads=1, validation_share=0.0),
        optim=replace(quick.optim, batch=1),
        run=replace(quick.run, device="cpu", validation_samples=1),
    )
    fit = Fit(samples=6, calibration=6, dates=20, steps=20)
    scene = {"size_px": 48, "sentinel2_revisit_days": 20}
    days = replace(DAYS, samples=6, checked=2, steps=5)
    decoder = replace(DECODER, samples=6, checked=2, steps=2)
    return Plan(
        folder, 600.0, config, fit, days, decoder, scene,
        first=2, others=1, calibrated=0.0, most=12,
    )  # fmt: skip


def made(plan: Plan) -> Path:
    """Do it all; return the weights."""
    scenes = plan.folder / "scenes"
    with simulating(scenes, plan.scene, workers=_workers(plan.config.run.device)):
        wait_for(scenes, plan)
        begun = trained(plan, "first", plan.config)
    run = replace(plan.config.run, start=str(begun))
    weights = trained(plan, "last", replace(plan.config, run=run))
    paths = found(scenes)
    cubes, unclouded = ([open_cube(of(path)) for path in paths] for of in (Path, beside))
    data = replace(recipe("small").data, validation_share=plan.calibrated)
    held: dict[str, Any] = {"unclouded": unclouded, "data": plan.config.data}
    light = [name for name in HEADS if name != TEMPERATURE]
    model, _ = fit_levels(load_model(weights), cubes, plan.days, only=light, **held)
    model, _ = fit_decoder(model, cubes, plan.decoder, **held)
    model, _ = fit_levels(model, cubes, plan.days, only=[TEMPERATURE], **held)
    model = fit_errors(model, cubes[-plan.others :], plan.fit, data=data)
    out = plan.folder / "weights.safetensors"
    kept = metadata_of(weights.read_bytes())
    save_model(model, out, overwrite=True, metadata={**kept, "scenes": len(cubes)})
    print(f"{out}: {len(cubes)} scenes, {(time.monotonic() - plan.began) / 60:.1f} minutes")
    return out


def _workers(device: str) -> int:
    """Leave two cores to whoever feeds a GPU, or half of them to whoever trains on them."""
    cores = len(os.sched_getaffinity(0))
    return max(cores // 2 if resolve_device(device).type == "cpu" else cores - 2, 1)


@contextlib.contextmanager
def simulating(folder: Path, scene: Mapping[str, Any], *, workers: int) -> Iterator[None]:
    """Let processes simulate scene after scene, until the end."""
    context = multiprocessing.get_context("spawn")
    team = [
        context.Process(target=simulate_on, args=(folder, scene, range(SEED + i, LAST, workers)))
        for i in range(workers)
    ]
    for process in team:
        process.start()
    try:
        yield
    finally:
        for process in team:
            process.terminate()
            process.join()


def simulate_on(folder: Path, scene: Mapping[str, Any], seeds: range) -> None:
    """Simulate scenes of any land, one after the other; who trains goes first."""
    os.nice(10)
    for seed in seeds:
        write_scenes(folder, [seed], biome="any", unclouded=True, **scene)


def found(folder: Path) -> list[Path]:
    """Return the scenes that are whole, with themselves without a sky, in order of their seeds."""
    scenes = [path for path in folder.glob("[a-z]*.zarr") if beside(path).exists()]
    return sorted(scenes, key=lambda path: path.stem.rsplit("-", 1)[1])


def wait_for(folder: Path, plan: Plan) -> None:
    """Wait for the scenes that training begins with."""
    while len(found(folder)) < plan.first:
        if plan.until("begin") < 0:
            raise SystemExit(
                f"{len(found(folder))} of {plan.first} scenes after {ENDS['begin']:.0%} of the "
                "time: give more --minutes, or a smaller --size"
            )
        time.sleep(0.2)


def trained(plan: Plan, part: str, config: TrainConfig) -> Path:
    """Train until a part of the time is over, on the scenes that are there; return the best."""
    cubes = tuple(map(str, found(plan.folder / "scenes")[: -plan.others]))
    config = replace(config, data=replace(config.data, cubes=cubes))
    folder = plan.folder / part
    train(_steps(config, PROBE), folder)
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    times = [line["time"] for line in lines if line["kind"] == "train"]
    each = (times[-1] - times[1]) / (len(times) - 2)
    steps = min(max(int(plan.until(part) / each * FOR_STEPS), 0) + PROBE, plan.most)
    print(f"{part}: {len(cubes)} scenes, {each:.2f} s a step, {steps} steps", flush=True)
    return train(_steps(config, steps), folder)


def _steps(config: TrainConfig, steps: int) -> TrainConfig:
    run = replace(config.run, validate_every=max(steps // 4, 1))
    return replace(config, optim=replace(config.optim, steps=steps), run=run)


if __name__ == "__main__":
    main()

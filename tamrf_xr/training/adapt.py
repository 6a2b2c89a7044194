"""Fine-tune a network on a user's own cubes, with the same self-supervised loss."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import xarray as xr

from tamrf_xr.cube import fine_grid, validate
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.model.checkpoint import model_from_bytes
from tamrf_xr.model.network import Tamrf
from tamrf_xr.training.bounds import BOUNDS, check_number
from tamrf_xr.training.config import (
    DataConfig,
    MaskingConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
)
from tamrf_xr.training.loop import Trainer
from tamrf_xr.training.processes import World
from tamrf_xr.training.running import device_of, placed, step_bar
from tamrf_xr.training.views import LossConfig


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How a network is fine-tuned; the defaults suit minutes on a CPU."""

    steps: int = 300
    """Steps of the optimiser."""

    batch: int = 2
    """Patch pairs of a step."""

    lr: float = 2e-4
    """Highest learning rate; a cosine brings it to zero."""

    patch_m: int = 360
    """Edge of a patch in metres, a multiple of 30; cut to the smallest cube."""

    dates: int = 60
    """Most dates of a sample, of both sensors together."""

    seed: int = 0
    """Of samples."""

    device: str = "auto"
    """``"auto"``, ``"cpu"``, ``"cuda"``."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense, before any cube is opened."""
        for name in ("steps", "batch", "lr"):
            check_number(name, getattr(self, name), *BOUNDS[f"optim.{name}"])
        check_number("dates", self.dates, *BOUNDS["data.dates"])
        check_number("seed", self.seed, *BOUNDS["run.seed"])


def adapt(
    cubes: xr.DataTree | Sequence[xr.DataTree],
    *,
    model: str | os.PathLike[str] | Tamrf = "default",
    how: Adaptation = Adaptation(),
    progress: bool = True,
) -> Tamrf:
    """Fine-tune a network on cubes, without any labels.

    Dates are held back at random and predicted from the others. For other losses, strategies or
    sizes, train with `run.start` (``python -m tamrf_xr.train``). Leave out of the cubes what the
    result is to be judged on.

    Parameters
    ----------
    cubes
        One cube or several, with masks, of both sensors or of one.
    model
        Weights to start from: a path, a loaded network, or ``"default"``. Not modified.
    how
        Steps, rate, patches.
    progress
        Show a bar.

    Returns
    -------
    Tamrf
        The moving average of the weights: pass it to `tamrf_xr.fuse` as ``model=``, keep it with
        `tamrf_xr.save_model`.

    Raises
    ------
    CubeError
        If a cube lacks masks or bands, is smaller than 240 m, or has fewer than 6 dates of a
        sensor in a year.
    OptionError
        If a number makes no sense.
    """
    cubes = [cubes] if isinstance(cubes, xr.DataTree) else list(cubes)
    for cube in cubes:
        validate(cube)
    device = device_of(how.device)
    data, _, start = resolve(model)
    network = model_from_bytes(data) if isinstance(data, bytes) else start
    network = placed(network, device)
    trainer = Trainer(_config(cubes, how), cubes, network, World())
    with step_bar(trainer, shown=progress) as show:
        for losses in trainer.steps():
            show(losses)
    return trainer.best_model.cpu().eval()


def _config(cubes: Sequence[xr.DataTree], how: Adaptation) -> TrainConfig:
    sides = [side * 10 for cube in cubes for side in fine_grid(cube).shape]
    smallest = min(sides) // 30 * 30
    patch = min(how.patch_m, smallest)
    if how.patch_m < 240 or how.patch_m % 30:
        raise OptionError(f"patch_m is {how.patch_m}; expected a multiple of 30 m, at least 240")
    if patch < 240:
        raise CubeError(f"the smallest cube is {smallest} m across; expected at least 240 m")
    return replace(
        TrainConfig(
            # Sharpness was learnt before; on real pixels this term costs accuracy.
            loss=LossConfig(margin=6, perceptual="off"),
            # Of one place in one year, forecasts and backcasts teach the season by heart, and
            # samples that are neither moved nor turned the single days and fields.
            masking=MaskingConfig(strategies="random"),
            data=DataConfig(
                patch_m=patch,
                stride_m=max(30, max(sides) // 100 // 30 * 30),  # 100 x 100 places will do
                dates=how.dates,
                shift_days=60,
                turn=True,
                validation_share=0.0,
            ),
        ),
        optim=OptimConfig(
            steps=how.steps,
            batch=how.batch,
            lr=how.lr,
            warmup=min(20, how.steps // 5),
            period=0,
            floor=0.0,
            clip=1.0,
            dropout=0.0,
            average=0.98,
        ),
        run=RunConfig(seed=how.seed, device=how.device),
    )


def provenance(how: Adaptation, model: object) -> dict[str, str]:
    """Return what to keep beside adapted weights."""
    told = {name: getattr(how, name) for name in how.__dataclass_fields__}
    return {"adapted_from": str(model), "adaptation": json.dumps(told)}

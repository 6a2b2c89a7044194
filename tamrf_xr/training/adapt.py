"""Fine-tune a network on a user's own cubes, with the same self-supervised loss."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import xarray as xr

from tamrf_xr.cube import fine_grid, validate
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.model.checkpoint import model_from_bytes
from tamrf_xr.model.network import Tamrf
from tamrf_xr.training.checked import Checked
from tamrf_xr.training.config import (
    COARSE_M,
    FINE_M,
    Batch,
    Dates,
    Rate,
    RunConfig,
    Seed,
    Steps,
    TrainConfig,
)
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import own_device, placed, step_bar
from tamrf_xr.training.trainer import Trainer, World

_SMALLEST_M = 240


@dataclass(frozen=True, slots=True)
class Adaptation(Checked):
    """What may be asked of the recipe ``"adapt"``; the defaults suit minutes on a CPU."""

    steps: Steps = 300
    """Steps of the optimiser."""

    batch: Batch = 2
    """Patch pairs of a step."""

    lr: Rate = 2e-4
    """Highest learning rate; a cosine brings it to zero."""

    patch_m: int = 360
    """Edge of a patch in metres, a multiple of 30; cut to the smallest cube."""

    dates: Dates = 60
    """Most dates of a sample, of both sensors together."""

    seed: Seed = 0
    """Of samples."""

    device: str = "auto"
    """``"auto"``, ``"cpu"``, ``"cuda"``."""


def adapt(
    cubes: xr.DataTree | Sequence[xr.DataTree],
    *,
    model: str | os.PathLike[str] | Tamrf = "default",
    how: Adaptation = Adaptation(),
    progress: bool = True,
) -> Tamrf:
    """Fine-tune a network on cubes, without any labels.

    Dates are held back at random and predicted from the others. For other losses, strategies or
    sizes, train with the recipe ``"adapt"`` (``python -m tamrf_xr.train``). Leave out of the cubes
    what the result is to be judged on.

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
    device = own_device(how.device)
    data, _, loaded = resolve(model)
    network = model_from_bytes(data) if isinstance(data, bytes) else loaded
    trainer = Trainer(_config(cubes, how), cubes, placed(network, device), World())
    with step_bar(trainer, shown=progress) as bar:
        for losses in trainer.steps():
            bar.show(losses)
    return trainer.best_model.cpu().eval()


def _config(cubes: Sequence[xr.DataTree], how: Adaptation) -> TrainConfig:
    sides = [side * FINE_M for cube in cubes for side in fine_grid(cube).shape]
    smallest = min(sides) // COARSE_M * COARSE_M
    if how.patch_m < _SMALLEST_M or how.patch_m % COARSE_M:
        raise OptionError(
            f"patch_m is {how.patch_m}; expected a multiple of {COARSE_M} m, at least {_SMALLEST_M}"
        )
    if smallest < _SMALLEST_M:
        raise CubeError(
            f"the smallest cube is {smallest} m across; expected at least {_SMALLEST_M} m"
        )
    base = recipe("adapt")
    stride = max(COARSE_M, max(sides) // 100 // COARSE_M * COARSE_M)  # 100 x 100 places will do
    patch, warmup = min(how.patch_m, smallest), min(base.optim.warmup, how.steps // 5)
    return replace(
        base,
        data=replace(base.data, patch_m=patch, stride_m=stride, dates=how.dates),
        optim=replace(base.optim, steps=how.steps, batch=how.batch, lr=how.lr, warmup=warmup),
        run=RunConfig(seed=how.seed, device=how.device),
    )


def provenance(how: Adaptation, model: object) -> dict[str, str]:
    """Return what to keep beside adapted weights."""
    return {"adapted_from": str(model), "adaptation": json.dumps(asdict(how))}

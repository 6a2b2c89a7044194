"""Fine-tune a network on a user's own cubes, with the same self-supervised loss."""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal, cast

import xarray as xr

from tamrf_xr.cube import fine_grid, validate
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.model.checkpoint import model_from_bytes
from tamrf_xr.model.levels import HEADS
from tamrf_xr.model.network import Tamrf
from tamrf_xr.simulate import draw_config, simulate
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
from tamrf_xr.training.judging import Judge, ratio
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import StepBar, own_device, placed, step_bar
from tamrf_xr.training.sites import check_trainable, sites_of
from tamrf_xr.training.trainer import Trainer, World

_SMALLEST_M = 240

JUDGEMENTS, PATIENCE = 10, 4
"""How often a network is judged on the way, and after how many without a better one it ends."""

SEED, SCENES = 8_200_000, 6
"""First seed of simulated land, and scenes of it."""

SMALLEST_PX = 30
"""Of a simulated scene."""

_log = logging.getLogger(__name__)


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

    held_back: Annotated[float, 0, 0.5] = 0.2
    """Share of the clear dates of each sensor kept from training, on which the network is judged;
    0: none, and what the last step gives is returned, better or worse."""

    simulated: Annotated[float, 0, 0.95] = 0.25
    """Share of the samples that are of simulated land, against forgetting; 0: none."""

    layers: Literal["all", "decoder"] = "all"
    """What changes: every weight, or those behind the encoders alone (what a pixel's dates say of
    each other, and how that becomes bands)."""

    seed: Seed = 0
    """Of samples."""

    device: str = "auto"
    """``"auto"``, ``"cpu"``, ``"cuda"``."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What adaptation brought on the dates that were kept from it."""

    ratio: float | None
    """Errors on these dates over those before, mean of bands; None where none were kept."""

    step: int
    """After which the weights that are returned were there; 0: those that it started from."""


def adapt(
    cubes: xr.DataTree | Sequence[xr.DataTree],
    *,
    model: str | os.PathLike[str] | Tamrf = "default",
    how: Adaptation = Adaptation(),
    progress: bool = True,
) -> Tamrf:
    """Fine-tune a network on cubes, without any labels, as far as that helps.

    Dates are held back at random and predicted from the others. Some clear dates are kept from all
    of it (`Adaptation.held_back`): on them the network is judged on the way, in up to four squares.
    The best is returned; where none is better than what it started from, that is returned, and a
    warning says so. Samples of simulated land are mixed in, so that nothing is forgotten that these
    cubes do not show. For other losses, strategies or sizes, train with the recipe ``"adapt"``
    (``python -m tamrf_xr.train``).

    Parameters
    ----------
    cubes
        One cube or several, with masks, of both sensors or of one.
    model
        Weights to start from: a path, a loaded network, or ``"default"``. Not modified.
    how
        Steps, rate, patches, what is kept back.
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
        If a cube lacks masks or bands, is smaller than 240 m, has fewer than 6 dates of a sensor in
        a year besides those kept back, or there are too few clear dates to keep back.
    OptionError
        If a number makes no sense.
    """
    return adapt_and_judge(cubes, model=model, how=how, progress=progress)[0]


def adapt_and_judge(
    cubes: xr.DataTree | Sequence[xr.DataTree],
    *,
    model: str | os.PathLike[str] | Tamrf,
    how: Adaptation,
    progress: bool,
) -> tuple[Tamrf, Verdict]:
    """As `adapt`, and tell what it brought."""
    cubes = [cubes] if isinstance(cubes, xr.DataTree) else list(cubes)
    for number, cube in enumerate(cubes):
        validate(cube)
        check_trainable(cube, number)
    device = own_device(how.device)
    data, _, loaded = resolve(model)
    network = model_from_bytes(data) if isinstance(data, bytes) else loaded
    config = _config(cubes, how)
    edge = config.data.patch_m // FINE_M
    judge = Judge(cubes, how.held_back, edge, how.device) if how.held_back else None
    given = judge.train_on(cubes) if judge else cubes
    sites_of(given, config.data)  # refuses what is too small or too short, before land is simulated
    land = _simulated(how, edge)
    kinds = [0] * len(given) + [1] * len(land) if land else []
    start = copy.deepcopy(network)
    _freeze(network, how.layers)
    trainer = Trainer(config, [*given, *land], placed(network, device), World(), kinds=kinds)
    with step_bar(trainer, shown=progress) as bar:
        return _followed(trainer, judge, start, bar)


def _followed(
    trainer: Trainer, judge: Judge | None, start: Tamrf, bar: StepBar
) -> tuple[Tamrf, Verdict]:
    """Train, judge on the way, and return the best network there was."""
    steps = trainer.config.optim.steps
    every = -(-steps // JUDGEMENTS)
    before = judge.errors(start) if judge else {}
    best, verdict = start, Verdict(1.0, 0)
    for losses in trainer.steps():
        bar.show(losses)
        if judge is None or (trainer.step % every and trainer.step < steps):
            continue
        now = _with_days(trainer.best_model, start)
        found = ratio(judge.errors(now), before)
        if found < cast("float", verdict.ratio):
            best, verdict = now, Verdict(found, trainer.step)
        elif trainer.step - verdict.step >= PATIENCE * every:
            break
    if judge is None:
        best, verdict = _with_days(trainer.best_model, start), Verdict(None, steps)
    elif not verdict.step:
        _log.warning(
            "adaptation brought nothing on the dates kept from it: the weights that it started "
            "from are returned; a lower rate (lr) or layers='decoder' may help"
        )
    return _thawed(best).cpu().eval(), verdict


def _with_days(network: Tamrf, start: Tamrf) -> Tamrf:
    """Return a copy that is drawn to levels of days as what it started from."""
    network = copy.deepcopy(network)
    for name in HEADS:
        head = copy.deepcopy(getattr(start, name))
        setattr(network, name, head and head.to(network.hr_mean.device))
    return network


def _freeze(network: Tamrf, layers: str) -> None:
    if layers == "decoder":
        for encoder in (network.lr_encoder, network.hr_encoder):
            encoder.requires_grad_(requires_grad=False)


def _thawed(network: Tamrf) -> Tamrf:
    return network.requires_grad_()


def _simulated(how: Adaptation, edge: int) -> list[xr.DataTree]:
    """Return scenes of simulated land, of the size of a patch."""
    if not how.simulated:
        return []
    seeds = range(SEED + SCENES * how.seed, SEED + SCENES * (how.seed + 1))
    return [simulate(draw_config(seed, size_px=max(edge, SMALLEST_PX))).cube for seed in seeds]


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
        data=replace(
            base.data,
            cubes=("given", "simulated") if how.simulated else (),
            mix=(1 - how.simulated, how.simulated) if how.simulated else (),
            patch_m=patch,
            stride_m=stride,
            dates=how.dates,
        ),
        optim=replace(base.optim, steps=how.steps, batch=how.batch, lr=how.lr, warmup=warmup),
        run=RunConfig(seed=how.seed, device=how.device),
    )


def provenance(how: Adaptation, model: object, verdict: Verdict) -> dict[str, str]:
    """Return what to keep beside adapted weights."""
    told = asdict(how) | {"errors_to_before": verdict.ratio, "best_step": verdict.step}
    return {"adapted_from": str(model), "adaptation": json.dumps(told)}

"""Fit what a network's errors are: ``python -m tamrf_xr.training.uncertainty WEIGHTS CUBES OUT``.

The network stays as it is. Dates are held back as in training and predicted from the others; of
what clear pixels differ by, a head beside the decoder learns the scale, band by band (likelihood of
Laplace [1]_, which a cloud that a mask missed does not pull far). Then it is calibrated on places
that it was not fitted on, on dates held back at random among many: the deviation so that 1.2816 of
it, as of a normal distribution, covers 80 % of observations, and half widths of intervals of other
coverages (split conformal [2]_).

An error is that to an *observation*, with its noise, on the grid of its sensor: 30 m for Landsat.

References
----------
.. [1] Kendall and Gal, "What uncertainties do we need in Bayesian deep learning for computer
   vision?", NeurIPS 2017.
.. [2] Angelopoulos and Bates, "A gentle introduction to conformal prediction", arXiv:2107.07511.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import xarray as xr
from torch import Tensor

from tamrf_xr.errors import CubeError
from tamrf_xr.model.checkpoint import (
    load_model,
    save_model,
)
from tamrf_xr.model.config import OPTICAL
from tamrf_xr.model.network import Tamrf, crop
from tamrf_xr.model.uncertainty import COVERAGES, ErrorHead
from tamrf_xr.store import open_cube
from tamrf_xr.training.config import DataConfig
from tamrf_xr.training.data import Patches, Sample
from tamrf_xr.training.fitting import (
    Progress,
    check_fit,
    check_sensors,
    kept_of,
    parsed,
    parser_of,
    run,
)
from tamrf_xr.training.losses import LossTools, loss_tools
from tamrf_xr.training.optics import as_seen
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import find_cubes
from tamrf_xr.training.sites import sites_of
from tamrf_xr.training.stack import attend, standardised

COVERED, NORMAL = COVERAGES.index(0.8), 1.2816
"""The coverage that the deviation is calibrated by, and how many deviations it is."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How the head is fitted."""

    samples: int = 400
    """Patch pairs that errors are taken from."""

    calibration: int = 150
    """Patch pairs of other places that it is calibrated on."""

    dates: int = 100
    """Dates of both sensors of a patch pair that it is calibrated on."""

    pixels: int = 60
    """Pixels taken of each date held back."""

    steps: int = 3000
    """Of the optimiser."""

    batch: int = 4096
    """Pixels a step."""

    lr: float = 2e-3
    """Highest learning rate; a cosine brings it to zero."""

    hidden: int = 64
    """Channels of the head."""

    seed: int = 0
    """Of all draws."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Pixels of dates held back."""

    attended: Tensor
    """(N, D): what the decoder's convolutions were given there."""

    errors: Tensor
    """(N, C), C bands: predicted less observed, standardised; NaN where nothing was seen."""


def fit_errors(
    model: Tamrf,
    cubes: Sequence[xr.DataTree],
    how: Fit = Fit(),
    *,
    data: DataConfig | None = None,
    progress: Progress = iter,
) -> Tamrf:
    """Return the network with a head that tells its errors, fitted and calibrated on cubes.

    Parameters
    ----------
    model
        The network; not modified.
    cubes
        With masks, of both sensors, or some of one and some of the other. What is tested on is no
        part of them.
    how
        Sizes and steps.
    data
        How patches and dates are drawn; by default those of the recipe ``"small"``, a third of
        the places kept for the calibration.
    progress
        Shows how far it is.

    Raises
    ------
    CubeError
        If no cube has a sensor, or it has no date held back among the samples.
    OptionError
        If a size is less than 1.
    """
    check_fit(how)
    check_sensors(cubes, OPTICAL, "errors are told of")
    data = data or replace(recipe("small").data, validation_share=0.3, turn=False)
    fitted, kept = sites_of(cubes, data)
    model = copy.deepcopy(model).eval()
    tools = loss_tools(model, recipe("quick").loss)
    take = partial(_errors, model, tools, how, progress=progress)
    draw = partial(Patches, cubes, data=data)
    # As products are made: of all dates, with some that are asked among them.
    usual = partial(draw, data=replace(data, dates=how.dates), strategies="random")
    held = take(usual(sites=kept, seed=how.seed + 1, count=how.calibration))
    learnt = take(draw(sites=fitted, seed=how.seed, count=how.samples))
    model.errors = _calibrated(_learnt(learnt, how), held)
    return model


@torch.no_grad()
def _errors(
    model: Tamrf, tools: LossTools, how: Fit, patches: Patches, *, progress: Progress
) -> Errors:
    rng = torch.Generator().manual_seed(how.seed)

    def pick(usable: Tensor) -> Tensor:
        return usable[torch.randperm(len(usable), generator=rng)[: how.pixels]]

    parts = [
        part
        for number in progress(range(len(patches)))
        for part in _of_sample(model, tools, patches[number], pick)
    ]
    errors = torch.cat([errors for _, errors in parts]) if parts else torch.empty(0, 1)
    if not bool(errors.isfinite().any(dim=0).all()):
        raise CubeError(
            "no clear date of some band was held back: give more cubes, with both sensors, "
            "or more samples"
        )
    return Errors(torch.cat([attended for attended, _ in parts]), errors)


def _of_sample(
    model: Tamrf, tools: LossTools, sample: Sample, pick: Callable[[Tensor], Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Return attended tokens (N, D) and errors (N, bands) of each sensor of a sample."""
    margin = recipe("quick").loss.margin
    seen = standardised([sample], model, margin=margin)
    asked = attend(model, seen)
    given = {name: seen[name].at(seen[name].given.nonzero()[:, 0]) for name in ("lr", "hr")}
    bands = model.with_levels(
        model.to_bands(asked.maps[None])[0],
        {name: patch.pixels for name, patch in given.items()},
        {name: patch.days for name, patch in given.items()},
        encoded=asked.encoded[0],
        attended=asked.maps,
        query_days=asked.days,
    )
    first, found = model.config.lr_bands, []
    for name, at, optics, part in (
        ("lr", asked.at_lr, tools.lr, slice(None, first)),
        ("hr", asked.at_hr, tools.hr, slice(first, None)),
    ):
        held = (~seen[name].given).nonzero()[:, 0]
        if not len(held):
            continue
        ratio = optics.ratio
        error = as_seen(bands[at[held], part], optics) - seen[name].pixels[held]
        error = torch.where(seen[name].valid[held, None], error, torch.nan)
        # The fine pixel in the middle of a coarse one stands for it.
        maps = asked.maps[at[held]][..., ratio // 2 :: ratio, ratio // 2 :: ratio]
        rows, chosen = (
            crop(values, margin // ratio).movedim(1, -1).flatten(1, 2) for values in (maps, error)
        )
        for own, errors in zip(rows, chosen, strict=True):
            picked = pick(errors.isfinite().all(dim=-1).nonzero()[:, 0])
            whole = errors.new_full((len(picked), model.config.bands), torch.nan)
            whole[:, part] = errors[picked]
            found.append((own[picked], whole))
    return found


def _learnt(errors: Errors, how: Fit) -> ErrorHead:
    """Fit scales of Laplace distributions by their likelihood."""
    count, bands = errors.errors.shape
    # The head draws its weights from torch's own generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)  # noqa: TID251
        head = ErrorHead(errors.attended.shape[1], bands, how.hidden)
    rng = torch.Generator().manual_seed(how.seed)
    optimizer = torch.optim.Adam(head.parameters(), lr=how.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.steps)
    known, sizes = errors.errors.isfinite(), errors.errors.nan_to_num(0.0).abs()
    for _ in range(how.steps):
        pick = torch.randint(count, (min(how.batch, count),), generator=rng)
        scale = head(errors.attended[pick])
        loss = (scale.log() + sizes[pick] / scale)[known[pick]].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


@torch.no_grad()
def _calibrated(head: ErrorHead, held: Errors) -> ErrorHead:
    """Scale deviations, and set half widths, so that they cover what is held."""
    relative = held.errors.abs() / head(held.attended)
    found = torch.nanquantile(relative, torch.tensor(COVERAGES), dim=0)
    scale = found[COVERED] / NORMAL
    head.out.bias.add_(scale.log())
    head.half_widths.copy_(found / scale)
    return head


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit on stores, write the network with its head."""
    from tqdm.auto import tqdm

    parser = parser_of(__doc__, Fit(), ["samples", "calibration"])
    options, how = parsed(parser, arguments, Fit())
    cubes = [open_cube(path) for path in find_cubes(options.cubes)]
    model = fit_errors(load_model(options.weights), cubes, how, progress=tqdm)
    told = {"samples": how.samples, "calibration": how.calibration, "cubes": len(cubes)}
    kept = {**kept_of(options.weights), "errors": told}
    save_model(model, options.out, overwrite=options.overwrite, metadata=kept)


if __name__ == "__main__":
    run(main)

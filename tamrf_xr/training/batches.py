"""From a sample to what the network sees and what the losses compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tamrf_xr.methods.tamrf import STREAMS, standardise
from tamrf_xr.model.network import Tamrf
from tamrf_xr.training.optics import crop
from tamrf_xr.training.patches import Observed, Sample
from tamrf_xr.training.views import View


@dataclass(frozen=True, slots=True)
class Target:
    """What one sensor saw, on the device."""

    pixels: Tensor
    """(T, B, y, x), standardised, NaN where nothing was seen."""

    valid: Tensor
    """(T, y, x), bool."""

    days: Tensor
    """(T,), float32, on the CPU."""

    given: Tensor
    """(T,), bool, on the CPU."""


def targets_of(sample: Sample, model: Tamrf) -> dict[str, Target]:
    """Bring a sample to the device of a model, integers as integers, and standardise it there.

    Returns
    -------
    dict
        By the network's names, ``"lr"`` and ``"hr"``; a sensor that the cube lacks has no date.
    """
    seen = {STREAMS[name]: _target(name, own, model) for name, own in sample.observed.items()}
    if "lr" not in seen:
        seen["lr"] = _nothing(model.config.lr_bands, seen["hr"], 1 / model.config.ratio)
    if "hr" not in seen:
        seen["hr"] = _nothing(model.config.hr_bands, seen["lr"], model.config.ratio)
    return seen


def _nothing(bands: int, other: Target, scale: float) -> Target:
    """Return no date of a sensor, on a grid `scale` times as fine as that of the other."""
    size = [round(side * scale) for side in other.valid.shape[-2:]]
    return Target(
        other.pixels.new_empty(0, bands, *size),
        other.valid.new_empty(0, *size),
        other.days[:0],
        other.given[:0],
    )


def _target(sensor: str, seen: Observed, model: Tamrf) -> Target:
    device = model.hr_mean.device
    stored = torch.from_numpy(seen.series.pixels).to(device)
    pixels, missing = standardise(model, sensor, stored, seen.series.packing)
    valid = torch.from_numpy(np.ascontiguousarray(seen.series.valid)).to(device)
    return Target(
        pixels.masked_fill_(missing, torch.nan),
        valid & ~missing.any(dim=1),
        torch.from_numpy(seen.days).float(),
        torch.from_numpy(seen.given),
    )


def views_of(
    model: Tamrf, targets: Mapping[str, Target], *, spare: int = 0
) -> tuple[dict[str, View], Tensor, Tensor]:
    """Let a model predict every date of a sample from those that are given.

    Parameters
    ----------
    model
        The network, in training or not.
    targets
        From `targets_of`.
    spare
        From `losses.spare_border`: so many pixels of 10 m on every side are seen by the encoders,
        and neither predicted nor held against anything.

    Returns
    -------
    views : dict
        Per sensor, for `training_loss`, without the spare border.
    lr_at_hr : Tensor
        (T, B, Y, X): LR bands at the dates of HR.
    encoded : Tensor
        (P, N, D): tokens after the encoder.
    """
    seen = {name: _given(target) for name, target in targets.items()}
    maps = crop(model.tokens(*seen["lr"], *seen["hr"]), spare)
    encoded = model.transform(maps.permute(0, 3, 4, 1, 2).flatten(0, 2))
    days, at = _asked(targets)
    queries = model.queries(days.to(encoded.device)[None])
    found = model.decoder(queries.expand(len(encoded), -1, -1), encoded)
    height, width = maps.shape[-2:]
    bands = model.to_bands(found.unflatten(0, (1, height, width)).permute(0, 3, 4, 1, 2))[0]
    lr_bands = model.config.lr_bands
    predicted = {"lr": bands[at["lr"], :lr_bands], "hr": bands[at["hr"], lr_bands:]}
    margins = {"lr": spare // model.config.ratio, "hr": spare}
    views = {
        name: View(
            predicted[name],
            crop(target.pixels, margins[name]),
            crop(target.valid, margins[name]),
            target.days,
            target.given,
        )
        for name, target in targets.items()
    }
    return views, bands[at["hr"], :lr_bands], encoded


def _given(target: Target) -> tuple[Tensor | None, Tensor | None]:
    """Return pixels (1, T, B, y, x) and days (1, T) of the dates given; None for none."""
    if not target.given.any():
        return None, None
    chosen = target.given.nonzero()[:, 0]
    pixels = target.pixels[chosen.to(target.pixels.device)].nan_to_num(0.0)
    return pixels[None], target.days[chosen].to(pixels.device)[None]


def _asked(targets: Mapping[str, Target]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the days of either sensor, each once, and where each sensor's are among them."""
    days = torch.cat([target.days for target in targets.values()]).unique()
    return days, {name: torch.searchsorted(days, target.days) for name, target in targets.items()}

"""Detail for the coarse bands: predictions held against their regression by bands seen at 10 m.

Shapes: T dates, R regressors (bands seen at 10 m), P predicted bands of one coarser resolution,
S samples (pixels of one date), Y X the 10 m grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tamrf_xr.model.device import upload
from tamrf_xr.sensors import FINE_GSD, LANDSAT, SENTINEL2
from tamrf_xr.training.config import LossConfig
from tamrf_xr.training.data import Patch
from tamrf_xr.training.optics import SensorBands
from tamrf_xr.training.together import ALONE, Alone

Compare = Callable[[Tensor, Tensor, Tensor, Alone], Tensor]
"""From predicted (T, P, Y, X), expected (T, P, Y, X), valid (T, Y, X) and whose dates they are, to
one number a sample."""

_RED_EDGE, _THERMAL = 20.0, 90.0
_RED, _NIR = SENTINEL2.band_names.index("B04"), SENTINEL2.band_names.index("B08")
_RIDGE = 1e-3
_SAMPLES = 10
"""Samples that each pair of a regressor and a predicted band needs."""

_THERMAL_SCALE = 0.1
"""Weight of the thermal band's group: reflectance explains temperature loosely."""


@dataclass(frozen=True, slots=True)
class Group:
    """Predicted bands of one native resolution, and what is to explain them."""

    name: str
    """Such as ``"20m"``."""

    predicted: Tensor
    """(T, P, Y, X): the network's, at the HR dates."""

    regressors: Tensor
    """(T, R, Y, X): seen by the HR sensor on those dates."""

    scale: float = 1.0
    """Weight within the perceptual loss."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A group held against its regression."""

    loss: Tensor
    """Scaled; a scalar, or (S,) of several samples, 0 of those without a date."""

    dates: Alone
    """Those clear enough."""


def perceptual_losses(
    groups: Iterable[Group], seen: Patch, compare: Compare, config: LossConfig
) -> dict[str, Compared]:
    """Compare each group with its regression, over the dates clear enough for one.

    Parameters
    ----------
    groups
        Of all dates.
    seen
        By the HR sensor.
    compare
        LPIPS or `smooth_l1`.
    config
        Its `max_invalid` chooses the dates.

    Returns
    -------
    dict
        By the name of the group; nothing where no date is clear enough.
    """
    valid = seen.valid
    counts = valid.flatten(1).sum(dim=1).cpu() if seen.clear is None else seen.clear
    clear = counts >= (1 - config.max_invalid) * valid[0].numel()
    losses = {}
    for group in groups:
        enough = _SAMPLES * group.predicted.shape[1] * group.regressors.shape[1]
        chosen = (clear & (counts >= enough)).nonzero()[:, 0]
        if len(chosen):
            dates, there = seen.dates.at(chosen), upload(chosen, valid.device)
            predicted, usable = group.predicted[there], valid[there]
            expected = regress(predicted, group.regressors[there], usable)
            loss = group.scale * compare(predicted, expected, usable, dates)
            losses[group.name] = Compared(loss, dates)
    return losses


def mean_of_kept(losses: Iterable[Compared], most: float) -> Tensor:
    """Return the mean of the losses that are at most `most`; 0 if none is, or all are NaN."""
    losses = list(losses)
    stacked = torch.stack([one.loss for one in losses])
    small = stacked.detach() <= most  # False for NaN
    kept = torch.stack([own & one.dates.present() for own, one in zip(small, losses, strict=True)])
    return torch.where(kept, stacked, 0.0).sum(dim=0) / kept.sum(dim=0).clamp(min=1)


def resolution_groups(
    hr: Tensor, lr_at_hr: Tensor, seen: Patch, *, hr_bands: SensorBands, lr_bands: SensorBands
) -> Iterator[Group]:
    """Sort the predicted bands by native resolution: 20 m, 30 m, and 90 m with NDVI to explain it.

    Parameters
    ----------
    hr, lr_at_hr
        (T, B, Y, X): the bands of either sensor as predicted at the dates of HR.
    seen
        By the HR sensor.
    hr_bands, lr_bands
        Of the two sensors.

    Yields
    ------
    Group
        One for each of the three; NDVI is that of reflectances, whatever the statistics.
    """
    clear = torch.where(seen.valid[:, None], seen.pixels, 0.0)
    fine = hr_bands.at(clear, FINE_GSD)
    yield Group("20m", hr_bands.at(hr, _RED_EDGE), fine)
    yield Group("30m", lr_bands.at(lr_at_hr, LANDSAT.gsd), fine)
    with_ndvi = torch.cat([fine, _ndvi(clear, hr_bands)], dim=1)
    yield Group("90m", lr_bands.at(lr_at_hr, _THERMAL), with_ndvi, _THERMAL_SCALE)


def regress(predicted: Tensor, regressors: Tensor, valid: Tensor) -> Tensor:
    """Explain predicted bands by bands seen at 10 m: one ridge regression a date, with bias.

    Parameters
    ----------
    predicted
        (T, P, Y, X).
    regressors
        (T, R, Y, X), finite everywhere.
    valid
        (T, Y, X): the pixels to learn from.

    Returns
    -------
    Tensor
        (T, P, Y, X), in the type of `predicted`: the regression at all pixels. Its weights are
        constants to autograd; its mean and deviation are those of `predicted`. A regressor that is
        constant explains nothing.

    References
    ----------
    Hoerl and Kennard, "Ridge regression", Technometrics 1970, with penalty 1e-3 on variables
    brought to mean 0 and variance 1; computed in float64.
    """
    weight = valid.flatten(1)[..., None].double()  # (T, S, 1)
    y, mean, std = _standardise(predicted, weight)
    with torch.no_grad():
        x, _, _ = _standardise(regressors, weight)
        design = torch.cat([x, torch.ones_like(weight)], dim=-1)  # (T, S, R + 1)
        weighted = (design * weight).mT
        ridge = _RIDGE * torch.eye(design.shape[-1], dtype=design.dtype, device=design.device)
        # solve_ex: solve would stop and wait for the device, to look for singular matrices.
        weights, _ = torch.linalg.solve_ex(weighted @ design + ridge, weighted @ y)
        standard = design @ weights
    explained: Tensor = (standard * std + mean).mT
    return explained.reshape(predicted.shape).to(predicted.dtype)


def smooth_l1(
    predicted: Tensor, expected: Tensor, valid: Tensor, dates: Alone = ALONE, *, beta: float
) -> Tensor:
    """Return the mean SmoothL1 of (T, P, Y, X) over the valid pixels (T, Y, X); 0 where none is."""
    each = functional.smooth_l1_loss(predicted, expected, beta=beta, reduction="none")
    weight = valid[:, None].expand_as(each)
    return dates.mean(each, weight)


def _ndvi(seen: Tensor, bands: SensorBands) -> Tensor:
    """Return (T, 1, Y, X), from true reflectance.

    The published code takes B08 back to reflectance with the mean and deviation of B05, the fourth
    band of all where B08 is the fourth of 10 m; that moves its 90 m loss by 0.02 to 2 percent.
    """
    red, nir = (
        (seen[:, band] * bands.std[band] + bands.mean[band])[:, None] for band in (_RED, _NIR)
    )
    return (nir - red) / (nir + red + 1e-6)


def _standardise(images: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return samples (T, S, C) of mean 0 and variance 1 over weighted ones; mean and deviation."""
    samples = images.flatten(2).mT.double()
    count = weight.sum(dim=1, keepdim=True).clamp(min=2)
    mean = (samples * weight).sum(dim=1, keepdim=True) / count
    variance = ((samples - mean).square() * weight).sum(dim=1, keepdim=True) / (count - 1)
    std = variance.clamp(min=1e-12).sqrt()  # clamped first: the root has no slope at 0
    return (samples - mean) / std, mean, std

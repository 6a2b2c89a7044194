"""The losses of training, each a small function, and their sum over one patch pair.

Shapes: T dates, B bands, y x the sensor's own grid, Y X the 10 m grid. All values standardised.
Equations are those of Michel and Inglada, RSE 2025, hal-05101526, section on training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from tamrf_xr.errors import OptionError
from tamrf_xr.model.network import Tamrf
from tamrf_xr.sensors import LANDSAT, SENTINEL2
from tamrf_xr.training.lpips import MaskedLpips
from tamrf_xr.training.optics import (
    SensorBands,
    as_seen,
    crop,
    cropped,
    full_precision,
    sensor_bands,
)
from tamrf_xr.training.perceptual import (
    mean_of_kept,
    perceptual_losses,
    resolution_groups,
    smooth_l1,
)
from tamrf_xr.training.vgg import load_lpips
from tamrf_xr.training.views import LossConfig, View

__all__ = [
    "LossTools",
    "data_loss",
    "decorrelation_loss",
    "loss_tools",
    "spare_border",
    "training_loss",
    "triplet_loss",
]

_SAMPLES = 1000
"""Tokens that a covariance needs."""

_CONVOLUTIONS = 2
"""Pixels that the decoder's two convolutions reach."""


@dataclass(frozen=True, slots=True)
class LossTools:
    """What the losses need beside data, built once a run."""

    hr: SensorBands
    """Blur, resolution and statistics of the HR bands."""

    lr: SensorBands
    """Those of the LR bands."""

    lpips: MaskedLpips | None = None
    """Features of the perceptual loss, where it asks for them."""


def loss_tools(model: Tamrf, config: LossConfig) -> LossTools:
    """Build what the losses need, on the device of a model.

    Parameters
    ----------
    model
        Its buffers tell the mean, deviation, MTF and resolution of every band.
    config
        Its files are read where LPIPS is asked for.

    Returns
    -------
    LossTools
        For `training_loss`.

    Raises
    ------
    OptionError
        If LPIPS is asked for and no weights are found, or the perceptual loss is asked of a
        network with other bands than those of Landsat and Sentinel-2.
    """
    counts = len(LANDSAT.all_bands), len(SENTINEL2.bands)
    found = model.config.lr_bands, model.config.hr_bands
    if config.perceptual != "off" and found != counts:
        raise OptionError(
            f"the perceptual loss is defined for {counts} Landsat and Sentinel-2 bands, the "
            f"network has {found}; train with perceptual=off"
        )
    lpips = load_lpips(config.vgg16, config.lpips_heads) if config.perceptual == "lpips" else None
    if lpips is not None:
        lpips = lpips.to(model.hr_mean.device)
    return LossTools(sensor_bands(model, "hr"), sensor_bands(model, "lr"), lpips)


def spare_border(config: LossConfig, tools: LossTools) -> int:
    """Return how much of a patch's border no loss looks at, though the encoders do.

    Predictions are blurred, sampled and cropped by the margin: what lies further out than blur
    and the decoder's convolutions reach has no part in the loss. At the paper's sizes that is
    15 of 27 pixels, a third of the patch.

    Returns
    -------
    int
        Pixels of 10 m on every side, whole pixels of the LR grid; 0 where tokens count too.
    """
    if config.decorrelation_weight:
        return 0
    blur = max(bands.profiles.shape[1] // 2 for bands in (tools.hr, tools.lr))
    bicubic = 0 if tools.lr.ratio % 2 else 2  # odd: its samples are pixels
    spare = config.margin - blur - bicubic - _CONVOLUTIONS
    return max(spare // tools.lr.ratio * tools.lr.ratio, 0)


def training_loss(
    hr: View,
    lr: View,
    config: LossConfig,
    *,
    tools: LossTools,
    lr_at_hr: Tensor | None = None,
    encoded: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of one patch pair, and what it is made of.

    ``clear + masked_weight * masked + decorrelation_weight * decorrelation``, where each of the
    two sets of dates, given and held back, has a data, a triplet and a perceptual loss, weighed by
    the sensor's share of dates: n / N, N the target dates of both sensors.

    Parameters
    ----------
    hr, lr
        What was predicted and what was seen, for each sensor; any of them may have no date.
    config
        Weights and thresholds.
    tools
        From `loss_tools`.
    lr_at_hr
        (T, B, Y, X): the LR bands as predicted at the dates of `hr`; the perceptual loss needs it.
    encoded
        (P, N, D): tokens of P pixels at N dates after the encoder; decorrelation needs it.

    Returns
    -------
    total : Tensor
        Scalar, float32 whatever the autocast.
    partials : dict
        Every loss before its weight, detached: ``"clear_hr_data"``, ``"masked_lr_triplet"``,
        ``"clear_perceptual_20m"`` and ``"clear_perceptual"`` (their mean), ``"decorrelation"``;
        and, weighed, ``"clear"``, ``"masked"`` and ``"total"``. What has no date is left out.

    Raises
    ------
    OptionError
        If the perceptual or the decorrelation loss is asked for and lacks its tensor.
    """
    _check(hr, config, tools, lr_at_hr)
    patch = _Patch(
        hr=as_seen(hr, tools.hr, config.margin),
        lr=as_seen(lr, tools.lr, config.margin),
        fine=cropped(hr, config.margin),
        lr_at_hr=None if lr_at_hr is None else crop(lr_at_hr.float(), config.margin),
    )
    dates = len(hr.days) + len(lr.days)
    partials: dict[str, Tensor] = {}
    for name, given in (("clear", True), ("masked", False)):
        partials[name] = hr.predicted.new_zeros((), dtype=torch.float32)
        for part, loss, weight in _losses(patch.where(given=given), config, tools, given=given):
            partials[f"{name}_{part}"] = loss
            if weight:
                partials[name] = partials[name] + weight / dates * loss
    total = partials["clear"] + config.masked_weight * partials["masked"]
    if config.decorrelation_weight:
        if encoded is None:
            raise OptionError(
                f"decorrelation_weight={config.decorrelation_weight} needs the encoded tokens; "
                f"give encoded, or set it to 0"
            )
        partials["decorrelation"] = decorrelation_loss(encoded)
        total = total + config.decorrelation_weight * partials["decorrelation"]
    return total, {name: loss.detach() for name, loss in {**partials, "total": total}.items()}


def data_loss(view: View, config: LossConfig) -> Tensor:
    """Hold degraded predictions against what the sensor saw.

    Parameters
    ----------
    view
        Degraded, on the sensor's grid; dates with too few valid pixels do not count.
    config
        Its `beta` and `min_valid`.

    Returns
    -------
    Tensor
        Mean SmoothL1 over the pixels that count, in standard deviations; 0 where none does.
    """
    share = view.valid.float().mean(dim=(1, 2), keepdim=True)
    usable = view.valid & (share >= config.min_valid)
    target = torch.where(view.valid[:, None], view.target, 0.0)
    return smooth_l1(view.predicted, target, usable, config.beta)


def triplet_loss(view: View, config: LossConfig) -> Tensor:
    """Keep clouds out: predictions under clouds are to be nearer to clear pixels than to clouds.

    The positive of a pixel that is not valid is the valid one at the same place that is nearest
    in time, the earlier of two; the negative is what was seen there, the cloud. Distances are
    those of scalars, the negative's swapped for the nearer of anchor and positive.

    Parameters
    ----------
    view
        Degraded, on the sensor's grid.
    config
        Its `triplet_margin` and `triplet_days`.

    Returns
    -------
    Tensor
        Mean over the pixels that have both, in standard deviations; 0 where none does.

    References
    ----------
    Balntas et al., "Learning local feature descriptors with triplets", BMVC 2016 (anchor swap).
    """
    days = view.days.to(view.valid.device).float()
    gaps = (days[:, None] - days).abs()  # (T, T)
    gaps = gaps.masked_fill(gaps >= config.triplet_days, torch.inf)
    wait, nearest = torch.where(view.valid, gaps[..., None, None], torch.inf).min(dim=1)
    clear = torch.where(view.valid[:, None], view.target, 0.0)
    positive = clear.gather(0, nearest[:, None].expand_as(clear))
    usable = (~view.valid & wait.isfinite())[:, None] & view.target.isfinite()
    each = functional.triplet_margin_loss(
        view.predicted[..., None],  # one scalar a sample
        positive[..., None],
        torch.where(usable, view.target, 0.0)[..., None],
        margin=config.triplet_margin,
        swap=True,
        reduction="none",
    )
    return (each * usable).sum() / usable.sum().clamp(min=1)


def decorrelation_loss(tokens: Tensor) -> Tensor:
    """Ask for channels that tell different things: L1 of their covariance to the identity.

    Parameters
    ----------
    tokens
        (..., D): samples of D channels.

    Returns
    -------
    Tensor
        Mean over the D x D entries; 0 for fewer than 1000 samples.
    """
    samples = tokens.flatten(0, -2).float()
    if len(samples) < _SAMPLES:
        return samples.sum() * 0
    with full_precision(samples):
        covariance = torch.cov(samples.mT)
    identity = torch.eye(len(covariance), device=covariance.device)
    return functional.l1_loss(covariance, identity)


@dataclass(frozen=True, slots=True)
class _Patch:
    """The views of one patch pair, cropped, ready for the losses."""

    hr: View
    """Degraded."""

    lr: View
    """Degraded, on the LR grid."""

    fine: View
    """The HR sensor's, as predicted."""

    lr_at_hr: Tensor | None
    """(T, B, Y, X): the LR bands as predicted at the dates of `hr`."""

    def where(self, *, given: bool) -> _Patch:
        """Return the dates that were inputs, or those that were not."""
        hr, lr = ((v.given == given).nonzero()[:, 0].to(v.valid.device) for v in (self.hr, self.lr))
        coarse = self.lr_at_hr
        return _Patch(
            self.hr.at(hr), self.lr.at(lr), self.fine.at(hr), None if coarse is None else coarse[hr]
        )


def _losses(
    patch: _Patch, config: LossConfig, tools: LossTools, *, given: bool
) -> Iterator[tuple[str, Tensor, float]]:
    """Yield the name, value and weight of every loss of one set; weights are to be divided by N.

    A loss of weight 0 is told, but is no part of the total.
    """
    for sensor, view, bands in (("hr", patch.hr, tools.hr), ("lr", patch.lr, tools.lr)):
        dates = len(view.days)
        if not dates:
            continue
        reflectance = view.first(bands.reflectances)
        yield f"{sensor}_data", data_loss(view if given else reflectance, config), dates
        if config.triplet_weight:
            weight = dates * config.triplet_weight
            yield f"{sensor}_triplet", triplet_loss(reflectance, config), weight
    if config.perceptual != "off" and patch.lr_at_hr is not None and len(patch.fine.days):
        groups = resolution_groups(patch.fine, patch.lr_at_hr, tools.hr, tools.lr)
        compare = partial(smooth_l1, beta=config.beta) if tools.lpips is None else tools.lpips
        found = perceptual_losses(groups, patch.fine.valid, compare, config)
        yield from ((f"perceptual_{name}", loss, 0.0) for name, loss in found.items())
        if found:
            loss = mean_of_kept(found.values(), config.max_perceptual)
            yield "perceptual", loss, len(patch.fine.days) * config.perceptual_weight


def _check(hr: View, config: LossConfig, tools: LossTools, lr_at_hr: Tensor | None) -> None:
    if config.perceptual != "off" and lr_at_hr is None:
        raise OptionError(
            f"perceptual={config.perceptual!r} needs lr_at_hr, the LR bands as predicted at the "
            f"HR dates; give it, or set perceptual=off"
        )
    if (config.perceptual == "lpips") != (tools.lpips is not None):
        raise OptionError(
            f"perceptual={config.perceptual!r}, but the tools were built "
            f"{'with' if tools.lpips else 'without'} LPIPS; build them from this configuration, "
            f"with loss_tools"
        )
    if min(hr.predicted.shape[-2:]) <= 2 * config.margin:
        raise OptionError(
            f"patches of {tuple(hr.predicted.shape[-2:])} pixels leave nothing inside a margin "
            f"of {config.margin}; take larger patches or a smaller margin"
        )

"""The losses of training, each a small function, and their sum over a patch pair, or over several.

Shapes: T dates, B bands, y x the sensor's own grid, Y X the 10 m grid. All values standardised.
Of several patch pairs, dates lie one after the other, and what is a scalar of one is (S,) of S.
Equations are those of Michel and Inglada, RSE 2025, hal-05101526, section on training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from tamrf_xr.errors import OptionError
from tamrf_xr.model.device import upload
from tamrf_xr.model.network import Tamrf, crop
from tamrf_xr.sensors import LANDSAT, SENTINEL2
from tamrf_xr.training.config import LossConfig
from tamrf_xr.training.data import Patch
from tamrf_xr.training.lpips import MaskedLpips, load_lpips
from tamrf_xr.training.optics import SensorBands, as_seen, cropped, full_precision, sensor_bands
from tamrf_xr.training.perceptual import (
    mean_of_kept,
    perceptual_losses,
    resolution_groups,
    smooth_l1,
)
from tamrf_xr.training.together import ALONE, Alone

_FEWEST_TOKENS = 1000
"""Tokens that a covariance needs."""

_CONVOLUTIONS = 2
"""Pixels that the decoder's two convolutions reach."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """What the network made of a patch pair, on the 10 m grid."""

    hr: Tensor
    """(T, B, Y, X): the HR bands at the dates of HR."""

    lr: Tensor
    """(T, B, Y, X): the LR bands at the dates of LR."""

    lr_at_hr: Tensor | None = None
    """(T, B, Y, X): the LR bands at the dates of HR; the perceptual loss needs them."""

    encoded: Tensor | None = None
    """(..., D): tokens after the encoder; decorrelation needs them."""

    tokens: Alone = ALONE
    """Which of them are whose."""

    spared: int = 0
    """Pixels on every side that were not predicted: a part of the margin, see `spare_border`."""


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

    Raises
    ------
    OptionError
        If LPIPS is asked for and no weights are found, or the perceptual loss is asked of a
        network with other bands than those of Landsat and Sentinel-2.
    """
    expected = len(LANDSAT.all_bands), len(SENTINEL2.bands)
    bands = model.config.lr_bands, model.config.hr_bands
    if config.perceptual != "off" and bands != expected:
        raise OptionError(
            f"the perceptual loss is defined for {expected} Landsat and Sentinel-2 bands, the "
            f"network has {bands}; train with perceptual=off"
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
    predicted: Predicted,
    seen: Mapping[str, Patch],
    config: LossConfig,
    *,
    tools: LossTools,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of each patch pair, and what it is made of.

    ``clear + masked_weight * masked + decorrelation_weight * decorrelation``, where each of the
    two sets of dates, given and held back, has a data, a triplet and a perceptual loss, weighed by
    the sensor's share of dates: n / N, N the target dates of both sensors.

    Parameters
    ----------
    predicted
        At the dates of either sensor.
    seen
        By ``"hr"`` and ``"lr"``, standardised; any of them may have no date.
    config
        Weights and thresholds.
    tools
        From `loss_tools`.

    Returns
    -------
    total : Tensor
        Scalar, or (S,); float32 whatever the autocast.
    partials : dict
        Every loss before its weight, detached: ``"clear_hr_data"``, ``"masked_lr_triplet"``,
        ``"clear_perceptual_20m"`` and ``"clear_perceptual"`` (their mean), ``"decorrelation"``;
        and, weighed, ``"clear"``, ``"masked"`` and ``"total"``. What has no date is left out, or
        0 where another pair has some.

    Raises
    ------
    OptionError
        If the perceptual or the decorrelation loss is asked for and lacks its tensor.
    """
    _check(predicted, config, tools)
    pair = _prepared(predicted, seen, config.margin, tools)
    dates = sum(patch.dates.count(patch.days) for patch in seen.values())
    partials: dict[str, Tensor] = {}
    for name, given in (("clear", True), ("masked", False)):
        partials[name] = predicted.hr.new_zeros((), dtype=torch.float32)
        for part, loss, n, weight in _losses(pair.where(given=given), config, tools, given=given):
            partials[f"{name}_{part}"] = loss
            if weight:
                partials[name] = partials[name] + n * weight / dates * loss
    total = partials["clear"] + config.masked_weight * partials["masked"]
    if config.decorrelation_weight and predicted.encoded is not None:
        apart = predicted.tokens.apply(decorrelation_loss, predicted.encoded)
        partials["decorrelation"] = apart
        total = total + config.decorrelation_weight * partials["decorrelation"]
    return total, {name: loss.detach() for name, loss in {**partials, "total": total}.items()}


def data_loss(predicted: Tensor, seen: Patch, config: LossConfig) -> Tensor:
    """Return the mean SmoothL1 of degraded predictions (T, B, y, x) to what the sensor saw.

    In standard deviations, over the pixels that count: valid, of dates with enough that are. 0
    where none does.
    """
    share = seen.valid.float().mean(dim=(1, 2), keepdim=True)
    usable = seen.valid & (share >= config.min_valid)
    target = torch.where(seen.valid[:, None], seen.pixels, 0.0)
    return smooth_l1(predicted, target, usable, seen.dates, beta=config.beta)


def triplet_loss(predicted: Tensor, seen: Patch, config: LossConfig) -> Tensor:
    """Keep clouds out: predictions under clouds are to be nearer to clear pixels than to clouds.

    The positive of a pixel that is not valid is the valid one at the same place that is nearest
    in time, the earlier of two; the negative is what was seen there, the cloud. Distances are
    those of scalars, the negative's swapped for the nearer of anchor and positive.

    The mean is that of all pixels that have both, in standard deviations; 0 where none has.
    Predictions are (T, B, y, x), degraded to the sensor's grid.

    References
    ----------
    Balntas et al., "Learning local feature descriptors with triplets", BMVC 2016 (anchor swap).
    """
    wait, positive = _nearest_valid(seen, within=config.triplet_days)
    usable = (~seen.valid & wait.isfinite())[:, None] & seen.pixels.isfinite()
    each = functional.triplet_margin_loss(
        predicted[..., None],  # one scalar a sample
        positive[..., None],
        torch.where(usable, seen.pixels, 0.0)[..., None],
        margin=config.triplet_margin,
        swap=True,
        reduction="none",
    )
    return seen.dates.mean(each, usable)


def _nearest_valid(seen: Patch, *, within: float) -> tuple[Tensor, Tensor]:
    """Return the valid pixel at the same place that is nearest in time, of the same series.

    Returns
    -------
    wait, positive : Tensor
        (T, y, x), days to it, infinite if it is not nearer than `within`; (T, B, y, x), its bands.
    """
    dates, valid = seen.dates, seen.dates.padded(seen.valid)  # (S, M, y, x)
    days = dates.padded(upload(seen.days, seen.valid.device).float())
    gaps = (days[:, :, None] - days[:, None]).abs()  # (S, M, M)
    gaps = gaps.masked_fill(gaps >= within, torch.inf)
    wait, nearest = torch.where(valid[:, None], gaps[..., None, None], torch.inf).min(dim=2)
    clear = dates.padded(torch.where(seen.valid[:, None], seen.pixels, 0.0))
    positive = clear.gather(1, nearest[:, :, None].expand_as(clear))
    return dates.in_a_row(wait), dates.in_a_row(positive)


def decorrelation_loss(tokens: Tensor) -> Tensor:
    """Ask for channels that tell different things: L1 of their covariance to the identity.

    The mean over the D x D entries, of tokens (..., D); 0 for fewer than 1000 of them.
    """
    samples = tokens.flatten(0, -2).float()
    if len(samples) < _FEWEST_TOKENS:
        return samples.sum() * 0
    with full_precision(samples):
        covariance = torch.cov(samples.mT)
    identity = torch.eye(len(covariance), device=covariance.device)
    return functional.l1_loss(covariance, identity)


@dataclass(frozen=True, slots=True)
class _Pair:
    """A patch pair without its margin, ready for the losses."""

    seen: Mapping[str, Patch]
    """By the network's name of the sensor."""

    degraded: Mapping[str, Tensor]
    """(T, B, y, x): as either sensor would see its prediction."""

    fine: Tensor
    """(T, B, Y, X): the HR bands as predicted."""

    lr_at_hr: Tensor | None
    """(T, B, Y, X): the LR bands at the same dates."""

    def where(self, *, given: bool) -> _Pair:
        """Return the dates that were inputs, or those that were not."""
        dates = {name: (seen.given == given).nonzero()[:, 0] for name, seen in self.seen.items()}
        on = {name: upload(own, self.fine.device) for name, own in dates.items()}
        at_hr = None if self.lr_at_hr is None else self.lr_at_hr[on["hr"]]
        return _Pair(
            {name: patch.at(dates[name]) for name, patch in self.seen.items()},
            {name: images[on[name]] for name, images in self.degraded.items()},
            self.fine[on["hr"]],
            at_hr,
        )


def _prepared(
    predicted: Predicted, seen: Mapping[str, Patch], margin: int, tools: LossTools
) -> _Pair:
    inner, lr_at_hr = margin - predicted.spared, predicted.lr_at_hr
    sensors = (("hr", predicted.hr, tools.hr), ("lr", predicted.lr, tools.lr))
    return _Pair(
        {name: cropped(seen[name], margin // bands.ratio) for name, _, bands in sensors},
        {name: crop(as_seen(own, bands), inner // bands.ratio) for name, own, bands in sensors},
        crop(predicted.hr.float(), inner),
        None if lr_at_hr is None else crop(lr_at_hr.float(), inner),
    )


def _losses(
    pair: _Pair, config: LossConfig, tools: LossTools, *, given: bool
) -> Iterator[tuple[str, Tensor, int | Tensor, float]]:
    """Yield the name and value of every loss of one set, its number of dates and its weight.

    A loss of weight 0 is told, but is no part of the total.
    """
    for sensor, bands in (("hr", tools.hr), ("lr", tools.lr)):
        predicted, seen, first = pair.degraded[sensor], pair.seen[sensor], bands.reflectances
        if not len(seen.days):
            continue
        dates = seen.dates.count(seen.days)
        reflectance = predicted[:, :first], replace(seen, pixels=seen.pixels[:, :first])
        compared = (predicted, seen) if given or config.masked_temperature else reflectance
        yield f"{sensor}_data", data_loss(*compared, config), dates, 1.0
        if config.triplet_weight:
            loss = triplet_loss(*reflectance, config)
            yield f"{sensor}_triplet", loss, dates, config.triplet_weight
    if config.perceptual != "off" and pair.lr_at_hr is not None and len(pair.fine):
        yield from _perceptual(pair, pair.lr_at_hr, config, tools)


def _perceptual(
    pair: _Pair, lr_at_hr: Tensor, config: LossConfig, tools: LossTools
) -> Iterator[tuple[str, Tensor, int | Tensor, float]]:
    seen = pair.seen["hr"]
    groups = resolution_groups(pair.fine, lr_at_hr, seen, hr_bands=tools.hr, lr_bands=tools.lr)
    compare = partial(smooth_l1, beta=config.beta) if tools.lpips is None else tools.lpips
    found = perceptual_losses(groups, seen, compare, config)
    dates = seen.dates.count(seen.days)
    yield from ((f"perceptual_{name}", one.loss, dates, 0.0) for name, one in found.items())
    if found:
        loss = mean_of_kept(found.values(), config.max_perceptual)
        yield "perceptual", loss, dates, config.perceptual_weight


def _check(predicted: Predicted, config: LossConfig, tools: LossTools) -> None:
    size = tuple(predicted.hr.shape[-2:])
    if config.perceptual != "off" and predicted.lr_at_hr is None:
        raise OptionError(
            f"perceptual={config.perceptual!r} needs lr_at_hr, the LR bands as predicted at the "
            f"HR dates; give it, or set perceptual=off"
        )
    if config.decorrelation_weight and predicted.encoded is None:
        raise OptionError(
            f"decorrelation_weight={config.decorrelation_weight} needs the encoded tokens; "
            f"give encoded, or set it to 0"
        )
    if (config.perceptual == "lpips") != (tools.lpips is not None):
        raise OptionError(
            f"perceptual={config.perceptual!r}, but the tools were built "
            f"{'with' if tools.lpips else 'without'} LPIPS; build them from this configuration, "
            f"with loss_tools"
        )
    if min(size) <= 2 * (config.margin - predicted.spared):
        raise OptionError(
            f"patches of {size} pixels leave nothing inside a margin of {config.margin}; take "
            f"larger patches or a smaller margin"
        )

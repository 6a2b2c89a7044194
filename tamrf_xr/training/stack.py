"""Samples to tensors: one, or several at once, whose dates lie one after the other.

Date-wise work (standardising, turning, encoders, blur, losses) is done on all dates in one row and
pads nothing; where dates of a pixel attend to each other, shorter series are padded and masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

import torch
from torch import Tensor

from tamrf_xr.methods.standardising import STREAMS, standardise
from tamrf_xr.model.device import upload
from tamrf_xr.model.network import Tamrf, crop
from tamrf_xr.training.data import Patch, Sample
from tamrf_xr.training.losses import Predicted
from tamrf_xr.training.together import ALONE, Alone, Together


def standardised(samples: Sequence[Sample], model: Tamrf, *, margin: int = 0) -> dict[str, Patch]:
    """Bring samples to the device of a model, integers as integers; turn and standardise there.

    Parameters
    ----------
    samples
        One, or several of squares of one size; a sensor that a cube lacks has no date.
    model
        The network that they are for.
    margin
        Of the losses, pixels of 10 m: what is clear inside is counted.

    Returns
    -------
    dict
        By the network's names of the sensors, ``"hr"`` and ``"lr"``.
    """
    config = model.config
    ratios = {"hr": 1, "lr": config.ratio}
    seen = {
        STREAMS[name]: _standardised(samples, name, model, margin // ratios[STREAMS[name]])
        for name in STREAMS
        if any(name in sample.patches for sample in samples)
    }
    if "lr" not in seen:
        seen["lr"] = _nothing(config.lr_bands, seen["hr"], 1 / config.ratio)
    if "hr" not in seen:
        seen["hr"] = _nothing(config.hr_bands, seen["lr"], config.ratio)
    return seen


def _standardised(samples: Sequence[Sample], sensor: str, model: Tamrf, margin: int) -> Patch:
    device = model.hr_mean.device
    having = [(i, sample) for i, sample in enumerate(samples) if sensor in sample.patches]
    patches = [sample.patches[sensor] for _, sample in having]
    counts = torch.tensor([len(patch.days) for patch in patches])
    turns = torch.tensor([sample.turns for _, sample in having]).repeat_interleave(counts)
    owners = torch.tensor([i for i, _ in having]).repeat_interleave(counts)
    valid = torch.cat([patch.valid for patch in patches])
    rows = [
        _pixels(sensor, list(run), model)
        for _, run in groupby(patches, lambda patch: (patch.packing, patch.pixels.dtype))
    ]
    return Patch(
        pixels=turned(torch.cat(rows), turns),
        valid=turned(upload(valid, device), turns),
        days=torch.cat([patch.days for patch in patches]),
        given=torch.cat([patch.given for patch in patches]),
        clear=crop(valid, margin).flatten(1).sum(dim=1),
        dates=ALONE if len(samples) == 1 else Together(owners, len(samples), device),
    )


def _pixels(sensor: str, patches: Sequence[Patch], model: Tamrf) -> Tensor:
    """Standardise patches of one packing; NaN where nothing was seen."""
    stored = upload(torch.cat([patch.pixels for patch in patches]), model.hr_mean.device)
    pixels, missing = standardise(model, sensor, stored, patches[0].packing)
    return pixels.masked_fill_(missing, torch.nan)


def _nothing(bands: int, other: Patch, scale: float) -> Patch:
    """Return no date of a sensor, on a grid `scale` times as fine as that of the other."""
    size = [round(side * scale) for side in other.valid.shape[-2:]]
    return Patch(
        other.pixels.new_empty(0, bands, *size),
        other.valid.new_empty(0, *size),
        other.days[:0],
        other.given[:0],
        clear=None if other.clear is None else other.clear[:0],
        dates=other.dates.at(torch.zeros(0, dtype=torch.long)),
    )


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Turn and mirror square images (T, ..., y, x), each in one of eight ways (T,); 0: none.

    Four quarter turns, and the same mirrored; `turns` is on the CPU.
    """
    if not turns.any():
        return images
    source = _sources(images.shape[-1], images.device).index_select(0, upload(turns, images.device))
    flat = images.flatten(-2)
    source = source.view(len(turns), *(1,) * (flat.dim() - 2), -1).expand_as(flat)
    return flat.gather(-1, source).view_as(images)


@cache
def _sources(edge: int, device: torch.device) -> Tensor:
    """Return (8, edge * edge): from which pixel each comes, in each of the ways."""
    places = torch.arange(edge * edge).view(edge, edge)
    quarters = [places.rot90(quarter) for quarter in range(4)]
    ways = quarters + [quarter.flip(-1) for quarter in quarters]
    return upload(torch.stack([way.flatten() for way in ways]), device)


@dataclass(frozen=True, slots=True)
class Attended:
    """What the decoder's convolutions are given of samples, at every date of either sensor."""

    maps: Tensor
    """(T, D, Y, X): at the days of `_queries`, in a row."""

    at_lr: Tensor
    """Where in the row each date of LR is, on the device."""

    at_hr: Tensor
    """Likewise of HR."""

    encoded: Tensor
    """(..., D): tokens after the encoder."""

    tokens: Alone
    """Which of them are whose."""

    before: Tensor
    """(..., D, Y, X): tokens before the encoder."""

    days: Tensor
    """(T,): those of the maps."""


def attend(model: Tamrf, seen: Mapping[str, Patch], *, spare: int = 0) -> Attended:
    """Encode the dates given of samples, and ask for every date; as `predict`."""
    given = [seen[name].at(seen[name].given.nonzero()[:, 0]) for name in ("lr", "hr")]
    tokens = crop(model.tokens(*in_a_batch(given[0]), *in_a_batch(given[1])), spare)
    dates = _joined(given)
    absent = dates.absent()
    before = dates.padded(tokens.flatten(0, 1))
    encoded = model.attend(before, absent)
    queries, asked, (at_lr, at_hr) = _queries(seen, encoded.device)
    maps = asked.in_a_row(model.ask(encoded, asked.padded(queries), absent))
    return Attended(maps, at_lr, at_hr, encoded, dates, before, queries)


def predict(model: Tamrf, seen: Mapping[str, Patch], *, spare: int = 0) -> Predicted:
    """Let a network, in training or not, predict every date of samples from those given.

    Parameters
    ----------
    model
        The network.
    seen
        From `standardised`.
    spare
        From `losses.spare_border`: so many pixels of 10 m on every side are seen by the encoders,
        and not predicted.
    """
    asked = attend(model, seen, spare=spare)
    bands = model.to_bands(asked.maps[None])[0]
    first = model.config.lr_bands
    return Predicted(
        hr=bands[asked.at_hr, first:],
        lr=bands[asked.at_lr, :first],
        lr_at_hr=bands[asked.at_hr, :first],
        encoded=asked.encoded,
        tokens=asked.tokens,
        spared=spare,
    )


def in_a_batch(given: Patch) -> tuple[Tensor | None, Tensor | None]:
    """Return pixels (1, T, B, y, x) and days (1, T) of the dates given; None for none."""
    if not len(given.days):
        return None, None
    return given.pixels.nan_to_num(0.0)[None], upload(given.days, given.pixels.device)[None]


def _joined(patches: Sequence[Patch]) -> Alone:
    """Return whose the dates of several sensors are, one sensor after the other."""
    owners = torch.cat([patch.dates.owners(patch.days) for patch in patches])
    return patches[0].dates.of(owners)


def _queries(
    seen: Mapping[str, Patch], device: torch.device
) -> tuple[Tensor, Alone, tuple[Tensor, Tensor]]:
    """Return the days of either sensor, each once a sample, in a row.

    Returns
    -------
    days : Tensor
        (T,), on the device.
    dates : Alone
        Whose they are.
    places : tuple of Tensor
        Where in the row each date of ``"lr"`` and of ``"hr"`` is, on the device.
    """
    patches = seen["lr"], seen["hr"]
    days = torch.cat([patch.days for patch in patches])
    owners = torch.cat([patch.dates.owners(patch.days) for patch in patches])
    # float64 holds a day of float32 and the number of a sample.
    once, places = torch.stack([owners.double(), days.double()], 1).unique(
        dim=0, return_inverse=True
    )
    whose = patches[0].dates.of(once[:, 0].long())
    at_lr, at_hr = upload(places, device).split([len(patch.days) for patch in patches])
    return upload(once[:, 1].to(days.dtype), device), whose, (at_lr, at_hr)

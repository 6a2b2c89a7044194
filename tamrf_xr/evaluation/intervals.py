"""Scores of the errors that a product tells of itself, where it was made with uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr import metrics
from tamrf_xr.fuser import Mask, Pixels
from tamrf_xr.sensors import THERMAL

Float64 = NDArray[np.float64]

SHARES = (50, 80, 95)
"""Per cent of errors that the intervals of a product are to hold."""

WIDE = 80
"""Whose width is told."""

INTERVALS = (*(f"within_{share}" for share in SHARES), "width_80", "crps")
"""Columns of the table of a run that tells its errors."""

VARIABLES = {"reflectance": None, "surface_temperature": THERMAL}


@dataclass(frozen=True, slots=True)
class Told:
    """What one date of a product says of its errors."""

    deviation: Pixels
    """(band, y, x), on the 10 m grid, in the order of the bands of the image."""

    half_widths: Mapping[int, Float64]
    """Per share in per cent, half the width of the interval in deviations, (band,)."""


def told_errors(group: xr.Dataset, position: int, bands: tuple[str, ...]) -> Told | None:
    """Read what a product says of the errors of one date; None where it says nothing.

    Parameters
    ----------
    group
        Of the product.
    position
        Of the date.
    bands
        Which bands, in which order; temperature is one of them.
    """
    deviations: dict[str, Pixels] = {}
    widths: dict[str, list[float]] = {}
    for variable, name in VARIABLES.items():
        if f"{variable}_std" not in group:
            continue
        std = group[f"{variable}_std"].isel(time=position)
        names = [name] if name else [str(band) for band in group["band"].values]
        images = std.transpose("band", "y", "x").values if name is None else std.values[None]
        own = [np.atleast_1d(std.attrs[f"half_width_{share}"]) for share in SHARES]
        for place, band in enumerate(names):
            deviations[band] = images[place]
            widths[band] = [float(row[place]) for row in own]
    if not deviations:
        return None
    table = np.array([widths[band] for band in bands])
    return Told(
        np.stack([deviations[band] for band in bands]),
        {share: table[:, at] for at, share in enumerate(SHARES)},
    )


def score_errors(
    near: Pixels, wanted: Pixels, usable: Mask, told: Told, *, margin: int
) -> dict[str, Any]:
    """Return the columns of `INTERVALS`, a value a band, over usable pixels.

    Parameters
    ----------
    near, wanted
        Prediction and reference (band, y, x) on the grid of the sensor, without their margin.
    usable
        (y, x): where they are compared.
    told
        On the 10 m grid, margin included: an observation of 30 m is held against the deviation in
        the middle of its pixel.
    margin
        Pixels of the sensor's grid that are left out on every side.
    """
    ratio = told.deviation.shape[-1] // (wanted.shape[-1] + 2 * margin)
    middle = slice(ratio // 2, None, ratio)
    deviation = metrics.crop(told.deviation[:, middle, middle], margin)
    rows = []
    for band, images in enumerate(zip(near, wanted, deviation, strict=True)):
        kept = usable & np.isfinite(np.stack(images)).all(axis=0)
        predicted, seen, sigma = (np.asarray(image[kept], np.float64) for image in images)
        widths = {share: float(own[band]) for share, own in told.half_widths.items()}
        rows.append(_row(np.abs(predicted - seen), sigma, widths))
    return {name: np.array([row[name] for row in rows]) for name in INTERVALS}


def _row(errors: Float64, sigma: Float64, widths: Mapping[int, float]) -> dict[str, float]:
    found = {f"within_{s}": metrics.share_within(errors, sigma * w) for s, w in widths.items()}
    width = float(2 * widths[WIDE] * sigma.mean()) if sigma.size else float("nan")
    return {**found, "width_80": width, "crps": metrics.laplace_crps(errors, sigma)}

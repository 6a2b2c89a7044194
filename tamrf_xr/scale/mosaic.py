"""Acquisitions of one day and one sensor become one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tamrf_xr import panchromatic
from tamrf_xr.cube import FILL
from tamrf_xr.fuser import Mask, Scene, Series
from tamrf_xr.sensors import THERMAL

Array = npt.NDArray[Any]


def mosaic(series: Series, counts: Sequence[int], *, mask: Mask | None = None) -> Series:
    """Merge acquisitions of one day, variable by variable.

    Reflectance of a pixel is that of the first acquisition where it is valid, else of the first
    that has most of its bands. Temperature and the panchromatic band are each that of the first
    acquisition that is clear and has it: one of the others may lack it. From a cloud they are
    taken only where no acquisition is valid.

    Parameters
    ----------
    series
        Acquisitions, day by day.
    counts
        Acquisitions on each day.
    mask
        ``(time, y, x)``: True where clear, whether or not there is reflectance; by default
        everywhere.

    Returns
    -------
    Series
        One image a day.
    """
    if len(counts) == len(series.pixels):
        return series
    clear = np.ones_like(series.valid) if mask is None else mask
    merged, start = [], 0
    for count in counts:
        day = slice(start, start + count)
        merged.append(_merge(series.at(range(start, start + count)), clear[day]))
        start += count
    sharp = [day.panchromatic for day in merged if day.panchromatic is not None]
    return replace(
        series,
        pixels=np.stack([day.pixels for day in merged]),
        valid=np.stack([day.valid for day in merged]),
        panchromatic=np.stack(sharp) if sharp else None,
    )


def _merge(day: Series, clear: Mask) -> Scene:
    """Return one image."""
    if len(day.pixels) == 1:
        return day.scene(0)
    valid: Mask = np.asarray(day.valid.any(axis=0))
    usable = clear | ~valid
    optical = [band for band in day.bands if band != THERMAL]
    parts = [_first_valid(day.select(optical).pixels, day.valid)] if optical else []
    if THERMAL in day.bands:
        parts.append(_first_there(day.select([THERMAL]).pixels[:, 0], clear, usable)[None])
    sharp = day.panchromatic
    if sharp is not None:
        sharp = _first_there(sharp, *(_finer(where) for where in (clear, usable)))
    return Scene(np.concatenate(parts), valid, day.bands, sharp)


def _first_valid(pixels: Array, valid: Mask) -> Array:
    """Take (band, y, x) of the first valid acquisition, else the first with most bands."""
    there = present(pixels).sum(axis=1)
    best = (there + valid * (pixels.shape[1] + 1)).argmax(axis=0)
    taken: Array = np.take_along_axis(pixels, best[None, None], axis=0)[0]
    return taken


def _first_there(images: Array, clear: Mask, usable: Mask) -> Array:
    """Take (y, x) of the first of the usable acquisitions that has it, clear ones before others."""
    rank = (present(images) & usable) * (1 + clear.astype(np.int8))
    taken: Array = np.take_along_axis(images, rank.argmax(axis=0)[None], axis=0)[0]
    taken[rank.max(axis=0) == 0] = FILL if images.dtype == np.int16 else np.nan
    return taken


def _finer(mask: Mask) -> Mask:
    ratio = panchromatic.RATIO
    return mask.repeat(ratio, axis=-2).repeat(ratio, axis=-1)


def present(pixels: Array) -> Mask:
    """Tell where there are data: integers as stored, or floats."""
    present: Mask = pixels != FILL if pixels.dtype == np.int16 else np.isfinite(pixels)
    return present

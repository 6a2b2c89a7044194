"""The shifts of all acquisitions in one block of ground, and how a scene is cut into blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.coregistration.moving import moved, moved_mask
from tamrf_xr.coregistration.reference import Medians, area_means
from tamrf_xr.coregistration.registering import Estimate, register

Array = NDArray[Any]

ROUNDS = 2
"""References made: of the series as it is, then of the series as the first round corrects it."""

MOST_ERROR_PX = 0.15
"""Standard error above which a block's estimate is not trusted, in pixels of the sensor."""


@dataclass(frozen=True, slots=True)
class Series:
    """One sensor's acquisitions over one block."""

    images: Array
    """``(time, band, y, x)`` float32, 0 where there is no data."""

    good: Array
    """``(time, y, x)``: True where every band is there, and usable."""


def edges(size: int, count: int) -> list[slice]:
    """Cut pixels into blocks of nearly one size."""
    ends = np.linspace(0, size, count + 1).round().astype(int).tolist()
    return [slice(*pair) for pair in pairwise(ends)]


def estimate(
    given: Mapping[str, tuple[xr.DataArray, xr.DataArray | None]],
    ratios: Sequence[int],
    most_px: float,
) -> list[Array]:
    """Estimate the shifts of a block.

    Parameters
    ----------
    given
        Per sensor, the finest first: reflectance and ``valid``, as of a cube.
    ratios
        Per sensor, pixels of the first across one of its own.
    most_px
        Shifts beyond are not used for references, in pixels of the first sensor.

    Returns
    -------
    list of numpy.ndarray
        Per sensor ``(time, 4)``: down, right and standard error, in its own pixels, NaN where
        nothing was found; and pixels compared.
    """
    finest, *others = (_series(*arrays) for arrays in given.values())
    found, straight = _among_themselves(finest, most_px)
    tables = [_table(found)]
    for series, ratio in zip(others, ratios[1:], strict=True):
        reference = Medians(*area_means(straight.images, straight.good, ratio)).of_all()
        tables.append(
            _table(
                [register(*one, *reference) for one in zip(series.images, series.good, strict=True)]
            )
        )
    return tables


def trusted(table: Array, most_px: float) -> Array:
    """Tell which rows of a table of `estimate` hold a shift that can be relied on."""
    with np.errstate(invalid="ignore"):
        small = (np.abs(table[..., :2]) <= most_px).all(axis=-1)
        return np.asarray(small & (table[..., 2] <= MOST_ERROR_PX))


def usable(valid: xr.DataArray) -> xr.DataArray:
    """Return a mask as bool: stores of others hold 0, 1 and no data."""
    return valid if valid.dtype == bool else valid.notnull() & (valid != 0)


def _series(reflectance: xr.DataArray, valid: xr.DataArray | None) -> Series:
    images = reflectance.values
    there = np.isfinite(images).all(axis=1)
    good = there if valid is None else there & usable(valid).values
    return Series(np.where(np.isfinite(images), images, 0).astype(np.float32), good)


def _among_themselves(series: Series, most_px: float) -> tuple[list[Estimate], Series]:
    """Register a series on its own medians; return it corrected, too."""
    straight, found = series, [Estimate()] * len(series.images)
    for _ in range(ROUNDS):
        medians = Medians(straight.images, straight.good)
        found = [
            register(image, good, *medians.without(place))
            for place, (image, good) in enumerate(zip(series.images, series.good, strict=True))
        ]
        straight = _straightened(series, _table(found), most_px)
    return found, straight


def _straightened(series: Series, table: Array, most_px: float) -> Series:
    """Return a series with its shifts undone; what was not found does not count in a median."""
    images, good = np.zeros_like(series.images), np.zeros_like(series.good)
    for place in np.flatnonzero(trusted(table, most_px)):
        by = table[place, 0, None, None], table[place, 1, None, None]
        good[place] = moved_mask(series.good[place], by)
        values = moved(series.images[place], series.good[place], by)
        images[place] = np.where(good[place], values, 0)
    return Series(images, good)


def _table(found: Sequence[Estimate]) -> Array:
    return np.array([(*one.shift, one.error, one.pixels) for one in found], float).reshape(-1, 4)

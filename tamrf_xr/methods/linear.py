"""Linear interpolation in time, pixel by pixel, between valid dates. Needs no weights.

The published comparison of TAMRF-SITS calls it naive: both names are this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tamrf_xr.fuser import Cost, Days, FuserSpec, Mask, Pixels, Series
from tamrf_xr.methods.pixelwise import PixelwiseFuser, by_usable, recipe
from tamrf_xr.methods.registry import Request
from tamrf_xr.sensors import SENSORS


def plan(request: Request) -> FuserSpec:
    """Return the recipe: every band the cube has, coarse sensors brought to 10 m."""
    return recipe(
        request,
        method="linear",
        factory="tamrf_xr.methods.linear:Linear",
        cost=Cost(
            # Pixels read, and per date two index maps of int16 and masks.
            per_date={
                name: 1.5 * (4 * len(bands) + 8) / SENSORS[name].ratio ** 2
                for name, bands in request.given.items()
            },
            per_query=8 * sum(len(bands) for bands in request.given.values()),
        ),
    )


class Linear(PixelwiseFuser):
    """Between the nearest valid dates before and after; the nearest one beyond the ends."""

    def answer(
        self, series: Series, days: Days, query_days: Days, *, bands: Sequence[str]
    ) -> Pixels:
        """Interpolate."""
        return interpolate(series, days, query_days, bands=bands)


def interpolate(
    series: Series, days: Days, query_days: Days, *, bands: Sequence[str] | None = None
) -> Pixels:
    """Interpolate linearly in time between valid observations.

    Parameters
    ----------
    series
        What the sensor saw.
    days
        ``(time,)``, increasing.
    query_days
        ``(query,)``.
    bands
        Bands to make; by default all.

    Returns
    -------
    numpy.ndarray
        ``(query, band, y, x)``; NaN where a pixel has no valid observation at all. Beyond the ends
        it is the nearest valid observation.
    """
    at = [series.bands.index(band) for band in (series.bands if bands is None else bands)]
    out = np.full((len(query_days), len(at), *series.valid.shape[1:]), np.nan, np.float32)
    if not len(days) or not out.size:
        return out
    # From one flat array, an image is taken several times as fast as by an index for each axis.
    flat, size = np.ascontiguousarray(series.pixels).reshape(-1), out[0, 0].size
    for usable, places in by_usable(series, at):
        gaps = nearest_usable(usable)
        for position, day in enumerate(query_days):
            between = _between(gaps, days, day, step=series.pixels.shape[1] * size)
            for place in places:
                out[position, place] = between.of(flat[at[place] * size :])
    return out


@dataclass(frozen=True, slots=True)
class _Between:
    """Where a day lies between usable observations, pixel by pixel ``(y, x)``."""

    first: npt.NDArray[np.intp]
    """Where the value before is, or the nearest, counted from the band's in the first image."""

    last: npt.NDArray[np.intp]
    """Likewise the one after."""

    weight: npt.NDArray[np.float64]
    """Of the last."""

    known: Mask
    """Whether there is any."""

    def of(self, flat: Pixels) -> Pixels:
        """Interpolate a band: `flat` begins with it."""
        a, b = (flat.take(where, mode="clip") for where in (self.first, self.last))
        return np.where(self.known, a + self.weight * (b - a), np.nan).astype(np.float32)


def _between(
    gaps: tuple[np.ndarray, np.ndarray], given: Days, day: float, *, step: int
) -> _Between:
    """Find what a day lies between; `step` values lie from one image to the next."""
    split = int(np.searchsorted(given, day, side="right"))
    low, high = (gap[split].astype(np.intp) for gap in gaps)
    first, last = np.where(low >= 0, low, high), np.where(high >= 0, high, low)
    start, stop = given[first], given[last]
    weight = np.where(stop > start, (day - start) / np.maximum(stop - start, 1e-9), 0.0)
    pixel = np.arange(first.size).reshape(first.shape)
    before, after = (np.maximum(index, 0) * step + pixel for index in (first, last))
    return _Between(before, after, weight, first >= 0)


def nearest_usable(usable: Mask) -> tuple[np.ndarray, np.ndarray]:
    """Index usable observations from every gap between dates.

    Parameters
    ----------
    usable
        ``(time, y, x)``.

    Returns
    -------
    tuple of numpy.ndarray
        ``(time + 1, y, x)`` each: position of the last usable date before gap number i (that is,
        among the first i dates), and of the first usable one after it; -1 where there is none.
    """
    count = len(usable)
    shape = (count + 1, *usable.shape[1:])
    before, after = np.full(shape, -1, np.int16), np.full(shape, -1, np.int16)
    for i in range(count):
        before[i + 1] = np.where(usable[i], i, before[i])
    for i in reversed(range(count)):
        after[i] = np.where(usable[i], i, after[i + 1])
    return before, after

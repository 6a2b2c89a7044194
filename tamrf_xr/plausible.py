"""Which values can be reflectance or surface temperature at all: one table for every guard."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tamrf_xr.machine import usable_cores

STRIDE = 64
"""Values along an axis that `spread` looks at: a guard must cost nothing beside the work."""


SPLIT = 2**24
"""Values from which on several threads search them: a chunk is searched where it is computed."""

MOST_THREADS = 8
"""Memory gives no more than these read."""

HUGE = 1e9
"""Floats beyond are no numbers of any product: 1e20, 9.97e36 (netCDF), -3.4e38 (GDAL), infinity."""


@dataclass(frozen=True, slots=True)
class Range:
    """Where the median of real pixels lies, whatever the place and the weather."""

    what: str
    """In words, for errors."""

    low: float
    """Least median."""

    high: float
    """Greatest median."""

    least: float
    """No pixel lies below."""

    most: float
    """No pixel lies above."""


REFLECTANCE = Range("reflectance 0..1", -0.05, 1.6, -0.5, 6.56)
"""Bright clouds reach 1.3; water with its offset removed twice lies at -0.1; 65534 is 6.5534."""

TEMPERATURE = Range("temperature in kelvin", 180.0, 370.0, 1.0, 1000.0)
"""Tops of high clouds are near 190 K."""


def spread(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view of at most `STRIDE` values along each axis, spread evenly."""
    return values[tuple(slice(None, None, max(1, size // STRIDE)) for size in values.shape)]


def extremes(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the least and the greatest value, NaN left out; NaN twice where there is none.

    Image by image, so that a value comes from memory once.

    Examples
    --------
    >>> extremes(np.array([[0.5, np.nan], [-1.0, 0.25]]))
    (-1.0, 0.5)
    """
    images = values if values.ndim > 2 else values[None]
    places = list(np.ndindex(images.shape[:-2] if values.size else (0,)))
    if values.size < SPLIT:
        return _extremes_of(images[at] for at in places)
    threads = min(usable_cores(), MOST_THREADS)
    shares = [(images[at] for at in places[one::threads]) for one in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        lows, highs = zip(*pool.map(_extremes_of, shares), strict=True)
    return float(np.fmin.reduce(lows)), float(np.fmax.reduce(highs))


def _extremes_of(images: Iterable[npt.NDArray[Any]]) -> tuple[float, float]:
    low = high = np.float64(np.nan)
    for image in images:
        low = np.fmin(low, np.fmin.reduce(image, axis=None))
        high = np.fmax(high, np.fmax.reduce(image, axis=None))
    return float(low), float(high)


def medians(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the median of what is finite in each row ``(n, m)``; NaN where nothing is.

    Examples
    --------
    >>> medians(np.array([[3.0, np.nan, 1.0, 8.0], [2.0, np.inf, 4.0, np.nan]]))
    array([3., 3.])
    """
    there = np.isfinite(rows)
    ordered, count = np.sort(np.where(there, rows, np.nan), axis=1), there.sum(axis=1)
    at, beside = np.maximum(count - 1, 0) // 2, count // 2
    first, second = (np.take_along_axis(ordered, k[:, None], 1)[:, 0] for k in (at, beside))
    return np.asarray((first + second) / 2)


def question(sample: npt.NDArray[Any], *, thermal: bool = False) -> str:
    """Tell why values cannot be what they are taken for.

    Parameters
    ----------
    sample
        Values as they are about to be used; not finite means no data.
    thermal
        Temperature, not reflectance.

    Returns
    -------
    str
        What was found and what was expected; empty where nothing is wrong, or nothing finite.

    Examples
    --------
    >>> question(np.array([3000.0, np.nan, 2000.0]))
    'median 2500, expected reflectance 0..1 (a median of -0.05 to 1.6)'
    >>> question(np.array([0.2])), question(np.array([25.0]), thermal=True)
    ('', 'median 25, expected temperature in kelvin (a median of 180 to 370)')
    """
    expected = TEMPERATURE if thermal else REFLECTANCE
    median = float(medians(sample.reshape(1, -1))[0]) if sample.size else np.nan
    if np.isnan(median) or expected.low <= median <= expected.high:
        return ""
    return (
        f"median {median:.4g}, expected {expected.what} "
        f"(a median of {expected.low:g} to {expected.high:g})"
    )

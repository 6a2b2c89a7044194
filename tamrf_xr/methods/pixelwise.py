"""A base for methods that work pixel by pixel, each sensor by itself on its own grid.

A method writes its `answer`; coarse sensors are then brought to the fine grid as `linear` does it.
"""

from __future__ import annotations

import math
import numbers
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tamrf_xr.errors import OptionError
from tamrf_xr.fuser import Cost, Crop, Days, EpisodeFuser, FuserSpec, Mask, Pixels, Series
from tamrf_xr.methods.registry import Bands, Request
from tamrf_xr.psf import upsample
from tamrf_xr.sensors import SENSORS

Values = npt.NDArray[np.float64]

CUBIC_REACH = 2
"""Pixels on either side that bicubic interpolation looks at."""

BLOCK = 1024
"""Pixels worked on at a time: what they need stays in a cache, whatever the tile."""


def recipe(
    request: Request,
    *,
    method: str,
    factory: str,
    cost: Cost,
    options: Mapping[str, Any] | None = None,
) -> FuserSpec:
    """Return the recipe of a pixelwise method: every band the cube has, coarse ones at 10 m."""
    coarse = [name for name in request.given if SENSORS[name].ratio > 1]
    given = dict(options or {})
    return FuserSpec(
        method=method,
        factory=factory,
        makes=tuple(request.wanted(request.given).items()),
        halo=tuple((name, CUBIC_REACH) for name in coarse),
        options=tuple(given.items()),
        cost=cost,
        provenance=tuple((name, str(value)) for name, value in given.items()),
    )


class PixelwiseFuser(EpisodeFuser):
    """Base of the methods that know no neighbours and no other sensor: they write `answer`."""

    def __init__(self, makes: Bands) -> None:
        """Take the bands to make."""
        self._makes = makes

    @abstractmethod
    def answer(
        self, series: Series, days: Days, query_days: Days, *, bands: Sequence[str]
    ) -> Pixels:
        """Make bands of one sensor ``(query, band, y, x)`` on its own grid; NaN where unknown."""

    def predict(
        self, series: Mapping[str, Series], days: Mapping[str, Days], query_days: Days, crop: Crop
    ) -> dict[str, Pixels]:
        """Answer for each sensor on its own grid, then bring it to the fine grid."""
        out = {}
        for name, bands in self._makes.items():
            coarse = self.answer(series[name], days[name], query_days, bands=bands)
            rows, cols = crop.within(name)
            ratio = SENSORS[name].ratio
            fine = upsample(coarse, ratio) if ratio > 1 else coarse
            out[name] = fine[..., rows, cols]
        return out


def by_usable(series: Series, bands: list[int]) -> list[tuple[Mask, list[int]]]:
    """Group positions in `bands` by where they are usable: mostly it is the same everywhere."""
    groups: list[tuple[Mask, list[int]]] = []
    for place, band in enumerate(bands):
        usable = series.valid & np.isfinite(series.pixels[:, band])
        same = (places for known, places in groups if np.array_equal(known, usable))
        if (places := next(same, None)) is not None:
            places.append(place)
        else:
            groups.append((usable, [place]))
    return groups


Work = Callable[[Values, Mask], Values]
"""From values ``(time, band, pixel)``, 0 where not usable, and where they are ``(time, pixel)``, to
``(query, band, pixel)``."""


def in_blocks(series: Series, bands: Sequence[str], queries: int, work: Work) -> Pixels:
    """Work through a sensor's pixels block by block, in float64.

    Parameters
    ----------
    series
        What the sensor saw.
    bands
        Bands to make.
    queries
        Query dates.
    work
        What to do with a block; not called without acquisitions.

    Returns
    -------
    numpy.ndarray
        ``(query, band, y, x)``; NaN without acquisitions.
    """
    at = [series.bands.index(band) for band in bands]
    dates, *shape = series.valid.shape
    out = np.full((queries, len(at), math.prod(shape)), np.nan, np.float32)
    flat = series.pixels.reshape(dates, len(series.bands), out.shape[-1])
    for mask, places in by_usable(series, at) if dates else ():
        usable, held = mask.reshape(dates, -1), [at[place] for place in places]
        for start in range(0, out.shape[-1], BLOCK):
            block = slice(start, start + BLOCK)
            known = usable[:, block]
            values = np.where(known[:, None], flat[:, held, block], 0).astype(np.float64)
            out[:, places, block] = work(values, known)
    return out.reshape(queries, len(at), *shape)


def check_number(method: str, request: Request, name: str, *, low: float = 0.0) -> float:
    """Return an option that is a finite number of at least `low`.

    Raises
    ------
    OptionError
        If it is not.
    """
    value = request.options[name]
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not low <= value < math.inf:
        raise OptionError(
            f"option {name} of method {method!r} is {value!r:.80}; expected a number of at least "
            f"{low:g}"
        )
    return float(value)


def check_whole(method: str, request: Request, name: str, *, low: int = 0) -> int:
    """Return an option that is a whole number of at least `low`.

    Raises
    ------
    OptionError
        If it is not.
    """
    value = check_number(method, request, name, low=low)
    if value != int(value):
        raise OptionError(
            f"option {name} of method {method!r} is {value!r}; expected a whole number"
        )
    return int(value)

"""The last look before a tile is computed: can its pixels be what they are taken for.

Lazy data pass the door of a cube on a sample; what a tile reads is looked at again, at some ten
thousand values a sensor whatever the size of the tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tamrf_xr import panchromatic, plausible
from tamrf_xr.errors import CubeError
from tamrf_xr.fuser import Mask, Series

DATES, ACROSS = 16, 16
"""Acquisitions, and pixels down and across, that are looked at; up to twice as many."""

Array = npt.NDArray[Any]


def check_plausible(series: Mapping[str, Series], thermal: Mapping[str, int]) -> None:
    """Check that what a tile has read can be reflectance and temperature.

    Parameters
    ----------
    series
        Per sensor, what was read; integers as stored, or floats.
    thermal
        Per sensor, how many of the last bands are temperatures.

    Raises
    ------
    CubeError
        Naming sensor, variable, what was found and expected, and the way out.
    """
    for sensor, read in series.items():
        for variable, sample in _samples(read, thermal.get(sensor, 0)):
            found = plausible.question(sample, thermal=variable == "surface_temperature")
            if found:
                raise CubeError(
                    f"/{sensor}/{variable} of valid pixels: {found}; the cube is not in the units "
                    "of a cube: make it again from the source with as_cube(..., scaling=...), "
                    "which names scale and offset"
                )


def _samples(read: Series, thermal: int) -> Iterator[tuple[str, Array]]:
    """Give physical values of valid pixels, variable by variable."""
    bands = read.pixels.shape[1] - thermal
    there = _spread(read.valid)
    for variable, chosen in (
        ("reflectance", slice(0, bands)),
        ("surface_temperature", slice(bands, None)),
    ):
        yield variable, _physical(_spread(read.pixels[:, chosen]), read, chosen)[_where(there)]
    if read.panchromatic is not None:
        ratio = panchromatic.RATIO
        yield panchromatic.NAME, _spread(read.panchromatic[:, ::ratio, ::ratio])[there]


def _spread(images: Array) -> Array:
    """Return a view of a few dates, rows and columns."""
    dates, height, width = len(images), *images.shape[-2:]
    down, across = (slice(None, None, max(1, size // ACROSS)) for size in (height, width))
    return images[:: max(1, dates // DATES), ..., down, across]


def _where(there: Mask) -> tuple[Any, ...]:
    time, y, x = np.nonzero(there)
    return time, slice(None), y, x


def _physical(sample: Array, read: Series, bands: slice) -> Array:
    if read.packing is None:
        return sample
    scale = np.array(read.packing.scale[bands], np.float32)[:, None, None]
    return np.where(sample == read.packing.fill, np.float32(np.nan), sample * scale)

"""The last look before a tile is computed: can its pixels be what they are taken for.

Lazy data pass the door of a cube on a sample; what a tile reads is looked at again, each date on
its own, at a few hundred pixels of it whatever the size of the tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tamrf_xr import panchromatic, plausible
from tamrf_xr.errors import CubeError
from tamrf_xr.fuser import Mask, Series
from tamrf_xr.sensors import THERMAL

ACROSS = 8
"""Pixels down and across that are looked at of a date; up to twice as many."""

FEWEST = 16
"""Values of a date that tell anything."""

Array = npt.NDArray[Any]


def check_plausible(series: Mapping[str, Series]) -> None:
    """Check that what a tile has read can be reflectance and temperature.

    Parameters
    ----------
    series
        Per sensor, what was read; integers as stored, or floats.

    Raises
    ------
    CubeError
        Naming sensor, variable, what was found and expected, and the way out.
    """
    for sensor, read in series.items():
        if not read.bands:  # tokens, which have no unit
            continue
        for variable, sample in _samples(read):
            found = _question(sample, thermal=variable == "surface_temperature")
            if found:
                raise CubeError(
                    f"/{sensor}/{variable} of valid pixels: {found}; the cube is not in the units "
                    "of a cube: make it again from the source with as_cube(..., scaling=...), "
                    "which names scale and offset"
                )


def _question(sample: Array, *, thermal: bool) -> str:
    """Question dates ``(time, values)`` together, then one by one."""
    if found := plausible.question(sample, thermal=thermal):
        return found
    for at, date in enumerate(sample):
        if np.isfinite(date).sum() < FEWEST:
            continue
        if found := plausible.question(date, thermal=thermal):
            return f"{found} at acquisition {at} of the {len(sample)} that were read"
    return ""


def _samples(read: Series) -> Iterator[tuple[str, Array]]:
    """Give physical values ``(time, values)``, NaN where not valid, variable by variable."""
    bands = len(read.bands) - (THERMAL in read.bands)
    lost = ~_spread(read.valid)
    for variable, chosen in (
        ("reflectance", slice(0, bands)),
        ("surface_temperature", slice(bands, None)),
    ):
        pixels = _physical(_spread(read.pixels[:, chosen]), read, chosen)
        yield variable, _without(pixels, lost[:, None])
    if read.panchromatic is not None:
        ratio = panchromatic.RATIO
        yield panchromatic.NAME, _without(_spread(read.panchromatic[:, ::ratio, ::ratio]), lost)


def _spread(images: Array) -> Array:
    """Return a view of a few rows and columns."""
    down, across = (slice(None, None, max(1, size // ACROSS)) for size in images.shape[-2:])
    return images[..., down, across]


def _without(pixels: Array, lost: Mask) -> Array:
    found = np.where(lost, np.float32(np.nan), pixels)
    return found.reshape(len(pixels), math.prod(pixels.shape[1:]))  # -1 is not told of no date


def _physical(sample: Array, read: Series, bands: slice) -> Array:
    if read.packing is None:
        return sample
    scale = np.array(read.packing.scale[bands], np.float32)[:, None, None]
    return np.where(sample == read.packing.fill, np.float32(np.nan), sample * scale)

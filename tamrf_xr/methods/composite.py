"""Composites: the median or the medoid of the valid acquisitions around a date, pixel by pixel.

The median is taken band by band, so that its spectrum may be one that nobody saw. The medoid is
the acquisition whose distances to all others, over the sensor's reflectance bands, add up to the
least: its bands, temperature included, are of one date. It needs all those bands to be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from tamrf_xr.fuser import Cost, Days, FuserSpec, Mask, Pixels, Series
from tamrf_xr.methods.pairing import check_variant
from tamrf_xr.methods.pixelwise import BLOCK, PixelwiseFuser, Values, check_number, recipe
from tamrf_xr.methods.registry import Bands, Request
from tamrf_xr.sensors import SENSORS, THERMAL

OPTIONS = {"variant": "median", "half_window": 45.0}
"""``variant``: ``"median"`` or ``"medoid"``. ``half_window``: days before and after a query date
from which acquisitions are taken, both ends included; by default a season of three months."""

VARIANTS = ("median", "medoid")


def plan(request: Request) -> FuserSpec:
    """Return the recipe: every band the cube has."""
    variant = check_variant("composite", request, VARIANTS)
    return recipe(
        request,
        method="composite",
        factory="tamrf_xr.methods.composite:Composite",
        options={
            "variant": variant,
            "half_window": check_number("composite", request, "half_window"),
        },
        cost=Cost(
            # Pixels read, and those of a window for one band, twice.
            fixed=3e7,
            per_date={
                name: (4 * len(bands) + 14) / SENSORS[name].ratio ** 2
                for name, bands in request.given.items()
            },
            per_query=8 * sum(len(bands) for bands in request.given.values()),
        ),
    )


class Composite(PixelwiseFuser):
    """NaN where no acquisition of the window is valid.

    References
    ----------
    Flood, "Seasonal Composite Landsat TM/ETM+ Images Using the Medoid (a Multi-Dimensional
    Median)", Remote Sensing 2013, 5(12), 6481-6500, 10.3390/rs5126481.
    """

    def __init__(self, makes: Bands, *, variant: str, half_window: float) -> None:
        """Take the bands to make, and the options."""
        super().__init__(makes)
        self._make = {"median": median, "medoid": medoid}[variant]
        self._half_window = half_window

    def answer(
        self, series: Series, days: Days, query_days: Days, *, bands: Sequence[str]
    ) -> Pixels:
        """Make date by date."""
        out = np.full((len(query_days), len(bands), *series.valid.shape[1:]), np.nan, np.float32)
        for position, day in enumerate(query_days):
            near = np.flatnonzero(np.abs(days - day) <= self._half_window)
            if len(near):
                out[position] = self._make(series.at(near.tolist()), bands)
        return out


def median(series: Series, bands: Sequence[str]) -> Pixels:
    """Return the median of the usable values of each band ``(band, y, x)``; NaN without any."""
    return np.stack([_median(series, series.bands.index(band)) for band in bands])


def _median(series: Series, band: int) -> Pixels:
    """Return what `numpy.nanmedian` gives, which warns of pixels without any value."""
    seen = series.valid & np.isfinite(series.pixels[:, band])
    values = np.where(seen, series.pixels[:, band], np.nan)
    values.sort(axis=0)  # NaN last
    count = seen.sum(axis=0)
    low, high = (
        np.take_along_axis(values, place[None], axis=0)[0]
        for place in (np.maximum(count - 1, 0) // 2, count // 2)
    )
    return cast("Pixels", (low + high) / 2)


def medoid(series: Series, bands: Sequence[str]) -> Pixels:
    """Return bands ``(band, y, x)`` of the usable acquisition nearest to all others.

    The earliest of those equally near; NaN where no acquisition has every reflectance band.
    """
    # Which one it is must not depend on the bands that are asked.
    seen = [band for band in series.bands if band != THERMAL] or list(series.bands)
    known = series.valid & np.isfinite(series.select(seen).pixels).all(axis=1)
    chosen = _most_central(series.select(seen).pixels, known)
    picked = np.take_along_axis(series.select(bands).pixels, chosen[None, None], axis=0)[0]
    return np.where(known.any(axis=0), picked, np.float32(np.nan))


def _most_central(spectra: Pixels, known: Mask) -> npt.NDArray[np.intp]:
    """Return, pixel by pixel, which known spectrum has the least sum of distances to the others."""
    dates, bands, *shape = spectra.shape
    flat, usable = spectra.reshape(dates, bands, -1), known.reshape(dates, -1)
    chosen = np.empty(usable.shape[1], np.intp)
    for start in range(0, len(chosen), BLOCK):
        block = slice(start, start + BLOCK)
        seen = usable[:, block]
        values = np.where(seen[:, None], flat[:, :, block], 0).astype(np.float64)
        far = [np.where(seen, _distances(values, one), 0).sum(axis=0) for one in values]
        chosen[block] = np.where(seen, far, np.inf).argmin(axis=0)
    return chosen.reshape(shape)


def _distances(values: Values, one: Values) -> Values:
    """Return the Euclidean distance of every spectrum ``(time, band, pixel)`` to one of them."""
    apart = values - one
    return cast("Values", np.sqrt(np.einsum("tbp,tbp->tp", apart, apart)))

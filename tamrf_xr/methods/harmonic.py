"""Harmonic regression: a constant, a trend and harmonics of the year, pixel by pixel.

How many harmonics a pixel gets follows from its valid days: as many as leave ``days_each`` days
for each coefficient, ``harmonics`` at most; a pixel with too few for a constant and a trend gets
the mean of its valid acquisitions, and NaN if there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from tamrf_xr.fuser import Cost, Days, FuserSpec, Mask, Pixels, Series
from tamrf_xr.methods.pixelwise import (
    PixelwiseFuser,
    Values,
    check_number,
    check_whole,
    in_blocks,
    recipe,
)
from tamrf_xr.methods.registry import Bands, Request
from tamrf_xr.sensors import SENSORS

OPTIONS = {"harmonics": 3, "ridge": 0.0, "days_each": 3.0}
"""``harmonics``: of the year, at most, 0 for a constant and a trend. ``ridge``: penalty on the
squares of all coefficients but the constant, the trend's by year: counts as so many acquisitions
would. ``days_each``: valid days for each coefficient, at least 1."""

YEAR = 365.2425
"""Days."""

NEGLIGIBLE = 1e-10
"""Directions of coefficients that the days tell less of, relative to the best, are left at 0."""


def plan(request: Request) -> FuserSpec:
    """Return the recipe: every band the cube has."""
    return recipe(
        request,
        method="harmonic",
        factory="tamrf_xr.methods.harmonic:Harmonic",
        options={
            "harmonics": check_whole("harmonic", request, "harmonics"),
            "ridge": check_number("harmonic", request, "ridge"),
            "days_each": check_number("harmonic", request, "days_each", low=1),
        },
        cost=Cost(
            # Pixels read and masks; a block of pixels has its own, whatever the tile.
            fixed=1e8,
            per_date={
                name: (4 * len(bands) + 4) / SENSORS[name].ratio ** 2
                for name, bands in request.given.items()
            },
            per_query=8 * sum(len(bands) for bands in request.given.values()),
        ),
    )


class Harmonic(PixelwiseFuser):
    """Least squares over valid dates, in float64.

    References
    ----------
    Zhu & Woodcock, "Continuous change detection and classification of land cover using all
    available Landsat data", Remote Sensing of Environment 2014, 144, 152-171,
    10.1016/j.rse.2014.01.011 (the model). Zhu et al., "Generating synthetic Landsat images based on
    all available Landsat data", Remote Sensing of Environment 2015, 162, 67-83,
    10.1016/j.rse.2015.02.009 (up to three harmonics, by the number of observations).
    """

    def __init__(self, makes: Bands, *, harmonics: int, ridge: float, days_each: float) -> None:
        """Take the bands to make, and the options."""
        super().__init__(makes)
        self._harmonics, self._ridge, self._days_each = harmonics, ridge, days_each

    def answer(
        self, series: Series, days: Days, query_days: Days, *, bands: Sequence[str]
    ) -> Pixels:
        """Fit and evaluate block by block."""
        work = partial(self._work, days=days, query_days=query_days)
        return in_blocks(series, bands, len(query_days), work)

    def _work(self, values: Values, usable: Mask, *, days: Days, query_days: Days) -> Values:
        middle = (days[0] + days[-1]) / 2
        given, asked = (design(at - middle, self._harmonics) for at in (days, query_days))
        order = self._coefficients(usable, days)
        made = np.full((len(query_days), *values.shape[1:]), np.nan)
        for columns in np.unique(order[order > 0]):
            here = order == columns
            found = regress(
                given[:, :columns], values[..., here], usable[:, here], ridge=self._ridge
            )
            made[..., here] = np.einsum("qc,pcb->qbp", asked[:, :columns], found)
        return made

    def _coefficients(self, usable: Mask, days: Days) -> npt.NDArray[np.int64]:
        """Return how many coefficients each pixel gets."""
        _, starts = np.unique(days, return_index=True)
        count = np.add.reduceat(usable, starts, axis=0, dtype=int).astype(bool).sum(axis=0)
        affordable = (count / self._days_each).astype(int) // 2 * 2
        most = 2 + 2 * self._harmonics
        taken: npt.NDArray[np.int64]
        taken = np.where(affordable >= 2, np.minimum(affordable, most), np.minimum(count, 1))
        return taken


def design(days: Days, harmonics: int) -> Values:
    """Return the columns of the model ``(day, coefficient)``: constant, trend, cosines and sines.

    Examples
    --------
    >>> design(np.array([0.0, YEAR / 4]), 1).round(2).tolist()
    [[1.0, 0.0, 1.0, 0.0], [1.0, 0.25, 0.0, 1.0]]
    """
    years = np.asarray(days) / YEAR
    columns = [np.ones_like(years), years]
    for order in range(1, harmonics + 1):
        columns += [np.cos(2 * np.pi * order * years), np.sin(2 * np.pi * order * years)]
    return np.stack(columns, axis=-1)


def regress(columns: Values, values: Values, usable: Mask, *, ridge: float) -> Values:
    """Solve the normal equations of every pixel.

    Parameters
    ----------
    columns
        ``(time, coefficient)``, of ones first.
    values
        ``(time, band, pixel)``, 0 where not usable.
    usable
        ``(time, pixel)``.
    ridge
        Penalty on the squares of all coefficients but the first.

    Returns
    -------
    numpy.ndarray
        ``(pixel, coefficient, band)``; of least norm where the days do not tell.
    """
    size = columns.shape[1]
    products = (columns[:, :, None] * columns[:, None, :]).reshape(len(columns), -1)
    normal = (usable.T.astype(np.float64) @ products).reshape(-1, size, size)
    normal += ridge * np.diag(np.arange(size) > 0)
    right = np.tensordot(values, columns, axes=(0, 0)).transpose(1, 2, 0)
    inverse = np.linalg.pinv(normal, rcond=NEGLIGIBLE, hermitian=True)
    return np.asarray(inverse @ right)

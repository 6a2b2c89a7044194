"""The Whittaker-Henderson smoother, pixel by pixel and band by band, on the days observed.

It minimises  sum w (y - f)^2 + lambda sum (f[d+1] - 2 f[d] + f[d-1])^2  over a grid of days, where
the weight w is the number of valid acquisitions of a day: 0 on most days, those asked included.

Plan. Between two observed days nothing but the penalty acts, so that f is a cubic there and its
second difference g is linear: g at the observed days is all there is to find, and neither the days
between nor those asked need be in the system. With h the days from one observed day to the next,
1. Q'f = R g ties g to the divided differences of f. R has (2 h^2 + 1) / 6h of both gaps on its
   diagonal and (h^2 - 1) / 6h beside it: sums over whole days, where the smoothing spline, which
   is the limit of fine grids, has the integrals h / 3 and h / 6.
2. (R + lambda Q' W^-1 Q) g = Q'y is symmetric, positive definite and pentadiagonal; Cholesky
   factors (L D L') are computed for all pixels at once. Nothing is lost to rounding for a large
   lambda, as it would be in the system of all days.
3. f = y - lambda W^-1 Q g, and the cubic gives f at the days asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tamrf_xr.fuser import Cost, Days, FuserSpec, Mask, Pixels, Series
from tamrf_xr.methods.pixelwise import PixelwiseFuser, Values, check_number, in_blocks, recipe
from tamrf_xr.methods.registry import Bands, Request
from tamrf_xr.sensors import SENSORS

OPTIONS = {"lambda": 1e4}
"""``lambda``: how much a squared second difference of days counts, at least 0, which interpolates.
A series every 16 days is smoothed alike by a sixteenth to the third of it: the default is 2.4."""

FEWEST = 3
"""Knots with which the system has an unknown."""


def plan(request: Request) -> FuserSpec:
    """Return the recipe: every band the cube has."""
    return recipe(
        request,
        method="whittaker",
        factory="tamrf_xr.methods.whittaker:build",
        options={"lambda": check_number("whittaker", request, "lambda")},
        cost=Cost(
            # Pixels read and masks; a block of pixels has its own, whatever the tile.
            fixed=2e8,
            per_date={
                name: (4 * len(bands) + 4) / SENSORS[name].ratio ** 2
                for name, bands in request.given.items()
            },
            per_query=8 * sum(len(bands) for bands in request.given.values()),
        ),
    )


def build(makes: Bands, **options: Any) -> Whittaker:
    """Build the fuser: the name of its option is a word of Python."""
    return Whittaker(makes, penalty=options["lambda"])


class Whittaker(PixelwiseFuser):
    """The straight line beyond a pixel's first and last valid days; constant from one; else NaN.

    References
    ----------
    Eilers, "A perfect smoother", Analytical Chemistry 2003, 75(14), 3631-3636,
    10.1021/ac034173t. Green & Silverman, "Nonparametric Regression and Generalized Linear
    Models", 1994, section 2.3 (the system of second derivatives, after Reinsch 1967).
    """

    def __init__(self, makes: Bands, *, penalty: float) -> None:
        """Take the bands to make, and lambda."""
        super().__init__(makes)
        self._penalty = penalty

    def answer(
        self, series: Series, days: Days, query_days: Days, *, bands: Sequence[str]
    ) -> Pixels:
        """Smooth block by block."""
        work = partial(smooth, days=days, query_days=query_days, penalty=self._penalty)
        return in_blocks(series, bands, len(query_days), work)


def smooth(values: Values, usable: Mask, *, days: Days, query_days: Days, penalty: float) -> Values:
    """Smooth series and evaluate them.

    Parameters
    ----------
    values
        ``(time, band, pixel)``, 0 where not usable.
    usable
        ``(time, pixel)``.
    days
        ``(time,)``, increasing; several acquisitions may share one.
    query_days
        ``(query,)``, any.
    penalty
        Lambda.

    Returns
    -------
    numpy.ndarray
        ``(query, band, pixel)``; NaN where nothing is usable.
    """
    knots = gather(values, usable, days)
    curve = fit(knots, penalty)
    return np.stack([evaluate(curve, day) for day in query_days])


@dataclass(frozen=True, slots=True)
class Knots:
    """Observed days of each pixel, moved to the front; made-up days without weight follow."""

    days: Values
    """``(knot, pixel)``, increasing."""

    values: Values
    """``(knot, band, pixel)``: means of a day."""

    weights: Values
    """``(knot, pixel)``: acquisitions of a day; 1 for those made up."""

    count: npt.NDArray[np.intp]
    """``(pixel,)``: observed days."""


def gather(values: Values, usable: Mask, days: Days) -> Knots:
    """Merge what is of one day, and move the observed days of each pixel to the front."""
    unique, starts = np.unique(days, return_index=True)
    weights = np.add.reduceat(usable, starts, axis=0, dtype=np.float64)
    sums = np.add.reduceat(values, starts, axis=0)
    count = np.count_nonzero(weights, axis=0)
    size = max(int(count.max(initial=0)), FEWEST)
    missing = max(size - len(unique), 0)
    weights, sums = (
        np.pad(part, [(0, missing)] + [(0, 0)] * (part.ndim - 1)) for part in (weights, sums)
    )
    order = np.argsort(weights == 0, axis=0, kind="stable")[:size]
    rank = np.arange(size)[:, None]
    seen = rank < count
    when = np.pad(unique, (0, missing))[order]
    last = np.where(seen, when, -np.inf).max(axis=0, initial=days[0])
    weight = np.where(seen, np.take_along_axis(weights, order, axis=0), 1.0)
    mean = np.take_along_axis(sums, order[:, None], axis=0) / weight[:, None]
    return Knots(np.where(seen, when, last + 1 + rank), mean, weight, count)


@dataclass(frozen=True, slots=True)
class Curve:
    """A smooth series of each pixel and band, by what it is at its knots."""

    knots: Knots
    """Where."""

    values: Values
    """``(knot, band, pixel)``."""

    bends: Values
    """Likewise its second differences: 0 at the first and last knot, and beyond."""


def fit(knots: Knots, penalty: float) -> Curve:
    """Find the curve of least squares and second differences."""
    gaps = np.diff(knots.days, axis=0)
    divided = np.stack([1 / gaps[:-1], -1 / gaps[:-1] - 1 / gaps[1:], 1 / gaps[1:]])
    values = knots.values
    right = sum(
        divided[place][:, None] * values[place : len(values) - 2 + place] for place in range(3)
    )
    # A knot that has no observed one after it has no second difference to find.
    found = np.arange(len(gaps) - 1)[:, None] < knots.count - 2
    diagonals = _system(gaps, divided, 1 / knots.weights, penalty)
    _isolate(diagonals, found)
    bends = np.zeros_like(values)
    bends[1:-1] = solve_pentadiagonal(diagonals, np.where(found[:, None], right, 0.0))
    pulled = np.zeros_like(values)
    for place in range(3):
        pulled[place : len(values) - 2 + place] += divided[place][:, None] * bends[1:-1]
    return Curve(knots, values - penalty / knots.weights[:, None] * pulled, bends)


def _system(gaps: Values, divided: Values, variance: Values, penalty: float) -> list[Values]:
    """Return the main diagonal of R + lambda Q' W^-1 Q, and the two beside it, full length."""
    before, at, after = divided
    own = (2 * gaps**2 + 1) / (6 * gaps)
    shared = (gaps**2 - 1) / (6 * gaps)
    main = (
        own[:-1]
        + own[1:]
        + penalty * (before**2 * variance[:-2] + at**2 * variance[1:-1] + after**2 * variance[2:])
    )
    first, second = np.zeros_like(main), np.zeros_like(main)
    first[:-1] = shared[1:-1] + penalty * (
        at[:-1] * before[1:] * variance[1:-2] + after[:-1] * at[1:] * variance[2:-1]
    )
    second[:-2] = penalty * after[:-2] * before[2:] * variance[2:-2]
    return [main, first, second]


def _isolate(diagonals: list[Values], found: Mask) -> None:
    """Make the rows that are not to be found those of the identity, in place."""
    diagonals[0][~found] = 1.0
    for step, beside in enumerate(diagonals[1:], 1):
        beside[:-step][~found[step:]] = 0.0
        beside[-step:] = 0.0


def solve_pentadiagonal(diagonals: Sequence[Values], right: Values) -> Values:
    """Solve symmetric, positive definite systems of five diagonals, all pixels at once.

    Parameters
    ----------
    diagonals
        The main one, and those one and two beside it, ``(row, pixel)`` each: entry i of the
        latter is that of row i, column i + 1 or i + 2; what would lie outside is 0.
    right
        ``(row, band, pixel)``.

    Returns
    -------
    numpy.ndarray
        ``(row, band, pixel)``.
    """
    main, first, second = (part.copy() for part in diagonals)
    solved = right.copy()
    for row in range(len(main)):
        # Of L D L': main becomes D, the others the columns of L.
        if row >= 1:
            first[row] -= first[row - 1] * main[row - 1] * second[row - 1]
            main[row] -= first[row - 1] ** 2 * main[row - 1]
            solved[row] -= first[row - 1] * solved[row - 1]
        if row >= 2:
            main[row] -= second[row - 2] ** 2 * main[row - 2]
            solved[row] -= second[row - 2] * solved[row - 2]
        first[row] /= main[row]
        second[row] /= main[row]
    solved /= main[:, None]
    for row in reversed(range(len(main) - 1)):
        solved[row] -= first[row] * solved[row + 1]
        if row + 2 < len(main):
            solved[row] -= second[row] * solved[row + 2]
    return solved


def evaluate(curve: Curve, day: float) -> Values:
    """Evaluate curves at a day ``(band, pixel)``: a cubic between knots, a line beyond them."""
    knots = curve.knots
    seen = np.arange(len(knots.days))[:, None] < knots.count
    before = np.count_nonzero(seen & (knots.days <= day), axis=0)
    left = np.clip(before - 1, 0, np.maximum(knots.count - 2, 0))
    start, stop = (np.take_along_axis(knots.days, (left + i)[None], axis=0)[0] for i in (0, 1))
    low, high, bend_low, bend_high = (
        np.take_along_axis(part, (left + i)[None, None], axis=0)[0]
        for part in (curve.values, curve.bends)
        for i in (0, 1)
    )
    gap, past = stop - start, np.where(knots.count > 1, day - start, 0.0)
    straight = low + past / gap * (high - low)
    made = straight - _sag(gap - past, gap) * bend_low - _sag(past, gap) * bend_high
    return np.where(knots.count > 0, made, np.nan)


def _sag(past: Values, gap: Values) -> Values:
    """Return how far a second difference of 1 at the far knot pulls the curve off its chord.

    Beyond the knots the curve goes on as it does over the day at the end.
    """
    inside = np.clip(past, 0.0, gap)
    cubic = inside * (gap - inside) * (gap + inside) / (6 * gap)
    before = past * (gap - 1) * (gap + 1) / (6 * gap)
    beyond = -(past - gap) * (gap - 1) * (2 * gap - 1) / (6 * gap)
    return np.where(past < 0, before, np.where(past > gap, beyond, cubic))

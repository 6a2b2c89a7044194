"""STAIR: the coarse image of the day, plus fine-minus-coarse differences interpolated in time.

The method is covered by a patent, US 11,715,181: see that you may use it. Nothing else in the
package depends on this file.

Plan, per query date, for the six bands that both sensors have:
1. The fine acquisition of that day, if any, is left out: what is asked is never given.
2. At every conjunction left (a day on which both sensors observed), difference = fine, gaps
   filled, minus coarse upsampled (bicubic).
3. The differences are interpolated linearly in time, pixel by pixel; nearest beyond the ends.
4. They are added to the upsampled coarse image of the day.

A pixel that is cloudy in the coarse image of the day, or a day without a coarse acquisition, takes
the coarse series interpolated in time; a difference is taken only where the coarse image is valid;
what cannot be made is NaN. (The evaluation published with TAMRF-SITS threw the coarse masks away,
so that clouds went into the differences, and turned NaN into 0. With masks that are all valid ours
gives its values.)

Two variants. ``"evaluated"`` is otherwise what that evaluation computed: coarse images upsampled
as they are, fine gaps filled linearly in time. ``"paper"`` adds what the method's own paper does:
coarse gaps are filled before upsampling, so that no cloud leaks into its neighbours, and fine gaps
are filled from spectrally similar pixels nearby. It takes about five times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from tamrf_xr.errors import MethodError
from tamrf_xr.fuser import Cost, Crop, Days, EpisodeFuser, FuserSpec, Mask, Pixels, Series, places
from tamrf_xr.methods.daily import on_day
from tamrf_xr.methods.linear import interpolate
from tamrf_xr.methods.pairing import (
    COARSE,
    COMMON,
    FINE,
    RATIO,
    check_variant,
    common_bands,
    on_fine,
)
from tamrf_xr.methods.pixelwise import CUBIC_REACH
from tamrf_xr.methods.registry import Bands, Request
from tamrf_xr.psf import upsample

OPTIONS = {"variant": "evaluated"}
"""``variant``: ``"evaluated"`` or ``"paper"``."""

VARIANTS = ("evaluated", "paper")
NEIGHBOURS, STEP = 15, 5
"""Similar pixels are sought as far as this, every so many pixels down and across."""

SIMILAR = 0.02
"""Distance of two spectra (root mean square over bands) at which similarity fades."""


def plan(request: Request) -> FuserSpec:
    """Return the recipe: Sentinel-2's bands that Landsat has too."""
    variant = check_variant("stair", request, VARIANTS)
    pairs = common_bands("stair", request)
    if request.days is not None:
        _check_conjunctions(*(np.asarray(request.days[name], float) for name in (FINE, COARSE)))
    makes = request.wanted({FINE: tuple(pairs)})
    # Which pixels are similar must not depend on the bands that are asked.
    worked = tuple(pairs) if variant == "paper" else makes[FINE]
    return FuserSpec(
        method="stair",
        factory="tamrf_xr.methods.stair:Stair",
        makes=tuple(makes.items()),
        halo=((FINE, NEIGHBOURS if variant == "paper" else 0), (COARSE, CUBIC_REACH)),
        options=(("worked", worked), ("variant", variant)),
        cost=Cost(
            # Pixels read, the six bands filled, and differences at one date in three.
            per_date={
                FINE: 4.0 * (len(request.given[FINE]) + 3 * len(worked)),
                COARSE: 1.5 * len(request.given[COARSE]) + 8.0 * len(worked),
            },
            per_query=12.0 * len(worked),
        ),
        provenance=(("variant", variant), ("patent", "US 11,715,181")),
    )


def _check_conjunctions(fine: Days, coarse: Days) -> None:
    if not np.isin(fine, coarse).any():
        raise MethodError(
            "method 'stair' needs conjunctions, days on which both sensors observed, and there is "
            f"none among {len(fine)} days of /{FINE} and {len(coarse)} of /{COARSE}; give more "
            "acquisitions or a longer window, or use method='linear'"
        )


@dataclass(frozen=True, slots=True)
class _Stack:
    """Images of one sensor with their days."""

    series: Series
    """The bands at work, and no other."""

    days: Days
    """``(time,)``."""

    def at(self, asked: Days) -> Pixels:
        """Return the images at `asked`, gaps filled linearly in time."""
        return interpolate(self.series, self.days, asked)

    def without(self, day: float) -> _Stack:
        """Return the stack less the image of a day."""
        keep = np.flatnonzero(self.days != day)
        return _Stack(self.series.at(keep.tolist()), self.days[keep])


class Stair(EpisodeFuser):
    """Coarse image plus interpolated differences.

    References
    ----------
    Luo, Guan & Peng, "STAIR: A generic and fully-automated method to fuse multiple sources of
    optical satellite data to generate a high-resolution, daily and cloud-/gap-free surface
    reflectance product", RSE 2018, 10.1016/j.rse.2018.04.042.
    """

    def __init__(self, makes: Bands, *, worked: tuple[str, ...], variant: str) -> None:
        """Take the bands to make, those to work with, and the variant."""
        self._makes, self._worked = makes, worked
        self._paper = variant == "paper"

    def predict(
        self, series: Mapping[str, Series], days: Mapping[str, Days], query_days: Days, crop: Crop
    ) -> dict[str, Pixels]:
        """Answer query by query; queries that leave nothing out share their differences."""
        _check_conjunctions(days[FINE], days[COARSE])
        core = crop.within(COARSE)
        paired = [COMMON[band] for band in self._worked]
        coarse = _Stack(series[COARSE].select(paired), days[COARSE])
        fine = _Stack(series[FINE].select(self._worked), days[FINE])
        out = self._coarse_at(coarse, query_days)[..., core[0], core[1]].copy()
        for given, asked in _left_out(fine, query_days):
            out[asked] += self._difference(given, coarse, crop).at(query_days[asked])
        return {name: out[:, places(self._worked, bands)] for name, bands in self._makes.items()}

    def _coarse_at(self, coarse: _Stack, asked: Days) -> Pixels:
        """Return the upsampled coarse images of the days asked."""
        images: Pixels = upsample(coarse.at(asked), RATIO)
        if self._paper:
            return images
        for position, day in enumerate(asked):
            if (index := on_day(coarse.days, day)) is not None:
                raw = upsample(coarse.series.pixels[index], RATIO)
                seen = on_fine(coarse.series.valid[index]) & np.isfinite(raw)
                images[position] = np.where(seen, raw, images[position])
        return images

    def _difference(self, fine: _Stack, coarse: _Stack, crop: Crop) -> _Stack:
        """Return fine minus coarse at the conjunctions, over the core."""
        shared = np.intersect1d(fine.days, coarse.days)
        index = np.flatnonzero(np.isin(coarse.days, shared))
        rows, cols = crop.within(COARSE)
        if self._paper:
            high, low = _fill_similar(fine, shared), upsample(coarse.at(shared), RATIO)
        else:
            high, low = fine.at(shared), upsample(coarse.series.pixels[index], RATIO)
        change = np.asarray(high[(..., *crop.within(FINE))] - low[..., rows, cols], np.float32)
        clear = on_fine(coarse.series.valid[index])[:, rows, cols]
        return _Stack(Series(change, clear, self._worked), shared)


def _left_out(fine: _Stack, query_days: Days) -> Iterator[tuple[_Stack, Mask]]:
    """Pair what may be used with the queries that may use it."""
    observed = np.isin(query_days, fine.days)
    if not observed.all():
        yield fine, ~observed
    for day in np.unique(query_days[observed]):
        yield fine.without(float(day)), query_days == day


def _fill_similar(fine: _Stack, asked: Days) -> Pixels:
    """Fill gaps linearly in time, then correct them by what similar pixels did.

    A gap is off by what linear interpolation misses of that date. Pixels nearby that look alike
    when interpolated miss alike: where they were seen, their error is known, and taken off.
    """
    filled = fine.at(asked)
    for position, day in enumerate(asked):
        image = fine.series.scene(int(np.flatnonzero(fine.days == day)[0]))
        seen = image.known
        if not seen.all():
            expected = fine.without(day).at(np.array([day]))[0]
            missed = np.where(seen, image.pixels - expected, np.nan)
            filled[position][:, ~seen] += _of_similar(missed, expected, ~seen)
    return filled


def _of_similar(missed: Pixels, spectra: Pixels, gaps: Mask) -> Pixels:
    """Average what similar pixels missed.

    `missed` (band, y, x) is NaN where it is not known; `gaps` (y, x) tells where it is wanted.
    Gives (band, gap): 0 where no pixel nearby is known.
    """
    reach = range(-NEIGHBOURS, NEIGHBOURS + 1, STEP)
    pad = ((0, 0), (NEIGHBOURS, NEIGHBOURS), (NEIGHBOURS, NEIGHBOURS))
    errors, looks = (
        np.pad(a, pad, constant_values=np.nan).reshape(len(a), -1) for a in (missed, spectra)
    )
    width = gaps.shape[1] + 2 * NEIGHBOURS
    rows, cols = np.nonzero(gaps)
    centres = (rows + NEIGHBOURS) * width + cols + NEIGHBOURS
    total = np.zeros((len(missed), len(centres)), np.float32)
    weights = np.zeros(len(centres), np.float32)
    for dy, dx in product(reach, reach):
        error = errors[:, centres + dy * width + dx]
        weight = _similarity(looks[:, centres + dy * width + dx] - looks[:, centres], error)
        total += weight * np.nan_to_num(error)
        weights += weight
    return np.where(weights > 0, total / np.maximum(weights, np.float32(1e-12)), np.float32(0))


def _similarity(difference: Pixels, error: Pixels) -> Pixels:
    distance = np.mean(np.square(difference), axis=0) / np.float32(SIMILAR**2)
    known = np.isfinite(distance) & np.isfinite(error).all(axis=0)
    return np.where(known, np.exp(-np.nan_to_num(distance) / 2), np.float32(0))

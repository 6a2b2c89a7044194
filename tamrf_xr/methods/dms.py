"""Data Mining Sharpener: surface temperature at 10 m, from what reflectance tells of it.

Plan, per query date that is a Landsat date (on others there is no temperature to sharpen: NaN):
1. Predictors: B02 B03 B04 B08, each pixel from its clear Sentinel-2 image closest to the date.
2. Temperature and predictors are averaged to 90 m, about what the thermal instrument resolves.
   Pixels whose predictors vary little inside weigh more.
3. Bagged regression trees with a ridge regression per leaf learn temperature at 90 m: one
   ensemble for the tile, and one per window of 15 coarse pixels, taught by a window 25 % larger.
4. Both predict at 10 m, and are averaged by the inverse squares of their errors at 90 m.
5. What the average of the prediction over a coarse pixel misses of the temperature observed is
   brought to 10 m bilinearly and added. Radiance goes as T^4, so temperatures are averaged so.

A tile boundary shows. Windows and the ensemble of the tile depend on what the tile reads: its core
and half a window round it. So a scene cut into other tiles gives other values: by 0.2 to 0.3 K
(root mean square) on simulated scenes, and a few kelvin at the worst pixel. Only a scene that fits
in one tile is free of it. Pass a large `tile` where that matters. Any one tiling gives the same
values every time, from the seed.

Needs scikit-learn: ``pip install 'tamrf-xr[evaluation]'``.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.errors import MethodError, OptionError
from tamrf_xr.fuser import Cost, Days, FuserSpec, Mask, Pixels, Scene, Series
from tamrf_xr.methods.daily import DailyFuser, Seen
from tamrf_xr.methods.leaves import Ensemble, Growth, grow
from tamrf_xr.methods.pairing import (
    COARSE,
    FINE,
    RATIO,
    bilinear_known,
    check_needs,
    on_fine,
    over_coarse,
)
from tamrf_xr.methods.registry import Bands, Request
from tamrf_xr.sensors import THERMAL

OPTIONS = {"seed": 0, "trees": 10, "resolution": 90}
"""``seed`` of the bootstrap samples; ``trees`` in each ensemble; ``resolution`` in metres, a
multiple of 30, to which temperature is averaged before it is sharpened."""

PREDICTORS = ("B02", "B03", "B04", "B08")
WINDOW, LARGER = 15, 2
"""Coarse pixels across a local model, and round it where it learns: 25 % more in all."""

HOMOGENEOUS = 80
"""Percentile of the variation inside a coarse pixel under which it counts in full."""

LEAST_VARIATION = 0.01
"""Variation below which pixels are as good as each other: the noise of a sensor."""

GLOBAL_LEAVES, LOCAL_LEAVES = 30, 10

Floats = NDArray[np.float64]


def plan(request: Request) -> FuserSpec:
    """Return the recipe: Landsat's LST, from four bands of Sentinel-2."""
    check_needs("dms", request, {FINE: PREDICTORS, COARSE: (THERMAL,)})
    _check_installed()
    factor = _factor(request.options["resolution"])
    for name, least in (("seed", 0), ("trees", 1)):
        _check_whole(name, request.options[name], least)
    halo = (WINDOW // 2 + LARGER + 1) * factor
    return FuserSpec(
        method="dms",
        factory="tamrf_xr.methods.dms:Sharpener",
        makes=tuple(request.wanted({COARSE: (THERMAL,)}).items()),
        # Two pixels more, so that Sentinel-2 covers the Landsat pixels read whatever the tile.
        halo=((FINE, halo * RATIO + RATIO - 1), (COARSE, halo)),
        options=(
            ("factor", factor),
            ("seed", request.options["seed"]),
            ("trees", request.options["trees"]),
        ),
        cost=Cost(
            # Predictors, both predictions, and the trees at work in double precision.
            fixed=1.5e8,
            per_date={
                FINE: 4.0 * len(request.given[FINE]) + 2,
                COARSE: 0.5 * len(request.given[COARSE]),
            },
            per_query=8.0,
        ),
        provenance=(("seed", str(request.options["seed"])),),
    )


def _check_installed() -> None:
    if importlib.util.find_spec("sklearn") is None:
        raise MethodError(
            "method 'dms' needs scikit-learn, which is not installed: "
            "pip install 'tamrf-xr[evaluation]', or pip install scikit-learn"
        )


def _factor(resolution: Any) -> int:
    step = RATIO * 10
    _check_whole("resolution", resolution, step)
    if resolution % step:
        raise OptionError(f"resolution is {resolution} m: expected a multiple of {step}")
    return int(resolution // step)


def _check_whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise OptionError(f"{name} is {value!r}: expected a whole number, at least {least}")


class Sharpener(DailyFuser):
    """Temperature sharpened by regression on reflectance.

    References
    ----------
    Gao, Kustas & Anderson, "A Data Mining Approach for Sharpening Thermal Satellite Imagery over
    Land", Remote Sensing 2012, 4(11), 3287, 10.3390/rs4113287.
    """

    def __init__(self, makes: Bands, *, factor: int, seed: int, trees: int) -> None:
        """Take the options."""
        super().__init__(makes)
        self._sharpen = Sharpening(factor, trees, seed)

    def given(self, seen: Seen) -> Seen:
        """Take the predictors, of every acquisition, over what Landsat covers."""
        fine = over_coarse({**seen.series, FINE: seen.series[FINE].select(PREDICTORS)}, seen.crop)
        return replace(seen, series={**seen.series, FINE: fine})

    def answer(self, seen: Seen, day: float) -> Scene | None:
        """Sharpen the temperature of the day."""
        landsat = seen.on(COARSE, day)
        if landsat is None:
            return None
        warm = landsat.select([THERMAL])
        coarse = np.where(warm.known, warm.pixels[0], np.nan)
        predictors = closest(seen.series[FINE], seen.days[FINE], day)
        sharp = sharpen(coarse, predictors, self._sharpen)
        return seen.core(COARSE, Scene(sharp[None], on_fine(warm.known), warm.bands))


def closest(fine: Series, days: Days, day: float) -> Pixels:
    """Take every pixel from its valid image closest in time, the earlier of two.

    Returns
    -------
    numpy.ndarray
        ``(band, y, x)``; NaN where a pixel was never valid.
    """
    out: Pixels = np.full(fine.pixels.shape[1:], np.nan, np.float32)
    for index in reversed(np.argsort(np.abs(days - day), kind="stable")):
        scene = fine.scene(int(index))
        out = np.where(scene.known, scene.pixels, out)
    return out


@dataclass(frozen=True, slots=True)
class Sharpening:
    """How temperature is sharpened."""

    factor: int
    """Landsat pixels across a coarse one."""

    trees: int
    """Trees of each ensemble."""

    seed: int
    """Of the bootstrap samples."""

    @property
    def ratio(self) -> int:
        """Fine pixels across a coarse one."""
        return self.factor * RATIO


@dataclass(frozen=True, slots=True)
class _Scene:
    """One date, at both resolutions; whole coarse pixels."""

    observed: Floats
    """``(row, column)`` of coarse pixels: kelvin, NaN where unknown."""

    averages: Floats
    """``(row, column, predictor)``, NaN where unknown."""

    weight: Floats
    """``(row, column)``: how much a coarse pixel counts; 0 where something is unknown."""

    fine: Floats
    """``(y, x, predictor)``, NaN where unknown."""

    ratio: int
    """Fine pixels across a coarse one."""


def sharpen(coarse: Pixels, predictors: Pixels, how: Sharpening) -> Pixels:
    """Sharpen the temperature of one date.

    Parameters
    ----------
    coarse
        ``(y, x)`` on Landsat's grid, kelvin, NaN where unknown.
    predictors
        ``(band, y, x)`` on the fine grid over the same ground, NaN where unknown.
    how
        Resolution, trees and seed.

    Returns
    -------
    numpy.ndarray
        ``(y, x)`` on the fine grid, kelvin; NaN where temperature or predictors are unknown, or
        no coarse pixel around is known, and everywhere if fewer than 10 of them are.
    """
    rng = np.random.default_rng(how.seed)
    scene = _prepare(coarse, predictors, how)
    everywhere = _learn(scene, (slice(None), slice(None)), Growth(how.trees, GLOBAL_LEAVES), rng)
    out = np.full(scene.fine.shape[:2], np.nan)
    if everywhere is not None:
        overall = _apply(everywhere, scene.fine)
        combined = _combine(scene, overall, _local(scene, overall, how, rng))
        missed = scene.observed - _average(combined, scene.ratio)
        out = combined + bilinear_known(missed, scene.ratio)
    height, width = predictors.shape[1:]
    return np.where(on_fine(np.isfinite(coarse)), out[:height, :width], np.nan).astype(np.float32)


def _prepare(coarse: Pixels, predictors: Pixels, how: Sharpening) -> _Scene:
    """Average both to the coarse grid, and weigh its pixels."""
    temperature = _pad(coarse.astype(float), how.factor)
    fine = _pad(np.moveaxis(predictors, 0, -1).astype(float), how.ratio)
    averages, variation = _spread(fine, how.ratio)
    observed = _average(temperature, how.factor)
    usable = np.isfinite(observed) & np.isfinite(averages).all(axis=-1)
    return _Scene(observed, averages, _weigh(variation, usable), fine, how.ratio)


def _pad(image: Floats, factor: int) -> Floats:
    """Add rows and columns of NaN at the far ends, to whole blocks."""
    pad = [(0, -size % factor) for size in image.shape[:2]]
    return np.pad(image, [*pad, *[(0, 0)] * (image.ndim - 2)], constant_values=np.nan)


def _blocks(image: Floats, factor: int) -> Floats:
    """Return ``(row, column, pixel, ...)``: what lies in every block."""
    height, width, *rest = image.shape
    split = image.reshape(height // factor, factor, width // factor, factor, *rest)
    return np.moveaxis(split, 2, 1).reshape(height // factor, width // factor, factor**2, *rest)


def _block_means(blocks: Floats) -> Floats:
    """Average over pixels; NaN where under half of them are known."""
    known = np.isfinite(blocks)
    count = known.sum(axis=2)
    total = np.where(known, blocks, 0).sum(axis=2)
    return np.where(2 * count >= blocks.shape[2], total / np.maximum(count, 1), np.nan)


def _average(temperature: Floats, factor: int) -> Floats:
    return _block_means(_blocks(temperature, factor) ** 4) ** 0.25


def _spread(fine: Floats, ratio: int) -> tuple[Floats, Floats]:
    """Return the mean of predictors in every coarse pixel, and how much they vary in it."""
    blocks = _blocks(fine, ratio)
    means = _block_means(blocks)
    deviation = np.sqrt(np.maximum(_block_means(blocks**2) - means**2, 0))
    variation = deviation / np.maximum(np.abs(means), 1e-6)
    return means, variation.mean(axis=-1)


def _weigh(variation: Floats, usable: Mask) -> Floats:
    """Weigh by the inverse of variation, to 1 at most; half of it for pixels of mixed ground."""
    weight = np.zeros_like(variation)
    if usable.any():
        inside = np.maximum(variation[usable], LEAST_VARIATION)
        inverse = inside.min() / inside
        mixed = inside > np.percentile(inside, HOMOGENEOUS)
        weight[usable] = np.where(mixed, inverse / 2, inverse)
    return weight


def _learn(
    scene: _Scene, place: tuple[slice, slice], how: Growth, rng: np.random.Generator
) -> Ensemble | None:
    """Fit an ensemble to some coarse pixels."""
    weight = scene.weight[place]
    used = weight > 0
    return grow(
        scene.averages[place][used], scene.observed[place][used], weight[used], how=how, rng=rng
    )


def _apply(model: Ensemble, fine: Floats) -> Floats:
    """Predict where predictors are known."""
    known = np.isfinite(fine).all(axis=-1)
    out = np.full(known.shape, np.nan)
    if known.any():
        out[known] = model.predict(fine[known])
    return out


def _local(scene: _Scene, overall: Floats, how: Sharpening, rng: np.random.Generator) -> Floats:
    """Predict window by window; a window with too few samples keeps the overall prediction."""
    out = overall.copy()
    height, width = scene.observed.shape
    for top, left in product(range(0, height, WINDOW), range(0, width, WINDOW)):
        taught = tuple(slice(max(s - LARGER, 0), s + WINDOW + LARGER) for s in (top, left))
        model = _learn(scene, (taught[0], taught[1]), Growth(how.trees, LOCAL_LEAVES), rng)
        if model is not None:
            rows, cols = (slice(s * scene.ratio, (s + WINDOW) * scene.ratio) for s in (top, left))
            out[rows, cols] = _apply(model, scene.fine[rows, cols])
    return out


def _combine(scene: _Scene, overall: Floats, local: Floats) -> Floats:
    """Average two predictions by the inverse squares of their errors at coarse pixels."""
    squares = [np.square(scene.observed - _average(made, scene.ratio)) for made in (overall, local)]
    # 1 / b / (1 / a + 1 / b) = a / (a + b); equal where both are right.
    share = (squares[0] + 1e-6) / (squares[0] + squares[1] + 2e-6)
    weight = np.nan_to_num(bilinear_known(share, scene.ratio), nan=0.5)
    return (weight * local**4 + (1 - weight) * overall**4) ** 0.25

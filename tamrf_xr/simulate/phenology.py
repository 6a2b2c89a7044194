"""The seasons: how green, how dry and how mown each parcel is on any day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tamrf_xr.simulate.biomes import TEMPERATE, Biome, biome_of
from tamrf_xr.simulate.climate import YEAR
from tamrf_xr.simulate.fields import stream
from tamrf_xr.simulate.landcover import (
    ARABLE,
    BEFORE_SOWING,
    CATCH_CROP,
    COVERS,
    CROPS,
    SAME_AGAIN,
    Crop,
)
from tamrf_xr.simulate.landscape import Landscape
from tamrf_xr.simulate.layers import COVER_NAMES
from tamrf_xr.simulate.weather import LATITUDE, Weather

Values = NDArray[np.float64]

FLOODED_BEFORE = 22.0
"""Days that a paddy is under water before the seedlings green."""

AFTER_LAST_CUT = 1e6
"""Day of a cut that never comes."""


class Canopy(NamedTuple):
    """What covers the ground of each parcel on a day: fractions; the rest is bare."""

    green: Values
    """Green canopy, flowers included."""

    flower: Values
    """Part of the canopy in flower."""

    dry: Values
    """Ripe canopy, straw and mown grass."""

    flooded: Values
    """Part of the bare ground under water."""


@dataclass(frozen=True, slots=True)
class Season:
    """One crop on every parcel: a row of `Crop` each, days from 1 January of the scene's year."""

    emergence: Values
    growth: Values
    ripeness: Values
    harvest: Values
    early: Values
    peak: Values
    bloom: Values
    straw: Values
    wet: Values | None = None
    """Part of the ground under water while the crop is young; None: nowhere."""

    def green(self, day: float) -> Values:
        """Return the green fraction: a rise in two steps, a fall; zero after harvest."""
        rise = self.early * expit((day - self.emergence) / 6)
        rise += (self.peak - self.early) * expit((day - self.growth) / 9)
        standing = expit((self.ripeness - day) / 5.5) * expit((self.harvest - day) / 1.0)
        return np.asarray(rise * standing)

    def dry(self, day: float) -> Values:
        """Return the fraction under ripe canopy, then under straw that decays."""
        ripe = self.peak * expit((day - self.ripeness) / 5.5) * expit((self.harvest - day) / 1.0)
        since = np.maximum(day - self.harvest, 0)
        straw = self.straw * np.exp(-since / 40) * expit((day - self.harvest) / 1.0)
        return np.asarray(ripe + straw)

    def flower(self, day: float) -> Values:
        """Return the fraction in flower."""
        return np.asarray(0.45 * (self.bloom > 0) * np.exp(-(((day - self.bloom) / 9) ** 2)))

    def flooded(self, day: float) -> Values:
        """Return the fraction of the ground under water: from before planting until it ripens."""
        if self.wet is None:
            return np.zeros(self.peak.size)
        begun = expit((day - self.emergence + FLOODED_BEFORE) / 1.5)
        return np.asarray(self.wet * begun * expit((self.ripeness - 12 - day) / 3))


@dataclass(frozen=True, slots=True)
class Rainfed:
    """Plants whose green follows the rain, and what of the green of others dries standing."""

    where: NDArray[np.bool_]
    """Which parcels live of rain."""

    lag: Values
    """Days by which each lags."""

    greening: Values
    """Of the weather, by day."""

    hay: Values
    """Part of the green lost that stands dry."""

    def follow(self, day: float, season: Values) -> Values:
        """Return how far into its season each parcel is, 0..1: by rain where it lives of that."""
        then = np.clip(day - self.lag, 0, len(self.greening) - 1).astype(int)
        return np.where(self.where, self.greening[then], season)


@dataclass(frozen=True, slots=True)
class Phenology:
    """The growth of every parcel of a landscape."""

    arable: NDArray[np.bool_]
    """Which parcels are ploughed."""

    seasons: tuple[Season, ...]
    """Of the ploughed ones, whichever year they are harvested in; catch crops too."""

    curves: Values
    """Shape (years, 6, others): low, high, rise, fall, drought, length of the fall of the others.

    Days are of each year."""

    cuts: Values
    """Shape (cuts, others): days on which they are mown."""

    rain: Rainfed | None = None
    """How those of the others grow that live of rain."""

    def at(self, day: float) -> Canopy:
        """Return the canopy on a day (from 1 January, 0).

        Parameters
        ----------
        day
            Of the scene's year; fractions of days have meaning.

        Returns
        -------
        Canopy
            Fractions of each parcel.
        """
        out = Canopy(*(np.zeros(self.arable.size) for _ in range(4)))
        for season in self.seasons:
            out.green[self.arable] += season.green(day)
            out.dry[self.arable] += season.dry(day)
            out.flower[self.arable] += season.flower(day) * season.green(day)
            if season.wet is not None:
                out.flooded[self.arable] += season.flooded(day)
        out.green[~self.arable], out.dry[~self.arable] = self._perennial(day)
        np.clip(out.green, 0, 0.985, out=out.green)
        np.clip(out.dry, 0, 1 - out.green, out=out.dry)
        np.clip(out.flooded, 0, 1, out=out.flooded)
        return out

    def _perennial(self, day: float) -> tuple[Values, Values]:
        year = min(int(day / YEAR), len(self.curves) - 1)
        low, high, rise, fall, drought, slow = self.curves[year]
        today = day - year * YEAR
        season = expit((today - rise) / 9) * expit((fall - today) / slow)
        if self.rain is not None:
            season = self.rain.follow(day, season)
        parched = drought * np.exp(-(((today - 222) / 32) ** 2))
        green = low + (high - low) * season - parched
        since = day - self.cuts
        mown = np.where(since >= 0, 0.5 * np.exp(-np.maximum(since, 0) / 16), 0).max(axis=0)
        dry = 0.6 * parched + 0.5 * green * mown
        if self.rain is not None:
            dry = dry + self.rain.hay * (high - low) * (1 - season)
        return green * (1 - mown), dry


def draw_phenology(
    seed: int,
    land: Landscape,
    *,
    years: int = 1,
    latitude: float = LATITUDE,
    biome: Biome | None = None,
    weather: Weather | None = None,
) -> Phenology:
    """Draw the growth of every parcel: its crops, its dates, its vigour.

    Parameters
    ----------
    seed
        Of the scene.
    land
        The parcels.
    years
        Length of the series.
    latitude
        Degrees north: springs are later there.
    biome
        Its crops; by default temperate fields.
    weather
        The rain, where plants live of it; needed where a cover of the land does.

    Returns
    -------
    Phenology
        Their growth.
    """
    biome = biome or biome_of(TEMPERATE)
    rng = stream(seed, "phenology")
    arable = land.covers == COVER_NAMES.index(ARABLE)
    # Springs come some 2.5 days later a degree further north, and 5 days about that by the year.
    late = 2.5 * (latitude - biome.climate.home) + rng.normal(0, 5, years + 2)
    seasons: list[Season] = []
    for crops in biome.rotations:
        harvests = _draw_rotation(rng, crops, int(arable.sum()), late)
        seasons += harvests
        if biome.catch_odds:
            seasons += [_draw_catch(rng, *pair, biome.catch_odds) for pair in pairwise(harvests)]
    curves = _draw_curves(rng, land, ~arable, late[1:-1])
    cuts = _draw_cuts(rng, land.covers[~arable], late[1:-1])
    rain = None if weather is None else _rainfed(seed, land, ~arable, weather)
    return Phenology(arable, tuple(seasons), curves, cuts, rain)


def _rainfed(
    seed: int, land: Landscape, others: NDArray[np.bool_], weather: Weather
) -> Rainfed | None:
    where, hay = land.of("rainfed")[others], land.of("hay")[others]
    if not (where.any() or hay.any()):
        return None
    lag = stream(seed, "rainfed").uniform(0, 14, where.size)
    return Rainfed(where, lag, weather.greening, hay)


def _draw_rotation(
    rng: np.random.Generator, crops: Sequence[Crop], count: int, late: Values
) -> list[Season]:
    """Draw the crops of all years, from the one before the first to the one after the last."""
    weights = np.array([crop.weight for crop in crops]) * rng.lognormal(0, 0.6, len(crops))
    odds = _followers(weights, crops)
    crop = rng.choice(len(crops), size=count, p=weights / weights.sum())
    seasons = []
    for year, shift in enumerate(late, start=-1):
        seasons.append(_vary(rng, [crops[i] for i in crop], year * YEAR + shift))
        crop = (odds[crop].cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return seasons


def _followers(weights: Values, crops: Sequence[Crop] = CROPS) -> Values:
    """Return the odds of each crop (columns) after each (rows); rows sum to 1."""
    emergence = np.array([crop.emergence for crop in crops])
    harvest = np.array([crop.harvest for crop in crops])
    in_time = emergence + YEAR - harvest[:, None] > BEFORE_SOWING
    odds = weights * in_time
    again = np.array([SAME_AGAIN.get(crop.name, 0.05) for crop in crops])
    np.fill_diagonal(odds, np.diag(odds) * again)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _vary(rng: np.random.Generator, crops: list[Crop], shift: float) -> Season:
    count = len(crops)

    def of(name: str) -> Values:
        return np.array([getattr(crop, name) for crop in crops], float)

    bloom, early = of("bloom"), of("early") * rng.uniform(0.5, 1.6, count)
    ripeness = of("ripeness") + shift + rng.normal(0, 5, count)
    lag = of("harvest") - of("ripeness") + np.abs(rng.normal(0, 6, count))
    return Season(
        emergence=of("emergence") + shift + rng.normal(0, 8, count),
        growth=of("growth") + shift + rng.normal(0, 7, count),
        ripeness=ripeness,
        harvest=ripeness + lag,
        early=early,
        peak=np.clip(of("peak") * rng.uniform(0.84, 1.06, count), early, 0.985),
        bloom=np.where(bloom > 0, bloom + shift + rng.normal(0, 3, count), 0),
        straw=np.clip(of("straw") * rng.uniform(0.4, 1.4, count), 0, 0.85),
        wet=of("flooded") if any(crop.flooded for crop in crops) else None,
    )


def _draw_catch(rng: np.random.Generator, before: Season, after: Season, odds: float) -> Season:
    """Draw what is sown between a harvest and the next crop: on some parcels, if there is time."""
    count = len(before.harvest)
    season = _vary(rng, [CATCH_CROP] * count, 0.0)
    gone = np.minimum(before.harvest + season.harvest, after.emergence - 5)
    sown = (rng.random(count) < odds) & (gone - before.harvest > 70)
    return Season(
        emergence=before.harvest + season.emergence,
        growth=before.harvest + season.growth,
        ripeness=gone + 20,
        harvest=gone,
        early=np.where(sown, season.early, 0),
        peak=np.where(sown, season.peak, 0),
        bloom=season.bloom,
        straw=np.where(sown, season.straw, 0),
    )


def _draw_curves(
    rng: np.random.Generator, land: Landscape, others: NDArray[np.bool_], late: Values
) -> Values:
    names = ("low", "high", "rise", "fall", "drought")
    low, high, rise, fall, drought = (land.of(name)[others] for name in names)
    count = low.size
    vigour = rng.uniform(0.84, 1.06, count)
    early, kept = rng.normal(0, 6, (2, count))
    years = [
        (
            low * vigour,
            high * vigour,
            rise + shift + early + rng.normal(0, 2, count),
            fall - 0.5 * shift + kept + rng.normal(0, 2, count),
            drought * rng.uniform(0.2, 1.2, count) * rng.uniform(0.4, 1.4),
            rng.uniform(7, 12, count),
        )
        for shift in late
    ]
    return np.array(years)


def _draw_cuts(rng: np.random.Generator, covers: NDArray[np.intp], late: Values) -> Values:
    mean = np.array([COVERS[name].cuts for name in COVER_NAMES])[covers]
    usual = np.array([135.0, 190.0, 245.0])
    spring = (np.arange(len(late)) * YEAR + late)[:, None] + usual
    days = spring.reshape(-1, 1) + rng.normal(0, 12, (spring.size, covers.size))
    return np.where(rng.random(days.shape) < mean / len(usual), days, AFTER_LAST_CUT)

"""The weather: air temperature, rain in the soil, snow, sun. A series of days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tamrf_xr.simulate.climate import TEMPERATE, YEAR, Climate, Series
from tamrf_xr.simulate.fields import stream

LATITUDE = TEMPERATE.home
"""Degrees north, where none is told."""

HOUR = 10.8
"""Solar time of the overpass, where none is told: both sensors pass within minutes of it."""

SPIN_UP = 60
"""Days simulated before the first, so that it is wet or dry already."""

GREENING_DAYS = 24.0
"""Days over which plants that live of rain remember it."""


@dataclass(frozen=True, slots=True)
class Weather:
    """The weather, one value a day (day 0: 1 January of the first year)."""

    latitude: float
    """Degrees north."""

    air: Series
    """Mean temperature of the air, in K."""

    swing: Series
    """Half the difference of its warmest and coldest hours, in K."""

    calm: Series
    """How much sun and wind let the ground warm above the air, about 1."""

    moisture: Series
    """Of the top of the soil, 0 (dry) to 1 (soaked)."""

    snow: Series
    """Fraction of open ground under snow, 0..1."""

    greening: Series
    """How much of their green plants that live of rain have, 0..1."""

    climate: Climate = TEMPERATE
    """What it was drawn from."""

    def warmth(self, day: float, hour: float = HOUR) -> float:
        """Return the temperature of the air at an hour of solar time, in K: warmest at 15 h."""
        today = int(day)
        return float(self.air[today] + self.swing[today] * np.cos(np.pi * (hour - 15) / 12))

    def sunshine(self, day: float, hour: float = HOUR) -> float:
        """Return the sun's power on flat ground, 1 at midsummer at the hour of the overpass."""
        zenith = sun(day, self.latitude, hour)[0]
        return float(max(np.cos(zenith), 0.0) / np.cos(sun(172)[0]))

    def season(self, day: float) -> float:
        """Return the season of the snow: 0 at the end of winter, 1 at that of summer."""
        return float(0.5 + 0.5 * np.cos(2 * np.pi * (day - 230) / YEAR))

    def heating(self, day: float, hour: float = HOUR) -> float:
        """Return how far the day's sun has warmed the ground above the air, relative.

        The ground lags the sun by an hour and cools below the air at night.
        """
        return float(self.calm[int(day)] * (1.12 * self.sunshine(day, hour - 1) - 0.12))


def draw_weather(
    seed: int, days: int = 366, latitude: float = LATITUDE, climate: Climate = TEMPERATE
) -> Weather:
    """Draw the weather of some years.

    Parameters
    ----------
    seed
        Of the scene.
    days
        Length of the series.
    latitude
        Degrees north: it sets means and seasons.
    climate
        Levels and seasons.

    Returns
    -------
    Weather
        The series.
    """
    rng = stream(seed, "weather")
    day = np.arange(-SPIN_UP, days)
    summer = np.cos(2 * np.pi * (day - 200) / YEAR)
    mean = climate.kelvin - climate.per_degree * (latitude - climate.home) + rng.normal(0, 1.2)
    air = mean + rng.uniform(*climate.season_kelvin) * summer
    air = air + climate.unsteady_kelvin * _memory(rng, day.size, 0.75)
    rainless = climate.dryness[0] + climate.dryness[1] * summer
    rainless = rainless - climate.rain_gain * climate.rainy(day)
    wet = (_memory(rng, day.size, 0.6) > rainless) * rng.gamma(1.2, 0.35, day.size)
    lasting, shorter = climate.drying_days
    moisture = _store(wet, np.exp(-1 / (lasting - shorter * summer)))
    frost, thaw = climate.snow_kept
    snow = np.clip(_store(wet * (air < 271.4), np.where(air < 271.4, frost, thaw)) * 3, 0, 1)
    snow = np.where(snow < 0.05, 0, snow)
    warmest, more = climate.swing_kelvin
    swing = (warmest + more * summer) * (1.25 - 0.5 * moisture) * rng.uniform(0.8, 1.2, day.size)
    calm = np.clip(1 + 0.15 * _memory(rng, day.size, 0.3), 0.6, 1.4)
    series = (air, swing, calm, moisture, snow, _greening(moisture))
    air, swing, calm, moisture, snow, greening = (part[SPIN_UP:] for part in series)
    return Weather(latitude, air, swing, calm, moisture, snow, greening, climate)


def _greening(moisture: Series) -> Series:
    """Return what plants have made of the moisture of the last weeks, 0..1."""
    soaked = np.clip(1.6 * moisture, 0, 1)
    level, series = float(soaked[:30].mean()), np.empty_like(soaked)
    for i, wet in enumerate(soaked):
        level += (wet - level) / GREENING_DAYS
        series[i] = level
    return np.clip(1.3 * series, 0, 1)


def _memory(rng: np.random.Generator, count: int, correlation: float) -> Series:
    """Draw a series of standard deviation 1, each day correlated with the last."""
    series = rng.standard_normal(count)
    for i in range(1, count):
        series[i] = correlation * series[i - 1] + np.sqrt(1 - correlation**2) * series[i]
    return series


def _store(gains: Series, kept: Series) -> Series:
    """Fill a store of capacity 1 that loses a part of itself each day."""
    level, series = 0.5 * float(gains[0] > 0), np.empty_like(gains)
    for i, gain in enumerate(gains):
        level = min(level * kept[i] + gain, 1.0)
        series[i] = level
    return series


def sun(day: float, latitude: float = LATITUDE, hour: float = HOUR) -> tuple[float, float]:
    """Return where the sun is.

    Parameters
    ----------
    day
        From 1 January, 0.
    latitude
        Degrees north.
    hour
        Solar time: 12 is noon.

    Returns
    -------
    tuple of float
        Zenith angle and azimuth (clockwise from north), in radians.

    Examples
    --------
    >>> bool(sun(172)[0] < sun(355)[0])
    True
    """
    declination = np.radians(-23.44) * np.cos(2 * np.pi * (day + 10) / YEAR)
    place, turned = np.radians(latitude), np.radians(15 * (hour - 12))
    cosine = np.sin(place) * np.sin(declination)
    cosine += np.cos(place) * np.cos(declination) * np.cos(turned)
    east = -np.cos(declination) * np.sin(turned)
    north = np.cos(place) * np.sin(declination)
    north -= np.sin(place) * np.cos(declination) * np.cos(turned)
    return float(np.arccos(cosine)), float(np.arctan2(east, north))

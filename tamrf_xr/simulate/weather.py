"""The year's weather: air temperature, rain in the soil, snow, sun. A series of days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.simulate.fields import stream

LATITUDE = 44.0
"""Degrees north, of the sun."""

HOURS_BEFORE_NOON = 1.2
"""Solar time of the overpass, which both sensors share to minutes."""

SPIN_UP = 60
"""Days simulated before the year, so that its first day is wet or dry already."""


@dataclass(frozen=True, slots=True)
class Weather:
    """The weather at the overpass, one value a day of the year (day 0: 1 January)."""

    air: NDArray[np.float64]
    """Temperature of the air, in K."""

    moisture: NDArray[np.float64]
    """Of the top of the soil, 0 (dry) to 1 (soaked)."""

    snow: NDArray[np.float64]
    """Fraction of open ground under snow, 0..1."""


def draw_weather(seed: int, days: int = 366) -> Weather:
    """Draw the weather of a year.

    Parameters
    ----------
    seed
        Of the scene.
    days
        Length of the year.

    Returns
    -------
    Weather
        The series.
    """
    rng = stream(seed, "weather")
    day = np.arange(-SPIN_UP, days)
    summer = np.cos(2 * np.pi * (day - 200) / 365.25)
    air = 284.5 + 9.5 * summer + 3.0 * _memory(rng, day.size, 0.75)
    wet = (_memory(rng, day.size, 0.6) > 0.55 + 0.3 * summer) * rng.gamma(1.2, 0.35, day.size)
    moisture = _store(wet, np.exp(-1 / (12 - 8 * summer)))
    snow = np.clip(_store(wet * (air < 271.4), np.where(air < 271.4, 0.9, 0.3)) * 3, 0, 1)
    kept = slice(SPIN_UP, None)
    return Weather(air[kept], moisture[kept], np.where(snow[kept] < 0.05, 0, snow[kept]))


def _memory(rng: np.random.Generator, count: int, correlation: float) -> NDArray[np.float64]:
    """Draw a series of standard deviation 1, each day correlated with the last."""
    series = rng.standard_normal(count)
    for i in range(1, count):
        series[i] = correlation * series[i - 1] + np.sqrt(1 - correlation**2) * series[i]
    return series


def _store(gains: NDArray[np.float64], kept: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill a store of capacity 1 that loses a part of itself each day."""
    level, series = 0.5 * float(gains[0] > 0), np.empty_like(gains)
    for i, gain in enumerate(gains):
        level = min(level * kept[i] + gain, 1.0)
        series[i] = level
    return series


def sun(day: float) -> tuple[float, float]:
    """Return where the sun is at the overpass.

    Parameters
    ----------
    day
        Of the year, from 0.

    Returns
    -------
    tuple of float
        Zenith angle and azimuth (clockwise from north), in radians.

    Examples
    --------
    >>> bool(sun(172)[0] < sun(355)[0])
    True
    """
    declination = np.radians(-23.44) * np.cos(2 * np.pi * (day + 10) / 365.25)
    latitude, hour = np.radians(LATITUDE), np.radians(-15 * HOURS_BEFORE_NOON)
    cosine = np.sin(latitude) * np.sin(declination)
    cosine += np.cos(latitude) * np.cos(declination) * np.cos(hour)
    zenith = np.arccos(cosine)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(latitude) * np.sin(declination)
    north -= np.sin(latitude) * np.cos(declination) * np.cos(hour)
    return float(zenith), float(np.arctan2(east, north))

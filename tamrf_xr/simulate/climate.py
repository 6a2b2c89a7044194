"""What the weather of a region is like: levels and seasons, from which `weather` draws days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

YEAR = 365.25

Series = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Climate:
    """The climate of a biome; the defaults are those of temperate fields."""

    home: float = 44.0
    """Degrees north at which the temperature holds, and the dates of springs."""

    kelvin: float = 285.6
    """Mean temperature of the air, in K."""

    per_degree: float = 0.45
    """K that it is colder a degree further north."""

    season_kelvin: tuple[float, float] = (6.5, 10.5)
    """Range of half the difference between summer and winter, in K."""

    unsteady_kelvin: float = 3.0
    """Standard deviation of days about the season, in K."""

    swing_kelvin: tuple[float, float] = (4.5, 2.0)
    """Half the difference of the warmest and coldest hours, and what summer adds to it, in K."""

    dryness: tuple[float, float] = (0.55, 0.3)
    """Deviations of the weather above which it rains, and what summer adds to them."""

    rains: tuple[tuple[float, float], ...] = ()
    """Rain seasons: middle (day of the year) and length (days) of each."""

    rain_gain: float = 0.0
    """By how many deviations it rains more readily in the middle of a rain season."""

    drying_days: tuple[float, float] = (12.0, 8.0)
    """Days in which wet soil dries, and by how many less in summer."""

    snow_kept: tuple[float, float] = (0.9, 0.3)
    """Part of the snow that a day of frost leaves, and a day of thaw."""

    water_kelvin: tuple[float, float] | None = None
    """Mean and half the yearly range of open water, in K; None: by latitude."""

    def rainy(self, day: Any) -> Series:
        """Return how deep in a rain season days lie: 1 in the middle of one, 0 far from any."""
        depth = np.zeros_like(np.asarray(day, float))
        for middle, length in self.rains:
            apart = (np.asarray(day) - middle + YEAR / 2) % YEAR - YEAR / 2
            depth = np.maximum(depth, np.exp(-((2 * apart / length) ** 4)))
        return np.asarray(depth)

    @property
    def rainy_share(self) -> float:
        """Mean of `rainy` over a year."""
        return float(self.rainy(np.arange(365.0)).mean())


TEMPERATE = Climate()
"""That of temperate fields."""

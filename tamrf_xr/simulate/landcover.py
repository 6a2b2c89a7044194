"""What grows where and when: the classes of land and the crops, as tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cover:
    """A class of land. Days are those of the year; fractions are of the ground."""

    name: str
    """Name of the class."""

    ground: str
    """Material below the canopy; "soil" is dry or wet as the weather has it."""

    canopy: str = "grass"
    """Material of the green canopy."""

    low: float = 0.0
    """Green fraction in winter."""

    high: float = 0.0
    """Green fraction in the season."""

    rise: float = 80.0
    """Day on which half the canopy is there."""

    fall: float = 305.0
    """Day on which half of it is gone."""

    drought: float = 0.0
    """Green fraction lost at the end of a dry summer."""

    cuts: float = 0.0
    """Mean number of times a year that it is mown."""

    grain: float = 0.04
    """Standard deviation of the texture from pixel to pixel, relative."""

    contrast: float = 0.15
    """Standard deviation of brightness between parcels, relative."""

    snow: float = 1.0
    """Fraction of fallen snow that lies to be seen."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop of one season. Days count from 1 January of the year of harvest."""

    name: str
    """Name of the crop."""

    weight: float
    """How common it is, relative."""

    emergence: float
    """Day on which it greens."""

    growth: float
    """Day on which it closes."""

    ripeness: float
    """Day on which it yellows."""

    harvest: float
    """Day on which it is gone."""

    early: float
    """Green fraction between emergence and growth."""

    peak: float
    """Green fraction at its peak."""

    bloom: float = 0.0
    """Day of flowering, where that can be seen; else 0."""

    straw: float = 0.6
    """Fraction of ground under straw right after harvest."""


ARABLE = "arable"

COVERS: dict[str, Cover] = {
    cover.name: cover
    for cover in (
        Cover(ARABLE, "soil", "crop", grain=0.02, contrast=0.14),
        Cover("meadow", "soil", low=0.72, high=0.93, rise=82, drought=0.25, cuts=2.2, grain=0.03),
        Cover("pasture", "soil", low=0.64, high=0.82, rise=88, drought=0.35, grain=0.06),
        Cover("broadleaf", "litter", "broadleaf", 0.04, 0.95, 112, 303, grain=0.09, snow=0.35),
        Cover("conifer", "litter", "conifer", 0.86, 0.93, 100, grain=0.10, snow=0.25),
        Cover("hedge", "soil", "broadleaf", 0.20, 0.90, 108, 305, grain=0.10, snow=0.4),
        Cover("garden", "slate", "grass", 0.45, 0.72, 90, drought=0.1, grain=0.10, contrast=0.2),
        Cover("house", "tile", grain=0.10, contrast=0.25, snow=0.8),
        Cover("street", "asphalt", grain=0.06, contrast=0.12, snow=0.5),
        Cover("yard", "slate", low=0.08, high=0.12, grain=0.08, contrast=0.3, snow=0.7),
        Cover("hall", "steel", grain=0.04, contrast=0.45, snow=0.8),
        Cover("track", "gravel", low=0.25, high=0.40, grain=0.05, contrast=0.15, snow=0.9),
        Cover("quarry", "gravel", grain=0.08, contrast=0.15),
        Cover("river", "silt", grain=0.02, contrast=0.12, snow=0.0),
        Cover("lake", "water", grain=0.01, contrast=0.15, snow=0.05),
    )
}
"""Every class of land, by name."""

CROPS: tuple[Crop, ...] = (
    Crop("winter cereal", 3.6, -50, 84, 170, 198, 0.34, 0.95),
    Crop("rapeseed", 1.0, -105, 72, 166, 190, 0.60, 0.93, bloom=110),
    Crop("spring barley", 0.7, 78, 104, 180, 206, 0.10, 0.90),
    Crop("maize", 2.2, 132, 166, 258, 280, 0.06, 0.94, straw=0.35),
    Crop("sunflower", 0.9, 118, 160, 226, 258, 0.06, 0.84, straw=0.3),
    Crop("beet", 0.6, 108, 158, 330, 318, 0.08, 0.93, straw=0.15),
    Crop("potato", 0.5, 132, 164, 240, 262, 0.05, 0.92, straw=0.1),
    Crop("soy", 0.4, 136, 176, 256, 276, 0.05, 0.92, straw=0.2),
    Crop("fallow", 0.4, 70, 120, 230, 300, 0.25, 0.60, straw=0.3),
)
"""Crops of arable land, of which one follows the other on each parcel.

Days agree with the monthly NDVI of the fields of tile 31UFS that WorldCereal labels: winter cereals
0.33, 0.69, 0.86, 0.86, 0.29 from March to July; maize 0.31, 0.78, 0.81, 0.81, 0.53 from June to
October; bare fields 0.15 in winter.
"""

SAME_AGAIN: dict[str, float] = {"maize": 1.2, "winter cereal": 0.5, "soy": 0.5, "fallow": 1.0}
"""How likely a crop follows itself, relative to its weight; those not named hardly do."""

BEFORE_SOWING = 12.0
"""Days that a field takes at least from one harvest to the next emergence."""

CATCH_CROP = Crop("catch crop", 0.0, 26, 52, 150, 125, 0.10, 0.72, straw=0.1)
"""Sown after some harvests before 1 September: days count from that harvest.

Fields of tile 31UFS harvested in July are at 0.5 to 0.6 in October and November of 2020.
"""

CATCH_ODDS = 0.5
"""How many of the harvests that leave time are followed by a catch crop."""

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

    rainfed: bool = False
    """Whether it greens with the rain, whenever that falls, and not with the season."""

    hay: float = 0.0
    """Part of the green lost with the season or the rain that stands dry."""


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

    flooded: float = 0.0
    """Fraction of the ground under water from three weeks before it greens until it ripens."""


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
        # Deserts.
        Cover("sand", "sand", grain=0.012, contrast=0.03),
        Cover("stones", "stones", grain=0.06, contrast=0.10),
        Cover("outcrop", "rock", grain=0.10, contrast=0.15),
        Cover("wadi", "stones", "scrub", 0.05, 0.30, grain=0.12, contrast=0.12, rainfed=True),
        Cover("palms", "soil", "broadleaf", 0.45, 0.60, grain=0.16, contrast=0.12),
        # Savanna.
        Cover("open savanna", "soil", "grass", 0.05, 0.72, grain=0.07, rainfed=True, hay=0.75),
        Cover("tree savanna", "soil", "scrub", 0.22, 0.80, grain=0.14, rainfed=True, hay=0.45),
        Cover("gallery", "litter", "rainforest", 0.72, 0.92, grain=0.12, rainfed=True),
        Cover("bare", "soil", "grass", 0.01, 0.12, grain=0.06, contrast=0.18, rainfed=True),
        # Wet tropics, rice.
        Cover("rainforest", "litter", "rainforest", 0.93, 0.97, 60, 350, grain=0.12, contrast=0.1),
        Cover("regrowth", "soil", "broadleaf", 0.80, 0.93, 60, 350, grain=0.09, contrast=0.12),
        Cover("clearing", "soil", "grass", 0.45, 0.85, grain=0.06, rainfed=True, hay=0.3),
        Cover("plantation", "soil", "rainforest", 0.70, 0.85, 60, 350, grain=0.05, contrast=0.12),
        Cover("village", "tile", "broadleaf", 0.35, 0.45, 60, 350, grain=0.14, contrast=0.25),
        Cover("muddy river", "turbid", grain=0.02, contrast=0.1),
        Cover("pond", "paddy", grain=0.02, contrast=0.12),
        # Mountains.
        Cover("rock", "rock", grain=0.12, contrast=0.14),
        Cover("scree", "rock", "grass", 0.02, 0.15, 140, 280, grain=0.07, contrast=0.12),
        Cover("alpine grass", "rock", "grass", 0.10, 0.82, 150, 280, grain=0.07, hay=0.7),
        # The north.
        Cover("pine", "moss", "conifer", 0.55, 0.72, 120, grain=0.11, snow=0.26),
        Cover("spruce", "litter", "conifer", 0.84, 0.92, 120, grain=0.10, snow=0.14),
        Cover("birch", "litter", "broadleaf", 0.05, 0.92, 140, 268, grain=0.09, snow=0.40),
        Cover("bog", "moss", "grass", 0.06, 0.45, 150, 265, grain=0.07, contrast=0.12, hay=0.6),
        Cover("felled", "litter", "grass", 0.10, 0.45, 145, 270, grain=0.08, hay=0.5),
        Cover("northern lake", "water", grain=0.01, contrast=0.15, snow=0.95),
        # Coasts.
        Cover("sea", "sea", grain=0.01, contrast=0.02, snow=0.0),
        Cover("flat", "mud", grain=0.04, contrast=0.08, snow=0.2),
        Cover("beach", "beach", grain=0.03, contrast=0.08),
        Cover("marsh", "mud", "grass", 0.30, 0.80, 100, 290, grain=0.08, hay=0.5),
        Cover("mangrove", "mud", "rainforest", 0.72, 0.82, 60, 350, grain=0.09, contrast=0.1),
        # Volcanoes.
        Cover("old lava", "lava", "scrub", 0.20, 0.40, 90, 330, grain=0.12, contrast=0.2),
        Cover("maquis", "soil", "scrub", 0.55, 0.75, 60, 340, drought=0.15, grain=0.12),
        # Cities.
        Cover("block", "concrete", grain=0.10, contrast=0.18, snow=0.6),
        Cover("roof", "asphalt", grain=0.08, contrast=0.2, snow=0.7),
        Cover("park", "soil", "broadleaf", 0.30, 0.90, 105, 305, grain=0.12, snow=0.5),
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

RICE: tuple[tuple[Crop, ...], ...] = (
    (Crop("summer rice", 1, 188, 214, 292, 306, 0.14, 0.93, straw=0.45, flooded=0.95),),
    (
        Crop("spring rice", 3, 32, 60, 128, 142, 0.14, 0.92, straw=0.45, flooded=0.95),
        Crop("vegetables", 1, 20, 50, 110, 120, 0.2, 0.8, straw=0.1),
    ),
)
"""Two seasons of rice a year, as in the Red River and Mekong deltas: transplanted in February and
July, harvested in May and October (IRRI's calendars; taken as they are told, not measured here)."""

RAINFED: tuple[tuple[Crop, ...], ...] = (
    (
        Crop("millet", 2, 180, 205, 275, 295, 0.08, 0.62, straw=0.4),
        Crop("sorghum", 1, 185, 215, 300, 320, 0.08, 0.70, straw=0.4),
        Crop("maize", 1, 165, 190, 250, 275, 0.08, 0.85, straw=0.35),
        Crop("fallow", 1, 180, 215, 290, 330, 0.15, 0.55, straw=0.3),
    ),
)
"""Crops of the one rain season of a savanna north of the equator, June to September."""

CIRCLES: tuple[tuple[Crop, ...], ...] = (
    (
        Crop("wheat", 3, -40, 10, 95, 120, 0.15, 0.95, straw=0.5),
        Crop("potato", 1, 5, 40, 110, 125, 0.08, 0.92, straw=0.1),
        Crop("alfalfa", 2, -20, 20, 312, 322, 0.6, 0.92, straw=0.1),
        Crop("idle", 2, -40, 10, 30, 32, 0.0, 0.02, straw=0.02),
    ),
    (
        Crop("maize", 2, 160, 190, 255, 275, 0.06, 0.94, straw=0.35),
        Crop("idle", 3, 160, 190, 200, 202, 0.0, 0.02, straw=0.02),
    ),
)
"""Crops under centre pivots: wheat in winter, maize after it; some idle. Dates are assumed."""

NORTHERN: tuple[tuple[Crop, ...], ...] = (
    (
        Crop("barley", 2, 150, 172, 222, 242, 0.10, 0.90),
        Crop("oats", 1, 152, 175, 226, 246, 0.10, 0.90),
        Crop("ley", 3, 122, 145, 290, 300, 0.45, 0.92, straw=0.3),
    ),
)
"""Crops at 64 degrees north, sown in the second half of May."""

TEMPERATE: tuple[tuple[Crop, ...], ...] = (CROPS,)
"""Rotations, each of one crop a year on every parcel: of temperate fields one."""

SAME_AGAIN: dict[str, float] = {
    "maize": 1.2, "winter cereal": 0.5, "soy": 0.5, "fallow": 1.0,
    "wheat": 0.8, "alfalfa": 2.0, "idle": 1.0, "millet": 1.0, "sorghum": 0.8, "barley": 0.8,
    "oats": 0.8, "ley": 2.0, "spring rice": 1.0, "vegetables": 1.0, "summer rice": 1.0,
}  # fmt: skip
"""How likely a crop follows itself, relative to its weight; those not named hardly do."""

BEFORE_SOWING = 12.0
"""Days that a field takes at least from one harvest to the next emergence."""

CATCH_CROP = Crop("catch crop", 0.0, 26, 52, 150, 125, 0.10, 0.72, straw=0.1)
"""Sown after some harvests before 1 September: days count from that harvest.

Fields of tile 31UFS harvested in July are at 0.5 to 0.6 in October and November of 2020.
"""

CATCH_ODDS = 0.5
"""How many of the harvests that leave time are followed by a catch crop."""

"""Biomes: one row each of what makes land elsewhere unlike temperate fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tamrf_xr.errors import OptionError
from tamrf_xr.simulate import landcover
from tamrf_xr.simulate.changes import Chance
from tamrf_xr.simulate.climate import TEMPERATE as MILD
from tamrf_xr.simulate.climate import Climate
from tamrf_xr.simulate.landcover import Crop

METRES_PER_DEGREE = 110_900.0
"""Northing of UTM that a degree of latitude takes."""


@dataclass(frozen=True, slots=True)
class Aerosol:
    """Dust or smoke that corrections of the atmosphere do not take away."""

    odds: float
    """Fraction of the dates that have it in the middle of its season, 0..1."""

    amount: float
    """Mean of it on those dates, in reflectance added to dark ground in the blue."""

    fall: tuple[float, float]
    """Range of the power of wavelength by which it fades."""

    season: tuple[float, float]
    """Middle (day of the year) and length (days) of its season."""

    longest_px: float = 400.0
    """Size of its widest structures, in 10 m pixels."""


@dataclass(frozen=True, slots=True)
class Relief:
    """The shape of the ground."""

    steepness: tuple[float, float] = (0.035, 0.9)
    """Median of the root mean square slope of scenes, and its deviation as a logarithm."""

    most: float = 0.25
    """Largest root mean square slope."""

    longest_px: float = 300.0
    """Distance of valleys, in 10 m pixels."""

    roughness: float = 4.2
    """Exponent of its power spectrum."""

    shadows: bool = False
    """Whether hills cast shadows."""


HILLS = Relief()
"""Those of temperate fields."""


@dataclass(frozen=True, slots=True)
class SnowLine:
    """Height above which snow lies, in metres above the mean of the scene."""

    summer: float
    """On the warmest day."""

    winter: float
    """On the coldest."""


@dataclass(frozen=True, slots=True)
class Biome:
    """A kind of land and its sky; days are those of the year."""

    name: str
    """What users ask for."""

    land: str
    """Which land is painted: a key of `tamrf_xr.simulate.landscape.PAINTERS`."""

    latitudes: tuple[float, float]
    """Range that `draw_config` draws from, in degrees north."""

    cloudiness: tuple[float, float]
    """Range of the mean cover that `draw_config` draws from."""

    climate: Climate = MILD
    """Temperatures, rain, snow."""

    materials: tuple[str, ...] = ()
    """Beside those of temperate land."""

    soil: str = ""
    """Material that soils are of; "": those of temperate land."""

    rotations: tuple[tuple[Crop, ...], ...] = landcover.TEMPERATE
    """Crops of arable land: one of each tuple a year."""

    catch_odds: float = landcover.CATCH_ODDS
    """How many of the harvests that leave time are followed by a catch crop."""

    cloud_season: float = 0.0
    """Mean cover in the middle of the rains less that far from them, 0..1."""

    clouds: tuple[float, float, float, float] = (0.12, 0.30, 0.30, 0.25)
    """How common the four kinds of `tamrf_xr.simulate.atmosphere.KINDS` are, relative."""

    aerosol: Aerosol | None = None
    """Dust or smoke."""

    relief: Relief = HILLS
    """Shape of the ground."""

    snow_line: SnowLine | None = None
    """Where snow lies by height, beside what falls in frost."""

    tides_m: float = 0.0
    """Half the range of the tide between high and low springs, in metres; 0: no sea."""

    chances: tuple[Chance, ...] = ()
    """Of sudden changes, which `draw_config` draws."""


_DRY_SWING = (7.0, 1.5)
_DRY, _BURNING, _RAINS = (10.0, 120.0), (240.0, 150.0), (225.0, 160.0)
_SUMMER, _WINTER = (200.0, 120.0), (20.0, 120.0)
_MONSOON = ((216.0, 165.0),)

BIOMES: dict[str, Biome] = {
    biome.name: biome
    for biome in (
        Biome("temperate", "farmland", (36.97, 55.0), (0.1, 0.55)),
        Biome(
            "desert", "desert", (16.0, 33.0), (0.02, 0.2),
            Climate(
                27.0, 296.5, 0.5, (7.0, 10.0), 2.0, _DRY_SWING, (1.9, 0.1), drying_days=(4.0, 1.0),
                water_kelvin=(293.0, 6.0),
            ),
            ("sand", "stones", "rock", "scrub"), "desert_soil", landcover.CIRCLES, 0.0,
            clouds=(0.1, 0.15, 0.2, 0.5),
            aerosol=Aerosol(0.30, 0.045, (-0.4, 0.3), (130.0, 260.0)),
            relief=Relief((0.03, 0.6), 0.2, 60.0, 3.9),
            chances=(Chance("building", 0.3), Chance("flood", 0.2)),
        ),
        Biome(
            "savanna", "savanna", (3.0, 15.0), (0.3, 0.6),
            Climate(
                9.0, 298.5, 0.3, (1.0, 3.0), 1.4, (5.5, 0.0), (2.3, 0.0), _MONSOON, 2.4,
                (7.0, 0.0), water_kelvin=(299.0, 2.0),
            ),
            ("scrub", "rainforest", "char"), "red_soil", landcover.RAINFED, 0.0,
            cloud_season=0.45, clouds=(0.30, 0.40, 0.15, 0.15),
            aerosol=Aerosol(0.35, 0.030, (0.9, 1.8), (20.0, 150.0)),
            chances=(Chance("fire", 4.0, _DRY), Chance("building", 0.2)),
        ),
        Biome(
            "tropical", "tropical", (0.5, 8.0), (0.62, 0.85),
            Climate(
                4.0, 299.2, 0.2, (0.3, 1.2), 1.0, (4.0, 0.0), (0.6, 0.0),
                ((110.0, 110.0), (300.0, 100.0)), 0.7, (9.0, 0.0), water_kelvin=(300.0, 1.0),
            ),
            ("rainforest", "char", "turbid"), "red_soil", landcover.RAINFED, 0.0,
            cloud_season=0.15, clouds=(0.35, 0.40, 0.15, 0.10),
            aerosol=Aerosol(0.2, 0.030, (1.0, 1.8), (230.0, 100.0)),
            chances=(
                Chance("clearing", 3.5, _BURNING), Chance("fire", 0.3, _BURNING),
                Chance("flood", 0.3, _RAINS), Chance("harvest", 0.8),
            ),
        ),
        Biome(
            "rice", "rice", (8.0, 26.0), (0.4, 0.7),
            Climate(
                16.0, 298.5, 0.45, (2.0, 5.0), 1.6, (4.0, 0.0), (1.3, 0.0), ((225.0, 130.0),), 1.2,
                (8.0, 0.0), water_kelvin=(298.0, 4.0),
            ),
            ("paddy", "rainforest", "turbid"), "brown_soil", landcover.RICE, 0.0,
            cloud_season=0.3, clouds=(0.3, 0.35, 0.2, 0.15),
            aerosol=Aerosol(0.3, 0.030, (0.9, 1.7), (60.0, 160.0)),
            relief=Relief((0.006, 0.5), 0.02),
            chances=(Chance("flood", 1.5, _RAINS), Chance("building", 0.8)),
        ),
        Biome(
            "mountain", "mountain", (30.0, 48.0), (0.3, 0.55),
            Climate(44.0, 279.5, 0.45, (8.0, 10.0), dryness=(0.35, 0.1), snow_kept=(0.97, 0.6)),
            ("rock",),
            clouds=(0.15, 0.40, 0.25, 0.20),
            relief=Relief((0.42, 0.25), 0.8, 420.0, 4.9, shadows=True),
            snow_line=SnowLine(520.0, -320.0),
            chances=(Chance("fire", 0.3, _SUMMER), Chance("landslide", 0.6, _SUMMER)),
        ),
        Biome(
            "boreal", "boreal", (58.0, 65.5), (0.4, 0.7),
            Climate(
                62.0, 276.0, 0.6, (11.5, 14.5), 4.0, (4.0, 2.5), (0.25, 0.1),
                snow_kept=(0.985, 0.72), water_kelvin=(279.5, 9.0),
            ),
            ("moss",), "pale_soil", landcover.NORTHERN, 0.0,
            clouds=(0.10, 0.25, 0.40, 0.25),
            relief=Relief((0.025, 0.6)),
            chances=(Chance("felling", 1.5), Chance("fire", 0.3, _SUMMER)),
        ),
        Biome(
            "coast", "coast", (24.0, 56.0), (0.3, 0.6),
            Climate(42.0, 287.0, 0.45, (5.0, 8.0), 2.2, water_kelvin=(286.5, 5.0)),
            ("sea", "turbid", "mud", "beach", "rainforest"),
            relief=Relief((0.012, 0.6), 0.05),
            tides_m=2.4,
            chances=(
                Chance("flood", 0.8, _WINTER), Chance("building", 0.5), Chance("harvest", 0.8),
            ),
        ),
        Biome(
            "city", "city", (20.0, 56.0), (0.25, 0.6),
            Climate(40.0, 288.5, 0.5),
            ("concrete",),
            aerosol=Aerosol(0.25, 0.020, (0.8, 1.6), (30.0, 220.0)),
            relief=Relief((0.01, 0.6), 0.05, shadows=True),
            chances=(Chance("building", 4.0), Chance("fire", 0.1, _SUMMER)),
        ),
        Biome(
            "volcanic", "volcanic", (14.0, 40.0), (0.3, 0.6),
            Climate(28.0, 289.0, 0.5, (2.5, 5.0), 2.0),
            ("rock", "lava", "char", "scrub"),
            relief=Relief((0.16, 0.4), 0.4, 600.0, 4.4, shadows=True),
            snow_line=SnowLine(900.0, 250.0),
            chances=(Chance("lava", 2.0), Chance("fire", 0.5, _SUMMER)),
        ),
    )
}  # fmt: skip
"""Every biome, by name. Temperatures, seasons and covers are set by hand at levels usual for such
regions; what was compared with real series is in `docs/simulator.md`."""

TEMPERATE = "temperate"


def biome_of(name: str) -> Biome:
    """Return a biome by its name.

    Parameters
    ----------
    name
        A key of `BIOMES`.

    Returns
    -------
    Biome
        Its row.

    Raises
    ------
    OptionError
        If there is none of that name: those that are, are told.

    Examples
    --------
    >>> biome_of("rice").latitudes
    (8.0, 26.0)
    """
    if name in BIOMES:
        return BIOMES[name]
    raise OptionError(f"there is no biome {name!r:.40}; there are: {', '.join(BIOMES)}")


def weights_of(asked: str | Mapping[str, float]) -> dict[str, float]:
    """Return how likely each biome is that may be drawn; they sum to 1.

    Parameters
    ----------
    asked
        A name, ``"any"`` for all of them alike, or the weight of each by name.

    Returns
    -------
    dict
        By name, none of them 0.

    Raises
    ------
    OptionError
        If a name is unknown, or no weight is above 0.

    Examples
    --------
    >>> weights_of({"temperate": 3, "rice": 1})
    {'temperate': 0.75, 'rice': 0.25}
    """
    if isinstance(asked, str):
        asked = dict.fromkeys(BIOMES, 1.0) if asked == "any" else {asked: 1.0}
    for name, weight in asked.items():
        biome_of(name)
        if not 0 <= weight < float("inf"):
            raise OptionError(f"biome {name} has the weight {weight!r:.40}: expected 0 or more")
    total = sum(asked.values())
    if not total > 0:
        raise OptionError(f"biomes {dict(asked)!r:.80}: expected a weight above 0 of one at least")
    return {name: weight / total for name, weight in asked.items() if weight}

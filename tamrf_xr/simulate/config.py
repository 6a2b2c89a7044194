"""What a simulated scene is made from: every number that a user may set."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from tamrf_xr.errors import OptionError
from tamrf_xr.simulate.biomes import METRES_PER_DEGREE, TEMPERATE, biome_of
from tamrf_xr.simulate.changes import Event


@dataclass(frozen=True, slots=True)
class SceneConfig:
    """A simulated scene: the same configuration gives the same scene, byte for byte.

    Raises
    ------
    OptionError
        If a value has no meaning.

    Examples
    --------
    >>> SceneConfig(size_px=120, seed=3).size_px
    120
    """

    size_px: int = 330
    """Edge of the scene in 10 m pixels: a multiple of 3, at least 30."""

    year: int = 2022
    """Acquisitions are those of this calendar year, and of more if `years` says so."""

    years: int = 1
    """How many calendar years the series last."""

    seed: int = 0
    """Of every draw: land, weather, clouds, noise. Not negative."""

    sentinel2_revisit_days: int = 5
    """Days between acquisitions of Sentinel-2, both satellites together."""

    landsat_revisit_days: int = 8
    """Days between acquisitions of Landsat 8 and 9 together, each every second time."""

    sentinel2_overlap: bool = False
    """Whether two orbits of Sentinel-2 see the scene: then it is acquired every 2 or 3 days."""

    landsat_overlap: bool = False
    """Whether two paths of Landsat see the scene, 7 days apart."""

    lost_dates: float = 0.0
    """Fraction of the dates that never reached the archive, 0..1."""

    cloudiness: float = 0.4
    """Mean cloud cover of the dates, 0..1; most dates are nearly clear or overcast."""

    mask_errors: float = 1.0
    """Size of the errors of `valid`, relative to usual ones; 0 gives perfect masks."""

    noise_reflectance: float = 0.0015
    """Standard deviation of the additive noise of a native pixel, in reflectance."""

    noise_relative: float = 0.01
    """Standard deviation of the multiplicative noise of a native pixel, 0..1."""

    noise_kelvin: float = 0.3
    """Standard deviation of the noise of a pixel of surface temperature, in K."""

    offset_reflectance: float = 0.003
    """Standard deviation of the offset of a date (aerosol left over), in blue reflectance."""

    gain_relative: float = 0.02
    """Standard deviation of the gain of a date, 0..1."""

    cover_relative: float = 0.0
    """Standard deviation of the gain of a date by class of land and by parcel, 0..1."""

    patch_relative: float = 0.0
    """Standard deviation of the gain of a date in patches of 100 m to 2 km, 0..1; a veil goes with
    it, brightest in the blue."""

    landsat_unsteadiness: float = 1.0
    """Haze, gains, offsets and patches of a date of Landsat, relative to those of Sentinel-2."""

    offset_kelvin: float = 0.7
    """Standard deviation of the offset of a date's surface temperature, in K."""

    haze_reflectance: float = 0.006
    """Mean haze that the correction of the atmosphere left, in blue reflectance: uneven by date."""

    view_effect: float = 1.0
    """Size of what the side changes from which a sensor looks, relative to usual ground."""

    registration_m: float = 2.5
    """Standard deviation of the shift of a date along each axis, in metres.

    Landsat has one of this size that stays, beside that of each date."""

    partial_swath: float = 0.04
    """Fraction of the dates on which the edge of the swath crosses the scene, 0..1."""

    biome: str = TEMPERATE
    """Kind of land, climate and sky: a key of `tamrf_xr.simulate.biomes.BIOMES`."""

    events: tuple[Event, ...] = ()
    """Sudden changes of the land."""

    left: float = 499_980.0
    """Western edge of the scene, in metres of EPSG:32631."""

    top: float = 0.0
    """Northern edge of the scene, in metres of EPSG:32631: sun and climate are those of there.

    0: where the biome is at home; 4,830,000 for temperate fields."""

    def __post_init__(self) -> None:
        """Check what would fail far from here, or give nonsense."""
        object.__setattr__(self, "top", self.top or _home(self.biome))
        if self.size_px > LARGEST_PX:
            raise OptionError(f"size_px is {self.size_px!r:.40}: expected at most {LARGEST_PX}")
        if self.size_px < 30 or self.size_px % 3:
            raise OptionError(
                f"size_px is {self.size_px}: expected a multiple of 3, at least 30, so that "
                f"Landsat pixels nest; such as {max(30, 3 * round(self.size_px / 3))}"
            )
        _check_at_least(self, ("seed", "mask_errors"), 0)
        _check_at_least(self, ("years", "sentinel2_revisit_days", "landsat_revisit_days"), 1)
        _check_at_least(self, (n for n in self.__slots__ if n.startswith(_DEVIATIONS)), 0)
        for name in ("cloudiness", "partial_swath", "lost_dates"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name)}: expected a fraction, 0 to 1")
        if self.years > 100:
            raise OptionError(f"years is {self.years}: expected at most 100")
        if not 1900 <= self.year <= 2200:
            raise OptionError(f"year is {self.year}: expected one from 1900 to 2200")
        _check_latitude(self)
        object.__setattr__(self, "events", _events_of(self.events))

    @property
    def latitude(self) -> float:
        """Degrees north."""
        return self.top / METRES_PER_DEGREE

    @property
    def days(self) -> int:
        """Length of the series."""
        return (datetime.date(self.year + self.years, 1, 1) - datetime.date(self.year, 1, 1)).days


def _home(biome: str) -> float:
    """Return the northing where a biome is at home, in metres."""
    if biome == TEMPERATE:
        return 4_830_000.0
    return 60.0 * round(biome_of(biome).climate.home * METRES_PER_DEGREE / 60)


def _events_of(given: Iterable[Event]) -> tuple[Event, ...]:
    events = tuple(given)
    for one in events:
        if not isinstance(one, Event):
            raise OptionError(f"events has {one!r:.60}: expected tamrf_xr.simulate.Event")
    return events


def _check_latitude(config: SceneConfig) -> None:
    if not 0.3 <= config.latitude <= 66:
        raise OptionError(
            f"top is {config.top:.0f} m, at {config.latitude:.0f} degrees north: expected 0.3 to "
            "66 (33 thousand to 7.3 million m), where the sun is up at the overpass all year"
        )


LARGEST_PX = 12_000
"""A tile of Sentinel-2 has 10980: no memory holds more."""

_DEVIATIONS = (
    "noise_",
    "offset_",
    "gain_",
    "cover_",
    "patch_",
    "landsat_unsteadiness",
    "registration_",
    "haze_",
    "view_",
)


def _check_at_least(config: SceneConfig, names: Iterable[str], least: int) -> None:
    for name in names:
        value = getattr(config, name)
        if not value >= least:
            raise OptionError(f"{name} is {value}: expected at least {least}")

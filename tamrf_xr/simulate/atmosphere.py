"""The sky: clouds, the shadows they throw, thin cirrus, haze. Different on each date."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import betaincinv, ndtr, ndtri

from tamrf_xr.sensors import SENSORS
from tamrf_xr.simulate import spectra
from tamrf_xr.simulate.aerosol import MOST_AEROSOL, Veil, draw_aerosol
from tamrf_xr.simulate.biomes import Biome, biome_of
from tamrf_xr.simulate.config import SceneConfig
from tamrf_xr.simulate.departures import steadiness
from tamrf_xr.simulate.fields import Field, broad, fractal, pass_over, stream
from tamrf_xr.simulate.orbits import SOLAR_HOUR
from tamrf_xr.simulate.weather import sun

Spectrum = NDArray[np.float32]
"""One value a band."""

PIXEL = 10.0
"""Metres."""


@dataclass(frozen=True, slots=True)
class CloudKind:
    """A kind of cloud."""

    longest_px: float
    """Size of its widest structures, in 10 m pixels."""

    slope: float
    """Exponent of its power spectrum."""

    density: float
    """Optical depth gained per standard deviation of the field: how hard its edges are."""

    height_m: tuple[float, float]
    """Range of its height above ground, in metres."""

    colder: float
    """How much colder than air at the ground its top is, in K."""

    most: float = 1.0
    """Cover above which there is none of it."""


KINDS = (
    CloudKind(35, 3.8, 6.0, (600, 1500), 7.0, 0.4),  # fair weather cumulus
    CloudKind(60, 4.0, 5.0, (700, 1600), 9.0, 0.7),  # cumulus
    CloudKind(180, 3.6, 4.0, (900, 2400), 12.0),  # stratocumulus
    CloudKind(500, 3.6, 2.2, (2000, 5000), 28.0),  # altostratus
)
"""How common each is: `tamrf_xr.simulate.biomes.Biome.clouds`."""

CIRRUS_ODDS = 0.45
"""Fraction of the dates with thin cirrus, relative to cloudiness."""

CLOUD_COLOUR = ((0.43, 0.90, 1.61, 2.19), (1.0, 0.98, 0.70, 0.57))
"""Brightness of cloud by wavelength (micrometres), relative: ice and drops absorb in the SWIR."""

CIRRUS_COLOUR = ((0.43, 0.86, 1.61, 2.19), (1.0, 0.80, 0.42, 0.28))
"""Brightness of thin cirrus by wavelength, relative."""

HAZE_FALL = (0.5, 1.6)
"""Range of the power of wavelength by which haze fades: small particles fade faster."""

PERSISTENCE = (0.85, 0.45, 0.25)
"""Weight of the day and of the days before it in its cover: weather lasts some days."""


@dataclass(frozen=True, slots=True)
class Sky:
    """What lies between the ground and a sensor on one date; fields on the 10 m grid."""

    opacity: Field
    """Of cloud, 0 to 1."""

    brightness: Field
    """Reflectance of cloud in the visible."""

    shade: Field
    """Part of the direct light that clouds keep off, 0 to 1."""

    cirrus: Field
    """Opacity of thin cirrus, 0 to 0.5."""

    haze: Field
    """Left by the correction of the atmosphere, in blue reflectance; below 0 where it took more."""

    haze_fall: float
    """Power of wavelength by which it fades."""

    top_kelvin: float
    """Of cloud tops below the air at the ground, in K."""

    sunshine: float
    """The sun's power, 1 at midsummer."""

    aerosol: Veil | None = None
    """Dust or smoke, where there is any."""

    @property
    def spoils(self) -> NDArray[np.bool_]:
        """Where the ground is not seen as it is: errors exceed those of a clear date."""
        veiled = (self.cirrus > 0.04) | (np.abs(self.haze) > 0.03)
        if self.aerosol is not None:
            veiled |= self.aerosol.amount > MOST_AEROSOL
        return (self.opacity > 0.03) | (self.shade > 0.10) | veiled


def draw_sky(config: SceneConfig, sensor: str, day: int, shape: tuple[int, int]) -> Sky:
    """Draw the sky of one acquisition. Sensors that pass on one day meet the same cover.

    Parameters
    ----------
    config
        The scene: its seed, how cloudy and hazy it is, its latitude.
    sensor
        Name of the sensor.
    day
        Of the series, from 0.
    shape
        10 m pixels (y, x).

    Returns
    -------
    Sky
        The sky.
    """
    biome = biome_of(config.biome)
    cover = _draw_cover(config.seed, day, _cloudiness(config, biome, day))
    kind = _draw_kind(stream(config.seed, "cloud kind", day), cover, biome.clouds)
    rng = stream(config.seed, "sky " + sensor, day)
    # The field is periodic and wider than the scene: shadows come in from clouds outside it.
    domain = fft.next_fast_len(max(shape) + 250, real=True)
    field = fractal(rng, (domain, domain), slope=kind.slope, longest=kind.longest_px)
    depth = kind.density * np.maximum(field - np.float32(ndtri(1 - cover)), 0)
    billow = None
    if depth.any():
        billow = fractal(rng, (domain, domain), slope=2.4, longest=60)
    else:
        pass_over(rng, (domain, domain))
    zenith, azimuth = sun(day, config.latitude, SOLAR_HOUR[sensor])
    shift = _shadow_shift(zenith, azimuth, rng.uniform(*kind.height_m))
    opacity, brightness, shade = _clouds(depth, billow, shift)
    rows, columns = (slice(0, size) for size in shape)
    return Sky(
        opacity=opacity[rows, columns],
        brightness=brightness[rows, columns],
        shade=shade[rows, columns],
        cirrus=_draw_cirrus(rng, shape, odds=CIRRUS_ODDS * config.cloudiness),
        haze=_draw_haze(rng, shape, steadiness(config, sensor) * config.haze_reflectance),
        haze_fall=rng.uniform(*HAZE_FALL),
        top_kelvin=kind.colder * rng.uniform(0.6, 1.4),
        sunshine=float(np.cos(zenith) / np.cos(sun(172)[0])),
        aerosol=draw_aerosol(config.seed, day, shape, biome.aerosol),
    )


def _clouds(depth: Field, billow: Field | None, shift: tuple[int, int]) -> tuple[Field, ...]:
    """Return opacity, brightness and shade of clouds: 0 everywhere where there are none."""
    if billow is None:
        return (np.zeros_like(depth),) * 3
    opacity = 1 - np.exp(-depth)
    shade = np.roll(1 - np.exp(-1.5 * depth), shift, (0, 1))
    bright = 0.30 + 0.50 * (1 - np.exp(-depth / 7)) + 0.035 * billow
    return opacity, np.maximum(bright, 0.15), shade


def _cloudiness(config: SceneConfig, biome: Biome, day: int) -> float:
    """Return the mean cover of a day's season."""
    if not biome.cloud_season or config.cloudiness in {0, 1}:
        return config.cloudiness
    climate = biome.climate
    season = float(climate.rainy(day)) - climate.rainy_share
    return float(np.clip(config.cloudiness + biome.cloud_season * season, 0.02, 0.97))


def _draw_cover(seed: int, day: int, cloudiness: float) -> float:
    """Draw the cover of a day: mostly near none or all, and like that of the day before."""
    if cloudiness in {0, 1}:
        return float(cloudiness)
    # Days before the first are the last of a year that is never seen.
    draws = [stream(seed, "cloud cover", (day - ago) % 100_000) for ago in range(len(PERSISTENCE))]
    level = np.dot(PERSISTENCE, [rng.standard_normal() for rng in draws])
    chance = ndtr(level / np.linalg.norm(PERSISTENCE))
    cover = betaincinv(0.4 * cloudiness, 0.4 * (1 - cloudiness), chance)
    return float(np.clip(cover, 0, 1))


def _draw_kind(rng: np.random.Generator, cover: float, common: tuple[float, ...]) -> CloudKind:
    weights = np.array([w * (cover <= kind.most) for w, kind in zip(common, KINDS, strict=True)])
    return KINDS[rng.choice(len(KINDS), p=weights / weights.sum())]


def _shadow_shift(zenith: float, azimuth: float, height_m: float) -> tuple[int, int]:
    """Return how far shadows lie from their clouds, in pixels (down, right)."""
    reach = height_m * np.tan(min(zenith, np.radians(80))) / PIXEL
    return round(reach * np.cos(azimuth)), round(-reach * np.sin(azimuth))


def _draw_haze(rng: np.random.Generator, shape: tuple[int, int], mean: float) -> Field:
    """Draw what haze was left, or taken in excess: little on most dates, much on a few."""
    amount = mean * (rng.gamma(0.7) / 0.7 - 0.6)
    field = broad(rng, shape, slope=4.0, longest=400)
    return np.asarray(np.float32(amount) * (1 + np.float32(0.3) * field), np.float32)


def _draw_cirrus(rng: np.random.Generator, shape: tuple[int, int], *, odds: float) -> Field:
    if rng.random() >= odds:
        return np.zeros(shape, np.float32)
    field = broad(rng, shape, slope=3.6, longest=350, stretch=3.0)
    amount = rng.uniform(0.02, 0.16)
    return np.asarray(np.clip(amount * (1 + field), 0, 0.5), np.float32)


def through(sky: Sky, ground: Field, sensor: str) -> Field:
    """Look at the ground through a sky.

    Parameters
    ----------
    sky
        The sky.
    ground
        Shape (band, y, x): `Ground.image`.
    sensor
        Its name.

    Returns
    -------
    numpy.ndarray
        Shape of `ground`.
    """
    seen = ground.copy()
    shaded, clouded, veiled = (field.any() for field in (sky.shade, sky.opacity, sky.cirrus))
    wavelengths = spectra.WAVELENGTHS[spectra.columns(sensor)]
    for image, wavelength, *colours in zip(seen, wavelengths, *_colours(sky, sensor), strict=False):
        skylight, fade, icy, white = colours
        if shaded:
            image *= 1 - sky.shade * (1 - skylight)
        image += sky.haze * fade * (1 - 2 * image)
        if sky.aerosol is not None:
            sky.aerosol.lay(image, wavelength)
        if veiled:
            image += sky.cirrus * (np.float32(0.45) * icy - np.float32(0.7) * image)
        if clouded:
            image += sky.opacity * (sky.brightness * white - image)
    if SENSORS[sensor].thermal:
        seen[-1] = _cooled(sky, ground[-1])
    return seen


def _colours(sky: Sky, sensor: str) -> tuple[Spectrum, ...]:
    """Return by band: light in shadow, what haze fades to, brightness of cirrus and of cloud."""
    bands = spectra.columns(sensor)
    wavelengths = spectra.WAVELENGTHS[bands]
    cirrus, cloud = (
        np.interp(wavelengths, *table).astype(np.float32) for table in (CIRRUS_COLOUR, CLOUD_COLOUR)
    )
    fade = (wavelengths / np.float32(0.49)) ** np.float32(-sky.haze_fall)
    return spectra.SKYLIGHT[bands], fade, cirrus, cloud


def _cooled(sky: Sky, warm: Field) -> Field:
    """Return the temperature seen: shadows cool the ground, clouds and cirrus hide it."""
    shaded = warm - np.float32(4 * sky.sunshine) * sky.shade
    veiled = shaded - np.float32(25) * sky.cirrus
    return np.asarray(veiled - sky.opacity * (veiled - (warm - np.float32(sky.top_kelvin))))

"""The sky: clouds, the shadows they throw, thin cirrus. Different on each date."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import ndtri

from tamrf_xr.simulate import spectra
from tamrf_xr.simulate.fields import Field, fractal, stream
from tamrf_xr.simulate.ground import sunshine
from tamrf_xr.simulate.weather import sun

PIXEL = 10.0
"""Metres."""


@dataclass(frozen=True, slots=True)
class CloudKind:
    """A kind of cloud."""

    weight: float
    """How common it is, relative."""

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


KINDS = (
    CloudKind(0.40, 60, 4.0, 5.0, (700, 1600), 9.0),  # cumulus
    CloudKind(0.35, 180, 3.6, 4.0, (900, 2400), 12.0),  # stratocumulus
    CloudKind(0.25, 500, 3.6, 2.2, (2000, 5000), 28.0),  # altostratus
)

CIRRUS_ODDS = 0.45
"""Fraction of the dates with thin cirrus, relative to cloudiness."""

CLOUD_COLOUR = ((0.43, 0.90, 1.61, 2.19), (1.0, 0.98, 0.70, 0.57))
"""Brightness of cloud by wavelength (micrometres), relative: ice and drops absorb in the SWIR."""

SHADOW_LIGHT = ((0.44, 0.49, 0.66, 0.86, 1.61, 2.19), (0.34, 0.29, 0.22, 0.21, 0.20, 0.17))
"""Part of the light that reaches the ground in full shadow, by wavelength."""

CIRRUS_COLOUR = ((0.43, 0.86, 1.61, 2.19), (1.0, 0.80, 0.42, 0.28))
"""Brightness of thin cirrus by wavelength, relative."""


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

    top_kelvin: float
    """Of cloud tops below the air at the ground, in K."""

    day: float
    """Of the year."""

    @property
    def spoils(self) -> NDArray[np.bool_]:
        """Where the ground is not seen as it is: errors exceed those of a clear date."""
        return (self.opacity > 0.03) | (self.shade > 0.10) | (self.cirrus > 0.04)


def draw_sky(seed: int, sensor: str, day: int, shape: tuple[int, int], *, cloudiness: float) -> Sky:
    """Draw the sky of one acquisition. Sensors that pass on one day meet the same cover.

    Parameters
    ----------
    seed
        Of the scene.
    sensor
        Name of the sensor.
    day
        Of the year, from 0.
    shape
        10 m pixels (y, x).
    cloudiness
        Mean cover over the dates, 0..1.

    Returns
    -------
    Sky
        The sky.
    """
    today = stream(seed, "cloud cover", day)
    cover, kind = _draw_cover(today, cloudiness), _draw_kind(today)
    rng = stream(seed, "sky " + sensor, day)
    # The field is periodic and wider than the scene: shadows come in from clouds outside it.
    domain = fft.next_fast_len(max(shape) + 250, real=True)
    field = fractal(rng, (domain, domain), slope=kind.slope, longest=kind.longest_px)
    billow = fractal(rng, (domain, domain), slope=2.4, longest=60)
    depth = kind.density * np.maximum(field - np.float32(ndtri(1 - cover)), 0)
    opacity = 1 - np.exp(-depth)
    shade = np.roll(
        1 - np.exp(-1.5 * depth), _shadow_shift(day, rng.uniform(*kind.height_m)), (0, 1)
    )
    bright = 0.30 + 0.50 * (1 - np.exp(-depth / 7)) + 0.035 * billow
    rows, columns = (slice(0, size) for size in shape)
    return Sky(
        opacity=opacity[rows, columns],
        brightness=np.maximum(bright, 0.15)[rows, columns],
        shade=shade[rows, columns],
        cirrus=_draw_cirrus(rng, shape, odds=CIRRUS_ODDS * cloudiness),
        top_kelvin=kind.colder * rng.uniform(0.6, 1.4),
        day=day,
    )


def _draw_cover(rng: np.random.Generator, cloudiness: float) -> float:
    """Draw the cover of a day: mostly near none or all."""
    if cloudiness in {0, 1}:
        return float(cloudiness)
    cover = rng.beta(0.5 * cloudiness, 0.5 * (1 - cloudiness))
    return float(np.clip(cover, 0, 1))


def _draw_kind(rng: np.random.Generator) -> CloudKind:
    weights = np.array([kind.weight for kind in KINDS])
    return KINDS[rng.choice(len(KINDS), p=weights / weights.sum())]


def _shadow_shift(day: float, height_m: float) -> tuple[int, int]:
    """Return how far shadows lie from their clouds, in pixels (down, right)."""
    zenith, azimuth = sun(day)
    reach = height_m * np.tan(zenith) / PIXEL
    return round(reach * np.cos(azimuth)), round(-reach * np.sin(azimuth))


def _draw_cirrus(rng: np.random.Generator, shape: tuple[int, int], *, odds: float) -> Field:
    if rng.random() >= odds:
        return np.zeros(shape, np.float32)
    field = fractal(rng, shape, slope=3.6, longest=350, stretch=3.0)
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
    bands = spectra.columns(sensor)
    wavelengths = spectra.WAVELENGTHS[bands]
    count = wavelengths.size

    def by_band(table: tuple[tuple[float, ...], tuple[float, ...]]) -> Field:
        return np.interp(wavelengths, *table).astype(np.float32)[:, None, None]

    seen = ground[:count] * (1 - sky.shade * (1 - by_band(SHADOW_LIGHT)))
    seen += sky.cirrus * (np.float32(0.45) * by_band(CIRRUS_COLOUR) - np.float32(0.7) * seen)
    seen += sky.opacity * (sky.brightness * by_band(CLOUD_COLOUR) - seen)
    if len(ground) == count:
        return seen
    return np.concatenate([seen, _cooled(sky, ground[count:])])


def _cooled(sky: Sky, warm: Field) -> Field:
    """Return the temperature seen: shadows cool the ground, clouds and cirrus hide it."""
    shaded = warm - np.float32(4 * sunshine(sky.day)) * sky.shade
    veiled = shaded - np.float32(25) * sky.cirrus
    return np.asarray(veiled - sky.opacity * (veiled - (warm - np.float32(sky.top_kelvin))))

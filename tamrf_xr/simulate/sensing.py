"""How a sensor takes an image: a shift, its blur, its sampling, its noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.keys import cubic
from tamrf_xr.psf import blur, downsample, upsample
from tamrf_xr.sensors import FINE_GSD, SENSORS, SENTINEL2, Band, Sensor
from tamrf_xr.simulate.config import SceneConfig
from tamrf_xr.simulate.departures import steadiness
from tamrf_xr.simulate.fields import Field, stream

LEAST = 1e-4
"""Least value of a sensor's reflectance: 0 means no data in many products."""

LEAST_GAIN = 0.5
"""Of a date: a product darker than that is not delivered."""

COARSEST_REFLECTIVE = 30.0
"""Metres; bands of larger pixels are thermal."""

Disturb = Callable[[Field, list[int]], Field]
"""What happens to native pixels: values (band, y, x) and the places of their bands, to values."""


def degrade(image: Field, sensor: str, *, disturb: Disturb | None = None) -> Field:
    """Blur and sample an image as a sensor does.

    Parameters
    ----------
    image
        Shape (band, y, x) on the 10 m grid, every band of the sensor, the thermal one last.
        Edges are multiples of 6.
    sensor
        Its name.
    disturb
        Noise; by default none.

    Returns
    -------
    numpy.ndarray
        Shape (band, y, x) on the grid of its group: bands of 20 m are brought back to 10 m by
        bicubic interpolation, as stacks of L2A products are.
    """
    row = SENSORS[sensor]
    blurred = blur(image, [b.mtf for b in row.all_bands], [b.gsd for b in row.all_bands])
    out = np.empty((len(image), *(size // row.ratio for size in image.shape[1:])), np.float32)
    for factor, places in _samplings(row).items():
        native = downsample(blurred[places], factor * row.ratio)
        native = disturb(native, places) if disturb else native
        out[places] = upsample(native, factor) if factor > 1 else native
    return out


def observe(image: Field, sensor: str, config: SceneConfig, *, rng: np.random.Generator) -> Field:
    """Take an image as a sensor does, with all that goes wrong.

    Parameters
    ----------
    image
        As in `degrade`: the ground through the sky.
    sensor
        Its name.
    config
        Noise, radiometry and registration.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        Shape (band, y, x) on the grid of its group.
    """
    row = SENSORS[sensor]
    shift = draw_shift(rng, sensor, config)
    gain, offset = _draw_radiometry(rng, row, config)

    def disturb(values: Field, places: list[int]) -> Field:
        disturbed = values * gain[places] + offset[places]
        noise = rng.standard_normal(disturbed.shape, dtype=np.float32)
        return disturbed + noise * _deviation(disturbed, [row.all_bands[i] for i in places], config)

    taken = degrade(move(image, shift), sensor, disturb=disturb)
    return np.maximum(taken, np.float32(LEAST), out=taken)


def draw_shift(rng: np.random.Generator, sensor: str, config: SceneConfig) -> NDArray[np.float64]:
    """Draw how far an acquisition lies off, in 10 m pixels (down, right): the first draw of it."""
    own = rng.normal(0, config.registration_m / FINE_GSD, 2)
    return np.asarray(own + _offset(config, sensor))


def _offset(config: SceneConfig, sensor: str) -> NDArray[np.float64]:
    """Draw how far a sensor's archive lies off, in pixels; Sentinel-2 is the reference."""
    if sensor == SENTINEL2.name:
        return np.zeros(2)
    return stream(config.seed, "registration " + sensor).normal(
        0, config.registration_m / FINE_GSD, 2
    )


def move(image: Field, shift: Sequence[float] | NDArray[np.float64]) -> Field:
    """Shift an image by fractions of a pixel (down, right), by cubic convolution.

    Examples
    --------
    >>> flat = np.ones((1, 8, 8), np.float32)
    >>> bool(np.allclose(move(flat, (0.3, -1.6)), 1))
    True
    """
    for axis, distance in zip((-2, -1), shift, strict=True):
        if distance:
            image = np.stack([_slide(band, _taps(float(distance)), axis) for band in image])
    return image


def _slide(band: Field, taps: NDArray[np.float64], axis: int) -> Field:
    """Weigh the neighbours along an axis; a sum of slices takes a third of what scipy does."""
    reach, size = len(taps) // 2, band.shape[axis]
    margin = [(0, 0), (0, 0)]
    margin[axis] = (reach, reach)
    wide = np.moveaxis(np.pad(band, margin, mode="reflect"), axis, 0)
    total = np.zeros_like(np.moveaxis(band, axis, 0))
    for place in np.flatnonzero(taps):
        total += np.float32(taps[place]) * wide[place : place + size]
    return np.moveaxis(total, 0, axis)


def _taps(distance: float) -> NDArray[np.float64]:
    """Return the weights of the neighbours (Keys 1981, -0.5) that move an image forward."""
    reach = math.ceil(abs(distance)) + 1
    apart = np.abs(np.arange(-reach, reach + 1) + distance)
    return cubic(apart, -0.5)


def _samplings(row: Sensor) -> dict[int, list[int]]:
    """Return the places of bands by how many pixels of the grid lie across a native one."""
    places: dict[int, list[int]] = {}
    for place, band in enumerate(row.all_bands):
        # Temperature is sampled finer than it is resolved: it comes on the grid already.
        factor = 1 if band is row.thermal else round(band.gsd / row.gsd)
        places.setdefault(factor, []).append(place)
    return places


def _draw_radiometry(
    rng: np.random.Generator, row: Sensor, config: SceneConfig
) -> tuple[Field, Field]:
    """Draw the gain and the offset of a date: common to the bands, and a little of each."""
    count, size = len(row.bands), steadiness(config, row.name)
    drawn = rng.standard_normal() + 0.3 * rng.standard_normal(count)
    gain = np.maximum(1 + size * config.gain_relative * drawn, LEAST_GAIN)
    blue = np.array([band.center_wavelength / 0.49 for band in row.bands])
    haze = size * config.offset_reflectance * rng.standard_normal() * blue**-1.3
    warm = config.offset_kelvin * rng.standard_normal()
    if row.thermal:
        gain, haze = np.append(gain, 1.0), np.append(haze, warm)
    return gain.astype(np.float32)[:, None, None], haze.astype(np.float32)[:, None, None]


def _deviation(values: Field, bands: Sequence[Band], config: SceneConfig) -> Field:
    """Return the standard deviation of the noise of every pixel."""
    deviation = np.hypot(
        np.float32(config.noise_reflectance), np.float32(config.noise_relative) * values
    )
    for place, band in enumerate(bands):
        if band.gsd > COARSEST_REFLECTIVE:
            deviation[place] = config.noise_kelvin
    return np.asarray(deviation)

"""What reflectance of a date departs from the land by: unlike from field to field, and in patches.

Clear dates a few days apart differ by more than sun, view and growth explain: moisture of soils and
leaves, wind in a canopy, anisotropy unlike the kernels', light from neighbours, what is left of
thin cloud and aerosol. No method predicts it, and one that never saw it believes every date.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.sensors import SENSORS, SENTINEL2
from tamrf_xr.simulate.config import SceneConfig
from tamrf_xr.simulate.fields import Field, broad, stream
from tamrf_xr.simulate.landscape import Landscape
from tamrf_xr.simulate.spectra import WAVELENGTHS

MOST = 0.35
"""Most by which a parcel departs, as a logarithm."""

COLOUR = 0.5
"""How unlike the bands depart: per octave of wavelength, relative to what they share."""

LONGEST_PX = 200
"""Length of patches, in 10 m pixels: they go from 100 m to 2 km."""

VEIL = 0.15
"""Blue reflectance of the patches that are added, for each part of those that multiply."""

VEIL_FALL = 0.8
"""Power of wavelength by which they fade."""

_OCTAVES = np.log2(WAVELENGTHS / 0.8)


def steadiness(config: SceneConfig, sensor: str) -> float:
    """Return how much the dates of a sensor depart, relative to those of Sentinel-2."""
    return 1.0 if sensor == SENTINEL2.name else config.landsat_unsteadiness


def of_parcels(
    config: SceneConfig, land: Landscape, sensor: str, day: int
) -> NDArray[np.float32] | None:
    """Draw the gain of every parcel on a date, by band: alike where the cover is; None for 1.

    Returns
    -------
    numpy.ndarray or None
        Shape (parcels, columns of the tables of spectra).
    """
    size = config.cover_relative * steadiness(config, sensor)
    if not size:
        return None
    rng = stream(config.seed, "cover " + sensor, day)
    classes, own = np.unique(land.covers, return_inverse=True)
    # Two parts of three of the variance are of the class, one of the parcel.
    shared = rng.standard_normal((classes.size, 2))[own] * np.sqrt(2 / 3)
    each = shared + rng.standard_normal((own.size, 2)) * np.sqrt(1 / 3)
    departure = size * (each[:, :1] + COLOUR * each[:, 1:] * _OCTAVES)
    return np.asarray(np.exp(np.clip(departure, -MOST, MOST)), np.float32)


def add_patches(image: Field, config: SceneConfig, sensor: str, day: int) -> None:
    """Change an image (band, y, x) of all bands of a sensor by smooth patches, in place."""
    size = config.patch_relative * steadiness(config, sensor)
    if not size:
        return
    rng = stream(config.seed, "patches " + sensor, day)
    shape = (image.shape[1], image.shape[2])
    gain, veil = (broad(rng, shape, slope=3.2, longest=LONGEST_PX) for _ in range(2))
    gain *= np.float32(size)
    gain += 1
    for band, row in zip(image, SENSORS[sensor].bands, strict=False):
        fade = (row.center_wavelength / 0.49) ** -VEIL_FALL
        band *= gain
        band += np.float32(size * VEIL * fade) * veil

"""What things look like: spectra of pure materials, and what each band makes of them.

Reflectances were set by hand within the percentiles of clear Sentinel-2 L2A pixels of Belgium
(tiles 31UFS and 31UDS); they are nobody's measurements. Soils and waters of a scene vary about
them so far that bright ones reach the desert of tile 29RKH.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.sensors import LANDSAT, SENTINEL2

_KNOTS = np.array([0.430, 0.490, 0.560, 0.600, 0.665, 0.705, 0.740, 0.783, 0.865, 1.610, 2.190])
"""Wavelengths of the table below, in micrometres; straight lines between them."""

_PERCENT: dict[str, tuple[float, ...]] = {
    "crop": (1.5, 2.2, 5.6, 3.8, 1.7, 9.0, 37.5, 48.0, 52.0, 19.5, 8.4),
    "grass": (1.9, 2.8, 6.4, 4.7, 2.5, 10.6, 34.0, 43.0, 46.0, 22.5, 11.4),
    "broadleaf": (1.1, 1.8, 4.1, 3.0, 1.7, 7.2, 28.0, 36.5, 39.0, 16.0, 7.0),
    "conifer": (1.1, 1.6, 3.0, 2.4, 1.9, 5.0, 14.5, 18.0, 19.5, 9.0, 4.2),
    "flower": (2.8, 4.5, 13.5, 14.0, 11.5, 19.0, 35.0, 42.0, 44.0, 20.0, 10.0),
    "straw": (6.0, 7.8, 11.2, 12.8, 15.0, 18.0, 21.0, 23.0, 26.5, 32.0, 24.5),
    "litter": (2.8, 3.6, 5.2, 6.2, 7.0, 9.8, 14.0, 16.0, 18.5, 20.5, 13.5),
    "soil_dry": (7.2, 9.0, 12.0, 13.4, 15.0, 16.8, 18.4, 19.6, 21.6, 28.0, 25.5),
    "soil_wet": (4.4, 5.7, 7.9, 8.9, 10.0, 11.3, 12.6, 13.6, 15.2, 19.0, 16.0),
    "water": (3.6, 4.0, 4.8, 3.6, 2.6, 2.3, 1.7, 1.6, 1.3, 0.6, 0.4),
    "silt": (4.2, 5.0, 7.2, 6.6, 5.6, 5.0, 3.0, 2.7, 2.0, 0.8, 0.5),
    "tile": (6.4, 7.4, 9.6, 13.0, 16.5, 18.0, 19.2, 20.0, 21.5, 26.0, 22.5),
    "slate": (7.0, 7.8, 8.8, 9.2, 9.6, 10.0, 10.3, 10.6, 11.2, 13.5, 13.0),
    "steel": (31.0, 34.0, 36.0, 36.5, 37.0, 37.2, 37.4, 37.6, 38.0, 35.0, 31.0),
    "asphalt": (7.8, 9.0, 10.2, 10.8, 11.4, 11.9, 12.4, 12.9, 13.8, 16.5, 15.5),
    "gravel": (15.5, 19.0, 24.5, 27.0, 30.0, 31.5, 32.5, 33.2, 34.0, 39.0, 35.0),
    "snow": (86.0, 86.0, 86.0, 85.5, 85.0, 84.0, 83.0, 81.5, 78.0, 11.0, 8.0),
}

MATERIALS = tuple(_PERCENT)
"""Names of the pure materials."""

_WIDTHS: dict[tuple[str, str], float] = {
    ("sentinel2", "B02"): 0.066,
    ("sentinel2", "B03"): 0.036,
    ("sentinel2", "B04"): 0.031,
    ("sentinel2", "B05"): 0.015,
    ("sentinel2", "B06"): 0.015,
    ("sentinel2", "B07"): 0.020,
    ("sentinel2", "B08"): 0.106,
    ("sentinel2", "B8A"): 0.021,
    ("sentinel2", "B11"): 0.091,
    ("sentinel2", "B12"): 0.175,
    ("landsat", "B01"): 0.016,
    ("landsat", "B02"): 0.060,
    ("landsat", "B03"): 0.057,
    ("landsat", "B04"): 0.037,
    ("landsat", "B05"): 0.028,
    ("landsat", "B06"): 0.085,
    ("landsat", "B07"): 0.187,
}
"""Widths of the band passes, in micrometres."""

BANDS = tuple((sensor.name, band.name) for sensor in (SENTINEL2, LANDSAT) for band in sensor.bands)
"""Sensor and name of every reflectance band: the columns of every table of spectra here."""

WAVELENGTHS = np.array(
    [band.center_wavelength for sensor in (SENTINEL2, LANDSAT) for band in sensor.bands],
    dtype=np.float32,
)
"""Of `BANDS`, in micrometres."""

SKYLIGHT = np.interp(
    WAVELENGTHS, (0.44, 0.49, 0.66, 0.86, 1.61, 2.19), (0.40, 0.35, 0.28, 0.27, 0.25, 0.21)
).astype(np.float32)
"""Part of the light that reaches the ground in full shadow, by band."""

_HEAT: dict[str, float] = {
    "crop": 3.0,
    "grass": 4.0,
    "broadleaf": 1.5,
    "conifer": 1.0,
    "flower": 3.5,
    "straw": 14.0,
    "litter": 9.0,
    "soil_dry": 16.0,
    "soil_wet": 6.0,
    "tile": 13.0,
    "slate": 14.0,
    "steel": 11.0,
    "asphalt": 15.0,
    "gravel": 15.0,
}

HEAT = np.array([_HEAT.get(name, 0.0) for name in MATERIALS], dtype=np.float32)
"""Surface above air temperature in full June sun at the hour of the overpass, in K."""


def columns(sensor: str) -> slice:
    """Return the columns of one sensor in the tables."""
    first = [name for name, _ in BANDS].index(sensor)
    return slice(first, first + sum(name == sensor for name, _ in BANDS))


def index(*names: str) -> list[int]:
    """Return the rows of materials in the tables."""
    return [MATERIALS.index(name) for name in names]


def material_spectra() -> NDArray[np.float32]:
    """Return the reflectance of every material in every band.

    Returns
    -------
    numpy.ndarray
        Shape (materials, bands), 0..1: the mean over the band pass.

    Examples
    --------
    >>> crop = material_spectra()[MATERIALS.index("crop")]
    >>> bool(crop[BANDS.index(("sentinel2", "B08"))] > 0.4)
    True
    """
    offsets = np.linspace(-0.5, 0.5, 21)
    widths = np.array([_WIDTHS[band] for band in BANDS])
    samples = WAVELENGTHS[:, None] + offsets * widths[:, None]
    passed = [np.interp(samples, _KNOTS, values).mean(axis=1) for values in _PERCENT.values()]
    return np.asarray(np.stack(passed) / 100, np.float32)


_VARIES: dict[str, float] = {"soil_dry": 0.28, "soil_wet": 0.28, "water": 0.35, "silt": 0.35}
_VARIES_ELSE = 0.08

_REDDER: dict[str, float] = {"soil_dry": 0.16, "soil_wet": 0.16, "gravel": 0.16, "tile": 0.12}
_REDDER_ELSE = 0.04


def draw_spectra(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw the materials of one region: `material_spectra`, brighter or darker, redder or bluer.

    Parameters
    ----------
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray
        Shape (materials, bands), 0..1.
    """
    table = material_spectra()
    octaves = np.log2(WAVELENGTHS / 0.8).clip(-1, 0.6)
    draws = rng.standard_normal((2, len(MATERIALS)))
    # Dry and wet soil of a region are one soil.
    draws[:, index("soil_wet")] = draws[:, index("soil_dry")]
    bright = draws[0] * [_VARIES.get(name, _VARIES_ELSE) for name in MATERIALS]
    red = draws[1] * [_REDDER.get(name, _REDDER_ELSE) for name in MATERIALS]
    change = np.clip(bright[:, None] + np.outer(red, octaves), -0.7, 0.7)
    change[index("snow")] = 0
    return np.asarray(np.minimum(table * np.exp(change), 0.95), np.float32)

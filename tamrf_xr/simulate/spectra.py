"""What things look like: spectra of pure materials, and what each band makes of them.

Reflectances were set by hand within the percentiles of clear Sentinel-2 L2A pixels of Belgium
(tiles 31UFS and 31UDS); they are nobody's measurements. Soils and waters of a scene vary about
them so far that bright ones reach the desert of tile 29RKH.
"""

from __future__ import annotations

from collections.abc import Sequence

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
"""Names of the pure materials of temperate land; every scene has them."""

_PERCENT_ELSEWHERE: dict[str, tuple[float, ...]] = {
    "sand": (13.5, 16.8, 23.8, 28.6, 34.2, 37.0, 37.9, 38.5, 39.0, 48.2, 45.9),
    "stones": (10.6, 13.0, 18.2, 22.0, 26.5, 29.2, 30.0, 30.6, 31.4, 39.0, 36.4),
    "rock": (8.8, 10.4, 13.0, 14.6, 16.4, 17.6, 18.2, 18.8, 19.8, 23.5, 21.5),
    "red_soil": (5.6, 7.2, 10.6, 14.6, 18.6, 22.2, 24.5, 25.4, 28.0, 36.3, 28.5),
    "brown_soil": (5.4, 6.8, 9.6, 11.6, 14.2, 16.6, 18.4, 19.6, 22.4, 29.5, 24.5),
    "pale_soil": (8.2, 10.2, 13.2, 15.6, 18.2, 21.4, 24.5, 26.4, 29.8, 34.5, 25.0),
    "desert_soil": (10.0, 12.4, 17.4, 21.0, 25.2, 27.8, 28.9, 29.7, 30.6, 38.6, 35.4),
    "scrub": (2.4, 3.4, 6.0, 5.6, 5.4, 10.6, 19.5, 22.5, 25.0, 20.0, 11.0),
    "rainforest": (1.2, 1.7, 3.6, 2.6, 1.7, 5.8, 20.5, 25.5, 28.0, 12.8, 5.2),
    "moss": (2.4, 3.4, 5.6, 6.4, 7.2, 10.5, 15.5, 18.5, 21.5, 16.5, 9.5),
    "paddy": (4.8, 6.0, 8.6, 9.0, 8.8, 8.4, 6.4, 6.2, 5.2, 2.4, 1.5),
    "sea": (4.6, 3.6, 2.5, 1.5, 1.0, 0.9, 0.7, 0.6, 0.5, 0.2, 0.15),
    "turbid": (6.2, 8.2, 12.2, 13.0, 12.2, 11.4, 7.2, 6.8, 5.0, 0.6, 0.4),
    "mud": (6.6, 8.2, 10.4, 11.4, 12.4, 12.8, 13.2, 13.4, 13.8, 8.5, 5.8),
    "beach": (15.0, 18.6, 23.6, 26.6, 29.6, 31.2, 32.4, 33.4, 35.0, 40.0, 35.5),
    "concrete": (14.5, 17.0, 20.0, 21.4, 22.8, 23.8, 24.4, 24.9, 25.6, 27.5, 25.0),
    "char": (2.6, 3.1, 3.8, 4.2, 4.8, 5.3, 5.9, 6.5, 7.9, 12.8, 13.2),
    "lava": (3.6, 4.2, 4.9, 5.3, 5.7, 6.0, 6.2, 6.4, 6.8, 9.4, 9.2),
}
"""Materials of other land, as `_PERCENT`. Where each is from:

- sand, stones, desert_soil: quantiles 50, about 4, and between, of Sentinel-2 tile 29RKH;
- red_soil: medians of a Sentinel-2 L2A image of semi-arid Tanzania (36M, TerraMind's);
- brown_soil: quantiles of clear bare dates of the series of tile 37MBS, blue to red assumed;
- pale_soil: fields of 34WFS in April and May, some 15 % darker, blue assumed;
- scrub: dry dates of 37MBS with half its cover, blue to red assumed;
- rainforest: near the quantiles 50 to 75 of woods of southern Brazil (22J, TerraMind's);
- moss, paddy, mud, rock, beach, concrete: assumed, at levels usual for them;
- sea, turbid: assumed, at levels usual for clear water and for water with 50 to 100 g of silt
  a cubic metre, which is bright up to 0.7 um and dark in the SWIR;
- char: assumed, as burnt savanna is usually told: dark, rising into the SWIR;
- lava: assumed, as fresh basalt is usually told: 4 to 9 %.
"""

_OF_ALL = _PERCENT | _PERCENT_ELSEWHERE

WET = 0.64
"""Reflectance of a wet soil relative to the dry one: as `soil_wet` to `soil_dry`, in the NIR."""

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
    "sand": 17.0,
    "stones": 18.0,
    "rock": 13.0,
    "scrub": 6.0,
    "rainforest": 1.0,
    "moss": 5.0,
    "mud": 4.0,
    "beach": 14.0,
    "concrete": 13.0,
    "char": 18.0,
    "lava": 19.0,
}


def heat(names: Sequence[str] = MATERIALS) -> NDArray[np.float32]:
    """Return how far each material is above the air in full June sun at the overpass, in K."""
    return np.array([_HEAT.get(name, 0.0) for name in names], dtype=np.float32)


def columns(sensor: str) -> slice:
    """Return the columns of one sensor in the tables."""
    first = [name for name, _ in BANDS].index(sensor)
    return slice(first, first + sum(name == sensor for name, _ in BANDS))


def index(*names: str) -> list[int]:
    """Return the rows of materials in the tables of temperate land."""
    return [MATERIALS.index(name) for name in names]


def material_spectra(names: Sequence[str] = MATERIALS) -> NDArray[np.float32]:
    """Return the reflectance of materials in every band.

    Parameters
    ----------
    names
        Materials; by default those of temperate land.

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
    passed = [np.interp(samples, _KNOTS, _OF_ALL[name]).mean(axis=1) for name in names]
    return np.asarray(np.stack(passed) / 100, np.float32)


_VARIES: dict[str, float] = {
    "soil_dry": 0.28, "soil_wet": 0.28, "water": 0.35, "silt": 0.35, "rock": 0.2, "stones": 0.12,
    "turbid": 0.15, "paddy": 0.15, "sea": 0.2, "concrete": 0.12,
}  # fmt: skip
_VARIES_ELSE = 0.08

_REDDER: dict[str, float] = {
    "soil_dry": 0.16, "soil_wet": 0.16, "gravel": 0.16, "tile": 0.12, "sand": 0.08, "stones": 0.1,
}  # fmt: skip
_REDDER_ELSE = 0.04


_SOIL_VARIES = 0.12
"""Of soils that a biome names: they vary less than those of all temperate fields."""


def draw_spectra(
    rng: np.random.Generator, *, others: Sequence[str] = (), soil: str = ""
) -> NDArray[np.float32]:
    """Draw the materials of one region: `material_spectra`, brighter or darker, redder or bluer.

    Parameters
    ----------
    rng
        Source of randomness.
    others
        Materials beside those of temperate land.
    soil
        Material whose spectrum soils have; by default that of temperate land.

    Returns
    -------
    numpy.ndarray
        Shape (materials, bands), 0..1: `MATERIALS`, then `others`.
    """
    names = (*MATERIALS, *others)
    table = material_spectra(names)
    octaves = np.log2(WAVELENGTHS / 0.8).clip(-1, 0.6)
    # No material changes what those before it draw.
    draws = np.hstack([rng.standard_normal((2, len(MATERIALS))), _pairs(rng, len(others))])
    # Dry and wet soil of a region are one soil.
    draws[:, index("soil_wet")] = draws[:, index("soil_dry")]
    varies = _VARIES
    if soil:
        own = material_spectra([soil])
        table[index("soil_dry")], table[index("soil_wet")] = own, WET * own
        varies = _VARIES | dict.fromkeys(("soil_dry", "soil_wet"), _SOIL_VARIES)
    bright = draws[0] * [varies.get(name, _VARIES_ELSE) for name in names]
    red = draws[1] * [_REDDER.get(name, _REDDER_ELSE) for name in names]
    change = np.clip(bright[:, None] + np.outer(red, octaves), -0.7, 0.7)
    change[index("snow")] = 0
    return np.asarray(np.minimum(table * np.exp(change), 0.95), np.float32)


def _pairs(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return rng.standard_normal((count, 2)).T

"""How the variables of a cube are encoded on disk: int16 with a scale, or as floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from tamrf_xr import panchromatic

FILL = -32768
SCALES = {
    "reflectance": 1e-4,
    "surface_temperature": 0.1,
    panchromatic.NAME: 1e-4,
    "backscatter": 0.01,
}
"""Physical units per stored unit, by variable."""


def floating(variable: str) -> dict[str, Any]:
    """Return the encoding of values that may not fit int16: as they are, NaN where no data is."""
    mapping = panchromatic.GRID_MAPPING if variable == panchromatic.NAME else "spatial_ref"
    nan = np.float32(np.nan)
    fill = {"_FillValue": nan, "fill_value": nan} if variable in SCALES else {}
    return {**fill, "grid_mapping": mapping}


def packing(variable: str) -> dict[str, Any]:
    """Return the encoding of values that fit int16: with scale and fill value.

    xarray and rioxarray write by it and wrap what does not fit: only for values that were clipped,
    or read from integers.
    """
    if variable not in SCALES:
        return floating(variable)
    # Zarr's own fill_value too, or chunks that are missing would read as reflectance 0.
    packed = {"scale_factor": SCALES[variable], "_FillValue": FILL, "fill_value": FILL}
    return {**floating(variable), "dtype": "int16", **packed}


def limit_of(variable: str) -> np.float32:
    """Return the largest value of a variable that int16 holds."""
    return np.float32(-FILL - 1) * np.float32(SCALES[variable])

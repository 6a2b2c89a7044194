"""Wavelengths that data state, held against the bands that their names say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.errors import CubeError
from tamrf_xr.sensors import Sensor

_BEYOND = {
    "sentinel2": {"B01": 0.443, "B09": 0.945, "B10": 1.375},
    "landsat": {"panchromatic": 0.59, "cirrus": 1.373, "thermal 2": 12.0},
}


_ALSO = {"landsat": {"LST": 11.45}}
"""Where a band lies on other platforms: the thermal band of Landsat-4 and -5."""


def check_wavelengths(names: Sequence[str], wavelengths: Sequence[float], sensor: Sensor) -> None:
    """Hold the wavelengths that data give against the bands that their names mean.

    Parameters
    ----------
    names
        Names in a cube.
    wavelengths
        In micrometres or nanometres, NaN where there is none.
    sensor
        The sensor.

    Raises
    ------
    CubeError
        If another band of the sensor is nearer.
    """
    known = {band.name: band.center_wavelength for band in sensor.all_bands}
    known |= _BEYOND[sensor.name]
    for name, given in zip(names, wavelengths, strict=True):
        if not np.isfinite(given) or given <= 0:
            continue
        length = given / 1000 if given > 100 else given
        if np.isclose(_ALSO.get(sensor.name, {}).get(name, np.inf), length, atol=0.05):
            continue
        nearest = min(known, key=lambda band: abs(np.log(known[band] / length)))
        if nearest != name and abs(known[nearest] - known[name]) > 1e-3:
            raise CubeError(
                f"{name} of {sensor.title} lies at {known[name]:g} um, the data say {length:.4g} "
                f"um, which is {nearest}: rename the band, or correct its center_wavelength"
            )


def wavelengths_of(array: xr.DataArray, count: int) -> list[float]:
    """Return the wavelengths that an array gives for its bands, NaN where it gives none."""
    for key in ("center_wavelength", "eo:center_wavelength", "wavelength", "radiation_wavelength"):
        if key in array.coords and set(array[key].dims) <= {"band"}:
            return _floats(np.broadcast_to(np.ravel(array[key].values), count))
        if key in array.attrs and count == 1:
            return _floats(np.ravel(array.attrs[key])[:1])
    entries = array.attrs.get("eo:bands")
    if isinstance(entries, (list, tuple)) and len(entries) == count:
        return _floats(
            [e.get("center_wavelength") if isinstance(e, Mapping) else None for e in entries]
        )
    return [np.nan] * count


def _floats(values: Any) -> list[float]:
    found = []
    for value in values:
        try:
            found.append(float(value))
        except (TypeError, ValueError):
            found.append(np.nan)
    return found

"""The series of one pixel: what was fused, what was observed, and what of that was usable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tamrf_xr.cube import grid_of
from tamrf_xr.sensors import SENSORS, THERMAL
from tamrf_xr.view.images import Layer

NDVI = "NDVI"


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one pixel of a layer."""

    times: pd.DatetimeIndex
    """Those with a value."""

    values: NDArray[np.float32]
    """Reflectance, kelvin, or an index."""

    valid: NDArray[np.bool_]
    """Whether they are usable."""


def quantities(layer: Layer) -> list[str]:
    """List what a series can be of: NDVI, common names of bands, temperature."""
    rows = {band.name: band.common_name for band in SENSORS[layer.sensor].bands}
    names = [rows[band] for band in layer.bands]
    has_ndvi = "red" in names and _near_infrared(layer) is not None
    thermal = [THERMAL] if "surface_temperature" in layer.group else []
    return ([NDVI] if has_ndvi else []) + names + thermal


def read_series(layer: Layer, quantity: str, x: float, y: float) -> Series | None:
    """Read the pixel that a place lies in.

    Parameters
    ----------
    layer
        Of what.
    quantity
        One of `quantities`, of any sensor.
    x, y
        In its CRS.

    Returns
    -------
    Series or None
        None where the layer has no such quantity, or does not cover the place.
    """
    grid = grid_of(layer.group)
    left, bottom, right, top = grid.bounds
    if quantity not in quantities(layer) or not (left <= x < right and bottom < y <= top):
        return None
    row, column = int((top - y) // grid.gsd), int((x - left) // grid.gsd)
    pixel = layer.group.isel(y=row, x=column)
    if quantity == THERMAL:
        values = np.asarray(pixel["surface_temperature"].values, np.float32)
    else:
        bands = np.asarray(pixel["reflectance"].transpose("band", "time").values, np.float32)
        values = _of_bands(layer, quantity, dict(zip(layer.bands, bands, strict=True)))
    known = np.isfinite(values)
    valid = np.asarray(pixel["valid"].values, bool) if "valid" in pixel else known
    return Series(layer.times[known], values[known], valid[known])


def _of_bands(
    layer: Layer, quantity: str, bands: dict[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    if quantity != NDVI:
        return bands[_named(layer, quantity)]
    red, near = bands[_named(layer, "red")], bands[_near_infrared(layer) or ""]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((near - red) / (near + red), np.float32)


def _named(layer: Layer, common_name: str) -> str:
    """Return the band of a common name that a layer has."""
    rows = SENSORS[layer.sensor].bands
    return next(b.name for b in rows if b.common_name == common_name and b.name in layer.bands)


def _near_infrared(layer: Layer) -> str | None:
    """Return the band of NDVI: the 10 m one of Sentinel-2, B05 of Landsat."""
    rows = SENSORS[layer.sensor].bands
    names = {b.common_name: b.name for b in rows if b.name in layer.bands}
    return names.get("nir") or names.get("nir08")

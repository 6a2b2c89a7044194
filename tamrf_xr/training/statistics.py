"""Mean and deviation of the bands of cubes, to standardise what a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xarray as xr

from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError
from tamrf_xr.methods.standardising import KELVIN, STREAMS
from tamrf_xr.model.config import STATISTICS, BandStatistics
from tamrf_xr.sensors import SENSORS
from tamrf_xr.training.sites import check_trainable


def statistics_of(cubes: Sequence[xr.DataTree]) -> BandStatistics:
    """Return mean and deviation of every band, with the published MTF and resolution.

    Reflectance 0..1 and kelvin / 1000. Every usable pixel of every date counts the same. For a
    sensor that no cube has, those published.

    Raises
    ------
    CubeError
        If masks or bands are missing, or a band has no usable pixel.
    """
    for number, cube in enumerate(cubes):
        check_trainable(cube, number)
    values: dict[str, tuple[float, ...]] = {}
    for sensor, stream in STREAMS.items():
        bands = list(SENSORS[sensor].band_names)  # a cube may have its own order
        groups = [groups_of(cube)[sensor] for cube in cubes if sensor in groups_of(cube)]
        if not groups:
            continue
        count, total, squares = np.sum([_sums(group.sel(band=bands)) for group in groups], axis=0)
        if not count.all():
            raise CubeError(f"no usable pixel of /{sensor} in {len(cubes)} cube(s)")
        mean = total / count
        values[f"{stream}_mean"] = tuple(mean.tolist())
        values[f"{stream}_std"] = tuple(np.sqrt(squares / count - mean**2).tolist())
    return replace(STATISTICS["all"], **values)


def _sums(group: xr.Dataset) -> npt.NDArray[np.float64]:
    """Return (3, band): number, sum and sum of squares of the usable pixels, date by date."""
    sums = np.zeros((3, group.sizes["band"] + ("surface_temperature" in group)))
    for date in range(group.sizes["time"]):
        image = group.isel(time=date).load()
        layers = list(image["reflectance"].values)
        if "surface_temperature" in image:
            layers.append(image["surface_temperature"].values * KELVIN)
        for band, layer in enumerate(layers):
            values = layer[image["valid"].values.astype(bool)].astype(np.float64)
            values = values[np.isfinite(values)]
            sums[:, band] += len(values), values.sum(), (values**2).sum()
    return sums

"""Mean and deviation of every band, over the usable pixels of cubes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xarray as xr

from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError
from tamrf_xr.methods.tamrf import KELVIN, STREAMS
from tamrf_xr.model.config import STATISTICS, BandStatistics
from tamrf_xr.sensors import SENSORS
from tamrf_xr.training.patches import check_trainable

Values = npt.NDArray[np.float64]


def statistics_of(cubes: Sequence[xr.DataTree]) -> BandStatistics:
    """Return the statistics of cubes, with the MTF and resolution of the published ones.

    Parameters
    ----------
    cubes
        Cubes, of both sensors or of one.

    Returns
    -------
    BandStatistics
        Reflectance 0..1 and kelvin / 1000. Every usable pixel of every date counts the same. For
        a sensor that no cube has, those published.

    Raises
    ------
    CubeError
        If masks or bands are missing, or a band has no usable pixel.
    """
    for number, cube in enumerate(cubes):
        check_trainable(cube, number)
    found: dict[str, tuple[float, ...]] = {}
    for sensor, stream in STREAMS.items():
        bands = [band.name for band in SENSORS[sensor].bands]  # a cube may have its own order
        groups = [
            groups_of(cube)[sensor].sel(band=bands) for cube in cubes if sensor in groups_of(cube)
        ]
        if not groups:
            continue
        count, total, squares = np.sum([_sums(group) for group in groups], axis=0)
        if not count.all():
            raise CubeError(f"no usable pixel of /{sensor} in {len(cubes)} cube(s)")
        mean = total / count
        found[f"{stream}_mean"] = tuple(mean.tolist())
        found[f"{stream}_std"] = tuple(np.sqrt(squares / count - mean**2).tolist())
    return replace(STATISTICS["all"], **found)


def _sums(group: xr.Dataset) -> Values:
    """Return (3, band): number, sum and sum of squares of the usable pixels, date by date."""
    sums: Values = np.zeros((3, group.sizes["band"] + ("surface_temperature" in group)))
    for date in range(group.sizes["time"]):
        seen = group.isel(time=date).load()
        layers = list(seen["reflectance"].values)
        if "surface_temperature" in seen:
            layers.append(seen["surface_temperature"].values * KELVIN)
        for band, layer in enumerate(layers):
            values = layer[seen["valid"].values.astype(bool)].astype(np.float64)
            values = values[np.isfinite(values)]
            sums[:, band] += len(values), values.sum(), (values**2).sum()
    return sums

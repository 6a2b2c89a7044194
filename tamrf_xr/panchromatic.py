"""The panchromatic band of Landsat, 15 m: a variable of /landsat on axes of its own.

Its pixels nest 2 to 1 in those of 30 m, so that whatever is cut in whole Landsat pixels cuts it
too, and 15 m never meets 10 m; see docs/decisions/007-panchromatic-band.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.errors import CubeError

NAME = "panchromatic"
AXES = {"y": "y_15m", "x": "x_15m"}
"""Per axis of the group, the axis of the band."""

GRID_MAPPING = "spatial_ref_15m"
RATIO = 2
"""Panchromatic pixels across one of 30 m."""


def finer(centres: Any) -> NDArray[np.float64]:
    """Return the centres of pixels half as large.

    Examples
    --------
    >>> finer([15.0, 45.0]).tolist()
    [7.5, 22.5, 37.5, 52.5]
    """
    values = np.asarray(centres, float)
    step = (values[-1] - values[0]) / (len(values) - 1)
    return np.asarray((values[:, None] + step * np.array([-0.25, 0.25])).ravel())


def positions(group: xr.Dataset, **inside: slice) -> dict[str, slice]:
    """Return slices of positions along the axes of a group, and along those of its band alike."""
    doubled = {
        AXES[axis]: slice(chosen.start * RATIO, chosen.stop * RATIO)
        for axis, chosen in inside.items()
        if NAME in group
    }
    return {**inside, **doubled}


def locate(group: xr.Dataset) -> xr.Dataset:
    """Return a group whose band has a grid mapping of its own, made from that of the group."""
    if NAME not in group:
        return group
    attrs = dict(group["spatial_ref"].attrs)
    left, step_x, _, top, _, step_y = map(float, str(attrs["GeoTransform"]).split())
    attrs["GeoTransform"] = f"{left} {step_x / RATIO} 0.0 {top} 0.0 {step_y / RATIO}"
    band = group[NAME].copy(deep=False)
    band.encoding = {**band.encoding, "grid_mapping": GRID_MAPPING}
    # rioxarray refuses a dataset of two grid mappings, unless it says which is its own.
    named = group.assign({NAME: band}).assign_attrs(grid_mapping="spatial_ref")
    return named.assign_coords({GRID_MAPPING: ((), 0, attrs)})


def check_nested(group: xr.Dataset) -> None:
    """Check that the band of a group nests in its grid.

    Parameters
    ----------
    group
        The group of Landsat; without the band there is nothing to check.

    Raises
    ------
    CubeError
        If pixels are not exactly two to one over the same ground.
    """
    if NAME not in group:
        return
    for axis, name in AXES.items():
        expected = finer(group[axis].values)
        found = np.asarray(group[name].values, float) if name in group.coords else np.empty(0)
        if found.shape != expected.shape or np.abs(found - expected).max() > 0.01:
            told = f"{found.size} from {found[0]:g}" if found.size else "none"
            raise CubeError(
                f"/landsat/{NAME} does not nest 2 to 1 in the 30 m grid: centres along '{name}': "
                f"{told}, expected {expected.size} from {expected[0]:g}; Landsat's own 15 m grid "
                "lies 7.5 m off, so resample it (.rio.reproject, or odc-stac with a geobox): "
                "tamrf_xr.with_panchromatic says onto which"
            )

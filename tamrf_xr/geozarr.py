"""What readers of other makers need to place a group: attributes of GeoZarr, and GDAL's own.

Written to stores and dropped where a cube is opened: a part of a group would carry the transform of
the whole. Names are those of the drafts of 2025, https://github.com/zarr-conventions
(``geo-proj``, ``spatial``); readers that know CF find the grid mapping as before.
"""

from __future__ import annotations

from typing import Any

import numcodecs  # type: ignore[import-untyped]
import xarray as xr

from tamrf_xr.grid import Grid
from tamrf_xr.schema import grid_of

LAYOUTS = ("sharded", "gdal")
"""Of a store: Zarr 3 with shards; Zarr 2 with a chunk a date, which GDAL 3.10 opens."""

PLAIN_CODEC = numcodecs.Blosc(cname="lz4", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE)
"""Of pixels in Zarr 2: GDAL 3.10 knows no other checksum than blosc's own."""

PLACED = (
    "proj:code",
    "proj:wkt2",
    "spatial:dimensions",
    "spatial:transform",
    "spatial:bbox",
    "spatial:shape",
    "spatial:registration",
)
"""Attributes that place a group."""

_GDAL = "_CRS"
"""GDAL's attribute of an array: https://gdal.org/drivers/raster/zarr.html#srs-encoding"""


def georeferenced(group: xr.Dataset) -> xr.Dataset:
    """Return a group of a cube with the attributes that place it."""
    return group.assign_attrs(placing(grid_of(group)))


def placing(grid: Grid) -> dict[str, Any]:
    """Return the attributes that place a grid.

    Returns
    -------
    dict
        ``proj:code`` (or ``proj:wkt2`` where there is no code); ``spatial:transform``, from
        (column, row) of pixel corners to CRS units, six numbers by row; ``spatial:bbox``, left,
        bottom, right, top.
    """
    authority = grid.crs.to_authority()
    crs = {"proj:code": ":".join(authority)} if authority else {"proj:wkt2": grid.crs.to_wkt()}
    return {
        **crs,
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": [float(value) for value in grid.transform[:6]],
        "spatial:bbox": [float(value) for value in grid.bounds],
        "spatial:shape": list(grid.shape),
        "spatial:registration": "pixel",
    }


def unplaced(group: xr.Dataset) -> xr.Dataset:
    """Return a group without these attributes: they hold for what was stored, not for a part."""
    made = group.copy(deep=False)
    made.attrs = {name: value for name, value in group.attrs.items() if name not in PLACED}
    for variable in made.variables.values():
        variable.attrs.pop(_GDAL, None)
    return made


def for_gdal(group: xr.Dataset) -> xr.Dataset:
    """Return a group as GDAL reads it from Zarr 2: a CRS on each image."""
    made = group.copy(deep=False)
    wkt = grid_of(group).crs.to_wkt()
    for name, variable in made.variables.items():
        if name in made.data_vars and {"y", "x"} <= {*variable.dims}:
            variable.attrs = {**variable.attrs, _GDAL: {"wkt": wkt}}
    return made

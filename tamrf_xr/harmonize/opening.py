"""Open a store or a file of anyone's as the door takes it, raw: nothing decoded behind its back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import rioxarray
import xarray as xr

from tamrf_xr.errors import CubeError, SourceNotFoundError
from tamrf_xr.paths import is_url, readable
from tamrf_xr.sensors import SENSORS


def open_raw(path: str | os.PathLike[str]) -> Any:
    """Open a Zarr store, a netCDF or a raster, lazily and undecoded.

    Parameters
    ----------
    path
        Path or URL.

    Returns
    -------
    xarray.DataTree, xarray.Dataset or xarray.DataArray
        What `tamrf_xr.as_cube` takes: a tree where groups bear the names of sensors.

    Raises
    ------
    SourceNotFoundError
        If nothing is there.
    CubeError
        If it is no store and no file that xarray or GDAL reads.
    """
    place = readable(path, "data")
    if not is_url(place) and not Path(place).exists():
        raise SourceNotFoundError(f"no data at {place}; found nothing there")
    text = os.fspath(place)
    options: dict[str, Any] = {"mask_and_scale": False, "chunks": {}}
    try:
        if text.lower().endswith((".tif", ".tiff", ".jp2", ".vrt")):
            return rioxarray.open_rasterio(text, chunks={})
        if text.rstrip("/").endswith(".zarr") or Path(text).is_dir():
            options["engine"] = "zarr"
        tree = xr.open_datatree(text, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise CubeError(
            f"{text} cannot be read as Zarr, netCDF or a raster: {error}; open it with xarray and "
            "pass what you get to tamrf_xr.as_cube(..., report=True)"
        ) from error
    return tree if tree.children.keys() & SENSORS.keys() else tree.to_dataset()

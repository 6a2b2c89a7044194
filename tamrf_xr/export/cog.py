"""Dates of a product as Cloud Optimized GeoTIFFs, georeferenced, bands by name."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.cube import Grid
from tamrf_xr.paths import local_path


def write_cog(
    pixels: NDArray[np.float32], bands: Sequence[str], grid: Grid, path: str | os.PathLike[str]
) -> None:
    """Write an image as a Cloud Optimized GeoTIFF, under another name first.

    Parameters
    ----------
    pixels
        ``(band, y, x)`` in physical units; NaN is no data.
    bands
        Names, one a band: the descriptions of the bands of the file.
    grid
        Where the pixels lie.
    path
        Name of the file, replaced if it exists.
    """
    target = local_path(path, "image")
    image = xr.DataArray(
        np.asarray(pixels, np.float32),
        dims=("band", "y", "x"),
        coords=grid.coords(),
        attrs={"long_name": tuple(bands)},
    )
    located = image.rio.write_crs(grid.crs).rio.write_transform(grid.transform)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial.tif")
    try:
        located.rio.write_nodata(np.nan).rio.to_raster(
            partial,
            driver="COG",
            compress="DEFLATE",
            predictor="YES",
            # Cubic, GDAL's default, rings: overviews of -0.02 beside water.
            overview_resampling="AVERAGE",
        )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)

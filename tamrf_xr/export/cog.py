"""Dates of a product as Cloud Optimized GeoTIFFs, georeferenced, bands by name."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.cube import Grid
from tamrf_xr.export.raster import TIFF
from tamrf_xr.replacing import check_file, fresh_file


def write_cog(
    pixels: NDArray[np.float32],
    bands: Sequence[str],
    grid: Grid,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
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
        Name of the file.
    overwrite
        Replace an image of this kind that exists.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is False, or it is no such image.
    """
    target = check_file(path, "image", overwrite=overwrite, starts=TIFF)
    image = xr.DataArray(
        np.asarray(pixels, np.float32),
        dims=("band", "y", "x"),
        coords=grid.coords(),
        attrs={"long_name": tuple(bands)},
    )
    located = image.rio.write_crs(grid.crs).rio.write_transform(grid.transform)
    with fresh_file(target) as partial:
        located.rio.write_nodata(np.nan).rio.to_raster(
            partial,
            driver="COG",
            compress="DEFLATE",
            predictor="YES",
            # Cubic, GDAL's default, rings: overviews of -0.02 beside water.
            overview_resampling="AVERAGE",
        )

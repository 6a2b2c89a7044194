"""One image of a cube as a raster file, its bands by name."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.paths import local_path


def write_raster(image: xr.DataArray, path: str | os.PathLike[str], **options: Any) -> None:
    """Write an image as ``.rio.to_raster`` does, each band described by its name.

    rioxarray describes all bands by the array's ``long_name``, unless that is a list of as many
    names. Arrays of a cube cannot carry one: it would stay behind in what is computed from a few
    of their bands, and ``.rio.to_raster`` then refuses.

    Parameters
    ----------
    image
        ``(band, y, x)`` or ``(y, x)``, as of ``cube["sentinel2/reflectance"].isel(time=0)``.
    path
        Name of the file.
    **options
        As for ``rioxarray``'s ``to_raster``: driver, dtype, compress.
    """
    if "band" in image.coords:
        names = tuple(str(name) for name in np.ravel(image["band"].values))
        image = image.assign_attrs(long_name=names)
    image.rio.to_raster(local_path(path, "raster"), **options)

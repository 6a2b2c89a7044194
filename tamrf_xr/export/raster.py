"""One image of a cube as a raster file, its bands by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rasterio.drivers import driver_from_extension

from tamrf_xr.errors import OptionError, OutputExistsError
from tamrf_xr.origins import places_of
from tamrf_xr.paths import local_path
from tamrf_xr.replaceable import check_file
from tamrf_xr.replacing import fresh_files

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
STARTS = {
    "GTiff": TIFF,
    "COG": TIFF,
    "PNG": (b"\x89PNG",),
    "JPEG": (b"\xff\xd8\xff",),
    "JP2OpenJPEG": (b"\0\0\0\x0cjP  ",),
    "netCDF": (b"CDF", b"\x89HDF"),
    "HFA": (b"EHFA_HEADER_TAG",),
}
"""How files start, per driver of GDAL; those of others are not told apart, hence never replaced."""


def write_raster(
    image: xr.DataArray, path: str | os.PathLike[str], *, overwrite: bool = False, **options: Any
) -> None:
    """Write an image as ``.rio.to_raster`` does, each band described by its name.

    Unlike there, a file that exists is an error, unless `overwrite` is True; then it is replaced
    once the new one is whole.

    rioxarray describes all bands by the array's ``long_name``, unless that is a list of as many
    names. Arrays of a cube cannot carry one: it would stay behind in what is computed from a few
    of their bands, and ``.rio.to_raster`` then refuses.

    Parameters
    ----------
    image
        ``(band, y, x)`` or ``(y, x)``, as of ``cube["sentinel2/reflectance"].isel(time=0)``.
    path
        Name of the file.
    overwrite
        Replace a file of the same kind that exists.
    **options
        As for ``rioxarray``'s ``to_raster``: driver, dtype, compress.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is False, or it is a file of another kind.
    OptionError
        If `path` is what the image is read from, or a virtual file of GDAL, or names no kind of
        raster; or ``compute=False`` is asked for.
    """
    driver = _driver_of(local_path(path, "raster"), options.get("driver"))
    if not options.get("compute", True):
        raise OptionError("compute is False: a raster is put in place whole; leave compute out")
    target = _checked(image, path, driver, overwrite=overwrite)
    if "band" in image.coords:
        names = tuple(str(name) for name in np.ravel(image["band"].values))
        image = image.assign_attrs(long_name=names)
    with fresh_files(target, overwrite=overwrite) as partial:
        image.rio.to_raster(partial, **{**options, "driver": driver})


def _driver_of(path: Path, asked: str | None) -> str:
    if path.as_posix().startswith("/vsi"):
        raise OptionError(f"{path} is a virtual file of GDAL: .rio.to_raster writes these")
    try:
        return asked or str(driver_from_extension(path.as_posix()))
    except ValueError as error:
        raise OptionError(
            f"{path} names no kind of raster; end it in .tif, or pass driver= as of GDAL"
        ) from error


def _checked(
    image: xr.DataArray, path: str | os.PathLike[str], driver: str, *, overwrite: bool
) -> Path:
    """Return where a raster may be written."""
    read = places_of(xr.DataTree(image.to_dataset(name="_image")))
    starts = STARTS.get(driver, ())
    target = check_file(path, "raster", overwrite=overwrite, inputs=read, starts=starts)
    if target.exists() and not starts:
        raise OutputExistsError(
            f"{target} exists: files that GDAL's driver {driver} writes are not replaced, whatever "
            "overwrite says; name another, or remove it yourself"
        )
    return target

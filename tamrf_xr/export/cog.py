"""An image as a Cloud Optimized GeoTIFF: georeferenced, bands by name, overviews of what is valid.

Strips go to a plain GeoTIFF of this call alone, which GDAL then copies: no image is in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.windows import Window

from tamrf_xr.cube import Grid
from tamrf_xr.export.raster import TIFF
from tamrf_xr.replaceable import check_file
from tamrf_xr.replacing import fresh_files


@dataclass(frozen=True, slots=True)
class Layer:
    """One band of a file."""

    name: str
    """Its description."""

    scale: float = 1.0
    """Physical units per stored unit."""

    unit: str = ""
    """Of physical values."""

    wavelength: float | None = None
    """Centre, in micrometres."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a file is, but for its pixels."""

    grid: Grid
    """Where they lie."""

    layers: tuple[Layer, ...]
    """Its bands."""

    dtype: str
    """Of what is stored."""

    nodata: float
    """Stored where there is no data."""

    tags: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the file."""


Strip = tuple[int, NDArray[Any]]
"""First row, and ``(band, y, x)`` as stored, from there on."""


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
    sheet = Sheet(grid, tuple(map(Layer, bands)), "float32", float("nan"))
    put_cog(sheet, [(0, np.asarray(pixels, np.float32))], target, overwrite=overwrite)


def put_cog(sheet: Sheet, strips: Iterable[Strip], target: Path, *, overwrite: bool) -> None:
    """Write a file whole or not at all, where `check_file` allowed it.

    Parameters
    ----------
    sheet
        What it is.
    strips
        Its pixels, taken one by one.
    target
        Its name.
    overwrite
        Replace what has that name.
    """
    with fresh_files(target, overwrite=overwrite) as partial:
        plain = partial.with_name("strips.tif")
        _write_strips(sheet, strips, plain)
        rasterio.shutil.copy(
            plain,
            partial,
            driver="COG",
            compress="DEFLATE",
            predictor="YES",
            # Cubic, GDAL's default, rings: overviews of -0.02 beside water.
            overview_resampling="AVERAGE",
        )
        plain.unlink()


def _write_strips(sheet: Sheet, strips: Iterable[Strip], path: Path) -> None:
    rows, columns = sheet.grid.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": rows,
        "width": columns,
        "count": len(sheet.layers),
        "dtype": sheet.dtype,
        "nodata": sheet.nodata,
        "crs": sheet.grid.crs.to_wkt(),
        "transform": sheet.grid.transform,
        "bigtiff": "IF_SAFER",
    }
    with rasterio.open(path, "w", **profile) as file:
        file.update_tags(**sheet.tags)
        file.scales = [layer.scale for layer in sheet.layers]
        file.units = [layer.unit for layer in sheet.layers]
        for number, layer in enumerate(sheet.layers, 1):
            file.set_band_description(number, layer.name)
            if layer.wavelength is not None:
                # The domain in which GDAL keeps what it knows of a band's optics.
                file.update_tags(number, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=layer.wavelength)
        for first, pixels in strips:
            file.write(pixels, window=Window(0, first, columns, pixels.shape[1]))

"""Write LS2S2 folders, as the published set lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from tamrf_xr.cube import Grid

NODATA = -10000
HEADER = ("", "product_id", "acquisition_date", "valid", "bands", "mask", "clear_pixel_rate")


@dataclass(frozen=True)
class Scenes:
    """What one sensor saw, as it is stored."""

    dates: Sequence[str]
    stored: NDArray[Any]
    """(time, band, y, x): reflectance x 10000, kelvin x 10, 0 or -10000 for no data."""
    masks: NDArray[Any]
    """(time, y, x): > 0 is unusable."""
    grid: Grid
    valid: Sequence[Any] | None = None
    """Column ``valid``; by default True."""
    absolute: str = ""
    """Paths in the index start here, on a machine that is not this one."""
    nodata: float | None = NODATA


def write_ls2s2(folder: Path, **sensors: Scenes) -> Path:
    """Write a folder with ``sentinel2=`` or ``landsat=`` or both, and return it."""
    for sensor, scenes in sensors.items():
        _write_sensor(folder / sensor, scenes)
    return folder


def _write_sensor(folder: Path, scenes: Scenes) -> None:
    lines: list[tuple[Any, ...]] = [HEADER]
    valid = scenes.valid if scenes.valid is not None else [True] * len(scenes.dates)
    for number, date in enumerate(scenes.dates):
        day = date.replace("-", "")
        # Two acquisitions of one day: the second in a folder of its own.
        place = f"{day}_{number}" if date in scenes.dates[:number] else day
        files = [f"{place}/{folder.name}_{what}_{day}.tif" for what in ("bands", "mask")]
        write_raster(folder / files[0], scenes.stored[number], scenes.grid, nodata=scenes.nodata)
        mask = scenes.masks[number][None].astype(np.uint8)
        write_raster(folder / files[1], mask, scenes.grid)
        clear = 1 - (mask > 0).mean()
        listed = [f"{scenes.absolute}{file}" for file in files]
        lines.append((number, f"{folder.name}_{day}", date, valid[number], *listed, f"{clear:.3f}"))
    text = "".join("\t".join(map(str, line)) + "\n" for line in lines)
    (folder / "index.csv").write_text(text)


def write_raster(
    path: Path, values: NDArray[Any], grid: Grid, *, nodata: float | None = None
) -> None:
    """Write bands as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(values),
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        crs=grid.crs.to_wkt(),
        transform=grid.transform,
        nodata=nodata,
        compress="deflate",
    ) as file:
        file.write(values)

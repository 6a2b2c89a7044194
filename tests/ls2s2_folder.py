"""Write LS2S2 folders, as the published set lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from tamrf_xr.cube import Grid
from tests.scenes import grid

NODATA = -10000
HEADER = ("", "product_id", "acquisition_date", "valid", "bands", "mask", "clear_pixel_rate")


@dataclass(frozen=True)
class Scenes:
    """What one sensor saw, as it is stored."""

    dates: Sequence[str]
    stored: np.ndarray
    """(time, band, y, x): reflectance x 10000, kelvin x 10, 0 or -10000 for no data."""
    masks: np.ndarray
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
    lines = [HEADER]
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
    path: Path, values: np.ndarray, grid: Grid, *, nodata: float | None = None
) -> None:
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


DATES = {
    "sentinel2": ["2022-01-05", "2022-01-10", "2022-03-01"],
    "landsat": ["2022-01-09", "2022-02-10"],
}


def scenes(sensor, place, *, seed=0, nodata=0.03, **options) -> Scenes:
    """Random scenes with clouds, zeros and nodata in them."""
    rng = np.random.default_rng(seed)
    dates = DATES[sensor]
    count = {"sentinel2": 10, "landsat": 8}[sensor]
    stored = rng.integers(-50, 9000, (len(dates), count, *place.shape)).astype(np.int16)
    drawn = rng.random(stored.shape)
    stored[drawn < nodata] = NODATA
    stored[drawn > 1 - nodata / 3] = 0
    masks = rng.choice([0, 0, 1, 4], (len(dates), *place.shape)).astype(np.uint8)
    return Scenes(dates, stored, masks, place, **options)


def coarse(shape: tuple[int, int], **options: Any) -> Grid:
    """A grid of 30 m."""
    return grid(shape, gsd=30.0, **options)


def both(folder, fine=None, rough=None, **options):
    """A folder with both sensors; the same ground unless told."""
    fine, rough = fine or grid((36, 45)), rough or coarse((12, 15))
    pair = {"sentinel2": scenes("sentinel2", fine), "landsat": scenes("landsat", rough)}
    return write_ls2s2(folder, **{name: replace(one, **options) for name, one in pair.items()})

"""The cube of what an openEO backend gave: masks, the half pixel of Landsat, one grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from tamrf_xr.errors import IngestError, SourceNotFoundError
from tamrf_xr.harmonize import as_cube
from tamrf_xr.ingest.openeo import COLLECTIONS, Area, check_sensors, place_of
from tamrf_xr.paths import PathLike
from tamrf_xr.replaceable import check_store
from tamrf_xr.sensors import THERMAL
from tamrf_xr.store import save_cube


def extract(
    area: Area,
    folder: PathLike,
    *,
    sensors: Sequence[str] = tuple(COLLECTIONS),
    overwrite: bool = False,
) -> Path:
    """Make the cube of an area, ``FOLDER/NAME.zarr``, of what was downloaded.

    Sentinel-2 numbers are taken as SentinelHub gives them, their offset removed. Landsat is moved
    by half a pixel, east and south, to where the published code puts it: the backend lays its
    archive grid onto multiples of 30 m by the nearest pixel. Then it is brought onto the grid of
    Sentinel-2 (`tamrf_xr.as_cube`, ``regrid="nested"``). Masks are those of the products, not
    widened.

    Raises
    ------
    SourceNotFoundError
        If a file was not downloaded.
    IngestError
        If it lacks a band.
    OutputExistsError
        If the cube exists, and `overwrite` is False.
    """
    check_sensors(sensors)
    place = place_of(area, folder)
    out = check_store(place.with_name(f"{area.name}.zarr"), "store", overwrite=overwrite)
    data = {sensor: _opened(place / f"{sensor}.nc", sensor) for sensor in sensors}
    scaling = {"sentinel2": "dn", "landsat": "physical"}
    cube = as_cube(
        data,
        scaling={sensor: scaling[sensor] for sensor in sensors},
        offset={"sentinel2": 0} if "sentinel2" in sensors else None,
        regrid="nested",
    )
    save_cube(cube, out, overwrite=overwrite)
    return out


def _opened(path: Path, sensor: str) -> xr.Dataset:
    if not path.is_file():
        raise SourceNotFoundError(f"no file at {path}; download it first")
    raw = xr.open_dataset(path, chunks={})
    row = COLLECTIONS[sensor]
    if missing := [name for name in (*row.bands, *row.quality) if name not in raw]:
        raise IngestError(f"{path} lacks {', '.join(missing)}; it has {', '.join(map(str, raw))}")
    named = raw.rename(t="time") if "t" in raw.dims else raw
    bands = named[list(row.bands)].assign(valid=USABLE[sensor](named))
    if sensor == "landsat":
        bands = _moved(bands.rename(B10=THERMAL))
    wkt = str(named["crs"].attrs.get("crs_wkt", "")) if "crs" in named else ""
    if not wkt:
        raise IngestError(f"{path} does not say where it lies: no variable crs with crs_wkt")
    located: xr.Dataset = bands.rio.write_crs(wkt)
    return located


def _moved(bands: xr.Dataset) -> xr.Dataset:
    """Move by half a pixel, east and south."""
    half = float(abs(bands["x"][1] - bands["x"][0])) / 2
    return bands.assign_coords(x=bands["x"] + half, y=bands["y"] - half)


def _usable_sentinel2(data: xr.Dataset) -> xr.DataArray:
    """Tell pixels without cloud by each of three opinions: Sen2Cor's, s2cloudless' and its odds."""
    scene = data["SCL"].isin([4, 5, 6, 11])
    return scene & (data["dataMask"] == 1) & (data["CLM"] == 0) & (data["CLP"] <= CLOUD_ODDS)


def _usable_landsat(data: xr.Dataset) -> xr.DataArray:
    """Tell pixels that are clear, not near cloud, without much aerosol, and not saturated."""
    bits = {name: data[name].fillna(1).astype(np.uint16) for name in ("BQA", "QA_RADSAT")}
    aerosol = data["SR_QA_AEROSOL"].fillna(0b11000000).astype(np.uint16)
    clear = (bits["BQA"] & 0b11111) == 0
    unsaturated = (bits["QA_RADSAT"] & 0b100001111111) == 0
    much = (aerosol & 0b11000000) == 0b11000000
    return clear & unsaturated & ~much & (data["ST_CDIST"] >= CLOUD_KM)


CLOUD_ODDS, CLOUD_KM = 150, 1.0
"""Odds of cloud, of 255, and kilometres to the next one, at which LS2S2 was masked."""

USABLE: Mapping[str, Callable[[xr.Dataset], xr.DataArray]] = {
    "sentinel2": _usable_sentinel2,
    "landsat": _usable_landsat,
}

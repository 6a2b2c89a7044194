"""What a product on disk says of itself, be it a Zarr store or a folder of COGs, for catalogues."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import rasterio
import zarr
from pyproj import CRS

from tamrf_xr.cube import Grid, grid_of, groups_of
from tamrf_xr.errors import CubeError
from tamrf_xr.export.cogs import about_of, check_finished, read_about
from tamrf_xr.export.selecting import Selection, choose
from tamrf_xr.paths import PathLike, readable
from tamrf_xr.places import StorageOptions
from tamrf_xr.replaceable import is_node
from tamrf_xr.sensors import SENSORS, THERMAL
from tamrf_xr.store import open_cube, raw_group

COG, ZARR = "image/tiff; application=geotiff; profile=cloud-optimized", "application/vnd.zarr"


@dataclass(frozen=True, slots=True)
class Stored:
    """One file, or group of a store."""

    href: str
    """Where it is."""

    title: str
    """In print."""

    kind: str
    """Media type."""

    bands: tuple[Mapping[str, Any], ...]
    """As STAC 1.1 has them: name, data_type, nodata, unit, raster:scale, raster:offset."""

    expression: Mapping[str, Any] | None = None
    """How its pixels are computed from others."""


@dataclass(frozen=True, slots=True)
class Described:
    """One date of one sensor."""

    name: str
    """Unique in a source."""

    sensor: str
    """Name of a row of the table."""

    time: pd.Timestamp
    """In UTC."""

    grid: Grid
    """Where its pixels lie."""

    about: Mapping[str, str]
    """Where they come from: see `tamrf_xr.export.cogs.ORIGIN`."""

    assets: Mapping[str, Stored]
    """By key."""


def describe_source(source: PathLike, options: StorageOptions = None) -> list[Described]:
    """Describe every date of every sensor.

    Parameters
    ----------
    source
        A product or a cube in Zarr, or a folder of COGs of `export_cogs`.
    options
        As of `tamrf_xr.open_cube`.

    Raises
    ------
    SourceNotFoundError, CubeError
        If it is neither.
    JobError
        If it is a product that is not finished.
    """
    place = readable(source, "source")
    if isinstance(place, Path) and place.is_dir() and not is_node(place):
        return _of_folder(place)
    return _of_store(source, options)


# A store


def _of_store(source: PathLike, options: StorageOptions) -> list[Described]:
    cube = open_cube(source, storage_options=options)
    check_finished(source, options)
    place = readable(source, "source")
    root = str(place.absolute()) if isinstance(place, Path) else str(place).rstrip("/")
    raw = raw_group(source, options)
    found = []
    for choice in choose(cube, Selection()):
        group = groups_of(cube)[choice.sensor]
        bands = tuple(_of_array(raw, choice.sensor, name) for name in choice.bands)
        kind = f"{ZARR}; version={raw.metadata.zarr_format}"
        asset = Stored(f"{root}/{choice.sensor}", "Zarr group of all dates", kind, bands)
        found += [
            Described(
                name=f"{choice.sensor}_{choice.stamp(time)}",
                sensor=choice.sensor,
                time=time,
                grid=grid_of(group),
                about=about_of(cube, group),
                assets={"zarr": asset},
            )
            for time in choice.times
        ]
    return found


def _of_array(raw: zarr.Group, sensor: str, band: str) -> dict[str, Any]:
    variable, unit = ("surface_temperature", "K") if band == THERMAL else ("reflectance", "1")
    array: Any = raw[f"{sensor}/{variable}"]
    attrs: dict[str, Any] = array.attrs.asdict()
    nodata = attrs.get("_FillValue", array.fill_value)
    scale, offset = attrs.get("scale_factor", 1.0), attrs.get("add_offset", 0.0)
    return _told(band, str(array.dtype), nodata, unit) | _scaled(scale, offset)


def _told(name: str, dtype: str, nodata: Any, unit: str) -> dict[str, Any]:
    number = float("nan") if isinstance(nodata, str) else float(nodata)
    missing = "nan" if math.isnan(number) else number
    told = {"name": name, "data_type": dtype, "nodata": missing}
    return told | ({"unit": unit} if unit else {})


def _scaled(scale: Any, offset: Any) -> dict[str, float]:
    return {"raster:scale": float(scale), "raster:offset": float(offset)}


# A folder


def _of_folder(folder: Path) -> list[Described]:
    files = {path: read_about(path) for path in sorted(folder.glob("*.tif"))}
    ours = {path: about for path, about in files.items() if about}
    if not ours:
        raise CubeError(
            f"{folder} holds no COG of an export; name a Zarr store, or a folder that "
            "`tamrf-xr export cog` wrote"
        )
    found: dict[tuple[str, str], Described] = {}
    for path, about in ours.items():
        key = (about["sensor"], about["time"])
        found[key] = _joined(found.get(key), path, about)
    return list(found.values())


def _joined(before: Described | None, path: Path, about: dict[str, str]) -> Described:
    """Add a file to what is known of its date and sensor."""
    indices = about.pop("indices", None)
    with rasterio.open(path) as file:
        grid = Grid(CRS(file.crs.to_wkt()), file.transform, file.shape)
        bands = tuple(_of_band(file, number) for number in file.indexes)
    expression = {"format": "spyndex", "expression": json.loads(indices)} if indices else None
    title = "spectral indices" if indices else "reflectance and temperature"
    asset = Stored(path.absolute().as_posix(), title, COG, bands, expression)
    key = "indices" if indices else "bands"
    if before is not None and before.grid != grid:
        raise CubeError(f"{path} lies elsewhere than the other files of its date; export anew")
    return Described(
        name=path.stem.removesuffix("_indices"),
        sensor=about["sensor"] if about["sensor"] in SENSORS else _unknown(path, about),
        time=pd.Timestamp(about["time"]),
        grid=grid,
        about=about,
        assets={**(before.assets if before else {}), key: asset},
    )


def _unknown(path: Path, about: Mapping[str, str]) -> str:
    raise CubeError(f"{path} is of the sensor {about['sensor']!r}; known are {', '.join(SENSORS)}")


def _of_band(file: Any, number: int) -> dict[str, Any]:
    at = number - 1
    told = _told(file.descriptions[at], file.dtypes[at], file.nodatavals[at], file.units[at] or "")
    return told | _scaled(file.scales[at], file.offsets[at])

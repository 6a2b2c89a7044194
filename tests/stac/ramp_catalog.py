"""The ramp scene of the door's tests as COGs and items, in the layouts of four catalogues."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.warp
import xarray as xr
from affine import Affine

from tamrf_xr.ingest.stac_catalogs import CATALOGS, KELVIN
from tamrf_xr.sensors import SENSORS
from tests.door.layouts import (
    C2_KELVIN,
    C2_REFLECTANCE,
    coded,
    marked,
    per_date,
    qa_pixel,
    scl,
    zeros,
)
from tests.door.ramp import BASELINES, EPSG, EXTENT, LEFT, TIMES, TOP, Scene
from tests.stac.server import Api

AOI = {
    "name": "ramp",
    "aoi": [LEFT, TOP - EXTENT, LEFT + EXTENT, TOP],
    "crs": f"EPSG:{EPSG}",
    "start_date": "2021-01-01",
    "end_date": "2022-12-31",
}
C1 = ("05.00", "05.10", "05.09", "05.11")


@dataclass(frozen=True)
class Shown:
    """How a collection shows the ramp."""

    catalog: str
    collection: str
    offsets: Sequence[float] = (0.0, 0.0, 0.0, 0.0)
    """Of Sentinel-2, per date, in the numbers of its files."""

    baselines: Sequence[str] = ()
    real: str = ""
    """File name of a real item of this layout."""

    v11: bool = False
    """Whether items are of STAC 1.1: scale, offset, nodata on the asset."""

    raster: bool = True
    """Whether assets say anything of their numbers."""

    @property
    def sensor(self) -> str:
        return CATALOGS[self.catalog].series[self.collection].sensor

    @property
    def assets(self) -> Mapping[str, str]:
        return CATALOGS[self.catalog].series[self.collection].assets


SINCE_2022, ALWAYS = (0.0, 0.0, -0.1, -0.1), (-0.1, -0.1, -0.1, -0.1)
_REAL_LANDSAT = "stactools-landsat_LC08_L2SP_047027_20201204_02_T1.json"
LAYOUTS = {
    "earth-search-c1": Shown(
        "earth-search", "sentinel-2-c1-l2a", ALWAYS, C1, "odc-tools_S2B_T37MGP_20240710_L2A_C1.json"
    ),
    "earth-search-v1": Shown(
        "earth-search", "sentinel-2-l2a", baselines=BASELINES, real="opd_s2_l2a_test_item.json"
    ),
    "earth-search-landsat": Shown("earth-search", "landsat-c2-l2", real=_REAL_LANDSAT),
    "planetary-computer": Shown(
        "planetary-computer",
        "sentinel-2-l2a",
        SINCE_2022,
        BASELINES,
        "odc-stac_S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json",
        raster=False,
    ),
    "planetary-computer-landsat": Shown("planetary-computer", "landsat-c2-l2", real=_REAL_LANDSAT),
    "cdse": Shown("cdse", "sentinel-2-l2a", ALWAYS, C1, v11=True),
    "usgs": Shown(
        "usgs",
        "landsat-c2l2-sr",
        real="odc-stac_LC08_L2SP_028030_20200114_20200824_02_T1_SR.json",
        raster=False,
    ),
    "usgs-st": Shown("usgs", "landsat-c2l2-st", raster=False),
    "hls-s30": Shown("lpcloud", "HLSS30_2.0", raster=False),
    "hls-l30": Shown("lpcloud", "HLSL30_2.0", raster=False),
}
"""Every collection that is understood, one row each."""


def numbers_of(shown: Shown, scene: Scene) -> dict[str, xr.DataArray]:
    """Return the numbers of files, at the pixel sizes of the product, per band."""
    sensor, made = SENSORS[shown.sensor], {}
    if shown.catalog == "lpcloud":
        return hls_numbers(shown, scene)
    for band in sensor.bands:
        if band.name in shown.assets:
            scale, offset = (1e-4, per_date(shown.offsets)) if shown.offsets else C2_REFLECTANCE
            if shown.sensor == "landsat":
                scale, offset = C2_REFLECTANCE
            true = scene.bands(shown.sensor, (band.name,), gsd=band.gsd).isel(band=0, drop=True)
            made[band.name] = coded(true, scale, offset)
    if shown.sensor == "sentinel2":
        return made | {"SCL": scl(scene, gsd=20.0)}
    if KELVIN in shown.assets:
        made[KELVIN] = coded(scene.heat(), *C2_KELVIN)
    quality = qa_pixel(scene)
    return made | {"QA_PIXEL": quality, "QA_RADSAT": zeros(quality)}


def hls_numbers(shown: Shown, scene: Scene) -> dict[str, xr.DataArray]:
    true = scene.bands(shown.sensor, gsd=30.0)
    numbers = coded(true, 1e-4, 0.0, nodata=-9999, dtype="int16")
    made = {str(band): numbers.sel(band=band, drop=True) for band in numbers["band"].values}
    clouds = scene.clouds(shown.sensor, gsd=30.0)
    return made | {"Fmask": marked(clouds, clear=64, cloud=66, fill=255)}


def write_cog(path: Path, values: np.ndarray, *, gsd: float, epsg: int = EPSG, corner=(LEFT, TOP)):
    if path.exists():
        return  # files of the ramp are written once a session
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "driver": "COG", "dtype": values.dtype, "count": 1, "crs": f"EPSG:{epsg}",
        "height": values.shape[0], "width": values.shape[1], "BLOCKSIZE": 128,
        "nodata": {"int16": -9999}.get(str(values.dtype), 0),
        "transform": Affine(gsd, 0, corner[0], 0, -gsd, corner[1]),
    }  # fmt: skip
    with rasterio.open(path, "w", **options) as file:
        file.write(values, 1)


def lonlat(bounds: Sequence[float], epsg: int = EPSG, *, margin: float = 0.002) -> list[float]:
    west, south, east, north = rasterio.warp.transform_bounds(f"EPSG:{epsg}", "EPSG:4326", *bounds)
    return [west - margin, south - margin, east + margin, north + margin]


def add_ramp(
    api: Api,
    shown: Shown,
    *,
    base: dict[str, Any] | None = None,
    dates: Sequence[int] = range(4),
) -> list[dict[str, Any]]:
    """Write the files, and put the items of dates into the API."""
    scene, made = Scene(), []
    numbers = numbers_of(shown, scene)
    for at in dates:
        item = new_item(shown, at, base)
        for band, array in numbers.items():
            name = f"{shown.catalog}/{shown.collection}/{at}/{band}.tif"
            gsd = float(array["x"][1] - array["x"][0])
            write_cog(api.folder / name, array.values[at], gsd=gsd)
            item["assets"][shown.assets[band]] = asset(api.href(name), shown, band, at)
        api.items.append(item)
        made.append(item)
    return made


def new_item(shown: Shown, at: int, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return an item without assets; `base` is a real one whose other fields are kept."""
    item = copy.deepcopy(base) if base else {"type": "Feature", "stac_version": "1.0.0"}
    time = TIMES[shown.sensor][at]
    about = {**item.get("properties", {}), **_about(shown, at)}
    about.pop("proj:epsg" if shown.v11 else "proj:code", None)
    bbox = lonlat([LEFT, TOP - EXTENT, LEFT + EXTENT, TOP])
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return item | {
        "id": _name(shown, time, at),
        "collection": shown.collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": bbox,
        "links": [],
        "properties": about | {"datetime": f"{time.isoformat()}Z"},
        "assets": {},
    }


def _name(shown: Shown, time: Any, at: int) -> str:
    day = f"{time:%Y%m%dT%H%M%S}"
    if shown.catalog == "lpcloud":
        return f"HLS.{shown.collection[3:6]}.T31TCJ.{time:%Y%jT%H%M%S}.v2.0"
    if shown.sensor == "landsat":
        ending = {"landsat-c2l2-sr": "_SR", "landsat-c2l2-st": "_ST"}.get(shown.collection, "")
        return f"LC08_L2SP_199030_{time:%Y%m%d}_20230101_02_T1{ending}"
    if shown.catalog == "earth-search":
        return f"S2A_T31TCJ_{day}_L2A"
    return f"S2A_MSIL2A_{day}_N{shown.baselines[at].replace('.', '')}_R051_T31TCJ_{day}"


def _about(shown: Shown, at: int) -> dict[str, Any]:
    time = TIMES[shown.sensor][at]
    where = {"proj:code": f"EPSG:{EPSG}"} if shown.v11 else {"proj:epsg": EPSG}
    about: dict[str, Any] = {"eo:cloud_cover": 10.0 * at, **where}
    if shown.catalog == "lpcloud":
        return {"eo:cloud_cover": 10.0 * at}
    if shown.sensor == "landsat":
        platform = "LANDSAT_8" if shown.catalog == "usgs" else "landsat-8"
        return about | {
            "platform": platform, "landsat:wrs_path": "199", "landsat:wrs_row": "030",
            "landsat:collection_category": "T1", "created": "2023-01-01T00:00:00Z",
        }  # fmt: skip
    baseline = shown.baselines[at]
    about["platform"] = "Sentinel-2A" if shown.catalog == "planetary-computer" else "sentinel-2a"
    if shown.catalog == "cdse":
        return about | {"processing:version": baseline, "grid:code": "MGRS-31TCJ"}
    about |= {
        "s2:processing_baseline": baseline,
        "s2:datastrip_id": f"S2A_OPER_MSI_L2A_DS_X_20230101T000000_S{time:%Y%m%dT%H%M%S}_N05.00",
        "s2:generation_time": "2023-01-01T00:00:00Z",
        "grid:code": "MGRS-31TCJ",
        "s2:mgrs_tile": "31TCJ",
    }
    about["s2:product_uri"] = (
        f"S2A_MSIL2A_{time:%Y%m%dT%H%M%S}_N{baseline.replace('.', '')}_R051_T31TCJ_X.SAFE"
    )
    if shown.collection == "sentinel-2-l2a" and shown.catalog == "earth-search":
        about["earthsearch:boa_offset_applied"] = float(baseline) >= 4
    return about


def asset(href: str, shown: Shown, band: str, at: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "href": href,
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data"],
    }
    if not shown.raster:
        return made
    scale = {KELVIN: C2_KELVIN, "SCL": None, "QA_PIXEL": None, "QA_RADSAT": None}.get(
        band, C2_REFLECTANCE if shown.sensor == "landsat" else (1e-4, _stated(shown, at))
    )
    if scale is None:
        return made
    if shown.v11:
        return made | {
            "nodata": 0, "data_type": "uint16", "raster:scale": scale[0], "raster:offset": scale[1],
        }  # fmt: skip
    numbers = {"nodata": 0, "data_type": "uint16", "scale": scale[0], "offset": scale[1]}
    return made | {"raster:bands": [numbers]}


def _stated(shown: Shown, at: int) -> float:
    """Earth Search states the offset whether it has taken it out or not."""
    return -0.1 if float(shown.baselines[at]) >= 4 else 0.0


def real_item(folder: Path, shown: Shown) -> dict[str, Any]:
    item: dict[str, Any] = json.loads((folder / shown.real).read_text())
    return item

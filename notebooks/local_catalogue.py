"""A STAC catalogue on this machine: a simulated scene, shown as Earth Search shows real ones.

It stands in for a real catalogue in 02_your_area.ipynb; the server is that of the tests.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio.warp
import xarray as xr

from tamrf_xr.ingest.stac_catalogs import CATALOGS, KELVIN, Catalog
from tamrf_xr.sensors import SENSORS
from tamrf_xr.simulate import SceneConfig, simulate
from tests.door.layouts import C2_KELVIN, C2_REFLECTANCE, coded
from tests.stac.ramp_catalog import LAYOUTS, Shown, asset, write_cog
from tests.stac.server import Api, footprint, serving

SHOWN = (LAYOUTS["earth-search-c1"], LAYOUTS["earth-search-landsat"])
S2_NUMBERS = 1e-4, -0.1
"""Scale and offset of processing baseline 05.00."""


def serve(folder: Path, aoi: Mapping[str, Any], *, size_px: int = 90) -> Catalog:
    """Write a simulated scene of a place as COGs, and answer searches for them until Python ends.

    Parameters
    ----------
    folder
        Where the files go.
    aoi
        ``aoi``: left, bottom, right, top in EPSG:32631, and ``start_date`` and ``end_date``.
    size_px
        10 m pixels across the scene, from the upper left corner of the place.

    Returns
    -------
    Catalog
        To be passed to `tamrf_xr.ingest.from_stac`.
    """
    left, _, _, top = aoi["aoi"]
    first, last = aoi["start_date"], aoi["end_date"]
    config = SceneConfig(
        size_px, pd.Timestamp(first).year, seed=1, left=left, top=top,
        sentinel2_revisit_days=10, landsat_revisit_days=16,
    )  # fmt: skip
    cube = simulate(config).cube
    api, stack = Api(folder), ExitStack()
    stack.enter_context(serving(api))
    atexit.register(stack.close)
    for shown in SHOWN:
        group = cube[shown.sensor].to_dataset().sel(time=slice(first, last))
        for at in range(group.sizes["time"]):
            api.items.append(_item(api, shown, group.isel(time=at)))
    return replace(CATALOGS["earth-search"], url=api.url)


def _item(api: Api, shown: Shown, image: xr.Dataset) -> dict[str, Any]:
    """Write the files of one date, and return what the catalogue says of them."""
    time = pd.Timestamp(image["time"].item())
    corner = float(image["x"][0]), float(image["y"][0])
    item = _about(shown, time, 100 * (1 - float(image["valid"].mean())))
    edge = SENSORS[shown.sensor].gsd / 2
    left, top = corner[0] - edge, corner[1] + edge
    side = image.sizes["x"] * 2 * edge
    west, south, east, north = rasterio.warp.transform_bounds(
        "EPSG:32631", "EPSG:4326", left, top - side, left + side, top
    )
    item |= {"bbox": [west, south, east, north], "geometry": footprint(west, south, east, north)}
    for band, numbers, gsd in _files(shown.sensor, image):
        name = f"{item['id']}/{band}.tif"
        write_cog(api.folder / name, numbers, gsd=gsd, corner=(left, top))
        item["assets"][shown.assets[band]] = asset(api.href(name), shown, band, 0)
    return item


def _files(sensor: str, image: xr.Dataset) -> Iterator[tuple[str, np.ndarray, float]]:
    """Go through the files of a date: name of the band, numbers, metres of a pixel."""
    usable = image["valid"]
    for band in SENSORS[sensor].bands:
        true = image["reflectance"].sel(band=band.name, drop=True)
        coarse = round(band.gsd / SENSORS[sensor].gsd)
        true = true.coarsen(x=coarse, y=coarse).mean()
        how = S2_NUMBERS if sensor == "sentinel2" else C2_REFLECTANCE
        yield band.name, coded(true, *how).values, band.gsd
    if sensor == "sentinel2":
        clear = usable.astype(float).coarsen(x=2, y=2).min()
        yield "SCL", np.where(clear > 0, 4, 9).astype("uint8"), 20.0
        return
    yield KELVIN, coded(image["surface_temperature"], *C2_KELVIN).values, 30.0
    yield "QA_PIXEL", np.where(usable, 21824, 22280).astype("uint16"), 30.0
    yield "QA_RADSAT", np.zeros(usable.shape, "uint16"), 30.0


def _about(shown: Shown, time: pd.Timestamp, cloud: float) -> dict[str, Any]:
    """Return an item without place and assets."""
    about = {"datetime": f"{time.isoformat()}Z", "eo:cloud_cover": cloud, "proj:epsg": 32631}
    if shown.sensor == "landsat":
        name = f"LC08_L2SP_197030_{time:%Y%m%d}_20230101_02_T1"
        about |= {
            "platform": "landsat-8", "landsat:wrs_path": "197", "landsat:wrs_row": "030",
            "landsat:collection_category": "T1", "created": "2023-01-01T00:00:00Z",
        }  # fmt: skip
    else:
        name = f"S2A_T31TDJ_{time:%Y%m%dT%H%M%S}_L2A"
        about |= {
            "platform": "sentinel-2a", "s2:processing_baseline": "05.00", "s2:mgrs_tile": "31TDJ",
            "grid:code": "MGRS-31TDJ", "s2:generation_time": "2023-01-01T00:00:00Z",
        }  # fmt: skip
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": shown.collection,
        "links": [], "properties": about, "assets": {},
    }  # fmt: skip

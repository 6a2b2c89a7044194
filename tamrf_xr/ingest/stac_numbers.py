"""The numbers of the products of a search, as the door takes them: lazy, none is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import xarray as xr

from tamrf_xr.ingest.stac_catalogs import Numbers
from tamrf_xr.ingest.stac_plan import Found, digest
from tamrf_xr.ingest.stac_scenes import Pass
from tamrf_xr.ingest.stac_search import needs_extra
from tamrf_xr.sensors import SENSORS

_ROOM = 0.01
"""Degrees around a footprint."""


def lazily(found: Found, chunks: int) -> dict[str, xr.Dataset]:
    """Return the numbers of the products, per sensor, as the door takes them; none is read."""
    return {sensor: _numbers(found, sensor, chunks) for sensor in found.grids}


def _numbers(found: Found, sensor: str, chunks: int) -> xr.Dataset:
    try:
        import odc.stac
        from odc.geo.geobox import GeoBox

        from tamrf_xr.ingest.stac_read import Access, Driver
    except ImportError as error:
        raise needs_extra(error) from error
    request, grid, passes = found.request, found.grids[sensor], found.passes[sensor]
    bands = {band: holds(found, sensor, band) for band in present_bands(passes)}
    access = Access(
        request.patch_url or request.catalog.signer or None,
        request.catalog.gdal,
        request.retries,
    )
    edge = chunks // SENSORS[sensor].ratio
    loaded = odc.stac.load(
        _items(found, sensor),
        bands=list(bands),
        geobox=GeoBox(grid.shape, grid.transform, grid.crs.to_wkt()),
        groupby="tamrf:pass",
        preserve_original_order=True,
        chunks={"y": edge, "x": edge},
        resampling={b: "nearest" if one.classes else "cubic" for b, one in bands.items()},
        stac_cfg={"*": {"assets": _types(bands), "ignore_proj": True}},
        driver=Driver(access),
    )
    return described(loaded, found, sensor)


def present_bands(passes: Sequence[Pass]) -> tuple[str, ...]:
    """Return the bands that any scene has, in the order of the catalogue's row."""
    return tuple(
        dict.fromkeys(band for one in passes for scene in one.scenes for band in scene.assets)
    )


def holds(found: Found, sensor: str, band: str) -> Numbers:
    """Return what the files of a band hold."""
    rows = (row for row in found.series.values() if row.sensor == sensor and band in row.assets)
    return next(rows).holds(band)


def _types(bands: Mapping[str, Numbers]) -> dict[str, dict[str, Any]]:
    """Return what is known of files that items may not describe, as odc-stac reads it."""
    return {band: {"data_type": one.dtype, "nodata": one.fill} for band, one in bands.items()}


def _items(found: Found, sensor: str) -> list[Any]:
    """Return items that hold just what is read, under names of this package."""
    import pystac

    from tamrf_xr.ingest.stac_read import labelled

    made = []
    for number, one in enumerate(found.passes[sensor]):
        for scene in one.scenes:
            item = pystac.Item(
                scene.id,
                _around(scene.geometry),
                None,
                scene.time.to_pydatetime(warn=False),
                {"tamrf:pass": number},
                collection=sensor,
            )
            names = found.series[scene.collection].assets
            for band, href in scene.assets.items():
                url = labelled(href, scene.id, names.get(band, band))
                item.add_asset(band, pystac.Asset(url, media_type="image/tiff"))
            made.append(item)
    return made


def _around(footprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a footprint with room around it: it tells which blocks a scene may have pixels in.

    Its edges are straight in degrees, those of a tile in metres: 110 km apart by some 300 m.
    """
    from shapely.geometry import mapping, shape

    around: dict[str, Any] = mapping(shape(footprint).buffer(_ROOM))
    return around


def described(numbers: xr.Dataset, found: Found, sensor: str) -> xr.Dataset:
    """Say of numbers what the door has to know: times, nodata, and what decides their offset."""
    passes = found.passes[sensor]
    said = {
        key: ("time", [one.scenes[0].said[key] for one in passes])
        for key in passes[0].scenes[0].said
    }
    times = pd.DatetimeIndex([one.time for one in passes])
    made = numbers.assign_coords(time=times)
    if sensor == "sentinel2":
        made = made.assign_coords(said)
    return made.assign_attrs(found.notes[sensor])


def names_of(found: Found, sensor: str, chunks: int) -> dict[str, tuple[str, ...]]:
    """Return, per band and date, what stands for all that numbers depend on, as part of a name."""
    grid, passes = found.grids[sensor], found.passes[sensor]
    return {
        band: tuple(
            f"{one.time:%Y%m%dT%H%M%S}-{band}-{chunks}-{digest(grid, [one], band)}"
            for one in passes
        )
        for band in present_bands(passes)
    }

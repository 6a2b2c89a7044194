"""What a catalogue has of a place and a period, and what cube it makes: all but the pixels."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affine import Affine
from pyproj import CRS

from tamrf_xr.cube import Grid
from tamrf_xr.errors import IngestError, SourceWarning
from tamrf_xr.ingest.stac_area import Area
from tamrf_xr.ingest.stac_catalogs import Catalog, Series, chosen_series
from tamrf_xr.ingest.stac_scenes import (
    LANDSAT7,
    SLC_OFF,
    Pass,
    Scene,
    one_of_each,
    passes_of,
    scene_of,
)
from tamrf_xr.ingest.stac_search import clear_enough, search
from tamrf_xr.sensors import FINE_GSD, LANDSAT, SENSORS

log = logging.getLogger(__name__)

_STEP = 30.0
"""Metres that both grids are laid out by."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a catalogue."""

    catalog: Catalog
    """The catalogue."""

    area: Area
    """Place and time."""

    collections: tuple[str, ...] | None
    """Ids; None for those of the catalogue's row."""

    crs: CRS | None
    """Of the cube, where it is asked for."""

    max_cloud: float | None
    """Percent."""

    patch_url: Callable[[str], str] | None
    """Signs URLs."""

    skip: frozenset[str]
    """Ids of items to leave out."""

    reading: str
    """How numbers are read at the door, as text."""

    retries: int
    """How often to try again."""

    landsat7: bool = False
    """Whether to take scenes of Landsat-7 too."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a catalogue has: all that a cube is made of but its pixels."""

    request: Request
    """What was asked."""

    grids: Mapping[str, Grid]
    """Per sensor."""

    passes: Mapping[str, tuple[Pass, ...]]
    """Per sensor, its dates in order."""

    series: Mapping[str, Series]
    """Collections, by id."""

    notes: Mapping[str, Mapping[str, str]]
    """Per sensor, attributes of its group."""


def find(request: Request) -> Found:
    """Search, and decide on scenes, dates and grids; see `from_stac`."""
    series = chosen_series(request.catalog, request.collections)
    items = search(request.catalog, series, request.area, retries=request.retries)
    asked = [item for item in items if item.get("id") not in request.skip]
    clear = clear_enough(asked, request.max_cloud)
    scenes = _scenes(clear, request, series)
    kept, dropped = one_of_each(scenes)
    for old in dropped:
        log.info("item %s is there again, newer: left out", old.id)
    crs = _chosen_crs(request, kept)
    sensors = [name for name in SENSORS if any(scene.sensor == name for scene in kept)]
    passes = {
        name: tuple(passes_of([one for one in kept if one.sensor == name], crs)) for name in sensors
    }
    grids = _grids(request.area, crs, sensors)
    notes = {
        name: _about(passes[name], grids[name], series, request)
        | {"items": _counted(name, kept, dropped, len(asked) - len(clear))}
        for name in sensors
    }
    return Found(request, grids, passes, series, notes)


def _scenes(
    items: Sequence[Mapping[str, Any]], request: Request, series: Mapping[str, Series]
) -> list[Scene]:
    found, catalog = [], request.catalog
    for item in items:
        row = series.get(str(item.get("collection")))
        if row is None:
            raise IngestError(
                f"{catalog.url} gave item {item.get('id')} of collection {item.get('collection')}, "
                f"which was not asked for ({', '.join(series)})"
            )
        scene = scene_of(item, catalog, row, landsat7=request.landsat7)
        if scene is not None:
            found.append(scene)
    if not found:
        platforms = Counter(str(item.get("properties", {}).get("platform")) for item in items)
        raise IngestError(
            f"none of {len(items)} items is of Sentinel-2, Landsat-8 or -9: they are of "
            f"{', '.join(platforms)}; ask for other days"
        )
    return found


def in_metres(crs: CRS) -> bool:
    """Tell whether a CRS is one that cubes can be in."""
    return bool(crs.is_projected and crs.axis_info[0].unit_name in {"metre", "meter"})


def _chosen_crs(request: Request, scenes: Sequence[Scene]) -> CRS:
    """Return the CRS that is asked for, else that of most ground; tell of others."""
    shares = _shares(request.area, scenes)
    asked = request.crs or (request.area.crs if in_metres(request.area.crs) else None)
    if asked is None and not shares:
        raise IngestError(
            f"no item of {request.catalog.name} says in which CRS it lies; name one with crs="
        )
    chosen = asked or CRS(max(sorted(shares), key=lambda code: shares[code]))
    others = sorted(code for code in shares if CRS(code) != chosen)
    if others:
        log.warning("the cube is in %s; resampled: %s", chosen.to_string(), ", ".join(others))
    return chosen


def _shares(area: Area, scenes: Sequence[Scene]) -> dict[str, float]:
    """Return how much of the place scenes cover, by their CRS: of Sentinel-2 if it is there."""
    from shapely.geometry import shape

    told = [scene for scene in scenes if scene.crs is not None]
    finest = [scene for scene in told if scene.sensor == "sentinel2"] or told
    place = shape(area.geometry)
    shares: dict[str, float] = {}
    for scene in finest:
        if scene.crs is not None:
            part = shape(scene.geometry).buffer(0).intersection(place).area
            code = scene.crs.to_string()
            shares[code] = shares.get(code, 0.0) + float(part)
    return shares


def _grids(area: Area, crs: CRS, sensors: Sequence[str]) -> dict[str, Grid]:
    """Lay the grids out: one GeoBox of 30 m around the place; that of 10 m is it, cut in three."""
    from odc.geo.geobox import GeoBox

    # Landsat's pixels are centred on whole steps, and stay what they are where it is alone.
    alone = list(sensors) == [LANDSAT.name]
    box = GeoBox.from_bbox(
        area.bounds_in(crs), crs.to_wkt(), resolution=_STEP, anchor="center" if alone else "edge"
    )
    height, width = box.shape
    transform = Affine(_STEP, 0, box.affine.c, 0, -_STEP, box.affine.f)
    coarse = Grid(crs, transform, (int(height), int(width)))
    return {
        name: coarse.zoom(LANDSAT.ratio) if SENSORS[name].gsd == FINE_GSD else coarse
        for name in sensors
    }


def _about(
    passes: Sequence[Pass], grid: Grid, series: Mapping[str, Series], request: Request
) -> dict[str, str]:
    """Say where a group comes from, and warn of bands that items lack."""
    scenes = [scene for one in passes for scene in one.scenes]
    sensor = scenes[0].sensor
    names = [name for name, row in series.items() if row.sensor == sensor]
    about = {
        "source": f"STAC {request.catalog.name}, {', '.join(names)}",
        "collection": names[0],
        # Bands of Landsat-7 were found by common name, so that the door need not question them.
        "platform": ", ".join(sorted({scene.platform for scene in scenes} - {"", LANDSAT7})),
        "request": digest(grid, passes, reading=request.reading),
    }
    about = {key: text for key, text in about.items() if text}
    wanted = dict.fromkeys(band for name in names for band in series[name].assets)
    if missing := "; ".join(filter(None, (_lacking(band, scenes) for band in wanted))):
        about["missing"] = missing
        told = f"{about['source']}: no asset for {missing}: there is no data there"
        warnings.warn(told, SourceWarning, stacklevel=5)
    if flagged := _of_landsat7(passes):
        about["landsat7"] = flagged
        told = f"{about['source']}: {flagged}"
        warnings.warn(told, SourceWarning, stacklevel=5)
    zones = {scene.crs.to_string() for scene in scenes if scene.crs and scene.crs != grid.crs}
    if zones:
        about["source_crs"] = f"of some scenes {', '.join(sorted(zones))}, resampled"
    return about


def _of_landsat7(passes: Sequence[Pass]) -> str:
    """Name the dates of Landsat-7, and what is to be known of them."""
    times = [one.time for one in passes if any(s.platform == LANDSAT7 for s in one.scenes)]
    if not times:
        return ""
    gaps = sum(time > SLC_OFF for time in times)
    return (
        f"{len(times)} of {len(passes)} dates are of Landsat-7 (ETM+, without B01, and not "
        f"adjusted to OLI), {gaps} of them with gaps that are no data, since its scan line "
        f"corrector is off: {', '.join(f'{time:%Y-%m-%d}' for time in times)}"
    )


def _lacking(band: str, scenes: Sequence[Scene]) -> str:
    ids = [scene.id for scene in scenes if band not in scene.assets]
    more = f" and {len(ids) - 1} more" if ids[1:] else ""
    return f"{band} of {ids[0]}{more}" if ids else ""


def _counted(sensor: str, kept: Sequence[Scene], dropped: Sequence[Scene], cloudy: int) -> str:
    used = sum(scene.sensor == sensor for scene in kept)
    twice = sum(scene.sensor == sensor for scene in dropped)
    words = [f"{used} used"]
    words += [f"{twice} older copies left out"] if twice else []
    words += [f"{cloudy} of all sensors too cloudy"] if cloudy else []
    return ", ".join(words)


def digest(grid: Grid, passes: Sequence[Pass], *bands: str, reading: str = "") -> str:
    """Return what stands for all that numbers depend on: ground, scenes, files of `bands` or all.

    The query of a URL is left out: it is a signature.
    """
    text = [reading, grid.crs.to_wkt(), str(tuple(grid.transform)), str(grid.shape)]
    for one in passes:
        for scene in one.scenes:
            files = {band: scene.assets.get(band, "") for band in bands or sorted(scene.assets)}
            places = [f"{band} {href.partition('?')[0]}" for band, href in files.items()]
            text += [scene.id, str(scene.time), *places]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]

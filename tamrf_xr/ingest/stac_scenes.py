"""Items to acquisitions: what is one scene, which of two copies counts, what is one pass.

The plan: an item becomes a `Scene` (what of it matters, under names of this package). Scenes of one
place and moment are one: parts of different collections are joined, of copies the newest is kept.
Scenes that one platform took within minutes are one `Pass`, a date of the cube, unless some of
them hold the offset of processing baseline 04.00 and others do not: a date has one offset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from pyproj import CRS

from tamrf_xr.errors import IngestError
from tamrf_xr.ingest.stac_catalogs import KELVIN, Catalog, Series

PASS = pd.Timedelta(minutes=10)
"""A satellite is over one place for seconds, and back over it after an orbit of 98 minutes."""

LANDSAT7, _LANDSATS = "landsat-7", {"landsat-8", "landsat-9"}
_ETM_KELVIN = "lwir"
"""Asset of Landsat-7's temperature, whose band 6 is another one than TIRS 10."""

SLC_OFF = pd.Timestamp("2003-05-31")
"""Since then a fifth of each scene of Landsat-7 is missing: its scan line corrector failed."""

_OFFSET_BASELINE = 4.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What of an item matters here."""

    id: str
    """Of the item."""

    collection: str
    """Of the item."""

    sensor: str
    """Name in the sensor table."""

    platform: str
    """Such as ``sentinel-2a``."""

    time: pd.Timestamp
    """UTC, without a zone."""

    crs: CRS | None
    """In which its pixels lie, where the item tells."""

    twin: tuple[str, ...]
    """Platform, place and moment: scenes for which they are the same are one."""

    made: tuple[float, str, str, str]
    """Grows with how new it is."""

    geometry: Mapping[str, Any]
    """Footprint, GeoJSON in longitude and latitude."""

    assets: Mapping[str, str]
    """URL, per band or quality layer; some may lack."""

    said: Mapping[str, Any]
    """What is said of the offset, by the names that the door knows."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One date of a cube."""

    time: pd.Timestamp
    """Of its first scene."""

    scenes: tuple[Scene, ...]
    """Of which the first that has a pixel gives it."""


def scene_of(
    item: Mapping[str, Any], catalog: Catalog, series: Series, *, landsat7: bool = False
) -> Scene | None:
    """Read an item; None where it is of a platform that is not read.

    Raises
    ------
    IngestError
        If it has no time or footprint, or states a scale that the numbers of its product lack.
    """
    about, name = item.get("properties", {}), str(item.get("id"))
    platform = str(about.get("platform", "")).lower().replace("_", "-")
    if series.items == "landsat":
        if platform not in _LANDSATS | ({LANDSAT7} if landsat7 else set()):
            return None
        if platform == LANDSAT7 and KELVIN in series.assets:
            series = replace(series, assets={**series.assets, KELVIN: _ETM_KELVIN})
    time = _time_of(item)
    if not item.get("geometry"):
        raise IngestError(
            f"item {name} of {catalog.name} has no footprint; pass skip=[...] to leave it out"
        )
    assets: Mapping[str, Any] = item.get("assets", {})
    present = {
        band: assets[asset] for band, asset in series.assets.items() if _href(assets.get(asset))
    }
    for band, scale in series.scales.items():
        _check_scale(present.get(band, {}), scale, f"item {name}, asset {series.assets[band]}")
    read = _READERS[series.items]
    place, moment, made = read(name, about, time)
    return Scene(
        id=name,
        collection=str(item.get("collection", "")),
        sensor=series.sensor,
        platform=platform,
        time=time,
        crs=_crs_of(about, present) or _zone_of(place),
        twin=(platform, place, moment),
        made=made,
        geometry=item["geometry"],
        assets={band: _href(asset, catalog.alternate) for band, asset in present.items()},
        said=_said(about),
    )


def _time_of(item: Mapping[str, Any]) -> pd.Timestamp:
    about = item.get("properties", {})
    said = about.get("datetime") or about.get("start_datetime")
    try:
        time = pd.DatetimeIndex([said])[0]
    except (ValueError, TypeError) as error:
        raise IngestError(
            f"item {item.get('id')} has time {said!r:.40}; pass skip=[...] to leave it out"
        ) from error
    if pd.isna(time):
        raise IngestError(f"item {item.get('id')} has no time; pass skip=[...] to leave it out")
    return time if time.tz is None else time.tz_convert(None)


def _href(asset: Mapping[str, Any] | None, alternate: str = "") -> str:
    if not asset:
        return ""
    others: Mapping[str, Any] = asset.get("alternate") or {}
    return str((others.get(alternate) or {}).get("href") or asset.get("href") or "")


def _check_scale(asset: Mapping[str, Any], expected: float, where: str) -> None:
    """Refuse a scale that is stated and is not that of the product's numbers."""
    bands = asset.get("raster:bands") or asset.get("bands") or [{}]
    about = {**asset, **bands[0]}
    stated = about.get("raster:scale", about.get("scale"))
    if stated is not None and not np.isclose(float(stated), expected, rtol=1e-3):
        raise IngestError(
            f"{where} states a scale of {stated:g}, expected {expected:g}: its numbers are others "
            "than those of the Level-2 product; load it yourself and pass it to tamrf_xr.as_cube"
        )


def _crs_of(about: Mapping[str, Any], assets: Mapping[str, Any]) -> CRS | None:
    for holder in (about, *assets.values()):
        code = holder.get("proj:code") or holder.get("proj:epsg")
        if code:
            return CRS(code)
    return None


def _zone_of(tile: str) -> CRS | None:
    """Return the UTM zone of an MGRS tile."""
    found = re.fullmatch(r"(\d{2})([C-X])[A-Z]{2}", tile)
    return CRS(f"EPSG:32{'6' if found[2] >= 'N' else '7'}{found[1]}") if found else None


def _said(about: Mapping[str, Any]) -> dict[str, Any]:
    baseline = about.get("s2:processing_baseline", about.get("processing:version"))
    applied = about.get("earthsearch:boa_offset_applied")
    return {
        "s2:processing_baseline": "" if baseline is None else str(baseline),
        "earthsearch:boa_offset_applied": "" if applied is None else str(applied),
    }


_TILE = re.compile(r"(?:^|[_-]|T)(\d{1,2}[C-X][A-Z]{2})(?:[_-]|$)")
_STRIP = re.compile(r"_S(\d{8}T\d{6})")
_WRS = re.compile(r"_(\d{3})(\d{3})_(\d{8})_(?:(\d{8})_)?")
_RANKS = {"T1": 2.0, "T2": 1.0}

_Read = tuple[str, str, tuple[float, str, str, str]]


def _read_sentinel2(name: str, about: Mapping[str, Any], time: pd.Timestamp) -> _Read:
    """Return tile, sensing of its data strip, and how new an item is."""
    words = [about.get("s2:mgrs_tile"), about.get("grid:code"), about.get("s2:product_uri"), name]
    tiles = [found[1] for word in words if word and (found := _TILE.search(str(word)))]
    strip = _STRIP.search(str(about.get("s2:datastrip_id", "")))
    # Two strips of one pass share a tile where reception changed hands: both are needed.
    moment = strip[1] if strip else f"{time:%Y%m%dT%H%M%S}"
    generated = str(about.get("s2:generation_time", ""))
    return (tiles or [name])[0].zfill(5), moment, (_baseline(about), generated, _dated(about), name)


def _read_landsat(name: str, about: Mapping[str, Any], time: pd.Timestamp) -> _Read:
    """Return path and row, day, and how new an item is."""
    found = _WRS.search(name)
    path, row = about.get("landsat:wrs_path"), about.get("landsat:wrs_row")
    place = f"{path or (found and found[1])}/{row or (found and found[2])}"
    rank = _RANKS.get(str(about.get("landsat:collection_category")), 0.0)
    processed = (found and found[4]) or ""
    return place, f"{time:%Y%m%d}", (rank, processed, _dated(about), name)


def _read_hls(name: str, about: Mapping[str, Any], time: pd.Timestamp) -> _Read:
    """Return tile, second, and how new an item is: ``HLS.S30.T31TCJ.2022157T105631.v2.0``."""
    parts = name.upper().split(".")
    tiles = [part[1:] for part in parts if re.fullmatch(r"T\d{2}[C-X][A-Z]{2}", part)]
    place = (tiles or [name])[0]
    return place, f"{time:%Y%m%dT%H%M%S}", (0.0, ".".join(parts[4:]), _dated(about), name)


_READERS: Mapping[str, Callable[[str, Mapping[str, Any], pd.Timestamp], _Read]] = {
    "sentinel2": _read_sentinel2,
    "landsat": _read_landsat,
    "hls": _read_hls,
}


def _baseline(about: Mapping[str, Any]) -> float:
    try:
        return float(_said(about)["s2:processing_baseline"])
    except ValueError:
        return 0.0


def _dated(about: Mapping[str, Any]) -> str:
    return str(about.get("updated") or about.get("created") or "")


def one_of_each(scenes: Iterable[Scene]) -> tuple[list[Scene], list[Scene]]:
    """Keep one scene of each place and moment: join parts, and keep the newest of copies.

    Returns
    -------
    scenes, dropped
        What counts, and the older copies.
    """
    groups: dict[tuple[str, ...], list[Scene]] = {}
    for scene in scenes:
        groups.setdefault((scene.sensor, *scene.twin), []).append(scene)
    kept, dropped = [], []
    for group in groups.values():
        newest = [max(part, key=lambda one: one.made) for part in _by_collection(group).values()]
        dropped += [scene for scene in group if scene not in newest]
        kept.append(_joined(newest))
    return kept, dropped


def _by_collection(group: Sequence[Scene]) -> dict[str, list[Scene]]:
    parts: dict[str, list[Scene]] = {}
    for scene in group:
        parts.setdefault(scene.collection, []).append(scene)
    return parts


def _joined(parts: Sequence[Scene]) -> Scene:
    """Join the items of one scene in several collections: all bands that any has."""
    first = max(parts, key=lambda part: len(part.assets))
    assets = {band: href for part in parts for band, href in part.assets.items()}
    return replace(first, assets={**assets, **first.assets})


def passes_of(scenes: Iterable[Scene], crs: CRS) -> list[Pass]:
    """Put scenes together as dates, in order; those that lie in `crs` come first within one."""
    ordered = sorted(scenes, key=lambda one: (one.platform, _has_offset(one), one.time, one.id))
    groups: list[list[Scene]] = []
    for scene in ordered:
        if groups and _is_one_pass(groups[-1][-1], scene):
            groups[-1].append(scene)
        else:
            groups.append([scene])
    rank = partial(_rank, crs=crs)
    found = [Pass(min(s.time for s in one), tuple(sorted(one, key=rank))) for one in groups]
    return sorted(found, key=lambda one: (one.time, one.scenes[0].id))


def _is_one_pass(one: Scene, other: Scene) -> bool:
    same = one.platform == other.platform and _has_offset(one) == _has_offset(other)
    return same and other.time - one.time <= PASS


def _has_offset(scene: Scene) -> tuple[str, str]:
    """Return what decides, at the door, whether numbers hold the offset."""
    if scene.sensor != "sentinel2":
        return "", ""
    try:
        late = str(float(scene.said["s2:processing_baseline"]) >= _OFFSET_BASELINE)
    except ValueError:
        late = ""
    return str(scene.said["earthsearch:boa_offset_applied"]), late


def _rank(scene: Scene, crs: CRS) -> tuple[bool, pd.Timestamp, str]:
    return scene.crs != crs, scene.time, scene.id

"""The ground and the days that are asked of a catalogue, however they are given."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import rasterio.warp
from pyproj import CRS
from pyproj.exceptions import CRSError

from tamrf_xr.errors import DateError, IngestError, OptionError, SourceNotFoundError
from tamrf_xr.nesting import Bounds
from tamrf_xr.paths import local_path

LONLAT = CRS("EPSG:4326")


@dataclass(frozen=True, slots=True)
class Area:
    """A place and a time."""

    name: str
    """What it is called; may be empty."""

    geometry: Mapping[str, Any]
    """GeoJSON in longitude and latitude."""

    bounds: Bounds
    """Left, bottom, right, top in `crs`."""

    crs: CRS
    """In which the place was given."""

    period: str
    """First and last day, ``2022-01-01/2022-12-31``."""

    def bounds_in(self, crs: CRS) -> Bounds:
        """Return the bounds in a CRS: those given where it is theirs, else a box around."""
        if crs == self.crs:
            return self.bounds
        if self.crs == LONLAT:
            moved = rasterio.warp.transform_geom(LONLAT.to_wkt(), crs.to_wkt(), self.geometry)
            return _bounds_of(moved)
        found = rasterio.warp.transform_bounds(self.crs.to_wkt(), crs.to_wkt(), *self.bounds)
        return found[0], found[1], found[2], found[3]


def read_area(
    *, bbox: Any = None, geometry: Any = None, aoi: Any = None, datetime: str | None = None
) -> Area:
    """Read what is asked.

    Parameters
    ----------
    bbox
        West, south, east, north in degrees.
    geometry
        GeoJSON (geometry, Feature or FeatureCollection) in longitude and latitude, or what has
        ``__geo_interface__``.
    aoi
        Path of a JSON file, or its content: GeoJSON, or ``{name, aoi: [left, bottom, right, top],
        crs, start_date, end_date}``.
    datetime
        ``first/last`` day, which counts before those of `aoi`.

    Raises
    ------
    OptionError
        If not exactly one place is given, or it is none on Earth.
    SourceNotFoundError
        If the file is not there.
    IngestError
        If it is no such JSON.
    DateError
        If there is no period, or it ends before it begins.
    """
    given = {"bbox": bbox, "geometry": geometry, "aoi": aoi}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise OptionError(
            f"the place is given as {' and '.join(named) or 'nothing'}; give one of bbox= (west, "
            "south, east, north), geometry= (GeoJSON) and aoi= (a JSON file)"
        )
    if bbox is not None:
        return _area("", _box(_four(bbox, "bbox")), datetime)
    if geometry is not None:
        return _area("", _geometry_of(getattr(geometry, "__geo_interface__", geometry)), datetime)
    content = aoi if isinstance(aoi, Mapping) else _read_json(aoi)
    if isinstance(content.get("aoi"), Mapping) or "aoi" not in content:
        return _area(str(content.get("name", "")), _geometry_of(content), datetime)
    return _of_form(content, datetime)


def _read_json(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    place = local_path(path, "AOI")
    if not place.is_file():
        raise SourceNotFoundError(f"no AOI at {place}; found nothing there")
    try:
        content = json.loads(place.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        raise IngestError(f"{place} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise IngestError(f"{place} holds no object of JSON; {_FORMS}")
    return content


_FORMS = (
    'expected GeoJSON, or {"name": ..., "aoi": [left, bottom, right, top], "crs": "EPSG:32631", '
    '"start_date": "2022-01-01", "end_date": "2022-12-31"}'
)


def _of_form(content: Mapping[str, Any], datetime: str | None) -> Area:
    bounds = _four(content["aoi"], "aoi")
    crs = _crs_of(content.get("crs", "EPSG:4326"))
    ends = [str(content.get(key, "..")) for key in ("start_date", "end_date")]
    period = _period(datetime if datetime is not None else "/".join(ends))
    name = str(content.get("name", ""))
    if crs == LONLAT:
        return _area(name, _box(bounds), period)
    west, south, east, north = rasterio.warp.transform_bounds(
        crs.to_wkt(), LONLAT.to_wkt(), *bounds
    )
    return Area(name, _box((west, south, east, north)), bounds, crs, period)


def _crs_of(text: Any) -> CRS:
    try:
        return CRS(text)
    except CRSError as error:
        raise IngestError(f"crs {text!r:.80} of the AOI is not understood: {error}") from error


def _area(name: str, geometry: Mapping[str, Any], datetime: str | None) -> Area:
    bounds = _bounds_of(geometry)
    west, south, east, north = bounds
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise OptionError(
            f"the place {bounds} is none in longitude and latitude: expected west < east within "
            "180 degrees, south < north within 90; give projected bounds as aoi= with their crs, "
            "and cut what crosses the date line in two"
        )
    return Area(name, geometry, bounds, LONLAT, _period(datetime))


def _four(values: Any, what: str) -> Bounds:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise OptionError(f"{what} is {values!r:.80}; expected four numbers: {_EDGES}")
    left, bottom, right, top = numbers
    if left >= right or bottom >= top:
        raise OptionError(f"{what} {numbers} holds no ground; expected {_EDGES}")
    return left, bottom, right, top


_EDGES = "left, bottom, right, top, with left < right and bottom < top"


def _box(bounds: Bounds) -> dict[str, Any]:
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _geometry_of(content: Any) -> Mapping[str, Any]:
    if isinstance(content, Mapping):
        if content.get("type") == "FeatureCollection" and content.get("features"):
            found = [_geometry_of(one) for one in content["features"]]
            return found[0] if len(found) == 1 else _box(_around(map(_bounds_of, found)))
        if content.get("type") == "Feature":
            return _geometry_of(content.get("geometry"))
        if content.get("type") in {"Polygon", "MultiPolygon"} and content.get("coordinates"):
            return content
    raise IngestError(f"no polygon in {content!r:.80}; {_FORMS}")


def _bounds_of(geometry: Mapping[str, Any]) -> Bounds:
    return _around(_points(geometry["coordinates"]))


def _points(coordinates: Any) -> list[Bounds]:
    if not isinstance(coordinates, Sequence) or isinstance(coordinates, str) or not coordinates:
        raise IngestError(f"coordinates {coordinates!r:.80} are none of a polygon; {_FORMS}")
    if isinstance(coordinates[0], (int, float)):
        x, y = float(coordinates[0]), float(coordinates[1])
        return [(x, y, x, y)]
    return [point for part in coordinates for point in _points(part)]


def _around(boxes: Any) -> Bounds:
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _period(text: str | None) -> str:
    if text is None:
        raise DateError("no period; give datetime='2022-01-01/2022-12-31'")
    first, _, last = str(text).partition("/")
    ends = [_moment(end, str(text)) for end in (first, last or first)]
    if ends == [None, None]:
        raise DateError(f"period {text!r:.80} has no end; give datetime='2022-01-01/2022-12-31'")
    if ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
        raise DateError(
            f"period {text} ends before it begins; did you mean {last}/{first}? "
            "Give datetime='first/last'"
        )
    return str(text)


def _moment(text: str, period: str) -> pd.Timestamp | None:
    if text in {"", ".."}:
        return None
    try:
        found = pd.Timestamp(text)
    except (ValueError, TypeError, OverflowError) as error:
        raise DateError(
            f"period {period!r:.80}: {text!r:.40} is no date ({error}); expected "
            "2022-01-01/2022-12-31"
        ) from error
    return found if found.tz is None else found.tz_convert(None)

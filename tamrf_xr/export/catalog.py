"""A STAC 1.1 collection of a product: an item a date and sensor, of its store or of its COGs.

Fields of extensions are written as their texts have them (eo 2.0, projection 2.0, raster 2.0,
processing 1.2): pystac's own classes of eo and raster are of the versions before STAC 1.1's bands.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pyproj import CRS, Transformer

from tamrf_xr.cube import Grid
from tamrf_xr.errors import OptionError
from tamrf_xr.export.described import Described, describe_source
from tamrf_xr.paths import PathLike, readable
from tamrf_xr.places import StorageOptions
from tamrf_xr.replaceable import check_folder, is_node
from tamrf_xr.replacing import fresh
from tamrf_xr.sensors import SENSORS

if TYPE_CHECKING:
    import pystac

EXTENSIONS = {
    name: f"https://stac-extensions.github.io/{name}/{release}/schema.json"
    for name, release in (
        ("eo", "v2.0.0"),
        ("projection", "v2.0.0"),
        ("raster", "v2.0.0"),
        ("processing", "v1.2.0"),
    )
}
MARK = "tamrf:export"
"""Field of a collection of ours: no other is replaced."""

CONSTELLATIONS = {"sentinel2": "sentinel-2", "landsat": "landsat"}
INSTRUMENTS = {"sentinel2": ["msi"], "landsat": ["oli", "tirs"]}
FUSED_LEVEL = "L4"
"""Of what was computed from several acquisitions, measured by none."""


@dataclass(frozen=True, slots=True)
class About:
    """What a catalogue says of itself."""

    id: str = ""
    """By default the name of what it is of."""

    title: str = ""
    """In print."""

    license: str = "other"
    """SPDX name, or ``"other"``."""


def export_stac(
    source: PathLike,
    out: PathLike,
    about: About = About(),
    *,
    overwrite: bool = False,
    storage_options: StorageOptions = None,
) -> int:
    """Write a STAC collection of a product, whole or not at all.

    Parameters
    ----------
    source
        A product or a cube in Zarr, or a folder of COGs that `export_cogs` wrote.
    out
        Folder of the catalogue. Links to what lies on this machine are relative, so that a
        catalogue inside the folder of the COGs, say, moves along with them.
    about
        Its name, title and licence.
    overwrite
        Replace a catalogue of ours.
    storage_options
        As of `tamrf_xr.open_cube`.

    Returns
    -------
    int
        How many items it has.

    Raises
    ------
    SourceNotFoundError, CubeError
        If the source is neither.
    OptionError
        If `out` is a place that must stay, or pystac is not installed.
    OutputExistsError
        If something is there that may not be replaced.
    """
    stac, place = _pystac(), readable(source, "source")
    # COGs may have their catalogue beside them; a store holds nothing but itself.
    store = [place] if not isinstance(place, Path) or is_node(place) else []
    target = check_folder(
        out, "catalogue", overwrite=overwrite, ours=_why_not_a_catalogue, inputs=store
    )
    described = describe_source(source, storage_options)
    collection = _collection(stac, place, described, about)
    collection.normalize_hrefs(target.as_posix())
    collection.make_all_asset_hrefs_relative()
    with fresh(target, overwrite=overwrite) as partial:
        collection.save(stac.CatalogType.SELF_CONTAINED, dest_href=partial.as_posix())
    return len(described)


def _pystac() -> Any:
    try:
        import pystac
    except ImportError as error:
        raise OptionError("a catalogue needs pystac: pip install 'tamrf-xr[export]'") from error
    return pystac


def _why_not_a_catalogue(folder: Path) -> str | None:
    try:
        found = json.loads((folder / "collection.json").read_text())
    except (OSError, ValueError):
        return "holds no STAC collection"
    if MARK not in found:
        return f"is a STAC collection of others (no {MARK} in it)"
    foreign = [path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"]
    return f"also holds what is not ours ({', '.join(sorted(foreign)[:3])})" if foreign else None


def _collection(
    stac: Any, source: str | Path, described: Sequence[Described], about: About
) -> pystac.Collection:
    items = [_item(stac, one) for one in described]
    name = about.id or Path(os.fspath(source)).absolute().name.removesuffix(".zarr")
    collection = stac.Collection(
        id=name,
        title=about.title or None,
        description=_description(described),
        license=about.license,
        extent=stac.Extent.from_items(items),
        extra_fields={MARK: version("tamrf-xr")},
    )
    collection.summaries = stac.Summaries(
        {
            "constellation": sorted({CONSTELLATIONS.get(o.sensor, o.sensor) for o in described}),
            "gsd": sorted({one.grid.gsd for one in described}),
        }
    )
    collection.add_items(items)
    return collection  # type: ignore[no-any-return]


def _description(described: Iterable[Described]) -> str:
    sensors = sorted({SENSORS[one.sensor].title for one in described})
    methods = sorted({one.about["method"] for one in described if "method" in one.about})
    how = f", fused by tamrf-xr, method {', '.join(methods)}" if methods else ""
    return f"Surface reflectance and temperature of {' and '.join(sensors)}{how}."


def _item(stac: Any, one: Described) -> pystac.Item:
    geometry, bbox = _footprint(one.grid)
    item = stac.Item(
        id=one.name,
        geometry=geometry,
        bbox=bbox,
        datetime=_utc(one.time),
        properties={
            "title": f"{SENSORS[one.sensor].title}, {one.time:%Y-%m-%d}",
            "constellation": CONSTELLATIONS.get(one.sensor, one.sensor),
            "instruments": INSTRUMENTS.get(one.sensor, []),
            "gsd": one.grid.gsd,
            **_projection(one.grid),
            **_processing(one.about),
        },
        stac_extensions=[url for name, url in EXTENSIONS.items() if name != "eo"],
    )
    for key, asset in one.assets.items():
        extra: dict[str, Any] = {"bands": [_band(one.sensor, band) for band in asset.bands]}
        if asset.expression:
            extra["processing:expression"] = asset.expression
        made = stac.Asset(asset.href, asset.title, media_type=asset.kind, roles=["data"])
        made.extra_fields = extra
        item.add_asset(key, made)
        # The extension may be named only where a field of it is: indices have none.
        if any("eo:common_name" in band for band in extra["bands"]):
            item.stac_extensions = [*EXTENSIONS.values()]
    return item  # type: ignore[no-any-return]


def _utc(time: pd.Timestamp) -> datetime:
    return time.to_pydatetime(warn=False).replace(tzinfo=UTC)


def _projection(grid: Grid) -> dict[str, Any]:
    code = grid.crs.to_authority()
    named = {"proj:code": ":".join(code)} if code else {"proj:wkt2": grid.crs.to_wkt()}
    return {
        **named,
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform)[:6],
        "proj:bbox": list(grid.bounds),
    }


def _processing(about: Mapping[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if about.get("processing_level") == "fused":
        made["processing:level"] = FUSED_LEVEL
    if history := about.get("history", "").strip():
        made["processing:lineage"] = history
    words = about.get("software", "").split()
    made["processing:software"] = dict(zip(words[::2], words[1::2], strict=False)) or {
        "tamrf-xr": version("tamrf-xr")
    }
    if parameters := about.get("parameters"):
        made["processing:expression"] = {
            "format": "tamrf-xr",
            "expression": json.loads(parameters),
        }
    names = ("method", "weights_sha256")
    return made | {f"tamrf:{name}": about[name] for name in names if about.get(name)}


def _band(sensor: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a band: what the file says, and what the table of sensors knows."""
    row = next((b for b in SENSORS[sensor].all_bands if b.name == stored["name"]), None)
    known: dict[str, Any] = {}
    if row is not None:
        known = {
            "eo:common_name": row.common_name,
            "eo:center_wavelength": row.center_wavelength,
            "gsd": row.gsd,
        }
    return {**stored, **known}


def _footprint(grid: Grid) -> tuple[dict[str, Any], list[float]]:
    """Return where a grid lies on the globe: its geometry, and its box; cut at 180 degrees."""
    left, bottom, right, top = grid.bounds
    to_globe = Transformer.from_crs(grid.crs, CRS(4326), always_xy=True)
    west, south, east, north = to_globe.transform_bounds(left, bottom, right, top)
    bbox = [west, south, east, north]
    if west > east:
        boxes = [(west, 180.0), (-180.0, east)]
        rings = [[_ring((a, south), (b, south), (b, north), (a, north))] for a, b in boxes]
        return {"type": "MultiPolygon", "coordinates": rings}, bbox
    corners = [(left, bottom), (right, bottom), (right, top), (left, top)]
    ring = _ring(*(to_globe.transform(*corner) for corner in corners))
    return {"type": "Polygon", "coordinates": [ring]}, bbox


def _ring(*corners: tuple[float, float]) -> list[list[float]]:
    return [list(map(float, corner)) for corner in (*corners, corners[0])]

"""What a notebook shows of ``cube.tamrf``: where it lies, what it holds, one date of it.

Its cost is bounded: coordinates are in memory already, and of pixels one date is read, once and
thinned, where the chunks that hold it are few bytes. What would be computed is not.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from html import escape

import numpy as np
import pandas as pd
import xarray as xr

from tamrf_xr.cube import Grid, grid_of, groups_of, is_product
from tamrf_xr.export.panels import (
    LEAST_CLEAR,
    TRUE_COLOUR,
    Panels,
    colour_panels,
    find_stretch,
    stretch_of,
    stretched,
    thinned,
)
from tamrf_xr.origins import zarr_array_of
from tamrf_xr.sensors import SENSORS

THUMBNAIL_PX = 64
"""Most pixels along the edge of the thumbnail."""

MOST_BYTES = 64 * 2**20
"""Of the chunks that hold the date of the thumbnail: more are not read for it."""

BOX, MAP = 110, (180, 90)
"""Pixels of the longer side of the footprint, and of the map of the world."""

LINE = "stroke='currentColor' fill='none'"
TOP = "style='vertical-align:top'"
CELL = "style='text-align:left;padding:1px 10px 1px 0'"


def html_of(tree: xr.DataTree) -> str:
    """Return HTML of a cube or a product; a part that cannot be made says why in its place."""
    parts = "".join(
        f"<div style='margin:4px 14px 4px 0'>{_tried(part, tree)}</div>"
        for part in (_sensors, _place, _thumbnail)
    )
    return f"<div style='display:flex;flex-wrap:wrap;align-items:flex-start'>{parts}</div>"


def _tried(part: Callable[[xr.DataTree], str], tree: xr.DataTree) -> str:
    try:
        return part(tree)
    except Exception as error:  # noqa: BLE001  what shows an object must not hide it
        return f"<em>{escape(f'{type(error).__name__}: {error}'[:300])}</em>"


def _sensors(tree: xr.DataTree) -> str:
    groups = groups_of(tree)
    if not groups:
        return f"<em>no sensor; groups: {escape(', '.join(tree.children) or 'none')}</em>"
    what = "product" if any(is_product(group) for group in groups.values()) else "cube"
    title = escape(str(tree.attrs.get("title", "")))
    head = "".join(
        f"<th {CELL}>{name}</th>" for name in ("", "dates", "from", "to", "pixels", "holds")
    )
    rows = "".join(_row(name, group) for name, group in groups.items())
    return f"<strong>tamrf_xr {what}</strong> {title}<table><tr>{head}</tr>{rows}</table>"


def _row(name: str, group: xr.Dataset) -> str:
    times = pd.DatetimeIndex(group["time"].values)
    ends = (times.min(), times.max()) if len(times) else ()
    bands = [*map(str, group["band"].values)] if "band" in group.coords else []
    held = [f"{len(bands)} bands ({bands[0]} to {bands[-1]})"] if bands else []
    held += [str(name) for name in group.data_vars if name not in {"reflectance", "spatial_ref"}]
    cells = (
        SENSORS[name].title,
        str(len(times)),
        *([f"{end:%Y-%m-%d}" for end in ends] or ["", ""]),
        f"{group.sizes['y']} x {group.sizes['x']}",
        ", ".join(held),
    )
    return "<tr>" + "".join(f"<td {CELL}>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _place(tree: xr.DataTree) -> str:
    grids = {name: grid_of(group) for name, group in groups_of(tree).items()}
    if not grids:
        return ""
    grid = next(iter(grids.values()))
    left, bottom, right, top = (f"{edge:.10g}" for edge in grid.bounds)
    code = grid.crs.to_epsg()
    crs = escape(f"EPSG:{code}" if code else grid.crs.name)
    sides = ", ".join(f"{one.gsd:g} m ({SENSORS[name].title})" for name, one in grids.items())
    return (
        f"{_outline(grid)}{_world(grid)}<div style='font-size:smaller'>x {left} to {right}, "
        f"y {bottom} to {top}<br/>{crs}; pixels {escape(sides)}</div>"
    )


def _outline(grid: Grid) -> str:
    """Draw the footprint, its sides in their proportion and in kilometres or the CRS's unit."""
    left, bottom, right, top = grid.bounds
    metres = grid.crs.is_projected
    wide, high = right - left, top - bottom
    scale = BOX / max(wide, high)
    width, height = max(wide * scale, 2), max(high * scale, 2)
    size = f"{wide / 1000:.4g} x {high / 1000:.4g} km" if metres else f"{wide:.4g} x {high:.4g}"
    return (
        f"<svg {TOP} width='{BOX + 4}' height='{height + 20:.0f}' "
        f"role='img' aria-label='footprint'>"
        f"<rect x='2' y='2' width='{width:.1f}' height='{height:.1f}' {LINE}/>"
        f"<text x='2' y='{height + 16:.0f}' font-size='11' fill='currentColor'>{size}</text></svg>"
    )


def _world(grid: Grid) -> str:
    """Draw where on Earth the middle of the footprint lies: meridians and parallels, a dot."""
    longitude, latitude = centre_of(grid)
    if not (math.isfinite(longitude) and math.isfinite(latitude)):
        return ""
    wide, high = MAP
    lines = "".join(f"M{x} 0V{high}" for x in range(0, wide + 1, 30)) + "".join(
        f"M0 {y}H{wide}" for y in range(0, high + 1, 15)
    )
    x, y = (longitude + 180) / 360 * wide, (90 - latitude) / 180 * high
    where = f"{abs(latitude):.2f} {'NS'[latitude < 0]}, {abs(longitude):.2f} {'EW'[longitude < 0]}"
    return (
        f"<svg {TOP} width='{wide + 4}' height='{high + 22}' "
        f"viewBox='-2 -2 {wide + 4} {high + 22}' role='img' aria-label='map'>"
        f"<path d='{lines}' {LINE} opacity='0.2'/>"
        f"<path d='M0 {high / 2}H{wide}' {LINE} opacity='0.5'/>"
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='#D55E00'/>"
        f"<text x='0' y='{high + 14}' font-size='11' fill='currentColor'>{where}</text></svg>"
    )


def centre_of(grid: Grid) -> tuple[float, float]:
    """Return longitude and latitude of the middle of a grid; infinite where it has none."""
    from pyproj import Transformer

    left, bottom, right, top = grid.bounds
    to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform((left + right) / 2, (bottom + top) / 2)
    return float(longitude), float(latitude)


def _thumbnail(tree: xr.DataTree) -> str:
    for name, group in groups_of(tree).items():
        if "reflectance" not in group or not group.sizes["time"]:
            continue
        if why := why_unread(group):
            return (
                f"<em>no thumbnail: {escape(why)};<br/><code>.plot.dates()</code> draws some</em>"
            )
        panels = read_one(name, group)
        image = stretched(panels.images[0], _limits(panels))
        clear = f", {panels.clear[0].mean():.0%} clear" if "valid" in group else ""
        about = escape(f"{SENSORS[name].title}, {panels.times[0]:%Y-%m-%d}{clear}")
        return (
            f"<img alt='{about}' width='128' style='image-rendering:pixelated;background:#d9d9d9;"
            "border:1px solid #999' "
            f"src='{_png(image)}'/><div style='font-size:smaller'>{about}</div>"
        )
    return ""


def why_unread(group: xr.Dataset) -> str:
    """Return why one date is not read of a group; empty where that is cheap."""
    touched = 0
    for name in {"reflectance", "valid"} & set(group.data_vars):
        variable = group[name].variable
        if variable._in_memory or _persisted(variable):
            continue
        array = None if variable.chunks else zarr_array_of(variable)
        if array is None:
            return "what is lazy would be computed for it"
        # Chunks that hold the date: their dates, and all bands and pixels.
        dates = min(array.chunks[0], array.shape[0])
        touched += dates * math.prod(array.shape[1:]) * array.dtype.itemsize
    if touched > MOST_BYTES:
        return f"the chunks that hold one date are {touched / 2**20:.0f} MB"
    return ""


def _persisted(variable: xr.Variable) -> bool:
    """Tell whether the blocks of a dask array lie in the memory of this process."""
    graph = getattr(variable.data, "dask", None) if variable.chunks else None
    blocks = [] if graph is None else graph.values()
    held = [getattr(block, "value", block) for block in blocks]
    return bool(held) and all(isinstance(block, np.ndarray) for block in held)


def read_one(sensor: str, group: xr.Dataset) -> Panels:
    """Read the date in the middle of a group, thinned: true colour, or its first band."""
    group = thinned(group, [group.sizes["time"] // 2], most=THUMBNAIL_PX)
    held = set(map(str, group["band"].values))
    found = [SENSORS[sensor].find(name) for name in TRUE_COLOUR]
    colours = [band.name for band in found if band is not None and band.name in held]
    bands = colours if len(colours) == 3 else [str(group["band"].values[0])] * 3
    return colour_panels(sensor, group, bands)


def _limits(panels: Panels) -> tuple[float, float]:
    """Return black and white: of what is clear, or of the clouds where nothing is."""
    if panels.clear.mean() > LEAST_CLEAR:
        return find_stretch([panels])
    image = panels.images[0]
    return stretch_of([(image, np.isfinite(image).all(axis=-1))])


def _png(image: np.ndarray) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray((255 * image).round().astype(np.uint8), "RGBA").save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")

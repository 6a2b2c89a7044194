"""Where the files of two sensors meet: one CRS, 30 m pixels three to one in 10 m, one footprint."""

from __future__ import annotations

import math
from collections.abc import Mapping

import rasterio.warp
from affine import Affine

from tamrf_xr.cube import Grid
from tamrf_xr.errors import IngestError
from tamrf_xr.sensors import LANDSAT

TOLERANCE = 1e-3
"""Pixels by which corners may differ and still be taken for the same: 1 cm at 10 m."""

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top."""


def nest(grids: Mapping[str, Grid]) -> dict[str, Grid]:
    """Choose the grids of a cube from the grids of its files.

    Sentinel-2 keeps its pixels. Landsat keeps its own where they nest three to one in those of
    Sentinel-2 already; else its grid moves to the nearest corner of a Sentinel-2 pixel. Both are
    cut to the whole 30 m pixels that both cover. A sensor alone keeps its grid.

    Parameters
    ----------
    grids
        Per sensor, the grid of its files.

    Returns
    -------
    dict
        Per sensor, the grid of its group.

    Raises
    ------
    IngestError
        If the sensors share no whole 30 m pixel.
    """
    if len(grids) < 2:
        return dict(grids)
    coarse = _nested(grids["sentinel2"], grids["landsat"])
    return {"sentinel2": coarse.zoom(LANDSAT.ratio), "landsat": coarse}


def _nested(fine: Grid, coarse: Grid) -> Grid:
    step = fine.gsd * LANDSAT.ratio
    left, bottom, right, top = bounds_in(coarse, fine)
    west, south, east, north = fine.bounds
    columns, x = _span(west, (max(west, left), min(east, right)), left, fine.gsd)
    rows, y = _span(-north, (max(-north, -top), min(-south, -bottom)), -top, fine.gsd)
    if columns < 1 or rows < 1:
        raise IngestError(
            f"sentinel2 and landsat share no whole pixel of {step:g} m: bounds in "
            f"{fine.crs.to_string()} are {fine.bounds} and {(left, bottom, right, top)}"
        )
    transform = Affine(step, 0, x, 0, -step, -y)
    return Grid(fine.crs, transform, (rows, columns))


def _span(
    origin: float, shared: tuple[float, float], corner: float, gsd: float
) -> tuple[int, float]:
    """Count the whole coarse pixels in `shared`, and tell where the first begins.

    They start on the fine pixel corner (counted from `origin`) that is nearest to `corner`.
    """
    step = gsd * LANDSAT.ratio
    anchor = origin + round((corner - origin) / gsd) * gsd
    first = math.ceil((shared[0] - anchor) / step - TOLERANCE)
    last = math.floor((shared[1] - anchor) / step + TOLERANCE)
    return last - first, anchor + first * step


def bounds_in(grid: Grid, other: Grid) -> Bounds:
    """Return the bounds of `grid` in the CRS of `other`; a box around them where it turns."""
    if grid.crs == other.crs:
        return grid.bounds
    left, bottom, right, top = rasterio.warp.transform_bounds(grid.crs, other.crs, *grid.bounds)
    return left, bottom, right, top


def whole_shift(source: Grid, target: Grid) -> tuple[int, int] | None:
    """Return rows and columns from the corner of `source` to that of `target`.

    None where `target` is not made of pixels of `source`: another CRS, pixel size, or a shift by
    a fraction of a pixel.
    """
    if source.crs != target.crs or not math.isclose(source.gsd, target.gsd, rel_tol=1e-6):
        return None
    (left, _, _, top), (x, _, _, y) = source.bounds, target.bounds
    shift = (top - y) / source.gsd, (x - left) / source.gsd
    whole = round(shift[0]), round(shift[1])
    apart = max(abs(a - b) for a, b in zip(shift, whole, strict=True))
    return whole if apart <= TOLERANCE else None


def cut(grid: Grid, rows: slice, columns: slice) -> Grid:
    """Return the part of a grid."""
    gsd, left, top = grid.gsd, grid.transform.c, grid.transform.f
    corner = left + columns.start * gsd, top - rows.start * gsd
    transform = Affine(gsd, 0, corner[0], 0, -gsd, corner[1])
    shape = rows.stop - rows.start, columns.stop - columns.start
    return Grid(grid.crs, transform, shape)

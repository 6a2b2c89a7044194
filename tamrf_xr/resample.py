"""Bring pixels from one grid to another: exactly in phase, block by block, holes kept.

The plan for lazy arrays: the target is cut into blocks; each takes the window of the source that it
may touch, with a margin for the kernel, and is resampled by itself with exact coordinates and a
kernel of fixed width. A block therefore equals the same ground cut from the whole.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import rasterio.crs
import rasterio.warp
import xarray as xr
from rasterio.enums import Resampling

from tamrf_xr.cube import Grid
from tamrf_xr.nesting import bounds_in, cut, whole_shift

Array = npt.NDArray[Any]
How = Literal["cubic", "nearest", "mean"]

MARGIN = 4
"""Pixels of the source around a block: cubic convolution reaches two."""

BLOCK = 1024
"""Pixels of the target across a block, at most."""

_ONE_WARP = threading.Lock()
"""rasterio hushes GDAL's "no geotransform" around a warp, which threads undo for one another."""


def same_grid(one: Grid, other: Grid) -> bool:
    """Tell whether two grids are one, within a thousandth of a pixel."""
    if one.shape != other.shape or one.crs != other.crs:
        return False
    return bool(np.allclose(one.bounds, other.bounds, rtol=0, atol=1e-3 * one.gsd))


def resample(array: xr.DataArray, *, source: Grid, target: Grid, how: How) -> xr.DataArray:
    """Bring an array to another grid.

    Parameters
    ----------
    array
        ``(..., y, x)``, float with NaN where there is no data; numpy or dask.
    source, target
        Its grid, and the grid asked; their CRS may differ.
    how
        ``"cubic"`` convolution; the ``"nearest"`` pixel; or the ``"mean"`` of what is there, by
        area, for targets that are coarser.

    Returns
    -------
    xarray.DataArray
        float32 on `target`, without coordinates ``y`` and ``x``; NaN outside `source`. A target
        made of whole pixels of the source is cut out of it, untouched.
    """
    bare = array.drop_vars(["y", "x"], errors="ignore")
    if same_grid(source, target):
        return bare
    if (shift := whole_shift(source, target)) is not None and _inside(shift, source, target):
        rows, columns = (
            slice(start, start + size) for start, size in zip(shift, target.shape, strict=True)
        )
        return bare.isel(y=rows, x=columns)
    if bare.chunks is None:
        moved: Any = resample_planes(bare.values, source=source, target=target, how=how)
    else:
        moved = _lazily(bare.data, source, target, how)
    dims = bare.dims
    return xr.DataArray(moved, dims=dims, coords=bare.coords, name=bare.name, attrs=bare.attrs)


def _inside(shift: tuple[int, int], source: Grid, target: Grid) -> bool:
    return all(
        start >= 0 and start + size <= there
        for start, size, there in zip(shift, target.shape, source.shape, strict=True)
    )


def resample_planes(planes: Array, *, source: Grid, target: Grid, how: How) -> Array:
    """Resample arrays in memory; see `resample`.

    Parameters
    ----------
    planes
        ``(..., y, x)`` on `source`, NaN where there is no data.
    source, target
        The grids.
    how
        The kernel.

    Returns
    -------
    numpy.ndarray
        ``(..., y, x)`` float32 on `target`. A pixel whose nearest neighbour is missing is missing:
        GDAL alone would fill holes from their rims.
    """
    flat = planes.reshape(-1, *source.shape).astype(np.float32)
    if how == "mean" and (ratio := _whole_ratio(source, target)):
        moved = _block_mean(flat, source, target, ratio)
    else:
        moved = _warped(flat, source, target, _KERNELS[how])
        if how == "cubic":
            moved[np.isnan(_warped(flat, source, target, Resampling.nearest))] = np.nan
    return moved.reshape(*planes.shape[:-2], *target.shape)


_KERNELS = {
    "cubic": Resampling.cubic,
    "nearest": Resampling.nearest,
    "mean": Resampling.average,
}


def _warped(planes: Array, source: Grid, target: Grid, kernel: Resampling) -> Array:
    out = np.full((len(planes), *target.shape), np.nan, np.float32)
    if not len(planes):
        return out
    # Of one width, or a block would differ from the same ground in a larger one.
    width = {} if kernel is Resampling.average else {"XSCALE": 1, "YSCALE": 1}
    with _ONE_WARP:
        rasterio.warp.reproject(
            planes,
            out,
            src_transform=source.transform,
            src_crs=_rasterio_crs(source),
            dst_transform=target.transform,
            dst_crs=_rasterio_crs(target),
            src_nodata=np.nan,
            dst_nodata=np.nan,
            resampling=kernel,
            tolerance=0,
            # Else only a pixel that lacks every plane would count as missing.
            UNIFIED_SRC_NODATA="NO",
            **width,
        )
    return out


def _rasterio_crs(grid: Grid) -> rasterio.crs.CRS:
    return rasterio.crs.CRS.from_wkt(grid.crs.to_wkt())


def _whole_ratio(source: Grid, target: Grid) -> int:
    """Return how many pixels of the source make one of the target, or 0 where they do not nest."""
    ratio = round(target.gsd / source.gsd)
    if ratio < 1 or source.crs != target.crs:
        return 0
    finer = target.zoom(ratio)
    return ratio if whole_shift(source, finer) is not None else 0


def _block_mean(planes: Array, source: Grid, target: Grid, ratio: int) -> Array:
    finer = target.zoom(ratio)
    shift = whole_shift(source, finer)
    padded = np.full((len(planes), *finer.shape), np.nan, np.float32)
    if shift is not None:
        into, out = zip(
            *(_overlap(s, a, b) for s, a, b in zip(shift, finer.shape, source.shape, strict=True)),
            strict=True,
        )
        padded[:, into[0], into[1]] = planes[:, out[0], out[1]]
    rows, columns = target.shape
    blocks = padded.reshape(len(planes), rows, ratio, columns, ratio)
    there = np.isfinite(blocks)
    count = there.sum(axis=(2, 4))
    total = np.where(there, blocks, 0).sum(axis=(2, 4), dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _overlap(start: int, wanted: int, there: int) -> tuple[slice, slice]:
    low = max(start, 0)
    high = max(min(start + wanted, there), low)
    return slice(low - start, high - start), slice(low, high)


def _lazily(data: Any, source: Grid, target: Grid, how: How) -> Any:
    rows, columns = (_cuts(size) for size in target.shape)
    data = data.rechunk(dict.fromkeys(range(1, data.ndim - 2), -1))
    return da.block(
        [[_lazy_block(data, source, cut(target, r, c), how) for c in columns] for r in rows]
    )


def _cuts(size: int) -> Sequence[slice]:
    return [slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]


def _lazy_block(data: Any, source: Grid, place: Grid, how: How) -> Any:
    near = covering(source, place, margin=MARGIN)
    if near is None:
        shape = (*data.shape[:-2], *place.shape)
        return da.full(shape, np.nan, np.float32, chunks=(*data.chunks[:-2], *place.shape))
    window = data[..., near[0], near[1]].rechunk({data.ndim - 2: -1, data.ndim - 1: -1})
    return window.map_blocks(
        resample_planes,
        source=cut(source, *near),
        target=place,
        how=how,
        dtype=np.float32,
        chunks=(*window.chunks[:-2], (place.shape[0],), (place.shape[1],)),
        meta=np.empty((0,) * data.ndim, np.float32),
    )


def covering(source: Grid, place: Grid, *, margin: int) -> tuple[slice, slice] | None:
    """Return rows and columns of `source` that resampling onto `place` may touch, if any."""
    (left, bottom, right, top), corner = bounds_in(place, source), source.transform
    # A coarse pixel asks for all the fine ones in it: the margin is in its own size too.
    reach = margin * max(1, int(np.ceil(place.gsd / source.gsd)))
    down, across = (corner.f - top, corner.f - bottom), (left - corner.c, right - corner.c)
    rows, columns = (
        _reach(ends, source.gsd, reach, size)
        for ends, size in zip((down, across), source.shape, strict=True)
    )
    empty = rows.start >= rows.stop or columns.start >= columns.stop
    return None if empty else (rows, columns)


def _reach(ends: tuple[float, float], gsd: float, margin: int, size: int) -> slice:
    first = int(np.floor(ends[0] / gsd)) - margin
    last = int(np.ceil(ends[1] / gsd)) + margin
    return slice(max(first, 0), min(last, size))

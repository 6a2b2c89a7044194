"""Where and when an array lies: CRS, pixel centres, north up, times in UTC, one grid for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio.crs
import rasterio.warp
import xarray as xr
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.enums import Resampling

from tamrf_xr.cube import Grid, grid_of
from tamrf_xr.dates import DateLike, parse_dates
from tamrf_xr.errors import CubeError, DateError

_CRS_NAMES = ("proj:code", "proj:epsg", "epsg", "crs")


def deferred(array: xr.DataArray) -> xr.DataArray:
    """Turn an array that lies in a file into dask, so that computing with it does not load it."""
    in_a_file = array.chunks is None and not array.variable._in_memory
    return array.chunk("auto") if in_a_file else array


def timed(array: xr.DataArray, time: DateLike | None) -> xr.DataArray:
    """Give an array the dimension ``time``, in UTC without time zone.

    Parameters
    ----------
    array
        With or without ``time``.
    time
        Acquisition times for an array that does not carry its own.

    Returns
    -------
    xarray.DataArray
        The array, times in the order they came.

    Raises
    ------
    CubeError
        If there is no time, or it is none, or there is no acquisition.
    """
    if "time" in array.coords:
        times = _utc(array)
    elif time is not None:
        times = _said_times(time)
    else:
        raise CubeError(
            "no 'time' coordinate; pass time='2022-06-01' (a date per acquisition), "
            "or .assign_coords(time=...)"
        )
    if "time" not in array.dims:
        array = deferred(array).expand_dims("time")
    if len(times) != array.sizes["time"]:
        raise CubeError(f"{len(times)} times for {array.sizes['time']} acquisitions")
    if not len(times):
        raise CubeError("no acquisition: 'time' has length 0; leave the sensor out")
    return array.assign_coords(time=times.as_unit("ns"))


def _said_times(time: DateLike) -> pd.DatetimeIndex:
    try:
        return parse_dates(time)
    except DateError as error:
        raise DateError(f"time={time!r} of the acquisitions: {error}") from error


def _utc(array: xr.DataArray) -> pd.DatetimeIndex:
    index = array.indexes["time"] if "time" in array.indexes else array["time"].values
    found = pd.Index(np.atleast_1d(index) if np.ndim(index) == 0 else index)
    if found.dtype.kind not in "MOU":
        raise CubeError(f"'time' holds {found.dtype}, expected dates")
    try:
        times = pd.DatetimeIndex([_utc_timestamp(value) for value in found])
    except (ValueError, TypeError) as error:
        raise CubeError(f"'time' holds what is not a date: {error}") from error
    if times.hasnans:
        raise CubeError("'time' has missing values (NaT); drop these acquisitions")
    return times


def _utc_timestamp(value: Any) -> pd.Timestamp:
    stamp = pd.Timestamp(value)
    return stamp.tz_convert(None) if stamp.tzinfo is not None else stamp


def located(
    array: xr.DataArray, *, context: Mapping[str, Any], crs: Any
) -> tuple[xr.DataArray, Grid]:
    """Find the grid of an array, and turn the array north up.

    Parameters
    ----------
    array
        With dimensions and coordinates ``y`` and ``x``.
    context
        Attributes of the array and of the dataset it came from.
    crs
        CRS for an array that does not carry its own.

    Returns
    -------
    array : xarray.DataArray
        North up, coordinates of pixel centres.
    grid : Grid
        Where its pixels lie.

    Raises
    ------
    CubeError
        If the CRS or the coordinates are missing, contradictory, or in degrees.
    """
    for name in ("y", "x"):
        if name not in array.coords:
            raise CubeError(
                f"no coordinate '{name}': found {list(map(str, array.coords))}; "
                "assign the pixel centres with .assign_coords"
            )
    found = _crs_of(array, context, crs)
    array = _north_up(_centred(array, context))
    if found.is_geographic:
        raise CubeError(
            f"pixels in degrees ({found.name}); reproject to a projected CRS, such as UTM, "
            "with .rio.reproject"
        )
    where = xr.Dataset(coords={name: (name, array[name].values) for name in ("y", "x")})
    return array, grid_of(where.rio.write_crs(found))


def parse_crs(crs: Any) -> CRS:
    """Read a coordinate reference system.

    Raises
    ------
    CubeError
        If it is none.
    """
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise CubeError(f"coordinate reference system {crs!r} not understood: {error}") from error


def _crs_of(array: xr.DataArray, context: Mapping[str, Any], crs: Any) -> CRS:
    stated = _stated_crs(array, context)
    found = None if stated is None else parse_crs(stated)
    given = None if crs is None else parse_crs(crs)
    if found is not None and given is not None and found != given:
        raise CubeError(
            f"the data are in {found.to_string()}, but crs= says {given.to_string()}; drop crs=, "
            "or bring the data there with .rio.reproject"
        )
    if (known := found or given) is None:
        raise CubeError(
            "no coordinate reference system: found no 'spatial_ref', 'epsg' or attribute 'crs'; "
            "call .rio.write_crs('EPSG:...') on the data, or pass crs= to as_cube"
        )
    return known


def _stated_crs(array: xr.DataArray, context: Mapping[str, Any]) -> Any:
    if (found := array.rio.crs) is not None:
        return found
    for name in _CRS_NAMES:
        if name in array.coords:
            codes = set(np.ravel(array[name].values).tolist())
            if len(codes) > 1:
                raise CubeError(f"more than one CRS in coordinate '{name}': {sorted(codes)}")
            return codes.pop()
        if context.get(name) is not None:
            return context[name]
    return None


def _centred(array: xr.DataArray, context: Mapping[str, Any]) -> xr.DataArray:
    """Move the coordinates of stackstac, by default upper left corners, to pixel centres."""
    if (
        not {"transform", "resolution"} <= context.keys()
        or min(array["y"].size, array["x"].size) < 2
    ):
        return array
    corner = Affine(*tuple(context["transform"])[:6])
    x, y = array["x"].values.astype(float), array["y"].values.astype(float)
    if not np.allclose((x[1] - x[0], y[1] - y[0]), (corner.a, corner.e), rtol=1e-6):
        return array
    steps = np.array([(x[0] - corner.c) / corner.a, (y[0] - corner.f) / corner.e])
    if np.any(abs(steps - np.round(steps)) > 1e-3):
        return array
    return array.assign_coords(x=("x", x + corner.a / 2), y=("y", y + corner.e / 2))


def _north_up(array: xr.DataArray) -> xr.DataArray:
    y, x = array["y"].values, array["x"].values
    flips = {"y": y[0] < y[-1], "x": x[0] > x[-1]}
    turned = {name: slice(None, None, -1) for name, flip in flips.items() if flip}
    return array.isel(turned) if turned else array


def same_grid(one: Grid, other: Grid) -> bool:
    """Tell whether two grids are one, within a thousandth of a pixel."""
    if one.shape != other.shape or one.crs != other.crs:
        return False
    return bool(np.allclose(one.bounds, other.bounds, rtol=0, atol=1e-3 * one.gsd))


def regrid(array: xr.DataArray, *, source: Grid, target: Grid, nearest: bool) -> xr.DataArray:
    """Bring an array to another grid of the same CRS.

    Parameters
    ----------
    array
        ``(..., y, x)``, float with NaN where there is no data, or bool.
    source, target
        Its grid, and the grid asked.
    nearest
        Take the nearest pixel, as masks ask; else cubic convolution.

    Returns
    -------
    xarray.DataArray
        On `target`; NaN or False outside `source`. Lazy, an acquisition at a time, where `array`
        is lazy.

    Raises
    ------
    CubeError
        If the grids are in different CRS.
    """
    if same_grid(source, target):
        return array
    if source.crs != target.crs:
        raise CubeError(
            f"bands in {source.crs.to_string()} and in {target.crs.to_string()}; bring them to "
            "one CRS with .rio.reproject_match"
        )
    array = deferred(array)
    if array.chunks is not None:
        array = array.chunk({"time": 1, "y": -1, "x": -1})
    warped: xr.DataArray = xr.apply_ufunc(
        _warp,
        array.drop_vars(["y", "x"], errors="ignore"),
        input_core_dims=[["y", "x"]],
        output_core_dims=[["y", "x"]],
        exclude_dims={"y", "x"},
        kwargs={"source": source, "target": target, "nearest": nearest},
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": dict(zip("yx", target.shape, strict=True))},
        output_dtypes=[array.dtype],
    )
    return warped


def _warp(
    block: npt.NDArray[Any], *, source: Grid, target: Grid, nearest: bool
) -> npt.NDArray[Any]:
    crs = rasterio.crs.CRS.from_wkt(source.crs.to_wkt())
    is_mask = block.dtype == bool
    planes = block.reshape(-1, *source.shape).astype(np.uint8 if is_mask else np.float32)
    outside = 0 if is_mask else np.nan
    warped = np.full((len(planes), *target.shape), outside, planes.dtype)
    # One plane a call: GDAL takes a pixel of many for missing only where all of them are.
    for plane, out in zip(planes, warped, strict=True):
        rasterio.warp.reproject(
            plane,
            out,
            src_transform=source.transform,
            dst_transform=target.transform,
            src_crs=crs,
            dst_crs=crs,
            src_nodata=None if is_mask else np.nan,
            dst_nodata=None if is_mask else np.nan,
            resampling=Resampling.nearest if nearest else Resampling.cubic,
        )
    return warped.reshape(*block.shape[:-2], *target.shape).astype(block.dtype)

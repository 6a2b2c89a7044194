"""Where and when an array lies: CRS, pixel centres, north up, times in UTC, one grid for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from tamrf_xr.cube import Grid, grid_of
from tamrf_xr.dates import DateLike, parse_dates
from tamrf_xr.errors import CubeError, DateError
from tamrf_xr.iso8601 import read_moment
from tamrf_xr.spatial_ref import find_crs, grid_mappings, same_crs

HEMISPHERE_SHIFT = 1e7
"""Metres between the northings of one UTM zone counted for the north and for the south."""


def deferred(array: xr.DataArray) -> xr.DataArray:
    """Turn an array that lies in a file into dask, so that computing with it does not load it."""
    in_a_file = array.chunks is None and not array.variable._in_memory
    # The pixels alone: coordinates of objects cannot be chunked.
    return array.copy(data=array.variable.chunk("auto").data) if in_a_file else array


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
    return array.assign_coords(time=_in_nanoseconds(times))


def _in_nanoseconds(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    try:
        return times.as_unit("ns")
    except pd.errors.OutOfBoundsDatetime as error:
        raise CubeError(f"'time' holds no date of an acquisition: {error}; correct it") from error


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
    stamp = read_moment(value) if isinstance(value, str) else pd.Timestamp(value)
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
    centred = _centred(array, context)
    if centred is array:
        _check_transform(array, context)
    array = _north_up(centred)
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


def other_hemisphere(one: CRS, other: CRS) -> float:
    """Return what to add to northings of `one` to have those of `other`; 0 if it is not so simple.

    Examples
    --------
    >>> other_hemisphere(CRS(32635), CRS(32735))
    10000000.0
    """
    codes = one.to_epsg() or 0, other.to_epsg() or 0
    for (north, south), sign in ((codes, 1), (codes[::-1], -1)):
        if 32601 <= north <= 32660 and south == north + 100:
            return sign * HEMISPHERE_SHIFT
    return 0.0


def _crs_of(array: xr.DataArray, context: Mapping[str, Any], crs: Any) -> CRS:
    found = _carried_crs(array, context)
    given = None if crs is None else parse_crs(crs)
    if found is not None and given is not None and not same_crs(found, given):
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


def _carried_crs(array: xr.DataArray, context: Mapping[str, Any]) -> CRS | None:
    if (found := find_crs(array)) is not None:
        return found
    stated = context.get("crs")  # of another variable of its dataset
    return stated if stated is None or isinstance(stated, CRS) else parse_crs(stated)


def _centred(array: xr.DataArray, context: Mapping[str, Any]) -> xr.DataArray:
    """Move the coordinates of stackstac, by default upper left corners, to pixel centres."""
    if min(array["y"].size, array["x"].size) < 2:
        return array
    if {"central_x", "central_y", "edge_size_m", "resolution"} <= context.keys():
        return _centred_of_cubo(array, context)
    stated = bool({"resolution", "resolution_xy"} & context.keys())
    corner = _affine(context.get("transform")) if stated else None
    if corner is None:
        return array
    x, y = array["x"].values.astype(float), array["y"].values.astype(float)
    # Rows may have been sorted since: their coordinates are upper corners in either order.
    sizes = abs(x[1] - x[0]), abs(y[1] - y[0])
    if not all(sizes) or not np.allclose(sizes, (abs(corner.a), abs(corner.e)), rtol=1e-6):
        return array
    steps = np.array([(x[0] - corner.c) / corner.a, (y[0] - corner.f) / corner.e])
    if np.any(abs(steps - np.round(steps)) > 1e-3):
        return array
    return array.assign_coords(x=("x", x + corner.a / 2), y=("y", y + corner.e / 2))


def _affine(stated: Any) -> Affine | None:
    """Return a transform of six numbers or more; None for what is none, such as its text."""
    try:
        return Affine(*(float(part) for part in tuple(stated)[:6]))
    except (TypeError, ValueError):
        return None


def _centred_of_cubo(array: xr.DataArray, context: Mapping[str, Any]) -> xr.DataArray:
    """Move the corners of cubo, which drops the transform, but tells its centre and edge."""
    names = ("resolution", "edge_size_m", "central_x", "central_y")
    try:
        size, edge, *centre = (float(context[name]) for name in names)
    except (TypeError, ValueError):
        return array
    first = np.array([float(array["x"][0]), float(array["y"][0])])
    steps = (first - centre + edge / 2) / size
    if not np.all(abs(steps - np.round(steps)) < 0.05):
        return array
    half = size / 2
    return array.assign_coords(x=array["x"] + half, y=array["y"] - half)


def _check_transform(array: xr.DataArray, context: Mapping[str, Any]) -> None:
    """Refuse coordinates that lie half a pixel beside the transform that the data carry.

    Whole pixels are no contradiction: a selection keeps the transform of the whole image.
    """
    transform = _geotransform(array, context)
    if transform is None:
        return
    left, step, top = transform
    for name, corner, size in (("x", left, step), ("y", top, -step)):
        values = array[name].values.astype(float)
        if values.size < 2 or not np.isclose(abs(values[1] - values[0]), abs(size), rtol=1e-6):
            return
        part = (values[0] - corner) / size % 1
        if min(part, 1 - part) < 1e-3:
            raise CubeError(
                f"coordinate '{name}' holds corners of pixels where GeoTransform puts them, "
                f"expected centres ({corner + size / 2:g} ...): add half a pixel of {abs(size):g}, "
                "or write the transform anew with .rio.write_transform()"
            )


def _geotransform(
    array: xr.DataArray, context: Mapping[str, Any]
) -> tuple[float, float, float] | None:
    """Return left, pixel size and top of the transform in the grid mapping."""
    frame = array.coords.to_dataset()
    places = [frame[name].attrs.get("GeoTransform") for name in grid_mappings(frame)]
    stated = next((place for place in places if place), context.get("GeoTransform"))
    try:
        numbers = [float(part) for part in str(stated).split()]
    except ValueError:
        return None
    if len(numbers) != 6 or numbers[2] or numbers[4] or not np.isclose(numbers[1], -numbers[5]):
        return None
    return numbers[0], numbers[1], numbers[3]


def _north_up(array: xr.DataArray) -> xr.DataArray:
    y, x = array["y"].values, array["x"].values
    if y.ndim != 1 or x.ndim != 1:
        raise CubeError("'y' and 'x' must each be one coordinate of their own dimension")
    flips = {"y": y[0] < y[-1], "x": x[0] > x[-1]}
    turned = {name: slice(None, None, -1) for name, flip in flips.items() if flip}
    return array.isel(turned) if turned else array

"""What a cube is: its schema, how it is built, checked and cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from tamrf_xr import panchromatic
from tamrf_xr.encoding import FILL as FILL
from tamrf_xr.encoding import SCALES as SCALES
from tamrf_xr.encoding import floating
from tamrf_xr.encoding import packing as packing
from tamrf_xr.errors import CubeError
from tamrf_xr.grid import Grid as Grid
from tamrf_xr.schema import check_carried, check_groups, finest
from tamrf_xr.schema import check_nested as check_nested
from tamrf_xr.schema import grid_of as grid_of
from tamrf_xr.schema import grids_of as grids_of
from tamrf_xr.schema import is_product as is_product
from tamrf_xr.sensors import CARRIED, SENSORS, SENTINEL1, Sensor, get_sensor
from tamrf_xr.spatial_ref import placed, with_spatial_ref
from tamrf_xr.storable import ABOUT, described

CUBE_VERSION = "1"

OF_NO_SENSOR = ("provenance",)
"""Groups of products that are of no sensor: pixels and times are those of the others."""

BESIDE = (*OF_NO_SENSOR, *CARRIED)
"""Groups that no method sees: opened, saved and cut with the others."""


def build_group(
    sensor: Sensor | str,
    reflectance: Any,
    *,
    times: Any,
    grid: Grid,
    bands: tuple[str, ...] | None = None,
    valid: Any | None = None,
    surface_temperature: Any | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Put arrays of one sensor together as a group of a cube.

    Parameters
    ----------
    sensor
        A row of the sensor table, or its name.
    reflectance
        ``(time, band, y, x)`` numpy or dask array, 0..1, NaN where there is no data; None for a
        product that has none.
    times
        Acquisition times.
    grid
        Where the pixels lie.
    bands
        Names of the bands; by default all of the sensor's, in the order of the table.
    valid
        ``(time, y, x)`` bool, True where usable; by default wherever reflectance is finite.
    surface_temperature
        ``(time, y, x)`` in kelvin.
    attrs
        Attributes of the group: source, processing.

    Returns
    -------
    xarray.Dataset
        The group.
    """
    sensor = get_sensor(sensor) if isinstance(sensor, str) else sensor
    given = {
        "reflectance": (("time", "band", "y", "x"), reflectance),
        "valid": (("time", "y", "x"), valid),
        "surface_temperature": (("time", "y", "x"), surface_temperature),
    }
    arrays = {name: value for name, value in given.items() if value[1] is not None}
    coords: dict[str, Any] = {}
    if reflectance is not None:
        coords = band_coords(sensor, bands or sensor.band_names)
    frame = located_group(times, grid, coords=coords)
    return _describe(frame.assign_attrs(sensor=sensor.title, **(attrs or {})).assign(arrays))


def build_backscatter(
    backscatter: Any,
    *,
    times: Any,
    grid: Grid,
    bands: tuple[str, ...] = SENTINEL1.band_names,
    valid: Any | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Put arrays of Sentinel-1 together as the group that a cube carries.

    Parameters
    ----------
    backscatter
        ``(time, band, y, x)`` numpy or dask array, in dB, NaN where there is no data.
    times, grid, attrs
        As of `build_group`; the grid has pixels of 10 m.
    bands
        Polarisations, of ``VV`` and ``VH``.
    valid
        ``(time, y, x)`` bool, True where usable; by default wherever backscatter is finite.

    Returns
    -------
    xarray.Dataset
        The group, for `build_cube`'s ``beside={"sentinel1": ...}``.
    """
    arrays: dict[str, Any] = {"backscatter": (("time", "band", "y", "x"), backscatter)}
    arrays |= {} if valid is None else {"valid": (("time", "y", "x"), valid)}
    frame = located_group(times, grid, coords=band_coords(SENTINEL1, bands))
    told = {"sensor": SENTINEL1.title, **(attrs or {})}
    return _describe(frame.assign_attrs(told).assign(arrays))


def located_group(times: Any, grid: Grid, *, coords: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Return a group without variables: times, pixels and CRS, and more coordinates."""
    index = pd.DatetimeIndex(times)
    utc = index if index.tz is None else index.tz_convert(None)
    frame = xr.Dataset(coords={"time": utc.as_unit("ns"), **grid.coords(), **(coords or {})})
    # Located before there are pixels: each `.rio.write_*` copies all that it is given.
    located: xr.Dataset = frame.rio.write_crs(grid.crs).rio.write_transform(grid.transform)
    return described(located, grid.crs)


def band_coords(sensor: Sensor, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the coordinates of bands: names, common names, pixel sizes, wavelengths."""
    bands = [band for name in names for band in sensor.bands if band.name == name]
    # Objects, not fixed-length strings: Zarr v3 specifies only those of variable length.
    return {
        "band": np.array(names, dtype=object),
        "common_name": ("band", np.array([band.common_name for band in bands], dtype=object)),
        "gsd": ("band", [float(band.gsd) for band in bands], {"units": "m"}),
        "center_wavelength": ("band", [band.center_wavelength for band in bands], {"units": "um"}),
    }


def _describe(group: xr.Dataset) -> xr.Dataset:
    for name in group.data_vars:
        group[name].attrs = {**ABOUT.get(str(name), {}), **group[name].attrs}
        group[name].encoding = floating(str(name))
    return group


def build_cube(
    groups: Mapping[str, xr.Dataset],
    *,
    title: str = "",
    history: str = "",
    beside: Mapping[str, xr.Dataset] | None = None,
) -> xr.DataTree:
    """Put groups together as a cube, and check it.

    Parameters
    ----------
    groups
        Per sensor name, its group (`build_group`).
    title, history
        Attributes of the cube.
    beside
        Groups that no method sees, of `BESIDE`.

    Returns
    -------
    xarray.DataTree
        The cube.

    Raises
    ------
    CubeError
        If the groups do not make a cube.
    """
    attrs = {
        "Conventions": "CF-1.11",
        "tamrf_cube_version": CUBE_VERSION,
        "title": title or "Landsat and Sentinel-2 time series",
        "history": history,
    }
    check_groups(groups)
    beside = beside or {}
    check_carried({name: beside[name] for name in CARRIED if name in beside}, groups)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), **groups, **beside})


def groups_of(cube: xr.DataTree) -> dict[str, xr.Dataset]:
    """Return the groups of the sensors that a cube holds, in the order of the sensor table.

    Their CRS stands in ``spatial_ref``, wherever the cube has it; times with a zone are in UTC.
    """
    if not isinstance(cube, xr.DataTree):
        raise CubeError(
            f"not a cube: a {type(cube).__name__}; expected an xarray.DataTree of groups: open a "
            "store with tamrf_xr.open_cube, make one of other data with tamrf_xr.as_cube"
        )
    return {
        name: _in_utc(with_spatial_ref(cube[name].to_dataset(), cube.to_dataset()))
        for name in SENSORS
        if name in cube.children
    }


def beside_of(cube: xr.DataTree) -> dict[str, xr.Dataset]:
    """Return the groups that no method sees, by name."""
    found = {name: cube[name].to_dataset() for name in BESIDE if name in cube.children}
    return {
        name: _in_utc(with_spatial_ref(group, cube.to_dataset())) for name, group in found.items()
    }


def carried_of(cube: xr.DataTree) -> dict[str, xr.Dataset]:
    """Return the groups of sensors that a cube carries and that are not fused, by name."""
    return {name: group for name, group in beside_of(cube).items() if name in CARRIED}


def _in_utc(group: xr.Dataset) -> xr.Dataset:
    """Bring times with a zone to UTC, as the door does: to compute with them is deprecated."""
    index = group.indexes.get("time")
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        return group
    return group.assign_coords(time=index.tz_convert(None))


def validate(cube: xr.DataTree) -> None:
    """Check that a tree is a cube.

    Parameters
    ----------
    cube
        The tree.

    Raises
    ------
    CubeError
        Naming the group, what was found, what was expected and the way out.
    """
    groups = groups_of(cube)
    if not groups:
        found = ", ".join(cube.children) or "none"
        raise CubeError(
            f"not a cube: groups found: {found}; expected one or more of {', '.join(SENSORS)}; "
            "tamrf_xr.as_cube makes cubes from other data"
        )
    check_groups(groups)
    check_carried(carried_of(cube), groups)


def fine_grid(cube: xr.DataTree) -> Grid:
    """Return the grid of the products of a cube: Sentinel-2's, or Landsat's cut in three.

    Raises
    ------
    CubeError
        If the cube is a product already.
    """
    return finest(grids_of(groups_of(cube)))


def located(group: xr.Dataset) -> xr.Dataset:
    """Return a group whose grid mappings hold the transform of its coordinates as they are now."""
    return panchromatic.locate(placed(group, grid_of(group).transform))


def clip(cube: xr.DataTree, bounds: tuple[float, float, float, float] | None = None) -> xr.DataTree:
    """Cut every group of a cube to one footprint made of whole pixels of the coarsest sensor.

    Parameters
    ----------
    cube
        The cube; its groups may cover different ground, but must nest.
    bounds
        Left, bottom, right, top in the CRS of the cube; by default all that every group covers.

    Returns
    -------
    xarray.DataTree
        The cube, cut.

    Raises
    ------
    CubeError
        If nothing is left.
    """
    groups = groups_of(cube)
    _check_bounds(bounds)
    grids = {name: grid_of(group) for name, group in groups.items()}
    step = max(grid.gsd for grid in grids.values())
    boxes = [grid.bounds for grid in grids.values()] + ([] if bounds is None else [bounds])
    boxes += [grid_of(group).bounds for group in carried_of(cube).values()]
    anchor = max(grids.values(), key=lambda grid: grid.gsd).bounds
    left, bottom = (_snap(max(b[i] for b in boxes), anchor[i], step, np.ceil) for i in (0, 1))
    right, top = (_snap(min(b[i] for b in boxes), anchor[i - 2], step, np.floor) for i in (2, 3))
    if left >= right or bottom >= top:
        raise CubeError(f"nothing left: no whole pixel of {step:g} m lies within {boxes}")
    cut = {}
    for name, group in groups.items():
        # By position: what labels select depends on the index that y and x have.
        window = grids[name].window((left, bottom, right, top))
        cut[name] = located(group.isel(panchromatic.positions(group, **window)))
    for name, group in beside_of(cube).items():
        window = grid_of(group).window((left, bottom, right, top))
        cut[name] = located(group.isel(window))
    tree = xr.DataTree.from_dict({"/": cube.to_dataset(), **cut})
    validate(tree)
    return tree


def _check_bounds(bounds: Any) -> None:
    """Check four finite numbers."""
    numbers = np.asarray(bounds if bounds is not None else (0, 0, 0, 0))
    if numbers.shape != (4,) or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
        raise CubeError(
            f"bounds are {bounds!r:.80}; expected left, bottom, right, top in the CRS of the cube"
        )


def _snap(value: float, anchor: float, step: float, rounding: Any) -> float:
    steps = (value - anchor) / step
    whole = round(steps) if abs(steps - round(steps)) < 1e-6 else float(rounding(steps))
    return float(anchor + whole * step)

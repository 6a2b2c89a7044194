"""What a cube is: its schema, how it is built, checked and cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from pyproj import CRS

from tamrf_xr import panchromatic
from tamrf_xr.days import check_times
from tamrf_xr.encoding import FILL as FILL
from tamrf_xr.encoding import SCALES as SCALES
from tamrf_xr.encoding import floating
from tamrf_xr.encoding import packing as packing
from tamrf_xr.errors import CubeError
from tamrf_xr.grid import Grid as Grid
from tamrf_xr.sensors import FINE_GSD, LANDSAT, SENSORS, Sensor, get_sensor
from tamrf_xr.spatial_ref import placed, with_spatial_ref
from tamrf_xr.storable import ABOUT, described

CUBE_VERSION = "1"


def grid_of(group: xr.Dataset) -> Grid:
    """Read the grid of a group off its coordinates.

    Parameters
    ----------
    group
        Dataset with ``y`` and ``x`` of pixel centres and a ``spatial_ref``.

    Returns
    -------
    Grid
        Its grid.

    Raises
    ------
    CubeError
        If the CRS is missing, or the coordinates are not evenly spaced, square and north up.
    """
    if group.rio.crs is None:
        raise CubeError(
            "no coordinate reference system: found no 'spatial_ref'; call "
            ".rio.write_crs('EPSG:...') on the data, or pass crs= to as_cube"
        )
    steps = {}
    for name in ("y", "x"):
        centres = np.asarray(group[name].values, float)
        step = np.diff(centres)
        if step.size == 0:
            raise CubeError(f"coordinate '{name}' has {centres.size} pixel; at least 2 are needed")
        if not np.ptp(step) <= 1e-3 * abs(step[0]):
            raise CubeError(
                f"coordinate '{name}' is not evenly spaced: steps {step.min()} to {step.max()}"
            )
        steps[name] = (centres[-1] - centres[0]) / step.size
    if not np.isclose(-steps["y"], steps["x"]):
        raise CubeError(
            f"pixels must be square and north up, found steps y {steps['y']:g}, x {steps['x']:g}; "
            "as_cube flips south-up data"
        )
    gsd = round(steps["x"], 6)
    corner = float(group["x"][0]) - gsd / 2, float(group["y"][0]) + gsd / 2
    transform = Affine(gsd, 0, round(corner[0], 6), 0, -gsd, round(corner[1], 6))
    return Grid(CRS(group.rio.crs), transform, (group.sizes["y"], group.sizes["x"]))


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
        product that is temperature alone.
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
    index = pd.DatetimeIndex(times)
    utc = index if index.tz is None else index.tz_convert(None)
    coords = {"time": utc.as_unit("ns"), **grid.coords()}
    if reflectance is not None:
        coords |= _band_coords(sensor, bands or sensor.band_names)
    frame = xr.Dataset(coords=coords, attrs={"sensor": sensor.title, **(attrs or {})})
    # Located before there are pixels: each `.rio.write_*` copies all that it is given.
    located: xr.Dataset = frame.rio.write_crs(grid.crs).rio.write_transform(grid.transform)
    return _describe(described(located, grid.crs).assign(arrays))


def _band_coords(sensor: Sensor, names: tuple[str, ...]) -> dict[str, Any]:
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
    groups: Mapping[str, xr.Dataset], *, title: str = "", history: str = ""
) -> xr.DataTree:
    """Put groups together as a cube, and check it.

    Parameters
    ----------
    groups
        Per sensor name, its group (`build_group`).
    title, history
        Attributes of the cube.

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
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), **groups})


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


def check_groups(groups: Mapping[str, xr.Dataset]) -> None:
    """Check groups as `validate` does."""
    grids = {}
    for name, group in groups.items():
        _check_group(name, group)
        grids[name] = grid_of(group)
        _check_pixel_size(name, grids[name], fused=is_product(group))
    check_nested(grids)


def _check_group(name: str, group: xr.Dataset) -> None:
    expected = {
        "reflectance": ("time", "band", "y", "x"),
        "valid": ("time", "y", "x"),
        "surface_temperature": ("time", "y", "x"),
        panchromatic.NAME: ("time", *panchromatic.AXES.values()),
    }
    if not {"reflectance", "surface_temperature"} & set(group.data_vars):
        raise CubeError(f"/{name} has no 'reflectance'; found {list(map(str, group.data_vars))}")
    for variable, dims in expected.items():
        if variable in group and group[variable].dims != dims:
            raise CubeError(
                f"/{name}/{variable} has dimensions {group[variable].dims}, expected {dims}; "
                "tamrf_xr.as_cube puts them in order"
            )
    if "reflectance" in group:
        _check_bands(name, group)
    _check_times(name, group)
    panchromatic.check_nested(group)


def _check_times(name: str, group: xr.Dataset) -> None:
    kind = group["time"].dtype
    if kind.kind != "M":
        raise CubeError(
            f"/{name}/time holds {kind}, expected datetime64; tamrf_xr.as_cube reads text, dates "
            "and times with a zone, and brings them to UTC"
        )
    check_times(name, pd.DatetimeIndex(group["time"].values))


def is_product(group: xr.Dataset) -> bool:
    """Tell whether a group was made by `fuse`: its pixels are 10 m then, whatever the sensor's."""
    return bool(group.attrs.get("processing_level") == "fused")


def _check_pixel_size(name: str, grid: Grid, *, fused: bool) -> None:
    # Every tile is planned with the sensor's own ratio: other pixels would be stretched unseen.
    expected = FINE_GSD if fused else SENSORS[name].gsd
    if not np.isclose(grid.gsd, expected, rtol=1e-5):
        raise CubeError(
            f"/{name} has pixels of {grid.gsd:.10g} m, expected {expected:g} m for "
            f"{SENSORS[name].title}{' products' if fused else ''}; "
            "tamrf_xr.as_cube(..., regrid='nested') brings them there (a product, all at 10 m, has "
            "processing_level='fused' in the attributes of its groups)"
        )


def _check_bands(name: str, group: xr.Dataset) -> None:
    known = SENSORS[name].band_names
    found = [str(band) for band in group["band"].values]
    if unknown := [band for band in found if band not in known]:
        raise CubeError(
            f"/{name} has unknown bands {', '.join(unknown)}; it may have {', '.join(known)}; "
            "tamrf_xr.as_cube knows other names of these"
        )
    if len(set(found)) < len(found) or not found:
        raise CubeError(f"/{name} must have each band once and at least one, found {found}")


def check_nested(grids: Mapping[str, Grid]) -> None:
    """Check that the grids of a cube have one CRS and nest exactly over one footprint.

    Raises
    ------
    CubeError
        If they do not.
    """
    if len(grids) < 2:
        return
    fine, coarse = grids["sentinel2"], grids["landsat"]
    if fine.crs != coarse.crs:
        raise CubeError(
            f"/sentinel2 is in {_crs_name(fine.crs)}, /landsat in {_crs_name(coarse.crs)}; "
            "tamrf_xr.as_cube(..., regrid='nested') brings Landsat to that of Sentinel-2"
        )
    # A product has every sensor on the fine grid; what came from satellites nests.
    ratio = 1 if np.isclose(coarse.gsd, fine.gsd) else LANDSAT.ratio
    if not np.isclose(coarse.gsd, ratio * fine.gsd):
        raise CubeError(
            f"/landsat pixels are {coarse.gsd:g} m, /sentinel2 pixels {fine.gsd:g} m: "
            f"expected exactly {ratio} to 1 (or 1 to 1 in a product); resample one of them"
        )
    shift = [(a - b) / fine.gsd for a, b in zip(coarse.bounds, fine.bounds, strict=True)]
    if any(abs(s / ratio - round(s / ratio)) > 1e-3 / ratio for s in (shift[0], shift[3])):
        raise CubeError(
            f"the /landsat grid is not nested in the /sentinel2 grid: their corners differ by "
            f"{shift[0]:g}, {shift[3]:g} pixels of {fine.gsd:g} m (x, y), expected multiples of "
            f"{ratio}; tamrf_xr.as_cube(..., regrid='nested') brings Landsat there"
        )
    if any(abs(s) > 1e-3 for s in shift):
        raise CubeError(
            f"/landsat and /sentinel2 cover different ground: bounds {coarse.bounds} and "
            f"{fine.bounds}; cut both with tamrf_xr.clip(cube)"
        )


def _crs_name(crs: CRS) -> str:
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.name


def fine_grid(cube: xr.DataTree) -> Grid:
    """Return the grid of the products of a cube: Sentinel-2's, or Landsat's cut in three.

    Raises
    ------
    CubeError
        If the cube is a product already.
    """
    return finest(grids_of(groups_of(cube)))


def grids_of(groups: Mapping[str, xr.Dataset]) -> dict[str, Grid]:
    """Read the grids of groups that are to be fused.

    Raises
    ------
    CubeError
        If they are a product already.
    """
    if any(map(is_product, groups.values())):
        raise CubeError("this cube is a product of fuse already: fuse the cube it was made from")
    return {name: grid_of(group) for name, group in groups.items()}


def finest(grids: Mapping[str, Grid]) -> Grid:
    """Return the grid of the products of a cube with these grids."""
    return grids["sentinel2"] if "sentinel2" in grids else grids["landsat"].zoom(LANDSAT.ratio)


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

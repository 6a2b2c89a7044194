"""What the groups of a cube must be: variables, bands, times, and grids that nest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from pyproj import CRS

from tamrf_xr import panchromatic
from tamrf_xr.days import check_times
from tamrf_xr.encoding import FILL as FILL
from tamrf_xr.encoding import SCALES as SCALES
from tamrf_xr.encoding import packing as packing
from tamrf_xr.errors import CubeError
from tamrf_xr.grid import Grid as Grid
from tamrf_xr.sensors import CARRIED, FINE_GSD, SENSORS, Sensor


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
    needed = set(group.data_vars) if is_product(group) else {"reflectance", "surface_temperature"}
    if not needed & set(group.data_vars):
        raise CubeError(f"/{name} has no 'reflectance'; found {list(map(str, group.data_vars))}")
    for variable, dims in expected.items():
        if variable in group and group[variable].dims != dims:
            raise CubeError(
                f"/{name}/{variable} has dimensions {group[variable].dims}, expected {dims}; "
                "tamrf_xr.as_cube puts them in order"
            )
    if "reflectance" in group:
        _check_bands(name, group, SENSORS[name])
    _check_times(name, group)
    panchromatic.check_nested(group)


def check_carried(carried: Mapping[str, xr.Dataset], groups: Mapping[str, xr.Dataset]) -> None:
    """Check what a cube carries beside the groups that are fused.

    Parameters
    ----------
    carried
        Per name of `tamrf_xr.sensors.CARRIED`, its group: ``backscatter`` (time, band, y, x) in dB.
    groups
        Groups that are fused: what is carried covers their ground, with pixels of 10 m.

    Raises
    ------
    CubeError
        Naming the group, what was found, what was expected and the way out.
    """
    for name, group in carried.items():
        _check_backscatter(name, group)
        _check_bands(name, group, CARRIED[name])
        _check_times(name, group)
        if any(abs(step) > 1e-3 for step in check_phase(name, grid_of(group), groups)):
            raise CubeError(
                f"/{name} covers other ground than /{next(iter(groups))}: bounds "
                f"{grid_of(group).bounds}; cut both with tamrf_xr.clip(cube)"
            )


def _check_backscatter(name: str, group: xr.Dataset) -> None:
    """Check a group of radar: a variable in dB, whatever else may be there."""
    found = {str(key): array.dims for key, array in group.data_vars.items()}
    expected = {"backscatter": ("time", "band", "y", "x"), "valid": ("time", "y", "x")}
    if "backscatter" not in found:
        raise CubeError(
            f"/{name} has no 'backscatter'; found {list(found)}: give it to "
            f"tamrf_xr.as_cube({name}=...), or leave the group out"
        )
    for variable in expected.keys() & found.keys():
        if found[variable] != expected[variable]:
            raise CubeError(
                f"/{name}/{variable} has dimensions {found[variable]}, expected "
                f"{expected[variable]}; tamrf_xr.as_cube puts them in order"
            )
    if (units := group["backscatter"].attrs.get("units")) != "dB":
        raise CubeError(
            f"/{name}/backscatter has units {units!r}, expected 'dB'; tamrf_xr.as_cube brings "
            "linear power there"
        )


def check_phase(name: str, grid: Grid, groups: Mapping[str, xr.Dataset]) -> list[float]:
    """Return how many pixels of 10 m the bounds of a grid lie off those of groups: whole ones.

    Raises
    ------
    CubeError
        If its CRS or its pixels are not those of the products of the groups.
    """
    fine = grid_of(next(iter(groups.values())))
    if grid.crs != fine.crs:
        raise CubeError(
            f"/{name} is in {_crs_name(grid.crs)}, the cube in {_crs_name(fine.crs)}; bring it "
            "there with .rio.reproject_match, in linear power, before it goes into the cube"
        )
    steps = [(a - b) / FINE_GSD for a, b in zip(grid.bounds, fine.bounds, strict=True)]
    if not np.isclose(grid.gsd, FINE_GSD, rtol=1e-5) or any(
        abs(step - round(step)) > 1e-3 for step in steps
    ):
        raise CubeError(
            f"/{name} has pixels of {grid.gsd:.10g} m whose corners lie {steps[0]:g}, "
            f"{steps[3]:g} pixels (x, y) off the cube's, expected whole pixels of {FINE_GSD:g} m; "
            "load it onto the grid of Sentinel-2 (odc-stac: like=), or bring it there with "
            ".rio.reproject_match, in linear power"
        )
    return steps


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


def _check_bands(name: str, group: xr.Dataset, sensor: Sensor) -> None:
    known = sensor.band_names
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
    finer, *others = sorted(grids, key=lambda name: SENSORS[name].ratio)
    for name in others:
        _check_pair((finer, grids[finer]), (name, grids[name]))


def _check_pair(finer: tuple[str, Grid], coarser: tuple[str, Grid]) -> None:
    (one, fine), (other, coarse) = finer, coarser
    way_out = (
        f"tamrf_xr.as_cube(..., regrid='nested') brings {SENSORS[other].title.partition('-')[0]}"
    )
    if fine.crs != coarse.crs:
        raise CubeError(
            f"/{one} is in {_crs_name(fine.crs)}, /{other} in {_crs_name(coarse.crs)}; "
            f"{way_out} to that of {SENSORS[one].title}"
        )
    # A product has every sensor on the fine grid; what came from satellites nests.
    ratio = 1 if np.isclose(coarse.gsd, fine.gsd) else SENSORS[other].ratio // SENSORS[one].ratio
    if not np.isclose(coarse.gsd, ratio * fine.gsd):
        raise CubeError(
            f"/{other} pixels are {coarse.gsd:g} m, /{one} pixels {fine.gsd:g} m: "
            f"expected exactly {ratio} to 1 (or 1 to 1 in a product); resample one of them"
        )
    shift = [(a - b) / fine.gsd for a, b in zip(coarse.bounds, fine.bounds, strict=True)]
    if any(abs(s / ratio - round(s / ratio)) > 1e-3 / ratio for s in (shift[0], shift[3])):
        raise CubeError(
            f"the /{other} grid is not nested in the /{one} grid: their corners differ by "
            f"{shift[0]:g}, {shift[3]:g} pixels of {fine.gsd:g} m (x, y), expected multiples of "
            f"{ratio}; {way_out} there"
        )
    if any(abs(s) > 1e-3 for s in shift):
        raise CubeError(
            f"/{other} and /{one} cover different ground: bounds {coarse.bounds} and "
            f"{fine.bounds}; cut both with tamrf_xr.clip(cube)"
        )


def _crs_name(crs: CRS) -> str:
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.name


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
    name = min(grids, key=lambda sensor: SENSORS[sensor].ratio)
    ratio = SENSORS[name].ratio
    return grids[name] if ratio == 1 else grids[name].zoom(ratio)

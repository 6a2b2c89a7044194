"""What is right already, and may pass the door as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.cube import grid_of, groups_of, validate
from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.asked import Asked
from tamrf_xr.harmonize.georeference import parse_crs
from tamrf_xr.harmonize.masks import mask_role
from tamrf_xr.harmonize.values import Look, look_at
from tamrf_xr.plausible import extremes, question

LOWEST, HIGHEST = -0.5, 6.5
"""Reflectance beyond which fill values lie: -9999 and 65535, scaled or not."""

UNREAD = ("_FillValue", "missing_value", "nodata", "scale_factor", "add_offset", "transform")
"""Attributes of arrays that nobody has read yet: a cube's own have none."""


def is_cube(tree: xr.DataTree, asked: Asked) -> bool:
    """Tell whether a tree may pass as it is."""
    groups = groups_of(tree)
    ours = "tamrf_cube_version" in tree.attrs
    if not groups or asked.regrid is not None:
        return False
    if not all(is_proper(name, group, asked, ours=ours) for name, group in groups.items()):
        return False
    try:
        validate(tree)
    except CubeError:
        return False
    return True


def is_proper(name: str, group: Any, asked: Asked, *, ours: bool = False) -> bool:
    """Tell whether a group may pass as it is; lazy values of a cube of ours are believed."""
    if not isinstance(group, xr.Dataset) or asked.says_something(name) or not _is_typed(group):
        return False
    if any(key in array.attrs for array in group.data_vars.values() for key in UNREAD):
        return False
    try:
        validate(xr.DataTree.from_dict({name: group}))
    except CubeError:
        return False
    if asked.crs is not None and grid_of(group).crs != parse_crs(asked.crs):
        return False
    return _looks_right(group, "off" if ours and asked.check == "sample" else asked.check)


def _is_typed(group: xr.Dataset) -> bool:
    expected = {"reflectance": np.float32, "surface_temperature": np.float32, "valid": np.bool_}
    if not {"reflectance", "band", "y", "x", "time"} <= group.variables.keys():
        return False
    if group["time"].dtype.kind != "M" or not group.sizes["time"] or group["time"].isnull().any():
        return False
    if {"transform", "resolution"} & group.attrs.keys() or group["y"].dtype.kind != "f":
        return False
    unread = any(mask_role(str(name)) not in {None, "valid"} for name in group.data_vars)
    right = all(group[name].dtype == kind for name, kind in expected.items() if name in group)
    return right and ("valid" in group or not unread)


def _looks_right(group: xr.Dataset, check: str) -> bool:
    """Tell whether values are reflectance and kelvin, without infinity or fill values."""
    names = [name for name in ("reflectance", "surface_temperature") if name in group]
    looks = look_at([group[name].reset_coords(drop=True) for name in names], check)
    return all(
        not question(look.values, thermal=name == "surface_temperature")
        and _is_clean(group[name], look)
        for name, look in zip(names, looks, strict=True)
    )


def _is_clean(array: xr.DataArray, look: Look) -> bool:
    """Look for fill values: through all that lies in memory, through the look at what is lazy."""
    in_memory = array.chunks is None and array.variable._in_memory
    low, high = extremes(array.values if in_memory else look.values)
    least, most = (0.0, 1e3) if array.name == "surface_temperature" else (LOWEST, HIGHEST)
    return not (low < least or high > most)

"""What is right already, and may pass the door as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.asked import Asked
from tamrf_xr.harmonize.boa_offset import DARK_SHARE, NEGATIVE
from tamrf_xr.harmonize.boa_statements import is_told_offset
from tamrf_xr.harmonize.georeference import parse_crs
from tamrf_xr.harmonize.masks import mask_role, masks_unknown
from tamrf_xr.harmonize.producers import sensors_said, words_of
from tamrf_xr.harmonize.readings import DIMMEST
from tamrf_xr.harmonize.units import ZEROS, question_dates, zeros
from tamrf_xr.harmonize.values import Look, look_at
from tamrf_xr.plausible import REFLECTANCE, TEMPERATURE, extremes, question
from tamrf_xr.schema import check_groups, grid_of
from tamrf_xr.spatial_ref import with_spatial_ref

UNREAD = ("_FillValue", "missing_value", "nodata", "scale_factor", "add_offset", "transform")
"""Attributes of arrays that nobody has read yet: a cube's own have none."""


def is_cube(groups: Mapping[str, xr.Dataset], asked: Asked, *, ours: bool) -> bool:
    """Tell whether the groups of a tree may pass as they are; `ours` if it says to be a cube."""
    if not groups or asked.regrid is not None:
        return False
    if not all(is_proper(name, group, asked, ours=ours) for name, group in groups.items()):
        return False
    return _are_valid(groups)


def _are_valid(groups: Mapping[str, xr.Dataset]) -> bool:
    try:
        check_groups({name: with_spatial_ref(group) for name, group in groups.items()})
    except CubeError:
        return False
    return True


def is_proper(name: str, group: Any, asked: Asked, *, ours: bool = False) -> bool:
    """Tell whether a group may pass as it is; lazy values of a cube of ours are believed."""
    if not isinstance(group, xr.Dataset) or asked.says_something(name) or not _is_typed(group):
        return False
    if any(key in array.attrs for array in group.data_vars.values() for key in UNREAD):
        return False
    if not _are_valid({name: group}):
        return False
    if asked.crs is not None and grid_of(group).crs != parse_crs(asked.crs):
        return False
    if not ours and _is_told_otherwise(name, group):
        return False
    check = "off" if ours and asked.check == "sample" else asked.check
    return _looks_right(group, check, strict=not ours)


def _is_told_otherwise(name: str, group: xr.Dataset) -> bool:
    """Tell whether data of others say something of their offset, or name another sensor."""
    said = sensors_said(words_of(group))
    return bool(said and name not in said) or is_told_offset(group["reflectance"], group.attrs)


def _is_typed(group: xr.Dataset) -> bool:
    expected = {"reflectance": np.float32, "surface_temperature": np.float32, "valid": np.bool_}
    if not {"reflectance", "band", "y", "x", "time"} <= group.variables.keys():
        return False
    if group["time"].dtype.kind != "M" or not group.sizes["time"] or group["time"].isnull().any():
        return False
    if {"transform", "resolution"} & group.attrs.keys() or group["y"].dtype.kind != "f":
        return False
    names = [str(name) for name in group.data_vars]
    unread = any(mask_role(name) not in {None, "valid"} for name in names) or masks_unknown(names)
    right = all(group[name].dtype == kind for name, kind in expected.items() if name in group)
    return right and ("valid" in group or not unread)


def _looks_right(group: xr.Dataset, check: str, *, strict: bool) -> bool:
    """Tell whether values are reflectance and kelvin, without infinity or fill values."""
    names = [name for name in ("reflectance", "surface_temperature") if name in group]
    looks = look_at([group[name].reset_coords(drop=True) for name in names], check)
    return all(
        not question(look.values, thermal=name == "surface_temperature")
        and _is_clean(group[name], look)
        and not (strict and _is_odd(look, thermal=name == "surface_temperature"))
        for name, look in zip(names, looks, strict=True)
    )


def _is_odd(look: Look, *, thermal: bool) -> bool:
    """Tell whether values of others need another look: dates in other units, zeros, the offset."""
    values = look.values[np.isfinite(look.values)]
    if question_dates(look.values, look.times, thermal=thermal):
        return True
    if thermal or not values.size:
        return False
    negative = float((values < NEGATIVE).mean())
    dim = float(np.percentile(abs(values), 99)) < DIMMEST
    return negative >= DARK_SHARE or dim or zeros(look.values) >= ZEROS


def _is_clean(array: xr.DataArray, look: Look) -> bool:
    """Look for fill values: through all that lies in memory, through the look at what is lazy."""
    in_memory = array.chunks is None and array.variable._in_memory
    low, high = extremes(array.values if in_memory else look.values)
    expected = TEMPERATURE if array.name == "surface_temperature" else REFLECTANCE
    return not (low < expected.least or high > expected.most)

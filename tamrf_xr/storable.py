"""Attributes and coordinates as every store of ours holds them, wherever they came from."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from pyproj import CRS
from zarr.codecs import Crc32cCodec, ZstdCodec

from tamrf_xr.panchromatic import AXES

ABOUT: dict[str, dict[str, Any]] = {
    "reflectance": {"long_name": "surface reflectance", "units": "1"},
    "surface_temperature": {"long_name": "land surface temperature", "units": "K"},
    "backscatter": {"long_name": "radar backscatter coefficient", "units": "dB"},
    "valid": {
        "long_name": "usable observation",
        "flag_values": [0, 1],
        "flag_meanings": "not_usable usable",
    },
}
"""Attributes of the variables of a group."""

CHECKED = (ZstdCodec(), Crc32cCodec())
"""Codecs of coordinates: a flipped bit would be another date."""

_ENCODED = frozenset(
    {
        *("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "dtype"),
        *("coordinates", "grid_mapping"),
    }
)
"""Attributes that xarray writes itself, or that told how a value was stored elsewhere."""

_OF_TIMES = frozenset({"units", "calendar"})
"""What xarray writes itself of times alone."""

_OF_INTEGERS = frozenset(
    {
        *("scale", "scales", "offset", "offsets", "nodata", "nodatavals"),
        *("valid_min", "valid_max", "valid_range", "flag_values", "flag_masks", "flag_meanings"),
    }
)
"""Attributes of the integers that a physical value came from."""


def storable_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as JSON can hold them: text for what has a text, else nothing.

    Examples
    --------
    >>> storable_attrs({"a": np.float32(0.5), "when": datetime.date(2022, 6, 1), "x": None})
    {'a': 0.5, 'when': '2022-06-01'}
    >>> storable_attrs({"shape": np.array([3, 4]), "who": object()})
    {'shape': [3, 4]}
    """
    plain = {str(key): _plain(value) for key, value in attrs.items()}
    return {key: value for key, value in plain.items() if value is not None}


def storable_attrs_of(variable: xr.Variable | xr.DataArray, *, physical: bool) -> dict[str, Any]:
    """Return attributes of a variable that still hold once it is stored our way.

    Parameters
    ----------
    variable
        The variable.
    physical
        Its values are physical: what told of integers, their fill and their scale, is dropped.
    """
    dropped = _ENCODED | (_OF_TIMES if variable.dtype.kind in "mM" else frozenset())
    dropped |= _OF_INTEGERS if physical else frozenset()
    kept = {key: value for key, value in variable.attrs.items() if key not in dropped}
    return storable_attrs(kept)


def described(group: xr.Dataset, crs: CRS | None) -> xr.Dataset:
    """Return a group whose coordinates have the attributes, types and encoding of a cube.

    Parameters
    ----------
    group
        The group; it is not changed, and no pixel is read.
    crs
        Its CRS, which knows the unit of its axes.

    Returns
    -------
    xarray.Dataset
        ``y`` and ``x`` say what they are, text is of dtype object (as in memory, so from every
        store), times are stored in milliseconds since 1970, no encoding of another format is left.
    """
    texts = {name: _as_text(array) for name, array in group.coords.items() if _is_text(array)}
    made = group.assign_coords({name: text for name, text in texts.items() if text is not None})
    made = made.copy(deep=False)
    for name in made.coords:
        variable = made.variables[name]
        variable.attrs = storable_attrs_of(variable, physical=False) | _about(str(name), crs)
        variable.encoding = _encoding(variable)
    return made


def axis_attrs(axis: str, crs: CRS | None) -> dict[str, str]:
    """Return the attributes of the coordinate of an axis, as CF and GDAL read them."""
    unit = crs.axis_info[0].unit_name if crs is not None and crs.axis_info else "metre"
    return {
        "axis": axis.upper(),
        "standard_name": f"projection_{axis}_coordinate",
        "long_name": f"{axis} coordinate of projection",
        "units": "m" if unit in {"metre", "meter"} else unit.replace(" ", "_"),
    }


def time_encoding(times: Any) -> dict[str, Any]:
    """Return how times are stored: milliseconds, for what is appended later has a time of day.

    Times that are finer, as those of Landsat's catalogue may be, are kept as they are.
    """
    fine = np.asarray(times, "M8[ns]").astype(np.int64) % 1_000_000
    unit = "nanoseconds" if fine.any() else "milliseconds"
    return {
        "units": f"{unit} since 1970-01-01",
        "calendar": "proleptic_gregorian",
        "dtype": "int64",
    }


def text_values(values: Any) -> np.ndarray[Any, np.dtype[np.object_]]:
    """Return an array of objects that are all text; what is missing is empty."""
    given = np.asarray(values)
    out = np.empty(given.shape, object)
    for index in np.ndindex(given.shape):
        out[index] = _text(given[index])
    return out


def _is_text(array: xr.DataArray) -> bool:
    return array.dtype.kind in "OUST"


def _as_text(array: xr.DataArray) -> xr.Variable | None:
    """Return text as objects, or None where it is so already; times are no text."""
    if array.name == "time":
        return None
    values = array.values
    if array.dtype == object and all(type(value) is str for value in values.ravel()):
        return None
    return xr.Variable(array.dims, text_values(values), array.attrs)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    plain = _plain(value)
    if plain is None or (isinstance(plain, float) and math.isnan(plain)):
        return ""
    return plain if isinstance(plain, str) else json.dumps(plain)


def _about(name: str, crs: CRS | None) -> dict[str, str]:
    axes = {"y": "y", "x": "x", **{other: axis for axis, other in AXES.items()}}
    if name in axes:
        return axis_attrs(axes[name], crs)
    return {"axis": "T", "standard_name": "time"} if name == "time" else {}


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    if variable.dtype.kind == "M":
        values = variable.values
        return {} if np.isnat(values).any() else time_encoding(values)
    return {"_FillValue": None} if variable.dtype.kind == "f" else {}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, or None for what it cannot hold and no text tells."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist() if value.dtype.kind not in "mM" else value.astype(str).tolist()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return storable_attrs(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(str(one) for one in value)
    return _told(value)


def _told(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    # Of an object without a text of its own, Python tells the address; of an array, its pixels.
    text = "" if callable(value) or hasattr(value, "dims") else str(value)
    return text if text and f"at {id(value):#x}" not in text else None


def with_checked_coords(group: xr.Dataset) -> xr.Dataset:
    """Return a group whose coordinates are stored with checksums."""
    group = group.copy()
    for name in group.coords:
        if group[name].ndim:
            group[name].encoding = {**group[name].encoding, "compressors": CHECKED}
    return group

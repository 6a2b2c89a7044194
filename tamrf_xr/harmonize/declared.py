"""What data say of their own numbers: scale, offset, nodata and unit, wherever it stands.

Read in this order: attributes of the array, coordinates as catalogues give them (STAC
``raster:bands``), the encoding, attributes of the dataset. CF, GDAL and STAC names are known, as
numbers, texts, or a list with one entry a band. Whether what is declared has been applied already
is decided elsewhere (`tamrf_xr.harmonize.units`), from values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.errors import CubeError

SCALE = ("scale_factor", "scales", "scale", "raster:scale")
OFFSET = ("add_offset", "offsets", "offset", "raster:offset")
NODATA = ("_FillValue", "missing_value", "nodata", "nodatavals", "fill_value", "nodata_value")
UNITS = ("units", "unit")

_METRES = (10, 20, 30, 60, 90, 100)
_CATALOGUE = ("raster:bands", "bands")
"""Coordinates and attributes that hold a mapping a band, or a list of one."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What one array says of its numbers."""

    scale: Any = 1.0
    """Number, or variable along ``band``."""

    offset: Any = 0.0
    """Number, or variable along ``band``, in the units of the scaled numbers."""

    scale_from: str = ""
    """Which statement `scale` and `offset` come from; empty where there is none."""

    offset_said: bool = False
    """Whether that statement names an offset at all."""

    nodata: tuple[float, ...] = ()
    """Raw numbers that stand for no data."""

    units: str = ""
    """Unit of the scaled numbers, as written."""

    @property
    def of_a_catalogue(self) -> bool:
        """Whether the scale comes from a catalogue, not from the pixels' own file."""
        return self.scale_from.startswith("raster:bands")


@dataclass(frozen=True, slots=True)
class _Place:
    """One place where statements stand."""

    name: str
    """In words."""

    found: Mapping[str, Any]
    """Names and values."""


def declared(array: xr.DataArray, about: Mapping[str, Any]) -> Declared:
    """Find what is declared about the numbers of an array.

    Parameters
    ----------
    array
        ``(time, band, y, x)`` or ``(time, y, x)``, raw or scaled.
    about
        Attributes of the dataset that it came from.

    Returns
    -------
    Declared
        The first place that names a scale or an offset counts; every nodata does.

    Raises
    ------
    CubeError
        If two places name different scales, or a value is no number.

    Examples
    --------
    >>> dn = xr.DataArray(np.zeros(3, "uint16"), attrs={"scales": (2.75e-5,), "nodata": 0})
    >>> found = declared(dn, {})
    >>> found.scale, found.scale_from, found.nodata
    (2.75e-05, 'attributes', (0.0,))
    """
    places = list(_places(array, about))
    scaled = [place for place in places if _scaling_of(place, array) is not None]
    nodata = {number for place in places for number in _numbers(place, NODATA)}
    if array.dtype.kind == "i":
        # Files of unsigned numbers that were written as signed ones still name the unsigned fill.
        room = 2 ** (8 * array.dtype.itemsize)
        nodata |= {number - room for number in nodata if room / 2 <= number < room}
    units = next((_unit(place.found[n]) for place in places for n in UNITS if n in place.found), "")
    if not scaled:
        return Declared(nodata=tuple(sorted(nodata)), units=units)
    _check_agree(scaled, array)
    scale, offset, said = _known(_scaling_of(scaled[0], array))
    return Declared(scale, offset, scaled[0].name, said, tuple(sorted(nodata)), units)


def _unit(value: Any) -> str:
    """Return a unit; of a list with one a band, the one that all have."""
    units = set(map(str, _listed(value)))
    return units.pop() if len(units) == 1 else str(value)


def unsigned(array: xr.DataArray) -> xr.DataArray:
    """Read signed integers as the unsigned ones that ``_Unsigned`` says they are, their fill too.

    Examples
    --------
    >>> stored = xr.DataArray(np.array([-1, 5], "int16"), attrs={"_Unsigned": "true"})
    >>> unsigned(stored).values.tolist()
    [65535, 5]
    """
    said = array.attrs.get("_Unsigned", array.encoding.get("_Unsigned"))
    if str(said).lower() != "true" or array.dtype.kind != "i":
        return array
    room = 2 ** (8 * array.dtype.itemsize)
    attrs = dict(array.attrs)
    for name in NODATA:
        if name in attrs:
            attrs[name] = [number % room for number in _numbers(_Place("", attrs), (name,))]
    return array.astype(f"u{array.dtype.itemsize}").assign_attrs(attrs)


def _places(array: xr.DataArray, about: Mapping[str, Any]) -> Iterator[_Place]:
    yield _Place("attributes", array.attrs)
    for name in _CATALOGUE:
        if (bands := _catalogue(array, name)) is not None:
            yield _Place("raster:bands", bands)
    if array.dtype.kind in "iu":
        yield _Place("encoding", array.encoding)
    else:
        yield _Place("encoding", {n: v for n, v in array.encoding.items() if n in NODATA})
    plain = {n: v for n, v in about.items() if n not in {"scale", "offset"}}
    yield _Place("attributes of the dataset", plain)


def _catalogue(array: xr.DataArray, name: str) -> Mapping[str, Any] | None:
    """Turn one mapping a band into lists, such as ``{"scale": [1e-4, 1e-4]}``."""
    if name in array.coords and set(array[name].dims) <= {"band"}:
        entries = list(array[name].values.ravel())
    else:
        entries = array.attrs.get(name) or []
        entries = [entries] if isinstance(entries, Mapping) else _listed(entries)
    entries = [e[0] if isinstance(e, (list, tuple)) and e else e for e in entries]
    entries = [entry for entry in entries if isinstance(entry, Mapping)]
    if not entries:
        return None
    keys = {key for entry in entries for key in entry}
    return {key: _one_or_all([entry.get(key) for entry in entries]) for key in keys}


def _one_or_all(values: list[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else values


def _scaling_of(place: _Place, array: xr.DataArray) -> tuple[Any, Any, bool] | None:
    found = _scaling(place.found, array)
    return None if _trivial(found) else found


def _scaling(found: Mapping[str, Any], array: xr.DataArray) -> tuple[Any, Any, bool]:
    scale, _ = _per_band(found, SCALE, array, 1.0)
    offset, said = _per_band(found, OFFSET, array, 0.0)
    return scale, offset, said


def _trivial(scaling: tuple[Any, Any, bool]) -> bool:
    # rioxarray writes 1 and 0 for files that state nothing.
    return bool(np.all(scaling[0] == 1.0) and np.all(scaling[1] == 0.0))


def _known(scaling: tuple[Any, Any, bool] | None) -> tuple[Any, Any, bool]:
    return scaling if scaling is not None else (1.0, 0.0, False)


def _per_band(
    found: Mapping[str, Any], names: tuple[str, ...], array: xr.DataArray, default: float
) -> tuple[Any, bool]:
    name = next((name for name in names if found.get(name) is not None), None)
    # Earth Engine's tools call the size of a pixel in metres "scale", xee "scale_factor".
    if name is None or (names is SCALE and _first(found[name]) in _METRES):
        return default, False
    values = [_number(name, value, default) for value in _listed(found[name])]
    if len(set(values)) == 1:
        return values[0], True
    bands = array.sizes.get("band", 1)
    if len(values) != bands:
        raise CubeError(
            f"{name} lists {len(values)} values for {bands} bands: {values}; give one a band, "
            "or one for all"
        )
    return xr.Variable(("band",), np.array(values)), True


def _first(value: Any) -> Any:
    return next(iter(_listed(value)), None)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    return list(np.ravel(np.asarray(value, object)))


def _number(name: str, value: Any, default: float) -> float:
    if value is None:
        return default
    try:
        number = float(value)
        return default if np.isnan(number) else number
    except (TypeError, ValueError) as error:
        raise CubeError(f"{name}={value!r} is no number; correct the attribute, or drop it") from (
            error
        )


def _numbers(place: _Place, names: tuple[str, ...]) -> Iterator[float]:
    for name in names:
        for value in _listed(place.found.get(name)):
            if value is None or str(value).strip().lower() in {"none", "nan", ""}:
                continue
            if not np.isnan(number := _number(name, value, np.nan)):
                yield number


def _check_agree(places: list[_Place], array: xr.DataArray) -> None:
    first = _known(_scaling_of(places[0], array))
    for place in places[1:]:
        scale, offset, said = _known(_scaling_of(place, array))
        apart = not np.allclose(_plain(first[0]), _plain(scale), rtol=1e-3)
        # A place that names no offset says nothing against one that does.
        if said and first[2]:
            apart |= not np.allclose(_plain(first[1]), _plain(offset), atol=1e-6)
        if apart:
            raise CubeError(
                f"{places[0].name} say x {_told(first[0])} + {_told(first[1])}, {place.name} say "
                f"x {_told(scale)} + {_told(offset)}: which is right? Correct the attributes, or "
                "pass scaling='dn' for numbers of the Level-2 product"
            )


def _plain(value: Any) -> Any:
    return value.values if isinstance(value, xr.Variable) else value


def _told(value: Any) -> str:
    return " ".join(f"{number:g}" for number in np.unique(np.ravel(_plain(value))))

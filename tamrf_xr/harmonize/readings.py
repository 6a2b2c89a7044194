"""What the numbers of one array are: what is stated, what is known, and what values allow.

In this order: the caller's ``scaling=``; integers that state a scale are scaled; floats that state
one are looked at, for they may be scaled already (xarray keeps attributes through arithmetic);
floats without are physical; else the numbers of the Level-2 product. Units are obeyed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.boa_offset import BOA_OFFSET, DARK_SHARE, NEGATIVE
from tamrf_xr.harmonize.declared import Declared, declared
from tamrf_xr.harmonize.numbers import (
    LS2S2,
    PHYSICAL,
    PRODUCT,
    STATED,
    Numbers,
    Said,
    Units,
    plain,
    told,
)
from tamrf_xr.plausible import question

S2_SCALE = 1e-4
_LANDSAT = {False: (2.75e-5, -0.2), True: (0.00341802, 149.0)}
_LS2S2 = {False: 1e-4, True: 0.1}
NODATA = (-9999.0, -999.0, -10000.0, -32768.0, -2147483648.0)
"""Numbers that stand for no data wherever integers or floats are signed: HLS, FORCE, LEDAPS, BDC
(-9999), DEA (-999), LS2S2 (-10000), int16 and int32."""

DIMMEST = 0.005
"""Reflectance that some band of any scene exceeds somewhere; below, it was scaled twice."""

SCALINGS_HELP = (
    "pass scaling='dn' for numbers of the Level-2 product, scaling='ls2s2' for reflectance x 10000 "
    "and kelvin x 10, scaling='physical' for numbers that are reflectance 0..1 and kelvin, or set "
    "attrs['scale_factor'], attrs['add_offset'] and attrs['units']"
)

_REFLECTANCE_UNITS = {
    **dict.fromkeys(("", "1", "dimensionless", "unitless", "reflectance", "-", "none", "sr"), 1.0),
    **dict.fromkeys(("%", "percent", "pct"), 0.01),
}
_THERMAL_UNITS = {
    **dict.fromkeys(("", "k", "kelvin", "kelvins", "degk", "deg_k"), (1.0, 0.0)),
    **dict.fromkeys(
        ("degc", "c", "celsius", "deg_c", "degrees_celsius", "degree_celsius", "°c", "degree_c"),
        (1.0, 273.15),
    ),
    **dict.fromkeys(("degf", "f", "fahrenheit", "°f"), (5 / 9, 459.67 * 5 / 9)),
}
_RAW_UNITS = {"dn", "count", "counts", "digital number", "digital numbers", "digital_counts"}


def first_reading(one: Numbers, said: Said) -> Units:
    """Read the numbers, all but the offset of Sentinel-2."""
    if one.dtype.kind not in "iuf" or (one.dtype.kind != "f" and one.dtype.itemsize < 2):
        raise CubeError(f"bands hold {one.dtype}, expected floats or integers of 16 bits or more")
    found = declared(one.layer.array, one.layer.about)
    reading = _chosen(one, found, said)
    return _in_units(one, reading, found)


def _chosen(one: Numbers, found: Declared, said: Said) -> Units:
    if said.scaling is not None:
        return _as_said(one, found, said.scaling)
    if one.dtype.kind == "f":
        return _floats(one, found)
    if found.scale_from and not _is_product(one, found):
        return _stated(one, found)
    if _is_named_unit(one, found.units):
        return _physical(one, found, f"units {found.units!r}")
    return _integers(one, found, said)


def _as_said(one: Numbers, found: Declared, scaling: str) -> Units:
    if scaling == LS2S2:
        return _ls2s2(one, found)
    if scaling == STATED:
        return _stated(one, found)
    read = _physical if scaling == PHYSICAL else _product
    return read(one, found, f"scaling={scaling!r}")


def _is_product(one: Numbers, found: Declared) -> bool:
    """Tell whether a catalogue says no more than what the product is known for."""
    known = one.sensor == "sentinel2" and found.of_a_catalogue
    return known and bool(np.allclose(plain(found.scale), S2_SCALE))


def _is_named_unit(one: Numbers, units: str) -> bool:
    """Tell whether a unit leaves no room for digital numbers, as "1" does."""
    known = _THERMAL_UNITS if one.thermal else {"%", "percent", "pct"}
    return units.strip().lower() in known and units.strip() != ""


def _integers(one: Numbers, found: Declared, said: Said) -> Units:
    """Read integers that state no scale."""
    short = one.dtype.kind == "i" and one.dtype.itemsize == 2
    if short and one.sensor == "landsat":
        _check_not_product(one, found)
        return _ls2s2(one, found)
    if said.harmonized is None and said.known == LS2S2:
        return _ls2s2(one, found)
    reading = _product(one, found, "numbers of the Level-2 product")
    if one.thermal and question(one.seen(reading), thermal=True):
        # Whole kelvin, as Sentinel Hub and openEO give them, can be no numbers of the product.
        whole = _physical(one, found, "values: whole kelvin")
        return reading if question(one.seen(whole), thermal=True) else whole
    return reading


def _check_not_product(one: Numbers, found: Declared) -> None:
    """Refuse 16 bits that may be numbers of the product: as such, hardly any is negative."""
    values = one.seen(_product(one, found, ""))
    values = values[np.isfinite(values)]
    if not one.thermal and values.size and float((values < NEGATIVE).mean()) < DARK_SHARE:
        raise CubeError(
            f"int16 without a scale: {np.median(values):.3g} as numbers of Collection 2 Level-2, "
            "or reflectance x 10000 of a very bright scene; pass scaling='dn' or scaling='ls2s2'"
        )


def _floats(one: Numbers, found: Declared) -> Units:
    """Read floats: physical, or numbers of a file that still wait for their scale."""
    plain = _physical(one, found, "floats")
    if not found.scale_from:
        return plain
    scaled = _stated(one, found)
    if one.look.empty or not np.isfinite(one.look.values).any():
        if not one.layer.array.chunks and one.layer.array.variable._in_memory:
            return plain
        raise CubeError(_either(found, "they were not looked at, or hold no data where they were"))
    fits = {
        reading.kind: not _misfit(one, _in_units(one, reading, found))
        for reading in (plain, scaled)
    }
    if fits[PHYSICAL] and fits[STATED]:
        raise CubeError(_either(found, "values allow both"))
    if fits[STATED]:
        return scaled
    if not fits[PHYSICAL]:
        return plain
    applied = f"x {told(found.scale)} + {told(found.offset)} of the {found.scale_from}"
    return replace(
        plain, note=f"{plain.note}: {applied} has been applied", why=f"values: {applied} is done"
    )


def _either(found: Declared, why: str) -> str:
    return (
        f"floats whose {found.scale_from} state x {told(found.scale)} + {told(found.offset)}: "
        f"whether that has been applied cannot be told ({why}); pass scaling='physical' if they "
        "are reflectance 0..1 and kelvin, scaling='stated' if they are still to be scaled"
    )


def _misfit(one: Numbers, units: Units) -> bool:
    values = one.seen(units)
    if not np.isfinite(values).any():
        return True
    if question(values, thermal=one.thermal):
        return True
    return not one.thermal and float(np.nanpercentile(values, 95)) < DIMMEST


def _physical(one: Numbers, found: Declared, why: str) -> Units:
    nodata = set(found.nodata)
    if one.dtype.kind == "f":
        nodata |= {*NODATA, 65535.0}
        nodata |= _scaled_fills(one, found)
    else:
        nodata |= set(_sentinels(one.dtype))
    note = "kelvin as it is" if one.thermal else "reflectance as it is"
    return Units(PHYSICAL, 1.0, 0.0, tuple(sorted(nodata)), note, why)


def _scaled_fills(one: Numbers, found: Declared) -> set[float]:
    """Return what no data became where a fill value was scaled along with the pixels."""
    if one.thermal:
        return {0.0, -273.15, _LANDSAT[True][1], *(fill * 0.1 for fill in NODATA[:4])}
    fills = {fill * S2_SCALE for fill in NODATA[:4]} | {65535 * S2_SCALE}
    offset = _LANDSAT[False][1] if one.sensor == "landsat" else BOA_OFFSET
    fills |= {offset} | {fill * S2_SCALE + offset for fill in NODATA[:4]}
    if found.scale_from and not isinstance(found.scale, xr.Variable):
        offset = float(np.ravel(plain(found.offset))[0])
        fills |= {raw * found.scale + offset for raw in (*found.nodata, *NODATA[:4], 65535.0)}
    return fills


def _sentinels(dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return what stands for no data in integers, declared or not."""
    if dtype.kind == "u":
        return (65535.0,) if dtype.itemsize == 2 else (65535.0, float(np.iinfo(dtype).max))
    limits = np.iinfo(dtype)
    wide = (65535.0, float(limits.max)) if dtype.itemsize > 2 else ()
    return (*(fill for fill in NODATA if fill >= limits.min), *wide)


def _stated(one: Numbers, found: Declared) -> Units:
    if not found.scale_from:
        raise CubeError(
            "scaling='stated', but no scale is stated: found no scale_factor, scales or "
            "raster:bands; set attrs['scale_factor'] and attrs['add_offset']"
        )
    if not np.all(plain(found.scale)):
        raise CubeError(
            f"the {found.scale_from} state a scale of 0: correct it, or pass scaling='dn' for "
            "numbers of the Level-2 product"
        )
    sentinels = NODATA if one.dtype.kind == "f" else _sentinels(one.dtype)
    nodata = tuple(sorted({*found.nodata, *_implied(one, found), *sentinels}))
    note = f"x {told(found.scale)} + {told(found.offset)}, stated by the data"
    why = f"{found.scale_from}: x {told(found.scale)} + {told(found.offset)}"
    return Units(STATED, found.scale, found.offset, nodata, note, why)


def _ls2s2(one: Numbers, found: Declared) -> Units:
    scale = _LS2S2[one.thermal]
    nodata = tuple(sorted({*found.nodata, *_implied(one, found), *NODATA, 65535.0}))
    return Units(
        LS2S2, scale, 0.0, nodata, f"LS2S2 x {scale:g}", "reflectance x 10000, kelvin x 10"
    )


def _implied(one: Numbers, found: Declared) -> tuple[float, ...]:
    """Return 0 where nothing is declared, and no negative number is there to stand for no data."""
    if found.nodata or (one.dtype.kind == "i" and np.isin(one.look.values, NODATA).any()):
        return ()
    return (0.0,)


def _product(one: Numbers, found: Declared, why: str) -> Units:
    sentinels = (*NODATA, 65535.0) if one.dtype.kind == "f" else _sentinels(one.dtype)
    nodata = tuple(sorted({0.0, *found.nodata, *sentinels}))
    if one.sensor == "landsat":
        scale, offset = _LANDSAT[one.thermal]
        note = f"Collection 2 Level-2 DN x {scale:g} + {offset:g}"
        return Units(PRODUCT, scale, offset, nodata, note, why)
    return Units(PRODUCT, S2_SCALE, 0.0, nodata, f"L2A DN x {S2_SCALE:g}", why)


def _in_units(one: Numbers, reading: Units, found: Declared) -> Units:
    """Obey the unit that the data name."""
    unit = found.units.strip().lower()
    if reading.kind in {PRODUCT, LS2S2} or unit in _RAW_UNITS:
        _check_raw_unit(one, reading, unit)
        return reading
    factor, shift = _factor(unit, thermal=one.thermal, written=found.units)
    if (factor, shift) == (1.0, 0.0):
        return reading
    return replace(
        reading,
        scale=reading.scale * factor,
        offset=reading.offset * factor + shift,
        note=f"{reading.note}, in {found.units!r}: x {factor:g} + {shift:g}",
        why=f"{reading.why}, units {found.units!r}",
    )


def _check_raw_unit(one: Numbers, reading: Units, unit: str) -> None:
    # EOPF leaves "digital_counts" on what has been scaled: values decide.
    if reading.kind == PHYSICAL and unit in _RAW_UNITS and _misfit(one, reading):
        raise CubeError(
            f"floats in units {unit!r} are no reflectance yet: pass scaling='dn' for numbers of "
            "the Level-2 product, or set attrs['scale_factor'] and attrs['add_offset']"
        )


def _factor(unit: str, *, thermal: bool, written: str) -> tuple[float, float]:
    if thermal and unit in _THERMAL_UNITS:
        return _THERMAL_UNITS[unit]
    if not thermal and unit in _REFLECTANCE_UNITS:
        return _REFLECTANCE_UNITS[unit], 0.0
    try:
        return float(unit), 0.0  # UDUNITS writes scaled numbers as "1e-4"
    except ValueError:
        what = "temperature (K, degC, degF)" if thermal else "reflectance (1, %)"
        raise CubeError(
            f"units {written!r} are none of {what}; convert the data, or correct attrs['units']"
        ) from None

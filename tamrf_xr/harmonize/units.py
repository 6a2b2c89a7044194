"""What the numbers of one sensor mean: every array read, offset decided, every result questioned.

The offset of Sentinel-2 is decided for the whole series (`tamrf_xr.harmonize.boa_offset`). What
cannot be reflectance or kelvin is refused, never guessed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tamrf_xr.encoding import FILL
from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.boa_offset import (
    BOA_OFFSET,
    DARK_SHARE,
    NEGATIVE,
    Offsets,
    decide,
    pixels_of,
    question_floats,
)
from tamrf_xr.harmonize.boa_statements import Statements, statements
from tamrf_xr.harmonize.declared import declared
from tamrf_xr.harmonize.layers import BAND, Layer
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
from tamrf_xr.harmonize.readings import DIMMEST, S2_SCALE, SCALINGS_HELP, first_reading
from tamrf_xr.harmonize.values import Look
from tamrf_xr.plausible import REFLECTANCE, TEMPERATURE, medians, question
from tamrf_xr.storable import ABOUT

ZEROS = 1e-3
"""Share of floats that are exactly zero, in every band at once, that tells a fill value."""

FILLS = 1e-4
"""Share of a band that is one impossible number, which tells a fill value."""


def units_of(
    layers: Sequence[Layer], looks: Sequence[Look], said: Said, sensor: str
) -> list[Units]:
    """Decide what the numbers of one sensor mean.

    Parameters
    ----------
    layers
        Bands and temperature.
    looks
        Values of each.
    said
        What the caller says.
    sensor
        Name of the sensor.

    Returns
    -------
    list of Units
        One a layer.

    Raises
    ------
    CubeError
        If the numbers cannot be read without guessing, or are no reflectance or temperature.
    """
    arrays = [Numbers(layer, look, sensor) for layer, look in zip(layers, looks, strict=True)]
    units = [_named(one, first_reading, one, said) for one in arrays]
    if said.offset is not None:
        units = [_with_offset(one, unit, said) for one, unit in zip(arrays, units, strict=True)]
    elif sensor == "sentinel2":
        units = _with_boa_offset(arrays, units, said)
    elif said.scaling is None:
        _question_stated_offsets(arrays, units)
    units = _without_zeros(arrays, units)
    for one, unit in zip(arrays, units, strict=True):
        _named(one, _check_result, one, unit)
    _check_not_scaled_twice(arrays, units)
    return units


def _named(one: Numbers, call: Any, *arguments: Any) -> Any:
    """Call, and put the names of the bands before what is wrong with them."""
    try:
        return call(*arguments)
    except CubeError as error:
        raise CubeError(f"{', '.join(one.layer.names)}: {error}") from error


def _with_offset(one: Numbers, unit: Units, said: Said) -> Units:
    """Take the caller's offset in place of any other."""
    if one.thermal:
        return unit
    count = one.layer.array.sizes["time"]
    values = _numbers_of(said.offset)
    if values.ndim and values.shape != (count,):
        raise CubeError(f"offset= has shape {values.shape}, expected one number, or {count}")
    if not np.all(np.abs(values) <= 1):
        raise CubeError(
            f"offset={said.offset!r} is no reflectance: -0.1 or 0 for Sentinel-2 (not DN), or one "
            "value an acquisition"
        )
    along = xr.Variable(("time",), np.broadcast_to(values, count).copy())
    if not values.any() and unit.unchanged:
        return replace(unit, why=f"{unit.why}, offset=0")
    return replace(
        unit,
        offset=along,
        note=f"{unit.note}, offset= as said",
        why=f"{unit.why}, offset=",
    )


def _numbers_of(offset: Any) -> npt.NDArray[np.float32]:
    try:
        return np.asarray(offset, np.float32)
    except (TypeError, ValueError) as error:
        raise CubeError(
            f"offset={offset!r} is no number: give -0.1 or 0, or one value an acquisition"
        ) from error


def _with_boa_offset(arrays: Sequence[Numbers], units: Sequence[Units], said: Said) -> list[Units]:
    """Decide the offset of Sentinel-2 for all bands together."""
    bands = [at for at, one in enumerate(arrays) if one.layer.role == BAND]
    numbers = [at for at in bands if _is_open(arrays[at], units[at], said)]
    floats = [at for at in bands if units[at].kind == PHYSICAL]
    if said.harmonized is not None and not numbers and not floats:
        raise CubeError(
            f"harmonized= speaks of numbers of the Level-2 product, these are read as "
            f"{units[bands[0]].why}: drop it, or pass offset= for reflectance to add"
        )
    made = list(units)
    if numbers:
        offsets = _decided([arrays[at] for at in numbers], [units[at] for at in numbers], said)
        for at in numbers:
            made[at] = _offset_by(units[at], offsets)
    if floats:
        _question_floats([arrays[at] for at in floats], [units[at] for at in floats], said)
    return made


def _is_open(one: Numbers, unit: Units, said: Said) -> bool:
    """Tell whether an array holds numbers of L2A, of which the offset has to be decided."""
    if unit.kind == PRODUCT:
        return True
    if unit.kind != STATED or not np.allclose(plain(unit.scale), S2_SCALE):
        return False
    # HLS, FORCE and DEA correct the atmosphere themselves: a baseline that they pass on is L1C's.
    if (_is_packed_cube(one) or said.known == LS2S2) and said.harmonized is None:
        return False
    return bool(np.isin(np.round(np.ravel(plain(unit.offset)), 4), (0.0, BOA_OFFSET)).all())


def _is_packed_cube(one: Numbers) -> bool:
    """Tell whether an array lies as `tamrf_xr.save_cube` packs it, read without decoding."""
    array, nodata = one.layer.array, declared(one.layer.array, one.layer.about).nodata
    return (
        array.dtype == np.int16
        and FILL in nodata
        and array.attrs.get("long_name") == ABOUT["reflectance"]["long_name"]
    )


def _decided(arrays: Sequence[Numbers], units: Sequence[Units], said: Said) -> Offsets:
    stated = _statements_of(arrays)
    pieces = [
        (one.seen(replace(unit, offset=0.0)), one.look.times)
        for one, unit in zip(arrays, units, strict=True)
    ]
    return decide(stated, pixels_of(pieces, len(stated.times)), harmonized=said.harmonized)


def _statements_of(arrays: Sequence[Numbers]) -> Statements:
    """Return all that is said of the offset, the file's own and the catalogue's among it."""
    found = [declared(one.layer.array, one.layer.about) for one in arrays]
    own = [one for one in found if one.scale_from and not one.of_a_catalogue]
    return replace(
        statements((one.layer.array, one.layer.about) for one in arrays),
        stated=next((_single(one.offset) for one in own if np.any(plain(one.offset))), None),
        catalogued=next((_single(one.offset) for one in found if one.of_a_catalogue), None),
    )


def _single(value: Any) -> float:
    return float(np.ravel(plain(value))[0])


def _offset_by(unit: Units, offsets: Offsets) -> Units:
    corrected = int(np.count_nonzero(offsets.values))
    return replace(
        unit,
        offset=xr.Variable(("time",), offsets.values),
        note=f"L2A DN x {told(unit.scale)}, offset {BOA_OFFSET:g} on {corrected} of "
        f"{offsets.values.size} ({offsets.why})",
        why=f"{unit.why}; offset by {offsets.why}",
    )


def _question_floats(arrays: Sequence[Numbers], units: Sequence[Units], said: Said) -> None:
    if said.harmonized is not None:
        raise CubeError(
            "harmonized= speaks of digital numbers, these are floats: drop it, or pass "
            "scaling='dn' for numbers of the Level-2 product, or offset= for reflectance to add"
        )
    for one, unit in zip(arrays, units, strict=True):
        _named(one, _check_result, one, unit)
    stated = _statements_of(arrays)
    if said.known == LS2S2:
        stated = replace(stated, baseline=np.full(len(stated.times), np.nan))
    pieces = [(one.seen(unit), one.look.times) for one, unit in zip(arrays, units, strict=True)]
    question_floats(stated, pixels_of(pieces, len(stated.times)))


def _question_stated_offsets(arrays: Sequence[Numbers], units: Sequence[Units]) -> None:
    """Ask whether floats were scaled only, where the offset that they state may be still to come.

    Dark pixels answer: nothing lies that far below the offset which has not been added yet.
    """
    pieces, offset = [], 0.0
    for one, unit in zip(arrays, units, strict=True):
        found = declared(one.layer.array, one.layer.about)
        stated = _single(found.offset)
        if one.thermal or unit.kind != PHYSICAL or one.dtype.kind != "f" or stated > NEGATIVE:
            continue
        if _lies_on_steps(one.seen(unit), _single(found.scale), stated):
            continue
        pieces.append((one.seen(unit) + stated, one.look.times))
        offset = stated
    if not pieces:
        return
    shares = pixels_of(pieces, arrays[0].layer.array.sizes["time"], below=NEGATIVE).dark
    if np.isfinite(shares).any() and np.nanmean(shares) < DARK_SHARE:
        raise CubeError(
            f"floats that state an offset of {offset:g}: they look like reflectance, but hardly "
            f"any is below {NEGATIVE - offset:g}, so that it may be still to be added; pass "
            f"scaling='physical' to take them as they are, offset={{'landsat': {offset:g}}} to "
            "add it"
        )


def _lies_on_steps(values: npt.NDArray[Any], scale: float, offset: float) -> bool:
    """Tell whether values are whole numbers scaled and offset, where these differ from scaled ones.

    Landsat's -0.2 is no whole number of its steps of 2.75e-5: the remainder tells.
    """
    apart = offset / scale % 1
    if not 0.05 < apart < 0.95 or not np.isfinite(values).any():
        return False
    steps = (values[np.isfinite(values)] / scale - apart) % 1
    return bool(np.mean(np.minimum(steps, 1 - steps) < 0.02) > 0.9)


def _without_zeros(arrays: Sequence[Numbers], units: Sequence[Units]) -> list[Units]:
    """Take zeros for no data where floats have them in every band, as fills that were scaled."""
    floats = [
        at
        for at, (one, unit) in enumerate(zip(arrays, units, strict=True))
        if one.layer.role == BAND and unit.kind == PHYSICAL and one.dtype.kind == "f"
    ]
    shares = [zeros(arrays[at].look.values) for at in floats]
    if not shares or min(shares) < ZEROS:
        return list(units)
    made = list(units)
    for at in floats:
        unit = units[at]
        made[at] = replace(
            unit,
            nodata=tuple(sorted({*unit.nodata, 0.0})),
            why=f"{unit.why}, zeros in every band are no data",
        )
    return made


def zeros(values: npt.NDArray[Any]) -> float:
    """Return the least share of zeros in a band; nothing but zeros is no fill but a placeholder."""
    if not values.size or not values.any():
        return 0.0
    return float((values == 0).mean(axis=(0, 2)).min())


def _check_result(one: Numbers, units: Units) -> None:
    """Refuse what cannot be reflectance or kelvin, band by band, date by date."""
    values = one.seen(units)
    for at, name in enumerate(one.layer.names):
        if wrong := question(values[:, at], thermal=one.thermal):
            kind = "floats" if one.dtype.kind == "f" else f"{one.dtype}"
            how = "" if units.why == "floats" else f" read by {units.why}"
            raise CubeError(f"{kind}{how} give {name} a {wrong}; {SCALINGS_HELP}")
        if odd := question_dates(values[:, at], one.look.times, thermal=one.thermal):
            date, found = odd
            raise CubeError(
                f"{name} on {_date_of(one, date)} has a {found}, other dates are right: bring all "
                "acquisitions to one unit before they are put together, or leave this one out"
            )
        _check_fills(one, values[:, at], at)


def question_dates(
    values: npt.NDArray[Any], times: npt.NDArray[np.int64], *, thermal: bool
) -> tuple[int, str] | None:
    """Return the first acquisition whose values are in other units, and what they are."""
    if len(values) < 2 or not values.size:
        return None
    expected = TEMPERATURE if thermal else REFLECTANCE
    middle = medians(values.reshape(len(values), -1))
    # The median of a date lies between those of its pieces: most need no closer look.
    for date in np.unique(times[(middle < expected.low) | (middle > expected.high)]):
        if found := question(values[times == date], thermal=thermal):
            return int(date), found
    return None


def _date_of(one: Numbers, date: int) -> str:
    return f"{pd.Timestamp(one.layer.array['time'].values[date]):%Y-%m-%d}"


def _check_fills(one: Numbers, values: npt.NDArray[Any], at: int) -> None:
    """Refuse an impossible number that many pixels share: a fill that nobody declared."""
    expected = TEMPERATURE if one.thermal else REFLECTANCE
    odd = (values < expected.least) | (values > expected.most)
    numbers, counts = np.unique(np.asarray(one.look.values)[:, at][odd], return_counts=True)
    if counts.size and counts.max() >= max(2, FILLS * values.size):
        fill = numbers[counts.argmax()]
        raise CubeError(
            f"{counts.max() / values.size:.2%} of {one.layer.names[at]} is {fill:.9g}, which is no "
            f"{expected.what}: if it stands for no data, set attrs['_FillValue'] = {fill:.9g}, or "
            f"drop it with .where(data != {fill:.9g})"
        )


def _check_not_scaled_twice(arrays: Sequence[Numbers], units: Sequence[Units]) -> None:
    """Refuse reflectance of which nothing is brighter than the darkest ground."""
    seen = [
        one.seen(unit).ravel()
        for one, unit in zip(arrays, units, strict=True)
        if one.layer.role == BAND
    ]
    values = np.concatenate(seen) if seen else np.empty(0)
    values = values[np.isfinite(values)]
    if values.size and values.any() and np.percentile(abs(values), 99) < DIMMEST:
        raise CubeError(
            f"99 % of the reflectance lies below {DIMMEST:g} ({units[0].why}): it seems to be "
            "scaled twice; drop attrs['scale_factor'], or pass scaling='physical' or 'stated'"
        )

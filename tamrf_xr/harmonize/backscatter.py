"""Backscatter of Sentinel-1 as users have it, brought to the group that a cube carries.

A group holds decibels: speckle multiplies power, so that equal steps of dB are equal steps of what
is known of it, and int16 in steps of 0.01 dB (0.2 %) holds calm water and cities alike, where steps
of linear power that hold a city would leave nothing of the water. Means are to be taken of power.

What numbers are follows from what is declared, else from their sign: power has none below zero,
land in dB hardly one above. Either is then questioned. Amplitude, the root of power, looks like
power of other land: where it is not declared, no value tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tamrf_xr.cube import Grid, build_backscatter
from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.declared import Declared, declared
from tamrf_xr.harmonize.georeference import deferred, located, timed
from tamrf_xr.harmonize.layers import Place
from tamrf_xr.harmonize.masks import usable
from tamrf_xr.harmonize.producers import words_of
from tamrf_xr.harmonize.values import Look, look_at
from tamrf_xr.harmonize.variables import arrays_in, find_dim, labels_of, plain_dims
from tamrf_xr.plausible import HUGE
from tamrf_xr.resample import same_grid
from tamrf_xr.sensors import SENTINEL1
from tamrf_xr.spatial_ref import find_crs

POWER, DECIBEL = "power", "dB"
SCALINGS = (POWER, DECIBEL)
"""What ``scaling={"sentinel1": ...}`` may say."""

_UNITS = {
    **dict.fromkeys(("db", "decibel", "decibels"), DECIBEL),
    **dict.fromkeys(("1", "power", "linear", "linear power", "m2/m2", "m2 m-2"), POWER),
}
"""Units as they are written, lower case."""

MEDIAN = (1e-4, 1.0)
"""Of power: what the median of an image of ground or water lies between; -40 to 0 dB."""

MIDDLE = (-50.0, 10.0)
"""dB that 98 % lie between: ships and roofs are brighter."""

FILL = -32768.0
"""No data of Planetary Computer's ``sentinel-1-rtc``, declared or not."""

FILLED = 1e-3
"""Share of dB that are exactly zero, which tells a fill value."""

QUANTITIES = ("gamma0", "sigma0", "beta0")

_WAY_OUT = (
    "give power (0 and up) or dB with attrs['units'] = '1' or 'dB', or say which with "
    "scaling={'sentinel1': 'power'} or 'dB'"
)
_CALIBRATE = (
    "digital numbers of GRD are neither calibrated nor corrected for terrain: load Planetary "
    "Computer's 'sentinel-1-rtc', or make gamma0 of them with SNAP, pyroSAR, sarsen or openEO's "
    "sar_backscatter, and give that as floats of power or dB"
)


@dataclass(frozen=True, slots=True)
class Polarisation:
    """One polarisation as it came, and where it lies."""

    name: str
    """``"VV"`` or ``"VH"``."""

    called: str
    """What the user calls it."""

    array: xr.DataArray
    """``(time, y, x)``, north up."""

    grid: Grid
    """Where its pixels lie."""

    said: Declared
    """What it says of its numbers."""


def read_backscatter(
    source: Any, place: Place, *, scaling: str | None = None, check: str = "sample"
) -> tuple[xr.Dataset, str]:
    """Make the group of Sentinel-1 from what a user has.

    Parameters
    ----------
    source
        A Dataset with a variable a polarisation (``vv``, ``VH``, ``gamma0_vv``, ``Sigma0_VH``, in
        any case), a DataArray with a band dimension, or a mapping of names to arrays or to paths.
        Of masks, ``valid`` alone counts.
    place
        Where and when, if the data do not say.
    scaling
        ``"power"`` or ``"dB"``; by default what is declared (``units``), else what the signs say.
    check
        What is read to question values, as of `tamrf_xr.as_cube`.

    Returns
    -------
    group : xarray.Dataset
        ``backscatter`` (time, band, y, x) in dB, NaN where there is no data; lazy where the input
        is.
    told : str
        What was understood, in words.

    Raises
    ------
    CubeError
        If there is no polarisation, or numbers are digital, of unknown unit, or no backscatter.
    """
    if not isinstance(source, xr.DataArray | Mapping):
        raise CubeError(
            f"a {type(source).__name__} is no data of a sensor; give a Dataset, a DataArray, or a "
            "mapping of 'vv' and 'vh' to arrays or files"
        )
    about = dict(source.attrs) if isinstance(source, xr.Dataset | xr.DataArray) else {}
    found, mask, ignored = _sorted_out(source, about, place)
    _check_together(found)
    looks = look_at([one.array for one in found], check)
    units = [_units(one, look, scaling) for one, look in zip(found, looks, strict=True)]
    if len({unit for unit, _ in units}) > 1:
        each = ", ".join(
            f"{one.called} {unit}" for one, (unit, _) in zip(found, units, strict=True)
        )
        raise CubeError(f"polarisations differ in unit: {each}; bring them to one")
    decibels = [_decibels(one, unit) for one, (unit, _) in zip(found, units, strict=True)]
    attrs = {
        "processing": f"{units[0][0]} ({units[0][1]})",
        "quantity": _quantity([*(one.called for one in found), *words_of(source), about]),
        "ignored": ", ".join(ignored),
    }
    group = build_backscatter(
        xr.concat(decibels, dim="band").transpose("time", "band", "y", "x").variable,
        times=found[0].array["time"].values,
        grid=found[0].grid,
        bands=tuple(one.name for one in found),
        valid=mask,
        attrs={key: text for key, text in attrs.items() if text},
    )
    names = ", ".join(f"{one.called} ({one.array.dtype}) -> {one.name}" for one in found)
    told = [f"{key}: {text}" for key, text in attrs.items() if text]
    return group, "\n  ".join([f"/{SENTINEL1.name}", names, *told])


def _sorted_out(
    source: Any, about: Mapping[str, Any], place: Place
) -> tuple[list[Polarisation], Any, list[str]]:
    """Return polarisations in the order of the table, ``valid``, and names that are neither."""
    context = dict(about)
    if isinstance(source, xr.Dataset) and (crs := find_crs(source)) is not None:
        context["crs"] = crs
    found: list[Polarisation] = []
    mask, ignored = None, []
    for name, array in _singles(source):
        band = SENTINEL1.find(name)
        if band is not None:
            _check_type(name, array, about)
            found.append(_placed((band.name, name), array, context, place))
        elif name.lower() == "valid":
            mask = array
        else:
            ignored.append(name)
    names = [one.name for one in found]
    if not names or len(set(names)) < len(names):
        raise CubeError(
            f"polarisations found: {', '.join(one.called for one in found) or 'none'}; beside "
            f"them: {', '.join(ignored) or 'nothing'}; expected VV, VH or both, each once"
        )
    found.sort(key=lambda one: SENTINEL1.band_names.index(one.name))
    return found, _mask_on(mask, found[0], context, place), ignored


def _singles(source: Any) -> Iterator[tuple[str, xr.DataArray]]:
    """Yield arrays of one band: what lies along a band dimension, one by one."""
    for name, array in arrays_in(source):
        labels = labels_of(array)
        if not labels:
            yield name, array
            continue
        dim = find_dim(array.dims, "band")
        for at, label in enumerate(labels):
            alone = len(labels) == 1 and SENTINEL1.find(label) is None
            yield (name if alone else label), array.isel({dim: at}, drop=True)


def _check_type(name: str, array: xr.DataArray, about: Mapping[str, Any]) -> None:
    """Refuse digital numbers, before anything else that may be wrong with them."""
    if array.dtype.kind == "f":
        return
    if array.dtype.kind not in "iu" or not declared(array, about).scale_from:
        raise CubeError(f"{name} holds {array.dtype} without a scale; {_CALIBRATE}")


def _placed(
    names: tuple[str, str], array: xr.DataArray, context: Mapping[str, Any], place: Place
) -> Polarisation:
    ordered = timed(plain_dims(array), place.time).transpose("time", "y", "x")
    turned, grid = located(ordered, context=dict(context) | array.attrs, crs=place.crs)
    return Polarisation(*names, turned, grid, declared(ordered, context))


def _mask_on(
    mask: xr.DataArray | None, like: Polarisation, context: Mapping[str, Any], place: Place
) -> xr.Variable | None:
    if mask is None:
        return None
    placed = _placed(("valid", "valid"), mask, context, place)
    _check_together([like, placed])
    return usable(placed.array, "valid", placed.said.nodata).variable


def _check_together(found: list[Polarisation]) -> None:
    first = found[0]
    for one in found[1:]:
        if not np.array_equal(first.array["time"].values, one.array["time"].values):
            raise CubeError(
                f"{first.called} and {one.called} have other times; give both the same "
                "acquisitions, in the same order"
            )
        if not same_grid(first.grid, one.grid):
            raise CubeError(
                f"{first.called} and {one.called} lie on other grids ({first.grid.shape} pixels "
                f"of {first.grid.gsd:g} m, {one.grid.shape} of {one.grid.gsd:g} m); bring them to "
                "one"
            )


def _units(one: Polarisation, look: Look, scaling: str | None) -> tuple[str, str]:
    """Return `POWER` or `DECIBEL`, and the statement that it rests on; question the values."""
    seen = _scaled(np.asarray(look.values, np.float64), one)
    values = seen[np.isfinite(seen)]
    stated = _UNITS.get(one.said.units.strip().lower())
    if scaling is not None and stated is not None and scaling != stated:
        raise CubeError(
            f"{one.called} states units {one.said.units!r}, scaling= says {scaling!r}: correct "
            "the attribute, or drop scaling="
        )
    if one.said.units and stated is None and scaling is None:
        raise CubeError(f"{one.called} has units {one.said.units!r}, not understood; {_WAY_OUT}")
    unit, why = scaling or stated, "as said" if scaling else "stated"
    if unit is None:
        unit, why = _by_signs(one, values), "as the signs of values say"
    for date in np.unique(look.times):
        of_date = seen[look.times == date]
        if np.isfinite(of_date).any():
            when = f"{pd.Timestamp(one.array['time'].values[date]):%Y-%m-%d}"
            _question(f"{one.called} on {when}", of_date[np.isfinite(of_date)], unit)
    return unit, why


def _by_signs(one: Polarisation, values: npt.NDArray[np.float64]) -> str:
    if not values.size:
        raise CubeError(
            f"{one.called}: no unit is stated, and there is no value to tell it by (no data where "
            f"looked at, or check='off'); {_WAY_OUT}"
        )
    negative = float((values < 0).mean())
    if 0 < negative < 0.5:
        raise CubeError(
            f"{negative:.1%} of {one.called} is negative: too many for power, too few for dB of "
            f"land; {_WAY_OUT}"
        )
    return DECIBEL if negative else POWER


def _question(called: str, values: npt.NDArray[np.float64], unit: str) -> None:
    """Refuse what cannot be backscatter in this unit."""
    low, middle, high = np.percentile(values, (1, 50, 99))
    if unit == DECIBEL:
        zeros = float((values == 0).mean())
        if zeros >= FILLED:
            raise CubeError(
                f"{zeros:.1%} of {called} is exactly 0 dB, which is a fill value rather than "
                "ground: set attrs['_FillValue'] = 0, or drop it with .where(data != 0)"
            )
        if not MIDDLE[0] <= low <= high <= MIDDLE[1] or not -40 <= middle <= 0:
            raise CubeError(
                f"{called} read as dB has 1 % below {low:g}, median {middle:g}, 1 % above "
                f"{high:g}; expected {MIDDLE[0]:g} to {MIDDLE[1]:g}, median -40 to 0; {_WAY_OUT}"
            )
        return
    if values.min() < 0:
        raise CubeError(
            f"{called} read as power has {(values < 0).mean():.1%} negative values (least "
            f"{values.min():g}), and power has none; {_WAY_OUT}"
        )
    if not MEDIAN[0] <= middle <= MEDIAN[1]:
        numbers = f"; {_CALIBRATE}" if middle > MEDIAN[1] else f"; {_WAY_OUT}"
        raise CubeError(
            f"{called} read as power has a median of {middle:g}, expected {MEDIAN[0]:g} to "
            f"{MEDIAN[1]:g} of ground or water{numbers}"
        )


def _scaled(raw: npt.NDArray[Any], one: Polarisation) -> npt.NDArray[Any]:
    """Return numbers in their unit, NaN for no data; floats are scaled already."""
    missing = ~np.isfinite(raw) | (abs(raw) > HUGE)
    for fill in {*one.said.nodata, FILL}:
        missing |= raw == fill
    if one.array.dtype.kind in "iu":
        raw = raw * float(np.ravel(one.said.scale)[0]) + float(np.ravel(one.said.offset)[0])
    return np.where(missing, np.nan, raw)


def _decibels(one: Polarisation, unit: str) -> xr.DataArray:
    """Return float32 dB, lazily where the input is; power of zero is no data."""

    def convert(raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        values = _scaled(raw.astype(np.float64), one)
        if unit == POWER:
            values = 10 * np.log10(np.where(values > 0, values, np.nan))
        return values.astype(np.float32)

    bare = deferred(one.array).drop_vars(list(one.array.coords))
    made: xr.DataArray = xr.apply_ufunc(
        convert, bare, dask="parallelized", output_dtypes=[np.float32]
    )
    return made


def _quantity(words: list[Any]) -> str:
    """Return which normalisation names, attributes or the collection tell: never guessed."""
    text = " ".join(map(str, words)).lower().replace("-", "")
    told = [quantity for quantity in QUANTITIES if quantity in text]
    if not told and "sentinel1rtc" in text:
        told = ["gamma0"]
    return told[0] if len(told) == 1 else "not stated: gamma0 or sigma0"

"""Raw numbers to reflectance and kelvin: scale, offset and nodata, as stated or as known.

What counts, in this order: the caller's ``scaling=``; ``scale_factor`` and ``add_offset`` of the
array; floats are physical already; else the numbers of the Level-2 product. The offset of
Sentinel-2 comes from the caller's ``harmonized=``, from ``earthsearch:boa_offset_applied``, from
``raster:bands``, from the processing baseline, or from dates before there was any; never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.georeference import deferred

SCALINGS = ("dn", "ls2s2")
OFFSET_SINCE = pd.Timestamp("2022-01-25")
"""First day of Sentinel-2 processing baseline 04.00."""

_BOA_OFFSET = -0.1
_S2_SCALE = 1e-4
_LANDSAT = {False: (2.75e-5, -0.2), True: (0.00341802, 149.0)}
_LS2S2 = {False: 1e-4, True: 0.1}
_INT16_NODATA = (-10000.0, -32768.0)


@dataclass(frozen=True, slots=True)
class Said:
    """What the caller says about the numbers of one sensor."""

    scaling: str | None = None
    """``"dn"``, ``"ls2s2"`` or None."""

    harmonized: bool | None = None
    """Whether the offset of baseline 04.00 has been removed, or None if not said."""

    def __post_init__(self) -> None:
        """Check `scaling`."""
        if self.scaling is not None and self.scaling not in SCALINGS:
            raise CubeError(
                f"scaling {self.scaling!r} is unknown; it may be {', '.join(SCALINGS)}, or None"
            )


@dataclass(frozen=True, slots=True)
class Units:
    """How raw numbers become physical ones: ``raw * scale + offset``."""

    scale: Any
    """Number, or variable along ``time`` or ``band``."""

    offset: Any
    """Number, or variable along ``time`` or ``band``."""

    nodata: tuple[float, ...]
    """Raw numbers that stand for no data."""

    note: str
    """In words, for the attributes of the group."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Bands of one array, as they came."""

    array: xr.DataArray
    """``(time, band, y, x)``."""

    context: Mapping[str, Any]
    """Attributes of the array and of its dataset."""

    sensor: str
    """Name of the sensor."""

    thermal: bool
    """Temperature, not reflectance."""


def to_units(raw: Raw, said: Said) -> tuple[xr.DataArray, str]:
    """Bring raw numbers to reflectance 0..1 or kelvin.

    Parameters
    ----------
    raw
        The bands.
    said
        What the caller says of them.

    Returns
    -------
    array : xarray.DataArray
        float32, NaN where there is no data; lazy where the input is. An array that is right
        already comes back unread.
    note : str
        What was done.

    Raises
    ------
    CubeError
        If the numbers cannot be read without guessing.
    """
    units = _units(raw, said)
    if units.note:
        return _scaled(raw.array, units), units.note
    check_physical(raw.array, thermal=raw.thermal, nodata=units.nodata)
    if units.nodata:
        return _scaled(raw.array, units), ""
    if raw.array.dtype != np.float32:
        return deferred(raw.array).astype(np.float32), ""
    return raw.array, ""


def check_physical(array: xr.DataArray, *, thermal: bool, nodata: tuple[float, ...] = ()) -> None:
    """Refuse floats in memory that are plainly not reflectance or kelvin; look at no lazy array.

    Raises
    ------
    CubeError
        If reflectance has a median above 2, or temperature one outside 100..400.
    """
    if array.chunks is not None or not array.variable._in_memory:
        return
    stride = {name: slice(None, None, max(1, size // 64)) for name, size in array.sizes.items()}
    sample = np.asarray(array.isel(stride).values, float)
    sample = sample[np.isfinite(sample) & ~np.isin(sample, nodata)]
    if not sample.size:
        return
    median, (low, high) = float(np.median(sample)), (100, 400) if thermal else (-1, 2)
    if not low <= median <= high:
        what = "temperature in kelvin" if thermal else "reflectance 0..1"
        raise CubeError(
            f"floats with median {median:g} are no {what}; pass scaling='dn' for numbers of the "
            "Level-2 product, scaling='ls2s2' for reflectance x 10000 and kelvin x 10, or set "
            "attrs['scale_factor'] and attrs['add_offset']"
        )


def _units(raw: Raw, said: Said) -> Units:
    declared = _declared_nodata(raw.array)
    if said.scaling == "ls2s2":
        return _ls2s2(raw, declared)
    if said.scaling == "dn":
        return _product(raw, said, declared)
    if stated := _stated(raw.array):
        implied = () if declared else _implied_nodata(raw.array)
        note = "x {:g} + {:g}, stated by the data".format(*stated)
        return Units(*stated, (*declared, *implied), note)
    if raw.array.dtype.kind == "f":
        return Units(1.0, 0.0, declared, "")
    if raw.array.dtype.kind not in "iu":
        raise CubeError(f"bands hold {raw.array.dtype}, expected integers or floats")
    if raw.array.dtype == np.int16 and (raw.sensor == "landsat" or min((*declared, 0.0)) < 0):
        return _ls2s2(raw, declared)
    return _product(raw, said, declared)


def _declared_nodata(array: xr.DataArray) -> tuple[float, ...]:
    found = [array.attrs.get(name) for name in ("_FillValue", "missing_value", "nodata")]
    if array.dtype.kind in "iu":
        found.append(array.encoding.get("_FillValue"))
    numbers = [float(v) for value in found if value is not None for v in np.ravel(value)]
    return tuple(sorted({number for number in numbers if not np.isnan(number)}))


def _implied_nodata(array: xr.DataArray) -> tuple[float, ...]:
    if array.dtype == np.int16:
        return _INT16_NODATA
    return (0.0,) if array.dtype.kind == "u" else ()


def _stated(array: xr.DataArray) -> tuple[float, float] | None:
    scale = float(array.attrs.get("scale_factor", 1.0))
    offset = float(array.attrs.get("add_offset", 0.0))
    # rioxarray writes 1 and 0 for files that state nothing.
    return None if (scale, offset) == (1.0, 0.0) else (scale, offset)


def _ls2s2(raw: Raw, declared: tuple[float, ...]) -> Units:
    scale = _LS2S2[raw.thermal]
    return Units(scale, 0.0, (*declared, *_INT16_NODATA), f"LS2S2 x {scale:g}")


def _product(raw: Raw, said: Said, declared: tuple[float, ...]) -> Units:
    nodata = (0.0, *declared, *(_INT16_NODATA if raw.array.dtype == np.int16 else ()))
    if raw.sensor == "landsat":
        scale, offset = _LANDSAT[raw.thermal]
        return Units(scale, offset, nodata, f"Collection 2 Level-2 DN x {scale:g} + {offset:g}")
    offsets, why = _boa_offsets(raw, said)
    corrected = int(np.count_nonzero(offsets))
    note = (
        f"L2A DN x {_S2_SCALE:g}, offset {_BOA_OFFSET:g} on {corrected} of {offsets.size} ({why})"
    )
    return Units(_S2_SCALE, xr.Variable(("time",), offsets), nodata, note)


def _boa_offsets(raw: Raw, said: Said) -> tuple[npt.NDArray[np.float32], str]:
    """Return the offset of each acquisition, and what it rests on."""
    times = pd.DatetimeIndex(raw.array["time"].values)
    if said.harmonized is True:
        return np.zeros(len(times), np.float32), "harmonized=True"
    removed, baseline = _removed(raw), _baselines(raw)
    unknown = np.isnan(baseline)
    shifted = np.where(unknown, times >= OFFSET_SINCE, baseline >= 4) & (removed != 1)
    doubtful = shifted & unknown & np.isnan(removed)
    if doubtful.any() and said.harmonized is None:
        first = times[doubtful].min()
        raise CubeError(
            f"{doubtful.sum()} of {len(times)} acquisitions since 2022-01-25 (the first on "
            f"{first:%Y-%m-%d}) carry no processing baseline: their DN may or may not hold the "
            "offset of baseline 04.00; pass harmonized=True if it has been removed, "
            "harmonized=False if not, or give a coordinate 's2:processing_baseline' along time"
        )
    why = "dates" if unknown.all() else "processing baseline"
    return np.where(shifted, _BOA_OFFSET, 0.0).astype(np.float32), why


def _removed(raw: Raw) -> npt.NDArray[np.float64]:
    """Return 1 where the catalogue says that it removed the offset, 0 where not, or NaN."""
    known = {"true": 1.0, "false": 0.0}
    said = _per_time(raw, "earthsearch:boa_offset_applied")
    return np.array([known.get(str(value).lower(), np.nan) for value in said])


def _baselines(raw: Raw) -> npt.NDArray[np.float64]:
    said = _per_time(raw, "s2:processing_baseline", "processing:version")
    try:
        found = np.array([np.nan if value is None else float(value) for value in said])
    except (TypeError, ValueError) as error:
        raise CubeError(f"processing baseline not understood: {error}; such as '05.10'") from error
    return np.where(np.isnan(found), _baseline_of_assets(raw), found)


def _baseline_of_assets(raw: Raw) -> float:
    """Return a baseline that agrees with the offset in ``raster:bands``, or NaN."""
    if "raster:bands" not in raw.array.coords:
        return np.nan
    assets = [a[0] if isinstance(a, list) else a for a in raw.array["raster:bands"].values.flat]
    offsets: set[Any] = {asset.get("offset") for asset in assets if isinstance(asset, Mapping)}
    return {(_BOA_OFFSET,): 4.0, (0,): 0.0}.get(tuple(offsets), np.nan)


def _per_time(raw: Raw, *names: str) -> list[Any]:
    count = raw.array.sizes["time"]
    for name in names:
        if name in raw.array.coords and set(raw.array[name].dims) <= {"time"}:
            values = raw.array[name].values
            return list(np.broadcast_to(values, count))
        if raw.context.get(name) is not None:
            return [raw.context[name]] * count
    return [None] * count


def _scaled(array: xr.DataArray, units: Units) -> xr.DataArray:
    scaled: xr.DataArray = xr.apply_ufunc(
        _apply,
        deferred(array),
        _single(units.scale),
        _single(units.offset),
        kwargs={"nodata": units.nodata},
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    return scaled


def _single(value: Any) -> Any:
    return value.astype(np.float32) if isinstance(value, xr.Variable) else np.float32(value)


def _apply(
    raw: npt.NDArray[Any], scale: Any, offset: Any, *, nodata: tuple[float, ...]
) -> npt.NDArray[np.float32]:
    values = raw.astype(np.float32)
    values *= scale
    values += offset
    if nodata:
        values[np.isin(raw, nodata)] = np.nan
    return values

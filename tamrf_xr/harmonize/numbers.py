"""Raw numbers, what they are taken for, and the one function that brings them to physical units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.georeference import deferred
from tamrf_xr.harmonize.layers import THERMAL, Layer
from tamrf_xr.harmonize.values import Look
from tamrf_xr.plausible import HUGE, extremes

SCALINGS = ("dn", "ls2s2", "physical", "stated")
PHYSICAL, STATED, PRODUCT, LS2S2 = "physical", "stated", "product", "ls2s2"


@dataclass(frozen=True, slots=True)
class Said:
    """What the caller says about the numbers of one sensor."""

    scaling: str | None = None
    """``"dn"``, ``"ls2s2"``, ``"physical"``, ``"stated"`` or None."""

    harmonized: bool | None = None
    """Whether the offset of baseline 04.00 has been removed, or None if not said."""

    offset: Any = None
    """Reflectance to add after scaling, one number or one an acquisition; None if not said."""

    known: str = ""
    """Scaling of integers that the producer is known for, where nothing else is said."""

    def __post_init__(self) -> None:
        """Check the words."""
        if self.scaling is not None and self.scaling not in SCALINGS:
            raise CubeError(
                f"scaling {self.scaling!r} is unknown; it may be {', '.join(SCALINGS)}, or None"
            )
        if self.harmonized is not None and self.offset is not None:
            raise CubeError("pass harmonized= or offset=, not both: they answer one question")


@dataclass(frozen=True, slots=True)
class Units:
    """How raw numbers become physical ones: ``raw * scale + offset``, missing where `nodata`."""

    kind: str
    """What the numbers are: `PHYSICAL`, `STATED`, `PRODUCT` or `LS2S2`."""

    scale: Any
    """Number, or variable along ``band``."""

    offset: Any
    """Number, or variable along ``time`` or ``band``."""

    nodata: tuple[float, ...]
    """Raw numbers that stand for no data."""

    note: str
    """In words, for the attributes of the group."""

    why: str
    """The statement that it rests on."""

    @property
    def unchanged(self) -> bool:
        """Whether numbers stay as they are."""
        return not np.any(plain(self.offset)) and bool(np.all(plain(self.scale) == 1.0))


@dataclass(frozen=True, slots=True)
class Numbers:
    """One array under question."""

    layer: Layer
    look: Look
    sensor: str

    @property
    def thermal(self) -> bool:
        """Whether it is temperature, not reflectance."""
        return self.layer.role == THERMAL

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its numbers."""
        return self.layer.array.dtype

    def seen(self, units: Units) -> npt.NDArray[np.float64]:
        """Return the values looked at ``(n, band, m)`` in physical units."""
        raw = np.asarray(self.look.values)
        values = raw.astype(np.float64)
        if isinstance(units.offset, xr.Variable) and units.offset.dims == ("time",):
            offset: Any = units.offset.values[self.look.times][:, None, None]
        else:
            offset = _along_band(units.offset)
        physical = values * _along_band(units.scale) + offset
        physical[missing_in(raw, units.nodata) | ~np.isfinite(physical)] = np.nan
        return np.asarray(physical)


def _along_band(value: Any) -> Any:
    return value.values[:, None] if isinstance(value, xr.Variable) else value


def plain(value: Any) -> Any:
    """Return the numbers of a variable, or the number itself."""
    return value.values if isinstance(value, xr.Variable) else value


def told(value: Any) -> str:
    """Return the distinct numbers as text."""
    return " ".join(f"{number:g}" for number in np.unique(np.ravel(plain(value))))


def seen_as(layer: Layer, look: Look, units: Units) -> npt.NDArray[np.float64]:
    """Return the values looked at ``(n, band, m)`` in physical units, NaN for no data."""
    return Numbers(layer, look, "").seen(units)


def to_physical(layer: Layer, units: Units) -> xr.DataArray:
    """Bring raw numbers to reflectance 0..1 or kelvin.

    Parameters
    ----------
    layer
        The bands.
    units
        What their numbers mean.

    Returns
    -------
    xarray.DataArray
        float32, NaN where there is no data; lazy where the input is.
    """
    array = layer.array
    plain = units.unchanged and array.dtype == np.float32
    in_memory = array.chunks is None and array.variable._in_memory
    if plain and in_memory and is_clean(array.values, units.nodata):
        return array
    offset = (
        units.offset.astype(np.float32) if isinstance(units.offset, xr.Variable) else units.offset
    )
    scaled: xr.DataArray = xr.apply_ufunc(
        _apply,
        deferred(array),
        _as_float32(units.scale),
        _as_float32(offset),
        kwargs={"nodata": units.nodata},
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    return scaled


def _as_float32(value: Any) -> Any:
    return value.astype(np.float32) if isinstance(value, xr.Variable) else np.float32(value)


def _apply(
    raw: npt.NDArray[Any], scale: Any, offset: Any, *, nodata: tuple[float, ...]
) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what float32 does not hold is no data
        values = raw.astype(np.float32)
    if np.ndim(scale) or scale != 1:
        values *= scale
    if np.ndim(offset) or offset != 0:
        values += offset
    values[missing_in(raw, nodata)] = np.nan
    return values


def missing_in(raw: npt.NDArray[Any], nodata: tuple[float, ...]) -> npt.NDArray[np.bool_]:
    """Tell which numbers stand for no data; of floats, infinity and 1e20 and the like do too."""
    if raw.dtype.kind == "f":
        return _missing_floats(raw, nodata)
    limits = np.iinfo(raw.dtype)
    missing = np.zeros(raw.shape, bool)
    for fill in nodata:
        if limits.min <= fill <= limits.max and fill == int(fill):
            missing |= raw == raw.dtype.type(fill)
    return missing


def _missing_floats(raw: npt.NDArray[Any], nodata: tuple[float, ...]) -> npt.NDArray[np.bool_]:
    low, high = extremes(raw)
    missing = abs(raw) > HUGE if _is_huge(low, high) else np.zeros(raw.shape, bool)
    for fill in _between(low, high, nodata):
        missing |= abs(raw - raw.dtype.type(fill)) <= _near(fill)
    return missing


def _is_huge(low: float, high: float) -> bool:
    return low < -HUGE or high > HUGE


def _between(low: float, high: float, nodata: tuple[float, ...]) -> list[float]:
    """Return the fill values that lie among the values: hardly any does, and each takes a pass."""
    return [fill for fill in nodata if low - _near(fill) <= fill <= high + _near(fill)]


def _near(fill: float) -> float:
    # Scaled in one float type, compared in another: the last digits differ.
    return 2e-7 * max(1.0, abs(fill))


def is_clean(values: npt.NDArray[Any], nodata: tuple[float, ...]) -> bool:
    """Tell whether floats hold neither infinity, 1e20, nor a number that stands for no data."""
    low, high = extremes(values)
    if _is_huge(low, high):
        return False
    between = _between(low, high, nodata)
    return not between or not missing_in(values, tuple(between)).any()

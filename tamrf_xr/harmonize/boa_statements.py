"""What is said of the offset of Sentinel-2: baselines, product names, collections, catalogues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tamrf_xr.errors import CubeError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Statements:
    """What is said of the offset, per acquisition."""

    times: pd.DatetimeIndex
    """Acquisitions."""

    baseline: Floats
    """Processing baseline, NaN where it is not said."""

    removed: Floats
    """1 where the catalogue took the offset out, 0 where it says that it did not, or NaN."""

    collection: str
    """Name of the collection, lower case; empty where there is none."""

    stated: float | None = None
    """Offset that the pixels' own file declares, in reflectance."""

    catalogued: float | None = None
    """Offset in ``raster:bands``, which may be there no longer."""


def statements(arrays: Iterable[tuple[xr.DataArray, Mapping[str, Any]]]) -> Statements:
    """Read what is said of the offset in coordinates and attributes.

    Parameters
    ----------
    arrays
        Bands of one series, each with the attributes of its dataset.

    Raises
    ------
    CubeError
        If a baseline is no number.
    """
    pairs = list(arrays)
    times = pd.DatetimeIndex(pairs[0][0]["time"].values)
    return Statements(
        times,
        _merged(_baselines(array, about) for array, about in pairs),
        _merged(_removed(array, about) for array, about in pairs),
        next((name for array, about in pairs if (name := _collection(array, about))), ""),
    )


def is_told_offset(array: xr.DataArray, about: Mapping[str, Any]) -> bool:
    """Tell whether anything is said of the offset of an array."""
    names = {*_BASELINES, *_TOLD, *_PRODUCTS} - {"id"}
    return bool(names & {*map(str, array.coords), *array.attrs, *about})


def _merged(found: Iterable[Floats]) -> Floats:
    """Take the first array that says something, element by element."""
    merged: Floats | None = None
    for values in found:
        merged = values if merged is None else np.where(np.isnan(merged), values, merged)
    return np.empty(0) if merged is None else merged


def _per_time(array: xr.DataArray, about: Mapping[str, Any], *names: str) -> list[Any]:
    count = array.sizes["time"]
    for name in names:
        if name in array.coords and set(array[name].dims) <= {"time"}:
            return list(np.broadcast_to(array[name].values, count))
        for attrs in (array.attrs, about):
            if attrs.get(name) is not None:
                return [attrs[name]] * count
    return [None] * count


def _removed(array: xr.DataArray, about: Mapping[str, Any]) -> Floats:
    known = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
    said = _per_time(array, about, "earthsearch:boa_offset_applied", "boa_offset_applied")
    return np.array([known.get(str(value).lower(), np.nan) for value in said])


_BASELINES = (
    "s2:processing_baseline",
    "processing:version",
    "processing_baseline",
    "PROCESSING_BASELINE",
)


_TOLD = ("earthsearch:boa_offset_applied", "boa_offset_applied", "raster:bands")


_PRODUCTS = ("s2:product_uri", "product_uri", "PRODUCT_ID", "product_id", "s2:product_id", "id")


_HOMEMADE = 99.0
"""Baseline 99.99 says that a user ran Sen2Cor; the offset is that of the L1C product it read."""


_BASELINE_IN_NAME = re.compile(r"_N(\d{4})_")


def _baselines(array: xr.DataArray, about: Mapping[str, Any]) -> Floats:
    said = [_baseline(value) for value in _per_time(array, about, *_BASELINES)]
    names = [_in_name(value) for value in _per_time(array, about, *_PRODUCTS)]
    return np.where(np.isnan(said), names, said)


def _baseline(value: Any) -> float:
    if value is None or (isinstance(value, str) and value.strip().lower() in {"", "nan", "none"}):
        return np.nan
    try:
        number = float(value.strip().lstrip("Nn") if isinstance(value, str) else value)
    except (TypeError, ValueError) as error:
        raise CubeError(f"processing baseline not understood: {error}; such as '05.10'") from error
    # Google Earth Engine and product names write 0510 for 05.10.
    number = number / 100 if number >= 100 else number
    return number if number < _HOMEMADE else np.nan


def _in_name(value: Any) -> float:
    found = _BASELINE_IN_NAME.search(str(value))
    return _baseline(found[1]) if found else np.nan


def _collection(array: xr.DataArray, about: Mapping[str, Any]) -> str:
    for name in ("collection", "collection_id", "stac_collection", "product", "source"):
        for value in _per_time(array, about, name):
            if isinstance(value, str) and re.search("sentinel|s2", value.lower()):
                return value.lower()
    return ""

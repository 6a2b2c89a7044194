"""Usable pixels from the quality layers of the products: SCL, QA_PIXEL, QA_RADSAT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

SCL_USABLE = (4, 5, 6, 11)
"""Vegetation, bare soil, water, snow; 0 1 2 3 7 8 9 10 are no data, defects, shadows and clouds."""

QA_PIXEL_UNUSABLE = 0b11111
"""Bits 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow."""

QA_RADSAT_UNUSABLE = 0xFFFF
"""Any band saturated, or terrain in the way."""

_Mask = npt.NDArray[np.bool_]


def mask_role(name: str) -> str | None:
    """Tell which mask a name means, in any case, or None.

    Examples
    --------
    >>> mask_role("SCL_20m"), mask_role("QA_PIXEL"), mask_role("blue")
    ('scl', 'qa_pixel', None)
    """
    plain = name.lower()
    return _ROLES.get(plain) or (plain if plain in _READERS else None)


def usable(mask: xr.DataArray, role: str) -> xr.DataArray:
    """Read a quality layer.

    Parameters
    ----------
    mask
        Classes or bits; NaN counts as no data. Any dimensions.
    role
        As `mask_role` gives it.

    Returns
    -------
    xarray.DataArray
        bool, True where usable; lazy where `mask` is a dask array.

    Examples
    --------
    >>> scl = xr.DataArray(np.array([0, 3, 4, 5, 9, 11], "uint8"), dims="x")
    >>> usable(scl, "scl").values.tolist()
    [False, False, True, True, False, True]
    """
    if role == "valid" and mask.dtype == bool:
        return mask
    read: xr.DataArray = xr.apply_ufunc(
        _READERS[role], mask, dask="parallelized", output_dtypes=[bool]
    )
    return read


def _valid(values: npt.NDArray[Any]) -> _Mask:
    return np.asarray(np.nan_to_num(values) != 0)


def _scl(values: npt.NDArray[Any]) -> _Mask:
    return np.isin(values, SCL_USABLE)


def _qa_pixel(values: npt.NDArray[Any]) -> _Mask:
    return np.asarray(_bits(values) & QA_PIXEL_UNUSABLE == 0)


def _qa_radsat(values: npt.NDArray[Any]) -> _Mask:
    return np.asarray(_bits(values) & QA_RADSAT_UNUSABLE == 0)


def _bits(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    # Bit 0 is fill in QA_PIXEL and a saturated band in QA_RADSAT: either way unusable.
    return np.asarray(np.nan_to_num(values, nan=1), np.int64)


_READERS: dict[str, Callable[[npt.NDArray[Any]], _Mask]] = {
    "valid": _valid,
    "scl": _scl,
    "qa_pixel": _qa_pixel,
    "qa_radsat": _qa_radsat,
}
_ROLES = {"scl_20m": "scl", "scl_60m": "scl"}

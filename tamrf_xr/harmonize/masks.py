"""Usable pixels from the quality layers of the products: SCL, QA_PIXEL, Fmask and others.

NaN, infinity, fractions (a mask that was interpolated) and the declared fill mean not usable.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tamrf_xr.errors import CubeError

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class QualityLayer:
    """How one kind of quality layer tells usable pixels."""

    role: str
    """Name inside the package."""

    names: tuple[str, ...]
    """What producers call it, lower case, with underscores."""

    about: str
    """Which product, and where its values are described."""

    usable: tuple[int, ...] = ()
    """Classes that are usable; empty for bits."""

    unusable_bits: int = 0
    """Bits of which none may be set."""

    never: tuple[int, ...] = ()
    """Values that no pixel of the ground has, whatever their bits."""

    sensor: str | None = None
    """The sensor that it belongs to, where only one has it."""

    keeps_fill: bool = False
    """Whether a declared fill counts as a value: QA_RADSAT declares 0, which is all well."""

    blank: tuple[str, str] | None = None
    """First and last day of which the layer holds nothing, whatever stands in it."""


QUALITY_LAYERS = (
    QualityLayer("valid", ("valid", "valid_mask", "is_valid"), "a cube's own: not 0 means usable"),
    QualityLayer(
        "scl",
        ("scl", "scl_20m", "scl_60m", "scene_classification", "s2_l2a_scl"),
        "Sentinel-2 L2A scene classification: vegetation, bare soil, water, snow are usable; "
        "0 1 2 3 7 8 9 10 are no data, defects, shadows and clouds (Sen2Cor)",
        usable=(4, 5, 6, 11),
        sensor="sentinel2",
    ),
    QualityLayer(
        "qa_pixel",
        ("qa_pixel", "qa_pixel_l2", "oli_qa_pixel"),
        "Landsat Collection 2: bits 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 shadow (USGS "
        "LSDS-1619); 0 is no value of it",
        unusable_bits=0b11111,
        never=(0,),
        sensor="landsat",
    ),
    QualityLayer(
        "qa_radsat",
        ("qa_radsat",),
        "Landsat Collection 2: any bit is a saturated band or terrain in the way (USGS LSDS-1619)",
        unusable_bits=0xFFFF,
        sensor="landsat",
        keeps_fill=True,
    ),
    QualityLayer(
        "pixel_qa",
        ("pixel_qa",),
        "Landsat Collection 1: bits 0 fill, 3 shadow, 5 cloud, 9 high confidence of cirrus (USGS "
        "LSDS-1368); 0 is no value of it",
        unusable_bits=0b1000101001,
        never=(0,),
        sensor="landsat",
    ),
    QualityLayer(
        "fmask",
        ("fmask",),
        "HLS v2: bits 0 cirrus (not in use), 1 cloud, 2 adjacent, 3 shadow; 255 is fill",
        unusable_bits=0b1111,
        never=(255,),
    ),
    QualityLayer(
        "oa_fmask",
        ("oa_fmask", "oa_s2cloudless_mask", "s2cloudless_mask"),
        "DEA ARD: 1 valid, 4 snow, 5 water are usable; 0 no data, 2 cloud, 3 shadow. Loaded by "
        "its alias it is called fmask, as that of HLS is",
        usable=(1, 4, 5),
    ),
    QualityLayer(
        "qa60",
        ("qa60",),
        "Earth Engine Sentinel-2: bits 10 opaque cloud, 11 cirrus; masked out from 2022-01-25 to "
        "2024-02-28, which an export writes as 0",
        unusable_bits=0b110000000000,
        sensor="sentinel2",
        blank=("2022-01-25", "2024-02-28"),
    ),
    QualityLayer(
        "qai",
        ("qai",),
        "FORCE: bits 0 no data, 1-2 cloud state, 3 shadow, 9 saturated (FORCE Level 2 QAI)",
        unusable_bits=0b1000001111,
    ),
)
"""Every quality layer that is understood: a new one is a row here."""

DEA_FMASK, HLS_FMASK = "oa_fmask", "fmask"
_BY_NAME = {name: layer for layer in QUALITY_LAYERS for name in layer.names}
_BY_ROLE = {layer.role: layer for layer in QUALITY_LAYERS}
_SCORES = {"cs", "cs_cdf"}
"""Cloud Score+ of Earth Engine."""

_LIKE_MASKS = (
    "msk_classi",
    "cloud",
    "mask",
    "_qa",
    "qa_",
    "bqa",
    "fmask",
    "clm",
    "sclass",
    "quality",
    "shadow",
)
"""What names of masks have in common."""


def mask_role(name: str) -> str | None:
    """Tell which mask a name means, in any case, or None.

    Examples
    --------
    >>> mask_role("SCL_20m"), mask_role("QA-PIXEL"), mask_role("blue")
    ('scl', 'qa_pixel', None)
    """
    layer = _BY_NAME.get(name.lower().replace("-", "_"))
    return layer.role if layer else None


def mask_sensor(name: str) -> str | None:
    """Return the sensor that alone has a mask of this name, or None."""
    layer = _BY_NAME.get(name.lower().replace("-", "_"))
    return layer.sensor if layer else None


def masks_unknown(names: Iterable[str]) -> list[str]:
    """Return the names that look like masks of which nothing is known.

    Examples
    --------
    >>> masks_unknown(["MSK_CLDPRB", "cloud_mask", "AOT", "SCL", "ST_QA"])
    ['cloud_mask']
    """
    beside = ("prob", "aerosol", "probability", "st_qa")
    return [
        name
        for name in names
        if mask_role(name) is None
        and (name.lower() in _SCORES or any(sign in name.lower() for sign in _LIKE_MASKS))
        and not any(word in name.lower() for word in beside)
    ]


def is_blank(mask: xr.DataArray, role: str) -> _Mask:
    """Tell of which acquisitions a quality layer holds nothing.

    Parameters
    ----------
    mask
        With the coordinate ``time``.
    role
        As `mask_role` gives it.
    """
    times = pd.DatetimeIndex(mask["time"].values).normalize()
    if (days := _BY_ROLE[role].blank) is None:
        return np.zeros(times.size, bool)
    first, last = map(pd.Timestamp, days)
    return np.asarray((times >= first) & (times <= last))


def usable(mask: xr.DataArray, role: str, fill: tuple[float, ...] = ()) -> xr.DataArray:
    """Read a quality layer.

    Parameters
    ----------
    mask
        Classes or bits; NaN counts as no data. Any dimensions.
    role
        As `mask_role` gives it.
    fill
        Declared nodata: not usable.

    Returns
    -------
    xarray.DataArray
        bool, True where usable; lazy where `mask` is a dask array.

    Raises
    ------
    CubeError
        If the layer holds text or the like.

    Examples
    --------
    >>> scl = xr.DataArray(np.array([0, 3, 4, 5, 9, 11], "uint8"), dims="x")
    >>> usable(scl, "scl").values.tolist()
    [False, False, True, True, False, True]
    """
    if role == "valid" and mask.dtype == bool:
        return mask
    if mask.dtype.kind not in "biufO":
        raise CubeError(
            f"mask '{mask.name}' holds {mask.dtype}, expected classes, bits or bool; "
            "convert it, or give a bool variable 'valid', True where usable"
        )
    layer = _BY_ROLE[DEA_FMASK if role == HLS_FMASK and 0 in fill and 255 not in fill else role]
    read: xr.DataArray = xr.apply_ufunc(
        _read,
        mask,
        kwargs={"layer": layer, "fill": () if layer.keeps_fill else fill},
        dask="parallelized",
        output_dtypes=[bool],
    )
    return read


def _as_numbers(values: npt.NDArray[Any], layer: QualityLayer) -> npt.NDArray[np.float64]:
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise CubeError(
            f"mask '{layer.role}' holds what is no number ({error}), expected classes, bits or "
            "bool: give a bool variable 'valid', True where usable"
        ) from error


def _read(values: npt.NDArray[Any], *, layer: QualityLayer, fill: tuple[float, ...]) -> _Mask:
    # Object arrays are what reindex and concat make of bool with holes.
    numbers = values if values.dtype.kind in "biu" else _as_numbers(values, layer)
    known = np.ones(numbers.shape, bool)
    if numbers.dtype.kind == "f":
        known = np.isfinite(numbers) & (numbers == np.round(numbers)) & (abs(numbers) < 2**31)
        numbers = np.where(known, numbers, 0)
    whole = numbers.astype(np.int64)
    for value in (*layer.never, *fill):
        known &= whole != value
    if layer.usable:
        clear: _Mask = np.isin(whole, layer.usable)
    elif layer.unusable_bits:
        clear = (whole >= 0) & (whole & layer.unusable_bits == 0)
    else:
        clear = whole != 0
    return np.asarray(known & clear)

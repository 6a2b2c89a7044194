"""What methods that pair both sensors share: common bands, conjunctions, one grid for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.errors import MethodError, OptionError
from tamrf_xr.fuser import Crop, Mask, Pixels, Series
from tamrf_xr.methods.registry import Request
from tamrf_xr.sensors import LANDSAT, SENTINEL2

FINE, COARSE = SENTINEL2.name, LANDSAT.name
RATIO = LANDSAT.ratio
"""Fine pixels across a coarse one."""

COMMON: Mapping[str, str] = {
    fine.name: coarse.name
    for fine in SENTINEL2.bands
    for coarse in LANDSAT.bands
    if fine.common_name == coarse.common_name
}
"""Per Sentinel-2 band, the Landsat band that sees the same: blue, green, red, NIR, both SWIR."""

Array = NDArray[np.floating[Any]]


def check_needs(method: str, request: Request, needs: Mapping[str, Sequence[str]]) -> None:
    """Check that a cube has the sensors and bands that a method cannot do without.

    Raises
    ------
    MethodError
        If a sensor or a band is not there: which, and what the cube has instead.
    """
    for sensor, bands in needs.items():
        if sensor not in request.given:
            groups = ", ".join(f"/{name}" for name in request.given) or "nothing"
            raise MethodError(
                f"method {method!r} needs /{sensor}, and the cube has {groups} only; "
                "method='linear' works with one sensor"
            )
        if missing := [band for band in bands if band not in request.given[sensor]]:
            raise MethodError(
                f"method {method!r} needs {', '.join(missing)} of /{sensor}, which has "
                f"{', '.join(request.given[sensor])}; method='linear' takes any bands"
            )


def common_bands(method: str, request: Request) -> dict[str, str]:
    """Return the common bands of which the cube has both: Landsat's, per Sentinel-2 band.

    Raises
    ------
    MethodError
        If a sensor is not there, or the cube has no such pair.

    Examples
    --------
    >>> common_bands("stair", Request({"sentinel2": ("B08", "B8A"), "landsat": ("B04", "B05")}))
    {'B8A': 'B05'}
    """
    check_needs(method, request, {FINE: (), COARSE: ()})
    fine, coarse = request.given[FINE], request.given[COARSE]
    pairs = {a: b for a, b in COMMON.items() if a in fine and b in coarse}
    if not pairs:
        listed = ", ".join(f"{a} with {b}" for a, b in COMMON.items())
        raise MethodError(
            f"method {method!r} needs bands that both sensors have (Sentinel-2 with Landsat: "
            f"{listed}), and the cube has no such pair: /{FINE} has {', '.join(fine)}; "
            f"/{COARSE} has {', '.join(coarse)}"
        )
    return pairs


def check_variant(method: str, request: Request, variants: Sequence[str]) -> str:
    """Return the option ``variant``.

    Raises
    ------
    OptionError
        If it is none of `variants`.
    """
    variant = request.options["variant"]
    if variant not in variants:
        raise OptionError(
            f"method {method!r} has no variant {variant!r}; the variants are: {', '.join(variants)}"
        )
    return str(variant)


def lacks_panchromatic(method: str) -> MethodError:
    """Return what to raise where there is no panchromatic band."""
    return MethodError(
        f"method {method!r} needs the panchromatic band of Landsat (15 m), and the cube has no "
        "/landsat/panchromatic; add it with tamrf_xr.with_panchromatic(cube, band)"
    )


def known_in_cells(sharp: Pixels) -> Mask:
    """Tell for each pixel of 30 m (y, x) whether its four panchromatic ones are known."""
    height, width = sharp.shape
    cells = np.isfinite(sharp.reshape(height // 2, 2, width // 2, 2))
    return np.asarray(cells.all(axis=(1, 3)))


def on_fine(mask: Mask, factor: int = RATIO) -> Mask:
    """Repeat every pixel of a mask (..., y, x) `factor` times down and across."""
    return mask.repeat(factor, axis=-2).repeat(factor, axis=-1)


def bilinear(images: Array, factor: int = RATIO) -> Array:
    """Bring images to a grid `factor` times finer: bilinear, borders repeated.

    Parameters
    ----------
    images
        Shape (..., y, x). NaN spreads to the fine pixels whose 2 x 2 neighbours hold it.
    factor
        Ratio of the two resolutions.

    Returns
    -------
    numpy.ndarray
        Shape (..., y * factor, x * factor), dtype of `images`.

    Examples
    --------
    >>> bilinear(np.array([[0.0, 3.0]]))[0].tolist()
    [0.0, 0.0, 1.0, 2.0, 3.0, 3.0]
    """
    return _along(_along(images, factor, -2), factor, -1)


def bilinear_known(images: Array, factor: int = RATIO) -> Array:
    """Bring images with gaps to a finer grid: as `bilinear`, from the neighbours that are known.

    Parameters
    ----------
    images
        Shape (..., y, x), NaN where unknown.
    factor
        Ratio of the two resolutions.

    Returns
    -------
    numpy.ndarray
        Shape (..., y * factor, x * factor); NaN where no neighbour is known.

    Examples
    --------
    >>> bilinear_known(np.array([[np.nan, 3.0]]))[0].round(3).tolist()
    [nan, nan, 3.0, 3.0, 3.0, 3.0]
    """
    known = np.isfinite(images)
    weight = bilinear(known.astype(images.dtype), factor)
    total = bilinear(np.where(known, images, 0), factor)
    # Less than a hundredth of the smallest weight there is: rounding.
    some = weight > 0.01 / factor**2
    return np.where(some, total / np.where(some, weight, 1), np.nan)


def _along(images: Array, factor: int, axis: int) -> Array:
    size = images.shape[axis]
    centres = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
    low = np.floor(centres).astype(int)
    high = np.minimum(low + 1, size - 1)
    moved = np.moveaxis(images, axis, -1)
    weight = (centres - low).astype(images.dtype)
    first = moved[..., low]
    made: Array = np.moveaxis(first + weight * (moved[..., high] - first), -1, axis)
    return made


def over_coarse(series: Mapping[str, Series], crop: Crop) -> Series:
    """Cut the fine series to what the coarse one covers."""
    height, width = (size * RATIO for size in series[COARSE].valid.shape[1:])
    top, left = (crop.offset[COARSE][axis] - crop.offset[FINE][axis] for axis in (0, 1))
    return _cut(series[FINE], slice(top, top + height), slice(left, left + width))


def _cut(series: Series, down: slice, across: slice) -> Series:
    return replace(
        series,
        pixels=series.pixels[..., down, across],
        valid=series.valid[:, down, across],
        panchromatic=None,
    )


def aligned(fine: Series, crop: Crop) -> tuple[Series, tuple[slice, slice]]:
    """Cut the fine series so that it starts on a corner of the coarse grid and holds whole pixels.

    Returns the series, and where the pixels to make lie in it.
    """
    rows, cols = crop.within(FINE)
    start, stop = [], []
    for axis, size in zip((0, 1), fine.valid.shape[1:], strict=True):
        first = (crop.offset[COARSE][axis] - crop.offset[FINE][axis]) % RATIO
        start.append(first)
        stop.append(first + (size - first) // RATIO * RATIO)
    down, across = slice(start[0], stop[0]), slice(start[1], stop[1])
    core = (
        slice(rows.start - start[0], rows.stop - start[0]),
        slice(cols.start - start[1], cols.stop - start[1]),
    )
    return _cut(fine, down, across), core

"""How a sensor blurs: Gaussian kernels from the MTF, and the bicubic way between two grids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from tamrf_xr.keys import cubic

__all__ = ["blur", "downsample", "half_width", "highpass", "kernel", "sigma", "upsample"]

Array = NDArray[np.floating[Any]]

BICUBIC = -0.75
"""Free parameter of the cubic of Keys (1981): the one of torch and OpenCV."""


def sigma(mtf: float, gsd: float) -> float:
    """Return the width of the Gaussian whose MTF is `mtf` at the Nyquist frequency of `gsd`.

    Parameters
    ----------
    mtf
        Modulation at the Nyquist frequency, above 0 and at most 1; 1 means no blur.
    gsd
        Native resolution of the band, in metres.

    Returns
    -------
    float
        Standard deviation, in metres.

    Raises
    ------
    ValueError
        If `mtf` is not in (0, 1] or `gsd` is not positive.

    References
    ----------
    Michel & Inglada, "Temporal Attention Multi-Resolution Fusion of Satellite Image
    Time-Series", RSE 2025 (the sensors' point spread functions).

    Examples
    --------
    >>> round(sigma(0.3, 30.0), 3)
    14.818
    """
    if not 0 < mtf <= 1:
        raise ValueError(f"mtf is {mtf}; expected a value above 0 and at most 1 (1: no blur)")
    if not gsd > 0:
        raise ValueError(f"gsd is {gsd} m; expected a positive resolution")
    return math.sqrt(-math.log(mtf) / 2) * 2 * gsd / math.pi


def half_width(gsds: Sequence[float], *, sampling: float = 10.0) -> int:
    """Return the reach of a sensor's kernels, the widest of its bands, in pixels.

    Parameters
    ----------
    gsds
        Native resolution of each band of the sensor, in metres.
    sampling
        Pixel of the grid the kernels are for, in metres.

    Returns
    -------
    int
        Kernels have ``2 * half_width + 1`` pixels a side.

    Examples
    --------
    >>> half_width([30.0, 30.0, 90.0])
    9
    """
    return math.ceil(max(gsds) / sampling)


def kernel(
    mtf: float, gsd: float, sampling: float = 10.0, *, reach: int | None = None
) -> NDArray[np.float64]:
    """Return the point spread function of one band.

    Parameters
    ----------
    mtf, gsd
        As in `sigma`.
    sampling
        Pixel of the grid the kernel is for, in metres.
    reach
        Half-width, in pixels; by default ``half_width([gsd])``. Bands of one sensor share the
        half-width of the widest of them.

    Returns
    -------
    numpy.ndarray
        Square of ``2 * reach + 1`` pixels whose sum is 1.

    Examples
    --------
    >>> kernel(0.4, 1.0, 1.0).round(3).tolist()
    [[0.004, 0.053, 0.004], [0.053, 0.776, 0.053], [0.004, 0.053, 0.004]]
    """
    reach = half_width([gsd], sampling=sampling) if reach is None else reach
    profile = _profile(mtf, gsd, sampling, reach)
    return np.outer(profile, profile)


def blur(
    images: Array, mtfs: Sequence[float], gsds: Sequence[float], *, sampling: float = 10.0
) -> Array:
    """Blur every band as its sensor does, reflecting at the borders (the edge not repeated).

    The Gaussian is separable, so each band takes two passes in one dimension; a band whose MTF
    is 1 is copied.

    Parameters
    ----------
    images
        Shape (..., band, y, x), on a grid of `sampling` metres. NaN spreads over the kernel.
    mtfs, gsds
        One value a band, as in `sigma`.
    sampling
        Pixel of `images`, in metres.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of `images` (integers become float64).

    Raises
    ------
    ValueError
        If `mtfs` or `gsds` does not count one value a band.

    References
    ----------
    Michel & Inglada, RSE 2025 (data loss: predictions are blurred by the sensor's PSF).

    Examples
    --------
    >>> flat = np.full((2, 8, 8), 0.5)
    >>> bool(np.allclose(blur(flat, [1.0, 0.3], [10.0, 20.0]), 0.5))
    True
    """
    bands = images.shape[-3]
    if not len(mtfs) == len(gsds) == bands:
        raise ValueError(f"{bands} bands, but {len(mtfs)} MTF values and {len(gsds)} resolutions")
    reach = half_width(gsds, sampling=sampling)
    blurred = _floating(images).copy()
    for band, (mtf, gsd) in enumerate(zip(mtfs, gsds, strict=True)):
        if mtf < 1:
            weights = _profile(mtf, gsd, sampling, reach)
            blurred[..., band, :, :] = _smooth(blurred[..., band, :, :], weights)
    return blurred


def highpass(images: Array, mtf: float) -> Array:
    """Return what a Gaussian of one pixel resolution takes away: ``images`` minus its blur.

    Parameters
    ----------
    images
        Shape (..., y, x).
    mtf
        MTF of the Gaussian at the Nyquist frequency of the grid of `images`.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of `images` (integers become float64).

    Examples
    --------
    >>> bool(np.allclose(highpass(np.full((3, 8, 8), 0.2), 0.3), 0))
    True
    """
    values = _floating(images)
    if mtf >= 1:
        return np.zeros_like(values)
    return values - _smooth(values, _profile(mtf, 1.0, 1.0, 1))


def downsample(images: Array, factor: int = 3) -> Array:
    """Bring images to a grid `factor` times coarser: bicubic, without antialiasing.

    Odd factors put every coarse pixel's centre on a fine pixel's centre, where the cubic has
    weight one: the result is that pixel. Blur by the sensor's PSF first.

    Parameters
    ----------
    images
        Shape (..., y, x); rows and columns beyond a multiple of `factor` are left out.
    factor
        Ratio of the two resolutions.

    Returns
    -------
    numpy.ndarray
        Shape (..., y // factor, x // factor), dtype of `images` (integers become float64).

    Raises
    ------
    ValueError
        If `factor` is below 1.

    References
    ----------
    Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981, eq. 4,
    with -0.75 for the free parameter.

    Examples
    --------
    >>> downsample(np.arange(36.0).reshape(6, 6)).tolist()
    [[7.0, 10.0], [25.0, 28.0]]
    """
    _check_factor(factor)
    values = _floating(images)
    if factor % 2:
        half, (rows, columns) = factor // 2, (size // factor for size in values.shape[-2:])
        return values[..., half::factor, half::factor][..., :rows, :columns].copy()
    return _resample(values, float(factor))


def upsample(images: Array, factor: float = 3) -> Array:
    """Bring images to a grid `factor` times finer: bicubic, borders repeated.

    Parameters
    ----------
    images
        Shape (..., y, x). NaN spreads to the fine pixels whose 4 x 4 neighbours hold it.
    factor
        Ratio of the two resolutions.

    Returns
    -------
    numpy.ndarray
        Shape (..., y * factor, x * factor), dtype of `images` (integers become float64).

    Raises
    ------
    ValueError
        If `factor` is below 1.

    References
    ----------
    Keys, IEEE TASSP 1981, eq. 4, with -0.75 for the free parameter.

    Examples
    --------
    >>> upsample(np.full((1, 2, 2), 0.25)).shape
    (1, 6, 6)
    """
    _check_factor(factor)
    return _resample(_floating(images), 1 / factor)


def _floating(images: Array) -> Array:
    values = np.asarray(images)
    return values if np.issubdtype(values.dtype, np.floating) else values.astype(np.float64)


def _check_factor(factor: float) -> None:
    if factor < 1:
        raise ValueError(f"factor is {factor}; expected a ratio of resolutions of at least 1")


def _profile(mtf: float, gsd: float, sampling: float, reach: int) -> NDArray[np.float64]:
    """Return one axis of the kernel; the two-dimensional one is its outer product."""
    offsets = np.arange(-reach, reach + 1) * sampling
    width = sigma(mtf, gsd)
    if width == 0:
        return np.asarray(offsets == 0, dtype=np.float64)
    weights = np.exp(-0.5 * (offsets / width) ** 2)
    return np.asarray(weights / weights.sum())


def _smooth(images: Array, weights: NDArray[np.float64]) -> Array:
    rows = correlate1d(images, weights, axis=-2, mode="mirror")
    smooth: Array = correlate1d(rows, weights, axis=-1, mode="mirror")
    return smooth


def _resample(images: Array, step: float) -> Array:
    """Resample both axes; `step` is the distance of output pixels, in input pixels."""
    return _resample_axis(_resample_axis(images, step, -2), step, -1)


def _resample_axis(images: Array, step: float, axis: int) -> Array:
    """Weigh the four neighbours of each output pixel along an axis, -2 or -1."""
    size = images.shape[axis]
    centres = (np.arange(round(size // step if step > 1 else size / step)) + 0.5) * step - 0.5
    first = np.floor(centres).astype(int)
    taps = []
    for tap in range(-1, 3):
        weights = cubic(np.abs(centres - first - tap), BICUBIC).astype(images.dtype)
        source = np.clip(first + tap, 0, size - 1)
        taps.append((source, weights[:, None] if axis == -2 else weights))
    shape = list(images.shape)
    shape[axis] = len(centres)
    total = np.zeros(shape, images.dtype)
    for at in np.ndindex(images.shape[:-2]):  # image by image, in the cache
        image, sums = images[at], total[at]
        for source, weights in taps:
            sums += image.take(source, axis=axis) * weights
    return total

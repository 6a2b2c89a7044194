"""What a cloud detector would say of a sky: mostly right, a little wide, some of it missed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tamrf_xr.simulate.atmosphere import Sky
from tamrf_xr.simulate.fields import fractal

Mask = NDArray[np.bool_]

SMOOTHING_PX = 3.5
"""Width of the filter that masks are smoothed and grown with."""

SMALL_PX = 300
"""Clouds below this many pixels are easily missed."""


def spoiled(sky: Sky, reach: int) -> Mask:
    """Tell which pixels are truly unusable.

    Parameters
    ----------
    sky
        The sky.
    reach
        Pixels over which the sensor's blur spreads a cloud.

    Returns
    -------
    numpy.ndarray
        Shape (y, x), True where unusable.
    """
    return np.asarray(ndimage.binary_dilation(sky.spoils, iterations=reach), bool)


def detect(rng: np.random.Generator, sky: Sky, *, errors: float) -> Mask:
    """Tell which pixels a detector calls unusable: it finds what is thick, and misses some.

    Parameters
    ----------
    rng
        Source of randomness.
    sky
        The sky.
    errors
        Size of its errors, relative to usual ones.

    Returns
    -------
    numpy.ndarray
        Shape (y, x), True where unusable.
    """
    tolerance = np.exp(errors * rng.normal(0.15, 0.3, 3))
    cloud = _overlook(rng, sky.opacity > 0.08 * tolerance[0], 0.2 * errors)
    shadow = _overlook(rng, sky.shade > 0.18 * tolerance[1], 0.3 * errors)
    found = _resize(cloud | shadow, errors * rng.uniform(-0.15, 0.42))
    found |= sky.cirrus > 0.06 * tolerance[2]
    if sky.aerosol is not None:
        found |= sky.aerosol.amount > 0.08 * tolerance[0]
    if rng.random() < 0.3 * errors:
        found |= fractal(rng, found.shape, slope=2.2, longest=12) > 3.0
    return np.asarray(found)


def _overlook(rng: np.random.Generator, mask: Mask, odds: float) -> Mask:
    """Leave some connected parts out: small ones with the odds given, large ones seldom."""
    parts, count = ndimage.label(mask)
    size = np.bincount(parts.ravel(), minlength=count + 1)
    kept = rng.random(count + 1) >= np.where(size < SMALL_PX, odds, odds / 6)
    kept[0] = False
    return np.asarray(kept[parts])


def _resize(mask: Mask, growth: float) -> Mask:
    """Dilate (growth above 0) or erode by up to some pixels, rounding corners."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), SMOOTHING_PX, mode="nearest")
    return np.asarray(soft > np.clip(0.5 - growth, 0.02, 0.98))


def any_of(mask: Mask, factor: int) -> Mask:
    """Tell of each coarse pixel whether any fine pixel in it is True."""
    return np.asarray(_blocks(mask, factor).any(axis=(1, 3)), bool)


def most_of(mask: Mask, factor: int) -> Mask:
    """Tell of each coarse pixel whether a third or more of the fine pixels in it are True."""
    return np.asarray(_blocks(mask, factor).mean(axis=(1, 3)) >= 1 / 3)


def _blocks(mask: Mask, factor: int) -> NDArray[Any]:
    height, width = (size // factor for size in mask.shape)
    return mask[: height * factor, : width * factor].reshape(height, factor, width, factor)

"""The shift of one image against another: least squares on gradients, robust, iterated.

Image = gain x reference moved, both without their slow parts. The reference is moved by what was
found so far, the difference explained by its gradients, until that changes no more (Lucas &
Kanade 1981). Biweights (Tukey) keep out what is not explained: clouds, fields that changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tamrf_xr.coregistration.moving import LOBES, lanczos

Array = NDArray[Any]

SLOW_PX = 4.0
"""Standard deviation of the Gaussian whose blur counts as the slow part."""

BORDER = 2
"""Pixels along the edge of a block that are not compared: the moved reference ends there."""

HOLE = 4
"""Pixels around a hole of the reference that are not compared: moved, it reaches that far."""

CELLS = 6
"""Cells across a block whose scatter tells the standard error."""

ITERATIONS = 6
CONVERGED_PX = 0.005

LEAST_SHARE = 0.1
"""Of the pixels of a block, with which an estimate is tried: with less, scatter tells no error."""

LEAST_GAIN = 0.3
"""Contrast against that of the reference, of bands that take part: haze, or another crop."""

BIWEIGHT = 4.685
"""Standard deviations at which a pixel counts no more: 95 % efficient for Gaussian noise."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was found for one image."""

    shift: tuple[float, float] = (np.nan, np.nan)
    """Pixels down and right by which the image lies off the reference; NaN where not found."""

    error: float = np.nan
    """Standard error of either, in pixels."""

    pixels: int = 0
    """That were compared."""


def register(image: Array, good: Array, reference: Array, seen: Array) -> Estimate:
    """Find the shift of an image.

    Parameters
    ----------
    image, reference
        ``(band, y, x)``; any finite values where there are none.
    good, seen
        ``(y, x)`` where the image and the reference hold what can be compared.

    Returns
    -------
    Estimate
        The shift, if there are enough pixels and the iteration settles.

    References
    ----------
    Lucas & Kanade, "An iterative image registration technique", IJCAI 1981; Beaton & Tukey,
    Technometrics 1974 (biweights); White, Econometrica 1980 (the standard error, by cells).
    """
    # Never written to: a hole that the reference has anywhere near is left out.
    inner = ndimage.minimum_filter(seen, 2 * HOLE + 1, mode="constant", cval=1)
    compared = good & inner
    for edge in (np.s_[:BORDER], np.s_[-BORDER:]):
        compared[edge] = compared[:, edge] = False
    count = int(compared.sum())
    if count < LEAST_SHARE * compared.size:
        return Estimate(pixels=count)
    found = _iterated(image, reference, compared)
    return Estimate(pixels=count) if found is None else Estimate(*found, pixels=count)


def _iterated(
    image: Array, reference: Array, compared: Array
) -> tuple[tuple[float, float], float] | None:
    sharp, shift = _without_slow(image, compared), np.zeros(2)
    cells = _cells(compared)
    for _ in range(ITERATIONS):
        there = _moved(reference, shift)
        normal = _equations(sharp, _without_slow(there, compared), compared, cells)
        information = normal[:, :2].sum(axis=0) if len(normal) else np.zeros((2, 2))
        if np.linalg.det(information) <= 0:
            return None
        scores = normal[:, 2]
        step = np.linalg.solve(information, scores.sum(axis=0))
        shift = shift + np.clip(step, -1, 1)
        if np.abs(step).max() < CONVERGED_PX:
            inverse = np.linalg.inv(information)
            covariance = inverse @ (scores.T @ scores) @ inverse
            return (float(shift[0]), float(shift[1])), float(np.sqrt(np.trace(covariance) / 2))
    return None


def _moved(images: Array, shift: Array) -> Array:
    """Move whole images down and right, by the kernel that corrects."""
    for axis, distance in zip((-2, -1), shift.tolist(), strict=True):
        far = LOBES + math.ceil(abs(distance))
        taps = lanczos(np.arange(-far, far + 1) + distance)
        images = ndimage.correlate1d(images, taps / taps.sum(), axis=axis, mode="nearest")
    return images


def _cells(compared: Array) -> Array:
    """Return the number of the cell of every pixel that is compared."""
    rows, columns = (np.arange(size) * CELLS // size for size in compared.shape)
    return np.asarray(np.add.outer(rows * CELLS, columns)[compared])


def _equations(image: Array, reference: Array, compared: Array, cells: Array) -> Array:
    """Return the normal equations by cell: ``(cell, 3, 2)``, two rows of matrix, one of scores."""
    total = np.zeros((CELLS**2, 3, 2))
    for values, other in zip(image, reference, strict=True):
        here, there = values[compared], other[compared]
        gain, weights = _robust_gain(here, there)
        if gain < LEAST_GAIN:
            continue
        slopes = [-gain * slope[compared] for slope in np.gradient(other)]
        parts = [slopes[0], slopes[1], here - gain * there]
        for row, one in enumerate(parts):
            for column, slope in enumerate(slopes):
                total[:, row, column] += np.bincount(cells, weights * one * slope, CELLS**2)
    return total


def _robust_gain(here: Array, there: Array) -> tuple[float, Array]:
    """Return ``here / there``, and weights by inverse variance and by how far off a pixel is."""
    gain, weights, scale = 1.0, np.ones_like(here), 1.0
    for _ in range(3):
        off = here - gain * there
        scale = 1.4826 * float(np.median(np.abs(off))) + 1e-6
        weights = np.maximum(1 - (off / (BIWEIGHT * scale)) ** 2, 0) ** 2
        power = float((weights * there**2).sum())
        gain = float((weights * here * there).sum()) / power if power > 0 else 0.0
    return gain, weights / scale**2


def _without_slow(images: Array, compared: Array) -> Array:
    """Take away the local mean of what is compared."""
    weights = compared.astype(np.float32)
    held = np.maximum(ndimage.gaussian_filter(weights, SLOW_PX, mode="nearest"), 1e-3)
    means = [ndimage.gaussian_filter(weights * image, SLOW_PX, mode="nearest") for image in images]
    return np.asarray(images - np.stack(means) / held)

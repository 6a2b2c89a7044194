"""Move images by fractions of a pixel, holes kept: what corrects an acquisition, once.

A windowed sinc (Lanczos, 3 lobes) along one axis, then along the other. Weights are those of the
neighbours that are there, normalised; a pixel whose nearest source is missing is missing. So a hole
keeps its size, and reaches no further into its surroundings than the kernel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LOBES = 3
"""Of the sinc: pixels that the kernel reaches to either side."""


def reach(most_px: float) -> int:
    """Return how many pixels around one a move of at most `most_px` looks at."""
    return LOBES + math.ceil(most_px)


def moved(image: Array, there: Array, by: tuple[Array, Array]) -> NDArray[np.float32]:
    """Return the values that stand `by` (down, right) pixels from each pixel.

    Parameters
    ----------
    image
        ``(..., y, x)``.
    there
        Where it holds data, bool, of shapes that broadcast to that of `image`. What is outside
        the image is missing.
    by
        Pixels down and right; each broadcasts to the shape of `image`, such as ``(time, 1, y, x)``.

    Returns
    -------
    numpy.ndarray
        float32, NaN where the nearest source is missing. Where `by` is 0, the values as they are.

    Examples
    --------
    >>> ramp = np.arange(6.0)[None].repeat(6, 0)
    >>> there = np.ones((6, 6), bool)
    >>> moved(ramp, there, (np.zeros((6, 6)), np.full((6, 6), 1.0)))[3].tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0, nan]
    """
    there = np.broadcast_to(there, image.shape)
    values = np.where(there, image, np.float32(0)).astype(np.float32)
    for axis, distance in zip((-1, -2), reversed(by), strict=True):
        values, there = _along(values, there, distance, axis)
    return np.where(there, values, np.float32(np.nan))


def moved_mask(mask: Array, by: tuple[Array, Array]) -> NDArray[np.bool_]:
    """Move a mask: the nearest source tells; False from outside. Arguments as of `moved`."""
    for axis, distance in zip((-1, -2), reversed(by), strict=True):
        mask = _taken(mask, np.rint(distance).astype(np.intp), axis)
    return np.asarray(mask, bool)


def _along(values: Array, there: Array, distance: Array, axis: int) -> tuple[Array, Array]:
    first = np.floor(distance).astype(np.intp)
    fraction = distance - first
    total, weights = np.zeros_like(values), np.zeros_like(values)
    for tap in range(1 - LOBES, LOBES + 1):
        weight = _taken(there, first + tap, axis) * lanczos(tap - fraction)
        total += weight * _taken(values, first + tap, axis)
        weights += weight
    # The nearest source weighs at least 0.6, all that is negative 0.27 together: never near 0.
    kept = _taken(there, np.rint(distance).astype(np.intp), axis)
    return np.where(kept, total / np.where(kept, weights, np.float32(1)), np.float32(0)), kept


def lanczos(distance: Any) -> NDArray[np.float32]:
    """Return the weight of a neighbour at a distance in pixels (Duchon 1979).

    Examples
    --------
    >>> lanczos([0.0, 1.0, 2.0, 3.5]).tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    x = np.asarray(distance, float)
    weight = np.where(np.abs(x) < LOBES, np.sinc(x) * np.sinc(x / LOBES), 0)
    # At whole pixels the sinc is 0 but for its rounding.
    return np.where((x == np.rint(x)) & (x != 0), 0, weight).astype(np.float32)


def _taken(values: Array, steps: Array, axis: int) -> Array:
    """Return what stands `steps` pixels away along an axis; 0 (False) from outside."""
    size = values.shape[axis]
    line = np.arange(size).reshape((-1, 1) if axis == -2 else (1, -1))
    at = np.broadcast_to(line + steps, values.shape)
    found = np.take_along_axis(values, np.clip(at, 0, size - 1), axis)
    return np.where((at >= 0) & (at < size), found, values.dtype.type(0))

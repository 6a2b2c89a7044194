"""Frequency restoration: how much of the reference's detail a prediction holds, in decibels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft2

__all__ = ["FrequencyProfiles", "frequency_profiles", "frequency_restoration"]

Array = NDArray[Any]
Float64 = NDArray[np.float64]

SMALLEST = 8
"""Side of the smallest image with a ring between the first and the last one, in pixels."""


@dataclass(frozen=True, slots=True)
class FrequencyProfiles:
    """Amplitude against frequency, of predictions and of references."""

    frequencies: Float64
    """Shape (frequency,): 1 is the Nyquist frequency of the grid."""

    prediction: Float64
    """Shape (..., frequency), in dB relative to the first frequency; NaN where undefined."""

    reference: Float64
    """Shape (..., frequency), likewise."""

    @property
    def restoration(self) -> Float64:
        """Mean of prediction minus reference, in dB, without the first and the last ring."""
        return np.asarray((self.prediction - self.reference)[..., 1:-1].mean(-1))


def frequency_restoration(prediction: Array, reference: Array) -> Float64:
    """Return the frequency restoration (FRR) of predictions.

    Parameters
    ----------
    prediction, reference
        As in `frequency_profiles`.

    Returns
    -------
    numpy.ndarray
        Shape (...), in dB: 0 is perfect, negative means blur; NaN where a side is all NaN.

    Raises
    ------
    ValueError
        If the shapes differ or the images are under 8 pixels a side.

    References
    ----------
    Michel & Inglada, "Temporal Attention Multi-Resolution Fusion of Satellite Image
    Time-Series", RSE 2025 (frequency restoration).

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(size=(1, 16, 16))
    >>> frequency_restoration(image, image).tolist()
    [0.0]
    """
    return frequency_profiles(prediction, reference).restoration


def frequency_profiles(prediction: Array, reference: Array) -> FrequencyProfiles:
    """Return the radial profiles of the amplitude of the Fourier transform.

    Each image is padded with zeros to twice its size; amplitudes are averaged over every other
    ring of one frequency step, and the ring of the mean is left out. Cells that lie on the edge
    of a ring exactly belong to none, decided in integers: the same on every machine.

    Parameters
    ----------
    prediction, reference
        Shape (..., y, x), both on the grid of the prediction; clouds are not left out, so choose
        clear dates. Pixels that are NaN on either side are zero on both: a hole restores nothing.

    Returns
    -------
    FrequencyProfiles
        In dB, relative to the first ring.

    Raises
    ------
    ValueError
        If the shapes differ or the images are under 8 pixels a side.

    References
    ----------
    Michel & Inglada, RSE 2025 (frequency restoration).

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(size=(1, 16, 16))
    >>> frequency_profiles(image, image).frequencies.round(3).tolist()
    [0.156, 0.281, 0.406, 0.531, 0.656, 0.781, 0.906]
    """
    _check(prediction, reference)
    rows, columns = prediction.shape[-2:]
    known = ~(np.isnan(prediction) | np.isnan(reference))
    count = min(rows, columns) // 2
    edges = 2 * np.arange(1, count)
    return FrequencyProfiles(
        frequencies=(edges + 0.5) / min(rows, columns),
        prediction=_decibels(prediction, known),
        reference=_decibels(reference, known),
    )


def _check(prediction: Array, reference: Array) -> None:
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction is {prediction.shape}, but reference is {reference.shape}")
    if min(prediction.shape[-2:]) < SMALLEST:
        raise ValueError(
            f"images of {prediction.shape[-2]} x {prediction.shape[-1]} pixels are too small"
            f" for frequency profiles; expected {SMALLEST} a side or more"
        )


def _decibels(images: Array, known: NDArray[np.bool_]) -> Float64:
    """Profile image after image, so that one transform at a time is in memory."""
    shape = images.shape[-2:]
    stack = zip(images.reshape(-1, *shape), known.reshape(-1, *shape), strict=True)
    profiles = [_profile(np.where(mask, image, 0.0)) * _one_or_nan(mask) for image, mask in stack]
    amplitude = np.reshape(profiles, (*images.shape[:-2], min(shape) // 2 - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(10 * np.log10(amplitude / amplitude[..., :1]))


def _one_or_nan(mask: NDArray[np.bool_]) -> float:
    return 1.0 if mask.any() else np.nan


def _profile(image: Float64) -> Float64:
    rows, columns = image.shape
    amplitude = np.abs(rfft2(image, s=(2 * rows, 2 * columns)))
    rings, weights = _rings(rows, columns)
    number = min(rows, columns) // 2
    total = np.bincount(rings.ravel(), (amplitude * weights).ravel(), minlength=number + 1)
    cells = np.bincount(rings.ravel(), np.broadcast_to(weights, rings.shape).ravel(), number + 1)
    return np.asarray(total[1:number] / cells[1:number])


@lru_cache(maxsize=4)
def _rings(rows: int, columns: int) -> tuple[NDArray[np.intp], Float64]:
    """Return the ring of every cell of the half transform (the last: none), and cells' weights.

    Ring i holds the frequencies strictly between 2 i and 2 i + 1 steps; frequencies are scaled to
    integers so that the comparison is exact. All but the first column stand for two cells.
    """
    down = np.abs(np.arange(2 * rows) - 2 * rows * (np.arange(2 * rows) >= rows))
    squared = (down[:, None] * columns) ** 2 + (np.arange(columns + 1) * rows) ** 2
    edges = (np.arange(2 * (min(rows, columns) // 2)) * max(rows, columns)) ** 2
    after = np.searchsorted(edges, squared, side="left")
    on_edge = np.isin(squared, edges)
    number = min(rows, columns) // 2
    rings = np.where((after % 2 == 1) & ~on_edge, after // 2, number)
    weights = np.where(np.arange(columns + 1) == 0, 1.0, 2.0)
    return rings, weights

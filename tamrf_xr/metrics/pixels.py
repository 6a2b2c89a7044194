"""Metrics of pixels against pixels: RMSE, NRMSE, SAM, and the share of usable pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["clear_rate", "crop", "nrmse", "rmse", "sam"]

Array = NDArray[Any]
Float64 = NDArray[np.float64]


def rmse(prediction: Array, reference: Array, valid: Array | None = None) -> Float64:
    """Return the root mean squared error over usable pixels.

    Parameters
    ----------
    prediction, reference
        Shape (..., band, y, x), one unit: reflectance, or kelvin for temperatures. The prediction
        has been brought to the reference's sharpness and grid (see `tamrf_xr.psf`).
    valid
        True where usable: shape (..., y, x) for all bands alike or (..., band, y, x). Pixels that
        are NaN in either image are never usable.

    Returns
    -------
    numpy.ndarray
        Shape (..., band), in the unit of the images; NaN where no pixel is usable.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Michel & Inglada, "Temporal Attention Multi-Resolution Fusion of Satellite Image
    Time-Series", RSE 2025 (evaluation metrics).

    Examples
    --------
    >>> rmse(np.full((1, 1, 2, 2), 0.3), np.full((1, 1, 2, 2), 0.1)).round(3).tolist()
    [[0.2]]
    """
    usable = _usable(prediction, reference, valid)
    count = usable.sum((-2, -1))
    return _divided(_squared_error(prediction, reference, usable), count) ** 0.5


def nrmse(prediction: Array, reference: Array, valid: Array | None = None) -> Float64:
    """Return the error's energy over the reference's: root of the ratio of sums of squares.

    Parameters
    ----------
    prediction, reference, valid
        As in `rmse`. Both sums run over the same usable pixels.

    Returns
    -------
    numpy.ndarray
        Shape (..., band), no unit; NaN where no pixel is usable or the reference is zero.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Michel & Inglada, RSE 2025 (evaluation metrics).

    Examples
    --------
    >>> nrmse(np.full((1, 1, 2, 2), 0.3), np.full((1, 1, 2, 2), 0.2)).round(3).tolist()
    [[0.5]]
    """
    usable = _usable(prediction, reference, valid)
    energy = np.sum(_widened(reference) ** 2, axis=(-2, -1), where=usable)
    return _divided(_squared_error(prediction, reference, usable), energy) ** 0.5


def sam(prediction: Array, reference: Array, valid: Array | None = None) -> Float64:
    """Return the mean spectral angle over usable pixels.

    Parameters
    ----------
    prediction, reference
        Shape (..., band, y, x); reflectance bands only, a temperature would outweigh them.
    valid
        As in `rmse`. A band that is unusable in a pixel is left out of both of its spectra; a
        pixel whose spectra vanish is left out.

    Returns
    -------
    numpy.ndarray
        Shape (...), in radians, 0 to pi; NaN where no pixel is usable.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Kruse et al., "The spectral image processing system (SIPS)", RSE 1993, eq. 1. The angle is
    computed by its half tangent (Kahan), exact for small angles where the arc cosine is not.

    Examples
    --------
    >>> one, other = np.zeros((1, 2, 1, 1)), np.zeros((1, 2, 1, 1))
    >>> one[0, 0], other[0, 1] = 0.3, 0.2
    >>> sam(one, other).round(4).tolist()
    [1.5708]
    """
    usable = _usable(prediction, reference, valid)
    one = np.where(usable, _widened(prediction), 0.0)
    other = np.where(usable, _widened(reference), 0.0)
    lengths = [np.sqrt((side**2).sum(-3, keepdims=True)) for side in (one, other)]
    kept = ((lengths[0] > 0) & (lengths[1] > 0))[..., 0, :, :]
    one, other = (
        _divided(side, length) for side, length in zip((one, other), lengths, strict=True)
    )
    apart = np.sqrt(((one - other) ** 2).sum(-3))
    along = np.sqrt(((one + other) ** 2).sum(-3))
    angle = 2 * np.arctan2(apart, along)
    return _divided(np.sum(angle, axis=(-2, -1), where=kept), kept.sum((-2, -1)))


def clear_rate(valid: Array) -> Float64:
    """Return the share of usable pixels.

    Parameters
    ----------
    valid
        True where usable, shape (..., y, x).

    Returns
    -------
    numpy.ndarray
        Shape (...), 0 to 1.

    Examples
    --------
    >>> clear_rate(np.array([[[True, False], [True, True]]])).tolist()
    [0.75]
    """
    return np.asarray(np.mean(valid, axis=(-2, -1), dtype=np.float64))


def crop(images: Array, margin: int) -> Array:
    """Return a view without `margin` pixels on every side, where predictions see less around.

    Parameters
    ----------
    images
        Shape (..., y, x).
    margin
        In pixels of `images`.

    Returns
    -------
    numpy.ndarray
        Shape (..., y - 2 * margin, x - 2 * margin); a view.

    Raises
    ------
    ValueError
        If nothing would remain.

    Examples
    --------
    >>> crop(np.zeros((1, 6, 8)), 2).shape
    (1, 2, 4)
    """
    rows, columns = images.shape[-2:]
    if margin < 0 or 2 * margin >= min(rows, columns):
        raise ValueError(f"a margin of {margin} leaves nothing of images of {rows} x {columns}")
    return images[..., margin : rows - margin, margin : columns - margin]


def _usable(prediction: Array, reference: Array, valid: Array | None) -> NDArray[np.bool_]:
    """Return the usable pixels per band: valid, and finite on both sides."""
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction is {prediction.shape}, but reference is {reference.shape}")
    known = ~(np.isnan(prediction) | np.isnan(reference))
    if valid is None:
        return known
    usable = np.asarray(valid, dtype=bool)
    if usable.ndim == known.ndim - 1:
        usable = usable[..., None, :, :]
    try:
        return np.asarray(known & np.broadcast_to(usable, known.shape))
    except ValueError as error:
        raise ValueError(f"valid is {valid.shape}, but prediction is {prediction.shape}") from error


def _widened(images: Array) -> Float64:
    return np.asarray(images, dtype=np.float64)


def _squared_error(prediction: Array, reference: Array, usable: NDArray[np.bool_]) -> Float64:
    error = _widened(prediction) - _widened(reference)
    return np.asarray(np.sum(error * error, axis=(-2, -1), where=usable))


def _divided(above: Array, below: Array) -> Float64:
    """Divide; NaN where the divisor is zero."""
    below = np.broadcast_to(below, np.shape(above))
    quotient = np.full(np.shape(above), np.nan)
    np.divide(above, below, where=below != 0, out=quotient)
    return quotient

"""What told errors are worth: how many observations lie within, how wide that is, how near."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def share_within(errors: Float64, half_width: Float64) -> float:
    """Return the share of errors that an interval holds.

    Parameters
    ----------
    errors
        Absolute errors, any shape.
    half_width
        Half the width of the interval, the same shape.

    Returns
    -------
    float
        NaN where there is none.

    Examples
    --------
    >>> share_within(np.array([0.1, 0.3]), np.array([0.2, 0.2]))
    0.5
    """
    return float(np.mean(errors <= half_width)) if errors.size else float("nan")


def laplace_crps(errors: Float64, deviation: Float64) -> float:
    """Return the mean continuous ranked probability score of a Laplace distribution.

    Parameters
    ----------
    errors
        Absolute errors of its mean, any shape.
    deviation
        Its standard deviation, the same shape, above 0.

    Returns
    -------
    float
        In the unit of the errors: 0 is best; that of a deviation of 0 is the mean absolute error.
        NaN where there is none.

    References
    ----------
    Gneiting & Raftery 2007, doi 10.1198/016214506000001437. Of Laplace's distribution: the absolute
    error, plus b exp(-error / b), less 3 b / 4, where b is the deviation over the root of 2.

    Examples
    --------
    >>> round(laplace_crps(np.array([0.0]), np.array([2**0.5])), 3)
    0.25
    """
    if not errors.size:
        return float("nan")
    b = deviation / np.sqrt(2.0)
    return float(np.mean(errors + b * np.exp(-errors / b) - 0.75 * b))

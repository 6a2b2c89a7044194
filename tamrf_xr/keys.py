"""The cubic kernel of Keys, by which images are moved, and brought to other grids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cubic(distance: Any, a: float) -> NDArray[np.float64]:
    """Weigh neighbours by their distance in pixels.

    Parameters
    ----------
    distance
        At least 0.
    a
        The free parameter: -0.5 is of third order, -0.75 that of torch and OpenCV.

    References
    ----------
    Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981, eq. 4.

    Examples
    --------
    >>> cubic([0.0, 0.5, 1.5, 2.5], -0.5).tolist()
    [1.0, 0.5625, -0.0625, 0.0]
    """
    x = np.asarray(distance, float)
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.asarray(np.where(x <= 1, near, np.where(x < 2, far, 0.0)))

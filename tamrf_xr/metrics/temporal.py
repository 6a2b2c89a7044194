"""Context of a prediction in time: how near and how dense the dates given were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Context", "context", "days_to_closest", "local_density"]

Float64 = NDArray[np.float64]
Days = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Context:
    """Columns that tell how hard each date asked was; one value a date."""

    given: NDArray[np.bool_]
    """Whether the date was an input of the sensor asked."""

    closest: Float64
    """Days to the closest input of the sensor asked; inf where it has none."""

    closest_either: Float64
    """Days to the closest input of either sensor; inf where there is none."""

    density: Float64
    """Local density of `closest`, 0 to 1."""

    density_either: Float64
    """Local density of `closest_either`, 0 to 1."""


def context(asked: Days, own: Days, other: Days) -> Context:
    """Return the context columns of the days asked of one sensor.

    Parameters
    ----------
    asked
        Days asked.
    own, other
        Days given of the sensor asked and of the other one, since the same origin.

    Returns
    -------
    Context
        One value a day asked, in its order.

    References
    ----------
    Michel & Inglada, "Temporal Attention Multi-Resolution Fusion of Satellite Image
    Time-Series", RSE 2025 (evaluation).

    Examples
    --------
    >>> context([10, 40], own=[10, 90], other=[38]).closest_either.tolist()
    [0.0, 2.0]
    """
    closest = days_to_closest(asked, own)
    either = np.minimum(closest, days_to_closest(asked, other))
    return Context(
        given=np.isin(np.asarray(asked, dtype=np.int64), np.asarray(own, dtype=np.int64)),
        closest=closest,
        closest_either=either,
        density=local_density(closest),
        density_either=local_density(either),
    )


def days_to_closest(asked: Days, given: Days) -> Float64:
    """Return the distance of each day asked to the closest day given.

    Parameters
    ----------
    asked, given
        Days since one origin, in any order.

    Returns
    -------
    numpy.ndarray
        Shape (asked,), in days; inf where nothing was given.

    Examples
    --------
    >>> days_to_closest([0, 60], [3, 40, 77]).tolist()
    [3.0, 17.0]
    """
    wanted = np.asarray(asked, dtype=np.float64).reshape(-1, 1)
    known = np.asarray(given, dtype=np.float64).reshape(1, -1)
    return np.asarray(np.abs(wanted - known).min(axis=1, initial=np.inf))


def local_density(days: Float64) -> Float64:
    """Return the local density of inputs, ``exp(-(days / 10)^2)``.

    Parameters
    ----------
    days
        Days to the closest input, of any shape; inf where there is none.

    Returns
    -------
    numpy.ndarray
        Shape of `days`: 1 on the day of an input, 0 far from all.

    References
    ----------
    Michel & Inglada, RSE 2025 (evaluation).

    Examples
    --------
    >>> local_density(np.array([0.0, 10.0])).round(3).tolist()
    [1.0, 0.368]
    """
    return np.asarray(np.exp(-((np.asarray(days, dtype=np.float64) / 10) ** 2)))

"""Runs of exceedances along time, pixel by pixel: when one began, whether it persisted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NONE = -1
"""Stands for no acquisition."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Runs:
    """Of each pixel, the first run that persisted, else the one that goes on at the end."""

    first: Array
    """``(y, x)``: position of the acquisition that began it; `NONE` where there is no run."""

    confirmed: Array
    """``(y, x)``: position of the acquisition that made it persist; `NONE` where none did."""

    count: Array
    """``(y, x)``: usable acquisitions of it; 0 where there is none."""

    magnitude: Array
    """``(y, x)``: mean score of them; NaN where there is none."""


def find_runs(scores: Array, *, threshold: float, persistence: int) -> Runs:
    """Find runs of scores beyond a threshold.

    Parameters
    ----------
    scores
        ``(time, y, x)`` in order of time; NaN where nothing usable was seen, which neither
        continues nor breaks a run.
    threshold
        Beyond which a score exceeds.
    persistence
        Usable acquisitions in a row, all of which exceed, that make a run persist.

    Examples
    --------
    >>> scores = np.array([0, 9, np.nan, 9, 9, 0, 9.0])[:, None, None]
    >>> runs = find_runs(scores, threshold=3.0, persistence=3)
    >>> int(runs.first[0, 0]), int(runs.confirmed[0, 0]), int(runs.count[0, 0])
    (1, 4, 3)
    """
    shape = scores.shape[1:]
    first, confirmed = (np.full(shape, NONE, np.int32) for _ in range(2))
    count, total, over = np.zeros(shape, np.int32), np.zeros(shape), np.zeros(shape, bool)
    for place, score in enumerate(scores):
        usable = ~over & np.isfinite(score)
        with np.errstate(invalid="ignore"):
            beyond = usable & (score > threshold)
        first[beyond & (count == 0)] = place
        count[beyond] += 1
        total[beyond] += score[beyond]
        confirmed[beyond & (count == persistence)] = place
        broken = usable & ~beyond
        over |= broken & (confirmed != NONE)
        broken &= ~over
        first[broken], count[broken], total[broken] = NONE, 0, 0
    with np.errstate(invalid="ignore"):
        return Runs(first, confirmed, count, (total / count).astype(np.float32))

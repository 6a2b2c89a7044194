"""What an acquisition is compared with: the per-pixel median of the others, of the whole series."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LEAST_SEEN = 3
"""Clear acquisitions that make a median."""


class Medians:
    """Per-pixel medians of a series, with or without one of its acquisitions.

    The series is sorted once; what a median becomes when one value is left out is one of its
    neighbours in that order.
    """

    def __init__(self, images: Array, good: Array) -> None:
        """Take ``(time, band, y, x)`` images and ``(time, y, x)`` where they are clear."""
        self._images, self._good = images, good
        self._count = good.sum(axis=0)
        self._sorted = np.sort(np.where(good[:, None], images, np.float32(np.inf)), axis=0)

    def of_all(self) -> tuple[Array, Array]:
        """Return the medians (band, y, x), 0 where there is none, and where there is one."""
        count = self._count
        return self._middle(count, [np.maximum(count - 1, 0) // 2, count // 2])

    def without(self, place: int) -> tuple[Array, Array]:
        """Return those of all acquisitions but one."""
        good, image = self._good[place], self._images[place]
        count = self._count - good
        ranks = [np.maximum(count - 1, 0) // 2, count // 2]
        return self._middle(count, ranks, left_out=np.where(good, image, np.float32(np.inf)))

    def _middle(
        self, count: Array, ranks: list[Array], left_out: Array | None = None
    ) -> tuple[Array, Array]:
        seen = count >= LEAST_SEEN
        found = [self._ranked(rank, left_out) for rank in ranks]
        return np.where(seen, (found[0] + found[1]) / 2, np.float32(0)), seen

    def _ranked(self, rank: Array, left_out: Array | None) -> Array:
        rank = np.minimum(rank, len(self._sorted) - 1)
        value = np.where(np.isfinite(here := self._at(rank)), here, np.float32(0))
        if left_out is None:
            return value
        after = self._at(np.minimum(rank + 1, len(self._sorted) - 1))
        # What was left out stood at this rank or below: its successor moves up.
        return np.where(left_out <= here, np.where(np.isfinite(after), after, 0), value)

    def _at(self, rank: Array) -> Array:
        return np.asarray(np.take_along_axis(self._sorted, rank[None, None], axis=0)[0])


def area_means(images: Array, good: Array, ratio: int) -> tuple[Array, Array]:
    """Bring a series to pixels `ratio` times larger: means of those that are clear throughout."""
    *lead, rows, columns = images.shape
    cells = (rows // ratio, ratio, columns // ratio, ratio)
    whole = good.reshape(len(good), *cells).all(axis=(2, 4))
    return images.reshape(*lead, *cells).mean(axis=(-3, -1)), np.asarray(whole)

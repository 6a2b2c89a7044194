"""Where pixels of a product come from: the usable observations around each query date.

Observed is what the masks of the cube call usable, with data in every band of the sensor, among
the acquisitions that the query date may see. Pixels of a coarse sensor are repeated on the fine
grid: nothing looks beyond its own pixel, so any tiling gives the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tamrf_xr.fuser import Crop, Episode, Mask, Pixels, Series
from tamrf_xr.sensors import SENSORS

GROUP = "provenance"
ANY = "any"
SIDES = ("before", "after")

NOTHING = -1
"""Days to an observation that there is not."""

NO_VALUE = 255
"""Source of a pixel of which the method made no band."""

MOST_DAYS = 32767

SOURCES = ("reconstructed", "observed_by_sentinel2", "observed_by_landsat", "observed_by_both")
"""Meanings of the values 0, 1, 2, 3."""

_BIT = {"sentinel2": 1, "landsat": 2}

Integers = npt.NDArray[np.int16]
Layer = npt.NDArray[Any]


def describe(
    series: Mapping[str, Series],
    episodes: Sequence[Episode],
    crop: Crop,
    *,
    made: Mapping[str, Pixels],
) -> dict[str, Layer]:
    """Return the layers of a tile.

    Parameters
    ----------
    series
        Per sensor, what it saw.
    episodes
        Which acquisitions each query date may see.
    crop
        The pixels.
    made
        What the method gave, ``(query, band, y, x)`` per sensor.

    Returns
    -------
    dict
        ``provenance/days_to_observation`` (query, side, sensor, y, x) and
        ``provenance/observations_in_window`` (query, sensor, y, x), int16, whose last sensor is
        any of them; ``provenance/source`` (query, y, x), uint8.
    """
    queries = sum(len(episode.queries) for episode in episodes)
    names = tuple(name for name in SENSORS if name in series)
    days = np.full((queries, len(SIDES), len(names) + 1, *crop.shape), NOTHING, np.int16)
    counts = np.zeros((queries, len(names) + 1, *crop.shape), np.int16)
    source = np.zeros((queries, *crop.shape), np.uint8)
    valid = {name: _core_of(name, series[name].valid, crop) for name in names}
    for episode in episodes:
        for place, name in enumerate(names):
            seen = valid[name][list(episode.seen[name])]
            at = np.asarray(episode.days[name], np.int64)
            on_fine = _Fine(name, crop)
            counts[list(episode.queries), place] = on_fine(seen.sum(axis=0, dtype=np.int16))
            for query, day in zip(episode.queries, episode.query_days, strict=True):
                before, after = nearest(seen, at, int(day))
                days[query, :, place] = on_fine(np.stack([before, after]))
                source[query] |= (days[query, 0, place] == 0) * np.uint8(_BIT[name])
    days[:, :, -1] = _least(days[:, :, :-1])
    counts[:, -1] = counts[:, :-1].sum(axis=1)
    source[~_anything(made)] = NO_VALUE
    return {
        f"{GROUP}/days_to_observation": days,
        f"{GROUP}/observations_in_window": counts,
        f"{GROUP}/source": source,
    }


def nearest(seen: Mask, days: npt.NDArray[np.int64], day: int) -> tuple[Integers, Integers]:
    """Return days to the nearest usable observation on or before a day, and on or after it.

    Parameters
    ----------
    seen
        ``(time, y, x)``: where usable.
    days
        ``(time,)``, in any order.
    day
        The day.

    Returns
    -------
    before, after : numpy.ndarray
        ``(y, x)``, at least 0; -1 where there is none.

    Examples
    --------
    >>> seen = np.array([[[True, False]], [[True, True]]])
    >>> [side.tolist() for side in nearest(seen, np.array([3, 10]), 8)]
    [[[5, -1]], [[2, 2]]]
    """
    found = []
    for sign in (-1, 1):
        side = np.full(seen.shape[1:], NOTHING, np.int16)
        away = sign * (days - day)
        # From the farthest to the nearest, which is written last.
        for position in np.argsort(-away, kind="stable"):
            if away[position] >= 0:
                side[seen[position]] = min(int(away[position]), MOST_DAYS)
        found.append(side)
    return found[0], found[1]


def _core_of(sensor: str, valid: Mask, crop: Crop) -> Mask:
    """Cut the sensor's own pixels that touch the core."""
    ratio = SENSORS[sensor].ratio
    rows, cols = (slice(s.start // ratio, -(-s.stop // ratio)) for s in crop.within(sensor))
    return valid[:, rows, cols]


class _Fine:
    """Repeats a sensor's own pixels on the fine grid, and cuts the core."""

    def __init__(self, sensor: str, crop: Crop) -> None:
        self._ratio = SENSORS[sensor].ratio
        starts = [side.start % self._ratio for side in crop.within(sensor)]
        self._core = tuple(slice(a, a + n) for a, n in zip(starts, crop.shape, strict=True))

    def __call__(self, images: Integers) -> Integers:
        fine = images.repeat(self._ratio, axis=-2).repeat(self._ratio, axis=-1)
        rows, cols = self._core
        return fine[..., rows, cols]


def _least(days: Integers) -> Integers:
    """Return the least of the days (query, side, sensor, y, x) that there are."""
    least = np.where(days == NOTHING, MOST_DAYS, days).min(axis=2)
    return np.where((days == NOTHING).all(axis=2), NOTHING, least).astype(np.int16)


def _anything(made: Mapping[str, Pixels]) -> Mask:
    """Tell where the method made a band of any sensor: (query, y, x)."""
    found = [np.isfinite(pixels).any(axis=1) for pixels in made.values()]
    return np.asarray(np.logical_or.reduce(found))

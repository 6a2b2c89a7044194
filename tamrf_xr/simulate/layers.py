"""Parcels painted layer over layer on a fine map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.simulate.landcover import COVERS
from tamrf_xr.simulate.shapes import Canvas, Mask, Metres

COVER_NAMES = tuple(COVERS)


@dataclass(frozen=True, slots=True)
class Layer:
    """Parcels painted over what is below."""

    keys: NDArray[Any]
    """Of each sample: samples of one key are one parcel."""

    odds: Mapping[str, float]
    """Classes that its parcels may have, and how likely each is."""

    where: Mask | None = None
    """Samples painted; None paints all."""

    tall: tuple[float, float] | None = None
    """Range of the heights of its parcels above the ground, in metres; None: flat."""


def flatten(
    rng: np.random.Generator, canvas: Canvas, layers: Sequence[Layer]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the parcel of each sample and the class of each parcel."""
    labels = np.zeros((canvas.count, canvas.count), np.intp)
    covers: list[NDArray[np.intp]] = []
    for layer in layers:
        where = np.ones(labels.shape, bool) if layer.where is None else layer.where
        parcels, number = np.unique(layer.keys[where], return_inverse=True)
        labels[where] = number + sum(len(part) for part in covers)
        names, weights = list(layer.odds), np.array(list(layer.odds.values()))
        drawn = rng.choice(len(names), size=len(parcels), p=weights / weights.sum())
        covers.append(np.array([COVER_NAMES.index(name) for name in names])[drawn])
    seen, labels_seen = np.unique(labels, return_inverse=True)
    return labels_seen.reshape(labels.shape), np.concatenate(covers)[seen]


def heights(rng: np.random.Generator, canvas: Canvas, layers: Sequence[Layer]) -> Metres:
    """Return how high what was painted stands above the ground at each sample, in metres."""
    above = np.zeros((canvas.count, canvas.count), np.float32)
    for layer in layers:
        where = np.ones(above.shape, bool) if layer.where is None else layer.where
        if layer.tall is None:
            above[where] = 0
            continue
        parcels, number = np.unique(layer.keys[where], return_inverse=True)
        low, high = layer.tall
        above[where] = (low + (high - low) * rng.random(len(parcels)) ** 2)[number]
    return above

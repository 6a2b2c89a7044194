"""Shapes on a map: cells round random sites, blobs, winding lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tamrf_xr.simulate.fields import fractal, fractal_line

Mask = NDArray[np.bool_]
Metres = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Canvas:
    """A square of ground, sampled finely."""

    count: int
    """Samples along the edge."""

    step: float
    """Metres between samples."""

    @property
    def edge(self) -> float:
        """Length of the edge, in metres."""
        return self.count * self.step

    def positions(self) -> tuple[Metres, Metres]:
        """Return the distance of every sample from the top and from the left, in metres."""
        along = (np.arange(self.count, dtype=np.float32) + 0.5) * np.float32(self.step)
        y, x = np.meshgrid(along, along, indexing="ij")
        return y, x

    def noise(self, rng: np.random.Generator, *, slope: float, longest_m: float) -> Metres:
        """Draw a fractal field over the square, its seam outside."""
        wide = self.count + round(min(longest_m, self.edge) / self.step)
        field = fractal(rng, (wide, wide), slope=slope, longest=longest_m / self.step)
        return field[: self.count, : self.count]


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of random sites; of each sample, its cell, the next one, the way to it."""

    sites: NDArray[np.float64]
    """Shape (cells, 2): y and x, in metres."""

    own: NDArray[np.intp]
    """Cell of each sample."""

    other: NDArray[np.intp]
    """Nearest other cell of each sample."""

    border_m: Metres
    """Distance from each sample to the border between the two, in metres."""

    def pairs(self) -> tuple[NDArray[np.intp], int]:
        """Return the number of the border nearest to each sample, and how many there are."""
        low, high = np.minimum(self.own, self.other), np.maximum(self.own, self.other)
        borders, number = np.unique(low * len(self.sites) + high, return_inverse=True)
        return number.reshape(self.own.shape), len(borders)


def cells(
    rng: np.random.Generator,
    canvas: Canvas,
    spacing_m: float,
    *,
    bend: tuple[Metres, Metres] | None = None,
    where: Mask | None = None,
) -> Cells:
    """Draw sites about `spacing_m` apart over the square and beyond, and find their cells.

    Parameters
    ----------
    rng
        Source of randomness.
    canvas
        The square.
    spacing_m
        Distance of sites, in metres.
    bend
        How far to look beside each sample (down, right), in metres: borders bend.
    where
        Samples to find the cells of; elsewhere everything is 0.

    Returns
    -------
    Cells
        Arrays of the shape of the square.
    """
    ticks = np.arange(-1.5, canvas.edge / spacing_m + 2.5)
    lattice = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    sites = (lattice + rng.uniform(-0.45, 0.45, lattice.shape)) * spacing_m
    y, x = canvas.positions()
    inside = np.ones(y.shape, bool) if where is None else where
    dy, dx = bend or (0, 0)
    points = np.stack([(y + dy)[inside], (x + dx)[inside]], axis=-1)
    distance, found = cKDTree(sites).query(points, k=2, workers=-1)
    (first, second), (near, far) = found.T, distance.T
    border = (far**2 - near**2) / (2 * np.linalg.norm(sites[second] - sites[first], axis=-1))
    own, other, away = (np.zeros(y.shape, kind) for kind in (np.intp, np.intp, np.float32))
    own[inside], other[inside], away[inside] = first, second, border
    return Cells(sites, own, other, away)


def blobs(
    canvas: Canvas, centres: NDArray[np.float64], radii: NDArray[np.float64], *, wobble: Metres
) -> NDArray[np.float32]:
    """Return how deep each sample lies in the nearest blob: 1 at its centre, 0 at its rim.

    Parameters
    ----------
    canvas
        The square.
    centres
        Shape (blobs, 2): y and x, in metres.
    radii
        Mean radius of each, in metres.
    wobble
        Field that bends the rims, relative to the radius.

    Returns
    -------
    numpy.ndarray
        Negative outside; minus infinity far outside.
    """
    y, x = canvas.positions()
    depth = np.full(y.shape, -np.inf, np.float32)
    # Beyond twice the rim nothing is asked.
    reach = (2 + float(wobble.max())) * radii / canvas.step
    for (cy, cx), radius, far in zip(centres, radii, reach, strict=True):
        box = tuple(
            slice(max(0, int(c / canvas.step - far)), int(c / canvas.step + far) + 1)
            for c in (cy, cx)
        )
        distance = np.hypot(y[box] - np.float32(cy), x[box] - np.float32(cx)) / np.float32(radius)
        np.maximum(depth[box], 1 - distance + wobble[box], out=depth[box])
    return depth


@dataclass(frozen=True, slots=True)
class Line:
    """A winding line across the square."""

    away_m: Metres
    """Distance of each sample from the line, in metres."""

    along: NDArray[Any]
    """Sample of `count` along the line that is nearest, for fields along it."""


def winding(rng: np.random.Generator, canvas: Canvas, *, swing_m: float, longest_m: float) -> Line:
    """Draw a line that crosses the square near its middle.

    Parameters
    ----------
    rng
        Source of randomness.
    canvas
        The square.
    swing_m
        Standard deviation about a straight line, in metres.
    longest_m
        Length of the widest bends, in metres.

    Returns
    -------
    Line
        The line.
    """
    y, x = canvas.positions()
    angle, middle = rng.uniform(0, np.pi), canvas.edge / 2
    aside = rng.uniform(-0.35, 0.35) * canvas.edge
    u = (x - middle) * np.float32(np.cos(angle)) + (y - middle) * np.float32(np.sin(angle))
    v = (y - middle) * np.float32(np.cos(angle)) - (x - middle) * np.float32(np.sin(angle))
    count = 2 * canvas.count
    course = fractal_line(rng, count, slope=4.5, longest=longest_m / canvas.step) * swing_m
    along = np.clip(np.round(u / canvas.step).astype(int) + count // 2, 0, count - 1)
    steepness = np.hypot(1, np.gradient(course, canvas.step))
    away = np.abs(v - aside - course[along]) / steepness[along]
    return Line(away.astype(np.float32), along)

"""Correct a group by its table of shifts: one resampling, lazily, chunk by chunk.

The plan: each chunk takes the window of the image that its kernel may touch, and interpolates the
shifts of its pixels between the centres of blocks from coordinates, not positions. A chunk
therefore equals the same ground of any other chunking, and of a crop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.coregistration.blocks import usable
from tamrf_xr.coregistration.moving import moved, moved_mask, reach
from tamrf_xr.panchromatic import AXES, NAME, RATIO
from tamrf_xr.sensors import FINE_GSD

Array = NDArray[Any]

LEAST_PX = 0.05
"""Acquisitions of which no block lies further off, in pixels of the sensor, stay as they are."""

CHUNK = 180
"""10 m pixels across a chunk of what comes without chunks: chunks of a store, and whole series."""


@dataclass(frozen=True, slots=True)
class Shifts:
    """What acquisitions of one sensor are corrected by."""

    y: Array
    """Northings of the centres of blocks, falling."""

    x: Array
    """Eastings of the centres of blocks, rising."""

    metres: Array
    """``(time, 2, block_y, block_x)`` down and right; 0 where nothing is to be done."""

    def at(self, time: int, y: Array, x: Array, gsd: float) -> tuple[Array, Array]:
        """Return pixels down and right at coordinates: bilinear, constant beyond the centres."""
        (north, south, below), (west, east, after) = _between(-self.y, -y), _between(self.x, x)
        below = below[:, None]
        ends = []
        for axis in self.metres[time]:
            # Term by term, so that it is the same to the last bit however many blocks are here.
            upper = axis[north][:, west] * (1 - after) + axis[north][:, east] * after
            lower = axis[south][:, west] * (1 - after) + axis[south][:, east] * after
            ends.append((upper * (1 - below) + lower * below) / gsd)
        return ends[0], ends[1]

    def around(self, y: Array, x: Array) -> Shifts:
        """Return the part that coordinates within these need."""
        rows, columns = _around(-self.y, -y), _around(self.x, x)
        return Shifts(self.y[rows], self.x[columns], self.metres[..., rows, columns])


def _between(centres: Array, at: Array) -> tuple[Array, Array, Array]:
    """Return the centres (rising) before and after coordinates, and how far between they lie."""
    after = np.clip(np.searchsorted(centres, at), 0, len(centres) - 1)
    before = np.maximum(after - 1, 0)
    apart = np.where(after > before, centres[after] - centres[before], 1.0)
    return before, after, np.clip((at - centres[before]) / apart, 0.0, 1.0)


def _around(centres: Array, at: Array) -> slice:
    before, after, _ = _between(centres, at)
    return slice(int(before.min()), int(after.max()) + 1)


def shifts_of(table: xr.Dataset, gsd: float) -> Shifts:
    """Return what a table says is to be corrected: blocks not trusted take the overall shift."""
    found = []
    for name, sign in (("dy", -1.0), ("dx", 1.0)):
        overall = table[f"overall_{name}"].fillna(0.0)
        metres = sign * table[name].where(table["trusted"], overall)
        found.append(metres.transpose("time", "block_y", "block_x").values)
    both = np.stack(found, axis=1)
    both[np.abs(both).max(axis=(1, 2, 3)) < LEAST_PX * gsd] = 0.0
    return Shifts(table["block_y"].values, table["block_x"].values, both)


def corrected(group: xr.Dataset, shifts: Shifts) -> xr.Dataset:
    """Correct every image of a group, lazily."""
    arrays = {
        str(name): array.copy(data=_corrected(str(name), group, shifts))
        for name, array in group.data_vars.items()
        if {"time", "y"} <= set(array.dims) or name == NAME
    }
    return group.assign(arrays)


def _corrected(name: str, group: xr.Dataset, shifts: Shifts) -> Any:
    """Correct one variable."""
    y, x = AXES.values() if name == NAME else ("y", "x")
    images = _lazy(group[name])
    valid = _lazy(usable(group["valid"])) if "valid" in group else None
    if valid is not None and name == NAME:
        valid = valid.repeat(RATIO, axis=1).repeat(RATIO, axis=2)
    if valid is not None:
        valid = valid.rechunk({0: images.chunks[0]})
        valid = valid[:, None] if images.ndim == 4 else valid
    place = Place(group[y].values, group[x].values, shifts)
    return da.block([list(row) for row in _chunks(images, valid, place)])


def _lazy(array: xr.DataArray) -> Any:
    if array.chunks is not None:
        return array.data
    y, x = array.dims[-2:]
    gsd = abs(float(array[x][1] - array[x][0]))
    across = max(round(CHUNK * FINE_GSD / gsd), 1)
    return array.chunk({**dict.fromkeys(array.dims, -1), y: across, x: across}).data


@dataclass(frozen=True, slots=True)
class Place:
    """Where a window of an image lies, and what it is corrected by."""

    y: Array
    x: Array
    shifts: Shifts

    @property
    def gsd(self) -> float:
        """Pixel size."""
        return float(abs(self.x[-1] - self.x[0]) / (len(self.x) - 1))

    def window(self, rows: slice, columns: slice) -> Place:
        """Return a part."""
        y, x = self.y[rows], self.x[columns]
        return Place(y, x, self.shifts.around(y, x))


def _chunks(images: Any, valid: Any, place: Place) -> Iterator[Iterator[Any]]:
    margin = reach(float(np.abs(place.shifts.metres).max(initial=0)) / place.gsd)

    def one(rows: slice, columns: slice) -> Any:
        wide = [
            _widened(part, margin, size)
            for part, size in ((rows, len(place.y)), (columns, len(place.x)))
        ]
        core = tuple(
            slice(part.start - outer.start, part.stop - outer.start)
            for part, outer in zip((rows, columns), wide, strict=True)
        )
        given = [_window(array, wide) for array in (images, valid) if array is not None]
        sizes = (rows.stop - rows.start,), (columns.stop - columns.start,)
        return da.map_blocks(
            _correct_chunk,
            *given,
            place=place.window(*wide),
            core=core,
            dtype=images.dtype,
            chunks=(*given[0].chunks[:-2], *sizes),
            meta=np.empty((0,) * images.ndim, images.dtype),
        )

    return ((one(r, c) for c in _slices(images.chunks[-1])) for r in _slices(images.chunks[-2]))


def _window(array: Any, wide: list[slice]) -> Any:
    return array[..., wide[0], wide[1]].rechunk({array.ndim - 2: -1, array.ndim - 1: -1})


def _widened(part: slice, margin: int, size: int) -> slice:
    return slice(max(part.start - margin, 0), min(part.stop + margin, size))


def _slices(sizes: tuple[int, ...]) -> list[slice]:
    ends = np.cumsum((0, *sizes)).tolist()
    return [slice(*pair) for pair in pairwise(ends)]


def _correct_chunk(
    images: Array,
    valid: Array | None = None,
    *,
    place: Place,
    core: tuple[slice, slice],
    block_info: Any = None,
) -> Array:
    """Correct a window, and cut it to the chunk that it is for."""
    first = block_info[0]["array-location"][0][0] if block_info else 0
    out = images[..., core[0], core[1]].copy()
    for time in range(len(images)):
        if place.shifts.metres[first + time].any():
            by = place.shifts.at(first + time, place.y, place.x, place.gsd)
            usable = None if valid is None else valid[time]
            out[time] = _correct(images[time], usable, by)[..., core[0], core[1]]
    return out


def _correct(image: Array, valid: Array | None, by: tuple[Array, Array]) -> Array:
    """Move an image. What is valid is made of what is valid, so that no cloud leaks into it."""
    if image.dtype == bool:
        return moved_mask(image, by)
    there = np.isfinite(image)
    everything = moved(image, there, by)
    if valid is None:
        return everything
    clean = moved(image, there & valid, by)
    return np.where(np.isfinite(clean), clean, everything)

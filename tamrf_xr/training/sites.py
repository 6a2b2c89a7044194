"""Where samples are drawn from: squares of cubes in slices of time, and what is left out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tamrf_xr.cube import Grid, fine_grid, groups_of
from tamrf_xr.dates import default_origin
from tamrf_xr.days import count_days
from tamrf_xr.errors import CubeError
from tamrf_xr.fusion import bands_of
from tamrf_xr.sensors import LANDSAT, SENSORS
from tamrf_xr.training.config import COARSE_M, DataConfig
from tamrf_xr.training.leaving import LeftOut, parse_all

_SHARES = 10_000  # that a hash of where a site lies is cut into

Days = npt.NDArray[np.int64]
Corner = tuple[int, int]
"""First row and column, in pixels of the coarse grid."""


@dataclass(frozen=True, slots=True)
class _Slice:
    """The days of one cube that a sample may draw from."""

    cube: int
    """Position of the cube."""

    days: Mapping[str, Days]
    """Per sensor, days from the origin, in order."""

    positions: Mapping[str, tuple[tuple[int, ...], ...]]
    """Per sensor and day, positions of its acquisitions in the cube."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a patch pair is cut from."""

    part: _Slice
    """Cube and days."""

    corner: Corner
    """Of the square."""


def sites_of(cubes: Sequence[xr.DataTree], data: DataConfig) -> tuple[list[Site], list[Site]]:
    """List the sites of cubes: those to train on, and those kept for validation.

    Parameters
    ----------
    cubes
        Valid cubes, of both sensors or of one.
    data
        Size of a patch, length of a slice, share of validation.

    Returns
    -------
    tuple of list
        Training and validation, which share no pixel of a cube. Which is which depends on where
        the site lies alone, so that it stays as it is when cubes are added. Where nothing is kept,
        the last site serves both.

    Raises
    ------
    CubeError
        If no cube has a patch, or masks or bands are missing.
    OptionError
        If `data.leave_out` cannot be read.
    """
    left_out = parse_all(data.leave_out)
    edge, stride = data.patch_m // COARSE_M, (data.stride_m or data.patch_m) // COARSE_M
    train: list[Site] = []
    kept: list[Site] = []
    for number, cube in enumerate(cubes):
        check_trainable(cube, number)
        grid = fine_grid(cube)
        places = [one for one in left_out if one.bounds and not one.span]
        held = [c for c in _corners(grid, edge, edge) if _is_kept(grid, c, data)]
        free = [c for c in _corners(grid, edge, stride) if _is_apart(c, held, edge)]
        held, free = (
            [
                c
                for c in some
                if not any(p.touches(_bounds(grid, c, edge), grid.crs) for p in places)
            ]
            for some in (held, free)
        )
        dates = [one for one in left_out if one.span and one.touches(grid.bounds, grid.crs)]
        for part in _slices(number, cube, data, dates):
            kept += [Site(part, corner) for corner in held]
            train += [Site(part, corner) for corner in free]
    if not train:
        raise CubeError(
            f"no patch of {data.patch_m} m that has {data.min_dates} dates of each sensor within "
            f"{data.slice_days} days in {len(cubes)} cube(s); give larger or longer cubes, or "
            f"train with a lower data.patch_m or data.min_dates"
            + (", or leave less out (data.leave_out)" if left_out else "")
        )
    return train, kept or train[-1:]


def check_trainable(cube: xr.DataTree, number: int) -> None:
    """Refuse a cube that lacks bands or masks, by its number."""
    groups = groups_of(cube)
    for name, bands in bands_of(cube).items():
        if missing := [band.name for band in SENSORS[name].all_bands if band.name not in bands]:
            raise CubeError(
                f"/{name} of cube {number} lacks {', '.join(missing)}: training needs every band; "
                f"add what is missing, or drop /{name}"
            )
        if "valid" not in groups[name]:
            raise CubeError(
                f"/{name} of cube {number} has no 'valid': the losses need masks of clouds; "
                "give as_cube a mask"
            )


def _corners(grid: Grid, edge: int, stride: int) -> list[Corner]:
    rows, cols = (max(s // LANDSAT.ratio - edge + stride, 0) // stride for s in grid.shape)
    return [(row * stride, col * stride) for row in range(rows) for col in range(cols)]


def _is_kept(grid: Grid, corner: Corner, data: DataConfig) -> bool:
    left, _, _, top = grid.bounds
    row, col = corner
    name = f"{left + COARSE_M * col:.0f} {top - COARSE_M * row:.0f}"
    return zlib.crc32(name.encode()) % _SHARES < _SHARES * data.validation_share


def _bounds(grid: Grid, corner: Corner, edge: int) -> tuple[float, float, float, float]:
    """Return west, south, east, north of a square, in metres."""
    left, _, _, top = grid.bounds
    row, col = corner
    return (
        left + COARSE_M * col,
        top - COARSE_M * (row + edge),
        left + COARSE_M * (col + edge),
        top - COARSE_M * row,
    )


def _is_apart(corner: Corner, others: list[Corner], edge: int) -> bool:
    row, col = corner
    return all(max(abs(row - y), abs(col - x)) >= edge for y, x in others)


def _slices(
    number: int, cube: xr.DataTree, data: DataConfig, left_out: Sequence[LeftOut]
) -> Iterator[_Slice]:
    groups = groups_of(cube).items()
    times = count_days({name: pd.DatetimeIndex(group["time"].values) for name, group in groups})
    every = _union(times)
    length = pd.Timedelta(data.slice_days, "D")
    starts = list(pd.date_range(every[0], every[-1], freq=length))
    # The last slice reaches back until it is full: no date is left over.
    starts[-1] = max(every[0], every[-1] - length + pd.Timedelta(1, "D"))
    for start in starts:
        days = {
            name: index[(index >= start) & (index < start + length)].unique().sort_values()
            for name, index in times.items()
        }
        for one in left_out:
            days = {name: one.without(index) for name, index in days.items()}
        if min(map(len, days.values())) < data.min_dates:
            continue
        origin = default_origin(_union(days))
        yield _Slice(
            number,
            {n: np.asarray((index - origin).days, np.int64) for n, index in days.items()},
            {
                n: tuple(tuple(np.flatnonzero(times[n] == day).tolist()) for day in index)
                for n, index in days.items()
            },
        )


def _union(times: Mapping[str, pd.DatetimeIndex]) -> pd.DatetimeIndex:
    every = pd.DatetimeIndex(np.concatenate([index.values for index in times.values()]))
    return every.unique().sort_values()


def shares_of(
    sites: Sequence[Site], mix: Sequence[float], kinds: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Return how often each site is drawn: a kind as often as its weight says, its sites alike.

    Raises
    ------
    CubeError
        If a kind that has a weight has no site.
    """
    own = np.array([kinds[site.part.cube] for site in sites])
    counts = np.bincount(own, minlength=len(mix))
    weights = np.asarray(mix, float)
    if empty := np.flatnonzero((counts == 0) & (weights > 0)).tolist():
        raise CubeError(
            f"no patch in the cubes number {', '.join(map(str, empty))} of data.cubes, which "
            "data.mix gives a weight: give larger or longer ones, or a weight of 0"
        )
    each: npt.NDArray[np.float64] = weights[own] / counts[own] / weights.sum()
    return each

"""Patch pairs drawn straight from cubes: sample number i is the same whoever reads it, whenever.

A *place* is a square of one cube in one slice of time. A sample draws a place, some dates of both
sensors in proportion to what each has, and which of them are held back, all from (seed, number).
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from torch.utils.data import Dataset

from tamrf_xr import holdout, panchromatic
from tamrf_xr.cube import Grid, fine_grid, groups_of
from tamrf_xr.dates import default_origin
from tamrf_xr.days import count_days
from tamrf_xr.errors import CubeError
from tamrf_xr.fuser import Series
from tamrf_xr.fusion import bands_of
from tamrf_xr.scale.reading import SensorSource, source_of
from tamrf_xr.sensors import SENSORS
from tamrf_xr.tiles import Window
from tamrf_xr.training.config import DataConfig, Strategies

RANDOM = "RANDOM"


@dataclass(frozen=True, slots=True)
class Observed:
    """What one sensor saw of a patch."""

    series: Series
    """``(time, band, y, x)`` on the sensor's own grid, int16 as stored where a store was read."""

    days: npt.NDArray[np.int64]
    """``(time,)``: days from the origin of the slice."""

    given: npt.NDArray[np.bool_]
    """``(time,)``: False where the date is held back."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One patch pair."""

    number: int
    """Of the sample, in its run."""

    observed: Mapping[str, Observed]
    """Per sensor that the cube has."""

    strategy: str
    """How dates were held back."""


@dataclass(frozen=True, slots=True)
class _Slice:
    """The days of one cube that a sample may draw from."""

    cube: int
    """Position of the cube."""

    days: Mapping[str, npt.NDArray[np.int64]]
    """Per sensor, days from the origin, in order."""

    positions: Mapping[str, tuple[tuple[int, ...], ...]]
    """Per sensor and day, positions of its acquisitions in the cube."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a patch is cut from."""

    part: _Slice
    """Cube and days."""

    corner: tuple[int, int]
    """First row and column, in pixels of 30 m."""


def places_of(cubes: Sequence[xr.DataTree], data: DataConfig) -> tuple[list[Place], list[Place]]:
    """List the patches of cubes: those to train on, and those kept for validation.

    Parameters
    ----------
    cubes
        Valid cubes, of both sensors or of one.
    data
        Size of a patch, length of a slice, share of validation.

    Returns
    -------
    tuple of list
        Training and validation, which share no pixel of a cube. Which is which depends on the
        place alone, so that it stays as it is when cubes are added. Where nothing is kept, the
        last place serves both.

    Raises
    ------
    CubeError
        If no cube has a patch, or masks or bands are missing.
    """
    edge, stride = data.patch_m // 30, (data.stride_m or data.patch_m) // 30
    train: list[Place] = []
    kept: list[Place] = []
    for number, cube in enumerate(cubes):
        check_trainable(cube, number)
        grid = fine_grid(cube)
        held = [c for c in _corners(grid, edge, edge) if _is_kept(grid, c, data)]
        free = [c for c in _corners(grid, edge, stride) if _is_apart(c, held, edge)]
        for part in _slices(number, cube, data):
            kept += [Place(part, corner) for corner in held]
            train += [Place(part, corner) for corner in free]
    if not train:
        raise CubeError(
            f"no patch of {data.patch_m} m that has {data.min_dates} dates of each sensor within "
            f"{data.slice_days} days in {len(cubes)} cube(s); give larger or longer cubes, or "
            f"train with a lower data.patch_m or data.min_dates"
        )
    return train, kept or train[-1:]


def _corners(grid: Grid, edge: int, stride: int) -> list[tuple[int, int]]:
    rows, cols = (max(size // 3 - edge + stride, 0) // stride for size in grid.shape)
    return [(row * stride, col * stride) for row in range(rows) for col in range(cols)]


def _is_apart(corner: tuple[int, int], others: list[tuple[int, int]], edge: int) -> bool:
    row, col = corner
    return all(max(abs(row - y), abs(col - x)) >= edge for y, x in others)


def check_trainable(cube: xr.DataTree, number: int) -> None:
    """Check that a cube has what training takes.

    Raises
    ------
    CubeError
        If masks or bands are missing; `number` tells which cube.
    """
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


def _slices(number: int, cube: xr.DataTree, data: DataConfig) -> Iterator[_Slice]:
    groups = groups_of(cube).items()
    times = count_days({name: pd.DatetimeIndex(group["time"].values) for name, group in groups})
    every = pd.DatetimeIndex(np.concatenate([index.values for index in times.values()]))
    length = pd.Timedelta(data.slice_days, "D")
    starts = list(pd.date_range(every.min(), every.max(), freq=length))
    # The last slice reaches back until it is full: no date is left over.
    starts[-1] = max(every.min(), every.max() - length + pd.Timedelta(1, "D"))
    for start in starts:
        stop = start + length
        inside = {n: index[(index >= start) & (index < stop)] for n, index in times.items()}
        if min(index.nunique() for index in inside.values()) < data.min_dates:
            continue
        union = pd.DatetimeIndex(np.concatenate([index.values for index in inside.values()]))
        origin = default_origin(union.unique().sort_values())
        unique = {name: index.unique().sort_values() for name, index in inside.items()}
        yield _Slice(
            number,
            {n: np.asarray((index - origin).days, np.int64) for n, index in unique.items()},
            {
                n: tuple(tuple(np.flatnonzero(times[n] == day).tolist()) for day in index)
                for n, index in unique.items()
            },
        )


def _is_kept(grid: Grid, corner: tuple[int, int], data: DataConfig) -> bool:
    left, _, _, top = grid.bounds
    row, col = corner
    name = f"{left + 30 * col:.0f} {top - 30 * row:.0f}"
    return zlib.crc32(name.encode()) % 10_000 < 10_000 * data.validation_share


class Patches(Dataset[Sample]):
    """Samples of cubes, by number: ``patches[i]`` reads the chunks that it needs, no more.

    Parameters
    ----------
    cubes
        Cubes as `tamrf_xr.open_cube` gives them.
    places
        From `places_of`.
    data
        How dates are drawn.
    strategies
        How they are held back.
    seed
        Of all draws.
    count
        Samples of the run.
    """

    def __init__(
        self,
        cubes: Sequence[xr.DataTree],
        places: Sequence[Place],
        data: DataConfig,
        *,
        strategies: Strategies = "all",
        seed: int = 0,
        count: int = 1,
    ) -> None:
        self._places, self._data, self._strategies = places, data, strategies
        self._seed, self._count = seed, count
        self._sources = [
            {
                name: source_of(name, group.drop_vars(panchromatic.NAME, errors="ignore"))
                for name, group in groups_of(cube).items()
            }
            for cube in cubes
        ]

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._count

    def __getitem__(self, number: int) -> Sample:
        """Read a sample."""
        rng = np.random.default_rng((self._seed, number))
        place = self._places[int(rng.integers(len(self._places)))]
        drawn = draw_dates(place.part.days, self._data.dates, rng)
        days = {name: place.part.days[name][chosen] for name, chosen in drawn.items()}
        strategy, given = hold_back(days, self._strategies, rng)
        shift = int(rng.integers(-self._data.shift_days, self._data.shift_days, endpoint=True))
        turns = int(rng.integers(8)) if self._data.turn else 0
        return Sample(
            number,
            {
                name: Observed(
                    _turned(self._read(place, name, chosen), turns), days[name] + shift, given[name]
                )
                for name, chosen in drawn.items()
            },
            strategy,
        )

    def _read(self, place: Place, sensor: str, chosen: npt.NDArray[np.int64]) -> Series:
        ratio = 3 // SENSORS[sensor].ratio
        edge = self._data.patch_m // 30 * ratio
        y, x = (start * ratio for start in place.corner)
        source: SensorSource = self._sources[place.part.cube][sensor]
        days = [place.part.positions[sensor][index] for index in chosen]
        return source.series(Window(slice(y, y + edge), slice(x, x + edge)), days, packed=True)


def _turned(series: Series, turns: int) -> Series:
    """Return images in one of the eight ways that a square can lie; 0: as they are."""

    def turned(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
        found = np.rot90(images, turns % 4, axes=(-2, -1))
        return np.ascontiguousarray(found[..., ::-1] if turns >= 4 else found)

    return replace(series, pixels=turned(series.pixels), valid=turned(series.valid))


def draw_dates(
    days: Mapping[str, npt.NDArray[np.int64]], most: int, rng: np.random.Generator
) -> dict[str, npt.NDArray[np.int64]]:
    """Draw at most `most` dates, shared between sensors in proportion to what each has.

    Returns
    -------
    dict
        Per sensor, positions in `days`, in order; at least one.
    """
    total = sum(map(len, days.values()))
    share = min(1.0, most / total)
    return {
        name: np.sort(rng.choice(len(own), max(1, round(share * len(own))), replace=False))
        for name, own in days.items()
    }


def hold_back(
    days: Mapping[str, npt.NDArray[np.int64]], strategies: Strategies, rng: np.random.Generator
) -> tuple[str, dict[str, npt.NDArray[np.bool_]]]:
    """Draw which dates are given; again where none would be.

    Returns
    -------
    tuple
        Name of the strategy; per sensor, True where a date is given.
    """
    by_sensor = holdout.BySensor(**{name: tuple(own.tolist()) for name, own in days.items()})
    for _ in range(100):
        name, parameters = holdout.draw(rng)
        name = name if strategies == "all" else RANDOM
        split = holdout.split(name, by_sensor, parameters=parameters, rng=rng)
        given = {}
        for sensor, own in days.items():
            given[sensor] = np.zeros(len(own), bool)
            given[sensor][list(getattr(split.given, sensor))] = True
        if any(kept.any() for kept in given.values()):
            return name, given
    raise CubeError(f"no strategy leaves a date of {days}; raise data.dates or data.min_dates")


def read_ahead(
    patches: Patches, numbers: Iterable[int], *, threads: int
) -> Generator[Sample, None, None]:
    """Give samples in order, read in threads some steps before they are asked for."""
    with ThreadPoolExecutor(max_workers=max(threads, 1), thread_name_prefix="patches") as pool:
        waiting: deque[Future[Sample]] = deque()
        try:
            for number in numbers:
                waiting.append(pool.submit(patches.__getitem__, number))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

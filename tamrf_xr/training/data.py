"""Patches drawn straight from cubes: sample number i is the same whoever reads it, whenever.

A *site* is a square of one cube in one slice of time. A sample draws a site, some dates of both
sensors in proportion to what each has, and which of them are held back, all from (seed, number).

Shapes: T dates, B bands, y x pixels of the sensor's own grid.
"""

from __future__ import annotations

import signal
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import xarray as xr
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tamrf_xr import holdout, panchromatic
from tamrf_xr.cube import Grid, fine_grid, groups_of
from tamrf_xr.dates import default_origin
from tamrf_xr.days import count_days
from tamrf_xr.errors import CubeError
from tamrf_xr.fuser import Packing, Series
from tamrf_xr.fusion import bands_of
from tamrf_xr.model.device import upload
from tamrf_xr.scale.reading import source_of
from tamrf_xr.sensors import LANDSAT, SENSORS
from tamrf_xr.tiles import Window
from tamrf_xr.training.config import COARSE_M, DataConfig, Strategies
from tamrf_xr.training.together import ALONE, Alone

_SHARES = 10_000  # that a hash of where a site lies is cut into
_DRAWS = 100  # of strategies, at most, until one leaves a date

Days = npt.NDArray[np.int64]
Corner = tuple[int, int]
"""First row and column, in pixels of the coarse grid."""


@dataclass(frozen=True, slots=True)
class Patch:
    """What one sensor saw of one square, or of the squares of several samples, one after the other.

    What says what to compute is on the CPU, so that no device has to be asked then.
    """

    pixels: Tensor
    """(T, B, y, x): as read, int16 where a store was read; once standardised, float32 with NaN
    where nothing was seen."""

    valid: Tensor
    """(T, y, x), bool: True where the pixel is usable."""

    days: Tensor
    """(T,), float32, on the CPU: days from the origin of the slice."""

    given: Tensor
    """(T,), bool, on the CPU: True where the date is an input, False where it is held back."""

    packing: Packing | None = None
    """How integers stand for physical values."""

    clear: Tensor | None = None
    """(T,), on the CPU: usable pixels inside the margin of the losses, where they were counted."""

    dates: Alone = ALONE
    """Which dates are whose."""

    def at(self, dates: Tensor) -> Patch:
        """Return some dates, by their indices on the CPU."""
        there = upload(dates, self.pixels.device)
        return replace(
            self,
            pixels=self.pixels[there],
            valid=self.valid[there],
            days=self.days[dates],
            given=self.given[dates],
            clear=None if self.clear is None else self.clear[dates],
            dates=self.dates.at(dates),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One patch pair."""

    number: int
    """Of the sample, in its run."""

    patches: Mapping[str, Patch]
    """Per sensor that the cube has."""

    strategy: str
    """How dates were held back."""

    turns: int = 0
    """Which of the eight ways that a square can lie it is to be learnt in; 0: as it is."""


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
    """
    edge, stride = data.patch_m // COARSE_M, (data.stride_m or data.patch_m) // COARSE_M
    train: list[Site] = []
    kept: list[Site] = []
    for number, cube in enumerate(cubes):
        check_trainable(cube, number)
        grid = fine_grid(cube)
        held = [c for c in _corners(grid, edge, edge) if _is_kept(grid, c, data)]
        free = [c for c in _corners(grid, edge, stride) if _is_apart(c, held, edge)]
        for part in _slices(number, cube, data):
            kept += [Site(part, corner) for corner in held]
            train += [Site(part, corner) for corner in free]
    if not train:
        raise CubeError(
            f"no patch of {data.patch_m} m that has {data.min_dates} dates of each sensor within "
            f"{data.slice_days} days in {len(cubes)} cube(s); give larger or longer cubes, or "
            f"train with a lower data.patch_m or data.min_dates"
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


def _is_apart(corner: Corner, others: list[Corner], edge: int) -> bool:
    row, col = corner
    return all(max(abs(row - y), abs(col - x)) >= edge for y, x in others)


def _slices(number: int, cube: xr.DataTree, data: DataConfig) -> Iterator[_Slice]:
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


class Patches(Dataset[Sample]):
    """Samples of cubes, by number: ``patches[i]`` reads the chunks that it needs, no more.

    Parameters
    ----------
    cubes
        Cubes as `tamrf_xr.open_cube` gives them.
    sites
        From `sites_of`.
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
        sites: Sequence[Site],
        data: DataConfig,
        *,
        strategies: Strategies = "all",
        seed: int = 0,
        count: int = 1,
    ) -> None:
        self._sites, self._data, self._strategies = sites, data, strategies
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
        site = self._sites[int(rng.integers(len(self._sites)))]
        drawn = draw_dates(site.part.days, self._data.dates, rng)
        days = {name: site.part.days[name][chosen] for name, chosen in drawn.items()}
        strategy, given = hold_back(days, self._strategies, rng)
        shift = int(rng.integers(-self._data.shift_days, self._data.shift_days, endpoint=True))
        turns = int(rng.integers(8)) if self._data.turn else 0
        patches = {}
        for name, chosen in drawn.items():
            series = self._read(site, name, chosen)
            patches[name] = Patch(
                torch.from_numpy(series.pixels),
                torch.from_numpy(series.valid & ~_missing(series).any(axis=1)),
                torch.from_numpy(days[name] + shift).float(),
                torch.from_numpy(given[name]),
                series.packing,
            )
        return Sample(number, patches, strategy, turns)

    def _read(self, site: Site, sensor: str, chosen: Days) -> Series:
        ratio = LANDSAT.ratio // SENSORS[sensor].ratio
        edge = self._data.patch_m // COARSE_M * ratio
        y, x = (start * ratio for start in site.corner)
        window = Window(slice(y, y + edge), slice(x, x + edge))
        days = [site.part.positions[sensor][index] for index in chosen]
        return self._sources[site.part.cube][sensor].series(window, days, packed=True)


def _missing(series: Series) -> npt.NDArray[np.bool_]:
    """Tell where a band was not seen."""
    if series.packing is None:
        return ~np.isfinite(series.pixels)
    return np.equal(series.pixels, series.packing.fill)


def draw_dates(days: Mapping[str, Days], most: int, rng: np.random.Generator) -> dict[str, Days]:
    """Draw at most `most` dates, shared between sensors in proportion to what each has.

    Returns
    -------
    dict
        Per sensor, positions in `days`, in order; at least one.
    """
    share = min(1.0, most / sum(map(len, days.values())))
    return {
        name: np.sort(rng.choice(len(own), max(1, round(share * len(own))), replace=False))
        for name, own in days.items()
    }


def hold_back(
    days: Mapping[str, Days], strategies: Strategies, rng: np.random.Generator
) -> tuple[str, dict[str, npt.NDArray[np.bool_]]]:
    """Draw which dates are given; again where none would be.

    Returns
    -------
    tuple
        Name of the strategy; per sensor, True where a date is given.
    """
    by_sensor = holdout.BySensor(**{name: tuple(own.tolist()) for name, own in days.items()})
    for _ in range(_DRAWS):
        name, parameters = holdout.draw(rng)
        name = name if strategies == "all" else "RANDOM"
        kept = holdout.split(name, by_sensor, parameters=parameters, rng=rng).given
        given = {
            sensor: np.isin(np.arange(len(own)), getattr(kept, sensor))
            for sensor, own in days.items()
        }
        if any(own.any() for own in given.values()):
            return name, given
    raise CubeError(f"no strategy leaves a date of {days}; raise data.dates or data.min_dates")


def read_ahead(
    patches: Patches, numbers: Iterable[int], *, threads: int, processes: int = 0
) -> Generator[Sample, None, None]:
    """Give samples in order, read in threads or processes some steps before they are asked for."""
    if processes:
        yield from _from_processes(patches, numbers, processes)
        return
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="patches") as pool:
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


def _from_processes(patches: Patches, numbers: Iterable[int], count: int) -> Iterator[Sample]:
    return iter(
        DataLoader(
            patches,
            sampler=numbers,
            batch_size=None,
            num_workers=count,
            multiprocessing_context="spawn",  # decoders have threads, which a fork does not survive
            worker_init_fn=_leave_signals,
            prefetch_factor=4,
        )
    )


def _leave_signals(number: int) -> None:
    """Let only the process that trains hear the signals that stop a run, which all get."""
    del number
    for sign in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(sign, signal.SIG_IGN)

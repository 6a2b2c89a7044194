"""Patches drawn straight from cubes: sample number i is the same whoever reads it, whenever.

A *site* is a square of one cube in one slice of time. A sample draws a site, some dates of both
sensors in proportion to what each has, and which of them are held back, all from (seed, number).

Shapes: T dates, B bands, y x pixels of the sensor's own grid.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tamrf_xr import holdout, panchromatic
from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError
from tamrf_xr.fuser import Packing, Series
from tamrf_xr.model.device import upload
from tamrf_xr.scale.reading import source_of
from tamrf_xr.sensors import LANDSAT, SENSORS
from tamrf_xr.tiles import Window
from tamrf_xr.training.config import COARSE_M, DataConfig, Strategies
from tamrf_xr.training.sites import Days, Site, shares_of
from tamrf_xr.training.together import ALONE, Alone

_DRAWS = 100  # of strategies, at most, until one leaves a date


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
    kinds
        Per cube, which of the weights of `data.mix` is that of its kind; none: all sites alike.
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
        kinds: Sequence[int] = (),
    ) -> None:
        self._reached = shares_of(sites, data.mix, kinds).cumsum() if kinds else None
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
        site = self._sites[self._drawn(rng)]
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

    def _drawn(self, rng: np.random.Generator) -> int:
        if self._reached is None:
            return int(rng.integers(len(self._sites)))
        return int(np.searchsorted(self._reached, rng.random(), side="right"))

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

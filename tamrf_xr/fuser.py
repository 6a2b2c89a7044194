"""What every fusion method is to the rest of the package: arrays of one tile in, arrays out."""

from __future__ import annotations

import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]
"""``(time, band, y, x)``: reflectance 0..1, temperature in kelvin, NaN where there is no data."""

Mask = npt.NDArray[np.bool_]
"""``(time, y, x)``: True where usable."""

Days = npt.NDArray[np.float64]
"""``(time,)``: days since an origin."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How the integers of a store stand for physical values, in float32."""

    scale: tuple[float, ...]
    """Physical units per stored unit, of each band."""

    fill: int
    """Stands for no data."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What one sensor saw at one time."""

    pixels: Pixels
    """``(band, y, x)``."""

    valid: Mask
    """``(y, x)``: False under clouds, shadows and where there is no data."""

    bands: tuple[str, ...]
    """Names of the bands."""

    panchromatic: Pixels | None = None
    """``(y, x)``, two pixels across one of `pixels`; see `Series.panchromatic`."""

    @property
    def known(self) -> Mask:
        """``(y, x)``: True where valid, and every band is there."""
        return np.asarray(self.valid & np.isfinite(self.pixels).all(axis=0))

    def select(self, bands: Sequence[str]) -> Scene:
        """Return the scene with these bands alone; see `Series.select`."""
        if tuple(bands) == self.bands:
            return self
        return replace(self, pixels=self.pixels[places(self.bands, bands)], bands=tuple(bands))


@dataclass(frozen=True, slots=True)
class Series:
    """What one sensor saw of one tile, halo included, on the sensor's own grid."""

    pixels: Pixels
    """``(time, band, y, x)``."""

    valid: Mask
    """``(time, y, x)``: False under clouds, shadows and where there is no data."""

    bands: tuple[str, ...]
    """Names of the bands; what a tile reads has them in the order of the sensor table."""

    packing: Packing | None = None
    """Set where `pixels` are int16 as stored, which only a method that is `FuserSpec.packed`
    gets to see."""

    panchromatic: Pixels | None = None
    """``(time, y, x)``, two pixels across one of `pixels`; None where there is none, or where
    the method is not `FuserSpec.panchromatic`."""

    def at(self, positions: Sequence[int]) -> Series:
        """Return the acquisitions at `positions`; arrays may be views of this one's."""
        index = as_slice(positions)
        sharp = None if self.panchromatic is None else self.panchromatic[index]
        return replace(self, pixels=self.pixels[index], valid=self.valid[index], panchromatic=sharp)

    def scene(self, position: int) -> Scene:
        """Return one acquisition: views."""
        sharp = None if self.panchromatic is None else self.panchromatic[position]
        return Scene(self.pixels[position], self.valid[position], self.bands, sharp)

    def select(self, bands: Sequence[str]) -> Series:
        """Return the series with these bands alone, in this order.

        Nothing is copied where they are all its bands, or follow one another in it.
        """
        if tuple(bands) == self.bands:
            return self
        pixels = self.pixels[:, places(self.bands, bands)]
        return replace(self, pixels=pixels, bands=tuple(bands))


def as_slice(positions: Sequence[int]) -> Any:
    """Return positions that follow one another as a slice, which makes views; others as a list."""
    listed = list(positions)
    if listed and listed == list(range(listed[0], listed[-1] + 1)):
        return slice(listed[0], listed[-1] + 1)
    return listed


def places(held: Sequence[str], asked: Sequence[str]) -> Any:
    """Return where bands lie among those held, as an index of an array: see `as_slice`."""
    return as_slice([held.index(band) for band in asked])


@dataclass(frozen=True, slots=True)
class Episode:
    """One stretch of time fused in one go: which acquisitions are seen, which dates are asked."""

    seen: Mapping[str, tuple[int, ...]]
    """Positions of the acquisitions, per sensor."""

    days: Mapping[str, tuple[float, ...]]
    """Their days since the episode's origin, per sensor."""

    queries: tuple[int, ...]
    """Positions of the query dates that this episode answers."""

    query_days: tuple[float, ...]
    """Their days since the episode's origin."""

    origin: int = 0
    """Days from 1970-01-01 to that origin: for methods that know the season."""


@dataclass(frozen=True, slots=True)
class Crop:
    """Where the pixels to make lie inside the arrays of a tile."""

    y: slice
    """Rows of the core, in fine pixels from the first fine row that the tile covers."""

    x: slice
    """Columns of the core, likewise."""

    offset: Mapping[str, tuple[int, int]]
    """Per sensor: fine pixels (y, x) from that same corner to the corner of the sensor's array."""

    origin: tuple[int, int] = (0, 0)
    """Fine pixels (y, x) from the corner of the scene to that same corner: what lets a network
    that halves its grid do so at the same places whatever the tile."""

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels to make, down and across."""
        return self.y.stop - self.y.start, self.x.stop - self.x.start

    def corner(self, sensor: str) -> tuple[int, int]:
        """Return the corner of a sensor's array, in fine pixels (y, x) from that of the scene."""
        y, x = self.offset[sensor]
        return self.origin[0] + y, self.origin[1] + x

    def within(self, sensor: str, *, margin: int = 0) -> tuple[slice, slice]:
        """Return the core grown by `margin`, in fine pixels from the corner of a sensor's array.

        Slices may leave the array: the caller clips them at the borders of the image.
        """
        y, x = self.offset[sensor]
        return (
            slice(self.y.start - y - margin, self.y.stop - y + margin),
            slice(self.x.start - x - margin, self.x.stop - x + margin),
        )


DEVIATIONS = "{sensor}/std"
"""What a fuser calls the standard deviations of the errors of a sensor's bands."""


class Fuser(Protocol):
    """A method at work: knows no file, no dask, no xarray. Built by a `FuserSpec`."""

    def __call__(
        self, series: Mapping[str, Series], episodes: Sequence[Episode], crop: Crop
    ) -> dict[str, Pixels]:
        """Predict the bands of `FuserSpec.makes` at every query date.

        Parameters
        ----------
        series
            Per sensor, what it saw of the tile. Never modified.
        episodes
            Together they ask for every query date once.
        crop
            The pixels to make.

        Returns
        -------
        dict
            Per sensor, ``(query, band, y, x)`` float32 on the fine grid, of the size of `crop`.
        """
        ...


@runtime_checkable
class Relieving(Protocol):
    """What a `Fuser` may be as well: able to make do with less memory."""

    def relieve(self, error: Exception) -> bool:
        """Tell whether an error was one of memory, and if so work in smaller blocks from now on.

        Raises
        ------
        MemoryBudgetError
            If blocks are as small as makes sense.
        """
        ...


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes that a tile needs while it is computed: what the tile planner reckons with."""

    fixed: float = 0.0
    """Whatever the tile."""

    per_date: Mapping[str, float] = field(default_factory=dict)
    """Per acquisition and fine pixel, per sensor."""

    per_query: float = 0.0
    """Per query date and fine pixel."""

    per_pixel: float = 0.0
    """Per fine pixel that is read, whatever the dates: the widest halo counts in full."""

    def bytes(self, *, pixels: int, widest: int, dates: Mapping[str, int], queries: int) -> float:
        """Estimate the peak of a tile.

        Parameters
        ----------
        pixels
            Fine pixels of the tile, halos counted in pixels of the sensors' own.
        widest
            Fine pixels of the tile with the widest halo, on the ground.
        dates
            Acquisitions, per sensor.
        queries
            Query dates.
        """
        dated = sum(self.per_date.get(sensor, 0.0) * count for sensor, count in dates.items())
        sized = pixels * (dated + self.per_query * queries) + self.per_pixel * widest
        return self.fixed + sized


@dataclass(frozen=True, slots=True)
class FuserSpec:
    """A recipe for a fuser: a few bytes that travel in the graph, picklable and hashable.

    A worker process builds the fuser once (`fuser`), whatever the number of its tiles.
    """

    method: str
    """Name in the registry of methods."""

    factory: str
    """``"module:function"`` that builds the fuser from `options`."""

    makes: tuple[tuple[str, tuple[str, ...]], ...]
    """Per sensor, the bands that come out, in order."""

    halo: tuple[tuple[str, int], ...] = ()
    """Per sensor, pixels of its own grid that must be read around a tile; 0 where not named."""

    options: tuple[tuple[str, Any], ...] = ()
    """Hashable arguments of `factory`."""

    cost: Cost = field(default_factory=Cost, compare=False)
    """Memory that a tile takes."""

    at_once: int = 0
    """Tiles read or computed at one time in a process; 0 for as many as there are threads."""

    computing: int = 0
    """How many of them compute while the others are read; 0 for all. A GPU wants 1."""

    packed: bool = False
    """Give series as stored where a store holds integers; see `Series.packing`."""

    panchromatic: bool = False
    """Read the panchromatic band of Landsat; see `Series.panchromatic`."""

    prepare: str = ""
    """``"module:function"`` that a thread calls with its share of cores before it computes, where
    several processes share a machine; none by default."""

    uses: str = "usable observations alone"
    """Of what a query date sees, what the method takes: told where pixels say where they come
    from."""

    half_widths: tuple[tuple[float, tuple[tuple[str, tuple[float, ...]], ...]], ...] = ()
    """Set where deviations of errors come out too: per share of observations that an interval
    covers, per sensor, half its width in deviations of each band. The fuser gives deviations as it
    gives bands, under `DEVIATIONS`."""

    provenance: tuple[tuple[str, str], ...] = ()
    """What to write in the attributes of a product: weights, their hash, precision."""

    @property
    def bands(self) -> dict[str, tuple[str, ...]]:
        """Bands that come out, per sensor."""
        return dict(self.makes)

    def halo_of(self, sensor: str) -> int:
        """Return the halo of a sensor, in pixels of its own grid."""
        return dict(self.halo).get(sensor, 0)

    def fuser(self) -> Fuser:
        """Return the fuser of this process, built on the first call."""
        with _BUILDING:
            return _build(self)

    def use_cores(self, count: int) -> None:
        """Tell the method's libraries how many cores this thread may use; see `prepare`."""
        if self.prepare and getattr(_PREPARED, "spec", None) != (self.prepare, count):
            _find(self.prepare)(count)
            _PREPARED.spec = (self.prepare, count)


_BUILDING = threading.Lock()
_PREPARED = threading.local()


@lru_cache(maxsize=4)
def _build(spec: FuserSpec) -> Fuser:
    return cast("Fuser", _find(spec.factory)(makes=spec.bands, **dict(spec.options)))


def _find(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    return cast("Callable[..., Any]", getattr(importlib.import_module(module), function))


class EpisodeFuser(ABC):
    """Base of the methods that treat each episode on its own: they write `predict` alone."""

    @abstractmethod
    def predict(
        self, series: Mapping[str, Series], days: Mapping[str, Days], query_days: Days, crop: Crop
    ) -> dict[str, Pixels]:
        """Predict at `query_days` from one stretch of acquisitions; see `Fuser`."""

    def __call__(
        self, series: Mapping[str, Series], episodes: Sequence[Episode], crop: Crop
    ) -> dict[str, Pixels]:
        """Predict episode by episode and put the dates back in the order asked."""
        made = [self._predict(series, episode, crop) for episode in episodes]
        if len(made) == 1 and list(episodes[0].queries) == sorted(episodes[0].queries):
            return made[0]
        order = np.argsort([query for episode in episodes for query in episode.queries])
        return {name: np.concatenate([part[name] for part in made])[order] for name in made[0]}

    def _predict(
        self, series: Mapping[str, Series], episode: Episode, crop: Crop
    ) -> dict[str, Pixels]:
        seen = {name: series[name].at(positions) for name, positions in episode.seen.items()}
        days = {name: np.asarray(values, float) for name, values in episode.days.items()}
        return self.predict(seen, days, np.asarray(episode.query_days), crop)

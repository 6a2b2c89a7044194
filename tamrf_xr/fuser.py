"""What every fusion method is to the rest of the package: arrays of one tile in, arrays out."""

from __future__ import annotations

import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol, cast

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
class Series:
    """What one sensor saw of one tile, halo included, on the sensor's own grid."""

    pixels: Pixels
    """``(time, band, y, x)``: all the sensor's bands in the order of the sensor table."""

    valid: Mask
    """``(time, y, x)``: False under clouds, shadows and where there is no data."""

    packing: Packing | None = None
    """Set where `pixels` are int16 as stored, which only a method that is `FuserSpec.packed`
    gets to see."""

    panchromatic: Pixels | None = None
    """``(time, y, x)``, two pixels across one of `pixels`; None where there is none, or where
    the method is not `FuserSpec.panchromatic`."""

    def at(self, positions: Sequence[int]) -> Series:
        """Return the acquisitions at `positions`; arrays may be views of this one's."""
        index: Any = list(positions)
        if index and index == list(range(index[0], index[-1] + 1)):
            index = slice(index[0], index[-1] + 1)
        sharp = None if self.panchromatic is None else self.panchromatic[index]
        return replace(self, pixels=self.pixels[index], valid=self.valid[index], panchromatic=sharp)


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

    def within(self, sensor: str, *, margin: int = 0) -> tuple[slice, slice]:
        """Return the core grown by `margin`, in fine pixels from the corner of a sensor's array.

        Slices may leave the array: the caller clips them at the borders of the image.
        """
        y, x = self.offset[sensor]
        return (
            slice(self.y.start - y - margin, self.y.stop - y + margin),
            slice(self.x.start - x - margin, self.x.stop - x + margin),
        )


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

    def bytes(self, *, pixels: int, dates: Mapping[str, int], queries: int) -> float:
        """Estimate the peak for a tile of so many fine pixels, halo included."""
        dated = sum(self.per_date.get(sensor, 0.0) * count for sensor, count in dates.items())
        return self.fixed + pixels * (dated + self.per_query * queries)


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

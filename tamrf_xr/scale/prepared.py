"""One job: a cube, a method and query dates, read and checked once. Every door runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import xarray as xr

from tamrf_xr import panchromatic
from tamrf_xr.causal import past_of, plan_causally
from tamrf_xr.cube import groups_of
from tamrf_xr.dates import DateLike, DatePlan, plan_dates, tell_of_counting
from tamrf_xr.days import SAME_DAY
from tamrf_xr.errors import OptionError
from tamrf_xr.fuser import FuserSpec
from tamrf_xr.grid import Grid
from tamrf_xr.iso8601 import Length, read_length
from tamrf_xr.machine import available_memory, usable_cores
from tamrf_xr.scale.layers import Layers, Made
from tamrf_xr.scale.rereads import aligned, tiles_to_try
from tamrf_xr.scale.tilework import FuseJob
from tamrf_xr.schema import finest, grids_of
from tamrf_xr.sensors import SENSORS
from tamrf_xr.tiles import TileGrid, Workload, plan_tile, tile_bytes

TILE_MEMORY = 3 * 2**30
"""Bytes that a tile may take when its size is ours to choose: a laptop's share."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How days are counted and which acquisitions a query date sees; see `plan_dates`."""

    origin: DateLike | None = None
    """Day 0, or None for the default."""

    window: Length | None = "365D"
    """Length of the window, or None for no window."""

    same_day: Length = SAME_DAY
    """How far apart acquisitions of one day may be; see `tamrf_xr.days`."""

    causal: bool = False
    """Whether a query date sees nothing that was acquired after it; see `tamrf_xr.causal`."""

    latency: Length | None = None
    """How long an acquisition takes to arrive, where plans are causal."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if not isinstance(self.causal, bool):
            raise OptionError(f"causal must be True or False, got {self.causal!r:.40}")
        if self.latency is not None:
            if not self.causal:
                raise OptionError(
                    f"latency={self.latency!r:.40} has no meaning without causal=True (--causal): "
                    "add it, or drop latency"
                )
            read_length(self.latency, "latency")

    def plan(self, times: Mapping[str, pd.DatetimeIndex], queries: pd.DatetimeIndex) -> DatePlan:
        """Plan dates; see `plan_dates` and `plan_causally`."""
        tell_of_counting(times, origin=self.origin, window=self.window)
        counting: dict[str, Any] = {
            "origin": self.origin,
            "window": self.window,
            "same_day": self.same_day,
        }
        if self.causal:
            return plan_causally(times, queries, latency=self.latency, **counting)
        return plan_dates(times, queries, **counting)

    def told(self) -> dict[str, str]:
        """Return what the attributes of a product say of it."""
        if not self.causal:
            return {}
        late = f", or arrived after it ({self.latency} later)" if self.latency is not None else ""
        return {"causal": f"no date saw what was acquired after it{late}"}

    def seen_first(
        self, times: Mapping[str, pd.DatetimeIndex], queries: pd.DatetimeIndex
    ) -> dict[str, pd.DatetimeIndex]:
        """Return the acquisitions that the first query date may see: no other sees fewer."""
        if not self.causal:
            return dict(times)
        past = past_of(times, queries.min(), latency=self.latency)
        return {name: index[list(past[name])] for name, index in times.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What is to be made, of what, by which method."""

    cube: xr.DataTree
    """What was given: its attributes, and where it is read from."""

    groups: Mapping[str, xr.Dataset]
    """Its groups, with what the method reads."""

    grids: Mapping[str, Grid]
    """Theirs."""

    spec: FuserSpec
    """The method."""

    queries: pd.DatetimeIndex
    """Query dates."""

    timing: Timing = Timing()
    """Origin and window."""

    tile: int | None = None
    """Edge of a tile in 10 m pixels; None for the planner's choice."""

    layers: Layers = field(default_factory=Layers)
    """What is asked beside bands."""

    options: str = ""
    """What a user asked, as JSON: what `tamrf_xr.updating` asks again."""

    @classmethod
    def of(
        cls,
        cube: xr.DataTree,
        spec: FuserSpec,
        queries: pd.DatetimeIndex,
        *,
        timing: Timing = Timing(),
        tile: int | None = None,
        layers: Layers = Layers(),  # noqa: B008 (frozen)
    ) -> Job:
        """Prepare a valid cube for a method that is planned already."""
        groups = groups_of(cube)
        read = read_by(spec, groups)
        return cls(cube, read, grids_of(groups), spec, queries, timing, tile, layers)

    def on(self, cube: xr.DataTree, queries: pd.DatetimeIndex) -> Job:
        """Return the same job on other acquisitions of the sensors and bands it was planned on."""
        return Job.of(
            cube, self.spec, queries, timing=self.timing, tile=self.tile, layers=self.layers
        )

    @property
    def fine(self) -> Grid:
        """Grid of the product."""
        return finest(self.grids).grown(self.layers.margin)

    @property
    def border(self) -> int:
        """Return fine pixels, on each side, by which the product goes beyond what is read."""
        return self.layers.margin

    @property
    def ratios(self) -> dict[str, int]:
        """Fine pixels across one of each group's own."""
        has_fine = "sentinel2" in self.groups
        return {
            name: 1 if has_fine and name == "sentinel2" else SENSORS[name].ratio
            for name in self.groups
        }

    def plan(self) -> DatePlan:
        """Plan dates."""
        return self.timing.plan(self.times, self.queries)

    @property
    def times_made(self) -> pd.DatetimeIndex:
        """Times of the product."""
        return self.layers.times(self.queries)

    @property
    def times(self) -> dict[str, pd.DatetimeIndex]:
        """Acquisition times of each sensor."""
        return {name: pd.DatetimeIndex(group["time"].values) for name, group in self.groups.items()}

    @property
    def source(self) -> str:
        """Store or file that the cube was opened from; empty where there is none."""
        return str(self.cube.encoding.get("source") or "")

    def tiled(self, tile: int | None = None) -> FuseJob:
        """Plan dates and tiles.

        Parameters
        ----------
        tile
            Edge of a tile, in place of the job's own.

        Raises
        ------
        DateError
            If a query date has no acquisition in its window, or none before it where plans are
            causal.
        MemoryBudgetError
            If a tile does not fit the memory there is.
        """
        tile = self.tile if tile is None else tile
        dates = self.plan()
        work = Workload(self.fine.shape, dates.dates, len(self.queries))
        made = Made(self.layers, self.spec, self.queries)
        return FuseJob(self.spec, dates, self._tiles(work, tile), made)

    def _tiles(self, work: Workload, tile: int | None) -> TileGrid:
        spec, groups, ratios = self.spec, self.groups, self.ratios
        budget = _budget(spec, tile)
        size = plan_tile(spec, work, tile=tile, budget=budget)
        halos = {name: spec.halo_of(name) for name in groups}
        grid = TileGrid(work.shape, size, ratios, halos, self.border)
        if tile is not None:
            return grid
        edges = tiles_to_try(groups, ratios, max(size))
        return aligned(
            grid, groups, [edge for edge in edges if tile_bytes(spec, work, edge) <= budget]
        )


def read_by(spec: FuserSpec, groups: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Drop the panchromatic band where a method has no use for it: reading it takes time."""
    if spec.panchromatic:
        return dict(groups)
    name = panchromatic.NAME
    return {key: group.drop_vars(name, errors="ignore") for key, group in groups.items()}


def _budget(spec: FuserSpec, tile: int | None) -> float:
    """Return the bytes that one tile may take on this machine."""
    available = available_memory()
    if tile is not None:
        return 0.8 * available
    # Of the tiles in hand, one computes; the others hold but what they read.
    tiles = max(spec.at_once - 1, 1) if spec.at_once else usable_cores()
    return min(TILE_MEMORY, 0.5 * available / tiles)

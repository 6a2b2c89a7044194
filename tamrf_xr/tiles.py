"""Cut nested grids into tiles whose halos make every seam exact: integers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from tamrf_xr.errors import MemoryBudgetError
from tamrf_xr.fuser import Crop, FuserSpec
from tamrf_xr.sensors import SENSORS


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels of one grid."""

    y: slice
    """Rows."""

    x: slice
    """Columns."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.y.stop - self.y.start, self.x.stop - self.x.start


@dataclass(frozen=True, slots=True)
class Tile:
    """One piece of work: the window made, and the windows that must be read for it."""

    core: Window
    """Fine pixels made, from the corner of what is read; the cores of a grid partition it."""

    reads: Mapping[str, Window]
    """Per sensor, pixels of its own grid: the core grown by the halo, clipped to the image."""

    crop: Crop
    """Where the core lies inside what is read."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Every tile of a scene, computed when asked: a grid of a million tiles weighs nothing."""

    shape: tuple[int, int]
    """Fine pixels (y, x) that are made."""

    tile: tuple[int, int]
    """Fine pixels (y, x) of a core; those at the far borders may be smaller."""

    ratios: Mapping[str, int]
    """Per sensor, fine pixels across one of its pixels."""

    halos: Mapping[str, int]
    """Per sensor, pixels of its own grid around a core."""

    border: int = 0
    """Fine pixels, on each side, by which what is made goes beyond what can be read; negative where
    it stays within."""

    @property
    def counts(self) -> tuple[int, int]:
        """Tiles down and across."""
        return ceil(self.shape[0] / self.tile[0]), ceil(self.shape[1] / self.tile[1])

    @property
    def chunks(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Sizes of the cores down and across: the chunks of the product."""
        down, across = (
            tuple(min(tile, size - start) for start in range(0, size, tile))
            for size, tile in zip(self.shape, self.tile, strict=True)
        )
        return down, across

    def __getitem__(self, index: tuple[int, int]) -> Tile:
        """Return the tile at (row, column).

        Examples
        --------
        >>> grid = TileGrid((9, 9), (6, 6), ratios={"landsat": 3}, halos={"landsat": 1})
        >>> grid[1, 1].core.y, grid[1, 1].reads["landsat"].y
        (slice(6, 9, None), slice(1, 3, None))
        """
        rows, cols = (self._along(axis, position) for axis, position in enumerate(index))
        core = Window(rows, cols)
        reads = {
            name: Window(self._read(0, rows, name), self._read(1, cols, name))
            for name in self.ratios
        }
        return Tile(core, reads, self._crop(core, reads))

    def made(self, index: tuple[int, int]) -> Window:
        """Return a core, from the corner of what is made."""
        core = self[index].core
        rows, cols = (slice(s.start + self.border, s.stop + self.border) for s in (core.y, core.x))
        return Window(rows, cols)

    def _along(self, axis: int, position: int) -> slice:
        start = position * self.tile[axis] - self.border
        return slice(start, min(start + self.tile[axis], self.shape[axis] - self.border))

    def _read(self, axis: int, core: slice, sensor: str) -> slice:
        ratio, halo = self.ratios[sensor], self.halos[sensor]
        last = (self.shape[axis] - 2 * self.border) // ratio
        return slice(max(core.start // ratio - halo, 0), min(ceil(core.stop / ratio) + halo, last))

    def _crop(self, core: Window, reads: Mapping[str, Window]) -> Crop:
        corners = {
            name: (window.y.start * self.ratios[name], window.x.start * self.ratios[name])
            for name, window in reads.items()
        }
        top = min(y for y, _ in corners.values())
        left = min(x for _, x in corners.values())
        return Crop(
            slice(core.y.start - top, core.y.stop - top),
            slice(core.x.start - left, core.x.stop - left),
            {name: (y - top, x - left) for name, (y, x) in corners.items()},
            (top, left),
        )


PREFERRED_TILE = 360
"""Fine pixels: halo costs little at this size, and a tile fits the memory of a laptop."""

SMALLEST_TILE, TILE_STEP = 48, 24


@dataclass(frozen=True, slots=True)
class Workload:
    """What the planner needs to know of a job."""

    shape: tuple[int, int]
    """Fine pixels (y, x) of the scene."""

    dates: Mapping[str, int]
    """Acquisitions read per tile, per sensor."""

    queries: int
    """Query dates."""


def plan_tile(
    spec: FuserSpec, work: Workload, *, tile: int | None, budget: float
) -> tuple[int, int]:
    """Choose the size of a tile.

    Parameters
    ----------
    spec
        The method: its halo and its cost.
    work
        The job.
    tile
        Edge asked for, in fine pixels; None takes the largest up to 360 that fits `budget`.
    budget
        Bytes that one tile may take.

    Returns
    -------
    tuple of int
        Fine pixels (y, x), never more than the scene.

    Raises
    ------
    MemoryBudgetError
        If the tile asked for, or the smallest tile, does not fit.
    """
    size = PREFERRED_TILE if tile is None else tile
    while tile is None and size > SMALLEST_TILE and tile_bytes(spec, work, size) > budget:
        size -= TILE_STEP
    needed = tile_bytes(spec, work, size)
    if needed <= budget:
        return min(size, work.shape[0]), min(size, work.shape[1])
    raise MemoryBudgetError(
        f"a tile of {size} px needs {needed / 2**30:.1f} GiB for {sum(work.dates.values())} "
        f"acquisitions and {work.queries} query dates, and {budget / 2**30:.1f} GiB may be used; "
        + (
            "ask for fewer query dates at once, or use a machine with more memory"
            if tile is None
            else 'pass a smaller tile, or tile="auto"'
        )
    )


def tile_bytes(spec: FuserSpec, work: Workload, tile: int) -> float:
    """Estimate the bytes that one tile takes while it is computed."""
    halo = max((spec.halo_of(name) for name in work.dates), default=0)
    fine = max((spec.halo_of(name) * _ratio(name) for name in work.dates), default=0)
    return spec.cost.bytes(
        pixels=_area(work.shape, tile + 2 * halo),
        widest=_area(work.shape, tile + 2 * fine),
        dates=work.dates,
        queries=work.queries,
    )


def _ratio(name: str) -> int:
    """Return fine pixels across a pixel of a group; what is no sensor is fine."""
    return SENSORS[name].ratio if name in SENSORS else 1


def _area(shape: tuple[int, int], size: int) -> int:
    return min(size, shape[0]) * min(size, shape[1])

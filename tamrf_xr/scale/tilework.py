"""The work of one tile, the same wherever it runs: read, fuse, check."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tamrf_xr.dates import DatePlan
from tamrf_xr.errors import TileError
from tamrf_xr.fuser import Crop, Episode, Fuser, FuserSpec, Pixels, Relieving, Series
from tamrf_xr.scale.guard import check_plausible
from tamrf_xr.scale.layers import Made, Values
from tamrf_xr.scale.reading import SensorSource
from tamrf_xr.tiles import TileGrid


@dataclass(frozen=True, slots=True)
class FuseJob:
    """All that the tiles of a product have in common: what a graph carries once."""

    spec: FuserSpec
    """The method."""

    dates: DatePlan
    """What is read and what is asked."""

    grid: TileGrid
    """Where the tiles lie."""

    made: Made
    """What becomes of what the method makes."""

    @property
    def times(self) -> int:
        """Times of the product: query dates, or periods of them."""
        return len(self.made.layers.times(self.made.queries))


Watch = Callable[[str], AbstractContextManager[Any]]
"""Called with the name of a stage, gives a context around it: a clock, a way to stop."""


def unwatched(stage: str) -> AbstractContextManager[Any]:  # noqa: ARG001  (a `Watch`)
    """Watch nothing."""
    return nullcontext()


def fuse_tile(
    job: FuseJob,
    index: tuple[int, int],
    sources: Mapping[str, SensorSource],
    *,
    watch: Watch = unwatched,
) -> dict[str, Values]:
    """Fuse one tile.

    Parameters
    ----------
    job
        The product.
    index
        Row and column of the tile.
    sources
        Per sensor, where to read.
    watch
        Told of the stages ``reading`` and ``computing``.

    Returns
    -------
    dict
        Of the tile's core: per sensor, the bands that are kept, ``(query, band, y, x)`` float32;
        per ``group/variable``, what is made beside them; see `tamrf_xr.scale.layers`.

    Raises
    ------
    TileError
        If anything fails: which tile, where, and why. What was read is questioned first, see
        `tamrf_xr.scale.guard`.
    """
    tile = job.grid[index]
    try:
        with _turn(job.spec):
            with watch("reading"):
                series: dict[str, Series] = {
                    name: source.series(
                        tile.reads[name], job.dates.reads[name], packed=job.spec.packed
                    )
                    for name, source in sources.items()
                }
                check_plausible(series)
            with _computing(job.spec), watch("computing"):
                fused = _fuse(job.spec.fuser(), series, job.dates.episodes, tile.crop)
                checked = {
                    name: _checked(pixels, job, index, name) for name, pixels in fused.items()
                }
                return job.made.of(checked, series, job.dates, tile.crop)
    except Exception as error:
        rows, cols = tile.core.y, tile.core.x
        raise TileError(
            f"tile {index} (rows {rows.start}:{rows.stop}, columns {cols.start}:{cols.stop} of the "
            f"10 m grid; acquisitions {job.dates.dates}): {type(error).__name__}: {error}"
        ) from error


def _fuse(
    fuser: Fuser, series: Mapping[str, Series], episodes: Sequence[Episode], crop: Crop
) -> dict[str, Pixels]:
    """Call a fuser, again for as long as it is `Relieving` and can make do with less memory."""
    while True:
        try:
            return fuser(series, episodes, crop)
        except Exception as error:
            if not (isinstance(fuser, Relieving) and fuser.relieve(error)):
                raise


def _turn(spec: FuserSpec) -> AbstractContextManager[object]:
    # Without it, a machine of many cores would read a tile per core and compute one.
    return _semaphore(spec.method, "tile", spec.at_once) if spec.at_once else nullcontext()


def _computing(spec: FuserSpec) -> AbstractContextManager[object]:
    return _semaphore(spec.method, "computing", spec.computing) if spec.computing else nullcontext()


@cache
def _semaphore(method: str, stage: str, count: int) -> threading.BoundedSemaphore:  # noqa: ARG001
    return threading.BoundedSemaphore(count)


def _checked(pixels: Pixels, job: FuseJob, index: tuple[int, int], sensor: str) -> Pixels:
    bands = job.spec.bands[sensor.partition("/")[0]]  # those of `fuser.DEVIATIONS` too
    expected = (job.dates.queries, len(bands), *job.grid[index].core.shape)
    if pixels.shape != expected:
        raise ValueError(
            f"method {job.spec.method!r} gave {sensor} of shape {pixels.shape}, expected {expected}"
        )
    integers = pixels.dtype.kind == "i"  # as they are stored: tokens
    return np.ascontiguousarray(pixels, None if integers else np.float32)

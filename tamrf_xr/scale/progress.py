"""What a person sees of a job: a bar, a line per failed tile, and a summary at the end."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tamrf_xr.cube import Grid
from tamrf_xr.scale.tilework import FuseJob
from tamrf_xr.scale.worker import STAGES, Outcome

logger = logging.getLogger(__name__)
KM2 = 1e-6


@dataclass(frozen=True, slots=True)
class FailedTile:
    """A tile that is not in the product."""

    index: tuple[int, int]
    """Row and column among the tiles."""

    rows: tuple[int, int]
    """First fine pixel row, and the one after the last."""

    columns: tuple[int, int]
    """Likewise, across."""

    bounds: tuple[float, float, float, float]
    """Left, bottom, right, top, in the CRS."""

    crs: str
    """The CRS."""

    error: str
    """Why."""

    def __str__(self) -> str:
        """Return a line for a log."""
        box = ", ".join(f"{value:.10g}" for value in self.bounds)
        return (
            f"tile {self.index} failed: rows {self.rows[0]}:{self.rows[1]}, columns "
            f"{self.columns[0]}:{self.columns[1]}, bounds {box} ({self.crs}): {self.error}"
        )


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What a run did."""

    tiles: int
    """Tiles of the product."""

    done: int
    """Tiles made by this run."""

    found: int
    """Tiles that were done before it."""

    failed: tuple[FailedTile, ...]
    """Tiles that failed; a rerun tries them again."""

    reading: float
    """Seconds, summed over threads and workers."""

    computing: float
    """Likewise."""

    writing: float
    """Likewise."""

    elapsed: float
    """Seconds from the first tile to the last."""

    km2: float
    """Ground made by this run."""

    clipped: int = 0
    """Values that this run clipped, as int16 does not hold them: reflectance beyond 3.2767."""

    def __str__(self) -> str:
        """Return a few lines for a person to read."""
        failed = f", {len(self.failed)} failed" if self.failed else ""
        rate = self.km2 / self.elapsed if self.elapsed else 0.0
        return (
            f"{self.done} tiles done, {self.found} found done{failed}, of {self.tiles}\n"
            f"{self.km2:.4g} km2 in {self.elapsed:.1f} s ({rate:.3g} km2/s); summed over threads: "
            f"reading {self.reading:.1f} s, computing {self.computing:.1f} s, "
            f"writing {self.writing:.1f} s" + self._told_of_clipped()
        )

    def _told_of_clipped(self) -> str:
        if not self.clipped:
            return ""
        return (
            f"\n{self.clipped} values clipped to what int16 holds (reflectance -3.2767 to 3.2767): "
            "look at the input and the method"
        )


class Progress:
    """Follows a run: shows a bar, logs failures, sums up."""

    def __init__(self, job: FuseJob, grid: Grid, *, found: int) -> None:
        """Take the job, the grid of its product, and the tiles that are done already."""
        self._job, self._grid, self._found = job, grid, found
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._failed: list[FailedTile] = []
        self._done, self._clipped, self._km2 = 0, 0, 0.0
        self._start: float | None = None
        self._bar: Any = None

    @property
    def tiles(self) -> int:
        """Tiles of the product."""
        rows, cols = self._job.grid.counts
        return rows * cols

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return 0.0 if self._start is None else time.monotonic() - self._start

    def begin(self) -> None:
        """Start the clock: what runs the tiles is there."""
        self._start = time.monotonic()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show a bar, in a terminal or a notebook, and keep log lines from breaking it."""
        from tqdm.auto import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        verb = "encode" if self._job.made.layers.latent else "fuse"
        what = f"{verb} ({self._job.spec.method})"
        with (
            tqdm(total=self.tiles, initial=self._found, unit="tile", desc=what) as self._bar,
            logging_redirect_tqdm(),
        ):
            yield
        self._bar = None

    def add(self, outcome: Outcome) -> None:
        """Count a tile."""
        for span in outcome.spans:
            self._seconds[span.stage] += span.stop - span.start
        if outcome.error is None:
            self._done += 1
            self._clipped += outcome.clipped
            rows, cols = self._job.grid[outcome.index].core.shape
            self._km2 += rows * cols * self._grid.gsd**2 * KM2
        else:
            self._failed.append(self._failure(outcome.index, outcome.error))
            logger.error("%s", self._failed[-1])
        if self._bar is not None:
            rate = self._km2 / max(self.elapsed, 1e-9)
            self._bar.set_postfix_str(f"{rate:.3g} km2/s", refresh=False)
            self._bar.update()

    def _failure(self, index: tuple[int, int], error: str) -> FailedTile:
        grid, tiles = self._grid, self._job.grid
        core = tiles.made(index)
        left, _, _, top = grid.bounds
        code = grid.crs.to_epsg()
        return FailedTile(
            index=index,
            rows=(core.y.start, core.y.stop),
            columns=(core.x.start, core.x.stop),
            bounds=(
                left + core.x.start * grid.gsd,
                top - core.y.stop * grid.gsd,
                left + core.x.stop * grid.gsd,
                top - core.y.start * grid.gsd,
            ),
            crs=f"EPSG:{code}" if code else grid.crs.name,
            error=error,
        )

    def summary(self) -> JobSummary:
        """Sum up."""
        return JobSummary(
            tiles=self.tiles,
            done=self._done,
            found=self._found,
            failed=tuple(self._failed),
            elapsed=self.elapsed,
            km2=self._km2,
            clipped=self._clipped,
            **self._seconds,
        )

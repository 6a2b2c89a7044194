"""What a job costs beside its work: a dummy fuser, 10,000 tiles of one chunk each.

``python -m benchmarks.scheduling [--tiles 10000]`` takes a few minutes on two cores; each
way to run is measured in a process of its own.
"""

from __future__ import annotations

import tempfile
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

import tamrf_xr
from benchmarks.harness import Row, apart, finish, parse, show
from benchmarks.scenes import noise_cube
from tamrf_xr.fuser import FuserSpec
from tamrf_xr.scale.job import Execution, run_tiles
from tamrf_xr.scale.prepared import Job
from tamrf_xr.store import lay_out

TILE = 12
WAYS = ("threads", "distributed")
WORKERS = 2


def dummy(makes: dict[str, tuple[str, ...]]) -> Any:
    """Build a fuser that gives a constant."""

    def fuse(_series: Any, _episodes: Any, crop: Any) -> Any:
        shape = (1, 1, crop.y.stop - crop.y.start, crop.x.stop - crop.x.start)
        return {name: np.full(shape, 0.5, np.float32) for name in makes}

    return fuse


SPEC = FuserSpec("dummy", "benchmarks.scheduling:dummy", makes=(("sentinel2", ("B02",)),))


def main(arguments: list[str] | None = None) -> Row:
    """Measure each way in a process of its own, print, keep."""
    options = parse(__doc__, arguments, tiles=(10_000, 9), ways=(WAYS, WAYS[:1]))
    rows = {way: _apart(way, options.tiles) for way in options.ways}
    show(rows)
    return finish("scheduling", {"tile_px": TILE, "workers": WORKERS, **rows}, options)


def _apart(way: str, tiles: int) -> Row:
    side = max(round(tiles**0.5), 1) * TILE
    with tempfile.TemporaryDirectory() as folder:
        lay_out(noise_cube((side, side), hr=1, lr=1), Path(folder) / "in.zarr")
        row: Row = apart(measure, folder, way)
    return row


def measure(place: str, way: str) -> Row:
    """Run the job; what it takes beside reading, computing and writing is scheduling."""
    folder = Path(place)
    cube = tamrf_xr.open_cube(folder / "in.zarr")
    with _cluster(way) as client, Sampler() as sampler:  # the sampler ends before the workers
        summary = run_tiles(
            Job.of(cube, SPEC, pd.DatetimeIndex(["2022-06-01"]), tile=TILE),
            folder / "out.zarr",
            how=Execution(client, workers=None if client else WORKERS, progress=False),
        )
    work = (summary.reading + summary.computing + summary.writing) / WORKERS
    return {
        "tiles": summary.done,
        "seconds": round(summary.elapsed, 2),
        "wall_ms_per_tile": round(1e3 * summary.elapsed / summary.tiles, 3),
        "stages_ms_per_tile": {
            stage: round(1e3 * getattr(summary, stage) / summary.tiles, 3)
            for stage in ("reading", "computing", "writing")
        },
        "scheduling_ms_per_tile": round(1e3 * (summary.elapsed - work) / summary.tiles, 3),
        "rss_growth_mib": round(sampler.growth / 2**20, 1),
        "rss_peak_mib": round(max(sampler.sizes, default=0) / 2**20, 1),
    }


def _cluster(way: str) -> Any:
    if way == "threads":
        return nullcontext()
    from tamrf_xr.scale.clusters import opened

    return opened("local", workers=WORKERS, threads=1)


class Sampler:
    """Memory of this process and its workers, twice a second."""

    def __enter__(self) -> Sampler:
        """Start."""
        self.sizes: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(0.5):
            self.sizes.append(_resident())

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        """Bytes from a fifth of the run to its end."""
        return self.sizes[-1] - self.sizes[len(self.sizes) // 5] if self.sizes else 0


def _resident() -> int:
    total = 0
    for process in (me := psutil.Process(), *me.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


if __name__ == "__main__":
    main()

"""What a job costs beside its work: a dummy fuser, 10,000 tiles of one chunk each.

``python benchmarks/scheduling.py [--tiles 10000] [--keep]`` takes a few minutes on two cores; each
way to run is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from machine import keep
from scenes import noise_cube

import tamrf_xr
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


SPEC = FuserSpec("dummy", "scheduling:dummy", makes=(("sentinel2", ("B02",)),))


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure each way in a process of its own, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(_measure(options.one, options.ways[0])))
        return {}
    figures = {way: _apart(way, options.tiles) for way in options.ways}
    for way, row in figures.items():
        print(
            f"{way:12} {row['tiles']} tiles: {row['wall_ms_per_tile']:.2f} ms a tile, of which "
            f"{row['scheduling_ms_per_tile']:.2f} ms neither reads, computes nor writes; "
            f"memory {row['rss_growth_mib']:+.0f} MiB from a fifth of the tiles to the last"
        )
    if options.keep:
        keep("scheduling", {"tile_px": TILE, "workers": WORKERS, **figures})
    return figures


def _apart(way: str, tiles: int) -> dict[str, Any]:
    side = max(round(tiles**0.5), 1) * TILE
    with tempfile.TemporaryDirectory() as folder:
        lay_out(noise_cube((side, side), hr=1, lr=1), Path(folder) / "in.zarr")
        command = [sys.executable, __file__, "--one", folder, "--ways", way]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(said)
    return found


def _measure(folder: Path, way: str) -> dict[str, Any]:
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
    from tamrf_xr.scale.cluster import opened

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

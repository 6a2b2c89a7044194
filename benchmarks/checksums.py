"""What checksums cost: bytes, and time to write and to read; and how long `verify` takes.

``python benchmarks/checksums.py [--tiles 5000] [--tiny] [--keep]``. With and without are measured
in turns, in CPU time of the process; the least of several counts, so that other work on the machine
matters little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from machine import keep
from scenes import noise_cube
from scheduling import SPEC, TILE
from zarr.storage import MemoryStore

import tamrf_xr
from tamrf_xr.encoding import FILL
from tamrf_xr.packed import CODECS, pack
from tamrf_xr.scale.damage import verify
from tamrf_xr.scale.job import Execution, run_tiles
from tamrf_xr.scale.prepared import Job
from tamrf_xr.simulate import SceneConfig, simulate
from tamrf_xr.store import lay_out

WAYS = {"without": CODECS[:1], "with": CODECS}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=5000)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results")
    options = parser.parse_args(arguments)
    size, turns, tiles = (60, 2, 9) if options.tiny else (360, 9, options.tiles)
    found = {"codec": _codec(size, turns), "verify": _verify(tiles)}
    codec, checked = found["codec"], found["verify"]
    print(
        f"checksums on {codec['megabytes']:.0f} MB of a simulated series: "
        + ", ".join(f"{name} x {codec['ratio'][name]:.4f}" for name in codec["ratio"])
    )
    print(
        f"verify of {checked['tiles']} tiles: {checked['seconds']:.2f} s; "
        f"deep: {checked['deep_seconds']:.2f} s"
    )
    if options.keep:
        keep("checksums", found)
    return found


def _codec(size: int, turns: int) -> dict[str, Any]:
    scene = simulate(SceneConfig(size_px=size, year=2022, seed=1))
    pixels = pack(scene.cube["sentinel2/reflectance"].values, "reflectance")
    rows: dict[str, list[tuple[int, float, float]]] = {way: [] for way in WAYS}
    for _ in range(turns):
        for way, codecs in WAYS.items():
            rows[way].append(_once(pixels, codecs))
    least = {
        way: [min(column) for column in zip(*turns, strict=True)] for way, turns in rows.items()
    }
    names = ("bytes", "write_cpu_seconds", "read_cpu_seconds")
    return {
        "megabytes": pixels.nbytes / 1e6,
        **{way: dict(zip(names, values, strict=True)) for way, values in least.items()},
        "ratio": {
            name: after / before
            for name, before, after in zip(names, least["without"], least["with"], strict=True)
        },
    }


def _once(pixels: Any, codecs: Any) -> tuple[int, float, float]:
    time_chunk, edge = min(len(pixels), 128), min(pixels.shape[-1], 120)
    stored: dict[str, Any] = {}
    array = zarr.create_array(
        MemoryStore(stored),  # a disk that others use tells nothing of a codec
        shape=pixels.shape,
        dtype=pixels.dtype,
        chunks=(time_chunk, pixels.shape[1], edge, edge),
        shards=(time_chunk, *pixels.shape[1:]),
        compressors=codecs,
        fill_value=FILL,
    )
    start = time.process_time()
    array[:] = pixels
    written = time.process_time()
    if not np.array_equal(array[:], pixels):
        raise AssertionError("what is read is not what was written")
    read = time.process_time()
    size = sum(len(data) for data in stored.values())
    return size, written - start, read - written


def _verify(tiles: int) -> dict[str, Any]:
    side = max(round(tiles**0.5), 1) * TILE
    with tempfile.TemporaryDirectory() as folder:
        lay_out(noise_cube((side, side), hr=1, lr=1), Path(folder) / "in.zarr")
        store = Path(folder) / "out.zarr"
        cube, dates = tamrf_xr.open_cube(Path(folder) / "in.zarr"), ["2022-06-01"]
        run_tiles(
            Job.of(cube, SPEC, pd.DatetimeIndex(dates), tile=TILE),
            store,
            how=Execution(workers=2, progress=False),
        )
        start = time.perf_counter()
        verdict = verify(store)
        quick = time.perf_counter()
        deep = verify(store, deep=True)
        if not (verdict.ok and deep.ok):
            raise AssertionError(f"{verdict}\n{deep}")
        return {
            "tiles": verdict.tiles,
            "seconds": round(quick - start, 3),
            "deep_seconds": round(time.perf_counter() - quick, 3),
        }


if __name__ == "__main__":
    main()

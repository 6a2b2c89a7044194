"""What checksums cost: bytes, and time to write and to read; and how long `verify` takes.

``python -m benchmarks.checksums [--tiles 5000]``. With and without are measured
in turns, in CPU time of the process; the least of several counts, so that other work on the machine
matters little.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from zarr.storage import MemoryStore

import tamrf_xr
from benchmarks.harness import Row, finish, in_turns, parse, show
from benchmarks.scenes import noise_cube
from benchmarks.scheduling import SPEC, TILE
from tamrf_xr.encoding import FILL
from tamrf_xr.packed import CODECS, pack
from tamrf_xr.scale.damage import verify
from tamrf_xr.scale.job import Execution, run_tiles
from tamrf_xr.scale.prepared import Job
from tamrf_xr.simulate import SceneConfig, simulate
from tamrf_xr.store import lay_out

WAYS = {"without": CODECS[:1], "with": CODECS}


def main(arguments: list[str] | None = None) -> Row:
    """Measure, print, keep."""
    options = parse(__doc__, arguments, size=(360, 60), turns=(9, 2), tiles=(5000, 9))
    codec, checked = _codec(options.size, options.turns), _verify(options.tiles)
    show({"checksums": codec["ratio"], "verify": checked})
    return finish("checksums", {"codec": codec, "verify": checked}, options)


def _codec(size: int, turns: int) -> Row:
    scene = simulate(SceneConfig(size_px=size, year=2022, seed=1))
    pixels = pack(np.asarray(scene.cube["sentinel2/reflectance"]), "reflectance")
    ways = {way: partial(_once, pixels, codecs) for way, codecs in WAYS.items()}
    rows = in_turns(ways, turns=turns)
    ratio = {name: value / rows["without"][name] for name, value in rows["with"].items()}
    return {"megabytes": pixels.nbytes / 1e6, **rows, "ratio": ratio}


def _once(pixels: Any, codecs: Any) -> Row:
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
    return {
        "bytes": sum(len(data) for data in stored.values()),
        "write_cpu_seconds": written - start,
        "read_cpu_seconds": read - written,
    }


def _verify(tiles: int) -> Row:
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

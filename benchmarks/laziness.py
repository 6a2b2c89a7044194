"""Lay out a full Sentinel-2 tile-year: seconds, and size of the graph. Nothing is read.

``python -m benchmarks.laziness``
"""

from __future__ import annotations

import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import tamrf_xr
from benchmarks.harness import Row, finish, parse, show
from benchmarks.scenes import noise_cube, random_model
from tamrf_xr.store import lay_out

DATES = "2022-01-08/2022-12-31/15D"  # 24


def main(arguments: list[str] | None = None) -> Row:
    """Measure, print, keep."""
    options = parse(__doc__, arguments, size=(10980, 360))
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "year.zarr"
        lay_out(noise_cube((options.size, options.size), hr=60, lr=45), store)
        model = random_model(Path(folder))
        kinds: Row = {"stored": None, "dask": {}}
        rows = {kind: _measure(store, model, chunks) for kind, chunks in kinds.items()}
    show(rows)
    request = {"size": options.size, "dates": "60 + 45", "queries": 24}
    return finish("laziness", request | rows, options)


def _measure(store: Path, model: Path, chunks: Any) -> dict[str, float]:
    cube = tamrf_xr.open_cube(store, chunks=chunks)
    start = time.perf_counter()
    fused = cube.tamrf.fuse(DATES, model=model)
    seconds = time.perf_counter() - start
    graph = fused["sentinel2/reflectance"].data.__dask_graph__()
    return {"seconds": seconds, "graph_megabytes": len(pickle.dumps(graph)) / 1e6}


if __name__ == "__main__":
    main()

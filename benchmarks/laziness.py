"""Lay out a full Sentinel-2 tile-year: seconds, and size of the graph. Nothing is read.

``python benchmarks/laziness.py [--tiny]``
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import keep
from scenes import noise_cube, random_model

import tamrf_xr
from tamrf_xr.store import lay_out

DATES = "2022-01-08/2022-12-31/15D"  # 24


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    size = 360 if options.tiny else 10980
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "year.zarr"
        lay_out(noise_cube((size, size), hr=60, lr=45), store)
        model = random_model(Path(folder))
        figures = {
            kind: _measure(store, model, chunks)
            for kind, chunks in (("stored", None), ("dask", {}))
        }
    for kind, row in figures.items():
        print(f"{kind:8} fuse {row['seconds']:.2f} s, graph {row['graph_megabytes']:.2f} MB")
    if not options.tiny:
        keep("laziness", {"size": size, "dates": "60 + 45", "queries": 24, **figures})
    return figures


def _measure(store: Path, model: Path, chunks: Any) -> dict[str, float]:
    cube = tamrf_xr.open_cube(store, chunks=chunks)
    start = time.perf_counter()
    fused = cube.tamrf.fuse(DATES, model=model)
    seconds = time.perf_counter() - start
    graph = fused["sentinel2/reflectance"].data.__dask_graph__()
    return {"seconds": seconds, "graph_megabytes": len(pickle.dumps(graph)) / 1e6}


if __name__ == "__main__":
    main()

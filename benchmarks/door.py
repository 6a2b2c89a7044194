"""What the door costs: seconds and memory of `as_cube`, on lazy and on loaded data.

``python benchmarks/door.py [--tiny] [--against CHECKOUT]``

Lazy: 10,000 x 10,000 px of Sentinel-2 (60 dates, 10 bands, SCL, blocks of 1 x 2048 x 2048 as
odc-stac lays them out, each made when it is read) with Landsat (45 dates) nested in it. Loaded:
integers and floats in memory. ``--against`` times another checkout of the package on the same
loaded data, in turn with this one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import rioxarray  # noqa: F401
import xarray as xr
from machine import keep

import tamrf_xr

S2 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
LANDSAT = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22")
HERE = Path(__file__).resolve().parents[1]
TURNS = 5


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    parser.add_argument("--against", type=Path, help="another checkout of the package")
    parser.add_argument("--loaded", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--lazy", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.loaded or options.lazy:
        made = loaded(tiny=options.tiny) if options.loaded else lazy(tiny=options.tiny)
        print(json.dumps(made))
        return made
    figures: dict[str, Any] = {"lazy": _elsewhere("--lazy", HERE, tiny=options.tiny)}
    checkouts = {"this": HERE, **({"other": options.against} if options.against else {})}
    for turn in range(1 if options.tiny else 3):
        for name in checkouts if turn % 2 else reversed(checkouts):
            runs = figures.setdefault(name, {})
            for kind, seconds in _elsewhere("--loaded", checkouts[name], tiny=options.tiny).items():
                runs[kind] = min(seconds, runs.get(kind, np.inf))
    for name, row in figures.items():
        print(name, {kind: round(value, 4) for kind, value in row.items()})
    if options.against:
        figures["ratio"] = {k: figures["this"][k] / figures["other"][k] for k in figures["this"]}
        print("this / other", {kind: round(value, 2) for kind, value in figures["ratio"].items()})
    if not options.tiny:
        keep("door", figures)
    return figures


def _elsewhere(what: str, checkout: Path, *, tiny: bool) -> dict[str, float]:
    """Run a part in a process of its own, with the package of a checkout."""
    command = [sys.executable, __file__, what, *(["--tiny"] if tiny else [])]
    environment = os.environ | {"PYTHONPATH": str(Path(checkout).resolve())}
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, float] = json.loads(said.stdout.splitlines()[-1])
    return found


def lazy(*, tiny: bool) -> dict[str, float]:
    """Lay lazy data out, and time the door."""
    size, dates = (480, (4, 3)) if tiny else (10_000, (60, 45))
    fine = _lazy(S2, size - size % 3, dates[0], gsd=10.0, between=(200, 4000))
    fine["SCL"] = _band(_blocks(size - size % 3, dates[0], (4, 6), "uint8"), 10.0)
    coarse = _lazy(LANDSAT, size // 3, dates[1], gsd=30.0, between=(7500, 20000))
    before = _peak()
    start = time.perf_counter()
    cube = tamrf_xr.as_cube(sentinel2=fine, landsat=coarse)
    seconds = time.perf_counter() - start
    assert cube["sentinel2/reflectance"].chunks is not None
    return {"seconds": seconds, "peak_megabytes": _peak(), "before_megabytes": before}


def loaded(*, tiny: bool) -> dict[str, float]:
    """Time the door on data in memory, the best of some turns."""
    size, dates = (60, 3) if tiny else (600, 40)
    numbers = np.random.default_rng(0).integers(200, 4000, (dates, size, size)).astype("uint16")
    data = xr.Dataset({name: _band(numbers + np.uint16(i), 10.0) for i, name in enumerate(S2)})
    floats = (data.to_array("band") * np.float32(1e-4)).astype("float32")
    stack = floats.transpose("time", "band", "y", "x")
    forms = {"integers": data, "floats": stack, "cube": stack.to_dataset(name="reflectance")}
    return {kind: min(_timed(one) for _ in range(TURNS)) for kind, one in forms.items()}


def _timed(data: Any) -> float:
    start = time.perf_counter()
    tamrf_xr.as_cube(sentinel2=data)
    return time.perf_counter() - start


def _lazy(names: Any, size: int, dates: int, *, gsd: float, between: Any) -> xr.Dataset:
    arrays = {
        name: _band(_blocks(size, dates, between, "uint16"), gsd).assign_attrs(nodata=0)
        for name in names
    }
    return xr.Dataset(arrays)


def _blocks(size: int, dates: int, between: tuple[int, int], dtype: str) -> da.Array:
    block = max(size // 5 + 48, 32)

    def make(block_info: Any = None) -> Any:
        shape = block_info[None]["chunk-shape"]
        return np.random.default_rng(0).integers(*between, shape).astype(dtype)

    chunks = da.core.normalize_chunks((1, block, block), (dates, size, size))
    return da.map_blocks(make, chunks=chunks, dtype=dtype, meta=np.empty((0, 0, 0), dtype))


def _band(values: Any, gsd: float) -> xr.DataArray:
    dates, rows, columns = values.shape
    coords = {
        "time": pd.date_range("2021-01-03T10:30", periods=dates, freq="6D"),
        "y": 5e6 - gsd * (np.arange(rows) + 0.5),
        "x": 5e5 + gsd * (np.arange(columns) + 0.5),
    }
    return xr.DataArray(values, dims=("time", "y", "x"), coords=coords).rio.write_crs(32631)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

"""What the door costs: seconds and memory of `as_cube`, on lazy and on loaded data.

``python -m benchmarks.door [--against CHECKOUT]``

Lazy: 10,000 x 10,000 px of Sentinel-2 (60 dates, 10 bands, SCL, blocks of 1 x 2048 x 2048 as
odc-stac lays them out, each made when it is read) with Landsat (45 dates) nested in it. Loaded:
integers and floats in memory. ``--against`` times another checkout of the package on the same
loaded data, in turn with this one.
"""

from __future__ import annotations

import resource
import time
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import rioxarray  # noqa: F401
import xarray as xr

import tamrf_xr
from benchmarks.harness import TURNS, Row, apart, compared, finish, parse, show

S2 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
LANDSAT = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22")
RUNS = 5


def main(arguments: list[str] | None = None) -> Row:
    """Measure, print, keep."""
    sizes = {"lazy": ((10_000, 60, 45), (480, 4, 3)), "loaded": ((600, 40), (60, 3))}
    options = parse(__doc__, arguments, **sizes)
    turns = 1 if options.tiny else TURNS
    rows = {"lazy": apart(lazy, *options.lazy)}
    rows |= compared(loaded, *options.loaded, against=options.against, turns=turns)
    show(rows)
    return finish("door", rows, options)


def lazy(size: int, sharp_dates: int, coarse_dates: int) -> Row:
    """Lay lazy data out, and time the door."""
    fine = _lazy(S2, size - size % 3, sharp_dates, gsd=10.0, between=(200, 4000))
    fine["SCL"] = _band(_blocks(size - size % 3, sharp_dates, (4, 6), "uint8"), 10.0)
    coarse = _lazy(LANDSAT, size // 3, coarse_dates, gsd=30.0, between=(7500, 20000))
    before = _peak()
    start = time.perf_counter()
    cube = tamrf_xr.as_cube(sentinel2=fine, landsat=coarse)
    seconds = time.perf_counter() - start
    assert cube["sentinel2/reflectance"].chunks is not None
    return {"seconds": seconds, "peak_megabytes": _peak(), "before_megabytes": before}


def loaded(size: int, dates: int) -> Row:
    """Time the door on data in memory, the best of some turns."""
    numbers = np.random.default_rng(0).integers(200, 4000, (dates, size, size)).astype("uint16")
    data = xr.Dataset({name: _band(numbers + np.uint16(i), 10.0) for i, name in enumerate(S2)})
    floats = (data.to_array("band") * np.float32(1e-4)).astype("float32")
    stack = floats.transpose("time", "band", "y", "x")
    forms = {"integers": data, "floats": stack, "cube": stack.to_dataset(name="reflectance")}
    return {kind: min(_timed(one) for _ in range(RUNS)) for kind, one in forms.items()}


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

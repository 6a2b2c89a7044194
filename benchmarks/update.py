"""Bringing a product up to date, beside making it anew.

``python -m benchmarks.update`` makes a product of 24 dates over two years with the default network
and random weights, appends three acquisitions to its cube, and updates it, and makes it anew (some
minutes on two cores). The acquisitions touch the dates whose window holds them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import tamrf_xr
from benchmarks.harness import Row, apart, finish, in_turns, parse, show
from benchmarks.scenes import noise_cube, random_model
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.store import lay_out

NEW = 3
"""Acquisitions that are appended: two of Sentinel-2, one of Landsat."""


def main(arguments: list[str] | None = None) -> Row:
    """Measure, print, keep."""
    options = parse(
        __doc__, arguments, shape=((60, 60), (30, 30)), dates=((36, 22), (8, 6)),
        queries=(24, 6), method=("tamrf", "linear"), turns=(2, 1),
    )  # fmt: skip
    asked = {name: getattr(options, name) for name in ("shape", "dates", "queries", "method")}
    ways = {way: partial(apart, run, way, asked) for way in ("update", "anew")}
    rows = in_turns(ways, turns=options.turns)
    rows["update / anew"] = {"seconds": rows["update"]["seconds"] / rows["anew"]["seconds"]}
    show(rows)
    return finish(f"update-{options.method}", vars(options) | {"rows": rows}, options)


def run(way: str, asked: Mapping[str, Any]) -> Row:
    """Update a product, or make it anew, and return the seconds of that."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = _two_years(tuple(asked["shape"]), *asked["dates"])
        early = build_cube(
            {
                sensor: group.isel(time=slice(-2 if sensor == "sentinel2" else -1))
                for sensor, group in groups_of(whole).items()
            }
        )
        queries = pd.date_range("2021-01-10", "2022-12-20", periods=asked["queries"]).floor("D")
        how: dict[str, Any] = {"method": asked["method"], "progress": False}
        how |= {"model": random_model(folder)} if asked["method"] == "tamrf" else {}
        for cube, store in ((early, "early.zarr"), (whole, "whole.zarr")):
            lay_out(cube, folder / store).compute()
        if way == "update":
            cube = tamrf_xr.open_cube(folder / "early.zarr")
            tamrf_xr.run_job(cube, folder / "out.zarr", queries, **how)
        cube = tamrf_xr.open_cube(folder / "whole.zarr")
        start = time.perf_counter()
        if way == "update":
            made = len(tamrf_xr.update(folder / "out.zarr", cube, progress=False).made)
        else:
            tamrf_xr.run_job(cube, folder / "out.zarr", queries, **how)
            made = len(queries)
        return {"seconds": time.perf_counter() - start, "dates": made}


def _two_years(shape: tuple[int, int], hr: int, lr: int) -> xr.DataTree:
    groups = groups_of(noise_cube(shape, hr=hr, lr=lr))
    counts = {"sentinel2": hr, "landsat": lr}
    return build_cube(
        {name: group.assign_coords(time=_times(counts[name])) for name, group in groups.items()}
    )


def _times(count: int) -> np.ndarray:
    days = pd.date_range("2021-01-03", "2022-12-28", periods=count).floor("D")
    return days.to_numpy()


if __name__ == "__main__":
    main()

"""Small random cubes for tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from affine import Affine
from pyproj import CRS

from tamrf_xr.cube import Grid, build_cube, build_group


def grid(shape, *, gsd=10.0, left=500_000.0, top=5_000_010.0, epsg=32631) -> Grid:
    return Grid(CRS(epsg), Affine(gsd, 0, left, 0, -gsd, top), shape)


def days(count, *, start="2022-01-03", step=11) -> pd.DatetimeIndex:
    return pd.date_range(start, periods=count, freq=f"{step}D")


def random_cube(shape=(36, 45), *, hr=4, lr=3, seed=0, sensors=("sentinel2", "landsat"), nan=0.0):
    """A cube of `shape` 10 m pixels with `hr` and `lr` dates; `nan` of its pixels are missing."""
    rng = np.random.default_rng(seed)
    groups = {}
    if "sentinel2" in sensors:
        groups["sentinel2"] = _group("sentinel2", rng, (hr, 10, *shape), grid(shape), nan)
    if "landsat" in sensors:
        coarse = (shape[0] // 3, shape[1] // 3)
        groups["landsat"] = _group("landsat", rng, (lr, 7, *coarse), grid(coarse, gsd=30.0), nan)
    return build_cube(groups)


def _group(sensor, rng, shape, place, nan):
    time, _, y, x = shape
    reflectance = rng.random(shape, dtype=np.float32) * 0.5
    reflectance[np.broadcast_to((rng.random((time, 1, y, x)) < nan), shape)] = np.nan
    thermal = {}
    if sensor == "landsat":
        thermal["surface_temperature"] = 280 + 30 * rng.random((time, y, x), dtype=np.float32)
    return build_group(
        sensor,
        reflectance,
        times=days(time, start="2022-01-03" if sensor == "sentinel2" else "2022-01-06"),
        grid=place,
        valid=rng.random((time, y, x)) < 0.7,
        **thermal,
    )


def rechunked(cube, *, time, band, y, x):
    """The same cube as dask arrays; sizes in 10 m pixels are thirds of them for Landsat."""
    from tamrf_xr.cube import groups_of

    return build_cube(
        {
            name: group.chunk(
                time=time,
                band=band,
                y=max(y // (3 if name == "landsat" else 1), 1),
                x=max(x // (3 if name == "landsat" else 1), 1),
            )
            for name, group in groups_of(cube).items()
        }
    )

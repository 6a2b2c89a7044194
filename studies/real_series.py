"""Real one-sensor series as cubes of the bands that a file has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from affine import Affine
from pyproj import CRS

from studies.shared import shared
from tamrf_xr.cube import Grid, build_cube, build_group
from tamrf_xr.sensors import SENTINEL2

CLEAR_SCL = (4, 5, 6, 11)
"""Plants, soil, water and snow; class 7 is cloud of low probability."""

FEWEST_PX = 15
"""Pixels along the edge of a field that is taken."""


def tanzania() -> xr.DataTree:
    """Return the semi-arid series near Arusha: bands of 20 m, repeated to 10 m; no visible ones."""
    source = xr.open_dataset(next(shared("real/tanzania_37MBS").glob("*.nc")), mask_and_scale=False)
    time = next(name for name in ("t", "time", "timestamp") if name in source.dims)
    dn = {
        name: _twice(source[name].transpose(time, "y", "x").values)
        for name in SENTINEL2.band_names
        if name in source
    }
    scl = _twice(source["SCL"].transpose(time, "y", "x").values)
    bands = {
        name: np.where((values > 0) & (values < 20_000), values / 1e4, np.nan)
        for name, values in dn.items()
    }
    left = float(source["x"].min()) - 10
    top = float(source["y"].max()) + 10
    down = source["y"].values[0] > source["y"].values[-1]
    return _cube(source[time].values, bands, scl, (left, top, 32737), down=down)


def finland() -> Iterator[xr.DataTree]:
    """Give the boreal fields with snow, 15 pixels and wider; B02 and B08 are not there."""
    for path in sorted(shared("real/finland_34WFS").glob("*.nc")):
        source = xr.open_dataset(path)
        if min(source.sizes["x"], source.sizes["y"]) < FEWEST_PX:
            continue
        pixels = source["band_data"].transpose("time", "band", "y", "x").values
        names = [f"B0{n[1:]}" if len(n) == 2 else n for n in source["band"].values.tolist()]
        bands = {name: pixels[:, i] for i, name in enumerate(names)}
        scl = source["SCL"].transpose("time", "y", "x").values
        left, top = float(source["x"].min()) - 5, float(source["y"].max()) + 5
        down = source["y"].values[0] > source["y"].values[-1]
        yield _cube(source["time"].values, bands, scl, (left, top, 32634), down=down)


def _cube(
    times: np.ndarray,
    bands: dict[str, np.ndarray],
    scl: np.ndarray,
    place: tuple[float, float, int],
    *,
    down: bool,
) -> xr.DataTree:
    """Build a cube from bands (time, y, x), cut to whole pixels of 30 m."""
    rows, cols = (side // 3 * 3 for side in scl.shape[1:])
    shown = slice(None) if down else slice(None, None, -1)
    names = tuple(name for name in SENTINEL2.band_names if name in bands)
    stacked = np.stack([bands[name] for name in names], 1)
    known = np.isfinite(stacked).all(axis=1)
    valid = (np.isin(scl, CLEAR_SCL) & known)[:, shown][:, :rows, :cols]
    stacked = stacked[:, :, shown][:, :, :rows, :cols].astype(np.float32)
    once = _clearest_of_days(times, valid)
    times, stacked, valid = times[once], stacked[once], valid[once]
    left, top, epsg = place
    grid = Grid(CRS(epsg), Affine(10, 0, left, 0, -10, top), (rows, cols))
    group = build_group("sentinel2", stacked, times=times, grid=grid, bands=names, valid=valid)
    return build_cube({"sentinel2": group})


def _clearest_of_days(times: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return one acquisition of each day, the clearest: swaths that overlap are seen twice."""
    days = times.astype("M8[D]")
    order = np.lexsort((-valid.mean(axis=(1, 2)), days))
    return order[np.unique(days[order], return_index=True)[1]]


def _twice(values: np.ndarray) -> np.ndarray:
    return values.repeat(2, -1).repeat(2, -2)

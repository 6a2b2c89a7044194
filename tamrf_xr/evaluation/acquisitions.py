"""What a sensor saw on one day: the references, inputs and pictures of evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from tamrf_xr.cube import groups_of
from tamrf_xr.days import count_days
from tamrf_xr.fuser import Scene, Series
from tamrf_xr.scale.reading import SensorSource, readable
from tamrf_xr.sensors import SENSORS, THERMAL
from tamrf_xr.store import SHARD
from tamrf_xr.tiles import Window

PIXELS = ("reflectance", "surface_temperature")
MEMORY = 2**30
"""Bytes of pixels held at once."""

CUBE_MEMORY = 2**32
"""Bytes of the largest cube that is held whole."""


def brought_near(cube: xr.DataTree, *, memory: float = CUBE_MEMORY) -> xr.DataTree:
    """Return the cube such that dates can be picked from it quickly.

    Picked lazily from a store, they are read one by one, and a chunk there holds whole series:
    80 s instead of 3 for one fusion of 330 x 330 pixels. In memory if it fits into `memory`
    bytes, else as dask arrays whose chunks are read whole.
    """
    groups = groups_of(cube)
    if any(array.chunks for group in groups.values() for array in group.values()):
        return cube
    if sum(group.nbytes for group in groups.values()) <= memory:
        near = {name: group.compute() for name, group in groups.items()}
    else:
        near = {
            name: group.chunk(time=-1, y=SHARD // ratio, x=SHARD // ratio)
            for name, group in groups.items()
            for ratio in [SENSORS[name].ratio]
        }
    return xr.DataTree.from_dict({"/": cube.to_dataset(), **near}, name=cube.name)


def bands_of(group: xr.Dataset) -> tuple[str, ...]:
    """Return the bands that a group holds, in its order, temperature last."""
    names = tuple(map(str, group["band"].values)) if "reflectance" in group else ()
    return (*names, THERMAL) if "surface_temperature" in group else names


def bands_by_sensor(cube: xr.DataTree) -> dict[str, tuple[str, ...]]:
    """Return the bands that a cube holds per sensor, in the order of the sensor table."""
    return {
        name: tuple(band.name for band in SENSORS[name].all_bands if band.name in bands_of(group))
        for name, group in groups_of(cube).items()
    }


def by_day(cube: xr.DataTree) -> xr.DataTree:
    """Return the cube with days for times, where those are not the dates; see `tamrf_xr.days`.

    All of evaluation goes by dates: acquisitions of one day on either side of midnight then have
    one date. The cube itself where there are none.
    """
    groups = groups_of(cube)
    times = {name: pd.DatetimeIndex(group["time"].values) for name, group in groups.items()}
    days = count_days(times)
    if all(index.equals(times[name].floor("D")) for name, index in days.items()):
        return cube
    dated = {name: group.assign_coords(time=days[name]) for name, group in groups.items()}
    tree = xr.DataTree.from_dict({"/": cube.to_dataset(), **dated}, name=cube.name)
    tree.encoding = cube.encoding
    return tree


def days_of(group: xr.Dataset) -> pd.DatetimeIndex:
    """Return the days on which a sensor observed, once each, in order."""
    return pd.DatetimeIndex(group["time"].values).floor("D").unique().sort_values()


def scene_on(group: xr.Dataset, day: pd.Timestamp) -> Scene | None:
    """Read one day of a sensor.

    Parameters
    ----------
    group
        The sensor's group; without ``valid`` whatever is finite is usable.
    day
        Midnight of the day.

    Returns
    -------
    Scene or None
        Where several acquisitions share the day, each pixel is the first valid one, see
        `tamrf_xr.scale.mosaic.mosaic`: the image that methods see. None where the sensor did
        not observe.
    """
    days = pd.DatetimeIndex(group["time"].values).floor("D")
    places = np.flatnonzero(days == day)
    if not len(places):
        return None
    return _read(group, places.tolist(), (*PIXELS, "valid")).scene(0)


class SceneReader:
    """Reads days of a sensor, a block of them at a time.

    Stores keep whole series in a chunk: day by day, each would be decompressed for every day.
    """

    def __init__(
        self, group: xr.Dataset, days: pd.DatetimeIndex, *, memory: float = MEMORY
    ) -> None:
        """Take the sensor's group, the days to be read in order, and the bytes of a block."""
        self._group, self._days = group, days.unique().sort_values()
        values = sum(group[name].size for name in PIXELS if name in group)
        self._size = max(int(memory / (4 * values / max(group.sizes["time"], 1) + 1)), 1)
        self._block, self._loaded = days[:0], group

    def read(self, day: pd.Timestamp) -> Scene | None:
        """Return one day; see `scene_on`."""
        if day not in self._block:
            start = int(self._days.searchsorted(day))
            self._block = self._days[start : start + self._size].union([day])
            times = pd.DatetimeIndex(self._group["time"].values).floor("D")
            self._loaded = self._group.isel(time=np.flatnonzero(times.isin(self._block))).load()
        return scene_on(self._loaded, day)


def predicted(group: xr.Dataset, position: int) -> Scene:
    """Read one date of a product; where a band is NaN it is not predicted."""
    made = _read(group, [position], PIXELS).scene(0)
    return replace(made, valid=np.asarray(np.isfinite(made.pixels).any(axis=0)))


def _read(group: xr.Dataset, places: list[int], variables: Sequence[str]) -> Series:
    """Read acquisitions of one day as a tile does, but in the order of the group's bands."""
    arrays = {name: readable(group[name].variable) for name in variables if name in group}
    held = group["band"].values.tolist() if "band" in group else []
    source = SensorSource(arrays, tuple((name, place) for place, name in enumerate(held)))
    whole = Window(slice(0, group.sizes["y"]), slice(0, group.sizes["x"]))
    return source.series(whole, [places])

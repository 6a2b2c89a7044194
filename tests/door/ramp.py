"""One scene whose truth is known at any point: what every layout of every producer shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from pyproj import CRS

from tamrf_xr.sensors import SENSORS

EPSG = 32631
LEFT, TOP = 499_980.0, 5_000_010.0
"""On the grids of both sensors, and on whole multiples of 10 m and of 30 m."""

EXTENT = 600.0
"""In metres; a scene may be larger, the ramp then goes on in waves."""

TIMES = {
    "sentinel2": pd.DatetimeIndex(
        [
            "2021-06-01T10:50:31.024",
            "2021-06-11T10:50:29.024",
            "2022-06-06T10:56:31.024",
            "2022-06-16T10:56:29.024",
        ]
    ),
    "landsat": pd.DatetimeIndex(
        [
            "2021-06-01T10:33:09.123456",
            "2021-06-17T10:33:13.654321",
            "2022-06-04T10:33:37.112233",
            "2022-06-20T10:33:45.332211",
        ]
    ),
}
"""Two before and two after the offset of processing baseline 04.00."""

BASELINES = ("03.00", "03.00", "04.00", "04.00")
CLOUD = 0.9
"""Reflectance of clouds."""

_DAY_ONE = pd.Timestamp("2021-06-01")
_CHUNK_M = 600.0


def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return 0..1, linear within `EXTENT`: means over a coarser pixel are values at its centre."""
    along = [np.abs((d / EXTENT + 1) % 2 - 1) for d in (x - LEFT, TOP - y)]
    return 0.6 * along[0] + 0.4 * along[1]


def reflectance(x, y, *, wavelength: float, days: float) -> np.ndarray:
    """Return reflectance: dark below 0.7 um, as vegetation is; no two bands or dates alike."""
    green = np.clip((wavelength - 0.68) / 0.185, 0.0, 1.0)
    season = 0.9 + 0.1 * days / 400
    low, span = 0.012 + 0.02 * wavelength + 0.13 * green, 0.06 + 0.24 * green
    return low + span * season * slope(x, y)


def temperature(x, y, *, days: float) -> np.ndarray:
    """Return kelvin, 281 to 310."""
    return 309.0 - 27.0 * slope(x, y) + days / 400


def cloudy(x, y, *, date: int) -> np.ndarray:
    """Tell where a rectangle of cloud stands, whole pixels of 60 m."""
    across, down = (x - LEFT) % EXTENT, (TOP - y) % EXTENT
    left, top = 60 + 60 * date, 240 - 60 * date
    return (across > left) & (across < left + 180) & (down > top) & (down < top + 180)


def missing(x, y) -> np.ndarray:
    """Tell where nothing was seen: a corner of 120 m."""
    return ((x - LEFT) % EXTENT > EXTENT - 120) & ((TOP - y) % EXTENT > EXTENT - 120)


@dataclass
class Counter:
    """Counts blocks as they are computed."""

    computed: int = 0
    blocks: int = 0


@dataclass(frozen=True)
class Scene:
    """The ramp on some grid, in memory or lazy."""

    size: int = 20
    """Pixels of Landsat along a side."""

    lazy: bool = False
    counter: Counter = field(default_factory=Counter)

    def grid(self, gsd: float) -> dict[str, np.ndarray]:
        """Return centres of pixels."""
        count = round(self.size * 30 / gsd)
        return {
            "y": TOP - (np.arange(count) + 0.5) * gsd,
            "x": LEFT + (np.arange(count) + 0.5) * gsd,
        }

    def bands(
        self, sensor: str, names: Sequence[str] | None = None, *, gsd: float | None = None
    ) -> xr.DataArray:
        """Return the true reflectance (time, band, y, x): clouds are bright, no data is NaN."""
        row = SENSORS[sensor]
        names = tuple(names or row.band_names)
        waves = {band.name: band.center_wavelength for band in row.bands}

        def seen(x, y, date, label):
            values = reflectance(
                x, y, wavelength=waves[names[label]], days=self._days(sensor, date)
            )
            return np.where(cloudy(x, y, date=date), CLOUD, values)

        return self._made(sensor, seen, gsd=gsd or row.gsd, labels=names)

    def heat(self, *, gsd: float = 30.0) -> xr.DataArray:
        """Return the true surface temperature (time, y, x) of Landsat; no data is NaN."""

        def seen(x, y, date, _label):
            return temperature(x, y, days=self._days("landsat", date))

        return self._made("landsat", seen, gsd=gsd, labels=("LST",)).isel(band=0, drop=True)

    def clouds(self, sensor: str, *, gsd: float | None = None) -> xr.DataArray:
        """Return 1 where there are clouds, 0 where not, NaN where nothing was seen."""

        def seen(x, y, date, _label):
            return cloudy(x, y, date=date).astype(float)

        made = self._made(sensor, seen, gsd=gsd or SENSORS[sensor].gsd, labels=("mask",))
        return made.isel(band=0, drop=True)

    @staticmethod
    def _days(sensor: str, date: int) -> float:
        return (TIMES[sensor][date] - _DAY_ONE) / pd.Timedelta(days=1)

    def _made(self, sensor: str, seen: Callable, *, gsd: float, labels) -> xr.DataArray:
        place = self.grid(gsd)
        x, y = place["x"], place["y"]

        def block(date: int, label: int, rows: slice, columns: slice) -> np.ndarray:
            xx, yy = np.meshgrid(x[columns], y[rows])
            return np.where(missing(xx, yy), np.nan, seen(xx, yy, date, label))

        shape = (len(TIMES[sensor]), len(labels), y.size, x.size)
        make = self._lazy if self.lazy else _whole
        data = make(block, shape, max(1, round(_CHUNK_M / gsd)))
        coords = {"time": TIMES[sensor], "band": list(labels), **place}
        return xr.DataArray(data, dims=("time", "band", "y", "x"), coords=coords)

    def _lazy(self, block: Callable, shape: tuple[int, ...], step: int) -> da.Array:
        def counted(block_info=None):
            self.counter.computed += 1
            (time, _), (band, _), rows, columns = block_info[None]["array-location"]
            return block(time, band, slice(*rows), slice(*columns))[None, None]

        chunks = da.core.normalize_chunks((1, 1, step, step), shape, dtype=float)
        made = da.map_blocks(counted, chunks=chunks, dtype=float, meta=np.empty((0,) * 4))
        self.counter.blocks += made.npartitions
        return made


def _whole(block: Callable, shape: tuple[int, ...], _step: int) -> np.ndarray:
    all_of = (slice(None), slice(None))
    return np.stack(
        [np.stack([block(t, b, *all_of) for b in range(shape[1])]) for t in range(shape[0])]
    )


def crs_attrs(gsd: float, *, wkt: str | None = None) -> dict[str, object]:
    """Return the attributes of a CF grid mapping."""
    crs = CRS(EPSG)
    text = wkt or crs.to_wkt()
    return {
        **{k: v for k, v in crs.to_cf().items() if k != "crs_wkt"},
        "crs_wkt": text,
        "spatial_ref": text,
        "GeoTransform": f"{LEFT} {gsd} 0.0 {TOP} 0.0 -{gsd}",
    }

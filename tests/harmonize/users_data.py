"""Data as users have them, and arrays that must not be read."""

from __future__ import annotations

import dask.array as da
import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from tamrf_xr.harmonize import as_cube
from tamrf_xr.sensors import SENTINEL2

CRS = "EPSG:32631"
BEFORE = np.array(["2021-06-01T10:30", "2021-06-06T10:30"], "M8[ns]")
AFTER = np.array(["2023-06-01T10:30", "2023-06-06T10:30"], "M8[ns]")


def place(shape, *, gsd=10.0, left=500_000.0, top=5_000_010.0):
    return {
        "y": top - (np.arange(shape[0]) + 0.5) * gsd,
        "x": left + (np.arange(shape[1]) + 0.5) * gsd,
    }


def band(values, *, times=BEFORE, crs=CRS, gsd=10.0, **where):
    values = np.asarray(values) if not hasattr(values, "dask") else values
    array = xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={"time": times, **place(values.shape[1:], gsd=gsd, **where)},
    )
    return array.rio.write_crs(crs) if crs else array


def numbers(seed=0, *, dtype="uint16", low=300, high=6000, shape=(2, 6, 9)):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def scene(names=SENTINEL2.band_names, *, raised=0, **options):
    """Numbers of L2A without the offset, as dark pixels show; `raised` by what it adds."""
    return xr.Dataset(
        {name: band(numbers(i) + np.uint16(raised), **options) for i, name in enumerate(names)}
    )


def landsat_numbers(seed=0, *, shape=(2, 6, 9)):
    return numbers(seed, low=7500, high=20000, shape=shape)


def landsat_scene(names, **options):
    """Numbers of Collection 2 Level-2 at 30 m."""
    thermal = {"lwir11", "ST_B10", "LST", "st_b10"}
    return xr.Dataset(
        {
            name: band(
                numbers(i, low=40000, high=46000) if name in thermal else landsat_numbers(i),
                **{"gsd": 30.0, **options},
            )
            for i, name in enumerate(names)
        }
    )


def group(source, sensor="sentinel2", **options):
    return as_cube(**{sensor: source}, **options)[sensor].to_dataset()


class Unreadable(BackendArray):
    """Lies in a file that must not be read."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __getitem__(self, key):
        raise AssertionError("read, although nothing has to be computed")


def unread(template):
    lazy = indexing.LazilyIndexedArray(Unreadable(template.shape, template.dtype))
    return xr.Variable(template.dims, lazy, template.attrs)


def uncomputable(shape, dtype="uint16"):
    def explode(block):
        raise AssertionError("computed")

    chunks = tuple((size,) for size in shape)
    return da.zeros(shape, dtype, chunks=chunks).map_blocks(
        explode, dtype=dtype, meta=np.empty(0, dtype)
    )


def written(data, names, dims, layout):
    data = data[list(names)].rename(names)
    if layout == "mapping":
        return {name: data[name].transpose(*(d for d in dims if d != "band")) for name in data}
    if layout == "dataset":
        return data.transpose(*(d for d in dims if d != "band"))
    stack = data.to_array("band").transpose(*dims)
    return stack.to_dataset(name="reflectance") if layout == "reflectance" else stack

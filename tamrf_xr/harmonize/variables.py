"""Find the variables: arrays by name in whatever holds them, their dimensions under plain names."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import rioxarray
import xarray as xr
from rasterio.errors import RasterioError

from tamrf_xr.errors import CubeError, SourceNotFoundError
from tamrf_xr.harmonize.declared import unsigned
from tamrf_xr.paths import is_url, readable
from tamrf_xr.spatial_ref import grid_mappings

_DIMS = {
    "time": ("time", "t", "timestamp", "date", "datetime"),
    "band": ("band", "bands", "variable"),
    "y": ("y", "lat", "latitude", "northing"),
    "x": ("x", "lon", "longitude", "easting"),
}


def names_in(source: Any) -> list[str]:
    """Return the names that tell which sensor `source` comes from: of variables and of bands."""
    if isinstance(source, xr.DataArray):
        return [_picked(source), *(labels_of(source) or [])]
    names = [str(name) for name in source]
    if isinstance(source, xr.Dataset):
        names += [label for array in source.values() for label in labels_of(array) or []]
    return names


def labels_of(array: xr.DataArray) -> list[str] | None:
    """Return the names along the band dimension, or None where there is no such dimension."""
    dim = find_dim(array.dims, "band")
    if dim is None:
        return None
    labels = array[dim].values.tolist() if dim in array.coords else range(array.sizes[dim])
    described = array.attrs.get("long_name")
    # rioxarray numbers the bands of a file and puts their descriptions here.
    if isinstance(described, (tuple, list)) and len(described) == len(labels):
        labels = described
    return [str(label) for label in labels]


def arrays_in(source: Any) -> Iterator[tuple[str, xr.DataArray]]:
    """Give the arrays of a Dataset, a DataArray or a mapping, each with its name."""
    if isinstance(source, xr.DataArray):
        yield _picked(source), source
    elif isinstance(source, xr.Dataset):
        beside = grid_mappings(source)
        for name, array in source.data_vars.items():
            if name not in beside:
                yield _called(name, array), array
    else:
        for name, value in source.items():
            yield str(name), value if isinstance(value, xr.DataArray) else _opened(name, value)


def _picked(array: xr.DataArray) -> str:
    """Return the name of an array; of one band that was picked from a stack, that of the band."""
    picked = array.coords.get("band", array.coords.get("bands"))
    return str(picked.item()) if picked is not None and not picked.ndim else str(array.name)


def _called(name: Hashable, array: xr.DataArray) -> str:
    """Return the name of a variable; of the numbered ones of rioxarray, their description."""
    described = array.attrs.get("long_name")
    numbered = str(name).startswith("band_") and str(name)[5:].isdigit()
    return described if numbered and isinstance(described, str) else str(name)


def _opened(name: str, path: Any) -> xr.DataArray:
    if not isinstance(path, (str, os.PathLike)):
        raise CubeError(f"band {name!r} is a {type(path).__name__}, expected a DataArray or a path")
    text = os.fspath(readable(path, f"band {name!r}"))
    if not is_url(text) and not text.startswith("/vsi") and not Path(text).exists():
        raise SourceNotFoundError(f"band {name!r}: no file at {text}; found nothing there")
    try:
        opened = rioxarray.open_rasterio(text, chunks={})
    except (OSError, RasterioError) as error:
        raise CubeError(f"band {name!r}: GDAL cannot open {text}: {error}; give a file") from error
    if not isinstance(opened, xr.DataArray):
        raise CubeError(f"band {name!r}: {text} holds subdatasets; name one of them")
    return opened


def find_dim(dims: Iterable[Hashable], wanted: str) -> Hashable | None:
    """Return the dimension that means `wanted`, or None."""
    return next((dim for dim in dims if str(dim).lower() in _DIMS[wanted]), None)


def plain_dims(array: xr.DataArray) -> xr.DataArray:
    """Return an array whose dimensions are called time, band, y and x; refuse any other."""
    found = {find_dim(array.dims, plain): plain for plain in _DIMS}
    renamed = {dim: plain for dim, plain in found.items() if dim is not None and dim != plain}
    clash = [name for name in renamed.values() if name in array.coords]
    array = array.drop_vars(clash).rename(renamed) if renamed else array
    array = unsigned(_with_known_coords(array))
    if strange := [str(dim) for dim in array.dims if dim not in _DIMS]:
        raise CubeError(
            f"'{array.name}' has dimensions {array.dims}; expected time, band, y, x: "
            f"select one of {', '.join(strange)}"
        )
    if missing := [name for name in ("y", "x") if name not in array.dims]:
        raise CubeError(f"'{array.name}' has dimensions {array.dims}; {missing} are missing")
    return array


def _with_known_coords(array: xr.DataArray) -> xr.DataArray:
    """Bring lazy coordinates into memory, and drop those of images: no statement is that large.

    Of a file that was opened with dask they are chunked too, otherwise than the pixels.
    """
    images = [name for name, coord in array.coords.items() if coord.ndim > 1]
    small = {n: c.compute() for n, c in array.coords.items() if c.chunks and n not in images}
    return array.drop_vars(images).assign_coords(small)

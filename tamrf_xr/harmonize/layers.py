"""What is in the data of one sensor: which arrays are bands, which are masks, under which names."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rioxarray
import xarray as xr

from tamrf_xr.cube import Grid
from tamrf_xr.dates import DateLike
from tamrf_xr.errors import CubeError, SourceNotFoundError
from tamrf_xr.harmonize.georeference import deferred, located, timed
from tamrf_xr.harmonize.masks import mask_role
from tamrf_xr.sensors import Sensor

_DIMS = {
    "time": ("time", "t"),
    "band": ("band", "bands", "variable"),
    "y": ("y", "lat", "latitude", "northing"),
    "x": ("x", "lon", "longitude", "easting"),
}
BAND, THERMAL = "band", "thermal"


@dataclass(frozen=True, slots=True)
class Place:
    """What the caller says of where and when the data lie."""

    crs: Any = None
    """CRS of data that do not carry their own."""

    time: DateLike | None = None
    """Times of data that do not carry their own."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Bands of one array, or one mask, brought to ``(time, band, y, x)`` or ``(time, y, x)``."""

    role: str
    """``"band"``, ``"thermal"``, or the role of a mask."""

    names: tuple[str, ...]
    """Names in a cube, per band; of a mask, its own."""

    array: xr.DataArray
    """Raw numbers, north up, with coordinates ``time``, ``y`` and ``x``."""

    grid: Grid
    """Where its pixels lie."""

    context: Mapping[str, Any]
    """Attributes of the array and of the dataset it came from."""


def read_layers(
    source: Any, sensor: Sensor, place: Place
) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """Find the bands and the masks in what a user gives for one sensor.

    Parameters
    ----------
    source
        Dataset, DataArray, or mapping of names to arrays or files.
    sensor
        The sensor.
    place
        Where and when, if the data do not say.

    Returns
    -------
    layers : tuple of Layer
        At least one of them a reflectance band.
    ignored : tuple of str
        Variables of a dataset that are no band of `sensor` and no mask.

    Raises
    ------
    CubeError
        If a name is unknown or comes twice, or there is no band.
    SourceNotFoundError
        If a file is not there.
    """
    context = dict(getattr(source, "attrs", {}))
    layers: list[Layer] = []
    ignored: list[str] = []
    for name, array in _arrays(source):
        read = _layers_of(name, array, sensor=sensor, context=context | array.attrs, place=place)
        found = [] if _is_beside(name, array, source) else list(read)
        layers += found
        if not found:
            ignored += [name] if isinstance(source, Mapping) else labels_of(array) or [name]
    # A dataset carries much that is no band; a band dimension or a mapping claims to hold bands.
    if ignored and not isinstance(source, xr.Dataset):
        raise CubeError(_unknown(ignored, sensor))
    _check_names(layers, sensor, ignored)
    return tuple(layers), tuple(ignored)


def _is_beside(name: str, array: xr.DataArray, source: Any) -> bool:
    """Tell whether an array with bands stands beside the reflectance, such as its uncertainty."""
    if not isinstance(source, xr.Dataset) or "reflectance" not in source:
        return False
    return name != "reflectance" and len(labels_of(array) or []) > 1


def names_in(source: Any) -> list[str]:
    """Return the names that tell which sensor `source` comes from: of variables and of bands."""
    if isinstance(source, xr.DataArray):
        return [str(source.name), *(labels_of(source) or [])]
    names = [str(name) for name in source]
    if isinstance(source, xr.Dataset):
        names += [label for array in source.values() for label in labels_of(array) or []]
    return names


def labels_of(array: xr.DataArray) -> list[str] | None:
    """Return the names along the band dimension, or None where there is no such dimension."""
    dim = _find_dim(array.dims, "band")
    if dim is None:
        return None
    labels = array[dim].values.tolist() if dim in array.coords else range(array.sizes[dim])
    described = array.attrs.get("long_name")
    # rioxarray numbers the bands of a file and puts their descriptions here.
    if isinstance(described, (tuple, list)) and len(described) == len(labels):
        labels = described
    return [str(label) for label in labels]


def _arrays(source: Any) -> Iterator[tuple[str, xr.DataArray]]:
    if isinstance(source, xr.DataArray):
        yield str(source.name), source
    elif isinstance(source, xr.Dataset):
        for name, array in source.data_vars.items():
            yield str(name), array
    elif isinstance(source, Mapping):
        for name, value in source.items():
            yield str(name), value if isinstance(value, xr.DataArray) else _opened(name, value)
    else:
        raise CubeError(
            f"a {type(source).__name__} is no data of a sensor; give a Dataset, a DataArray, or a "
            "mapping of band names to arrays or files (stores open with tamrf_xr.open_cube)"
        )


def _opened(name: str, path: Any) -> xr.DataArray:
    if not isinstance(path, (str, os.PathLike)):
        raise CubeError(f"band {name!r} is a {type(path).__name__}, expected a DataArray or a path")
    text = os.fspath(path)
    if "://" not in text and not text.startswith("/vsi") and not Path(text).exists():
        raise SourceNotFoundError(f"band {name!r}: no file at {text}; found nothing there")
    opened = rioxarray.open_rasterio(text, chunks={})
    if not isinstance(opened, xr.DataArray):
        raise CubeError(f"band {name!r}: {text} holds subdatasets; name one of them")
    return opened


def _layers_of(
    name: str, array: xr.DataArray, *, sensor: Sensor, context: Mapping[str, Any], place: Place
) -> Iterator[Layer]:
    """Yield the layers of one array: itself, or what lies along its band dimension."""
    itself = _role(name, sensor)
    labels = labels_of(array) or []
    if itself is not None:
        if len(labels) > 1:
            raise CubeError(f"'{name}' names one band, but holds {len(labels)}: {labels}")
        alone = _plain_dims(array)
        alone = alone.isel(band=0, drop=True) if labels else alone
        yield _single(*itself, _placed(alone, context, place), context)
    elif name == "reflectance" or any(_role(label, sensor) for label in labels):
        yield from _split(_placed(_plain_dims(array), context, place), labels, sensor, context)


def _role(name: str, sensor: Sensor) -> tuple[str, str] | None:
    """Return the role and the name in a cube of what a user calls `name`."""
    if role := mask_role(name):
        return role, role
    band = sensor.find(name)
    if band is None:
        return None
    return (THERMAL if band is sensor.thermal else BAND), band.name


def _find_dim(dims: Iterable[Hashable], wanted: str) -> Hashable | None:
    return next((dim for dim in dims if str(dim).lower() in _DIMS[wanted]), None)


def _plain_dims(array: xr.DataArray) -> xr.DataArray:
    found = {_find_dim(array.dims, plain): plain for plain in _DIMS}
    renamed = {dim: plain for dim, plain in found.items() if dim is not None and dim != plain}
    array = array.rename(renamed) if renamed else array
    if strange := [str(dim) for dim in array.dims if dim not in _DIMS]:
        raise CubeError(
            f"'{array.name}' has dimensions {array.dims}; expected time, band, y, x: "
            f"select one of {', '.join(strange)}"
        )
    if missing := [name for name in ("y", "x") if name not in array.dims]:
        raise CubeError(f"'{array.name}' has dimensions {array.dims}; {missing} are missing")
    return array


def _placed(
    array: xr.DataArray, context: Mapping[str, Any], place: Place
) -> tuple[xr.DataArray, Grid]:
    ordered = timed(array, place.time).transpose("time", "band", "y", "x", missing_dims="ignore")
    return located(ordered, context=context, crs=place.crs)


def _single(
    role: str, name: str, placed: tuple[xr.DataArray, Grid], context: Mapping[str, Any]
) -> Layer:
    array, grid = placed
    if role == BAND:
        array = deferred(array).expand_dims("band", axis=1)
    return Layer(role, (name,), array, grid, context)


def _split(
    placed: tuple[xr.DataArray, Grid],
    labels: Sequence[str],
    sensor: Sensor,
    context: Mapping[str, Any],
) -> Iterator[Layer]:
    array, grid = placed
    roles = [_role(label, sensor) for label in labels]
    if unknown := [label for label, role in zip(labels, roles, strict=True) if role is None]:
        raise CubeError(_unknown(unknown, sensor))
    found = [(*role, position) for position, role in enumerate(roles) if role is not None]
    order = sensor.band_names.index
    bands = sorted((order(name), name, at) for role, name, at in found if role == BAND)
    positions = [at for _, _, at in bands]
    if bands:
        whole = positions == list(range(array.sizes["band"]))
        stack = array if whole else array.isel(band=positions)
        yield Layer(BAND, tuple(name for _, name, _ in bands), stack, grid, context)
    for role, name, at in found:
        if role != BAND:
            yield Layer(role, (name,), array.isel(band=at, drop=True), grid, context)


def _unknown(names: Sequence[str], sensor: Sensor) -> str:
    known = ", ".join(f"{band.name} ({band.common_name})" for band in sensor.all_bands)
    return (
        f"unknown bands {', '.join(names)}; {sensor.title} has {known}; rename them, such as with "
        ".assign_coords(band=[...]), or leave them out"
    )


def _check_names(layers: Sequence[Layer], sensor: Sensor, ignored: Sequence[str]) -> None:
    names = [name for layer in layers for name in layer.names]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CubeError(
            f"{', '.join(twice)} comes more than once, under its own name or another; keep one"
        )
    if not any(layer.role == BAND for layer in layers):
        found = ", ".join([*names, *ignored]) or "nothing"
        raise CubeError(
            f"no reflectance band: found {found}; {sensor.title} has "
            f"{', '.join(sensor.band_names)}, or their common names"
        )

"""What is in the data of one sensor: which arrays are bands, which are masks, under which names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from tamrf_xr.cube import Grid
from tamrf_xr.dates import DateLike
from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.declared import NODATA, OFFSET, SCALE, UNITS
from tamrf_xr.harmonize.georeference import deferred, located, timed
from tamrf_xr.harmonize.masks import DEA_FMASK, HLS_FMASK, mask_role, masks_unknown
from tamrf_xr.harmonize.producers import (
    Producer,
    check_numbered,
    check_platform,
    is_of_dea,
    plain,
    producer_of,
    words_of,
)
from tamrf_xr.harmonize.variables import arrays_in, labels_of, names_in, plain_dims
from tamrf_xr.harmonize.wavelengths import check_wavelengths, wavelengths_of
from tamrf_xr.sensors import Sensor
from tamrf_xr.spatial_ref import find_crs

BAND, THERMAL = "band", "thermal"
_BY_BAND = {*SCALE, *OFFSET, *NODATA, *UNITS, "raster:bands", "eo:bands", "long_name"}
"""Attributes that may list one value a band."""


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

    called: str
    """What the user calls it."""

    array: xr.DataArray
    """Raw numbers, north up, with coordinates ``time``, ``y`` and ``x``."""

    grid: Grid
    """Where its pixels lie."""

    about: Mapping[str, Any]
    """Attributes of the dataset it came from."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one sensor."""

    layers: tuple[Layer, ...]
    """At least one of them a reflectance band."""

    ignored: tuple[str, ...]
    """Variables that are no band of the sensor and no mask, with the reason where one is known."""

    producer: str
    """Whose names these are; empty where they are those of the sensor table."""

    scaling: str = ""
    """What the producer's integers are, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class _Names:
    """How names are read."""

    sensor: Sensor
    producer: Producer | None
    dea: bool = False

    def role(self, name: str) -> tuple[str, str] | None:
        """Return the role and the name in a cube of what a user calls `name`."""
        short = plain(name)
        if role := mask_role(name) or mask_role(short):
            role = DEA_FMASK if self.dea and role == HLS_FMASK else role
            return role, role
        if self.producer is not None:
            if short in self.producer.others:
                return None
            if (known := self.producer.bands.get(short)) is not None:
                return (THERMAL if self._is_thermal(known) else BAND), known
        band = self.sensor.find(name) or self.sensor.find(short)
        if band is None:
            return None
        return (THERMAL if self._is_thermal(band.name) else BAND), band.name

    def why_not(self, name: str) -> str:
        """Return a name that is ignored, with the reason where one is known."""
        why = self.producer.others.get(plain(name)) if self.producer else None
        return f"{name} ({why})" if why else name

    def _is_thermal(self, name: str) -> bool:
        return self.sensor.thermal is not None and name == self.sensor.thermal.name


def read_layers(source: Any, sensor: Sensor, place: Place) -> Found:
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
    Found
        Bands and masks, by their names in a cube.

    Raises
    ------
    CubeError
        If a name is unknown or comes twice, means another wavelength, or there is no band.
    SourceNotFoundError
        If a file is not there.
    """
    if not isinstance(source, (xr.DataArray, Mapping)):
        raise CubeError(
            f"a {type(source).__name__} is no data of a sensor; give a Dataset, a DataArray, or a "
            "mapping of band names to arrays or files (stores open with tamrf_xr.open_cube)"
        )
    words, named = words_of(source), names_in(source)
    check_platform(words, sensor)
    producer = producer_of(words, named, sensor.name)
    if producer is None:
        check_numbered(sensor, named, words)
    names = _Names(sensor, producer, is_of_dea(words, named))
    about = dict(source.attrs) if isinstance(source, xr.Dataset) else {}
    if isinstance(source, xr.Dataset) and (crs := find_crs(source)) is not None:
        about["crs"] = crs
    layers, ignored = _sorted_out(source, names, about, place)
    # A dataset carries much that is no band; a band dimension or a mapping claims to hold bands.
    unexplained = [name for name in ignored if names.why_not(name) == name]
    if unexplained and not isinstance(source, xr.Dataset):
        raise CubeError(_unknown(unexplained, sensor))
    _check_names(layers, sensor, ignored)
    _check_masks(layers, ignored)
    whose = (producer.title, producer.scaling) if producer else ("", "")
    return Found(tuple(layers), tuple(map(names.why_not, ignored)), *whose)


def _sorted_out(
    source: Any, names: _Names, about: Mapping[str, Any], place: Place
) -> tuple[list[Layer], list[str]]:
    layers: list[Layer] = []
    ignored: list[str] = []
    for name, array in arrays_in(source):
        found = (
            []
            if _is_beside(name, array, source)
            else list(_layers_of(name, array, names=names, about=about, place=place))
        )
        layers += found
        labels = labels_of(array) or []
        if not found:
            ignored += [name] if isinstance(source, Mapping) else labels or [name]
        elif names.role(name) is None:
            ignored += [label for label in labels if names.role(label) is None]
    return layers, ignored


def _is_beside(name: str, array: xr.DataArray, source: Any) -> bool:
    """Tell whether an array with bands stands beside the reflectance, such as its uncertainty."""
    if not isinstance(source, xr.Dataset) or "reflectance" not in source:
        return False
    return name != "reflectance" and len(labels_of(array) or []) > 1


def _layers_of(
    name: str, array: xr.DataArray, *, names: _Names, about: Mapping[str, Any], place: Place
) -> Iterator[Layer]:
    """Yield the layers of one array: itself, or what lies along its band dimension."""
    itself = names.role(name)
    labels = labels_of(array) or []
    if itself is not None:
        if len(labels) > 1:
            raise CubeError(f"'{name}' names one band, but holds {len(labels)}: {labels}")
        alone = plain_dims(array)
        alone = alone.isel(band=0, drop=True) if labels else alone
        if itself[0] in {BAND, THERMAL}:
            check_wavelengths(itself[1:], wavelengths_of(alone, 1), names.sensor)
        yield _single(itself, name, _placed(alone, about, place), about)
    elif name == "reflectance" or any(names.role(label) for label in labels):
        placed = _placed(plain_dims(array), about, place)
        yield from _split(placed, labels, names, about)


def _placed(
    array: xr.DataArray, about: Mapping[str, Any], place: Place
) -> tuple[xr.DataArray, Grid]:
    ordered = timed(array, place.time).transpose("time", "band", "y", "x", missing_dims="ignore")
    return located(ordered, context=dict(about) | array.attrs, crs=place.crs)


def _single(
    found: tuple[str, str],
    called: str,
    placed: tuple[xr.DataArray, Grid],
    about: Mapping[str, Any],
) -> Layer:
    (role, name), (array, grid) = found, placed
    if role == BAND:
        array = deferred(array).expand_dims("band", axis=1)
    return Layer(role, (name,), called, array, grid, about)


def _split(
    placed: tuple[xr.DataArray, Grid],
    labels: Sequence[str],
    names: _Names,
    about: Mapping[str, Any],
) -> Iterator[Layer]:
    array, grid = placed
    roles = [names.role(label) for label in labels]
    unknown = [
        label
        for label, role in zip(labels, roles, strict=True)
        if role is None and names.why_not(label) == label
    ]
    if unknown:
        raise CubeError(_unknown(unknown, names.sensor))
    found = [(*role, position) for position, role in enumerate(roles) if role is not None]
    _check_lengths(array, found, names.sensor)
    order = names.sensor.band_names.index
    bands = sorted((order(name), name, at) for role, name, at in found if role == BAND)
    positions = [at for _, _, at in bands]
    if bands:
        whole = positions == list(range(array.sizes["band"]))
        stack = array if whole else _bands_at(array, positions)
        called = ", ".join(labels[at] for at in positions)
        yield Layer(BAND, tuple(name for _, name, _ in bands), called, stack, grid, about)
    for role, name, at in found:
        if role != BAND:
            alone = _bands_at(array, [at]).isel(band=0, drop=True)
            yield Layer(role, (name,), labels[at], alone, grid, about)


def _bands_at(array: xr.DataArray, positions: Sequence[int]) -> xr.DataArray:
    """Select bands, and with them their part of attributes that list one value a band."""
    count, chosen = array.sizes["band"], array.isel(band=list(positions))
    for name, value in array.attrs.items():
        if isinstance(value, (tuple, list)) and len(value) == count and name in _BY_BAND:
            chosen.attrs[name] = tuple(value[at] for at in positions)
    return chosen


def _check_lengths(
    array: xr.DataArray, found: Sequence[tuple[str, str, int]], sensor: Sensor
) -> None:
    lengths = wavelengths_of(array, array.sizes["band"])
    spectral = [(name, lengths[at]) for role, name, at in found if role in {BAND, THERMAL}]
    check_wavelengths([name for name, _ in spectral], [one for _, one in spectral], sensor)


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


def _check_masks(layers: Sequence[Layer], ignored: Sequence[str]) -> None:
    """Refuse to drop the only mask that there is because its name is not known."""
    known = [layer for layer in layers if layer.role not in {BAND, THERMAL}]
    if not known and (strange := masks_unknown(ignored)):
        raise CubeError(
            f"{', '.join(strange)} look like masks of a kind that is not known, and no other is "
            "there: give a bool variable 'valid', True where usable, such as "
            f".assign(valid=data['{strange[0]}'] == 0), or drop it with .drop_vars"
        )

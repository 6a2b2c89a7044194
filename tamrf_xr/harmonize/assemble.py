"""`as_cube`: tell the sensors apart, bring each to the schema, and put the cube together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.cube import Grid, build_cube, build_group, clip, grid_of, groups_of, validate
from tamrf_xr.dates import DateLike
from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.georeference import deferred, parse_crs, regrid, same_grid
from tamrf_xr.harmonize.layers import BAND, THERMAL, Layer, Place, names_in, read_layers
from tamrf_xr.harmonize.masks import mask_role, usable
from tamrf_xr.harmonize.units import Raw, Said, check_physical, to_units
from tamrf_xr.sensors import LANDSAT, SENSORS, Sensor, get_sensor

_BANDS_OF_BOTH = {"b01", "b1", "coastal"}
"""Sentinel-2 has a coastal band too, though no cube holds it: no sign of Landsat."""

_MASKS_OF = {"scl": "sentinel2", "qa_pixel": "landsat", "qa_radsat": "landsat"}
_SIGNS = {"sentinel2": ("sentinel-2", "sentinel2"), "landsat": ("landsat",)}
_STALE = {"sensor", "crs", "transform", "resolution", "grid_mapping", "long_name", "units"}


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options of `as_cube`."""

    crs: Any
    time: Any
    harmonized: bool | None
    scaling: Any

    def place(self, name: str) -> Place:
        return Place(self.crs, _for_sensor(self.time, name))

    def said(self, name: str) -> Said:
        return Said(_for_sensor(self.scaling, name), self.harmonized)


def _for_sensor(option: Any, name: str) -> Any:
    return option.get(name) if isinstance(option, Mapping) else option


def as_cube(
    data: Any = None,
    *,
    sentinel2: Any = None,
    landsat: Any = None,
    sensor: str | None = None,
    crs: Any = None,
    time: DateLike | Mapping[str, DateLike] | None = None,
    harmonized: bool | None = None,
    scaling: str | Mapping[str, str] | None = None,
) -> xr.DataTree:
    """Make a cube from what you have.

    Names, order, scale, masks, south-up rows and mixed resolutions are brought to the schema;
    what is right already passes through unread. Lazy data stay lazy. Nothing is shifted or
    guessed in silence: what was done stands in the attributes ``processing``, ``masks``,
    ``resampled`` and ``ignored`` of each group. Two sensors whose grids nest are cut to the ground
    that both cover.

    Parameters
    ----------
    data
        A DataTree with ``/sentinel2`` and ``/landsat``, a mapping of these names, or the data of
        one sensor, told by its bands, masks or attributes.
    sentinel2, landsat
        Data of one sensor: a Dataset with a variable per band or with ``reflectance``, a DataArray
        with a band dimension, or a mapping of band names to DataArrays or to paths of GeoTIFFs.
        Bands answer to ``B02``, ``b2``, ``blue``, ``SR_B2``, ``ST_B10`` ... in any case, and may be
        fewer than the sensor has. Masks are ``valid`` (True = usable; if there, it alone counts),
        ``SCL``, ``QA_PIXEL`` and ``QA_RADSAT``. Other variables of a Dataset are ignored; other
        names in a band dimension or in a mapping are an error.
        Bands of a mapping may lie on grids of different resolution: they are brought to the finest
        by cubic convolution, masks by the nearest pixel (for dask, whole scenes at a time: save the
        cube before you fuse a large one).
    sensor
        Name of the sensor of `data`, where that is not plain.
    crs
        Coordinate reference system of data that carry none.
    time
        Acquisition times of data that carry none; per sensor if a mapping.
    harmonized
        Sentinel-2 integers since 25 January 2022 without a known processing baseline: True if the
        offset of baseline 04.00 has been removed, False if not. True overrides the baseline.
    scaling
        ``"dn"``: numbers of the Level-2 product, whatever their type; ``"ls2s2"``: reflectance
        x 10000 and kelvin x 10; per sensor if a mapping. By default ``scale_factor`` and
        ``add_offset`` of the data count, floats are reflectance 0..1 and kelvin (checked only
        where they lie in memory), int16 is
        ``"ls2s2"`` for Landsat, and for Sentinel-2 if its nodata is negative; other integers are
        ``"dn"``. DN 0, the declared nodata, and -10000 and -32768 of int16 become NaN.

    Returns
    -------
    xarray.DataTree
        The cube: float32, NaN where there is no data. `data` itself if it is one already.

    Raises
    ------
    CubeError
        Saying what is wrong, in which group, and the way out.
    DateError
        If `time` is no date.
    SourceNotFoundError
        If a file is not there.

    Examples
    --------
    >>> dn = xr.DataArray(
    ...     np.full((2, 2, 2), 2000, "uint16"),
    ...     dims=("time", "y", "x"),
    ...     coords={"time": np.array(["2022-06-01", "2022-06-06"], "M8[ns]")},
    ... ).assign_coords(y=[5000015.0, 5000005.0], x=[500005.0, 500015.0])
    >>> cube = as_cube(
    ...     sentinel2=xr.Dataset({"blue": dn, "nir": dn}), crs="EPSG:32631", harmonized=False
    ... )
    >>> cube["sentinel2"]["band"].values.tolist()
    ['B02', 'B08']
    >>> round(float(cube["sentinel2"]["reflectance"][0, 0, 0, 0]), 4)
    0.1
    """
    given = {"sentinel2": sentinel2, "landsat": landsat}
    given = {name: source for name, source in given.items() if source is not None}
    asked = _Asked(crs, time, harmonized, scaling)
    if not given and isinstance(data, xr.DataTree) and _is_cube(data, asked):
        return data
    found = {} if data is None else _sources(data, sensor)
    if twice := sorted(found.keys() & given.keys()):
        raise CubeError(f"/{twice[0]} is in data and in {twice[0]}=; give it once")
    sources = found | given
    if not sources:
        raise CubeError("no data: give data, or sentinel2= and landsat=")
    groups = {name: _group(name, sources[name], asked) for name in SENSORS if name in sources}
    return _joined(groups, data.attrs if isinstance(data, xr.DataTree) else {})


def _is_cube(tree: xr.DataTree, asked: _Asked) -> bool:
    groups = groups_of(tree)
    if not groups or not all(_is_proper(name, group, asked) for name, group in groups.items()):
        return False
    try:
        validate(tree)
    except CubeError:
        return False
    return True


def _is_proper(name: str, group: Any, asked: _Asked) -> bool:
    """Tell whether a group may pass as it is."""
    if not isinstance(group, xr.Dataset) or _for_sensor(asked.scaling, name) is not None:
        return False
    if not _is_typed(group):
        return False
    try:
        validate(xr.DataTree.from_dict({name: group}))
        check_physical(group["reflectance"], thermal=False)
        if "surface_temperature" in group:
            check_physical(group["surface_temperature"], thermal=True)
    except CubeError:
        return False
    return asked.crs is None or grid_of(group).crs == parse_crs(asked.crs)


def _is_typed(group: xr.Dataset) -> bool:
    expected = {"reflectance": np.float32, "surface_temperature": np.float32, "valid": np.bool_}
    if not {"reflectance", "band", "y", "x", "time"} <= group.variables.keys():
        return False
    if group["time"].dtype.kind != "M" or not group.sizes["time"]:
        return False
    unread = any(mask_role(str(name)) not in {None, "valid"} for name in group.data_vars)
    right = all(group[name].dtype == kind for name, kind in expected.items() if name in group)
    return right and ("valid" in group or not unread)


def _sources(data: Any, sensor: str | None) -> dict[str, Any]:
    """Return what each sensor has."""
    if isinstance(data, xr.DataTree):
        if groups := groups_of(data):
            return dict(groups)
        data = data.to_dataset()
    elif isinstance(data, Mapping) and data and data.keys() <= SENSORS.keys():
        return {str(name): source for name, source in data.items()}
    if sensor is not None:
        return {get_sensor(sensor).name: data}
    return {_recognised(data): data}


def _recognised(data: Any) -> str:
    if not isinstance(data, (xr.DataArray, Mapping)):
        raise CubeError(
            f"a {type(data).__name__} is no data of a sensor; give a DataTree, a Dataset, a "
            "DataArray, or a mapping (stores open with tamrf_xr.open_cube)"
        )
    names = names_in(data)
    found = _signs_in_attributes(data) or _signs_in_names(names)
    if len(found) != 1:
        what = "of no sensor alone" if not found else "of two sensors"
        raise CubeError(
            f"cannot tell the sensor: {', '.join(names) or 'no names'} are {what}; pass the data "
            "as sentinel2= or landsat=, or name the sensor with sensor="
        )
    return found.pop()


def _signs_in_attributes(data: Any) -> set[str]:
    attrs, coords = getattr(data, "attrs", {}), getattr(data, "coords", {})
    words: list[str] = []
    for key in ("sensor", "platform", "constellation"):
        words += [str(attrs[key])] if key in attrs else []
        words += (
            [str(v) for v in np.unique(coords[key].values.astype(str))] if key in coords else []
        )
    return {
        name for name, signs in _SIGNS.items() for w in words if any(s in w.lower() for s in signs)
    }


def _signs_in_names(names: Sequence[str]) -> set[str]:
    found = set()
    for name in names:
        owners = {key for key, sensor in SENSORS.items() if sensor.find(name)}
        owners |= {_MASKS_OF[role] for role in [mask_role(name)] if role in _MASKS_OF}
        if len(owners) == 1 and name.lower() not in _BANDS_OF_BOTH:
            found |= owners
    return found


def _group(name: str, source: Any, asked: _Asked) -> xr.Dataset:
    try:
        if _is_proper(name, source, asked):
            proper: xr.Dataset = source
            return proper
        return _harmonized(SENSORS[name], source, asked)
    except CubeError as error:
        raise CubeError(f"/{name}: {error}") from error


def _harmonized(sensor: Sensor, source: Any, asked: _Asked) -> xr.Dataset:
    layers, ignored = read_layers(source, sensor, asked.place(sensor.name))
    _check_times(layers)
    target = min((la.grid for la in layers if la.role == BAND), key=lambda grid: grid.gsd)
    said = asked.said(sensor.name)
    ready = [
        _ready(layer, sensor, said, target) for layer in layers if layer.role in {BAND, THERMAL}
    ]
    names, reflectance = _stacked([one for one in ready if one.role == BAND], sensor)
    thermal = next((one.values.variable for one in ready if one.role == THERMAL), None)
    masks = _chosen(layers)
    done = {
        "processing": "; ".join(dict.fromkeys(one.note for one in ready if one.note)),
        "masks": ", ".join(mask.role for mask in masks),
        "resampled": ", ".join(filter(None, (_moved(layer, target) for layer in layers))),
        "ignored": ", ".join(ignored),
    }
    return build_group(
        sensor,
        reflectance,
        times=layers[0].array["time"].values,
        grid=target,
        bands=names,
        valid=_valid(masks, target),
        surface_temperature=thermal,
        attrs=_kept(source) | {key: text for key, text in done.items() if text},
    )


def _check_times(layers: Sequence[Layer]) -> None:
    first = layers[0]
    for layer in layers[1:]:
        one, other = first.array["time"].values, layer.array["time"].values
        if not np.array_equal(one, other):
            raise CubeError(
                f"{first.names[0]} has {one.size} acquisitions, {layer.names[0]} {other.size}, "
                "at other times; give every band and mask the same times, in the same order"
            )


@dataclass(frozen=True, slots=True)
class _Ready:
    """A layer in physical units, on the grid of its group."""

    role: str
    names: tuple[str, ...]
    values: xr.DataArray
    note: str


def _ready(layer: Layer, sensor: Sensor, said: Said, target: Grid) -> _Ready:
    raw = Raw(layer.array, layer.context, sensor.name, layer.role == THERMAL)
    try:
        physical, note = to_units(raw, said)
        values = regrid(physical, source=layer.grid, target=target, nearest=False)
    except CubeError as error:
        raise CubeError(f"{', '.join(layer.names)}: {error}") from error
    return _Ready(layer.role, layer.names, values, note)


def _stacked(bands: Sequence[_Ready], sensor: Sensor) -> tuple[tuple[str, ...], xr.Variable]:
    """Put bands in the order of the sensor table; one stack in order is not touched."""
    rank = sensor.band_names.index
    bands = sorted(bands, key=lambda one: rank(one.names[0]))
    names = [name for one in bands for name in one.names]
    stack = bands[0].values.variable
    if len(bands) > 1:
        plain = [deferred(one.values).drop_vars(list(one.values.coords)) for one in bands]
        stack = xr.concat(plain, dim="band").variable
    order = sorted(range(len(names)), key=lambda position: rank(names[position]))
    if order != list(range(len(names))):
        stack = stack.isel(band=order)
    return tuple(names[position] for position in order), stack


def _chosen(layers: Sequence[Layer]) -> list[Layer]:
    """Return the masks that count: ``valid`` alone if it is there, else every quality layer."""
    masks = [layer for layer in layers if layer.role not in {BAND, THERMAL}]
    return [mask for mask in masks if mask.role == "valid"] or masks


def _valid(masks: Sequence[Layer], target: Grid) -> xr.Variable | None:
    read = [
        regrid(usable(mask.array, mask.role), source=mask.grid, target=target, nearest=True)
        for mask in masks
    ]
    return reduce(and_, (mask.variable for mask in read)) if read else None


def _moved(layer: Layer, target: Grid) -> str:
    if same_grid(layer.grid, target):
        return ""
    how = "cubic" if layer.role in {BAND, THERMAL} else "nearest"
    return f"{', '.join(layer.names)} from {layer.grid.gsd:g} to {target.gsd:g} m ({how})"


def _kept(source: Any) -> dict[str, Any]:
    """Return the attributes of a dataset that still hold, and that every format can store."""
    attrs = source.attrs if isinstance(source, xr.Dataset) else {}
    return {
        key: value
        for key, value in attrs.items()
        if key not in _STALE and isinstance(value, (str, int, float))
    }


def _joined(groups: Mapping[str, xr.Dataset], attrs: Mapping[Any, Any]) -> xr.DataTree:
    title, history = str(attrs.get("title", "")), str(attrs.get("history", ""))
    if _nest_apart([grid_of(group) for group in groups.values()]):
        groups = groups_of(clip(xr.DataTree.from_dict(dict(groups))))
        history = f"{history}\ncut to the ground that both sensors cover".strip()
    return build_cube(groups, title=title, history=history)


def _nest_apart(grids: Sequence[Grid]) -> bool:
    """Tell whether grids nest but cover different ground; what does not nest is for `validate`."""
    fine, coarse = grids[0], grids[-1]
    if fine.crs != coarse.crs or not np.isclose(coarse.gsd, LANDSAT.ratio * fine.gsd):
        return False
    steps = (np.array(coarse.bounds) - np.array(fine.bounds)) / fine.gsd
    return bool(np.all(abs(steps - np.round(steps)) < 1e-3) and np.any(abs(steps) > 1e-3))

"""`as_cube`, the way in, on one page.

Find the variables, name the bands, place the grid, read the numbers and the masks, question the
values, order the dates; refuse with words that help what stays open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import and_
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tamrf_xr.cube import Grid, build_cube, build_group, clip, grid_of, groups_of, is_product
from tamrf_xr.dates import DateLike
from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.asked import Asked
from tamrf_xr.harmonize.carrying import may_pass, taken_apart, with_carried
from tamrf_xr.harmonize.declared import declared
from tamrf_xr.harmonize.georeference import deferred
from tamrf_xr.harmonize.grids import Placed, bring, bring_mask, kernel, moves, place, told
from tamrf_xr.harmonize.layers import BAND, THERMAL, Found, Layer, read_layers
from tamrf_xr.harmonize.masks import is_blank, usable
from tamrf_xr.harmonize.numbers import Units, seen_as, to_physical
from tamrf_xr.harmonize.passing import UNREAD, is_cube, is_proper
from tamrf_xr.harmonize.report import Row, is_spectral, render, row_of_band, row_of_mask
from tamrf_xr.harmonize.sources import sources_of
from tamrf_xr.harmonize.units import units_of
from tamrf_xr.harmonize.values import Look, check_option, look_at
from tamrf_xr.resample import same_grid
from tamrf_xr.sensors import LANDSAT, SENSORS, Sensor

_STALE = {"sensor", "crs", "transform", "resolution", "grid_mapping", "long_name", "units"}


def as_cube(
    data: Any = None,
    *,
    sentinel2: Any = None,
    landsat: Any = None,
    sentinel1: Any = None,
    sensor: str | None = None,
    crs: Any = None,
    time: DateLike | Mapping[str, DateLike] | None = None,
    harmonized: bool | None = None,
    offset: Any = None,
    scaling: str | Mapping[str, str] | None = None,
    regrid: str | None = None,
    check: str = "sample",
    report: bool = False,
) -> xr.DataTree:
    """Make a cube from what you have.

    Names, order, scale, masks, south-up rows and mixed resolutions are brought to the schema;
    what is right already passes through. Lazy data stay lazy, but for a sample that is looked at.
    Nothing is shifted or guessed in silence: what was done stands in the attributes
    ``processing``, ``masks``, ``resampled``, ``ignored``, ``producer`` and ``moved`` of each group.
    Two sensors whose grids nest are cut to the ground that both cover.

    Parameters
    ----------
    data
        A DataTree with ``/sentinel2`` and ``/landsat``, a mapping of these names, or the data of
        one sensor, told by its platform, collection, bands, masks or attributes.
    sentinel2, landsat
        Data of one sensor: a Dataset with a variable per band or with ``reflectance``, a DataArray
        with a band dimension, or a mapping of band names to DataArrays or to paths of GeoTIFFs.
        Bands answer to ``B02``, ``b2``, ``blue``, ``SR_B2``, ``ST_B10`` ... in any case, and to the
        names of producers that docs/cubes.md lists; they may be fewer than the sensor has. Masks
        are ``valid`` (True = usable; if there, it alone counts), ``SCL``, ``QA_PIXEL``,
        ``QA_RADSAT``, ``pixel_qa``, ``Fmask``, ``QA60``, ``QAI``. Other variables of a Dataset are
        ignored and named, but for a mask of an unknown kind that is the only one: an error. Other
        names in a band dimension or in a mapping are an error.
        Bands may lie on grids of different resolution: they are brought to the finest by cubic
        convolution, masks by the nearest pixel, block by block.
    sentinel1
        Backscatter that the cube carries and no method uses yet: ``vv``, ``vh`` as linear power or
        dB, calibrated, corrected for terrain, on pixels of 10 m; see docs/sentinel1.md.
    sensor
        Name of the sensor of `data`, where that is not plain.
    crs
        Coordinate reference system of data that carry none.
    time
        Acquisition times of data that carry none; per sensor if a mapping.
    harmonized
        Sentinel-2 numbers without a known processing baseline: True if the offset of baseline
        04.00 has been removed, False if not. True overrides the baseline.
    offset
        Reflectance to add after scaling, in place of what the data state: for Sentinel-2 ``0`` or
        ``-0.1``, or one value an acquisition; for other sensors as a mapping.
    scaling
        ``"dn"``: numbers of the Level-2 product, whatever their type; ``"ls2s2"``: reflectance
        x 10000 and kelvin x 10; ``"physical"``: reflectance 0..1 and kelvin as they are;
        ``"stated"``: what ``scale_factor`` and ``add_offset`` say, of floats too; per sensor if a
        mapping (of Sentinel-1 ``"power"`` or ``"dB"``). By default the statements of the data count
        (attributes, encoding, STAC ``raster:bands``, units), held against the values; without any,
        floats are physical, int16 is ``"ls2s2"`` for Landsat (asked for where it may be ``"dn"``);
        other integers are ``"dn"``. Declared nodata, and 0, 65535, -9999, -999, -10000, -32768
        where they can be no pixel, become NaN.
    regrid
        None: pixels must be 10 m (Sentinel-2) and 30 m (Landsat). ``"nested"``: any pixels are
        brought onto a nested pair, in phase: Sentinel-2 keeps its own where they are 10 m; Landsat
        goes to the nearest corner of a Sentinel-2 pixel (cubic convolution; untouched where its own
        pixels nest), and from finer pixels to 30 m by the mean of what is valid.
    check
        What is read to question the values: ``"sample"``, a few chunks of lazy data, spread over
        dates and ground; ``"full"``, every chunk once; ``"off"``, nothing that is lazy.
    report
        Print what was understood of each variable, and why.

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
    OptionError
        If `regrid` or `check` is unknown.
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
    check_option(check)
    asked = Asked(crs, time, harmonized, offset, scaling, regrid, check)
    data, carried = taken_apart(data, sentinel1)
    given = {"sentinel2": sentinel2, "landsat": landsat}
    given = {name: source for name, source in given.items() if source is not None}
    plain = not given and sentinel1 is None
    if plain and isinstance(data, xr.DataTree) and _passes(data, groups_of(data), asked):
        if report:
            print("a cube already: taken as it is")  # noqa: T201 (asked for)
        return data
    sources = sources_of(data, sensor) if data is not None else {}
    if twice := sorted(sources.keys() & given.keys()):
        raise CubeError(f"/{twice[0]} is in data and in {twice[0]}=; give it once")
    sources = sources | given
    if not sources:
        raise CubeError("no data: give data, or sentinel2= and landsat=, which carry sentinel1=")
    asked.check_for(sources)
    groups, texts = _made(sources, asked)
    cube = _joined(groups, data.attrs if isinstance(data, xr.DataTree) else {})
    if carried is not None:
        cube, understood = with_carried(cube, carried, asked)
        texts.append(partial(str, understood))
    if report:
        print("\n".join(text() for text in texts))  # noqa: T201 (asked for)
    return cube


def read_cube(data: Any) -> tuple[xr.DataTree, dict[str, xr.Dataset]]:
    """Return a cube, made of what is none, and its groups, read once; products pass."""
    if isinstance(data, xr.DataTree):
        groups = groups_of(data)
        if any(map(is_product, groups.values())) or _passes(data, groups, Asked()):
            return data, groups
    cube = as_cube(data)
    return cube, groups_of(cube)


def _passes(tree: xr.DataTree, groups: Mapping[str, xr.Dataset], asked: Asked) -> bool:
    ours = "tamrf_cube_version" in tree.attrs
    return is_cube(groups, asked, ours=ours) and may_pass(tree, asked)


def _made(
    sources: Mapping[str, Any], asked: Asked
) -> tuple[dict[str, xr.Dataset], list[Callable[[], str]]]:
    """Make the groups, and reports of them; what is right already passes as it is."""
    names = [name for name in SENSORS if name in sources]
    if asked.regrid is None and all(is_proper(name, sources[name], asked) for name in names):
        right = [partial(str, f"/{name}\n  right already: taken as it is") for name in names]
        return {name: sources[name] for name in names}, list(right)
    found = {
        name: _in_group(name, read_layers, sources[name], SENSORS[name], asked.place(name))
        for name in names
    }
    placed = place({name: one.layers for name, one in found.items()}, asked.regrid)
    groups: dict[str, xr.Dataset] = {}
    texts: list[Callable[[], str]] = []
    for name in names:
        group, text = _in_group(name, _group, placed[name], found[name], asked)
        groups[name] = group.assign_attrs(_kept(sources[name]) | group.attrs)
        texts.append(text)
    return groups, texts


def _in_group(name: str, call: Any, *arguments: Any) -> Any:
    """Call, and put the group before what is wrong with it."""
    try:
        return call(*arguments)
    except CubeError as error:
        raise CubeError(f"/{name}: {error}") from error


def _group(placed: Placed, found: Found, asked: Asked) -> tuple[xr.Dataset, Callable[[], str]]:
    """Make the group of one sensor: numbers, masks, values, dates."""
    sensor, target = placed.sensor, placed.target
    _check_times(placed.layers)
    bands = [layer for layer in placed.layers if is_spectral(layer)]
    looks = look_at([layer.array for layer in bands], asked.check)
    said = replace(asked.said(sensor.name), known=found.scaling)
    units = units_of(bands, looks, said, sensor.name)
    masks = _chosen(placed.layers)
    fine = _usable_there(masks)
    ready = [_brought(one, unit, fine, target) for one, unit in zip(bands, units, strict=True)]
    names, reflectance = _stacked([one for one in ready if one.role == BAND], sensor)
    thermal = next((one.values.variable for one in ready if one.role == THERMAL), None)
    done = {
        "processing": "; ".join(dict.fromkeys(unit.note for unit in units if unit.note)),
        "masks": ", ".join(mask.role for mask in masks),
        "resampled": moves(placed.layers, target),
        "moved": placed.moved,
        "producer": found.producer,
        "ignored": ", ".join(found.ignored),
    }
    group = build_group(
        sensor,
        reflectance,
        times=placed.layers[0].array["time"].values,
        grid=target,
        bands=names,
        valid=_valid(masks, target),
        surface_temperature=thermal,
        attrs={key: text for key, text in done.items() if text},
    )
    understood = list(zip(bands, looks, units, strict=True))
    return group, partial(_reported, placed, masks, understood, done)


def _reported(
    placed: Placed,
    masks: Sequence[Layer],
    bands: Sequence[tuple[Layer, Look, Units]],
    done: Mapping[str, str],
) -> str:
    rows: list[Row] = [
        row_of_band(layer, units, seen_as(layer, look, units), told(layer, placed.target))
        for layer, look, units in bands
    ]
    rows += [
        row_of_mask(layer, layer in masks, told(layer, placed.target))
        for layer in placed.layers
        if not is_spectral(layer)
    ]
    notes = [f"{key}: {text}" for key, text in done.items() if text and key != "processing"]
    return render(placed.sensor.name, rows, notes)


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


def _brought(layer: Layer, units: Units, fine: Mapping[Grid, xr.DataArray], target: Grid) -> _Ready:
    physical = to_physical(layer, units)
    values = bring(physical, layer, target)
    mask = next((m for grid, m in fine.items() if same_grid(grid, layer.grid)), None)
    if mask is not None and kernel(layer, target) == "mean":
        # Clouds within a coarse pixel have no part in its mean where some of it is clear.
        clear = bring(physical.where(mask), layer, target)
        values = clear.fillna(values)
    return _Ready(layer.role, layer.names, values)


def _usable_there(masks: Sequence[Layer]) -> dict[Grid, xr.DataArray]:
    """Return what all masks of one grid call usable, per grid."""
    found: dict[Grid, xr.DataArray] = {}
    for mask in masks:
        same = next((grid for grid in found if same_grid(grid, mask.grid)), mask.grid)
        read = _read_mask(mask)
        found[same] = read if same not in found else found[same] & read
    return found


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
    """Return the masks that count: ``valid`` alone if it is there, else every quality layer.

    A layer that holds nothing of some acquisitions is left out where another is there.
    """
    masks = [layer for layer in layers if not is_spectral(layer)]
    if alone := [mask for mask in masks if mask.role == "valid"]:
        return alone
    blank = [is_blank(mask.array, mask.role) for mask in masks]
    whole = [mask for mask, days in zip(masks, blank, strict=True) if not days.any()]
    if masks and not whole:
        _refuse_blank(masks[0], blank[0])
    return whole


def _refuse_blank(mask: Layer, days: npt.NDArray[np.bool_]) -> None:
    first = pd.Timestamp(mask.array["time"].values[days][0])
    raise CubeError(
        f"{mask.called} holds nothing on {days.sum()} of {days.size} acquisitions (the first on "
        f"{first:%Y-%m-%d}): Earth Engine masked it out from 2022-01-25 to 2024-02-28, so that "
        "clouds would count as usable; load SCL too, give a bool variable 'valid', True where "
        f"usable, or drop it with .drop_vars('{mask.called}')"
    )


def _read_mask(mask: Layer) -> xr.DataArray:
    return usable(mask.array, mask.role, declared(mask.array, {}).nodata)


def _valid(masks: Sequence[Layer], target: Grid) -> xr.Variable | None:
    read = [bring_mask(_read_mask(mask), mask, target) for mask in masks]
    return reduce(and_, (mask.variable for mask in read)) if read else None


def _kept(source: Any) -> dict[str, Any]:
    """Return the attributes of a dataset that still hold, and that every format can store."""
    attrs = source.attrs if isinstance(source, xr.Dataset) else {}
    return {
        key: value
        for key, value in attrs.items()
        if key not in {*_STALE, *UNREAD} and isinstance(value, (str, int, float))
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

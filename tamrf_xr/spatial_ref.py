"""Where a dataset says its CRS: in a grid mapping of any name, or in plain attributes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (registers the `.rio` accessor)
import xarray as xr
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from tamrf_xr.errors import CubeError
from tamrf_xr.panchromatic import GRID_MAPPING as FINER
from tamrf_xr.panchromatic import NAME as PANCHROMATIC

NAME = "spatial_ref"
"""The grid mapping of every group of a cube."""

_DESCRIBES = ("spatial_ref", "crs_wkt", "grid_mapping_name")
"""Attributes that make a variable a grid mapping: GDAL's, and those of CF."""

_STATES = ("proj:code", "proj:epsg", "epsg", "crs", "crs_wkt", "proj:wkt2", "proj:projjson")
"""Coordinates and attributes that state a CRS, the surest first."""


def find_crs(data: xr.Dataset | xr.DataArray) -> CRS | None:
    """Find the CRS of a dataset or an array, wherever it stands.

    Parameters
    ----------
    data
        Grid mappings, coordinates or data variables of any name, count first: those that variables
        name, else those that describe themselves as one (``crs_wkt``, ``spatial_ref``,
        ``grid_mapping_name``). Without any, coordinates and attributes such as ``proj:code``,
        ``epsg`` and ``crs`` count.

    Returns
    -------
    pyproj.CRS or None
        None if nothing states a CRS.

    Raises
    ------
    CubeError
        If two statements differ, or one cannot be understood.

    Examples
    --------
    >>> str(find_crs(xr.Dataset(attrs={"proj:code": "EPSG:32631"})))
    'EPSG:32631'
    """
    # Under a name that no coordinate has.
    dataset = data.to_dataset(name="\0") if isinstance(data, xr.DataArray) else data
    stated = {f"'{name}'": _read(dataset.variables[name].attrs) for name in grid_mappings(dataset)}
    return _only(stated) or _only(dict(_statements(dataset)))


def with_spatial_ref(dataset: xr.Dataset, outer: xr.Dataset | None = None) -> xr.Dataset:
    """Return a dataset whose CRS stands in the coordinate ``spatial_ref``, as in a cube.

    Parameters
    ----------
    dataset
        With its CRS wherever `find_crs` finds it; it is not changed.
    outer
        The dataset of the group around it, where the CRS may stand for all.

    Returns
    -------
    xarray.Dataset
        `dataset` itself if it is so already, or states no CRS.

    Raises
    ------
    CubeError
        As `find_crs` does.
    """
    if _is_proper(dataset):
        return dataset
    crs = find_crs(dataset)
    crs = find_crs(outer) if crs is None and outer is not None else crs
    if crs is None:
        return dataset
    mappings = [name for name in grid_mappings(dataset) if name != FINER]
    described = dict(dataset.variables[mappings[0]].attrs) if mappings else {}
    if not {"spatial_ref", "crs_wkt"} & described.keys():
        described = _written(crs) | described
    # No value of a grid mapping means anything; what stands under the name of another is dropped.
    made = dataset.drop_vars([*mappings, NAME], errors="ignore")
    made = made.assign_coords({NAME: ((), 0, described)})
    made = made.set_coords([FINER] if FINER in made.data_vars else [])
    return _named(made)


def placed(group: xr.Dataset, transform: Affine) -> xr.Dataset:
    """Return a group whose ``spatial_ref`` holds a transform; nothing else is copied."""
    told = " ".join(map(str, transform.to_gdal()))
    return group.assign_coords({NAME: ((), 0, group[NAME].attrs | {"GeoTransform": told})})


def same_crs(one: CRS, other: CRS) -> bool:
    """Tell whether two descriptions are of one CRS: WKT 1 and 2 differ in words alone."""
    return one == other or (one.to_epsg() is not None and one.to_epsg() == other.to_epsg())


def _is_proper(dataset: xr.Dataset) -> bool:
    """Tell, without reading any CRS, whether there is nothing to do."""
    if NAME not in dataset.coords or not {"spatial_ref", "crs_wkt"} & dataset[NAME].attrs.keys():
        return False
    if any("grid_mapping" in array.attrs for array in dataset.data_vars.values()):
        return False
    return {*grid_mappings(dataset)} <= {NAME, FINER} & {*dataset.coords}


def grid_mappings(dataset: xr.Dataset) -> list[Hashable]:
    """Return the names of the grid mappings that count; they hold no pixels."""
    holders: list[xr.Dataset | xr.Variable] = [dataset, *dataset.variables.values()]
    named = [name for holder in holders for name in _named_by(holder) if name in dataset.variables]
    found: Iterable[Hashable] = named or (
        name
        for name, variable in dataset.variables.items()
        if set(_DESCRIBES) & variable.attrs.keys() and not {"y", "x"} & {*variable.dims}
    )
    return list(dict.fromkeys(found))


def _named_by(holder: xr.Dataset | xr.Variable) -> list[str]:
    """Name the grid mappings of the axes y and x that a variable or dataset names itself."""
    text = holder.encoding.get("grid_mapping", holder.attrs.get("grid_mapping"))
    if not isinstance(text, str):
        return []
    pairs = re.findall(r"(\S+):\s+((?:[^\s:]+(?:\s+|$))+)(?=\S+:|$)", text)
    if not pairs:
        return [text]
    # CF's long form: "crs: x y latlon: lat lon".
    return [name for name, axes in pairs if {"y", "x"} & {*axes.split()}]


def _read(attrs: Mapping[Any, Any]) -> CRS | None:
    if not any(attrs.get(name) for name in _DESCRIBES):
        return None
    if wkt := attrs.get("spatial_ref") or attrs.get("crs_wkt"):
        return _parsed(wkt)
    try:
        return CRS.from_cf(dict(attrs))
    except (CRSError, KeyError, ValueError) as error:
        raise CubeError(f"grid mapping {dict(attrs)!r} not understood: {error}") from error


def _parsed(stated: Any) -> CRS:
    try:
        with warnings.catch_warnings():
            # "+init=epsg:..." means one thing to all who write it into attributes.
            warnings.filterwarnings("ignore", category=FutureWarning)
            return CRS.from_user_input(stated)
    except CRSError as error:
        raise CubeError(
            f"coordinate reference system {stated!r} not understood: {error}"
        ) from error


def _statements(dataset: xr.Dataset) -> Iterator[tuple[str, CRS]]:
    """Give what coordinates and attributes state."""
    for name in _STATES:
        if name in dataset.coords and not dataset[name].attrs.keys() & set(_DESCRIBES):
            for value in {_plain(one) for one in np.ravel(dataset[name].values)} - {None, 0, ""}:
                yield f"coordinate '{name}' = {value}", _parsed(value)
        for holder in (dataset, *dataset.data_vars.values()):
            stated = _plain(holder.attrs.get(name))
            if stated is not None and not (isinstance(stated, str) and not stated.strip()):
                yield f"attribute '{name}'", _parsed(stated)


def _plain(stated: Any) -> Any:
    """Return a code as the integer that it is, in text or after a table made it a float."""
    value = stated.item() if isinstance(stated, np.generic | np.ndarray) else stated
    if isinstance(value, float):
        return int(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value


def _only(stated: Mapping[str, CRS | None]) -> CRS | None:
    found = {where: crs for where, crs in stated.items() if crs is not None}
    if not found:
        return None
    (first, crs), *others = found.items()
    for where, other in others:
        if not same_crs(crs, other):
            raise CubeError(
                f"two coordinate reference systems: {first} is {crs.to_string()}, {where} is "
                f"{other.to_string()}; drop the one that does not hold (.drop_vars), or bring the "
                "data to one CRS with .rio.reproject"
            )
    return crs


def _written(crs: CRS) -> dict[Any, Any]:
    return dict(xr.Dataset().rio.write_crs(crs)[NAME].attrs)


def _named(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset whose images name their grid mapping, where rioxarray looks for it."""
    made = dataset.copy(deep=False)
    for said in (made.attrs, made.encoding):
        said.pop("grid_mapping", None)
    for name, variable in made.variables.items():
        mapping = FINER if name == PANCHROMATIC and FINER in made.coords else NAME
        variable.attrs.pop("grid_mapping", None)
        variable.encoding.pop("grid_mapping", None)
        if name in made.data_vars and len(variable.dims) > 1:
            variable.encoding["grid_mapping"] = mapping
    if FINER in made.coords:
        # rioxarray refuses a dataset of two grid mappings, unless it says which is its own.
        made.attrs["grid_mapping"] = NAME
    return made

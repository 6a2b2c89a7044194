"""Read what is asked beside bands, and plan a method that makes what it takes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import xarray as xr

from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.fuser import FuserSpec
from tamrf_xr.indices import Index, find_indices
from tamrf_xr.methods.registry import Bands, Request, check_sensors, listed, plan_method
from tamrf_xr.scale.layers import Layers, read_statistics

_log = logging.getLogger(__name__)

Indices = dict[str, tuple[Index, ...]]
"""Per sensor."""


def plan_layers(
    asked: Mapping[str, Any], request: Request, groups: Mapping[str, xr.Dataset]
) -> tuple[FuserSpec, Layers]:
    """Plan a method and what is made of its bands.

    Parameters
    ----------
    asked
        Options of `tamrf_xr.fuse`.
    request
        What is asked of the method; with indices, the bands that are to be kept.
    groups
        Of the cube.

    Returns
    -------
    spec, layers
        The method, which makes the bands that indices need; and what is asked beside bands.

    Raises
    ------
    CubeError
        If provenance is asked of a cube without masks.
    OptionError
        If an option has no such value, or options contradict each other.
    TamrfError
        As `plan_method`.
    """
    method = asked["method"]
    check_provenance(asked["provenance"], groups, statistics=asked["statistics"])
    check_uncertainty(asked)
    names = None if asked["statistics"] is None else listed(asked["statistics"], "statistics")
    statistics = read_statistics(names or (), asked["period"])
    indices: Indices = {}
    kept: Bands | None = None
    if asked["indices"] is None:
        spec = plan_method(method, request)
    else:
        spec, indices, kept = _with_indices(method, request, asked["indices"])
    layers = Layers(
        provenance=asked["provenance"],
        uncertainty=asked["uncertainty"],
        indices=tuple(indices.items()),
        bands=None if kept is None else tuple(kept.items()),
        statistics=statistics,
        period=asked["period"],
    )
    more = spec.cost.per_query + layers.bytes_per_query
    return replace(spec, cost=replace(spec.cost, per_query=more)), layers


def without(carried: Collection[str], spec: FuserSpec) -> FuserSpec:
    """Say, in the log and in the product's attributes, which groups a method does not use."""
    if not carried:
        return spec
    names = ", ".join(f"/{name}" for name in carried)
    _log.info("method %r does not use %s", spec.method, names)
    told = (*spec.provenance, ("not_used", names))
    return replace(spec, uses=f"{spec.uses}; not {names}", provenance=told)


def check_provenance(asked: Any, groups: Mapping[str, xr.Dataset], *, statistics: Any) -> None:
    """Refuse provenance of a cube without masks, or of statistics."""
    if not isinstance(asked, bool):
        raise OptionError(f"provenance must be True or False, got {asked!r:.40}")
    if not asked:
        return
    if statistics is not None:
        raise OptionError(
            "provenance is per query date, and statistics take the place of dates: ask for them "
            "in two products"
        )
    if without := [name for name, group in groups.items() if "valid" not in group]:
        raise CubeError(
            f"provenance says what was observed, and /{without[0]} has no mask 'valid': clouds "
            f"would count as observations. Add one, (time, y, x), True where usable; where no data "
            f"stands for clouds too, that is "
            f"cube['{without[0]}/reflectance'].notnull().all('band')"
        )


def check_uncertainty(asked: Mapping[str, Any]) -> None:
    """Refuse deviations of what is no band of a date."""
    if not isinstance(asked["uncertainty"], bool):
        raise OptionError(f"uncertainty must be True or False, got {asked['uncertainty']!r:.40}")
    if not asked["uncertainty"]:
        return
    if asked["statistics"] is not None:
        raise OptionError(
            "uncertainty is of bands on a query date, and statistics take the place of dates: ask "
            "for them in two products"
        )
    if asked["indices"] is not None and asked["bands"] is None:
        raise OptionError(
            "uncertainty is of bands, and with indices alone none are kept: name them in bands"
        )


def _with_indices(method: str, request: Request, asked: Any) -> tuple[FuserSpec, Indices, Bands]:
    """Plan a method for the bands that indices need, and those that are kept."""
    every = plan_method(method, replace(request, bands=None)).bands
    indices = _found(asked, every)
    kept = {} if request.bands is None else request.wanted(every)
    needed = {
        sensor: _needed(bands, indices.get(sensor, ()), kept.get(sensor, ()))
        for sensor, bands in every.items()
    }
    needed = {sensor: bands for sensor, bands in needed.items() if bands}
    spec = plan_method(method, replace(request, sensors=tuple(needed), bands=needed))
    return spec, indices, {sensor: kept.get(sensor, ()) for sensor in needed}


def _needed(
    bands: tuple[str, ...], indices: tuple[Index, ...], kept: tuple[str, ...]
) -> tuple[str, ...]:
    read = {band for index in indices for band in index.bands.values()} | {*kept}
    return tuple(band for band in bands if band in read)


def _found(asked: Any, makes: Mapping[str, tuple[str, ...]]) -> Indices:
    """Look indices up for the sensors that a method makes.

    Raises
    ------
    OptionError
        If no sensor has one that is asked, or a sensor lacks what is asked of it.
    """
    by_sensor = isinstance(asked, Mapping)
    if by_sensor:
        check_sensors(tuple(asked))
        if unmade := [sensor for sensor in asked if sensor not in makes]:
            raise OptionError(
                f"indices are asked of {', '.join(unmade)}; the method makes {', '.join(makes)}"
            )
    names = {
        sensor: listed(asked[sensor] if by_sensor else asked, "indices")
        for sensor in makes
        if not by_sensor or sensor in asked
    }
    found = {sensor: find_indices(some, sensor, makes[sensor]) for sensor, some in names.items()}
    _check_found(found, each=by_sensor)
    indices = {
        sensor: tuple({i.name: i for i in some.values() if isinstance(i, Index)}.values())
        for sensor, some in found.items()
    }
    return {sensor: some for sensor, some in indices.items() if some}


def _check_found(found: Mapping[str, Mapping[str, Index | str]], *, each: bool) -> None:
    if not found:
        raise OptionError("indices name none; expected names of spyndex, such as 'NDVI'")
    for name in dict.fromkeys(name for some in found.values() for name in some):
        answers = {sensor: some[name] for sensor, some in found.items() if name in some}
        lacking = {sensor: why for sensor, why in answers.items() if isinstance(why, str)}
        if lacking and (each or len(lacking) == len(answers)):
            why = "; ".join(f"{sensor}: {reason}" for sensor, reason in lacking.items())
            raise OptionError(f"index {name} cannot be made of the bands that there are: {why}")

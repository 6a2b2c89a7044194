"""The methods by name, and what a user asks of one. A new method is a file and a row here."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from tamrf_xr.errors import MethodError, OptionError
from tamrf_xr.fuser import FuserSpec
from tamrf_xr.sensors import SENSORS

Bands = dict[str, tuple[str, ...]]
"""Per sensor, names of bands in the order of the sensor table, temperature last."""

METHODS: Mapping[str, str] = {
    "tamrf": "tamrf_xr.methods.tamrf",
    "linear": "tamrf_xr.methods.linear",
    "naive": "tamrf_xr.methods.linear",
    "composite": "tamrf_xr.methods.composite",
    "whittaker": "tamrf_xr.methods.whittaker",
    "harmonic": "tamrf_xr.methods.harmonic",
    "stair": "tamrf_xr.methods.stair",
    "sen2like": "tamrf_xr.methods.sen2like",
    "dms": "tamrf_xr.methods.dms",
    "dsen2": "tamrf_xr.methods.dsen2",
    "deepharmo": "tamrf_xr.methods.deepharmo",
    "dstfn": "tamrf_xr.methods.dstfn",
    "utilise": "tamrf_xr.methods.utilise",
}
"""Per name, the module whose ``plan(request)`` gives the `FuserSpec`; its ``OPTIONS``, if it has
any, are the method's own options with their defaults. "naive" is the paper's name of "linear"."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks of a method, on what data."""

    given: Mapping[str, tuple[str, ...]]
    """Per sensor of the cube, the bands it has."""

    sensors: tuple[str, ...] | None = None
    """Sensors whose bands to make; None for all that the method makes."""

    bands: Mapping[str, tuple[str, ...]] | None = None
    """Bands to make, per sensor; None for all that the method makes."""

    model: Any = "default"
    """Weights: a path, a loaded model, or ``"default"``. Methods without weights ignore it."""

    device: str = "auto"
    """``"cpu"``, ``"cuda"``, ``"cuda:1"`` ..., or ``"auto"``."""

    precision: str = "auto"
    """``"float32"``, ``"bfloat16"``, or ``"auto"``."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """The method's own options; `plan_method` adds the defaults of those not named."""

    panchromatic: bool | None = None
    """Whether the cube has the panchromatic band of Landsat, where that is known."""

    days: Mapping[str, tuple[int, ...]] | None = None
    """Per sensor, days of its acquisitions, from any origin, where they are known: what lets a
    method that needs conjunctions refuse at the door."""

    uncertainty: bool = False
    """Whether the standard deviations of errors are asked too."""

    def wanted(self, makes: Mapping[str, tuple[str, ...]]) -> Bands:
        """Return what is asked of all that a method `makes`.

        Raises
        ------
        MethodError
            If something is asked that the method does not make, or nothing is left.
        """
        asked = self.sensors or tuple(makes)
        if unknown := [name for name in asked if name not in makes]:
            raise MethodError(f"cannot make sensor {', '.join(unknown)}; {_offer(makes)}")
        if self.bands is None:
            return {name: makes[name] for name in asked}
        for name, bands in self.bands.items():
            if missing := [band for band in bands if band not in makes.get(name, ())]:
                raise MethodError(f"cannot make {name} {', '.join(missing)}; {_offer(makes)}")
        chosen = {
            name: tuple(band for band in makes[name] if band in self.bands.get(name, ()))
            for name in asked
        }
        chosen = {name: bands for name, bands in chosen.items() if bands}
        if not chosen:
            raise MethodError(f"no band asked of {', '.join(asked)}; {_offer(makes)}")
        return chosen


def _offer(makes: Mapping[str, tuple[str, ...]]) -> str:
    listed = "; ".join(f"{name}: {' '.join(bands)}" for name, bands in makes.items())
    return f"from this cube the method makes {listed}"


def plan_method(name: str, request: Request) -> FuserSpec:
    """Return the recipe of a method for a request.

    Parameters
    ----------
    name
        A key of `METHODS`.
    request
        What is asked.

    Returns
    -------
    FuserSpec
        The recipe: checked, and a few bytes.

    Raises
    ------
    MethodError
        If there is no such method, or the cube lacks a sensor or a band that it needs, or
        uncertainty is asked of a method that tells none.
    ModelError, SourceNotFoundError
        If its weights are not there, cannot be read, or are of another network.
    OptionError
        If the method has no such option, or cannot take its value.
    """
    if name not in tuple(METHODS):  # whatever its type
        known = ", ".join(METHODS)
        raise MethodError(f"unknown method {name!r:.80}; the methods are: {known}")
    module = importlib.import_module(METHODS[name])
    if request.uncertainty and not tells_errors(name):
        raise MethodError(
            f"method {name!r} does not tell how uncertain it is; 'tamrf' does, or leave "
            "uncertainty out"
        )
    options = _options(name, getattr(module, "OPTIONS", {}), request.options)
    return cast("FuserSpec", module.plan(replace(request, options=options)))


def tells_errors(name: str) -> bool:
    """Tell whether a method can be asked how uncertain it is, with weights that know."""
    return bool(getattr(importlib.import_module(METHODS[name]), "TELLS_ERRORS", False))


def _options(
    method: str, defaults: Mapping[str, Any], asked: Mapping[str, Any]
) -> Mapping[str, Any]:
    if not isinstance(asked, Mapping):
        raise OptionError(f"method_options is {asked!r:.80}; expected a mapping of names to values")
    if unknown := [str(name) for name in asked if name not in defaults]:
        known = ", ".join(f"{name}={value!r}" for name, value in defaults.items()) or "none"
        raise OptionError(
            f"method {method!r} has no option {', '.join(unknown)}; its options are: {known}"
        )
    return {**defaults, **asked}


def parse_bands(names: Mapping[str, Any] | Any, sensors: tuple[str, ...]) -> Bands:
    """Read a choice of bands: a mapping of sensor to names, or names for whichever has them.

    Parameters
    ----------
    names
        ``{"sentinel2": ["B04", "nir"]}``, ``["B04", "lwir"]`` or ``"B04"``; aliases are known.
    sensors
        Sensors to look in.

    Returns
    -------
    dict
        Per sensor, names in the order of the table.

    Raises
    ------
    MethodError
        If no sensor has a band of that name.

    Examples
    --------
    >>> parse_bands(["red", "lwir"], ("sentinel2", "landsat"))
    {'sentinel2': ('B04',), 'landsat': ('B04', 'LST')}
    """
    if isinstance(names, Mapping):
        choices = {name: listed(bands, "bands") for name, bands in names.items()}
        check_sensors(tuple(choices))
    else:
        choices = dict.fromkeys(sensors, listed(names, "bands"))
    found = {name: {b: SENSORS[name].find(b) for b in bands} for name, bands in choices.items()}
    for band in {band for bands in choices.values() for band in bands}:
        if not any(bands.get(band) for bands in found.values()):
            known = "; ".join(
                f"{n}: {' '.join(b.name for b in SENSORS[n].all_bands)}" for n in choices
            )
            raise MethodError(f"unknown band {band!r}; the bands are: {known}")
    return {
        name: tuple(band.name for band in SENSORS[name].all_bands if band in bands.values())
        for name, bands in found.items()
    }


def check_sensors(names: Sequence[Any]) -> None:
    """Check that sensors exist.

    Raises
    ------
    MethodError
        If one does not.
    """
    if unknown := [str(name) for name in names if name not in SENSORS]:
        raise MethodError(
            f"cannot make sensor {unknown[0]:.80}; the sensors are: {', '.join(SENSORS)}"
        )


def listed(names: Any, what: str) -> list[str]:
    """Return one name or several as a list.

    Raises
    ------
    OptionError
        If it is neither, or empty.
    """
    found = [names] if isinstance(names, str) else names
    several = isinstance(found, Iterable) and not isinstance(found, Mapping | bytes)
    found = list(found) if several else []
    if not found or not all(isinstance(name, str) for name in found):
        raise OptionError(f"{what} is {names!r:.80}; expected a name, or a list of at least one")
    return found

"""Spectral indices by the names of `spyndex`: its table of expressions, compiled, never evaluated.

An expression is parsed, and walked over a list of what it may hold: numbers, names of bands and
constants, and five operations. Anything else is refused.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.errors import OptionError
from tamrf_xr.sensors import SENSORS, Band, Sensor

Value = NDArray[np.float64] | float

OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}

PLATFORMS = {"sentinel2": "sentinel2a", "landsat": "landsat8"}
"""What spyndex calls the sensors."""


@dataclass(frozen=True, slots=True)
class Index:
    """A spectral index, as one sensor has it."""

    name: str
    """In spyndex."""

    title: str
    """In words."""

    formula: str
    """Its expression."""

    bands: Mapping[str, str]
    """Per name in the expression, the band of the sensor that it is."""

    constants: Mapping[str, float]
    """Per name in the expression, a number: spyndex's defaults, and wavelengths in nm."""

    def compute(self, reflectance: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Compute it.

        Parameters
        ----------
        reflectance
            Per band of the sensor, reflectance of one shape; NaN is no data.

        Returns
        -------
        numpy.ndarray
            Of that shape; NaN where a band has no data, or where the expression has no value.
        """
        given: dict[str, Value] = {
            name: np.asarray(reflectance[band], np.float64) for name, band in self.bands.items()
        }
        with np.errstate(all="ignore"):
            found = _compute(_parsed(self.formula), given | dict(self.constants))
        shape = next(iter(given.values()))
        made = np.broadcast_to(np.asarray(found, np.float32), np.shape(shape)).copy()
        made[~np.isfinite(made)] = np.nan
        return made

    def __str__(self) -> str:
        """Return a line that says how it is computed."""
        read = [f"{name} is {band}" for name, band in self.bands.items()]
        read += [f"{name} = {value:g}" for name, value in self.constants.items()]
        return f"{self.formula} where {', '.join(read)}"


def find_indices(names: Sequence[str], sensor: str, bands: Sequence[str]) -> dict[str, Index | str]:
    """Look indices up for a sensor.

    Parameters
    ----------
    names
        Names as in spyndex, in any case where that is one index.
    sensor
        Name of a sensor.
    bands
        Bands of it that there are.

    Returns
    -------
    dict
        Per name, the index; or text: why this sensor does not have it.

    Raises
    ------
    OptionError
        If spyndex has no such index, or is not installed.
    """
    return {name: _index(_known(name), SENSORS[sensor], set(bands)) for name in names}


def list_indices(names: Sequence[str] = ()) -> dict[str, dict[str, Index | str]]:
    """Return what `find_indices` finds, per index and sensor; by default of all indices."""
    return {
        name: {
            sensor.name: _index(name, sensor, set(sensor.band_names)) for sensor in SENSORS.values()
        }
        for name in (map(_known, names) if names else _table().indices)
    }


def _known(name: str) -> str:
    table: dict[str, Any] = _table().indices
    if name in table:
        return name
    alike = [known for known in table if known.lower() == name.lower()]
    if len(alike) != 1:
        near = alike or [known for known in table if name and name.lower() in known.lower()][:8]
        told = f"; did you mean {', '.join(near)}?" if near else ""
        raise OptionError(
            f"unknown index {name!r:.40}{told}: `tamrf-xr export indices` lists all that there are"
        )
    return alike[0]


def _index(name: str, sensor: Sensor, present: set[str]) -> Index | str:
    row = _table().indices[name]
    bands: dict[str, Band] = {}
    constants: dict[str, float] = {}
    for needed in _names(row.formula):
        if (band := _band(needed, sensor)) is not None:
            bands[needed] = band
        elif (number := _constant(needed, sensor)) is not None:
            constants[needed] = number
        else:
            return f"{sensor.title} has no {needed}"
    if missing := sorted({band.name for band in bands.values()} - present):
        return f"it needs {', '.join(missing)}, which are not among the bands"
    if not bands:
        return "it needs no band"
    read = {needed: band.name for needed, band in bands.items()}
    return Index(name, row.long_name, row.formula, read, constants)


def _band(name: str, sensor: Sensor) -> Band | None:
    """Return the band of a sensor that a name of spyndex's stands for."""
    row = _table().bands.get(name)
    if row is None:
        return None
    platform = getattr(row, PLATFORMS.get(sensor.name, ""), None)
    if platform is not None:
        return next((b for b in sensor.bands if _number(b.name) == _number(platform.band)), None)
    # Landsat-8's B5 is "N2" alone there; every other table takes it for near infrared, "N".
    low, high = row.min_wavelength / 1000, row.max_wavelength / 1000
    inside = [band for band in sensor.bands if low <= band.center_wavelength <= high]
    return inside[0] if len(inside) == 1 else None


def _number(band: str) -> str:
    """Return a band's number: ``B02`` and ``B2`` are one."""
    return band.upper().lstrip("B").lstrip("0")


def _constant(name: str, sensor: Sensor) -> float | None:
    """Return a constant: its default, or the centre of a band in nanometres."""
    row = _table().constants.get(name)
    if row is None:
        return None
    if row.default is not None:
        return float(row.default)
    band = _band(name.removeprefix("lambda"), sensor) if name.startswith("lambda") else None
    return None if band is None else 1000 * band.center_wavelength


def _names(formula: str) -> list[str]:
    """Return the names in an expression, each once, in their order."""
    found = [node.id for node in ast.walk(_parsed(formula)) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(found))


@cache
def _parsed(formula: str) -> ast.expr:
    """Parse an expression.

    Raises
    ------
    OptionError
        If it holds anything but numbers, names and the five operations.
    """
    try:
        tree = ast.parse(formula, mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise OptionError(f"the expression {formula!r:.80} cannot be parsed: {error}") from error
    for node in ast.walk(tree):
        if not _allowed(node):
            raise OptionError(
                f"the expression {formula!r:.80} holds {type(node).__name__}; expected numbers, "
                "names of bands and + - * / **"
            )
    return tree


def _allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) in {int, float}
    kinds = (ast.BinOp, ast.UnaryOp, ast.USub, ast.Name, ast.Load, *OPERATIONS)
    return isinstance(node, kinds)


def _compute(node: ast.expr, given: Mapping[str, Value]) -> Value:
    if isinstance(node, ast.Name):
        return given[node.id]
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]  # `_allowed` lets numbers through alone
    if isinstance(node, ast.UnaryOp):
        return -_compute(node.operand, given)
    if isinstance(node, ast.BinOp):
        left, right = _compute(node.left, given), _compute(node.right, given)
        result: Value = OPERATIONS[type(node.op)](left, right)
        return result
    raise OptionError(f"an expression holds {type(node).__name__}")


@cache
def _table() -> Any:
    """Return spyndex: its tables of indices, bands and constants."""
    try:
        import spyndex
    except ImportError as error:
        raise OptionError(
            "spectral indices need spyndex: pip install 'tamrf-xr[export]'"
        ) from error
    return spyndex

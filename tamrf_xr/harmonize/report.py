"""What the door understood of each variable, as a table: people debug their data with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.cube import Grid
from tamrf_xr.harmonize.layers import BAND, THERMAL, Layer
from tamrf_xr.harmonize.numbers import Units


@dataclass(frozen=True, slots=True)
class Row:
    """One variable, as it was understood."""

    called: str
    """What the user calls it."""

    became: str
    """What it is in the cube."""

    dtype: str
    """Of its numbers."""

    grid: str
    """Pixel size and corner, and what was done to them."""

    numbers: str
    """Scale, offset and nodata."""

    values: str
    """Share that is there and percentiles of a sample."""

    why: str
    """The statement that scale and offset come from."""


def row_of_band(layer: Layer, units: Units, seen: Any, moved: str) -> Row:
    """Describe bands.

    Parameters
    ----------
    layer
        The bands.
    units
        What their numbers mean.
    seen
        Values looked at, in physical units.
    moved
        How they were brought to the grid of the group.
    """
    return Row(
        layer.called,
        " ".join(layer.names),
        str(layer.array.dtype),
        _grid(layer.grid, moved),
        f"x {_number(units.scale)} + {_number(units.offset)}, no data {_fills(units)}",
        _percentiles(np.asarray(seen), thermal=layer.role == THERMAL),
        units.why,
    )


def row_of_mask(layer: Layer, counts: bool, moved: str) -> Row:  # noqa: FBT001
    """Describe a mask; `counts` tells whether it has a say in ``valid``."""
    use = "valid" if counts else "not used: 'valid' is there"
    return Row(
        layer.called, use, str(layer.array.dtype), _grid(layer.grid, moved), layer.role, "", ""
    )


def _grid(grid: Grid, moved: str) -> str:
    left, _, _, top = grid.bounds
    code = grid.crs.to_epsg()
    name = f"EPSG:{code}" if code else grid.crs.name
    text = (
        f"{grid.shape[0]} x {grid.shape[1]} of {grid.gsd:g} m, {name}, from {left:.10g}, {top:.10g}"
    )
    return f"{text}; {moved}" if moved else text


def _number(value: Any) -> str:
    values = np.unique(
        np.round(np.ravel(value.values if isinstance(value, xr.Variable) else value), 9)
    )
    if values.size <= 3:
        return "/".join(f"{number:.6g}" for number in values)
    return f"{values[0]:.6g} ... {values[-1]:.6g}"


def _fills(units: Units) -> str:
    shown = [f"{fill:g}" for fill in units.nodata if fill == int(fill)]
    return " ".join(shown) or "none"


def _percentiles(values: Any, *, thermal: bool) -> str:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "not looked at" if not values.size else "no data where looked at"
    low, middle, high = np.percentile(finite, (1, 50, 99))
    digits = ".1f" if thermal else ".4f"
    unit = " K" if thermal else ""
    return (
        f"{finite.size / values.size:.0%} there; 1 % {low:{digits}}, median {middle:{digits}}, "
        f"99 % {high:{digits}}{unit}"
    )


def render(group: str, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Render the rows of one group as text.

    Parameters
    ----------
    group
        Name of the group.
    rows
        Its variables.
    notes
        Lines on the whole group.
    """
    lines = [f"/{group}"]
    for row in rows:
        lines.append(f"  {row.called} ({row.dtype}) -> {row.became}")
        told = (
            ("grid", row.grid),
            ("mask" if row.numbers and not row.why else "numbers", row.numbers),
            ("values", row.values),
            ("because", row.why),
        )
        lines += [f"      {name}: {text}" for name, text in told if text]
    return "\n".join([*lines, *(f"  {note}" for note in notes if note)])


def is_spectral(layer: Layer) -> bool:
    """Tell bands and temperature from masks."""
    return layer.role in {BAND, THERMAL}

"""What all plots share: matplotlib, axes to draw on, the sensors that are drawn, colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.sensors import SENSORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which the colour-blind tell apart.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222")

MARKERS: Mapping[str, str] = dict(zip(SENSORS, "osD^v", strict=False))
"""Per sensor."""


def pyplot() -> Any:
    """Return `matplotlib.pyplot`, by whose figures notebooks show what was drawn.

    Raises
    ------
    OptionError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise OptionError(
            f"plots need matplotlib, which cannot be imported ({error}): pip install matplotlib"
        ) from error
    return plt


def axes_for(ax: Axes | None, *, size: tuple[float, float]) -> Axes:
    """Return the axes that are given, or those of a new figure of so many inches."""
    if ax is not None:
        return ax
    axes: Axes = pyplot().subplots(figsize=size, layout="constrained")[1]
    return axes


def sensors_of(tree: xr.DataTree, sensor: str | None) -> dict[str, xr.Dataset]:
    """Return the groups to draw: those that have dates, or the one that is asked.

    Raises
    ------
    CubeError
        If there is none.
    """
    groups = {name: group for name, group in groups_of(tree).items() if group.sizes["time"]}
    if sensor is not None and sensor not in groups:
        found = ", ".join(groups) or "none"
        raise CubeError(f"no {sensor!r:.40} with dates to draw; the tree has {found}")
    if not groups:
        raise CubeError("nothing to draw: the tree has no date of any sensor")
    return groups if sensor is None else {sensor: groups[sensor]}

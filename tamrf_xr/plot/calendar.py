"""When a place was seen, by which sensor, and how much of it was clear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.cube import is_product
from tamrf_xr.errors import CubeError
from tamrf_xr.export.panels import thinned
from tamrf_xr.plot.figures import COLOURS, MARKERS, axes_for, sensors_of
from tamrf_xr.sensors import SENSORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_calendar(tree: xr.DataTree, *, ax: Axes | None) -> Axes:
    """Draw acquisitions against clear share, as `tamrf_xr.plot.Plots.calendar`."""
    groups = sensors_of(tree, None)
    if products := [name for name, group in groups.items() if is_product(group)]:
        raise CubeError(
            f"/{products[0]} is a product, which has no acquisitions: draw the calendar of the "
            "cube that it was made of"
        )
    shares = {name: clear_shares(group) for name, group in groups.items()}
    axes = axes_for(ax, size=(10, 2.8))
    for name, colour in zip(SENSORS, COLOURS, strict=False):
        if name in shares:
            times, percent = pd.DatetimeIndex(groups[name]["time"].values), 100 * shares[name]
            label = f"{SENSORS[name].title} ({len(times)}, mean {percent.mean():.0f} %)"
            axes.vlines(times, 0, percent, color=colour, alpha=0.35, linewidth=1.2)
            axes.plot(times, percent, MARKERS[name], color=colour, markersize=4.5, label=label)
    axes.set(ylabel="clear (%)", ylim=(-3, 105))
    axes.grid(axis="y", alpha=0.25)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderpad=0.1)
    return axes


def clear_shares(group: xr.Dataset) -> NDArray[np.float64]:
    """Return the share of usable pixels of each date, of those that `thinned` keeps.

    Usable is what ``valid`` says; without one, what has a value in the first band.
    """
    thin = thinned(group, slice(None))
    if "valid" in thin:
        usable = thin["valid"].values
    else:
        first = thin["reflectance"][:, 0] if "reflectance" in thin else thin["surface_temperature"]
        usable = np.isfinite(first.values)
    return np.asarray(usable.mean(axis=(1, 2)), np.float64)

"""Images of dates side by side, and two of one date with their difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.cube import grid_of, is_product
from tamrf_xr.dates import parse_dates
from tamrf_xr.errors import CubeError, DateError
from tamrf_xr.export.panels import (
    TRUE_COLOUR,
    Image,
    Panels,
    check_options,
    colour_panels,
    draw_panel,
    find_stretch,
    thermal_panels,
    thinned,
)
from tamrf_xr.plot.figures import pyplot, sensors_of
from tamrf_xr.sensors import SENSORS, THERMAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_IN = 2.1
"""Widest panel, in inches."""

WIDTH_IN = 14.0
LEAST_DIFFERENCE = 0.01
"""Difference in full colour, at least: of images that agree, noise is not blown up."""

Places = Mapping[str, Sequence[int | None]]
"""Per sensor, the position of each date to draw; None where it has none that day."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is shown, and how."""

    sensor: str | None = None
    """The one to draw; None for all."""

    bands: str | Sequence[str] = TRUE_COLOUR
    """Three bands, or `THERMAL`."""

    stretch: tuple[float, float] | None = None
    """Reflectance shown as black and as white."""

    def check(self, columns: int = 1) -> None:
        """Refuse what makes no sense; see `check_options`."""
        check_options(columns, TRUE_COLOUR if self.bands == THERMAL else self.bands, self.stretch)

    def thermal(self, group: xr.Dataset) -> bool:
        """Tell whether temperature is what a group shows: if asked, or if it has no reflectance."""
        return self.bands == THERMAL or "reflectance" not in group

    def read(self, sensor: str, group: xr.Dataset, positions: Sequence[int]) -> Panels:
        """Read dates of a group, thinned."""
        near = thinned(group, list(positions))
        if self.thermal(group):
            return thermal_panels(near)
        return colour_panels(sensor, near, self.bands)

    def groups(self, tree: xr.DataTree) -> dict[str, xr.Dataset]:
        """Return the groups of a tree that have what is shown."""
        shown = {
            name: group
            for name, group in sensors_of(tree, self.sensor).items()
            if ("surface_temperature" if self.thermal(group) else "reflectance") in group
        }
        if not shown:
            raise CubeError(
                "nothing to draw: no sensor has reflectance or surface_temperature of "
                f"{self.bands!r:.60}; plot other variables with xarray: "
                "product['sentinel2/NDVI'].isel(time=0).plot()"
            )
        return shown


def draw_dates(tree: xr.DataTree, dates: Any, *, look: Look, columns: int) -> NDArray[Any]:
    """Draw thumbnails, as `tamrf_xr.plot.Plots.dates`."""
    look.check(columns)
    groups = look.groups(tree)
    places = _evenly(groups, columns) if dates is None else _asked(groups, parse_dates(dates))
    rows = {
        name: look.read(name, group, [at for at in places[name] if at is not None])
        for name, group in groups.items()
        if any(at is not None for at in places[name])
    }
    axes = _panels(rows, max(len(some) for some in places.values()))
    stretch = look.stretch or find_stretch(list(rows.values()))
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        limits = kelvin_limits(row) if row.thermal else stretch
        _draw_row(line, row, places[name], limits)
        _title(line, row, observed=not is_product(groups[name]))
        line[0].set_ylabel(SENSORS[name].title)
    return axes


def _evenly(groups: Mapping[str, xr.Dataset], columns: int) -> Places:
    return {
        name: np.unique(np.linspace(0, last := group.sizes["time"] - 1, min(columns, last + 1))
                        .round().astype(int)).tolist()
        for name, group in groups.items()
    }  # fmt: skip


def _asked(groups: Mapping[str, xr.Dataset], wanted: pd.DatetimeIndex) -> Places:
    places = {
        name: [position_of(pd.DatetimeIndex(group["time"].values), date) for date in wanted]
        for name, group in groups.items()
    }
    for at, date in enumerate(wanted):
        if all(some[at] is None for some in places.values()):
            raise DateError(f"no {' or '.join(groups)} on {_told_of(groups, date)}")
    return places


def _told_of(groups: Mapping[str, xr.Dataset], date: pd.Timestamp) -> str:
    times = pd.DatetimeIndex(np.concatenate([group["time"].values for group in groups.values()]))
    near = times[np.argsort(np.abs(times - date))[:3]].strftime("%Y-%m-%d")
    return (
        f"{date:%Y-%m-%d}; nearest are {', '.join(dict.fromkeys(near))} (of {len(times)} from "
        f"{times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}): ask one of these, or make the date "
        "with tamrf_xr.fuse"
    )


def position_of(times: pd.DatetimeIndex, date: pd.Timestamp) -> int | None:
    """Return where a date is: of a day with several, that of its time of day, else the first."""
    same = np.flatnonzero(times.normalize() == date.normalize())
    if not same.size:
        return None
    exact = same[times[same] == date]
    return int((exact if exact.size else same)[0])


def kelvin_limits(*rows: Panels) -> tuple[float, float]:
    """Return temperatures that bound 98 % of what is clear."""
    values = np.concatenate([row.images[row.clear] for row in rows])
    if not values.size:
        return 270.0, 310.0
    low, high = np.percentile(values, [1, 99])
    return float(low), float(max(high, low + 1))


def _panels(rows: Mapping[str, Panels], columns: int) -> NDArray[Any]:
    """Return empty axes, (row, column), of a figure that fits them."""
    aspect = max(row.images.shape[1] / row.images.shape[2] for row in rows.values())
    width = min(PANEL_IN, WIDTH_IN / columns)
    size = (max(columns * width, PANEL_IN) + 0.5, len(rows) * (width * aspect + 0.25) + 0.1)
    figure, axes = pyplot().subplots(
        len(rows), columns, figsize=size, squeeze=False, layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0.01, hspace=0.01)
    made: NDArray[Any] = axes
    return made


def _draw_row(
    line: NDArray[Any],
    row: Panels,
    places: Sequence[int | None],
    limits: tuple[float, float],
) -> None:
    images = iter(row.images)
    for ax, at in zip(line, [*places, *[None] * (len(line) - len(places))], strict=True):
        if at is None:
            _leave_empty(ax)
            continue
        draw_panel(ax, next(images), limits)
    if row.thermal:
        shown = next(ax for ax in line if ax.images)
        line[0].figure.colorbar(shown.images[0], ax=list(line), label="K", pad=0.01)


def _title(line: NDArray[Any], row: Panels, *, observed: bool) -> None:
    """Name dates, with the time of day where a day has several, and what was clear of them."""
    several = len(set(row.times.normalize())) < len(set(row.times))
    drawn = [ax for ax in line if ax.images]
    for ax, time, clear in zip(drawn, row.times, row.clear, strict=True):
        name = f"{time:%Y-%m-%d %H:%M}" if several else f"{time:%Y-%m-%d}"
        ax.set_title(f"{name}, {clear.mean():.0%} clear" if observed else name, fontsize=8.5)


def _leave_empty(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.text(0.5, 0.5, "none", ha="center", va="center", color="0.5", transform=ax.transAxes)


def draw_comparison(
    tree: xr.DataTree, other: xr.DataTree, date: Any, *, look: Look
) -> NDArray[Any]:
    """Draw two and their difference, as `tamrf_xr.plot.Plots.compare`."""
    look.check()
    sensor, groups = _comparable(look.groups(tree), look.groups(other))
    if look.thermal(groups[0]) != look.thermal(groups[1]):
        raise CubeError(f"one /{sensor} has reflectance, the other none: pass bands={THERMAL!r}")
    positions = _shared_date(sensor, groups, date)
    first, second = (
        look.read(sensor, group, [at]) for group, at in zip(groups, positions, strict=True)
    )
    # The darker one's: clouds in one of them do not hide the other.
    limits = (
        kelvin_limits(first, second)
        if first.thermal
        else look.stretch
        or min((find_stretch([one]) for one in (first, second)), key=itemgetter(1))
    )
    axes: NDArray[Any] = _panels({"all": first}, 3)[0]
    for ax, row, label in zip(axes, (first, second), ("this", "other"), strict=False):
        draw_panel(ax, row.images[0], limits)
        ax.set_title(f"{label}, {row.times[0]:%Y-%m-%d}", fontsize=9)
    if first.thermal:
        axes[0].figure.colorbar(axes[1].images[0], ax=list(axes[:2]), label="K", pad=0.01)
    axes[0].set_ylabel(SENSORS[sensor].title)
    _draw_difference(axes[2], _difference(first, second), "K" if first.thermal else "reflectance")
    return axes


def _comparable(
    these: Mapping[str, xr.Dataset], others: Mapping[str, xr.Dataset]
) -> tuple[str, tuple[xr.Dataset, xr.Dataset]]:
    """Return the first sensor that both have on the same pixels."""
    told = []
    for name in these:
        if name not in others:
            continue
        grids = grid_of(these[name]), grid_of(others[name])
        if grids[0] == grids[1]:
            return name, (these[name], others[name])
        told.append(f"/{name}: " + ", ".join(f"{g.gsd:g} m, {g.shape}, {g.bounds}" for g in grids))
    raise CubeError(
        f"no sensor of both lies on the same pixels ({'; '.join(told) or 'none is in both'}): "
        "cut with .tamrf.clip(bounds), or name another sensor="
    )


def _shared_date(sensor: str, groups: tuple[xr.Dataset, xr.Dataset], date: Any) -> tuple[int, int]:
    times = [pd.DatetimeIndex(group["time"].values) for group in groups]
    wanted = _first_of_both(sensor, times) if date is None else _one(date)
    found = [position_of(some, wanted) for some in times]
    for which, group, at in zip(("this tree", "the other"), groups, found, strict=True):
        if at is None:
            raise DateError(f"{which} has no {sensor} on {_told_of({sensor: group}, wanted)}")
    return int(found[0] or 0), int(found[1] or 0)


def _first_of_both(sensor: str, times: Sequence[pd.DatetimeIndex]) -> pd.Timestamp:
    both = times[0][times[0].normalize().isin(times[1].normalize())]
    if both.empty:
        spans = [f"{some.min():%Y-%m-%d} to {some.max():%Y-%m-%d}" for some in times]
        raise DateError(
            f"no day of /{sensor} in both: this has {spans[0]}, the other {spans[1]}; fuse at the "
            "dates of the other"
        )
    return both.min()


def _one(date: Any) -> pd.Timestamp:
    read = parse_dates(date)
    if len(read) != 1:
        raise DateError(f"date is {date!r:.60}: expected one to compare")
    return read[0]


def _difference(first: Panels, second: Panels) -> Image:
    """Return the second minus the first, mean over bands; NaN where one is not usable."""
    error = second.images[0] - first.images[0]
    mean = error if first.thermal else error.mean(axis=-1)
    return np.where(first.clear[0] & second.clear[0], mean, np.nan).astype(np.float32)


def _draw_difference(ax: Axes, error: Image, unit: str) -> None:
    known = np.abs(error[np.isfinite(error)])
    full = max(float(np.percentile(known, 98)) if known.size else 0.0, LEAST_DIFFERENCE)
    draw_panel(ax, error, (-full, full))
    ax.images[0].set_cmap("RdBu_r")
    ax.set_title("other - this", fontsize=9)
    ax.figure.colorbar(ax.images[0], ax=ax, label=unit, extend="both", pad=0.01)

"""Figures of a report: frequency profiles, and errors date by date."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tamrf_xr.evaluation.intervals import SHARES
from tamrf_xr.evaluation.score import sensor_order
from tamrf_xr.sensors import SENSORS, THERMAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A5ACD", "#8B4513")
REFERENCE = "#222222"
STEPS = 96
"""Frequencies at which profiles of images of different sizes are averaged."""

Float64 = NDArray[np.float64]


def figures(table: pd.DataFrame, profiles: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Draw a report's figures.

    Parameters
    ----------
    table, profiles
        Of `evaluate`, failures left out.

    Yields
    ------
    tuple of str and matplotlib.figure.Figure
        Name of the file, and the figure.
    """
    runs = list(dict.fromkeys(table["run"]))
    for sensor in sensor_order(table["sensor"]):
        rows = table[table["sensor"] == sensor]
        if rows["rmse"].notna().any():
            yield f"errors-{sensor}", error_figure(rows, runs)
        if "within_80" in rows and rows["within_80"].notna().any():
            yield f"reliability-{sensor}", reliability_figure(rows, runs)
    for sensor in sensor_order(profiles["sensor"]) if len(profiles) else ():
        yield f"frequencies-{sensor}", profile_figure(profiles[profiles["sensor"] == sensor], runs)


def error_figure(rows: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """Draw RMSE against the date: filled dots are dates left out, hollow ones were given."""
    thermal = rows["band"] == THERMAL
    panels = [
        (rows[chosen], label)
        for chosen, label in ((~thermal, "RMSE, mean of bands"), (thermal, "RMSE of LST (K)"))
        if rows.loc[chosen, "rmse"].notna().any()
    ]
    figure, axes = _figure(len(panels), 1, height=2.9)
    for axis, (shown, label) in zip(axes, panels, strict=True):
        _draw_errors(axis, shown, runs)
        axis.set_ylabel(label)
    axes[0].set_title(_title(rows, "error of each date"), loc="left")
    _legend(figure, axes[0])
    return figure


def reliability_figure(rows: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """Draw the share of errors within an interval against what it is to hold: dots are bands."""
    telling = [run for run in runs if rows.loc[rows["run"] == run, "within_80"].notna().any()]
    masked = ~rows["is_input"].astype(bool)
    panels = [(kind, own) for kind, own in (("left out", masked), ("given", ~masked)) if own.any()]
    figure, axes = _figure(1, len(panels), height=3.6)
    for axis, (kind, own) in zip(axes, panels, strict=True):
        axis.plot([0, 100], [0, 100], color=REFERENCE, lw=1, label="told = found")
        for run in telling:
            columns = [f"within_{share}" for share in SHARES]
            shown = rows[own & (rows["run"] == run)].groupby("band", observed=True)[columns].mean()
            colour = COLOURS[runs.index(run) % len(COLOURS)]
            axis.plot(SHARES, 100 * shown.T.to_numpy(), "o", color=colour, ms=3, alpha=0.4)
            axis.plot(SHARES, 100 * shown.mean(), "-", color=colour, lw=1.4, label=run)
        axis.set(xlim=(40, 100), ylim=(0, 102), xlabel="told (%)", ylabel="found within (%)")
        axis.set_title(f"dates {kind}", loc="left", fontsize=9)
    figure.suptitle(_title(rows, "errors within the intervals told"), x=0.01, ha="left")
    _legend(figure, axes[0])
    return figure


def profile_figure(profiles: pd.DataFrame, runs: Sequence[str]) -> Figure:
    """Draw the mean amplitude against frequency of every band, of predictions and references."""
    sensor = profiles["sensor"].iloc[0]
    bands = [band.name for band in SENSORS[sensor].all_bands if band.name in set(profiles["band"])]
    columns = min(len(bands), 5)
    figure, axes = _figure(-(-len(bands) // columns), columns, height=2.2)
    labels = profiles["run"]
    for axis, band in zip(axes, bands, strict=False):
        rows = profiles["band"] == band
        grid = _grid(profiles.loc[rows, "frequencies"])
        first = profiles[rows & (labels == labels[rows].iloc[0])]
        axis.plot(grid, _mean(first, "reference", grid), color=REFERENCE, lw=1.6, label="reference")
        for place, run in enumerate(runs):
            shown = profiles[rows & (labels == run)]
            if len(shown):
                colour = COLOURS[place % len(COLOURS)]
                axis.plot(grid, _mean(shown, "prediction", grid), color=colour, lw=1.2, label=run)
        axis.set_title(band, loc="left", fontsize=9)
    for axis in axes[len(bands) :]:
        axis.set_visible(False)
    for axis in axes[0::columns]:
        axis.set_ylabel("amplitude (dB)")
    figure.suptitle(
        _title(profiles, "frequency profiles (1 is Nyquist at 10 m)"), x=0.01, ha="left"
    )
    _legend(figure, axes[0])
    return figure


def svg(figure: Figure) -> str:
    """Return a figure as the text of an SVG file."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _figure(rows: int, columns: int, *, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, height * rows + 0.7), layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns, sharex=True, squeeze=False)).ravel()
    axes: list[Axes] = list(grid)
    for axis in axes:
        axis.grid(visible=True, color="#e4e2da", lw=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    return figure, axes


def _draw_errors(axis: Axes, rows: pd.DataFrame, runs: Sequence[str]) -> None:
    for place, run in enumerate(runs):
        shown = rows[rows["run"] == run]
        means = shown.groupby(["date", "is_input"], as_index=False)["rmse"].mean()
        means["is_input"] = means["is_input"].astype(bool)
        colour = COLOURS[place % len(COLOURS)]
        given, masked = means[means["is_input"]], means[~means["is_input"]]
        line: dict[str, Any] = {"color": colour, "ls": "none", "marker": "o", "ms": 4}
        axis.plot(masked["date"], masked["rmse"], label=run, **line)
        axis.plot(given["date"], given["rmse"], mfc="none", label=None, **line)
    axis.set_ylim(bottom=0)


def _title(rows: pd.DataFrame, what: str) -> str:
    return f"{SENSORS[rows['sensor'].iloc[0]].title}: {what}"


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=5, frameon=False, fontsize=9)


def _grid(frequencies: pd.Series) -> Float64:
    lowest = max(float(values[0]) for values in frequencies)
    highest = min(float(values[-1]) for values in frequencies)
    return np.linspace(lowest, highest, STEPS)


def _mean(rows: pd.DataFrame, column: str, grid: Float64) -> Float64:
    pairs = zip(rows["frequencies"], rows[column], strict=True)
    profiles = [np.interp(grid, frequencies, values) for frequencies, values in pairs]
    finite = [profile for profile in profiles if np.isfinite(profile).all()]
    return np.mean(finite, axis=0) if finite else np.full(STEPS, np.nan)

"""Draw a cube and what was fused from it: inputs above, products below, dates across."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tamrf_xr.cube import groups_of
from tamrf_xr.dates import parse_dates
from tamrf_xr.errors import CubeError
from tamrf_xr.export.panels import (
    TRUE_COLOUR,
    Panels,
    check_options,
    choose_dates,
    colour_panels,
    draw_panel,
    find_stretch,
    nearest,
    thermal_panels,
)
from tamrf_xr.origins import places_of
from tamrf_xr.replaceable import check_file
from tamrf_xr.replacing import fresh_file
from tamrf_xr.sensors import SENSORS

DPI = 100
PNG = b"\x89PNG"
WIDTH_IN = 16.0
PANEL_IN = 4.0
"""Widest panel, in inches; the figure is narrower when there are few."""

LABEL_IN, BAR_IN, TITLE_IN, GAP_IN = 0.34, 0.62, 0.22, 0.05


def quicklook(
    cube: xr.DataTree | None,
    fused: xr.DataTree | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    dates: Any = None,
    columns: int = 6,
    bands: Sequence[str] = TRUE_COLOUR,
    stretch: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> Figure:
    """Draw a cube above what was fused from it, one date a column.

    Scenes wider than 400 pixels are thinned as they are read: every n-th pixel, never a whole
    date in memory.

    Parameters
    ----------
    cube
        Inputs: of each sensor, the acquisition nearest to each date. None draws products alone.
    fused
        A product of `tamrf_xr.fuse` or a truth. None draws inputs alone.
    path
        PNG to write, under another name that is then renamed. None writes nothing.
    dates
        Dates to show, as `tamrf_xr.fuse` takes them; by default `columns` of the product's
        dates (else of the acquisitions), evenly chosen.
    columns
        Most dates to show when `dates` is None.
    bands
        Three bands to show as red, green and blue: names, or common names so that they mean
        the same for both sensors.
    stretch
        Reflectance shown as black and as white; by default the 0.5 and 98.5 % points of the
        clear pixels of a panel, the median over panels.
    overwrite
        Replace a file that exists.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, 1600 pixels wide or less; pixels without data are light grey.

    Raises
    ------
    CubeError
        If neither tree is given, or one has no such band.
    DateError
        If `dates` cannot be read.
    OptionError
        If `columns`, `bands` or `stretch` makes no sense.
    OutputExistsError
        If `path` exists and `overwrite` is False, or it is no picture; nothing is read then.

    Examples
    --------
    >>> from tamrf_xr.simulate import SceneConfig, simulate
    >>> scene = simulate(SceneConfig(30, sentinel2_revisit_days=90, landsat_revisit_days=90))
    >>> figure = quicklook(scene.cube, scene.truth(["2022-05-01", "2022-07-01"]))
    >>> len([ax for ax in figure.axes if ax.images])
    10
    """
    trees = [(kind, tree) for kind, tree in (("input", cube), ("fused", fused)) if tree is not None]
    read = [place for _, tree in trees for place in places_of(tree)]
    target = None
    if path is not None:
        target = check_file(path, "picture", overwrite=overwrite, inputs=read, starts=(PNG,))
    check_options(columns, bands, stretch)
    if not trees:
        raise CubeError("nothing to draw: give a cube, a product, or both")
    shown = choose_dates(trees[-1][1], columns) if dates is None else parse_dates(dates)
    rows = [row for kind, tree in trees for row in _colour_rows(kind, tree, shown, bands)]
    rows += _thermal_rows(*trees[-1], shown)
    figure = _draw(rows, stretch or find_stretch(rows))
    if target is not None:
        _write(figure, target)
    return figure


def _colour_rows(
    kind: str, tree: xr.DataTree, shown: pd.DatetimeIndex, bands: Sequence[str]
) -> Iterator[Panels]:
    for name, group in groups_of(tree).items():
        if "reflectance" in group and group.sizes["time"]:
            label = f"{SENSORS[name].title}\n{kind}"
            yield colour_panels(name, nearest(group, shown), bands, label=label)


def _thermal_rows(kind: str, tree: xr.DataTree, shown: pd.DatetimeIndex) -> Iterator[Panels]:
    for group in groups_of(tree).values():
        if "surface_temperature" in group and group.sizes["time"]:
            yield thermal_panels(nearest(group, shown), label=f"Temperature\n{kind}")


def _draw(rows: Sequence[Panels], stretch: tuple[float, float]) -> Figure:
    if not rows:
        raise CubeError("nothing to draw: no group has a date with reflectance or temperature")
    panels = max(len(row.times) for row in rows)
    bar = BAR_IN if any(row.thermal for row in rows) else GAP_IN
    width = min(PANEL_IN, (WIDTH_IN - LABEL_IN - bar) / panels - GAP_IN)
    height = width * max(row.images.shape[1] / row.images.shape[2] for row in rows)
    total = (LABEL_IN + panels * (width + GAP_IN) + bar, len(rows) * (height + TITLE_IN) + GAP_IN)
    figure = Figure(total, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for number, row in enumerate(rows):
        bottom = total[1] - (number + 1) * (height + TITLE_IN)
        boxes = [
            (LABEL_IN + i * (width + GAP_IN), bottom, width, height) for i in range(len(row.times))
        ]
        _draw_row(figure, row, boxes, stretch)
    return figure


def _draw_row(
    figure: Figure,
    row: Panels,
    boxes: Sequence[tuple[float, float, float, float]],
    stretch: tuple[float, float],
) -> None:
    wide, high = figure.get_size_inches()
    scale = np.array([wide, high, wide, high])
    limits = _kelvin_limits(row) if row.thermal else stretch
    for box, time, image in zip(boxes, row.times, row.images, strict=True):
        left, bottom, width, height = (np.array(box) / scale).tolist()
        axes = figure.add_axes((left, bottom, width, height))
        draw_panel(axes, image, limits)
        axes.set_title(f"{time:%Y-%m-%d}", fontsize=_font(boxes[0][2], 10), pad=2.5)
    left, bottom, width, height = boxes[0]
    middle = (bottom + height / 2) / high
    figure.text(
        0.04 / wide, middle, row.label, rotation=90, va="center", fontsize=_font(boxes[0][3], 12)
    )
    if row.thermal:
        edge = boxes[-1][0] + width + GAP_IN
        _draw_bar(figure, ((np.array([edge, bottom, 0.12, height]) / scale).tolist()), limits)


def _font(room_in: float, letters: int) -> float:
    """Return the size, in points, at which so many letters fit."""
    return min(9.0, 72 * room_in / (0.62 * letters))


def _kelvin_limits(row: Panels) -> tuple[float, float]:
    values = row.images[row.clear]
    if not values.size:
        return 270.0, 310.0
    low, high = np.percentile(values, [1, 99])
    return float(low), float(max(high, low + 1))


def _draw_bar(figure: Figure, box: Sequence[float], limits: tuple[float, float]) -> None:
    left, bottom, width, height = box
    axes = figure.add_axes((left, bottom, width, height))
    colours = ScalarMappable(Normalize(*limits), "inferno")
    bar = figure.colorbar(colours, cax=axes)
    bar.set_label("K", fontsize=9, labelpad=1)
    bar.ax.tick_params(labelsize=8, pad=1, length=2)


def _write(figure: Figure, path: Path) -> None:
    """Write a PNG whole or not at all."""
    with fresh_file(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI)

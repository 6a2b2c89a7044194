"""Draw a cube and what was fused from it: inputs above, products below, dates across."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tamrf_xr.cube import groups_of
from tamrf_xr.dates import parse_dates
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.origins import places_of
from tamrf_xr.replaceable import check_file
from tamrf_xr.replacing import fresh_file
from tamrf_xr.sensors import SENSORS

TRUE_COLOUR = ("red", "green", "blue")
PANEL_PX = 400
"""Most pixels read along the edge of a panel."""

DPI = 100
PNG = b"\x89PNG"
WIDTH_IN = 16.0
PANEL_IN = 4.0
"""Widest panel, in inches; the figure is narrower when there are few."""

LABEL_IN, BAR_IN, TITLE_IN, GAP_IN = 0.34, 0.62, 0.22, 0.05
NODATA = "0.85"
"""Grey of pixels without data."""

FRAME = "0.6"
"""Grey of the edge of a panel, so that overcast ones end somewhere."""

MOST_COLUMNS = 200

LEAST_CLEAR = 0.02
"""Clear fraction of a panel below which it has no say in the stretch."""

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Row:
    """Panels of one kind, read and ready to draw."""

    label: str
    """What they show."""

    times: pd.DatetimeIndex
    """Of each panel."""

    images: Image
    """(time, y, x, 3) reflectance in the order red, green, blue; or (time, y, x) in kelvin."""

    clear: NDArray[np.bool_]
    """(time, y, x): pixels that count for the stretch."""

    @property
    def thermal(self) -> bool:
        """Whether these are temperatures."""
        return self.images.ndim == 3


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
    _check_options(columns, bands, stretch)
    if not trees:
        raise CubeError("nothing to draw: give a cube, a product, or both")
    shown = _choose_dates(trees[-1][1], columns) if dates is None else parse_dates(dates)
    rows = [row for kind, tree in trees for row in _colour_rows(kind, tree, shown, bands)]
    rows += _thermal_rows(*trees[-1], shown)
    figure = _draw(rows, stretch or _find_stretch(rows))
    if target is not None:
        _write(figure, target)
    return figure


def _check_options(columns: int, bands: Sequence[str], stretch: tuple[float, float] | None) -> None:
    if not 1 <= columns <= MOST_COLUMNS:
        raise OptionError(f"columns is {columns!r:.40}: expected 1 to {MOST_COLUMNS}")
    if isinstance(bands, str) or len(bands) != 3:
        raise OptionError(f"bands is {bands!r}: expected three names, for red, green and blue")
    if stretch is not None and not stretch[0] < stretch[1]:
        raise OptionError(f"stretch is {stretch}: expected two reflectances, the lower first")


def _choose_dates(tree: xr.DataTree, columns: int) -> pd.DatetimeIndex:
    """Choose dates of the first group evenly, the first and the last among them."""
    group = next(iter(groups_of(tree).values()), None)
    if group is None or not group.sizes["time"]:
        raise CubeError("nothing to draw: the tree has no date of any sensor")
    times = pd.DatetimeIndex(group["time"].values).unique().sort_values()
    chosen = np.linspace(0, len(times) - 1, min(columns, len(times))).round().astype(int)
    return times[chosen]


def _colour_rows(
    kind: str, tree: xr.DataTree, shown: pd.DatetimeIndex, bands: Sequence[str]
) -> Iterator[_Row]:
    for name, group in groups_of(tree).items():
        if "reflectance" in group and group.sizes["time"]:
            near = _nearest(group, shown)
            near = near.isel(band=[_find_band(name, near, band) for band in bands])
            images = near["reflectance"].transpose("time", "y", "x", "band").values
            label = f"{SENSORS[name].title}\n{kind}"
            yield _Row(
                label, pd.DatetimeIndex(near["time"].values), images, _clear(near, images[..., 0])
            )


def _thermal_rows(kind: str, tree: xr.DataTree, shown: pd.DatetimeIndex) -> Iterator[_Row]:
    for group in groups_of(tree).values():
        if "surface_temperature" in group and group.sizes["time"]:
            near = _nearest(group, shown)
            images = near["surface_temperature"].values
            label = f"Temperature\n{kind}"
            yield _Row(label, pd.DatetimeIndex(near["time"].values), images, _clear(near, images))


def _nearest(group: xr.Dataset, shown: pd.DatetimeIndex) -> xr.Dataset:
    """Select, thinned, the date nearest to each of those shown."""
    times = pd.DatetimeIndex(group["time"].values)
    away = np.abs(times.values[None, :] - shown.values[:, None])
    thin: dict[str, Any] = {
        dim: slice(None, None, -(-group.sizes[dim] // PANEL_PX)) for dim in ("y", "x")
    }
    return group.isel({"time": away.argmin(axis=1), **thin})


def _find_band(sensor: str, group: xr.Dataset, wanted: str) -> int:
    present = [str(name) for name in group["band"].values]
    band = SENSORS[sensor].find(wanted)
    if band is not None and band.name in present:
        return present.index(band.name)
    known = [f"{b.name} ({b.common_name})" for b in SENSORS[sensor].bands if b.name in present]
    raise CubeError(
        f"/{sensor} has no band {wanted!r} to draw; it has {', '.join(known)}; "
        "name three of these as bands="
    )


def _clear(group: xr.Dataset, values: Image) -> NDArray[np.bool_]:
    finite = np.isfinite(values)
    return finite & group["valid"].values if "valid" in group else finite


def _find_stretch(rows: Sequence[_Row]) -> tuple[float, float]:
    """Return the range of reflectance of the clear pixels of a usual panel, one for all rows."""
    ranges = [
        np.percentile(image[clear], [0.5, 98.5])
        for row in rows
        if not row.thermal
        for image, clear in zip(row.images, _known(row), strict=True)
        if clear.mean() > LEAST_CLEAR
    ]
    if not ranges:
        return 0.0, 0.3
    # The median over panels: a day of snow leaves the others bright enough to see.
    low, high = np.median(ranges, axis=0)
    return float(low), float(max(high, low + 0.01))


def _known(row: _Row) -> NDArray[np.bool_]:
    return np.asarray(row.clear & np.isfinite(row.images).all(axis=-1))


def _draw(rows: Sequence[_Row], stretch: tuple[float, float]) -> Figure:
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
    row: _Row,
    boxes: Sequence[tuple[float, float, float, float]],
    stretch: tuple[float, float],
) -> None:
    wide, high = figure.get_size_inches()
    scale = np.array([wide, high, wide, high])
    limits = _kelvin_limits(row) if row.thermal else stretch
    for box, time, image in zip(boxes, row.times, row.images, strict=True):
        left, bottom, width, height = (np.array(box) / scale).tolist()
        axes = figure.add_axes((left, bottom, width, height))
        _draw_panel(axes, image, limits)
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


def _kelvin_limits(row: _Row) -> tuple[float, float]:
    values = row.images[row.clear]
    if not values.size:
        return 270.0, 310.0
    low, high = np.percentile(values, [1, 99])
    return float(low), float(max(high, low + 1))


def _draw_panel(axes: Axes, image: Image, limits: tuple[float, float]) -> None:
    low, high = limits
    axes.set_facecolor(NODATA)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=FRAME, linewidth=0.6)
    if image.ndim == 2:
        shown = np.ma.masked_invalid(image)
        axes.imshow(shown, cmap="inferno", vmin=low, vmax=high, interpolation="nearest")
        return
    known = np.isfinite(image).all(axis=-1)
    colour = np.clip((np.nan_to_num(image) - low) / (high - low), 0, 1)
    axes.imshow(np.dstack([colour, known.astype(np.float32)]), interpolation="nearest")


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

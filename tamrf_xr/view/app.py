"""The page: two images under a swipe, sliders of dates, and the series of the pixel clicked on.

Pixels are drawn in the CRS of the cube, not warped, and nothing is asked of the internet: panel and
bokeh serve their scripts themselves, and there is no basemap. What is looked at is read when it is
looked at, at the resolution of the screen.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import xarray as xr
from bokeh.events import RangesUpdate, Tap
from bokeh.models import ColumnDataSource, Range1d, Span
from bokeh.plotting import figure
from pyproj import Transformer

from tamrf_xr.cube import grid_of
from tamrf_xr.view.images import (
    Bounds,
    Layer,
    Stretch,
    find_stretch,
    layers_of,
    read_window,
    to_rgba,
)
from tamrf_xr.view.series import quantities, read_series

SIZE = 620
"""Pixels of the screen along an edge of the map."""

COLOURS = {"sentinel2": "#2a7f3f", "landsat": "#b5541c"}


class Side:
    """One side of the swipe: which layer, which date, which bands; and its picture."""

    def __init__(self, name: str, layers: dict[str, Layer], chosen: str, ranges: Any) -> None:
        """Show `chosen` in a figure with these ranges."""
        self._layers = layers
        self._stretch = lru_cache(64)(self._find_stretch)
        self.layer = pn.widgets.Select(label=name, options=list(layers), value=chosen)
        self.date = pn.widgets.DiscreteSlider(label="date", options=self._dates(), value=0)
        self.bands = pn.widgets.Select(label="shown", options=self._shown())
        self.dim = pn.widgets.Checkbox(label="darken what is not usable", value=False)
        self.source = ColumnDataSource(_empty())
        self.figure = _map(ranges)
        self.figure.image_rgba("image", "x", "y", "dw", "dh", source=self.source)
        self.window: Bounds = self.current.middle
        self._held = False
        self.layer.param.watch(self._on_layer, "value")
        for widget in (self.date, self.bands, self.dim):
            widget.param.watch(lambda _: self.draw(), "value")
        self.draw()

    @property
    def current(self) -> Layer:
        """The layer that is shown."""
        return self._layers[self.layer.value]

    @property
    def time(self) -> pd.Timestamp:
        """Of the image that is shown."""
        return pd.Timestamp(self.current.times[self.date.value])

    def go_to(self, time: pd.Timestamp) -> None:
        """Show the image nearest in time."""
        self.date.value = self.current.nearest(time)

    def look_at(self, window: Bounds) -> None:
        """Show a window, read at its own resolution."""
        self.window = window
        self.draw()

    def draw(self) -> None:
        """Read and colour what is chosen."""
        if self._held:
            return
        bands = self.current.combinations()[self.bands.value]
        pixels, valid, bounds = read_window(self.current, self.date.value, bands, self.window)
        if not valid.size:
            self.source.data = _empty()
            return
        stretch = self._stretch(self.current.sensor, bands)
        left, bottom, right, top = bounds
        self.source.data = {
            "image": [to_rgba(pixels, valid, stretch, dim=self.dim.value)],
            "x": [left], "y": [bottom], "dw": [right - left], "dh": [top - bottom],
        }  # fmt: skip
        self.figure.title.text = f"{self.layer.value}, {self.time:%Y-%m-%d}"

    def _find_stretch(self, sensor: str, bands: tuple[str, ...]) -> Stretch:
        """Find one stretch for both sides and every layer of a sensor: they are compared."""
        having = [one for one in self._layers.values() if one.sensor == sensor]
        shown = [one for one in having if bands in one.combinations().values()]
        return find_stretch(shown[0], bands)

    def controls(self) -> Any:
        """Return the widgets."""
        return pn.Column(self.layer, self.date, self.bands, self.dim)

    def _dates(self) -> dict[str, int]:
        times = self.current.times
        forms = (times.strftime(form) for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S"))
        numbered = [f"{time:%Y-%m-%d %H:%M:%S} ({at})" for at, time in enumerate(times)]
        words = next((form for form in forms if form.is_unique), numbered)
        return {word: at for at, word in enumerate(words)}

    def _shown(self) -> list[str]:
        return list(self.current.combinations())

    def _on_layer(self, event: Any) -> None:
        """Keep the date, as near as there is one, and the bands, where the layer has them."""
        before = self._layers[event.old].times[self.date.value]
        shown = self._shown()
        keep = self.bands.value if self.bands.value in shown else shown[0]
        self._held = True  # between the two updates, dates and bands are of different layers
        self.bands.param.update(options=shown, value=keep)
        self.date.param.update(options=self._dates(), value=self.current.nearest(before))
        self._held = False
        self.draw()


class Viewer:
    """The whole page."""

    def __init__(self, tree: xr.DataTree, cube: xr.DataTree | None = None) -> None:
        """Look at a product or a cube, and at the cube that a product was made of."""
        self.layers = layers_of(tree, cube)
        first = next(iter(self.layers))
        sensor = self.layers[first].sensor
        other = next(
            (t for t, one in self.layers.items() if one.sensor == sensor and t != first), first
        )
        left, bottom, right, top = self.layers[first].middle
        self.ranges = (Range1d(left, right), Range1d(bottom, top))
        self.before = Side("left", self.layers, other, self.ranges)
        self.after = Side("right", self.layers, first, self.ranges)
        self._following = False
        self.linked = pn.widgets.Checkbox(label="same date on both sides", value=True)
        self.place = ((left + right) / 2, (bottom + top) / 2)
        names = dict.fromkeys(n for one in self.layers.values() for n in quantities(one))
        self.quantity = pn.widgets.Select(label="series of", options=list(names))
        self.chart, self.lines, self.marks = _chart(self.layers)
        self.after.figure.title.align = "right"
        self._connect()
        self._follow(self.after, self.before)
        self._follow(self.before, self.after)
        self.draw_series()

    def _connect(self) -> None:
        self.after.date.param.watch(lambda _: self._follow(self.after, self.before), "value")
        self.before.date.param.watch(lambda _: self._follow(self.before, self.after), "value")
        self.quantity.param.watch(lambda _: self.draw_series(), "value")
        for side in (self.before, self.after):
            side.figure.on_event(Tap, self.on_tap)
            side.figure.on_event(RangesUpdate, self.on_ranges)

    def _follow(self, moved: Side, other: Side) -> None:
        self.marks[moved is self.after].location = moved.time
        if self.linked.value and not self._following:
            self._following = True  # the other one would pull this one to its own date
            other.go_to(moved.time)
            self._following = False

    def on_tap(self, event: Any) -> None:
        """Show the series of the pixel that was clicked on."""
        self.place = (float(event.x), float(event.y))
        self.draw_series()

    def on_ranges(self, event: Any) -> None:
        """Read what is looked at now."""
        window = (event.x0, event.y0, event.x1, event.y1)
        if window != self.before.window:
            for side in (self.before, self.after):
                side.look_at(window)

    def draw_series(self) -> None:
        """Read the series of the place, of every layer."""
        for title, layer in self.layers.items():
            series = read_series(layer, self.quantity.value, *self.place)
            times = series.times if series else pd.DatetimeIndex([])
            values = series.values if series else np.zeros(0, np.float32)
            usable = series.valid if series else np.zeros(0, bool)
            for kind, source in self.lines[title].items():
                chosen = {"line": slice(None), "usable": usable, "unusable": ~usable}[kind]
                source.data = {"time": times[chosen], "value": values[chosen]}
        self.chart.title.text = f"{self.quantity.value} at {self._told()}"

    def _told(self) -> str:
        crs = grid_of(next(iter(self.layers.values())).group).crs
        lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(*self.place)
        x, y = self.place
        return f"x {x:.0f}, y {y:.0f} ({lat:.5f}, {lon:.5f})"

    def page(self) -> Any:
        """Return the page, for a notebook or a server."""
        swipe = pn.layout.Swipe(
            pn.pane.Bokeh(self.before.figure),
            pn.pane.Bokeh(self.after.figure),
            width=SIZE, height=SIZE, value=50,
        )  # fmt: skip
        help_ = pn.pane.Markdown("Drag the bar to swipe, click for the series of a pixel.")
        sides = pn.Row(self.before.controls(), self.after.controls())
        beside = pn.Column(sides, self.linked, self.quantity, help_, pn.pane.Bokeh(self.chart))
        return pn.Row(swipe, beside)


def _empty() -> dict[str, list[Any]]:
    return {"image": [], "x": [], "y": [], "dw": [], "dh": []}


def _map(ranges: tuple[Range1d, Range1d]) -> Any:
    made = figure(
        width=SIZE, height=SIZE, x_range=ranges[0], y_range=ranges[1], match_aspect=True,
        tools="pan,wheel_zoom,reset", active_scroll="wheel_zoom", title=" ",
    )  # fmt: skip
    made.grid.visible = False
    made.background_fill_color = "#d9d9d9"
    for axis in made.axis:
        axis.formatter.use_scientific = False
    made.yaxis.major_label_orientation = "vertical"
    return made


def _chart(layers: dict[str, Layer]) -> tuple[Any, dict[str, dict[str, ColumnDataSource]], Any]:
    """Return the plot of series, its sources per layer and kind, and the marks of the dates."""
    made = figure(width=SIZE, height=360, x_axis_type="datetime", title=" ",
                  tools="pan,wheel_zoom,box_zoom,reset")  # fmt: skip
    lines: dict[str, dict[str, ColumnDataSource]] = {}
    for title, layer in layers.items():
        colour = COLOURS.get(layer.sensor, "#555555")
        kinds = ("line",) if title.endswith("fused") else ("usable", "unusable")
        lines[title] = {kind: ColumnDataSource({"time": [], "value": []}) for kind in kinds}
        for kind, source in lines[title].items():
            how: dict[str, Any] = {"source": source, "legend_label": f"{title}, {kind}"}
            if kind == "line":
                how["legend_label"] = title
                made.line("time", "value", color=colour, line_width=2, **how)
                made.scatter("time", "value", color=colour, size=4, source=source)
            elif kind == "usable":
                made.scatter("time", "value", color=colour, size=8, alpha=0.7, **how)
            else:
                made.scatter("time", "value", marker="x", color="#888888", size=8, **how)
    marks = {after: Span(dimension="height", line_dash=dash, line_color="#333333")
             for after, dash in ((False, "dotted"), (True, "solid"))}  # fmt: skip
    made.renderers.extend(marks.values())
    made.legend.click_policy = "hide"
    made.legend.label_text_font_size = "8pt"
    made.add_layout(made.legend[0], "below")
    made.legend.ncols = 2
    return made, lines, marks

"""Plots of cubes and products with matplotlib: ``cube.tamrf.plot``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from tamrf_xr.cube import groups_of, is_product
from tamrf_xr.errors import CubeError
from tamrf_xr.export.panels import TRUE_COLOUR
from tamrf_xr.plot.figures import pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["Plots"]


class Plots:
    """What can be plotted of a cube or a product: each method reads what it draws, no more.

    Of a product that is lazy (`tamrf_xr.fuse`), each plot computes whole tiles, and the next one
    computes them again: ``fuse(..., persist=True)`` computes them once, into memory.
    """

    def __init__(self, tree: xr.DataTree) -> None:
        """Take the tree; nothing is read before a method is called."""
        self._tree = tree

    def dates(
        self,
        dates: Any = None,
        *,
        sensor: str | None = None,
        bands: str | Sequence[str] = TRUE_COLOUR,
        columns: int = 6,
        stretch: tuple[float, float] | None = None,
    ) -> NDArray[Any]:
        """Draw thumbnails of dates, a sensor a row, all with the same black and white.

        Parameters
        ----------
        dates
            Days to draw, as `tamrf_xr.fuse` takes them: each must be a day of some sensor. By
            default `columns` dates of each sensor, evenly chosen.
        sensor
            The one to draw; by default all.
        bands
            Three bands to show as red, green and blue: names, or common names so that they mean
            the same for both sensors; or ``"LST"``, temperature.
        columns
            Most dates to draw when `dates` is None.
        stretch
            Reflectance shown as black and as white, which others are clipped to; by default the
            0.5 and 98.5 % points of the clear pixels of a thumbnail, the median over them.

        Returns
        -------
        numpy.ndarray of matplotlib.axes.Axes
            (sensor, date). Pixels without data are light grey; of scenes wider than 400 pixels
            every n-th pixel is read.

        Raises
        ------
        CubeError
            If the tree has no such sensor or band, or nothing to draw.
        DateError
            If no sensor has a date that is asked.
        OptionError
            If `bands`, `columns` or `stretch` makes no sense, or matplotlib is not installed.
        """
        from tamrf_xr.plot.images import Look, draw_dates

        return draw_dates(self._tree, dates, look=Look(sensor, bands, stretch), columns=columns)

    def compare(
        self,
        other: xr.DataTree,
        *,
        date: Any = None,
        sensor: str | None = None,
        bands: str | Sequence[str] = TRUE_COLOUR,
        stretch: tuple[float, float] | None = None,
    ) -> NDArray[Any]:
        """Draw a date of this tree, of another, and the other minus this one.

        Parameters
        ----------
        other
            A product or a cube on the same pixels.
        date
            A day that both have; by default the first one.
        sensor
            By default the first that both have on the same pixels.
        bands, stretch
            As of `dates`. The difference is the mean over the bands.

        Returns
        -------
        numpy.ndarray of matplotlib.axes.Axes
            This, the other, the difference: light grey where one of them has no usable value.

        Raises
        ------
        CubeError
            If they have no sensor on the same pixels.
        DateError
            If one of them lacks the date, or they have none in common.
        OptionError
            As `dates`.
        """
        from tamrf_xr.plot.images import Look, draw_comparison

        return draw_comparison(self._tree, other, date, look=Look(sensor, bands, stretch))

    def series(
        self,
        x: float,
        y: float,
        *,
        bands: str | Sequence[str] | None = None,
        sensor: str | None = None,
        observations: xr.DataTree | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw the series of the pixel that a point lies in.

        Acquisitions are dots where they are usable, grey crosses where they are not; products are
        lines, with the interval that covers 80 % of clear observations where they hold standard
        deviations (`uncertainty=True`).

        Parameters
        ----------
        x, y
            In the CRS of the tree.
        bands
            Names or common names, such as ``"red"``; or ``"LST"`` alone, temperature. By default
            red and near infrared.
        sensor
            The one to draw; by default all that have one of the bands.
        observations
            The cube that a product was made of, to draw with it.
        ax
            Where to draw; by default a figure of its own.

        Returns
        -------
        matplotlib.axes.Axes
            Scaled to what is usable: crosses may lie beyond it, and the legend says how many do.

        Raises
        ------
        CubeError
            If the point lies outside, or no sensor has one of the bands.
        OptionError
            If reflectance and temperature are asked in one, or matplotlib is not installed.
        """
        from tamrf_xr.plot.series import draw_series

        trees = [self._tree] if observations is None else [self._tree, observations]
        return draw_series(trees, (x, y), bands=bands, sensor=sensor, ax=ax)

    def calendar(self, *, ax: Axes | None = None) -> Axes:
        """Draw when each sensor saw how much of the place: acquisitions against clear share.

        Reads ``valid`` of every acquisition (at most 400 x 400 pixels of each, evenly chosen).

        Parameters
        ----------
        ax
            Where to draw; by default a figure of its own.

        Returns
        -------
        matplotlib.axes.Axes
            Per sensor a dot an acquisition.

        Raises
        ------
        CubeError
            If the tree is a product, or has no acquisition.
        OptionError
            If matplotlib is not installed.
        """
        from tamrf_xr.plot.calendar import draw_calendar

        return draw_calendar(self._tree, ax=ax)


def quicklook_of(
    tree: xr.DataTree,
    fused: xr.DataTree | None = None,
    path: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Figure:
    """Draw a quicklook of a cube and its product, or of a product alone.

    Raises
    ------
    CubeError
        If `tree` is a product and `fused` is given: one of them must be a cube.
    OptionError
        If matplotlib is not installed.
    """
    pyplot()
    from tamrf_xr.export.quicklook import quicklook

    if not any(is_product(group) for group in groups_of(tree).values()):
        return quicklook(tree, fused, path, **options)
    if fused is not None:
        raise CubeError(
            "this is a product, and another is given as what was fused from it: call quicklook on "
            "the cube, or .plot.compare(other) for two products"
        )
    return quicklook(None, tree, path, **options)

"""The series of a pixel: what was observed, what of it was usable, what was fused and how sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.cube import grid_of, is_product
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.plot.figures import COLOURS, MARKERS, axes_for, sensors_of
from tamrf_xr.sensors import SENSORS, THERMAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NORMAL_80 = 1.28
"""Half the interval that covers 80 % of a normal distribution, in standard deviations."""

CALIBRATED_80 = "half_width_80"
"""Attribute of standard deviations that tells it as it was calibrated, per band."""

DEFAULT = ("red", "nir")
KELVIN = "surface_temperature"

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Curve:
    """Values of one band of one sensor at a pixel."""

    sensor: str
    """Name of the sensor."""

    band: str
    """Name of the band."""

    times: pd.DatetimeIndex
    """Those with a value, in order."""

    values: Values
    """Reflectance, or kelvin."""

    usable: NDArray[np.bool_]
    """Of each."""

    half: Values | None
    """Half the interval that covers 80 % of clear observations, of products that tell it."""

    fused: bool
    """Whether it was made, not observed."""

    @property
    def label(self) -> str:
        """What it is, for a legend."""
        common = next(b.common_name for b in SENSORS[self.sensor].all_bands if b.name == self.band)
        what = self.band if self.band == THERMAL else f"{self.band} ({common})"
        return f"{SENSORS[self.sensor].title} {what}{' fused' if self.fused else ''}"


def draw_series(
    trees: Sequence[xr.DataTree],
    point: tuple[float, float],
    *,
    bands: str | Sequence[str] | None,
    sensor: str | None,
    ax: Axes | None,
) -> Axes:
    """Draw the series of a pixel of each tree, as `tamrf_xr.plot.Plots.series`."""
    asked = (bands,) if isinstance(bands, str) else DEFAULT if bands is None else tuple(bands)
    _check_units(asked)
    curves = [curve for tree in trees for curve in read_curves(tree, point, asked, sensor)]
    axes = axes_for(ax, size=(10, 3.6))
    named = list(dict.fromkeys((curve.sensor, curve.band) for curve in curves))
    for curve in curves:
        colour = COLOURS[named.index((curve.sensor, curve.band)) % len(COLOURS)]
        _draw_fused(axes, curve, colour) if curve.fused else _draw_seen(axes, curve, colour)
    _scale(axes, curves)
    _draw_unusable(axes, [curve for curve in curves if not curve.fused])
    axes.set_ylabel("temperature (K)" if asked == (THERMAL,) else "reflectance")
    axes.set_title(f"x {point[0]:.10g}, y {point[1]:.10g}", loc="right", fontsize=9)
    axes.grid(alpha=0.25)
    outside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1)}
    axes.legend(frameon=ax is not None, fontsize=9, **(outside if ax is None else {"loc": "best"}))
    return axes


def _check_units(asked: Sequence[str]) -> None:
    thermal = [any(s.thermal and s.thermal.answers_to(b) for s in SENSORS.values()) for b in asked]
    if not asked or (any(thermal) and len(asked) > 1):
        raise OptionError(
            f"bands are {list(asked)!r:.80}: expected bands of reflectance, or {THERMAL!r} alone, "
            "which is in kelvin: draw it on axes of its own (ax=)"
        )


def read_curves(
    tree: xr.DataTree, point: tuple[float, float], asked: Sequence[str], sensor: str | None
) -> list[Curve]:
    """Read the bands of a pixel that are there, in one read a variable.

    Raises
    ------
    CubeError
        If the point lies outside, or none of the bands is there.
    """
    curves = []
    groups = sensors_of(tree, sensor)
    for name, group in groups.items():
        found = [SENSORS[name].find(band) for band in asked]
        held = {band.name for band in found if band is not None} & _held(group)
        if held:
            curves += _curves(name, pixel_of(name, group, point), held)
    if not curves:
        there = "; ".join(f"/{name}: {', '.join(_sorted(name, g))}" for name, g in groups.items())
        raise CubeError(f"no sensor has a band of {list(asked)!r:.80}; there are {there}")
    return curves


def _held(group: xr.Dataset) -> set[str]:
    bands = {*group["band"].values.tolist()} if "reflectance" in group else set()
    return bands | ({THERMAL} if KELVIN in group else set())


def _sorted(sensor: str, group: xr.Dataset) -> list[str]:
    return [band.name for band in SENSORS[sensor].all_bands if band.name in _held(group)]


def pixel_of(sensor: str, group: xr.Dataset, point: tuple[float, float]) -> xr.Dataset:
    """Return the pixel that a point of the CRS lies in.

    Raises
    ------
    CubeError
        If it lies outside.
    """
    grid = grid_of(group)
    left, bottom, right, top = grid.bounds
    x, y = point
    if not (left <= x < right and bottom < y <= top):
        raise CubeError(
            f"x={x:.10g}, y={y:.10g} lies outside of /{sensor}, which covers x {left:.10g} to "
            f"{right:.10g} and y {bottom:.10g} to {top:.10g} in {grid.crs.name}; points are in "
            "that CRS (pyproj.Transformer brings longitude and latitude there)"
        )
    return group.isel(y=int((top - y) // grid.gsd), x=int((x - left) // grid.gsd))


def _curves(sensor: str, pixel: xr.Dataset, held: set[str]) -> list[Curve]:
    thermal = held == {THERMAL}
    main = KELVIN if thermal else "reflectance"
    wanted = [name for name in (main, f"{main}_std", "valid") if name in pixel]
    order = [band.name for band in SENSORS[sensor].all_bands if band.name in held]
    widths = _half_widths(sensor, pixel[f"{main}_std"]) if f"{main}_std" in pixel else {}
    pixel = pixel[wanted] if thermal else pixel[wanted].sel(band=order)
    pixel = pixel.compute().sortby("time")  # at once: of a lazy product, tiles are made once
    return [
        _curve(sensor, band, pixel if thermal else pixel.isel(band=at), widths)
        for at, band in enumerate(order)
    ]


def _half_widths(sensor: str, deviations: xr.DataArray) -> dict[str, float]:
    """Return half the 80 % interval of each band, in deviations: as calibrated, where told."""
    thermal = "band" not in deviations.dims
    held = [THERMAL] if thermal else deviations["band"].values.tolist()
    told = np.ravel(deviations.attrs.get(CALIBRATED_80, ())).tolist()
    # Attributes do not follow a selection: they are believed of bands as a product has them.
    ordered = [band.name for band in SENSORS[sensor].all_bands if band.name in held]
    return dict(zip(held, told if len(told) == len(held) and held == ordered
                    else [NORMAL_80] * len(held), strict=True))  # fmt: skip


def _curve(sensor: str, band: str, pixel: xr.Dataset, widths: Mapping[str, float]) -> Curve:
    main = KELVIN if band == THERMAL else "reflectance"
    values = pixel[main].values.astype(np.float32)
    known = np.isfinite(values)
    usable = pixel["valid"].values.astype(bool) if "valid" in pixel else known
    return Curve(
        sensor,
        band,
        pd.DatetimeIndex(pixel["time"].values)[known],
        values[known],
        usable[known],
        _times(pixel[f"{main}_std"].values[known], widths[band]) if widths else None,
        is_product(pixel),
    )


def _times(deviations: Any, width: float) -> Values:
    return np.asarray(deviations * width, np.float32)


def _draw_fused(axes: Axes, curve: Curve, colour: str) -> None:
    axes.plot(curve.times, curve.values, "-", color=colour, linewidth=1.4, label=curve.label)
    if curve.half is not None:
        low, high = curve.values - curve.half, curve.values + curve.half
        axes.fill_between(
            curve.times, low, high, color=colour, alpha=0.2, linewidth=0, label="80 % interval"
        )


def _draw_seen(axes: Axes, curve: Curve, colour: str) -> None:
    axes.plot(
        curve.times[curve.usable],
        curve.values[curve.usable],
        MARKERS[curve.sensor],
        color=colour,
        markersize=4.5,
        label=curve.label,
    )


def _scale(axes: Axes, curves: Sequence[Curve]) -> None:
    """Fit the axes to what is usable, that clouds do not press the rest to the floor."""
    shown: list[Any] = [curve.values[curve.usable] for curve in curves]
    shown += [c.values + sign * c.half for c in curves if c.half is not None for sign in (-1, 1)]
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    if values.size:
        margin = 0.08 * max(float(np.ptp(values)), 0.02)
        axes.set_ylim(float(values.min()) - margin, float(values.max()) + margin)


def _draw_unusable(axes: Axes, curves: Sequence[Curve]) -> None:
    masked = [(curve.times[~curve.usable], curve.values[~curve.usable]) for curve in curves]
    count = sum(len(times) for times, _ in masked)
    if not count:
        return
    values = np.concatenate([some for _, some in masked])
    low, high = axes.get_ylim()
    beyond = int(((values < low) | (values > high)).sum())
    label = f"not usable ({count}" + (f", {beyond} beyond the axis)" if beyond else ")")
    times = np.concatenate([some.values for some, _ in masked])
    axes.plot(times, values, "x", color="0.6", markersize=4, label=label, zorder=1)
    axes.set_ylim(low, high)

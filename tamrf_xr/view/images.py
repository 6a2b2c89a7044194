"""Images of a screen's size: a window of one date, thinned, stretched to colours; no widgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.cube import grid_of, groups_of, is_product
from tamrf_xr.errors import CubeError
from tamrf_xr.sensors import SENSORS

Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top."""

MOST_PX = 700
"""Pixels read along an edge of a window: about those of the screen."""

FIRST_PX = 1500
"""Pixels along an edge of what is shown first, in the middle: all of a large scene takes long."""

SAMPLE_PX, SAMPLE_DATES = 120, 7
"""What is read of that to find a stretch."""

COMBINATIONS: Mapping[str, tuple[str, ...]] = {
    "true colour": ("red", "green", "blue"),
    "false colour infrared": ("nir08", "red", "green"),
    "short-wave infrared": ("swir22", "nir08", "red"),
    "agriculture": ("swir16", "nir08", "blue"),
}
"""Bands shown as red, green and blue, by common name: the same for every sensor."""

TEMPERATURE = "temperature"
MASKED = 0.35
"""What is left of the light of pixels that are not usable."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One group of a tree, to look at."""

    title: str
    """In print."""

    sensor: str
    """Name of its group."""

    group: xr.Dataset
    """What is there, lazily."""

    @property
    def times(self) -> pd.DatetimeIndex:
        """Of its images."""
        return pd.DatetimeIndex(self.group["time"].values)

    @property
    def bands(self) -> tuple[str, ...]:
        """Its bands of reflectance."""
        return tuple(map(str, self.group["band"].values)) if "reflectance" in self.group else ()

    @property
    def bounds(self) -> Bounds:
        """Where it lies."""
        return grid_of(self.group).bounds

    @property
    def middle(self) -> Bounds:
        """What is shown first: all of it, or the middle of a large scene."""
        left, bottom, right, top = self.bounds
        half = FIRST_PX * grid_of(self.group).gsd / 2
        x, y = (left + right) / 2, (bottom + top) / 2
        return max(left, x - half), max(bottom, y - half), min(right, x + half), min(top, y + half)

    def combinations(self) -> dict[str, tuple[str, ...]]:
        """Return what can be shown of it: three bands, one, or the temperature."""
        found: dict[str, tuple[str, ...]] = {}
        for name, wanted in COMBINATIONS.items():
            bands = [SENSORS[self.sensor].find(word) for word in wanted]
            names = tuple(band.name for band in bands if band is not None)
            if len(names) == 3 and set(names) <= set(self.bands):
                found[name] = names
        rows = {band.name: band for band in SENSORS[self.sensor].bands}
        found |= {f"{name} ({rows[name].common_name})": (name,) for name in self.bands}
        if "surface_temperature" in self.group:
            found[TEMPERATURE] = ()
        return found

    def nearest(self, time: Any) -> int:
        """Return the position of the image nearest in time."""
        return int(np.abs(self.times - pd.Timestamp(time)).argmin())


def layers_of(tree: xr.DataTree, cube: xr.DataTree | None = None) -> dict[str, Layer]:
    """List what can be looked at, by title.

    Parameters
    ----------
    tree
        A product or a cube.
    cube
        The cube that the product was made of.

    Raises
    ------
    CubeError
        If there is no image in it.
    """
    found = {}
    for one in (tree, cube):
        for name, group in groups_of(one).items() if one is not None else ():
            kind = "fused" if is_product(group) else "observed"
            title = f"{SENSORS[name].title} {kind}"
            if group.sizes["time"] and title not in found:
                found[title] = Layer(title, name, group)
    if not found:
        raise CubeError("nothing to look at: the tree has no date of any sensor")
    return found


def read_window(
    layer: Layer, position: int, bands: Sequence[str], bounds: Bounds
) -> tuple[NDArray[np.float32], NDArray[np.bool_], Bounds]:
    """Read a window of an image, every n-th pixel of it.

    Parameters
    ----------
    layer
        Of what.
    position
        Of its date.
    bands
        One or three of its bands; none for the temperature.
    bounds
        What is looked at; it is cut to what there is.

    Returns
    -------
    pixels, valid, bounds
        ``(band, y, x)``, ``(y, x)``, and where they lie; all empty where nothing is there.
    """
    place = {name: _whole(part) for name, part in _positions(layer, bounds).items()}
    return (*_read(layer, layer.group.isel({"time": position, **place}), bands),
            _covered(layer, place))  # fmt: skip


def _read(
    layer: Layer, part: xr.Dataset, bands: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read bands of one date or several, and what is usable of them."""
    if bands:
        order = [layer.bands.index(band) for band in bands]
        array = part["reflectance"].transpose(..., "band", "y", "x").isel(band=order)
    else:
        array = part["surface_temperature"].expand_dims("band").transpose(..., "band", "y", "x")
    pixels = np.asarray(array.values, np.float32)
    if "valid" in part:
        return pixels, np.asarray(part["valid"].values, bool)
    return pixels, np.asarray(np.isfinite(pixels).all(axis=-3))


def _positions(layer: Layer, bounds: Bounds) -> dict[str, slice]:
    """Return the pixels of a window, those at its edges whole, and in the image alone."""
    grid = grid_of(layer.group)
    left, bottom, right, top = bounds
    columns = ((left - grid.bounds[0]) / grid.gsd, (right - grid.bounds[0]) / grid.gsd)
    rows = ((grid.bounds[3] - top) / grid.gsd, (grid.bounds[3] - bottom) / grid.gsd)
    found = {}
    for name, (first, last), size in (("y", rows, grid.shape[0]), ("x", columns, grid.shape[1])):
        begin = int(np.clip(np.floor(first), 0, size))
        found[name] = slice(begin, int(np.clip(np.ceil(last), begin, size)))
    return found


def _whole(part: slice) -> slice:
    """Thin to what a screen shows."""
    return slice(part.start, part.stop, max(1, -(-(part.stop - part.start) // MOST_PX)))


def _covered(layer: Layer, place: Mapping[str, slice]) -> Bounds:
    """Return where thinned pixels lie: each covers those that it stands for."""
    grid = grid_of(layer.group)
    left, _, _, top = grid.bounds
    ends = {n: p.start + len(range(p.start, p.stop, p.step)) * p.step for n, p in place.items()}
    return (
        left + place["x"].start * grid.gsd,
        top - ends["y"] * grid.gsd,
        left + ends["x"] * grid.gsd,
        top - place["y"].start * grid.gsd,
    )


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is shown as black and as white, per band."""

    low: tuple[float, ...]
    """Black."""

    high: tuple[float, ...]
    """White."""

    heat: bool = False
    """Shown as heat, not as grey."""


def find_stretch(layer: Layer, bands: Sequence[str]) -> Stretch:
    """Return the range of what is usable of some dates, thinned: one for all of them.

    The visible bands have one in common, or colours would not be those that are seen.
    """
    positions = np.unique(np.linspace(0, len(layer.times) - 1, SAMPLE_DATES).round().astype(int))
    axis = None if _is_visible(layer, bands) else 1
    ranges = []
    for pixels, valid in zip(*_sample(layer, positions, bands), strict=True):
        seen = pixels[:, valid & np.isfinite(pixels).all(axis=0)]
        if seen.size > SAMPLE_PX:
            found = np.percentile(seen, [1, 99], axis=axis).T
            ranges.append(np.broadcast_to(found, (len(seen), 2)))
    if ranges:
        low, high = np.median(ranges, axis=0).T
    else:
        count = max(1, len(bands))
        low, high = np.full((2, count), [[0.0], [0.3]] if bands else [[270.0], [310.0]])
    high = np.maximum(high, low + (0.01 if bands else 1.0))
    return Stretch(tuple(low.tolist()), tuple(high.tolist()), heat=not bands)


def _sample(
    layer: Layer, positions: NDArray[np.int_], bands: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read some dates of the middle, thinned, at once: they may lie in one chunk."""
    place = {
        name: slice(part.start, part.stop, max(1, (part.stop - part.start) // SAMPLE_PX))
        for name, part in _positions(layer, layer.middle).items()
    }
    return _read(layer, layer.group.isel({"time": positions, **place}), bands)


def _is_visible(layer: Layer, bands: Sequence[str]) -> bool:
    rows = {band.name: band.common_name for band in SENSORS[layer.sensor].bands}
    return {rows[band] for band in bands} == set(COMBINATIONS["true colour"])


def to_rgba(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], stretch: Stretch, *, dim: bool
) -> NDArray[np.uint32]:
    """Colour pixels as bokeh takes them: ``(y, x)``, the southern row first.

    Parameters
    ----------
    pixels
        ``(band, y, x)``: three bands, or one; NaN is seen through.
    valid
        ``(y, x)``: usable.
    stretch
        Of as many bands.
    dim
        Darken what is not usable.
    """
    low, high = (np.array(ends)[:, None, None] for ends in (stretch.low, stretch.high))
    known = np.isfinite(pixels).all(axis=0)
    level = np.clip((np.nan_to_num(pixels) - low) / (high - low), 0, 1)
    colour = _heat(level[0]) if stretch.heat else np.broadcast_to(level, (3, *known.shape))
    if dim:
        colour = np.where(valid, colour, colour * MASKED)
    coded = np.zeros((*known.shape, 4), np.uint8)
    coded[..., :3] = np.moveaxis((colour * 255).round().astype(np.uint8), 0, -1)
    coded[..., 3] = np.where(known, 255, 0)
    return np.ascontiguousarray(coded[::-1]).view(np.uint32)[..., 0]


def _heat(level: NDArray[np.float32]) -> NDArray[np.float32]:
    from matplotlib import colormaps

    heat = colormaps["inferno"](level)[..., :3].astype(np.float32)
    return np.moveaxis(heat, -1, 0)

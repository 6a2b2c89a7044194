"""Panels of pictures: dates read thinned to the screen, one stretch for all, pixels drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.sensors import SENSORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRUE_COLOUR = ("red", "green", "blue")
PANEL_PX = 400
"""Most pixels read along the edge of a panel."""

NODATA = "0.85"
"""Grey of pixels without data."""

FRAME = "0.6"
"""Grey of the edge of a panel, so that overcast ones end somewhere."""

LEAST_CLEAR = 0.02
"""Clear fraction of a panel below which it has no say in the stretch."""

MOST_COLUMNS = 200

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Panels:
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


def check_options(columns: int, bands: Sequence[str], stretch: tuple[float, float] | None) -> None:
    """Refuse, before anything is read, what makes no sense.

    Raises
    ------
    OptionError
        Naming the option.
    """
    if not 1 <= columns <= MOST_COLUMNS:
        raise OptionError(f"columns is {columns!r:.40}: expected 1 to {MOST_COLUMNS}")
    if isinstance(bands, str) or len(bands) != 3:
        raise OptionError(f"bands is {bands!r}: expected three names, for red, green and blue")
    if stretch is not None and not stretch[0] < stretch[1]:
        raise OptionError(f"stretch is {stretch}: expected two reflectances, the lower first")


def choose_dates(tree: xr.DataTree, columns: int) -> pd.DatetimeIndex:
    """Choose dates of the first group evenly, the first and the last among them."""
    group = next(iter(groups_of(tree).values()), None)
    if group is None or not group.sizes["time"]:
        raise CubeError("nothing to draw: the tree has no date of any sensor")
    times = pd.DatetimeIndex(group["time"].values).unique().sort_values()
    chosen = np.linspace(0, len(times) - 1, min(columns, len(times))).round().astype(int)
    return times[chosen]


def nearest(group: xr.Dataset, shown: pd.DatetimeIndex) -> xr.Dataset:
    """Select, thinned, the date nearest to each of those shown."""
    times = pd.DatetimeIndex(group["time"].values)
    away = np.abs(times.values[None, :] - shown.values[:, None])
    return thinned(group, away.argmin(axis=1))


def thinned(group: xr.Dataset, positions: Any, *, most: int = PANEL_PX) -> xr.Dataset:
    """Select dates by position, and every n-th pixel so that edges have `most` or fewer."""
    steps = {dim: slice(None, None, -(-group.sizes[dim] // most)) for dim in ("y", "x")}
    return group.isel({"time": positions, **steps})


def colour_panels(
    sensor: str, group: xr.Dataset, bands: Sequence[str], *, label: str = ""
) -> Panels:
    """Read every date of a group, thinned already, in three bands.

    Raises
    ------
    CubeError
        If it has no such band.
    """
    group = group.isel(band=[find_band(sensor, group, band) for band in bands])
    images = group["reflectance"].transpose("time", "y", "x", "band").values
    times = pd.DatetimeIndex(group["time"].values)
    return Panels(label, times, images, clear_of(group, images[..., 0]))


def thermal_panels(group: xr.Dataset, *, label: str = "") -> Panels:
    """Read every date of a group, thinned already, in kelvin."""
    images = group["surface_temperature"].values
    times = pd.DatetimeIndex(group["time"].values)
    return Panels(label, times, images, clear_of(group, images))


def find_band(sensor: str, group: xr.Dataset, wanted: str) -> int:
    """Return the position of a band, by its name, common name or an alias."""
    present = [str(name) for name in group["band"].values]
    band = SENSORS[sensor].find(wanted)
    if band is not None and band.name in present:
        return present.index(band.name)
    known = [f"{b.name} ({b.common_name})" for b in SENSORS[sensor].bands if b.name in present]
    raise CubeError(
        f"/{sensor} has no band {wanted!r} to draw; it has {', '.join(known)}; "
        "name three of these as bands="
    )


def clear_of(group: xr.Dataset, values: Image) -> NDArray[np.bool_]:
    """Tell which pixels are usable, of dates whose values are read already."""
    finite = np.isfinite(values)
    return finite & group["valid"].values if "valid" in group else finite


def find_stretch(rows: Sequence[Panels]) -> tuple[float, float]:
    """Return the range of reflectance of the clear pixels of a usual panel, one for all rows."""
    return stretch_of(
        pair
        for row in rows
        if not row.thermal
        for pair in zip(row.images, _known(row), strict=True)
    )


def stretch_of(
    images: Iterable[tuple[NDArray[np.floating], NDArray[np.bool_]]],
) -> tuple[float, float]:
    """Return what to show as black and as white: one range for all images and their bands.

    Parameters
    ----------
    images
        Pairs of reflectance, ``(y, x, band)``, and which pixels ``(y, x)`` are clear.

    Returns
    -------
    tuple of float
        The 0.5 and 98.5 % points of the clear pixels of an image, the median over those of which
        some are clear; 0 to 0.3 where none is.
    """
    ranges = [
        np.percentile(image[clear], [0.5, 98.5])
        for image, clear in images
        if clear.mean() > LEAST_CLEAR
    ]
    if not ranges:
        return 0.0, 0.3
    # The median over panels: a day of snow leaves the others bright enough to see.
    low, high = np.median(ranges, axis=0)
    return float(low), float(max(high, low + 0.01))


def _known(row: Panels) -> NDArray[np.bool_]:
    return np.asarray(row.clear & np.isfinite(row.images).all(axis=-1))


def draw_panel(axes: Axes, image: Image, limits: tuple[float, float]) -> None:
    """Draw reflectance in three bands, or kelvin; pixels without data are light grey."""
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
    axes.imshow(stretched(image, limits), interpolation="nearest")


def stretched(image: Image, limits: tuple[float, float]) -> Image:
    """Return red, green, blue and opacity, 0 to 1: transparent where there is no data."""
    low, high = limits
    known = np.isfinite(image).all(axis=-1)
    colour = np.clip((np.nan_to_num(image) - low) / (high - low), 0, 1)
    return np.dstack([colour, known]).astype(np.float32)

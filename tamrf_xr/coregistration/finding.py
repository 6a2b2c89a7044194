"""Find the shifts of a cube: a task a block of ground, a table at the end."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray

from tamrf_xr.coregistration.blocks import edges, estimate
from tamrf_xr.coregistration.table import tabulate
from tamrf_xr.cube import grids_of, groups_of, validate
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.grid import Grid
from tamrf_xr.sensors import get_sensor

BANDS = ("green", "red", "nir")
"""Bands that are compared: sharp, seen by both sensors, little haze."""

LEAST_PX = 15
"""Pixels of the coarsest sensor across a block, at least."""

LEAST_ACQUISITIONS = 4
"""Of the sensor that is compared with itself: three make a median, one is compared with it."""

MOST_PX = 3.0
"""Largest shift that may be asked for: gradients lead no further."""


def shifts(
    cube: xr.DataTree,
    *,
    block: float | str = "2km",
    bands: Sequence[str] = BANDS,
    most_px: float = 1.5,
) -> xr.DataTree:
    """Find how far each acquisition lies off, block by block.

    Sentinel-2 (or the only sensor) is compared with the per-pixel medians of its other clear
    acquisitions, in two rounds; Landsat with the medians of the corrected Sentinel-2, as means
    over its pixels. Where Sentinel-2 lies as a whole cannot be known: the mean shift of its
    acquisitions is 0. One block is in memory at a time for each thread, with all its acquisitions.

    Parameters
    ----------
    cube
        The cube, lazy or in memory. Where it has ``valid``, only what is usable is compared.
    block
        Edge of the blocks, in metres, or as text such as ``"2km"``; a smaller scene is one block.
    bands
        Names or common names of the bands compared, which every sensor must have.
    most_px
        Largest shift along either axis that is believed, in pixels of the sensor, up to 3.

    Returns
    -------
    xarray.DataTree
        In memory, a group a sensor: ``dx`` (eastwards) and ``dy`` (northwards) in metres, as
        (time, block_y, block_x), NaN where nothing was found; ``standard_error`` in metres,
        ``pixels`` compared, ``trusted``; ``overall_dx`` and ``overall_dy`` (time), medians of
        the trusted blocks, NaN where there are none.

    Raises
    ------
    CubeError
        If the cube is a product, or holds too few pixels, acquisitions or bands to compare, or
        nothing that can be trusted.
    OptionError
        If an option has no meaning.

    References
    ----------
    Lucas & Kanade, "An iterative image registration technique", IJCAI 1981.
    """
    validate(cube)
    names = _names(bands)
    plan = _plan(groups_of(cube), metres(block), names, most_px)
    found = _merged(compute(*plan.tasks()), plan)
    table = tabulate(
        found,
        times={name: pd.DatetimeIndex(group["time"].values) for name, group in plan.groups.items()},
        gsds={name: grid.gsd for name, grid in plan.grids.items()},
        centres=plan.centres(),
        most_px=most_px,
        attrs={"block_m": metres(block), "bands": list(names), "most_px": float(most_px)},
    )
    _check_found(table)
    return table


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is compared, and how it is cut. Sensors stand finest first."""

    groups: Mapping[str, xr.Dataset]
    grids: Mapping[str, Grid]
    bands: Mapping[str, list[str]]
    cuts: tuple[list[slice], list[slice]]
    """Rows and columns of the blocks, in pixels of the coarsest sensor."""
    most_px: float

    @property
    def coarsest(self) -> Grid:
        return max(self.grids.values(), key=lambda grid: grid.gsd)

    def ratio(self, name: str) -> int:
        """Pixels of a sensor across one of the coarsest."""
        return round(self.coarsest.gsd / self.grids[name].gsd)

    def tasks(self) -> list[Any]:
        """Return a task a block, row by row."""
        finest, *_ = self.groups
        ratios = [self.ratio(finest) // self.ratio(name) for name in self.groups]
        task = delayed(estimate, pure=False)
        windows = (
            {name: self._window(name, rows, columns) for name in self.groups}
            for rows in self.cuts[0]
            for columns in self.cuts[1]
        )
        return [task(window, ratios, self.most_px) for window in windows]

    def _window(self, name: str, rows: slice, columns: slice) -> tuple[Any, Any]:
        """Return the images and, if there is one, the mask of a block."""
        ratio, group = self.ratio(name), self.groups[name]
        places = {
            axis: slice(part.start * ratio, part.stop * ratio)
            for axis, part in (("y", rows), ("x", columns))
        }
        # Handed over as they are: what lies in a store without dask is read by the task.
        images = group["reflectance"].sel(band=self.bands[name]).isel(places)
        return images, group["valid"].isel(places) if "valid" in group else None

    def centres(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return northings and eastings of the centres of blocks."""
        (left, _, _, top), gsd = self.coarsest.bounds, self.coarsest.gsd
        y, x = ([gsd * (part.start + part.stop) / 2 for part in cut] for cut in self.cuts)
        return top - np.array(y), left + np.array(x)


def _plan(
    groups: Mapping[str, xr.Dataset], size: float, bands: tuple[str, ...], most_px: float
) -> _Plan:
    """Check what can be checked before anything is read."""
    if not _is_number(most_px) or not 0 < most_px <= MOST_PX:
        raise OptionError(f"most_px is {most_px!r:.40}: expected more than 0, at most {MOST_PX:g}")
    grids = grids_of(groups)
    names = sorted(groups, key=lambda name: grids[name].gsd)
    _check_metric(grids[names[0]])
    _check_series(names[0], groups[names[0]])
    coarse = grids[names[-1]]
    _check_size(names[-1], coarse, size)
    counts = [max(1, round(pixels * coarse.gsd / size)) for pixels in coarse.shape]
    rows, columns = (edges(*pair) for pair in zip(coarse.shape, counts, strict=True))
    return _Plan(
        {name: groups[name] for name in names},
        {name: grids[name] for name in names},
        {name: _bands_of(name, groups[name], bands) for name in names},
        (rows, columns),
        most_px,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(bands: Any) -> tuple[str, ...]:
    names = (bands,) if isinstance(bands, str) else bands
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise OptionError(f"bands is {bands!r:.40}: expected names of bands, such as {BANDS}")
    return tuple(names)


def metres(length: float | str) -> float:
    """Read a length.

    Examples
    --------
    >>> metres("2km"), metres("1500 m"), metres(800)
    (2000.0, 1500.0, 800.0)
    """
    read = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(km|m|)\s*", str(length))
    found = float(read[1]) * (1000 if read[2] == "km" else 1) if read else math.nan
    if not 0 < found < math.inf:
        raise OptionError(
            f"block is {length!r:.40}: expected an edge in metres, such as 2000, or text: '2km'"
        )
    return found


def _check_metric(grid: Grid) -> None:
    unit = grid.crs.axis_info[0].unit_name if grid.crs.axis_info else "none"
    if unit not in {"metre", "meter"}:
        raise CubeError(
            f"the axes of the cube are in {unit}, expected metres; as_cube(..., regrid='nested') "
            "brings Landsat to the grid of Sentinel-2"
        )


def _check_series(name: str, group: xr.Dataset) -> None:
    if "reflectance" not in group:
        raise CubeError(f"/{name} has no 'reflectance', which is what is compared")
    if group.sizes["time"] < LEAST_ACQUISITIONS:
        raise CubeError(
            f"/{name} has {group.sizes['time']} acquisitions; expected at least "
            f"{LEAST_ACQUISITIONS}: each is compared with the median of the others. "
            "Take a longer series"
        )


def _check_size(name: str, grid: Grid, size: float) -> None:
    if size < LEAST_PX * grid.gsd:
        raise OptionError(
            f"block is {size:g} m: {size / grid.gsd:.3g} pixels of {name}; expected at least "
            f"{LEAST_PX} ({LEAST_PX * grid.gsd:g} m), and 1 to 5 km do well"
        )
    if min(grid.shape) < LEAST_PX:
        raise CubeError(
            f"/{name} has {grid.shape[0]} x {grid.shape[1]} pixels (y, x); expected at least "
            f"{LEAST_PX} along each, or there is too little to compare; take a larger scene"
        )


def _bands_of(name: str, group: xr.Dataset, asked: tuple[str, ...]) -> list[str]:
    if "reflectance" not in group:
        raise CubeError(f"/{name} has no 'reflectance', which is what is compared")
    there = [str(band) for band in group["band"].values]
    found = [get_sensor(name).find(band) for band in asked]
    names = [band.name for band in found if band is not None and band.name in there]
    if len(names) < len(asked) or not asked or len(set(names)) < len(names):
        raise OptionError(
            f"bands are {', '.join(asked) or 'none'}: /{name} has {', '.join(there)}, by these or "
            "their common names; expected at least one, each once, that every sensor has"
        )
    return names


def _merged(made: Sequence[list[NDArray[Any]]], plan: _Plan) -> dict[str, NDArray[Any]]:
    """Return, per sensor, ``(time, block_y, block_x, 4)``."""
    counts = [len(cut) for cut in plan.cuts]
    return {
        name: np.stack([tables[place] for tables in made], axis=1).reshape(-1, *counts, 4)
        for place, name in enumerate(plan.groups)
    }


def _check_found(table: xr.DataTree) -> None:
    if any(bool(group["trusted"].any()) for group in table.children.values()):
        return
    most = max(int(group["pixels"].max()) for group in table.children.values())
    raise CubeError(
        "no shift can be told: no acquisition shares enough clear pixels with at least three "
        f"others (at most {most} pixels in a block); check the masks, take larger blocks or a "
        "longer series"
    )

"""Dates of a cube kept from adaptation, on which its network is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tamrf_xr.cube import build_cube, fine_grid, groups_of
from tamrf_xr.errors import CubeError
from tamrf_xr.fusion import fuse
from tamrf_xr.model.network import Tamrf
from tamrf_xr.sensors import LANDSAT, SENSORS

WINDOWS = 4
"""Squares that are judged on, over all cubes."""

CLEAR = 0.5
"""Share of a square that must be usable for a date to be judged on."""

FEWEST = 2
"""Clear dates of all sensors and squares without which nothing can be judged."""

Values = npt.NDArray[np.floating]
Held = Mapping[str, pd.DatetimeIndex]
"""Per sensor, the days that are kept back."""

Errors = dict[tuple[str, str], float]
"""Root mean square error by sensor and band, in physical units."""


@dataclass(frozen=True)
class Window:
    """A square of a cube, in memory: what is given, and what was kept back."""

    given: xr.DataTree
    """The square without the days kept back."""

    truth: Mapping[str, xr.Dataset]
    """Per sensor, its acquisitions of these days."""


class Judge:
    """Squares of cubes, and the dates kept back there.

    Parameters
    ----------
    cubes
        What a network is to be adapted to.
    share
        Of the clear dates to keep back.
    edge
        Pixels of 10 m across a square; a multiple of 3.
    device
        Where networks are judged.

    Raises
    ------
    CubeError
        If there are too few clear dates.
    """

    def __init__(
        self, cubes: Sequence[xr.DataTree], share: float, edge: int, device: str = "auto"
    ) -> None:
        self._device = device
        squares = _squares(cubes, edge)
        self._held = [_held([s for n, s in squares if n == at], share) for at in range(len(cubes))]
        self._windows = [_window(square, self._held[at]) for at, square in squares]
        count = sum(len(t["time"]) for w in self._windows for t in w.truth.values())
        if count < FEWEST:
            raise CubeError(
                f"{count} clear dates can be kept back to judge the network on, expected {FEWEST} "
                "or more; give cubes with more clear dates, or adapt unjudged with held_back=0"
            )

    def train_on(self, cubes: Sequence[xr.DataTree]) -> list[xr.DataTree]:
        """Return the cubes without the days kept back."""
        return [_without(cube, held) for cube, held in zip(cubes, self._held, strict=True)]

    def errors(self, model: Tamrf) -> Errors:
        """Return the errors of a network on the days kept back, over usable pixels."""
        sums: dict[tuple[str, str], list[float]] = {}
        for window in self._windows:
            for sensor, truth in window.truth.items():
                for band, squares in self._squared(window.given, sensor, truth, model).items():
                    total = sums.setdefault((sensor, band), [0.0, 0.0])
                    total[0] += float(squares.sum())
                    total[1] += squares.size
        return {key: (total / count) ** 0.5 for key, (total, count) in sums.items() if count}

    def _squared(
        self, given: xr.DataTree, sensor: str, truth: xr.Dataset, model: Tamrf
    ) -> dict[str, Values]:
        """Return the squared errors of the usable pixels, by band."""
        days = pd.DatetimeIndex(truth["time"].values).floor("D")
        asked = days.unique().sort_values()
        fused = fuse(given, asked, model=model, device=self._device, sensors=[sensor])
        made = fused[sensor].to_dataset().load()  # once, not once a band
        at = asked.get_indexer(days)
        found: dict[str, Values] = {}
        for name, band, seen in _images(truth):
            values = made[name].sel(band=band) if band else made[name]
            predicted = _coarse(values.transpose("time", "y", "x").values[at], sensor)
            usable = truth["valid"].values & np.isfinite(seen)
            found[band or name] = (predicted - seen)[usable] ** 2
        return found


def ratio(found: Errors, before: Errors) -> float:
    """Return the mean over bands of errors over those before."""
    return float(np.mean([found[key] / max(error, 1e-12) for key, error in before.items()]))


def _squares(cubes: Sequence[xr.DataTree], edge: int) -> list[tuple[int, xr.DataTree]]:
    """Return some squares of some cubes, in memory, apart from each other, with their numbers."""
    each = max(1, WINDOWS // len(cubes))
    chosen = np.linspace(0, len(cubes) - 1, min(len(cubes), WINDOWS)).round().astype(int)
    return [(int(n), square) for n in chosen for square in _cut(cubes[n], edge, each)]


def _cut(cube: xr.DataTree, edge: int, most: int) -> list[xr.DataTree]:
    rows, cols = fine_grid(cube).shape
    down, across = max(1, rows // edge), max(1, cols // edge)
    cells = np.linspace(0, down * across - 1, min(most, down * across)).round().astype(int)
    corners = [(cell // across * edge, cell % across * edge) for cell in cells.tolist()]
    return [_crop(cube, corner, edge) for corner in corners]


def _crop(cube: xr.DataTree, corner: tuple[int, int], edge: int) -> xr.DataTree:
    groups = {}
    for name, group in groups_of(cube).items():
        ratio = SENSORS[name].ratio
        y, x = (slice(at // ratio, (at + edge) // ratio) for at in corner)
        groups[name] = group.isel(y=y, x=x).load()
    return build_cube(groups)


def _held(squares: Sequence[xr.DataTree], share: float) -> dict[str, pd.DatetimeIndex]:
    """Return every so manieth clear day of each sensor, the first of them given."""
    step = max(2, round(1 / share))
    found = {}
    for name in groups_of(squares[0]) if squares else ():
        groups = [groups_of(square)[name] for square in squares]
        clear = np.mean([group["valid"].mean(("y", "x")).values for group in groups], axis=0)
        days = pd.DatetimeIndex(groups[0]["time"].values).floor("D")
        found[name] = days[clear >= CLEAR].unique().sort_values()[1::step]
    return found


def _window(square: xr.DataTree, held: Held) -> Window:
    truth = {}
    for name, days in held.items():
        group = groups_of(square)[name]
        kept = pd.DatetimeIndex(group["time"].values).floor("D").isin(days)
        if kept.any():
            truth[name] = group.isel(time=kept)
    return Window(_without(square, held), truth)


def _without(cube: xr.DataTree, held: Held) -> xr.DataTree:
    groups = {
        name: group.isel(time=~pd.DatetimeIndex(group["time"].values).floor("D").isin(held[name]))
        if name in held
        else group
        for name, group in groups_of(cube).items()
    }
    return build_cube(groups)


def _images(truth: xr.Dataset) -> list[tuple[str, str, Values]]:
    """Return the variable, band (none for temperature) and values (time, y, x) of all bands."""
    seen = truth["reflectance"].transpose("band", "time", "y", "x")
    images = [("reflectance", str(one["band"].item()), one.values) for one in seen]
    if "surface_temperature" in truth:
        thermal = truth["surface_temperature"].transpose("time", "y", "x").values
        images.append(("surface_temperature", "", thermal))
    return images


def _coarse(images: Values, sensor: str) -> Values:
    """Bring images of 10 m (time, y, x) to the pixels of a sensor, by means."""
    if sensor != LANDSAT.name:
        return images
    time, y, x = images.shape
    ratio = LANDSAT.ratio
    means: Values = images.reshape(time, y // ratio, ratio, x // ratio, ratio).mean(axis=(2, 4))
    return means

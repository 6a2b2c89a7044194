"""Place the pixels: each sensor on the grid it must have, both nested, or a refusal that helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from affine import Affine

from tamrf_xr.cube import Grid
from tamrf_xr.errors import CubeError, IngestError, OptionError
from tamrf_xr.harmonize.georeference import deferred, other_hemisphere
from tamrf_xr.harmonize.layers import BAND, THERMAL, Layer
from tamrf_xr.nesting import nest
from tamrf_xr.resample import How, resample, same_grid
from tamrf_xr.sensors import SENSORS, Sensor

REGRIDS = (None, "nested")
HALF = 0.5
"""Share of a coarse pixel that must be usable for it to be."""


@dataclass(frozen=True, slots=True)
class Placed:
    """The layers of one sensor, and where they go."""

    sensor: Sensor
    """The sensor."""

    layers: tuple[Layer, ...]
    """Bands and masks."""

    target: Grid
    """Grid of the group."""

    moved: str = ""
    """What was done to coordinates, in words; empty where nothing was."""


def place(found: Mapping[str, Sequence[Layer]], regrid: str | None) -> dict[str, Placed]:
    """Choose the grid of every group.

    Parameters
    ----------
    found
        Per sensor, its layers.
    regrid
        None: pixels must be the sensor's own, 10 m and 30 m. ``"nested"``: any pixels are
        brought onto a nested pair.

    Returns
    -------
    dict
        Per sensor, layers and target. Coordinates of the other hemisphere's UTM are shifted by
        10,000 km, exactly.

    Raises
    ------
    CubeError
        If pixels are not the sensor's: found, expected, and the way out.
    OptionError
        If `regrid` is unknown.
    """
    if regrid not in REGRIDS:
        raise OptionError(f"regrid={regrid!r} is unknown; it may be 'nested', or None")
    placed = {
        name: Placed(SENSORS[name], tuple(layers), _finest(layers))
        for name, layers in found.items()
    }
    for one in placed.values():
        _check_one_crs(one.layers, one.target)
    placed = _in_one_hemisphere(placed)
    if regrid is None:
        for name, one in placed.items():
            _check_own(name, one)
        return placed
    try:
        targets = nest({name: _own_size(one) for name, one in placed.items()})
    except IngestError as error:
        raise CubeError(f"regrid='nested': {error}") from error
    return {name: replace(one, target=targets[name]) for name, one in placed.items()}


def _check_one_crs(layers: Sequence[Layer], target: Grid) -> None:
    like = next(layer for layer in layers if layer.grid is target)
    for layer in layers:
        if layer.grid.crs != target.crs:
            raise CubeError(
                f"{', '.join(layer.names)} in {layer.grid.crs.to_string()}, "
                f"{', '.join(like.names)} in {target.crs.to_string()}; bring them to one CRS with "
                ".rio.reproject_match"
            )


def _finest(layers: Sequence[Layer]) -> Grid:
    return min((la.grid for la in layers if la.role in {BAND, THERMAL}), key=lambda grid: grid.gsd)


def _check_own(name: str, one: Placed) -> None:
    expected, grid = one.sensor.gsd, one.target
    if np.isclose(grid.gsd, expected, rtol=1e-5):
        return
    example = next(layer.called for layer in one.layers if layer.grid is grid)
    ratio = expected / grid.gsd
    how = "the mean of the pixels within" if ratio > 1 else "cubic convolution"
    raise CubeError(
        f"/{name}: pixels of {grid.gsd:.10g} m ({example}), expected {expected:g} m for "
        f"{one.sensor.title}; load it with resolution={expected:g}, or pass regrid='nested' to "
        f"bring it to {expected:g} m by {how}"
    )


def _in_one_hemisphere(placed: dict[str, Placed]) -> dict[str, Placed]:
    """Shift Landsat's northings where Sentinel-2 counts them for the other hemisphere."""
    if len(placed) < 2:
        return placed
    fine, coarse = placed["sentinel2"], placed["landsat"]
    shift = other_hemisphere(coarse.target.crs, fine.target.crs)
    if not shift:
        return placed
    layers = tuple(_shifted(layer, shift, fine.target) for layer in coarse.layers)
    told = (
        f"northings {shift:+,.0f} m, from {coarse.target.crs.to_string()} to "
        f"{fine.target.crs.to_string()} (exact)"
    )
    return {**placed, "landsat": Placed(coarse.sensor, layers, _finest(layers), told)}


def _shifted(layer: Layer, shift: float, like: Grid) -> Layer:
    moved = layer.grid.transform
    transform = Affine(moved.a, 0, moved.c, 0, moved.e, moved.f + shift)
    array = layer.array.assign_coords(y=("y", layer.array["y"].values + shift))
    return replace(layer, array=array, grid=Grid(like.crs, transform, layer.grid.shape))


def _own_size(one: Placed) -> Grid:
    """Return a grid of the sensor's pixel size over the ground of the layers."""
    grid, size = one.target, one.sensor.gsd
    if np.isclose(grid.gsd, size, rtol=1e-5):
        return grid
    ratio = size / grid.gsd
    left, bottom, right, top = grid.bounds
    if not (np.isclose(ratio, round(ratio)) or np.isclose(1 / ratio, round(1 / ratio))):
        # Pixels that are no parts or multiples of the sensor's have no phase worth keeping.
        left, top = size * np.ceil(left / size - 1e-3), size * np.floor(top / size + 1e-3)
    rows, columns = int((top - bottom) / size + 1e-3), int((right - left) / size + 1e-3)
    if min(rows, columns) < 2:
        raise CubeError(
            f"/{one.sensor.name}: {grid.shape[0]} x {grid.shape[1]} pixels of {grid.gsd:g} m hold "
            f"fewer than 2 x 2 of {size:g} m; give more ground"
        )
    return Grid(grid.crs, Affine(size, 0, left, 0, -size, top), (rows, columns))


def bring(array: xr.DataArray, layer: Layer, target: Grid) -> xr.DataArray:
    """Bring the physical values of a layer to the grid of its group.

    Parameters
    ----------
    array
        Values of `layer`, NaN where there is no data.
    layer
        Says where they lie.
    target
        The grid of the group.

    Returns
    -------
    xarray.DataArray
        On `target`, lazy where `array` is: by the mean of what is there where pixels grow, by
        cubic convolution where they do not; untouched where grids are one.
    """
    if same_grid(layer.grid, target):
        return array
    return resample(deferred(array), source=layer.grid, target=target, how=kernel(layer, target))


def bring_mask(usable: xr.DataArray, layer: Layer, target: Grid) -> xr.DataArray:
    """Bring a mask to the grid of its group: the nearest pixel, or half of those within."""
    if same_grid(layer.grid, target):
        return usable
    how = kernel(layer, target)
    share = resample(deferred(usable).astype(np.float32), source=layer.grid, target=target, how=how)
    return share >= HALF


def kernel(layer: Layer, target: Grid) -> How:
    """Return how a layer is brought to a grid."""
    if layer.grid.gsd < target.gsd * (1 - 1e-3):
        return "mean"
    return "cubic" if layer.role in {BAND, THERMAL} else "nearest"


def moves(layers: Sequence[Layer], target: Grid) -> str:
    """Say how layers were brought to a grid, those that were brought alike together."""
    names: dict[str, list[str]] = {}
    for layer in layers:
        names.setdefault(told(layer, target), []).extend(layer.names)
    return "; ".join(f"{', '.join(whose)} {how}" for how, whose in names.items() if how)


def told(layer: Layer, target: Grid) -> str:
    """Say how a layer was brought to a grid; empty where it was not."""
    if same_grid(layer.grid, target):
        return ""
    how = "area mean" if kernel(layer, target) == "mean" else kernel(layer, target)
    if layer.grid.crs != target.crs:
        return f"from {layer.grid.crs.to_string()} ({how})"
    if np.isclose(layer.grid.gsd, target.gsd, rtol=1e-5):
        shift = _phase(layer.grid, target)
        return f"by {shift[0]:g}, {shift[1]:g} m ({how})" if any(shift) else ""
    return f"from {layer.grid.gsd:g} to {target.gsd:g} m ({how})"


def _phase(source: Grid, target: Grid) -> tuple[float, float]:
    """Return the shift (x, y) in metres that no whole pixels make."""
    shifts = (
        target.transform.c - source.transform.c,
        target.transform.f - source.transform.f,
    )
    parts = [s - round(s / source.gsd) * source.gsd for s in shifts]
    return tuple(round(part, 3) + 0.0 for part in parts)  # type: ignore[return-value]

"""How often a job reads each block of a dask input, and tiles that keep this low.

A job computes what each tile needs in the thread or process of that tile and lets it go: a block
is computed again for every tile that touches it. In `fuse`, one graph, each is computed once.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from tamrf_xr.errors import RereadWarning
from tamrf_xr.scale.reading import READABLE, window_of
from tamrf_xr.tiles import PREFERRED_TILE, SMALLEST_TILE, TileGrid

ENOUGH = 2.0
"""Reads of a block that are let be: halos alone make some."""

LARGEST = 4 * PREFERRED_TILE
"""Fine pixels across the largest tile that is tried."""

Groups = Mapping[str, xr.Dataset]


def reads_per_block(groups: Groups, grid: TileGrid) -> dict[str, float]:
    """Return how often the tiles of a grid read a block of a dask input, in the mean of its bytes.

    Parameters
    ----------
    groups
        Groups of a cube.
    grid
        The tiles.

    Returns
    -------
    dict
        Per sensor that has dask arrays; 1 where each block is read once.
    """
    found = {}
    for sensor, group in groups.items():
        arrays = {name: array.variable for name, array in _lazy(group)}
        total = sum(array.nbytes for array in arrays.values())
        read = sum(
            array.nbytes * _reads(array.chunks or (), name, sensor, grid)
            for name, array in arrays.items()
        )
        if total:
            found[sensor] = read / total
    return found


def tiles_to_try(groups: Groups, ratios: Mapping[str, int], size: int) -> list[int]:
    """List edges of tiles, in fine pixels, that go with the chunks of a dask input.

    Parameters
    ----------
    groups
        Groups of a cube.
    ratios
        Per sensor, fine pixels across one of its pixels.
    size
        What the planner prefers.

    Returns
    -------
    list of int
        Whole chunks, and whole parts of one, the nearest to `size` first; none where there is no
        dask array.
    """
    edges = {
        sizes[0] * ratios[sensor]
        for sensor, group in groups.items()
        for name, array in _lazy(group)
        if name in {"reflectance", "surface_temperature"}
        for sizes in (array.chunks or ())[-2:]
    }
    multiples = {edge * k for edge in edges for k in range(1, LARGEST // edge + 1)}
    parts = {edge // k for edge in edges for k in range(2, edge // SMALLEST_TILE + 1)}
    fair = {part for part in multiples | parts if SMALLEST_TILE <= part <= LARGEST}
    return sorted(fair, key=lambda edge: (abs(edge - size), edge))


def aligned(grid: TileGrid, groups: Groups, edges: Sequence[int]) -> TileGrid:
    """Return a grid whose tiles read each block of a dask input seldom.

    Parameters
    ----------
    grid
        What the planner prefers; kept where it reads no block more than `ENOUGH` times.
    groups
        Groups of a cube.
    edges
        Other edges of tiles, preferred ones first; see `tiles_to_try`.

    Returns
    -------
    TileGrid
        The first that is good enough, else the one that reads least.
    """
    grids = [grid]
    grids += [
        replace(grid, tile=(min(edge, grid.shape[0]), min(edge, grid.shape[1]))) for edge in edges
    ]
    least, best = float("inf"), grid
    for tried in grids:
        most = max(reads_per_block(groups, tried).values(), default=1.0)
        if most <= ENOUGH:
            return tried
        if most < least:
            least, best = most, tried
    return best


def warn_of_rereads(groups: Groups, grid: TileGrid) -> None:
    """Warn where a job reads its input more than `ENOUGH` times."""
    reads = reads_per_block(groups, grid)
    if not reads or max(reads.values()) <= ENOUGH:
        return
    told = ", ".join(f"/{name} {factor:.1f} times" for name, factor in reads.items())
    edges = "x".join(str(edge) for edge in grid.tile)
    warnings.warn(
        f"each block of the input is read {max(reads.values()):.1f} times by tiles of {edges} px "
        f"({told}); save_cube first and open that without chunks=, pass tile=... of several "
        "chunks, or chunk the input smaller in y and x",
        RereadWarning,
        stacklevel=4,
    )


def _lazy(group: xr.Dataset) -> Iterator[tuple[str, xr.DataArray]]:
    for name in READABLE:
        if name in group and group[name].chunks:
            yield name, group[name]


def _reads(chunks: Sequence[Sequence[int]], variable: str, sensor: str, grid: TileGrid) -> float:
    """Return the reads of a block: tiles form a grid, so rows and columns are counted apart."""
    rows, columns = grid.counts
    down = [window_of(variable, grid[row, 0].reads[sensor]).y for row in range(rows)]
    across = [window_of(variable, grid[0, column].reads[sensor]).x for column in range(columns)]
    return _reads_along(chunks[-2], down) * _reads_along(chunks[-1], across)


def _reads_along(sizes: Sequence[int], windows: Sequence[slice]) -> float:
    """Return how many windows, in order, touch a chunk of an axis, in the mean of its pixels."""
    stops = np.cumsum(sizes)
    starts = stops - sizes
    begun = np.searchsorted([window.start for window in windows], stops, side="left")
    ended = np.searchsorted([window.stop for window in windows], starts, side="right")
    return float(np.average(begun - ended, weights=sizes))

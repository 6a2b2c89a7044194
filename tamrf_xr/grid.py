"""Where the pixels of a group lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from affine import Affine
from pyproj import CRS

from tamrf_xr.storable import axis_attrs


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of a group lie."""

    crs: CRS
    """Coordinate reference system."""

    transform: Affine
    """From (column, row) of pixel corners to CRS units, north up."""

    shape: tuple[int, int]
    """Pixels (y, x)."""

    @property
    def gsd(self) -> float:
        """Pixel size, in CRS units."""
        return float(self.transform.a)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top."""
        left, top = self.transform.c, self.transform.f
        return left, top - self.shape[0] * self.gsd, left + self.shape[1] * self.gsd, top

    def zoom(self, factor: int) -> Grid:
        """Return the grid of the same footprint with pixels `factor` times smaller."""
        gsd, left, top = self.gsd / factor, self.transform.c, self.transform.f
        transform = Affine(gsd, 0, left, 0, -gsd, top)
        return Grid(self.crs, transform, (self.shape[0] * factor, self.shape[1] * factor))

    def grown(self, by: int) -> Grid:
        """Return the grid with so many pixels more on each side; fewer where negative."""
        left, top = self.transform.c - by * self.gsd, self.transform.f + by * self.gsd
        transform = Affine(self.gsd, 0, left, 0, -self.gsd, top)
        return Grid(self.crs, transform, (self.shape[0] + 2 * by, self.shape[1] + 2 * by))

    def window(self, bounds: tuple[float, float, float, float]) -> dict[str, slice]:
        """Return the positions along ``y`` and ``x`` of the pixels within bounds."""
        left, bottom, right, top = bounds
        columns = ((edge - self.transform.c) / self.gsd for edge in (left, right))
        rows = ((self.transform.f - edge) / self.gsd for edge in (top, bottom))
        return {"y": slice(*map(round, rows)), "x": slice(*map(round, columns))}

    def coords(self) -> dict[str, xr.Variable]:
        """Return the coordinates ``y`` and ``x`` of pixel centres."""
        left, top = self.transform.c, self.transform.f
        y = top - (np.arange(self.shape[0]) + 0.5) * self.gsd
        x = left + (np.arange(self.shape[1]) + 0.5) * self.gsd
        about = {axis: axis_attrs(axis, self.crs) for axis in ("y", "x")}
        return {"y": xr.Variable("y", y, about["y"]), "x": xr.Variable("x", x, about["x"])}

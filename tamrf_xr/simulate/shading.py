"""Shadows that hills and houses cast: how high the horizon towards the sun is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tamrf_xr.simulate.fields import Field

PENUMBRA = 0.05
"""Tangent over which a shadow's edge goes from light to dark: its edge lies within a cell."""

FARTHEST_CELLS = 110
"""Cells over which the horizon is looked for."""


@dataclass(frozen=True, slots=True)
class Terrain:
    """What throws shadows, taken as going on periodically beyond its edge."""

    height: Field
    """In metres, by cell."""

    step: int
    """Edge of a cell, in 10 m pixels."""

    def shadow(self, zenith: float, azimuth: float, shape: tuple[int, int]) -> Field:
        """Return the part of the direct sun that is kept off each 10 m pixel.

        Parameters
        ----------
        zenith, azimuth
            Of the sun, in radians; azimuth clockwise from north.
        shape
            Pixels (y, x) of its top left corner to return.

        Returns
        -------
        numpy.ndarray
            Shape (y, x), 0 to 1.

        Examples
        --------
        >>> wall = np.zeros((300, 300), np.float32)
        >>> wall[:, 6] = 20.0
        >>> from_east = Terrain(wall, 1).shadow(np.radians(60), np.radians(90), (9, 9))
        >>> from_east[4].round().tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
        """
        horizon = np.full(self.height.shape, -np.inf, np.float32)
        highest = np.ptp(self.height) / (10 * self.step / np.tan(zenith))
        for cells in (near for near in _DISTANCES if near <= 1 + highest):
            down, right = round(-cells * np.cos(azimuth)), round(cells * np.sin(azimuth))
            away = np.float32(10 * self.step * np.hypot(down, right))
            rise = np.roll(self.height, (-down, -right), (0, 1)) - self.height
            np.maximum(horizon, rise / away, out=horizon)
        sun = np.float32(1 / np.tan(zenith))
        dark = np.clip((horizon - sun) / np.float32(PENUMBRA) + np.float32(0.5), 0, 1)
        if self.step > 1:
            dark = ndimage.zoom(dark, self.step, order=1, mode="grid-wrap", grid_mode=True)
        return np.asarray(dark[: shape[0], : shape[1]], np.float32)


_DISTANCES = (*range(1, 25), *range(26, 50, 3), *range(52, FARTHEST_CELLS, 6))
"""In cells: near ones one by one, so that a single house is not overlooked."""

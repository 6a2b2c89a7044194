"""The land: a map of parcels, painted layer over layer from fields to roads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tamrf_xr.simulate import farmland
from tamrf_xr.simulate.biomes import TEMPERATE, Biome, Relief, biome_of
from tamrf_xr.simulate.fields import (
    Field,
    cell_means,
    fractal,
    soften,
    soften_means,
    stream,
)
from tamrf_xr.simulate.landcover import COVERS
from tamrf_xr.simulate.lands import PAINTERS, Painting, Setting
from tamrf_xr.simulate.layers import COVER_NAMES, flatten, heights
from tamrf_xr.simulate.shading import Terrain
from tamrf_xr.simulate.shapes import Canvas
from tamrf_xr.simulate.weather import LATITUDE

DETAIL = 3
"""Samples along the edge of a 10 m pixel: roads and houses are smaller than it."""

SOFTNESS = 0.13
"""Share of each neighbour in a 10 m pixel, along each axis.

The MTF of Sentinel-2 in its 10 m bands is near 0.3 at Nyquist (0.23 to 0.33, ESA's annual data
quality reports); averaging over the pixel gives 0.64, and neighbours of 0.13 the rest. The truth
is what an instrument of 10 m sees in every band.
"""


@dataclass(frozen=True, slots=True)
class Landscape:
    """What lies where, on the 10 m grid."""

    shape: tuple[int, int]
    """Pixels (y, x)."""

    covers: NDArray[np.intp]
    """Class of each parcel: its place in `COVER_NAMES`."""

    mixing: sparse.csr_array
    """Shape (pixels, parcels): the share of each parcel in each pixel; rows sum to 1."""

    vigour: Field
    """How well things grow, relative to their parcel: mean 0, standard deviation 1."""

    grain: Field
    """Texture from pixel to pixel: mean 0, standard deviation 1."""

    height: Field
    """Of the ground above the mean of the scene, in metres."""

    slope: Field
    """Shape (2, y, x): metres gained per metre towards north and towards east."""

    shadows: Terrain | None = None
    """What throws shadows; None where nothing does."""

    shore_m: Field | None = None
    """Height above the mean level of the sea, in metres, where there is one."""

    def of(self, attribute: str) -> NDArray[Any]:
        """Look an attribute of `Cover` up for each parcel."""
        return np.array([getattr(COVERS[name], attribute) for name in COVER_NAMES])[self.covers]


def draw_landscape(
    seed: int, count: int, *, biome: Biome | None = None, latitude: float = LATITUDE
) -> Landscape:
    """Draw the land.

    Parameters
    ----------
    seed
        Of the scene.
    count
        10 m pixels along the edge.
    biome
        Kind of land; by default temperate fields.
    latitude
        Degrees north.

    Returns
    -------
    Landscape
        The land.

    Examples
    --------
    >>> land = draw_landscape(0, 30)
    >>> bool(np.allclose(land.mixing.sum(axis=1), 1))
    True
    """
    biome = biome or biome_of(TEMPERATE)
    canvas, shape = Canvas(count * DETAIL, 10.0 / DETAIL), (count, count)
    character = farmland.draw_character(stream(seed, "character"))
    relief = _relief(
        stream(seed, "relief"), count, biome.relief, _steepness(seed, biome, character)
    )
    height, slope, around = relief
    fine = height.repeat(DETAIL, 0).repeat(DETAIL, 1)
    painted = PAINTERS[biome.land](Setting(seed, canvas, fine, latitude, character))
    labels, covers = flatten(stream(seed, "classes"), canvas, painted.layers)
    rng = stream(seed, "texture")
    return Landscape(
        shape=shape,
        covers=covers,
        mixing=soften_means(cell_means(labels, DETAIL, len(covers)), count, SOFTNESS),
        vigour=soften(fractal(rng, shape, slope=3.1, longest=30), SOFTNESS),
        grain=soften(fractal(rng, shape, slope=1.2, longest=6), SOFTNESS),
        height=height,
        slope=slope,
        shadows=_terrain(seed, canvas, around, painted) if biome.relief.shadows else None,
        shore_m=None if painted.shore_m is None else _means(painted.shore_m),
    )


def _steepness(seed: int, biome: Biome, character: farmland.Character) -> float:
    """Return the root mean square slope of a scene."""
    if biome.name == TEMPERATE:
        return character.steepness
    middle, spread = biome.relief.steepness
    drawn = middle * np.exp(spread * stream(seed, "steepness").standard_normal())
    return float(np.clip(drawn, 0.2 * middle, biome.relief.most))


def _relief(
    rng: np.random.Generator, count: int, relief: Relief, steep: float
) -> tuple[Field, Field, Field]:
    """Draw hills: their height, in metres, their slope towards north and east; and around them."""
    # Wider than the scene, as fields are periodic.
    wide = count + 60
    around = fractal(rng, (wide, wide), slope=relief.roughness, longest=relief.longest_px)
    height = around[:count, :count]
    down, right = np.gradient(height, np.float32(10))
    scale = np.float32(steep / np.sqrt(np.mean(down**2 + right**2)))
    return (height - height.mean()) * scale, np.stack([-down, right]) * scale, around * scale


def _terrain(seed: int, canvas: Canvas, around: Field, painted: Painting) -> Terrain:
    """Return what throws shadows: houses where any are tall, else hills."""
    if any(layer.tall for layer in painted.layers):
        above = heights(stream(seed, "heights"), canvas, painted.layers)
        return Terrain(_blocks(above).max(axis=(1, 3)), 1)
    return Terrain(around[::DETAIL, ::DETAIL], DETAIL)


def _blocks(samples: Field) -> NDArray[Any]:
    count = samples.shape[0] // DETAIL
    return samples.reshape(count, DETAIL, count, DETAIL)


def _means(samples: Field) -> Field:
    return np.asarray(_blocks(samples).mean(axis=(1, 3)), np.float32)

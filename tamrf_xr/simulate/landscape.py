"""The land: a map of parcels, painted layer over layer from fields to roads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tamrf_xr.simulate.fields import (
    Field,
    cell_means,
    fractal,
    soften,
    soften_means,
    stream,
)
from tamrf_xr.simulate.landcover import ARABLE, COVERS
from tamrf_xr.simulate.shapes import Canvas, Cells, Line, Mask, Metres, blobs, cells, winding

DETAIL = 3
"""Samples along the edge of a 10 m pixel: roads and houses are smaller than it."""

SOFTNESS = 0.13
"""Share of each neighbour in a 10 m pixel, along each axis.

The MTF of Sentinel-2 in its 10 m bands is near 0.3 at Nyquist (0.23 to 0.33, ESA's annual data
quality reports); averaging over the pixel gives 0.64, and neighbours of 0.13 the rest. The truth
is what an instrument of 10 m sees in every band.
"""

COVER_NAMES = tuple(COVERS)


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

    def of(self, attribute: str) -> NDArray[Any]:
        """Look an attribute of `Cover` up for each parcel."""
        return np.array([getattr(COVERS[name], attribute) for name in COVER_NAMES])[self.covers]


@dataclass(frozen=True, slots=True)
class _Character:
    """What makes one region unlike another."""

    fields: float
    """Size of fields and blocks, relative."""

    dampness: float
    """How much of the open land is grass: in standard deviations, 0 for half."""

    woods: float
    """Fraction of woods."""

    conifers: float
    """Fraction of the stands that are of conifers."""

    towns: float
    """Density of settlements, relative."""

    steepness: float
    """Root mean square of the slope of the ground, in metres per metre."""


def _draw_character(rng: np.random.Generator) -> _Character:
    return _Character(
        fields=float(np.clip(rng.lognormal(0, 0.35), 0.5, 2.2)),
        dampness=rng.normal(-0.6, 0.4),
        woods=0.04 + 0.5 * rng.beta(1.2, 3.0),
        conifers=rng.beta(1.0, 2.2),
        towns=float(np.clip(rng.lognormal(0, 0.5), 0.3, 3.0)),
        steepness=float(np.clip(rng.lognormal(np.log(0.035), 0.9), 0.005, 0.25)),
    )


@dataclass(frozen=True, slots=True)
class _Layer:
    """Parcels painted over what is below."""

    keys: NDArray[Any]
    """Of each sample: samples of one key are one parcel."""

    odds: Mapping[str, float]
    """Classes that its parcels may have, and how likely each is."""

    where: Mask | None = None
    """Samples painted; None paints all."""


def draw_landscape(seed: int, count: int) -> Landscape:
    """Draw the land.

    Parameters
    ----------
    seed
        Of the scene.
    count
        10 m pixels along the edge.

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
    canvas = Canvas(count * DETAIL, 10.0 / DETAIL)
    character = _draw_character(stream(seed, "character"))
    blocks = _blocks(stream(seed, "blocks"), canvas, character)
    layers = [
        *_farmland(stream(seed, "fields"), canvas, blocks, character),
        *_woods(stream(seed, "woods"), canvas, character),
        *_waters(stream(seed, "water"), canvas),
        *_settlements(stream(seed, "towns"), canvas, character),
        *_roads(stream(seed, "roads"), canvas, blocks),
    ]
    labels, covers = _paint(stream(seed, "classes"), canvas, layers)
    rng, shape = stream(seed, "texture"), (count, count)
    height, slope = _relief(stream(seed, "relief"), count, character.steepness)
    return Landscape(
        shape=shape,
        covers=covers,
        mixing=soften_means(cell_means(labels, DETAIL, len(covers)), count, SOFTNESS),
        vigour=soften(fractal(rng, shape, slope=3.1, longest=30), SOFTNESS),
        grain=soften(fractal(rng, shape, slope=1.2, longest=6), SOFTNESS),
        height=height,
        slope=slope,
    )


def _relief(rng: np.random.Generator, count: int, steepness: float) -> tuple[Field, Field]:
    """Draw hills: their height, in metres, and their slope towards north and east."""
    # Wider than the scene, as fields are periodic; valleys are some 3 km apart.
    wide = count + 60
    height = fractal(rng, (wide, wide), slope=4.2, longest=300)[:count, :count]
    down, right = np.gradient(height, np.float32(10))
    scale = np.float32(steepness / np.sqrt(np.mean(down**2 + right**2)))
    return (height - height.mean()) * scale, np.stack([-down, right]) * scale


def _paint(
    rng: np.random.Generator, canvas: Canvas, layers: list[_Layer]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the parcel of each sample and the class of each parcel."""
    labels = np.zeros((canvas.count, canvas.count), np.intp)
    covers: list[NDArray[np.intp]] = []
    for layer in layers:
        where = np.ones(labels.shape, bool) if layer.where is None else layer.where
        parcels, number = np.unique(layer.keys[where], return_inverse=True)
        labels[where] = number + sum(len(part) for part in covers)
        names, weights = list(layer.odds), np.array(list(layer.odds.values()))
        drawn = rng.choice(len(names), size=len(parcels), p=weights / weights.sum())
        covers.append(np.array([COVER_NAMES.index(name) for name in names])[drawn])
    seen, labels_seen = np.unique(labels, return_inverse=True)
    return labels_seen.reshape(labels.shape), np.concatenate(covers)[seen]


def _blocks(rng: np.random.Generator, canvas: Canvas, character: _Character) -> Cells:
    """Cut the land along gently bent lines into blocks of fields."""
    down, right = (canvas.noise(rng, slope=4.5, longest_m=1500) for _ in range(2))
    return cells(rng, canvas, 620.0 * character.fields, bend=(50 * down, 50 * right))


def _farmland(
    rng: np.random.Generator, canvas: Canvas, blocks: Cells, character: _Character
) -> list[_Layer]:
    keys = _strips(rng, canvas, blocks, character.fields)
    parcels, number = np.unique(keys, return_inverse=True)
    # Grassland comes in stretches, along valleys; the rest is ploughed.
    damp = canvas.noise(rng, slope=3.4, longest_m=2500).ravel()
    damp_of = np.bincount(number.ravel(), damp) / np.bincount(number.ravel())
    grassy = damp_of + 0.6 * rng.standard_normal(len(parcels)) > -1.2 * character.dampness
    green = grassy[number].reshape(keys.shape)
    return [
        _Layer(keys, {ARABLE: 1}),
        _Layer(keys, {"meadow": 0.6, "pasture": 0.4}, green),
    ]


def _strips(
    rng: np.random.Generator, canvas: Canvas, blocks: Cells, scale: float
) -> NDArray[np.int64]:
    """Cut every block into rows of fields along its own direction."""
    y, x = canvas.positions()
    count = len(blocks.sites)
    angle = rng.uniform(0, np.pi) + rng.normal(0, 0.4, count)
    length = scale * np.clip(rng.lognormal(np.log(270), 0.35, count), 120, 600)
    width = scale * np.clip(rng.lognormal(np.log(135), 0.4, count), 50, 320)
    dy, dx = y - blocks.sites[blocks.own, 0], x - blocks.sites[blocks.own, 1]
    cos, sin = np.cos(angle)[blocks.own], np.sin(angle)[blocks.own]
    row = np.floor((dy * cos - dx * sin) / length[blocks.own] + 20).astype(int) % 40
    across = (dx * cos + dy * sin) / width[blocks.own]
    shift = rng.uniform(0, 1, (count, 40))[blocks.own, row]
    uneven = 0.28 * np.sin(2 * np.pi * (across * 0.37 + 5 * shift))
    column = np.floor(across + shift + uneven + 40).astype(int) % 80
    return np.asarray((blocks.own * 40 + row) * 80 + column, np.int64)


def _woods(rng: np.random.Generator, canvas: Canvas, character: _Character) -> list[_Layer]:
    height = canvas.noise(rng, slope=3.6, longest_m=1300)
    where = height > np.quantile(height, 1 - character.woods)
    stands = cells(rng, canvas, 170.0, where=where)
    odds = {"broadleaf": 1 - character.conifers, "conifer": character.conifers}
    return [_Layer(stands.own, odds, where)]


def _waters(rng: np.random.Generator, canvas: Canvas) -> list[_Layer]:
    layers = []
    wobble = canvas.noise(rng, slope=3.2, longest_m=300) * np.float32(0.22)
    count = rng.poisson(2.2 * (canvas.edge / 3300) ** 2)
    radii = np.clip(rng.lognormal(np.log(75), 0.6, count), 25, 400)
    depth = blobs(canvas, rng.uniform(0, canvas.edge, (count, 2)), radii, wobble=wobble)
    if rng.random() < 0.85:
        layers += _river(rng, canvas)
    layers.append(_Layer(np.zeros(depth.shape, int), {"hedge": 1}, (depth > -0.15) & (depth < 0)))
    layers.append(_Layer(np.zeros(depth.shape, int), {"lake": 1}, depth > 0))
    return layers


def _river(rng: np.random.Generator, canvas: Canvas) -> list[_Layer]:
    line = winding(rng, canvas, swing_m=260, longest_m=2200)
    bed = rng.uniform(9, 26) * (1 + 0.2 * _along(rng, line, canvas, 250))
    bank = bed + 16 + 14 * _along(rng, line, canvas, 180)
    one = np.zeros(line.away_m.shape, int)
    return [
        _Layer(line.along // 60, {"hedge": 0.8, "pasture": 0.2}, line.away_m < bank),
        _Layer(one, {"river": 1}, line.away_m < bed),
    ]


def _along(rng: np.random.Generator, line: Line, canvas: Canvas, longest_m: float) -> Metres:
    """Draw a series along a line, of standard deviation 1, for every sample."""
    count = int(line.along.max()) + 1
    ticks = rng.standard_normal(int(count * canvas.step / longest_m) + 3)
    where = np.linspace(0, len(ticks) - 1, count)
    series = np.interp(where, np.arange(len(ticks)), ticks)
    return np.asarray(series[line.along], np.float32)


def _settlements(rng: np.random.Generator, canvas: Canvas, character: _Character) -> list[_Layer]:
    share = character.towns * (canvas.edge / 3300) ** 2
    towns, farms = 1 + rng.poisson(0.9 * share), rng.poisson(7 * share)
    centres = rng.uniform(0, canvas.edge, (towns + farms, 2))
    radii = np.concatenate([rng.uniform(180, 460, towns), rng.uniform(35, 80, farms)])
    wobble = canvas.noise(rng, slope=2.8, longest_m=350) * np.float32(0.3)
    depth = blobs(canvas, centres, radii, wobble=wobble)
    built = depth > 0
    quarters = cells(rng, canvas, 95.0, where=built)
    plots = cells(rng, canvas, 17.0, where=built)
    works = built & (rng.random(len(quarters.sites)) < 0.12)[quarters.own]
    green = built & (rng.random(len(quarters.sites)) < 0.10)[quarters.own]
    streets = built & (quarters.border_m < 3.5)
    return [
        _Layer(plots.own, {"house": 0.34, "garden": 0.48, "yard": 0.18}, built),
        _Layer(quarters.own, {"pasture": 0.5, "broadleaf": 0.5}, green),
        _Layer(quarters.own, {"yard": 1}, works),
        _Layer(plots.own // 3, {"hall": 0.7, "house": 0.3}, works & (quarters.border_m > 14)),
        _Layer(np.zeros(built.shape, int), {"street": 1}, streets),
        _pit(rng, canvas, wobble),
    ]


def _pit(rng: np.random.Generator, canvas: Canvas, wobble: Metres) -> _Layer:
    count = rng.poisson(0.5 * (canvas.edge / 3300) ** 2)
    centres, radii = rng.uniform(0, canvas.edge, (count, 2)), rng.uniform(60, 140, count)
    inside = blobs(canvas, centres, radii, wobble=wobble) > 0
    return _Layer(np.zeros(inside.shape, int), {"quarry": 1}, inside)


def _roads(rng: np.random.Generator, canvas: Canvas, blocks: Cells) -> list[_Layer]:
    number, count = blocks.pairs()
    kind = rng.choice(4, size=count, p=[0.3, 0.2, 0.3, 0.2])[number]
    main = winding(rng, canvas, swing_m=120, longest_m=4000)
    one, border = np.zeros(number.shape, int), blocks.border_m
    return [
        _Layer(number, {"hedge": 1}, (kind == 2) & (border < 4)),
        _Layer(one, {"track": 1}, (kind == 1) & (border < 2.2)),
        _Layer(one, {"street": 1}, (kind == 0) & (border < 3.2)),
        _Layer(one, {"pasture": 1}, main.away_m < 13),
        _Layer(one, {"street": 1}, main.away_m < 7),
    ]

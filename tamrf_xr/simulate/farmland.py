"""Land of temperate fields, and the pieces of it that other lands have too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.simulate.fields import stream
from tamrf_xr.simulate.landcover import ARABLE
from tamrf_xr.simulate.layers import Layer
from tamrf_xr.simulate.shapes import Canvas, Cells, Line, Metres, blobs, cells, winding


@dataclass(frozen=True, slots=True)
class Character:
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


def draw_character(rng: np.random.Generator) -> Character:
    """Draw what makes a region unlike another."""
    return Character(
        fields=float(np.clip(rng.lognormal(0, 0.35), 0.5, 2.2)),
        dampness=rng.normal(-0.6, 0.4),
        woods=0.04 + 0.5 * rng.beta(1.2, 3.0),
        conifers=rng.beta(1.0, 2.2),
        towns=float(np.clip(rng.lognormal(0, 0.5), 0.3, 3.0)),
        steepness=float(np.clip(rng.lognormal(np.log(0.035), 0.9), 0.005, 0.25)),
    )


def paint(seed: int, canvas: Canvas, character: Character) -> list[Layer]:
    """Paint fields within blocks, woods, waters, towns and roads."""
    grid = blocks(stream(seed, "blocks"), canvas, character)
    return [
        *farmland(stream(seed, "fields"), canvas, grid, character),
        *woods(stream(seed, "woods"), canvas, character),
        *waters(stream(seed, "water"), canvas),
        *settlements(stream(seed, "towns"), canvas, character),
        *roads(stream(seed, "roads"), canvas, grid),
    ]


def blocks(rng: np.random.Generator, canvas: Canvas, character: Character) -> Cells:
    """Cut the land along gently bent lines into blocks of fields."""
    down, right = (canvas.noise(rng, slope=4.5, longest_m=1500) for _ in range(2))
    return cells(rng, canvas, 620.0 * character.fields, bend=(50 * down, 50 * right))


def farmland(
    rng: np.random.Generator, canvas: Canvas, blocks: Cells, character: Character
) -> list[Layer]:
    """Paint ploughed fields and grassland."""
    keys = strips(rng, canvas, blocks, character.fields)
    parcels, number = np.unique(keys, return_inverse=True)
    # Grassland comes in stretches, along valleys; the rest is ploughed.
    damp = canvas.noise(rng, slope=3.4, longest_m=2500).ravel()
    damp_of = np.bincount(number.ravel(), damp) / np.bincount(number.ravel())
    grassy = damp_of + 0.6 * rng.standard_normal(len(parcels)) > -1.2 * character.dampness
    green = grassy[number].reshape(keys.shape)
    return [
        Layer(keys, {ARABLE: 1}),
        Layer(keys, {"meadow": 0.6, "pasture": 0.4}, green),
    ]


def strips(
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


def woods(rng: np.random.Generator, canvas: Canvas, character: Character) -> list[Layer]:
    """Paint stands of trees where a noise is highest."""
    height = canvas.noise(rng, slope=3.6, longest_m=1300)
    where = height > np.quantile(height, 1 - character.woods)
    stands = cells(rng, canvas, 170.0, where=where)
    odds = {"broadleaf": 1 - character.conifers, "conifer": character.conifers}
    return [Layer(stands.own, odds, where)]


def waters(rng: np.random.Generator, canvas: Canvas) -> list[Layer]:
    """Paint lakes, and mostly a river."""
    layers = []
    wobble = canvas.noise(rng, slope=3.2, longest_m=300) * np.float32(0.22)
    count = rng.poisson(2.2 * (canvas.edge / 3300) ** 2)
    radii = np.clip(rng.lognormal(np.log(75), 0.6, count), 25, 400)
    depth = blobs(canvas, rng.uniform(0, canvas.edge, (count, 2)), radii, wobble=wobble)
    if rng.random() < 0.85:
        layers += river(rng, canvas)
    layers.append(Layer(np.zeros(depth.shape, int), {"hedge": 1}, (depth > -0.15) & (depth < 0)))
    layers.append(Layer(np.zeros(depth.shape, int), {"lake": 1}, depth > 0))
    return layers


def river(rng: np.random.Generator, canvas: Canvas) -> list[Layer]:
    """Paint a winding river with its banks."""
    line = winding(rng, canvas, swing_m=260, longest_m=2200)
    bed = rng.uniform(9, 26) * (1 + 0.2 * along(rng, line, canvas, 250))
    bank = bed + 16 + 14 * along(rng, line, canvas, 180)
    one = np.zeros(line.away_m.shape, int)
    return [
        Layer(line.along // 60, {"hedge": 0.8, "pasture": 0.2}, line.away_m < bank),
        Layer(one, {"river": 1}, line.away_m < bed),
    ]


def along(rng: np.random.Generator, line: Line, canvas: Canvas, longest_m: float) -> Metres:
    """Draw a series along a line, of standard deviation 1, for every sample."""
    count = int(line.along.max()) + 1
    ticks = rng.standard_normal(int(count * canvas.step / longest_m) + 3)
    where = np.linspace(0, len(ticks) - 1, count)
    series = np.interp(where, np.arange(len(ticks)), ticks)
    return np.asarray(series[line.along], np.float32)


def settlements(rng: np.random.Generator, canvas: Canvas, character: Character) -> list[Layer]:
    """Paint towns and farms: houses, gardens, works, streets, a pit."""
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
        Layer(plots.own, {"house": 0.34, "garden": 0.48, "yard": 0.18}, built),
        Layer(quarters.own, {"pasture": 0.5, "broadleaf": 0.5}, green),
        Layer(quarters.own, {"yard": 1}, works),
        Layer(plots.own // 3, {"hall": 0.7, "house": 0.3}, works & (quarters.border_m > 14)),
        Layer(np.zeros(built.shape, int), {"street": 1}, streets),
        _pit(rng, canvas, wobble),
    ]


def _pit(rng: np.random.Generator, canvas: Canvas, wobble: Metres) -> Layer:
    count = rng.poisson(0.5 * (canvas.edge / 3300) ** 2)
    centres, radii = rng.uniform(0, canvas.edge, (count, 2)), rng.uniform(60, 140, count)
    inside = blobs(canvas, centres, radii, wobble=wobble) > 0
    return Layer(np.zeros(inside.shape, int), {"quarry": 1}, inside)


def roads(rng: np.random.Generator, canvas: Canvas, blocks: Cells) -> list[Layer]:
    """Paint what runs along borders of blocks, and a main road."""
    number, count = blocks.pairs()
    kind = rng.choice(4, size=count, p=[0.3, 0.2, 0.3, 0.2])[number]
    main = winding(rng, canvas, swing_m=120, longest_m=4000)
    one, border = np.zeros(number.shape, int), blocks.border_m
    return [
        Layer(number, {"hedge": 1}, (kind == 2) & (border < 4)),
        Layer(one, {"track": 1}, (kind == 1) & (border < 2.2)),
        Layer(one, {"street": 1}, (kind == 0) & (border < 3.2)),
        Layer(one, {"pasture": 1}, main.away_m < 13),
        Layer(one, {"street": 1}, main.away_m < 7),
    ]

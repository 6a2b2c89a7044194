"""Land elsewhere: deserts, savanna, wet tropics, rice, mountains, the north, coasts, cities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamrf_xr.simulate import farmland as farms
from tamrf_xr.simulate.fields import stream
from tamrf_xr.simulate.landcover import ARABLE
from tamrf_xr.simulate.layers import Layer
from tamrf_xr.simulate.shapes import Canvas, Cells, Mask, Metres, blobs, cells, winding


@dataclass(frozen=True, slots=True)
class Setting:
    """What a painter has to paint on."""

    seed: int
    """Of the scene."""

    canvas: Canvas
    """The square."""

    height: Metres
    """Of the ground above the mean of the scene, in metres, at each sample."""

    latitude: float
    """Degrees north."""

    character: farms.Character
    """What makes one region unlike another."""

    def cut(self, rng: np.random.Generator, spacing_m: float) -> Cells:
        """Cut all of the square into cells with bent borders."""
        bend = [self.canvas.noise(rng, slope=3.6, longest_m=5 * spacing_m) for _ in range(2)]
        scale = np.float32(0.35 * spacing_m)
        return cells(rng, self.canvas, spacing_m, bend=(scale * bend[0], scale * bend[1]))

    def patches(self, rng: np.random.Generator, share: float, longest_m: float) -> Mask:
        """Draw where a noise is highest, on a share of the square."""
        noise = self.canvas.noise(rng, slope=3.3, longest_m=longest_m)
        return np.asarray(noise > np.quantile(noise, 1 - share))

    def spots(self, rng: np.random.Generator, mean: float, radii_m: tuple[float, float]) -> Mask:
        """Draw blobs: `mean` of them on 3.3 km by 3.3 km."""
        count = rng.poisson(mean * (self.canvas.edge / 3300) ** 2)
        wobble = self.canvas.noise(rng, slope=3.0, longest_m=300) * np.float32(0.3)
        centres, radii = rng.uniform(0, self.canvas.edge, (count, 2)), rng.uniform(*radii_m, count)
        return blobs(self.canvas, centres, radii, wobble=wobble) > 0


@dataclass(frozen=True, slots=True)
class Painting:
    """What a painter made."""

    layers: list[Layer]
    """From the lowest."""

    shore_m: Metres | None = None
    """Height above the mean level of the sea at each sample, where there is one."""


def _one(cover: str, where: Mask) -> Layer:
    return Layer(np.zeros(where.shape, int), {cover: 1}, where)


def temperate(land: Setting) -> Painting:
    """Paint temperate fields."""
    return Painting(farms.paint(land.seed, land.canvas, land.character))


def desert(land: Setting) -> Painting:
    """Paint sand, stony plains, outcrops, wadis, and fields under centre pivots in some."""
    rng = stream(land.seed, "desert")
    plains = land.cut(rng, 420.0)
    stony = land.patches(rng, 0.05 + 0.7 * rng.beta(1.2, 1.6), 1800)
    rocks = stony & land.patches(rng, 0.06, 700) & (land.height > 0)
    wadi = winding(rng, land.canvas, swing_m=260, longest_m=1700)
    width = rng.uniform(8, 30) * (1 + 0.4 * farms.along(rng, wadi, land.canvas, 200))
    track = winding(rng, land.canvas, swing_m=60, longest_m=4000)
    layers = [
        Layer(plains.own, {"sand": 1}),
        Layer(plains.own, {"stones": 1}, stony),
        Layer(plains.own, {"outcrop": 1}, rocks),
        Layer(wadi.along // 60, {"wadi": 0.8, "stones": 0.2}, wadi.away_m < width),
        _one("track", track.away_m < 3),
    ]
    if rng.random() < 0.5:
        layers += _circles(rng, land)
    return Painting(layers)


def _circles(rng: np.random.Generator, land: Setting) -> list[Layer]:
    """Paint fields under centre pivots, on a lattice with gaps, and the farm's palms."""
    radius = rng.uniform(190, 420)
    y, x = land.canvas.positions()
    pitch, start = 2 * radius + rng.uniform(20, 80), rng.uniform(0, 2 * radius, 2)
    row, column = (
        np.floor((at - s) / pitch).astype(int) for at, s in ((y, start[0]), (x, start[1]))
    )
    dy, dx = y - start[0] - (row + 0.5) * pitch, x - start[1] - (column + 0.5) * pitch
    kept = rng.random((64, 64))[row % 64, column % 64] < rng.uniform(0.35, 0.85)
    split = rng.uniform(-3, 3, (64, 64))[row % 64, column % 64]
    half = (np.arctan2(dy, dx) > split).astype(int)
    inside = kept & (np.hypot(dy, dx) < radius)
    keys = (row % 64 * 64 + column % 64) * 2 + half
    return [Layer(keys, {ARABLE: 1}, inside), _one("palms", land.spots(rng, 1.0, (30, 110)))]


def savanna(land: Setting) -> Painting:
    """Paint grass and trees on red soil, galleries along rivers, fields round villages."""
    rng = stream(land.seed, "savanna")
    ground, stands = land.cut(rng, 380.0), land.cut(rng, 150.0)
    woody = land.patches(rng, rng.uniform(0.15, 0.7), 1100)
    bed = winding(rng, land.canvas, swing_m=300, longest_m=1600)
    gallery = rng.uniform(20, 55) * (1 + 0.3 * farms.along(rng, bed, land.canvas, 250))
    farmed = land.spots(rng, rng.uniform(0, 5), (180, 520))
    fields = farms.strips(rng, land.canvas, ground, 0.45)
    track = winding(rng, land.canvas, swing_m=80, longest_m=3000)
    return Painting([
        Layer(ground.own, {"open savanna": 1}),
        Layer(stands.own, {"tree savanna": 0.85, "open savanna": 0.15}, woody),
        Layer(stands.own, {"bare": 1}, land.patches(rng, rng.uniform(0.02, 0.10), 350)),
        Layer(fields, {ARABLE: 0.75, "open savanna": 0.25}, farmed),
        Layer(bed.along // 50, {"gallery": 0.85, "tree savanna": 0.15}, bed.away_m < gallery),
        Layer(bed.along // 90, {"river": 0.5, "bare": 0.5}, bed.away_m < rng.uniform(4, 14)),
        *_village(rng, land, 2.0),
        _one("bare", track.away_m < 4),
    ])  # fmt: skip


def _village(rng: np.random.Generator, land: Setting, mean: float) -> list[Layer]:
    built = land.spots(rng, mean, (40, 140))
    plots = cells(rng, land.canvas, 18.0, where=built)
    return [Layer(plots.own, {"village": 0.55, "bare": 0.25, "house": 0.2}, built)]


def tropical(land: Setting) -> Painting:
    """Paint evergreen forest, what was cleared along roads, plantations, a muddy river."""
    rng = stream(land.seed, "tropical")
    forest, plots = land.cut(rng, 300.0), land.cut(rng, 230.0)
    road = winding(rng, land.canvas, swing_m=120, longest_m=3500)
    reach = 250 + 350 * np.abs(land.canvas.noise(rng, slope=3.2, longest_m=1200))
    opened = road.away_m < rng.uniform(0.1, 1.5) * reach
    river = winding(rng, land.canvas, swing_m=380, longest_m=1800)
    bed = rng.uniform(12, 75) * (1 + 0.15 * farms.along(rng, river, land.canvas, 300))
    tame = {"clearing": 0.55, "regrowth": 0.3, ARABLE: 0.15}
    return Painting([
        Layer(forest.own, {"rainforest": 1}),
        Layer(plots.own, {"regrowth": 1}, land.patches(rng, 0.12, 500)),
        Layer(plots.own, tame, opened & land.patches(rng, 0.65, 420)),
        Layer(plots.own, {"plantation": 1}, land.patches(rng, rng.uniform(0, 0.2), 1200)),
        Layer(river.along // 80, {"regrowth": 0.6, "rainforest": 0.4}, river.away_m < bed + 25),
        _one("muddy river", river.away_m < bed),
        *_village(rng, land, 1.5),
        _one("bare", road.away_m < 6),
    ])  # fmt: skip


def rice(land: Setting) -> Painting:
    """Paint paddies in strips, canals, ponds, villages under trees."""
    rng = stream(land.seed, "rice")
    blocks = cells(rng, land.canvas, 460.0)
    fields = farms.strips(rng, land.canvas, blocks, 0.5)
    number, count = blocks.pairs()
    canal = (rng.random(count) < 0.4)[number] & (blocks.border_m < rng.uniform(3, 8))
    dike = blocks.border_m < 11
    built = land.patches(rng, rng.uniform(0.04, 0.22), 700)
    plots = cells(rng, land.canvas, 22.0, where=built)
    ponds = land.cut(rng, 90.0)
    road = winding(rng, land.canvas, swing_m=60, longest_m=4000)
    return Painting([
        Layer(fields, {ARABLE: 0.94, "plantation": 0.06}),
        Layer(ponds.own, {"pond": 1}, land.spots(rng, rng.uniform(0, 5), (50, 180))),
        Layer(plots.own, {"village": 0.5, "house": 0.2, "regrowth": 0.3}, built),
        Layer(number, {"regrowth": 0.4, "clearing": 0.6}, dike & canal),
        _one("muddy river", canal & (blocks.border_m < 6)),
        *farms.river(rng, land.canvas),
        _one("street", road.away_m < 5),
    ])  # fmt: skip


def mountain(land: Setting) -> Painting:
    """Paint belts by height: valley meadows, woods, grass, scree, rock."""
    rng = stream(land.seed, "mountain")
    rough = 0.35 * land.canvas.noise(rng, slope=2.8, longest_m=500)
    level = land.height / max(float(land.height.std()), 1e-3) + rough
    tree_line, grass_line = rng.uniform(-0.1, 0.7), rng.uniform(0.8, 1.4)
    stands, slopes = land.cut(rng, 170.0), land.cut(rng, 140.0)
    broken = land.canvas.noise(rng, slope=2.6, longest_m=250)
    conifers = 0.4 + 0.6 * land.character.conifers
    brook = land.height < np.quantile(land.height, rng.uniform(0.004, 0.02))
    road = winding(rng, land.canvas, swing_m=200, longest_m=900)
    woods = {"conifer": conifers, "broadleaf": 1.0 - conifers + 0.05}
    return Painting([
        Layer(slopes.own, {"rock": 0.7, "scree": 0.3}),
        Layer(slopes.own, {"alpine grass": 0.85, "scree": 0.15}, level < grass_line),
        Layer(slopes.own, {"scree": 0.6, "rock": 0.4}, (level > 0) & (broken > 1.3)),
        Layer(stands.own, woods, level < tree_line),
        Layer(stands.own, {"meadow": 0.6, "pasture": 0.4}, (level < -0.9) & (broken > -0.6)),
        *_hamlet(rng, land, land.height < np.quantile(land.height, 0.2)),
        _one("lake", brook),
        _one("street", (road.away_m < 4) & (level < 0)),
    ])  # fmt: skip


def _hamlet(rng: np.random.Generator, land: Setting, where: Mask) -> list[Layer]:
    built = where & land.spots(rng, 3.0, (40, 220))
    plots = cells(rng, land.canvas, 20.0, where=built)
    return [Layer(plots.own, {"house": 0.35, "garden": 0.5, "yard": 0.15}, built)]


def boreal(land: Setting) -> Painting:
    """Paint stands of pine, spruce and birch, fellings, bogs, lakes, few fields."""
    rng = stream(land.seed, "boreal")
    stands, bogs = land.cut(rng, 230.0), land.cut(rng, 320.0)
    farmed = land.patches(rng, 0.3 * rng.beta(1.0, 2.0), 1500)
    blocks = cells(rng, land.canvas, 400.0)
    fields = farms.strips(rng, land.canvas, blocks, 0.8)
    water = land.patches(rng, 0.35 * rng.beta(1.1, 2.4), 1700)
    road = winding(rng, land.canvas, swing_m=150, longest_m=2500)
    woods = {"pine": 0.42, "spruce": 0.33, "birch": 0.13, "felled": 0.12}
    return Painting([
        Layer(stands.own, woods),
        Layer(bogs.own, {"bog": 1}, land.patches(rng, rng.uniform(0.05, 0.4), 1100)),
        Layer(fields, {ARABLE: 0.75, "meadow": 0.25}, farmed),
        _one("northern lake", water),
        *_hamlet(rng, land, farmed),
        _one("track", road.away_m < 4),
    ])  # fmt: skip


def coast(land: Setting) -> Painting:
    """Paint farmland that ends at a winding shore: beach or marsh, flats, the sea."""
    rng = stream(land.seed, "coast")
    inland = farms.paint(land.seed, land.canvas, land.character)
    y, x = land.canvas.positions()
    angle, middle = rng.uniform(0, 2 * np.pi), land.canvas.edge / 2
    out = (x - middle) * np.float32(np.cos(angle)) + (y - middle) * np.float32(np.sin(angle))
    bend = land.canvas.noise(rng, slope=3.6, longest_m=1400)
    inward = rng.uniform(-0.25, 0.2) * land.canvas.edge - out + np.float32(130) * bend
    steep = float(np.exp(rng.uniform(np.log(0.006), np.log(0.05))))
    shore = np.asarray(np.float32(steep) * inward, np.float32)
    ripple = land.canvas.noise(rng, slope=2.6, longest_m=250)
    shore += np.float32(0.25) * ripple * (np.abs(shore) < 3)
    soft = steep < 0.02
    low = {"mud": 0.8, "beach": 0.2} if soft else {"beach": 1.0}
    plants = "mangrove" if land.latitude < 29 else "marsh"
    flats = land.cut(rng, 260.0)
    return Painting([
        *inland,
        Layer(flats.own, {plants: 0.85, "beach": 0.15} if soft else {"beach": 1}, shore < 2.6),
        Layer(flats.own, {_FLATS[name]: odds for name, odds in low.items()}, shore < 1.1),
        _one("sea", shore < -3.2),
    ], shore)  # fmt: skip


_FLATS = {"mud": "flat", "beach": "beach"}


def city(land: Setting) -> Painting:
    """Paint a dense city: blocks of high and low houses, avenues, halls, parks, a river."""
    rng = stream(land.seed, "city")
    districts = cells(rng, land.canvas, 700.0)
    quarters = farms.strips(rng, land.canvas, districts, rng.uniform(0.4, 0.7))
    plots = cells(rng, land.canvas, rng.uniform(24, 42)).own + 4000 * quarters
    kind = _of_each(rng, quarters)
    high = (rng.random(len(districts.sites)) < 0.35)[districts.own]
    homes = {"block": 0.35, "roof": 0.25, "house": 0.2, "garden": 0.12, "yard": 0.08}
    layers = [
        Layer(plots, homes, tall=(4.0, 22.0)),
        Layer(plots, {"block": 0.5, "roof": 0.5}, high & (kind > 0.4), tall=(20.0, 110.0)),
        Layer(plots // 3, {"hall": 0.5, "roof": 0.5}, kind < 0.06, tall=(6.0, 14.0)),
        Layer(quarters, {"park": 1}, (kind > 0.06) & (kind < 0.14)),
        _one("street", _borders(quarters, int(rng.integers(2, 4)))),
        _one("street", districts.border_m < rng.uniform(10, 20)),
    ]
    if rng.random() < 0.5:
        layers += farms.river(rng, land.canvas)
    return Painting(layers)


def _of_each(rng: np.random.Generator, keys: NDArray[Any]) -> NDArray[np.float64]:
    """Draw a number from 0 to 1 for all samples of one key."""
    parcels, number = np.unique(keys, return_inverse=True)
    return np.asarray(rng.random(len(parcels))[number].reshape(keys.shape))


def _borders(keys: NDArray[Any], width: int) -> Mask:
    """Return the samples whose key differs from one up to `width` samples further."""
    found = np.zeros(keys.shape, bool)
    for axis in (0, 1):
        for reach in range(1, width + 1):
            found |= keys != np.roll(keys, reach, axis)
    return found


def volcanic(land: Setting) -> Painting:
    """Paint scrub and woods on the foot of a volcano, old flows, ash and rock above."""
    rng = stream(land.seed, "volcanic")
    rough = 0.3 * land.canvas.noise(rng, slope=2.8, longest_m=500)
    level = land.height / max(float(land.height.std()), 1e-3) + rough
    slopes, stands = land.cut(rng, 220.0), land.cut(rng, 150.0)
    layers = [
        Layer(slopes.own, {"old lava": 0.4, "scree": 0.4, "rock": 0.2}),
        Layer(stands.own, {"maquis": 0.6, "broadleaf": 0.25, "pasture": 0.15}, level < 0.5),
    ]
    for _ in range(int(rng.integers(1, 4))):
        flow = winding(rng, land.canvas, swing_m=260, longest_m=1500)
        width = rng.uniform(40, 190) * (1 + 0.3 * farms.along(rng, flow, land.canvas, 150))
        layers.append(Layer(slopes.own, {"old lava": 1}, flow.away_m < width))
    return Painting([*layers, *_hamlet(rng, land, level < -0.8)])


PAINTERS: dict[str, Callable[[Setting], Painting]] = {
    "farmland": temperate,
    **{
        painter.__name__: painter
        for painter in (
            desert, savanna, tropical, rice, mountain, boreal, coast, city, volcanic
        )
    },
}  # fmt: skip
"""Who paints which land."""

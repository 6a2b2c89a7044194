"""What lies on the land pixel by pixel: scars of sudden changes, the sea, snow above a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tamrf_xr.simulate.biomes import Biome, SnowLine
from tamrf_xr.simulate.changes import AFTERMATHS, Event, Extent
from tamrf_xr.simulate.fields import Field, broad, stream
from tamrf_xr.simulate.landscape import Landscape

Window = tuple[slice, slice]

SNOW_EDGE_M = 45.0
"""Metres of height over which snow goes from patches to all."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day on which the land is looked at by one sensor."""

    day: float
    """Of the series."""

    colours: NDArray[np.float32]
    """Shape (materials, bands): reflectance under the sun and view of the day."""

    kelvin: NDArray[np.float32] | None
    """Temperature of every material, in K; None where the sensor has none."""

    snow: float
    """Fraction of open ground under snow."""

    warmth: float
    """Season of the temperature: 0 in the coldest days of the year, 1 in the warmest."""

    def mixed(self, share: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return bands, and temperature, of a mixture of materials; the snow of the day on it."""
        seen = share @ self.colours
        if self.kelvin is not None:
            seen = np.append(seen, share @ self.kelvin)
        return np.asarray(seen, np.float32)


class Overlay(Protocol):
    """Something that hides the land on some days."""

    def lay(self, image: Field, day: Day, grain: Field) -> None:
        """Change an image (band, y, x; the temperature last where there is one) in place."""
        ...


def cover(image: Field, window: Window, share: Field, seen: NDArray[np.float32] | Field) -> None:
    """Hide a window of an image: `share` of each pixel shows `seen` (band, or band, y, x)."""
    part = image[(slice(None), *window)]
    shown = seen if seen.ndim == 3 else seen[:, None, None]
    part += share * (shown - part)


def reached(field: Field, least: float) -> Window | None:
    """Return the smallest window that holds all of a field above a value; None where none is."""
    above = field > least
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    if not rows.size:
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


@dataclass(frozen=True, slots=True)
class Scar:
    """What a sudden change leaves."""

    event: Event
    """The change."""

    window: Window
    """Where it lies."""

    share: Field
    """Part of each pixel of the window that is changed, 0..1."""

    first: NDArray[np.float32]
    """Share of each material right after."""

    later: NDArray[np.float32]
    """Share of each material once the first has faded."""

    rough: float
    """Standard deviation of its texture, relative."""

    def lay(self, image: Field, day: Day, grain: Field) -> None:
        """Show the scar as it is on that day, if the change has been."""
        since = day.day - self.event.day
        if since < 0:
            return
        aftermath = AFTERMATHS[self.event.kind]
        fresh = np.float32(np.exp(-since / aftermath.fades_days))
        seen = day.mixed(fresh * self.first + (1 - fresh) * self.later)
        if day.kelvin is not None:
            seen[-1] += np.float32(aftermath.hot_kelvin * np.exp(-since / aftermath.cools_days))
        left = self.share * np.float32(np.exp(-since / aftermath.heals_days) * (1 - day.snow))
        bands = len(day.colours[0])
        textured = np.repeat(seen[:, None, None], left.shape[0], 1).repeat(left.shape[1], 2)
        textured[:bands] *= 1 + np.float32(self.rough) * grain[self.window]
        cover(image, self.window, left, textured)


@dataclass(frozen=True, slots=True)
class Sea:
    """The sea, as high as the tide of the day has it, and as turbid."""

    seed: int
    """Of the scene."""

    shore_m: Field
    """Height of the ground above the mean level, in metres."""

    tides_m: float
    """Half the range of spring tides, in metres."""

    clear: NDArray[np.float32]
    """Share of each material in clear water."""

    turbid: NDArray[np.float32]
    """Share of each material in turbid water."""

    muddy: float
    """How turbid the water at the shore is in the mean, 0..1."""

    def level(self, day: float) -> float:
        """Return the level of the sea at the overpass, in metres: springs every 14.77 days.

        The overpass is at one solar hour, so that the phase of the half-daily tide turns with
        the moon; wind adds some.
        """
        start = stream(self.seed, "tide").uniform(0, 2 * np.pi, 2)
        turn = 2 * np.pi * day / 14.765
        range_m = self.tides_m * (1 + 0.3 * np.cos(turn + start[0])) / 1.3
        wind = 0.15 * stream(self.seed, "surge", int(day)).standard_normal()
        return float(range_m * np.cos(turn + start[1]) + wind)

    def lay(self, image: Field, day: Day, grain: Field) -> None:
        """Show water where the tide of the day reaches."""
        del grain
        level = np.float32(self.level(day.day))
        window = reached(-self.shore_m, -float(level) - 1.2)
        if window is None:
            return
        depth = level - self.shore_m[window]
        share = expit(depth / np.float32(0.12))
        rng = stream(self.seed, "turbid", int(day.day))
        stirred = self.muddy * np.exp(0.5 * rng.standard_normal())
        plumes = broad(rng, self.shore_m.shape, slope=3.4, longest=120)[window]
        below = np.maximum(depth, 0)
        silt = np.float32(stirred) * np.exp(-below / np.float32(2.5))
        silt = np.clip(silt * (1 + np.float32(0.35) * plumes) + np.float32(0.05), 0, 1)
        clear, turbid = day.mixed(self.clear), day.mixed(self.turbid)
        water = clear[:, None, None] + silt * (turbid - clear)[:, None, None]
        # The bottom shows through the shallowest water.
        shown = share * (1 - np.float32(0.6) * np.exp(-below / np.float32(0.25)))
        cover(image, window, np.asarray(shown, np.float32), water)


@dataclass(frozen=True, slots=True)
class HighSnow:
    """Snow above a line that goes up in spring and down in autumn."""

    seed: int
    """Of the scene."""

    line: SnowLine
    """Its height."""

    height: Field
    """Of the ground, in metres; where the sun reaches less, more."""

    lying: Field
    """Part of the snow that lies to be seen, 0..1: less under trees."""

    snow: NDArray[np.float32]
    """Share of each material in snow."""

    def at(self, day: Day) -> float:
        """Return the height of the line, in metres; falls of snow push it down for some days."""
        summer, winter = self.line.summer, self.line.winter
        weeks = [stream(self.seed, "fall", (int(day.day) // 6 - ago) % 100_000) for ago in (0, 1)]
        fallen = sum(w * rng.gamma(0.5) for w, rng in zip((180, 90), weeks, strict=True))
        # The line lags: highest at the end of summer, lowest at that of winter.
        return winter + (summer - winter) * day.warmth - float(fallen)

    def lay(self, image: Field, day: Day, grain: Field) -> None:
        """Show snow above the line of the day."""
        line = np.float32(self.at(day))
        window = reached(self.height, float(line) - 9 * SNOW_EDGE_M)
        if window is None:
            return
        above = (self.height[window] - line) / np.float32(SNOW_EDGE_M)
        share = self.lying[window] * expit(above + np.float32(0.35) * grain[window])
        seen = day.mixed(self.snow)
        if day.kelvin is not None:
            seen[-1] = np.minimum(seen[-1], np.float32(272.5))
        cover(image, window, np.asarray(share, np.float32), seen)


def draw_overlays(
    seed: int, biome: Biome, land: Landscape, names: Sequence[str]
) -> tuple[Overlay, ...]:
    """Draw what lies on a land.

    Parameters
    ----------
    seed
        Of the scene.
    biome
        Its snow line and its tides.
    land
        The land.
    names
        Of the materials of the scene.

    Returns
    -------
    tuple of Overlay
        From the lowest: the sea, snow.
    """
    laid: list[Overlay] = []
    if land.shore_m is not None:
        rng = stream(seed, "sea")
        waters = (_shares(names, {"sea": 1.0}), _shares(names, {"turbid": 1.0}))
        tides, muddy = biome.tides_m * rng.uniform(0.2, 1.0), rng.uniform(0.1, 0.9)
        laid.append(Sea(seed, land.shore_m, tides, *waters, muddy))
    if biome.snow_line is not None:
        lying = land.mixing @ land.of("snow").astype(np.float32)
        height = land.height + _shaded_m(land)
        laid.append(
            HighSnow(
                seed, biome.snow_line, height, lying.reshape(land.shape),
                _shares(names, {"snow": 1.0}),
            )
        )  # fmt: skip
    return tuple(laid)


def scar_of(one: Extent, names: Sequence[str]) -> Scar:
    """Return what a change leaves, of materials in the order of `names`."""
    row = AFTERMATHS[one.event.kind]
    first, later = _shares(names, row.first), _shares(names, row.later)
    return Scar(one.event, one.window, one.share, first, later, row.rough)


def _shaded_m(land: Landscape) -> Field:
    """Return how much higher slopes seem to snow: those that face north keep it longer."""
    return np.asarray(np.clip(220 * land.slope[0] * -1, -150, 150), np.float32)


def _shares(names: Sequence[str], parts: Mapping[str, float]) -> NDArray[np.float32]:
    """Return the share of each material, in the order of `names`."""
    return np.array([parts.get(name, 0.0) for name in names], np.float32)

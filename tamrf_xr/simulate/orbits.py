"""When each sensor passes over a scene, and from which side it looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tamrf_xr.simulate.config import SceneConfig
from tamrf_xr.simulate.fields import stream

NEXT_ORBIT_DAYS = {"sentinel2": 3, "landsat": 7}
"""Days from the pass of one orbit to that of its western neighbour.

Sentinel-2: 143 orbits in 10 days, so that where two swaths overlap the gaps are 2 and 3 days.
Landsat: 233 paths in 16 days, so that they are 7 and 9 days with one satellite, 7 and 1 with two.
"""

WIDEST_VIEW = {"sentinel2": 10.3, "landsat": 7.4}
"""Zenith angle of the view at the edge of the swath (290 km, 185 km), in degrees."""

OVERLAP_FROM = 0.7
"""Part of the half swath beyond which neighbours overlap, at middle latitudes."""

HEADING = 11.0
"""Degrees by which the track leans west of south at middle latitudes: the view lies across it."""

SOLAR_HOUR = {"sentinel2": 10.9, "landsat": 10.55}
"""Solar time under the middle of the swath at 45 degrees north, in hours."""


@dataclass(frozen=True, slots=True)
class View:
    """From where, and at what hour, a place is looked at; angles in radians."""

    zenith: float
    """Of the sensor, seen from the ground."""

    azimuth: float
    """Of the sensor, clockwise from north."""

    hour: float
    """Solar time, in hours."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One acquisition to be."""

    day: int
    """From 1 January of the scene's first year, which is 0."""

    view: View
    """Geometry."""


def nadir(sensor: str) -> View:
    """Return the view from straight above at the usual hour: that of the truth."""
    return View(0.0, 0.0, SOLAR_HOUR[sensor])


def passes(config: SceneConfig, sensor: str) -> list[Pass]:
    """List the acquisitions of one sensor, sorted.

    Parameters
    ----------
    config
        The scene: revisit, overlap, dates lost.
    sensor
        Its name.

    Returns
    -------
    list of Pass
        None shares a day with another.

    Examples
    --------
    >>> scene = SceneConfig(sentinel2_overlap=True)
    >>> sorted({int(gap) for gap in np.diff([p.day for p in passes(scene, "sentinel2")])})
    [2, 3]
    """
    every, overlap = {
        "sentinel2": (config.sentinel2_revisit_days, config.sentinel2_overlap),
        "landsat": (config.landsat_revisit_days, config.landsat_overlap),
    }[sensor]
    rng = stream(config.seed, "orbit " + sensor)
    first = int(rng.integers(every))
    views = _draw_views(rng, sensor, overlap=overlap)
    found = {
        day: Pass(day, view)
        for number, view in enumerate(views)
        for day in range((first + number * NEXT_ORBIT_DAYS[sensor]) % every, config.days, every)
    }
    return [found[day] for day in sorted(found) if not _lost(config, sensor, day)]


def _draw_views(rng: np.random.Generator, sensor: str, *, overlap: bool) -> list[View]:
    """Draw where the scene lies in the swath; under two, in the east of one and west of one."""
    side, place = rng.choice([-1, 1]), rng.random()
    if not overlap:
        return [_view(sensor, side * place)]
    edge = OVERLAP_FROM + (1 - OVERLAP_FROM) * place
    return [_view(sensor, side * edge), _view(sensor, -side * (1 + OVERLAP_FROM - edge))]


def _view(sensor: str, across: float) -> View:
    """Return the view of a scene at a place across the swath: -1 west edge, 1 east edge."""
    zenith = np.radians(WIDEST_VIEW[sensor]) * abs(across)
    # A scene in the east of the swath is looked at from the west.
    azimuth = np.radians((270 if across > 0 else 90) + HEADING)
    # 15 degrees of longitude an hour; half a swath is some 1.8 (Sentinel-2) or 1.2 degrees wide.
    ahead = {"sentinel2": 0.12, "landsat": 0.08}[sensor] * across
    return View(float(zenith), float(azimuth), SOLAR_HOUR[sensor] + ahead)


def _lost(config: SceneConfig, sensor: str, day: int) -> bool:
    return bool(stream(config.seed, "lost " + sensor, day).random() < config.lost_dates)

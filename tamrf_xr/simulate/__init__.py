"""Scenes whose truth is known: fields, seasons and clouds, seen by both sensors."""

from __future__ import annotations

from tamrf_xr.simulate.biomes import BIOMES
from tamrf_xr.simulate.changes import Event
from tamrf_xr.simulate.config import SceneConfig
from tamrf_xr.simulate.scene import Simulation, simulate, write_scene
from tamrf_xr.simulate.variety import draw_config, write_scenes

__all__ = [
    "BIOMES",
    "Event",
    "SceneConfig",
    "Simulation",
    "draw_config",
    "simulate",
    "write_scene",
    "write_scenes",
]

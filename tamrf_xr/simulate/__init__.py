"""Scenes whose truth is known: fields, seasons and clouds, seen by both sensors."""

from __future__ import annotations

from tamrf_xr.simulate.config import SceneConfig
from tamrf_xr.simulate.scene import Simulation, simulate, write_scene

__all__ = ["SceneConfig", "Simulation", "simulate", "write_scene"]

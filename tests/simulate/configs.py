"""Configurations of small scenes that tests share."""

from __future__ import annotations

from dataclasses import replace

from tamrf_xr.simulate import SceneConfig

TINY = SceneConfig(size_px=30, sentinel2_revisit_days=60, landsat_revisit_days=60)
CALM = SceneConfig(
    size_px=60,
    seed=2,
    sentinel2_revisit_days=45,
    landsat_revisit_days=45,
    cloudiness=0.0,
    registration_m=0.0,
    haze_reflectance=0.0,
    view_effect=0.0,
    partial_swath=0.0,
)
QUIET = replace(
    CALM,
    noise_reflectance=0.0,
    noise_relative=0.0,
    noise_kelvin=0.0,
    offset_reflectance=0.0,
    gain_relative=0.0,
    offset_kelvin=0.0,
)

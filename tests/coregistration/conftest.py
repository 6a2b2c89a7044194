"""A clouded scene whose shifts are known, and what is found of it."""

from __future__ import annotations

import pytest

from tamrf_xr.simulate import SceneConfig, simulate

SCENE = SceneConfig(
    size_px=96,
    seed=11,
    sentinel2_revisit_days=15,
    landsat_revisit_days=24,
    registration_m=5.0,
    gain_relative=0.05,
)


@pytest.fixture(scope="session")
def scene():
    return simulate(SCENE)


@pytest.fixture(scope="session")
def table(scene):
    return scene.cube.tamrf.shifts()

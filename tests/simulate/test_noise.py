"""Dates of simulated scenes differ as those of real series do, at each scale and in every band."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studies.simulation_noise import (
    COARSE,
    PAIR,
    PAIR_LANDSAT,
    REAL,
    outside,
    real_pair,
    simulated,
    structure,
)
from tamrf_xr.sensors import SENSORS
from tamrf_xr.simulate import SceneConfig, simulate

REAL_FOLDER = Path(__file__).parents[3] / "shared" / "real"


@pytest.mark.slow
def test_dates_of_drawn_scenes_differ_as_those_of_real_series_do():
    made = simulated(10, 60)
    assert outside(made["sentinel2"], REAL["sentinel2"]) == []
    # Four pairs of clear summer days are all there is of Landsat: docs/simulator.md.
    infrared = {
        part: {band: bands[band] for band in ("B05", "B06", "B07")}
        for part, bands in made["landsat"].items()
    }
    assert outside(infrared, REAL["landsat"], slack=0.5) == []


@pytest.mark.real
@pytest.mark.skipif(not REAL_FOLDER.exists(), reason="real pixels are not in the repository")
def test_the_stated_noise_of_the_real_pair_is_what_it_shows():
    found = real_pair(REAL_FOLDER)
    for sensor, stated in (("sentinel2", PAIR), ("landsat", PAIR_LANDSAT)):
        for part, bands in stated.items():
            shown = {band: found[sensor][part][band] for band in bands}
            assert shown == pytest.approx(bands, abs=0.6)


def test_the_parts_are_those_that_were_put_in():
    rng = np.random.default_rng(0)
    days = np.arange(200)
    whole = 0.02 * rng.standard_normal((200, 1, 1, 1))
    coarse = 0.03 * rng.standard_normal((200, 1, 10, 10)).repeat(6, -1).repeat(6, -2)
    fine = 0.01 * rng.standard_normal((200, 1, 60, 60))
    made = structure(days, 0.1 + whole + coarse + fine, ["B02"], "sentinel2")
    assert [made[part]["B02"] for part in made] == pytest.approx([200, 300, 100], rel=0.1)
    assert COARSE["sentinel2"] == 6


FEW = SceneConfig(
    size_px=30, seed=3, sentinel2_revisit_days=60, landsat_revisit_days=60, cloudiness=0
)


@pytest.mark.parametrize("name", ["cover_relative", "patch_relative"])
def test_departures_change_reflectance_alone_and_no_other_draw(name):
    plain, changed = (simulate(replace(FEW, **{name: size})).cube for size in (0.0, 0.05))
    for sensor in SENSORS:
        before, after = (cube[sensor]["reflectance"].values for cube in (plain, changed))
        assert 0.005 < np.nanstd(after / before) < 0.15
    before, after = (cube["landsat/surface_temperature"].values for cube in (plain, changed))
    np.testing.assert_array_equal(before, after)


def test_landsat_is_as_unsteady_as_told():
    departing = replace(FEW, cover_relative=0.05, patch_relative=0.05, landsat_unsteadiness=0.0)
    still, plain = (
        simulate(replace(one, offset_reflectance=0.0, gain_relative=0.0, haze_reflectance=0.0))
        for one in (departing, FEW)
    )
    np.testing.assert_array_equal(
        still.cube["landsat/reflectance"].values, plain.cube["landsat/reflectance"].values
    )
    assert (still.cube["sentinel2/reflectance"] != plain.cube["sentinel2/reflectance"]).any()

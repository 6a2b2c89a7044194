"""What simulated ground, weather and light do, as they must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tamrf_xr.sensors import SENSORS
from tamrf_xr.simulate import simulate
from tamrf_xr.simulate.brdf import anisotropy
from tamrf_xr.simulate.ground import draw_ground
from tamrf_xr.simulate.landcover import CROPS
from tamrf_xr.simulate.landscape import COVER_NAMES, draw_landscape
from tamrf_xr.simulate.phenology import _followers, draw_phenology
from tamrf_xr.simulate.weather import draw_weather, sun
from tests.simulate.configs import CALM, QUIET, TINY


def test_truth_is_what_is_seen_without_sky_noise_and_shift():
    scene = simulate(replace(QUIET, seed=6, sentinel2_revisit_days=90))
    times = scene.cube["sentinel2"]["time"]
    seen = scene.cube["sentinel2"]["reflectance"].sel(band=["B02", "B03", "B04", "B08"])
    truth = scene.truth(times)["sentinel2"]["reflectance"].sel(band=seen["band"])
    # Bands of 10 m are not blurred further: the product's own resolution.
    np.testing.assert_allclose(seen.values, truth.values, rtol=1e-5)


def test_the_side_looked_from_changes_land_and_not_the_truth():
    sides = [replace(CALM, view_effect=effect, noise_relative=0.0) for effect in (0.0, 1.0)]
    above, aside = (simulate(config) for config in sides)
    for name in SENSORS:
        truths = [scene.ground.image(name, 120.0) for scene in (above, aside)]
        np.testing.assert_array_equal(*truths)
        ratio = aside.cube[name]["reflectance"] / above.cube[name]["reflectance"]
        assert 0.002 < abs(float(ratio.median()) - 1) < 0.2


def test_reflectance_is_highest_with_the_sun_behind():
    sun_zenith, view = np.radians(40), np.radians(10)
    behind, across, before = (anisotropy(sun_zenith, view, b) for b in (0, np.pi / 2, np.pi))
    assert (behind > across).all()
    assert (across > before).all()
    # Roy et al. 2017: up to 5 % from the edge of the swath to the nadir, a few more in the red.
    assert (behind / before < 1.25).all()


def test_slopes_that_face_the_sun_are_brighter():
    ground = draw_ground(7, 120)
    north, east = ground.land.slope
    azimuth = sun(20)[1]
    facing = -north * np.cos(azimuth) - east * np.sin(azimuth)
    flat = replace(ground, land=replace(ground.land, slope=np.zeros_like(ground.land.slope)))
    ratio = ground.image("sentinel2", 20.0)[6] / flat.image("sentinel2", 20.0)[6]
    assert np.corrcoef(facing.ravel(), ratio.ravel())[0, 1] > 0.9


def test_haze_is_strongest_in_the_blue():
    hazy, clear = (
        simulate(replace(CALM, haze_reflectance=haze, noise_relative=0.0)) for haze in (0.05, 0.0)
    )
    change = hazy.cube["sentinel2"]["reflectance"] - clear.cube["sentinel2"]["reflectance"]
    size = np.abs(change).mean(("time", "y", "x"))
    assert float(size.sel(band="B02")) > 3 * float(size.sel(band="B11"))


def test_years_follow_each_other_with_other_crops():
    config = replace(TINY, size_px=60, years=2)
    scene = simulate(config)
    years = scene.cube["sentinel2"]["time"].dt.year.values
    assert set(years) == {2022, 2023}
    june = scene.truth(["2022-06-20", "2023-06-20"])["sentinel2"]["reflectance"]
    red, nir = june.sel(band="B04"), june.sel(band="B08")
    before, after = ((nir - red) / (nir + red)).values
    land = scene.ground.land
    ploughed = land.mixing @ (land.covers == COVER_NAMES.index("arable")).astype(np.float32)
    arable = ploughed.reshape(land.shape)[12:72, 12:72] > 0.99
    assert np.abs(after - before)[arable].mean() > 0.1


def test_no_crop_is_sown_before_the_last_is_harvested():
    odds = _followers(np.ones(len(CROPS)))
    np.testing.assert_allclose(odds.sum(axis=1), 1)
    names = [crop.name for crop in CROPS]
    assert odds[names.index("maize"), names.index("rapeseed")] == 0
    assert odds[names.index("maize"), names.index("winter cereal")] > 0


def test_catch_crops_green_fields_in_autumn():
    phenology = draw_phenology(3, draw_landscape(3, 150))
    green = phenology.at(300.0).green[phenology.arable]
    assert 0.05 < (green > 0.4).mean() < 0.7


def test_snow_lies_in_the_north_and_melts():
    far, near = (
        [draw_weather(seed, latitude=latitude).snow for seed in range(12)]
        for latitude in (54.0, 38.0)
    )
    assert np.mean([(snow > 0).sum() for snow in far]) > 10
    assert np.mean([(snow > 0).sum() for snow in near]) < 5
    assert max(snow[150:240].max() for snow in far) == 0


def test_days_are_warmest_in_the_afternoon_and_ground_more_than_air():
    weather = draw_weather(2)
    hours = np.arange(24)
    air = [weather.warmth(190, hour) for hour in hours]
    ground = [weather.warmth(190, h) + 15 * weather.heating(190, h) for h in hours]
    assert hours[np.argmax(air)] == 15
    assert 12 <= hours[np.argmax(ground)] <= 15
    assert np.ptp(ground) > np.ptp(air) + 8

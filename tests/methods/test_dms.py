"""Data Mining Sharpener: temperature at 10 m."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from tamrf_xr.cube import groups_of
from tamrf_xr.errors import MethodError, OptionError
from tamrf_xr.fuser import Series
from tamrf_xr.methods.dms import Sharpening, closest, sharpen
from tamrf_xr.methods.leaves import Growth, grow
from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.psf import upsample
from tamrf_xr.simulate import SceneConfig, simulate
from tests.fuser_tests import FuserTests, bands_of
from tests.laid import fuse_lazily

GIVEN = {"sentinel2": ("B02", "B03", "B04", "B08"), "landsat": ("LST",)}


class TestSharpener(FuserTests):
    method = "dms"
    options = (("resolution", 30), ("trees", 2))  # enough coarse pixels in a small cube
    seamless = False  # its models learn from what a tile reads


@pytest.fixture(scope="module")
def scene():
    return simulate(
        SceneConfig(
            size_px=270,
            seed=4,
            cloudiness=0.1,
            mask_errors=0,
            sentinel2_revisit_days=15,
            landsat_revisit_days=120,
        )
    )


@pytest.fixture(scope="module")
def clear_days(scene):
    clear = scene.clear["landsat"].mean(("y", "x"))
    days = pd.DatetimeIndex(clear["time"].values[clear.values > 0.8])
    assert len(days)
    return days


def dms(cube, **options):
    return plan_method("dms", Request(bands_of(cube), options=options))


def temperature(tree) -> np.ndarray:
    return tree["landsat"]["surface_temperature"].values


def rmse(made, truth) -> float:
    difference = (made - truth)[np.isfinite(made)]
    return float(np.sqrt(np.mean(np.square(difference))))


def test_beats_bicubic_against_the_truth(scene, clear_days):
    cube = scene.cube
    made = temperature(fuse_lazily(cube, dms(cube), clear_days))
    truth = temperature(scene.truth(clear_days))
    group = groups_of(cube)["landsat"].sel(time=clear_days)
    bicubic = upsample(group["surface_temperature"].values)
    usable = np.isfinite(made)
    assert usable.mean() > 0.8
    smooth = np.where(usable, bicubic, np.nan)
    for date in range(len(clear_days)):
        assert rmse(made[date], truth[date]) < rmse(smooth[date], truth[date])
    assert rmse(made, truth) < 0.9 * rmse(smooth, truth)


def test_a_tile_boundary_shows_less_than_the_error(scene, clear_days):
    cube = scene.cube
    whole, tiled = (
        temperature(fuse_lazily(cube, dms(cube), clear_days[:1], tile=tile)) for tile in (270, 90)
    )
    truth = temperature(scene.truth(clear_days[:1]))
    seam = rmse(tiled, whole)
    assert 0 < seam < 0.5 * rmse(whole, truth)
    assert rmse(tiled, truth) < 1.1 * rmse(whole, truth)


def test_the_same_seed_gives_the_same_values_and_another_others(scene, clear_days):
    cube, asked = scene.cube, clear_days[:1]
    one, again, other = (
        temperature(fuse_lazily(cube, dms(cube, seed=seed, trees=2), asked)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other, equal_nan=True)


def test_coarse_means_of_the_sharpened_are_those_observed():
    rng = np.random.default_rng(0)
    predictors = rng.random((4, 30, 30), dtype=np.float32).repeat(9, 1).repeat(9, 2)
    fine = 290 + 20 * predictors[0] - 10 * predictors[3]
    coarse = fine.reshape(90, 3, 90, 3).mean((1, 3)).astype(np.float32)
    made = sharpen(coarse, predictors, Sharpening(factor=3, trees=5, seed=0))
    assert rmse(made, fine) < 0.3 * rmse(upsample(coarse), fine)
    blocks = [a.reshape(30, 9, 30, 9).mean((1, 3)) for a in (made, fine)]
    assert rmse(*blocks) < 0.3


def test_days_without_landsat_are_nan(scene):
    day = scene.cube["landsat"]["time"].values[:1] + np.timedelta64(1, "D")
    assert np.isnan(
        temperature(fuse_lazily(scene.cube, dms(scene.cube), pd.DatetimeIndex(day)))
    ).all()


def test_predictors_come_from_the_closest_valid_day_the_earlier_of_two():
    pixels = np.arange(4, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 1, 2), np.float32)
    valid = np.array([[[1, 1]], [[1, 0]], [[1, 1]], [[1, 1]]], bool)
    made = closest(Series(pixels, valid), np.array([0.0, 10, 20, 30]), 15.0)
    assert made.tolist() == [[[1.0, 2.0]]]


def test_leaves_learn_a_piecewise_plane_and_stay_near_its_range():
    rng = np.random.default_rng(1)
    x = rng.random((600, 2))
    y = np.where(x[:, 0] < 0.5, 2 * x[:, 1], 10 - x[:, 1])
    model = grow(x, y, np.ones(600), how=Growth(trees=8, leaves=6), rng=rng)
    assert np.abs(model.predict(x) - y).mean() < 0.1
    far = model.predict(np.array([[100.0, 100.0], [-100.0, -100.0]]))
    assert (far > y.min() - 3).all()
    assert (far < y.max() + 3).all()
    assert grow(x[:9], y[:9], np.ones(9), how=Growth(1, 2), rng=rng) is None


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MethodError, match=r"pip install 'tamrf-xr\[evaluation\]'"):
        plan_method("dms", Request(GIVEN))


def test_missing_band_is_named():
    with pytest.raises(MethodError, match="needs B08 of /sentinel2"):
        plan_method("dms", Request({**GIVEN, "sentinel2": ("B02", "B03", "B04")}))
    with pytest.raises(MethodError, match="needs LST of /landsat"):
        plan_method("dms", Request({**GIVEN, "landsat": ("B04",)}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trees": 0}, "trees is 0"),
        ({"resolution": 100}, "multiple of 30"),
        ({"seed": "a"}, "seed"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        plan_method("dms", Request(GIVEN, options=options))

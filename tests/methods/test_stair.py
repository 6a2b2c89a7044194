"""STAIR: coarse image plus differences interpolated in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamrf_xr.errors import MethodError, OptionError
from tamrf_xr.fuser import Series
from tamrf_xr.methods.registry import Request, plan_method
from tests.fuser_tests import DAYS, FuserTests, bands_of, paired_cube, run, series_of
from tests.methods.published import GIVEN, TOLERANCE, all_valid, published


class TestStair(FuserTests):
    method = "stair"


class TestStairOfThePaper(FuserTests):
    method = "stair"
    options = (("variant", "paper"),)
    smallest_tile = 18


@pytest.mark.parametrize("name", ["misc", "extended"])
def test_agrees_with_published_where_landsat_is_clear(name):
    oracle = published(name)
    asked = oracle.stored["stair_doy"].ravel()
    made, theirs = oracle.run("stair", asked), oracle.stored["stair_hr"][0]
    # Theirs forgets the masks of Landsat, and takes clouds for ground.
    clear = np.broadcast_to(oracle.coarse_valid(asked).all(axis=0), made.shape)
    assert clear.mean() > 0.3
    np.testing.assert_allclose(made[clear], theirs[clear], atol=TOLERANCE, rtol=0)
    assert np.nanmax(np.abs(made - theirs)[~clear]) > 0.05


@pytest.mark.parametrize("name", ["misc", "extended"])
def test_agrees_with_published_everywhere_once_the_masks_of_landsat_are_forgotten(name):
    oracle = published(name)
    landsat = oracle.series["landsat"]
    oracle.series["landsat"] = all_valid(landsat)
    asked = oracle.stored["stair_doy"].ravel()
    np.testing.assert_allclose(
        oracle.run("stair", asked), oracle.stored["stair_hr"][0], atol=TOLERANCE, rtol=0
    )


@pytest.mark.parametrize("variant", ["evaluated", "paper"])
def test_the_image_asked_is_never_used(variant):
    cube = paired_cube()
    spec = plan_method("stair", Request(bands_of(cube), options={"variant": variant}))
    series = series_of(cube)
    pixels = series["sentinel2"].pixels.copy()
    pixels[DAYS["sentinel2"].index(20)] = 7.0
    other = {**series, "sentinel2": replace(series["sentinel2"], pixels=pixels)}
    np.testing.assert_array_equal(
        run(spec, cube, [20])["sentinel2"], run(spec, cube, [20], series=other)["sentinel2"]
    )


def test_paper_variant_sees_no_cloud():
    cube = paired_cube()
    spec = plan_method("stair", Request(bands_of(cube), options={"variant": "paper"}))
    series = series_of(cube)
    clouded = {
        name: replace(seen, pixels=np.where(seen.valid[:, None], seen.pixels, 9.0).astype("f4"))
        for name, seen in series.items()
    }
    np.testing.assert_array_equal(
        run(spec, cube, [13, 20], series=clouded)["sentinel2"],
        run(spec, cube, [13, 20])["sentinel2"],
    )


def test_paper_variant_fills_gaps_as_similar_pixels_changed():
    """Two kinds of field, one of which jumps: linear filling misses it, its like tells."""
    rng = np.random.default_rng(0)
    kind = rng.random((12, 12)) < 0.5
    kind = kind.repeat(3, 0).repeat(3, 1)
    days = {"sentinel2": np.array([0.0, 10, 20]), "landsat": np.array([10.0, 25])}
    fine = np.where(kind, 0.2, 0.4) * np.ones((3, 6, 36, 36))
    fine[1] += np.where(kind, 0.1, 0)
    valid = np.ones((3, 36, 36), bool)
    valid[1, 12:18, 12:18] = False
    series = {
        "sentinel2": Series(fine.astype(np.float32), valid, GIVEN["sentinel2"]),
        "landsat": Series(
            np.zeros((2, 6, 12, 12), np.float32), np.ones((2, 12, 12), bool), GIVEN["landsat"]
        ),
    }
    oracle = published("extended")
    scene = type(oracle)({}, series, days)
    errors = {
        variant: np.abs(scene.run("stair", [25], variant=variant)[0] - fine[1])[:, 12:18, 12:18]
        for variant in ("evaluated", "paper")
    }
    assert errors["evaluated"].max() > 0.09
    assert errors["paper"].max() < 0.01


def test_what_was_never_seen_is_nan_not_zero():
    oracle = published("extended")
    valid = oracle.series["sentinel2"].valid.copy()
    valid[:, 5:9, 5:9] = False
    oracle.series["sentinel2"] = replace(oracle.series["sentinel2"], valid=valid)
    landsat = oracle.series["landsat"]
    oracle.series["landsat"] = all_valid(landsat)
    made = oracle.run("stair", [30])
    assert np.isnan(made[..., 5:9, 5:9]).all()
    assert np.isfinite(made).sum() == made.size - 6 * 16


def test_a_query_that_leaves_no_conjunction_is_nan_and_the_others_are_not():
    oracle = published("extended")
    days = {**oracle.days, "sentinel2": oracle.days["sentinel2"] + 101.0}
    days["sentinel2"][0] = 5.0
    made = type(oracle)(oracle.stored, oracle.series, days).run("stair", [5, 62])
    assert np.isnan(made[0]).all()
    assert np.isfinite(made[1]).any()


def test_no_conjunction_is_refused_at_the_door_and_inside():
    days = {"sentinel2": (0, 5), "landsat": (1, 6)}
    with pytest.raises(MethodError, match=r"needs conjunctions.*none among 2 days of /sentinel2"):
        plan_method("stair", Request(GIVEN, days=days))
    cube = paired_cube(days=days)
    with pytest.raises(MethodError, match="needs conjunctions"):
        run(plan_method("stair", Request(bands_of(cube))), cube, [3])


def test_no_common_band_is_refused():
    with pytest.raises(MethodError, match=r"B02 with B02.*no such pair: /sentinel2 has B08"):
        plan_method("stair", Request({"sentinel2": ("B08",), "landsat": ("B05", "LST")}))


def test_unknown_variant_is_refused():
    with pytest.raises(OptionError, match="the variants are: evaluated, paper"):
        plan_method("stair", Request(GIVEN, options={"variant": "new"}))

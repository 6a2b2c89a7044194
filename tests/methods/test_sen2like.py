"""Sen2Like: Landsat with the detail of the last Sentinel-2 images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tamrf_xr.errors import OptionError
from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.methods.sen2like import Pair, extrapolate
from tests.fuser_tests import DAYS, FuserTests, bands_of, paired_cube, run, series_of
from tests.methods.published import GIVEN, TOLERANCE, all_valid, published


class TestSen2Like(FuserTests):
    method = "sen2like"
    seamless = False  # whether an image is masked by half is told per tile


class TestSen2LikePassingOverNone(FuserTests):
    method = "sen2like"
    options = (("max_masked", 1),)


class TestSen2LikeOfThePaper(FuserTests):
    method = "sen2like"
    options = (("variant", "paper"),)


class TestSen2LikeComposite(FuserTests):
    method = "sen2like"
    options = (("variant", "composite"),)


SETTINGS = [
    ("misc", "sen2like_hr", "sen2like_invalid", {}),
    ("extended", "s2l_hr", "s2l_mask", {}),
    ("extended", "s2l_b_hr", "s2l_b_mask", {"mtf": 0.2, "max_masked": 0.25}),
]


@pytest.mark.parametrize(("name", "image", "invalid", "options"), SETTINGS)
def test_agrees_with_published(name, image, invalid, options):
    oracle = published(name)
    theirs, bad = oracle.stored[image][0], oracle.stored[invalid][0]
    made = oracle.run("sen2like", oracle.days["landsat"], **options)
    np.testing.assert_array_equal(np.isnan(made), np.broadcast_to(bad[:, None], made.shape))
    good = np.isfinite(made)
    assert np.isnan(theirs[0]).all()
    np.testing.assert_allclose(made[good], theirs[good], atol=TOLERANCE, rtol=0)


def test_detail_agrees_with_published_under_clouds():
    oracle = published("extended")
    landsat = all_valid(oracle.series["landsat"])
    theirs = oracle.stored["s2l_hr"][0][5]
    last = oracle.series["sentinel2"].at([6, 7])
    detail, _ = extrapolate(Pair(last, (161 - 130) / 20), mtf=0.4)
    oracle.series["landsat"] = landsat
    oracle.series["sentinel2"] = all_valid(oracle.series["sentinel2"])
    made = oracle.run("sen2like", [161])[0]
    np.testing.assert_allclose(made, theirs, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(made - detail, theirs - detail, atol=TOLERANCE)


def test_days_without_landsat_and_before_the_second_image_are_nan():
    cube = paired_cube()
    for variant in ("evaluated", "paper", "composite"):
        spec = plan_method("sen2like", Request(bands_of(cube), options={"variant": variant}))
        made = run(spec, cube, [14, 13])["sentinel2"]
        assert np.isnan(made[0]).all()
        assert np.isfinite(made[1]).any()
    one = paired_cube(days={**DAYS, "sentinel2": (0, 30)})
    assert np.isnan(run(spec, one, [13])["sentinel2"]).all()


def test_paper_takes_the_valid_one_of_two_dates_and_composite_the_later():
    cube = paired_cube(clear=1.1)
    series = series_of(cube)

    def made(variant, *, masked=()):
        valid = series["sentinel2"].valid.copy()
        valid[list(masked)] = False
        seen = {**series, "sentinel2": replace(series["sentinel2"], valid=valid)}
        spec = plan_method("sen2like", Request(bands_of(cube), options={"variant": variant}))
        return run(spec, cube, [28], series=seen)["sentinel2"]

    first, last = DAYS["sentinel2"].index(12), DAYS["sentinel2"].index(20)
    both, one, other = made("paper"), made("paper", masked=[first]), made("paper", masked=[last])
    np.testing.assert_array_equal(made("composite"), one)
    np.testing.assert_array_equal(made("composite", masked=[last]), other)
    # Linear: 8 days after the later of two images 8 days apart.
    np.testing.assert_allclose(both, one + (one - other), atol=1e-5)
    assert np.isnan(made("paper", masked=[first, last])).all()


def test_a_constant_image_adds_no_detail():
    cube = paired_cube(clear=1.1)
    series = series_of(cube)
    flat = np.full_like(series["sentinel2"].pixels, 0.3)
    seen = {n: replace(s, pixels=flat if n == "sentinel2" else s.pixels) for n, s in series.items()}
    made = [
        run(
            plan_method("sen2like", Request(bands_of(cube), options={"variant": variant})),
            cube,
            [28],
            series=seen,
        )["sentinel2"]
        for variant in ("evaluated", "paper", "composite")
    ]
    np.testing.assert_allclose(made[0], made[1], atol=1e-6)
    np.testing.assert_allclose(made[0], made[2], atol=1e-6)


def test_bad_options_are_refused():
    for options, message in (
        ({"variant": "new"}, "the variants are: evaluated, paper, composite"),
        ({"mtf": 0}, "mtf is 0: expected"),
        ({"max_masked": 1.5}, "max_masked is 1.5: expected"),
    ):
        with pytest.raises(OptionError, match=message):
            plan_method("sen2like", Request(GIVEN, options=options))

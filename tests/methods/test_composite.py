"""Median and medoid composites."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.errors import OptionError
from tamrf_xr.fuser import Series
from tamrf_xr.methods.composite import Composite
from tamrf_xr.methods.registry import Request, plan_method
from tests.fuser_tests import FuserTests, bands_of, paired_cube

BANDS = ("B02", "B04", "B08", "LST")
DAYS = np.array([0.0, 3, 3, 11, 20, 26, 40])
ASKED = np.array([-50.0, -9, 2, 3, 20, 33, 200])
HALF = 9.0


class TestMedian(FuserTests):
    method = "composite"


class TestMedoid(FuserTests):
    method = "composite"
    options = (("variant", "medoid"),)


def drawn(seed) -> Series:
    rng = np.random.default_rng(seed)
    pixels = rng.random((len(DAYS), len(BANDS), 5, 6), dtype=np.float32)
    pixels[:, -1][rng.random((len(DAYS), 5, 6)) < 0.2] = np.nan
    return Series(pixels, rng.random((len(DAYS), 5, 6)) < 0.6, BANDS)


def made_of(series, variant, bands=BANDS):
    fuser = Composite({"landsat": bands}, variant=variant, half_window=HALF)
    return fuser.answer(series, DAYS, ASKED, bands=bands)


@given(seed=st.integers(0, 99))
def test_the_median_is_that_of_numpy_over_the_window(seed):
    series = drawn(seed)
    made = made_of(series, "median")
    known = np.where(series.valid[:, None], series.pixels, np.nan)
    for position, day in enumerate(ASKED):
        near = known[np.abs(DAYS - day) <= HALF]
        with warnings.catch_warnings(action="ignore"):
            expected = np.nanmedian(near, axis=0) if len(near) else np.full(made[0].shape, np.nan)
        np.testing.assert_array_equal(made[position], expected)


@given(seed=st.integers(0, 99))
def test_the_medoid_is_the_observed_spectrum_nearest_to_the_others(seed):
    series = drawn(seed)
    made = made_of(series, "medoid")
    for position, day in enumerate(ASKED):
        for y, x in np.ndindex(5, 6):
            near = (np.abs(DAYS - day) <= HALF) & series.valid[:, y, x]
            spectra = series.pixels[near][..., y, x]
            if not len(spectra):
                assert np.isnan(made[position, :, y, x]).all()
                continue
            apart = spectra[:, None, :3].astype(float) - spectra[None, :, :3]
            sums = np.linalg.norm(apart, axis=-1).sum(axis=1)
            expected = spectra[np.argmin(np.round(sums, 12))]
            np.testing.assert_array_equal(made[position, :, y, x], expected)


def test_which_date_is_the_medoid_does_not_depend_on_the_bands_asked():
    series = drawn(1)
    whole, some = made_of(series, "medoid"), made_of(series, "medoid", ("B08", "LST"))
    np.testing.assert_array_equal(some, whole[:, 2:])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"variant": "mean"}, "no variant 'mean'"),
        ({"half_window": -1}, "option half_window of method 'composite' is -1"),
        ({"half_window": "30D"}, "expected a number"),
    ],
)
def test_options_that_are_none_are_refused(options, match):
    request = Request(bands_of(paired_cube()), options=options)
    with pytest.raises(OptionError, match=match):
        plan_method("composite", request)

"""The Whittaker-Henderson smoother."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import solveh_banded

from tamrf_xr.errors import OptionError
from tamrf_xr.fuser import Series
from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.methods.whittaker import Whittaker, smooth, solve_pentadiagonal
from tests.fuser_tests import FuserTests, bands_of, paired_cube

ASKED = np.array([-10.0, 0, 13, 30, 59, 75])
"""Before, between and after the days of `drawn`."""

SPAN = np.arange(-10, 76)


class TestWhittaker(FuserTests):
    method = "whittaker"


def drawn(seed, *, dates=12, pixels=20, clear=0.6):
    """Series of two bands over 60 days, two of one day; (values, usable, days)."""
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice(60, dates, replace=False)).astype(float)
    days[5] = days[4]
    usable = rng.random((dates, pixels)) < clear
    return np.where(usable[:, None], rng.random((dates, 2, pixels)), 0.0), usable, days


def daily(values, usable, days):
    """Weights (day) and weighted sums (day, band) of one pixel, on every day of `SPAN`."""
    weights, sums = np.zeros(len(SPAN)), np.zeros((len(SPAN), values.shape[1]))
    np.add.at(weights, days.astype(int) - SPAN[0], usable)
    np.add.at(sums, days.astype(int) - SPAN[0], values)
    return weights, sums


@given(seed=st.integers(0, 99), penalty=st.sampled_from([0.01, 1.0, 1e2, 1e4]))
def test_equals_a_dense_solve_over_all_days(seed, penalty):
    values, usable, days = drawn(seed)
    made = smooth(values, usable, days=days, query_days=ASKED, penalty=penalty)
    second = np.diff(np.eye(len(SPAN)), 2, axis=0)
    compared = 0
    for pixel in range(usable.shape[1]):
        weights, sums = daily(values[..., pixel], usable[:, pixel], days)
        if np.count_nonzero(weights) < 2:
            continue
        dense = np.linalg.solve(np.diag(weights) + penalty * second.T @ second, sums)
        expected = dense[(ASKED - SPAN[0]).astype(int)]
        np.testing.assert_allclose(made[..., pixel], expected, atol=1e-7)
        compared += 1
    assert compared > 5


@given(seed=st.integers(0, 99))
def test_a_small_lambda_interpolates_the_means_of_days(seed):
    values, usable, days = drawn(seed)
    made = smooth(values, usable, days=days, query_days=days, penalty=1e-9)
    for pixel in range(usable.shape[1]):
        weights, sums = daily(values[..., pixel], usable[:, pixel], days)
        seen = weights > 0
        means = sums[seen] / weights[seen, None]
        at = np.searchsorted(days, SPAN[seen])
        np.testing.assert_allclose(made[at, :, pixel], means, atol=1e-6)


@given(seed=st.integers(0, 99))
def test_a_large_lambda_gives_the_weighted_straight_line(seed):
    values, usable, days = drawn(seed)
    made = smooth(values, usable, days=days, query_days=ASKED, penalty=1e14)
    for pixel in np.flatnonzero(usable.sum(axis=0) >= 4):
        seen = usable[:, pixel]
        for band in range(2):
            line = np.polyfit(days[seen], values[seen, band, pixel], 1)
            np.testing.assert_allclose(made[:, band, pixel], np.polyval(line, ASKED), atol=1e-6)


def test_of_one_day_its_mean_and_of_none_nan():
    values, usable, days = drawn(0, pixels=3)
    usable[:] = False
    usable[4:6, 0] = usable[7, 1] = True
    values = np.where(usable[:, None], 1.0 + np.arange(12)[:, None, None], 0.0)
    made = smooth(np.repeat(values, 2, 1), usable, days=days, query_days=ASKED, penalty=1.0)
    np.testing.assert_allclose(made[..., 0], 5.5)
    np.testing.assert_allclose(made[..., 1], 8.0)
    assert np.isnan(made[..., 2]).all()


@pytest.mark.parametrize("dates", [1, 2])
def test_series_of_one_or_two_dates(dates):
    pixels = np.arange(1.0, dates + 1, dtype=np.float32)[:, None, None, None]
    series = Series(pixels, np.ones((dates, 1, 1), bool), ("B04",))
    fuser = Whittaker({"sentinel2": ("B04",)}, penalty=1e4)
    asked = np.array([0.0, 5, 20])
    made = fuser.answer(series, np.arange(dates) * 10.0, asked, bands=["B04"])
    np.testing.assert_allclose(made.ravel(), 1 + (dates - 1) * asked / 10, rtol=1e-6)


def test_solves_as_scipy_does():
    rng = np.random.default_rng(0)
    rows, pixels = 9, 4
    diagonals = [rng.random((rows, pixels)) + 4, *rng.random((2, rows, pixels))]
    for step in (1, 2):
        diagonals[step][-step:] = 0
    right = rng.random((rows, 3, pixels))
    made = solve_pentadiagonal(diagonals, right)
    for pixel in range(pixels):
        banded = np.stack([part[:, pixel] for part in diagonals])
        expected = solveh_banded(banded, right[..., pixel], lower=True)
        np.testing.assert_allclose(made[..., pixel], expected, rtol=1e-10)


@pytest.mark.parametrize("value", [-1, "much", True, float("nan"), float("inf"), None])
def test_a_lambda_that_is_none_is_refused(value):
    request = Request(bands_of(paired_cube()), options={"lambda": value})
    with pytest.raises(OptionError, match="option lambda of method 'whittaker'"):
        plan_method("whittaker", request)

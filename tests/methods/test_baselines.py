"""Composites, Whittaker and harmonic regression, against computations written another way."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamrf_xr.errors import OptionError
from tamrf_xr.fuser import Series
from tamrf_xr.methods.composite import Composite
from tamrf_xr.methods.harmonic import YEAR, Harmonic
from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.methods.whittaker import build
from tests.fuser_tests import FuserTests, bands_of, paired_cube

BANDS = ("B02", "B04", "B08")


class TestComposite(FuserTests):
    method = "composite"


class TestMedoid(FuserTests):
    method = "composite"
    options = (("variant", "medoid"),)


class TestWhittaker(FuserTests):
    method = "whittaker"


class TestHarmonic(FuserTests):
    method = "harmonic"


def series(dates: int, *, seed: int = 0, clear: float = 0.6, shape=(3, 4)) -> Series:
    rng = np.random.default_rng(seed)
    pixels = rng.random((dates, len(BANDS), *shape), dtype=np.float32)
    return Series(pixels, rng.random((dates, *shape)) < clear, BANDS)


def masked(seen: Series) -> np.ndarray:
    """Float64, NaN where not usable."""
    return np.where(seen.valid[:, None], seen.pixels, np.nan).astype(np.float64)


def composite(variant: str, half_window: float) -> Composite:
    return Composite({"sentinel2": BANDS}, variant=variant, half_window=half_window)


def test_median_is_that_of_numpy_within_the_window():
    seen, days = series(9), np.array([0, 3, 3, 10, 20, 31, 40, 55, 70])
    made = composite("median", 15.0).answer(seen, days, np.array([10, 200]), bands=BANDS[::-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of pixels without any
        expected = np.nanmedian(masked(seen)[:5, ::-1], axis=0)
    np.testing.assert_allclose(made[0], expected, rtol=1e-6)
    assert np.isnan(made[1]).all()


def test_the_medoid_is_the_observed_spectrum_nearest_to_all():
    seen, days = series(8), np.arange(8)
    made = composite("medoid", 100.0).answer(seen, days, np.array([3]), bands=BANDS)[0]
    for y, x in np.ndindex(made.shape[1:]):
        spectra = masked(seen)[seen.valid[:, y, x], :, y, x]
        if not len(spectra):
            assert np.isnan(made[:, y, x]).all()
            continue
        sums = [np.linalg.norm(spectra - one, axis=1).sum() for one in spectra]
        np.testing.assert_array_equal(made[:, y, x], spectra[int(np.argmin(sums))])
    alone = composite("medoid", 100.0).answer(seen, days, np.array([3]), bands=["B04"])[0]
    np.testing.assert_array_equal(alone[0], made[1])


def dense(values: np.ndarray, days: np.ndarray, asked: np.ndarray, penalty: float) -> np.ndarray:
    """Whittaker on every day from the first to the last, observed or asked, of one series."""
    first, last = min(days.min(), asked.min()), max(days.max(), asked.max())
    weight, total = np.zeros(last - first + 1), np.zeros(last - first + 1)
    for value, day in zip(values, days, strict=True):
        if np.isfinite(value):
            weight[day - first] += 1
            total[day - first] += value
    bend = np.diff(np.eye(len(weight)), 2, axis=0)
    found = np.linalg.lstsq(np.diag(weight) + penalty * bend.T @ bend, total, rcond=None)[0]
    return found[asked - first]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    days=st.lists(st.integers(0, 60), min_size=3, max_size=9).map(sorted),
    penalty=st.sampled_from([0.01, 1.0, 30.0, 1000.0]),
)
def test_whittaker_is_what_the_system_of_all_days_gives(seed, days, penalty):
    """Days without images, several images of a day, days asked before and after all."""
    seen, at = series(len(days), seed=seed, shape=(2, 2)), np.array(days)
    asked = np.array([-7, 0, 13, 30, 31, 66])
    made = build({"sentinel2": BANDS}, **{"lambda": penalty}).answer(seen, at, asked, bands=BANDS)
    values = masked(seen)
    for band, y, x in np.ndindex(values.shape[1:]):
        one = values[:, band, y, x]
        distinct = len(set(at[np.isfinite(one)]))
        if distinct >= 2:
            expected = dense(one, at, asked, penalty)
            np.testing.assert_allclose(made[:, band, y, x], expected, atol=2e-5)
        elif distinct == 1:
            np.testing.assert_allclose(made[:, band, y, x], np.nanmean(one), rtol=1e-6)
        else:
            assert np.isnan(made[:, band, y, x]).all()


def test_whittaker_goes_from_the_observations_to_the_straight_line():
    seen, days = series(8, clear=1.0), np.array([0, 5, 11, 12, 30, 44, 51, 60])

    def made(penalty: float) -> np.ndarray:
        fuser = build({"sentinel2": BANDS}, **{"lambda": penalty})
        return fuser.answer(seen, days, days, bands=BANDS)

    np.testing.assert_allclose(made(0.0), seen.pixels, atol=1e-6)
    flat = seen.pixels.reshape(8, -1).astype(np.float64)
    slope, start = np.polyfit(days, flat, 1)
    line = (start + slope * days[:, None]).reshape(seen.pixels.shape)
    np.testing.assert_allclose(made(1e12), line, atol=1e-5)


def harmonic(**options: float) -> Harmonic:
    given = {"harmonics": 3, "ridge": 0.0, "days_each": 3.0} | options
    return Harmonic({"sentinel2": BANDS}, **given)


def test_a_harmonic_signal_is_found_whatever_is_masked():
    days = np.arange(0, 730, 9)
    asked = np.array([-40, 100, 365, 801])

    def truth(at: np.ndarray) -> np.ndarray:
        turn = 2 * np.pi * at / YEAR
        waves = 0.1 * np.cos(turn) + 0.05 * np.sin(2 * turn) - 0.02 * np.sin(3 * turn)
        return (0.3 + 1e-4 * at + waves)[:, None, None, None]

    seen = series(len(days), clear=0.5)
    signal = np.broadcast_to(truth(days), seen.pixels.shape)
    pixels = np.where(seen.valid[:, None], signal, 9.0).astype(np.float32)
    made = harmonic().answer(Series(pixels, seen.valid, BANDS), days, asked, bands=BANDS)
    np.testing.assert_allclose(made, np.broadcast_to(truth(asked), made.shape), atol=2e-6)


@pytest.mark.parametrize(("valid", "columns"), [(0, 0), (1, 1), (5, 1), (6, 2), (12, 4), (30, 8)])
def test_fewer_valid_days_give_fewer_coefficients(valid, columns):
    days = np.arange(0, 360, 12)
    seen = series(len(days), clear=1.0, shape=(1, 1))
    usable = np.zeros_like(seen.valid)
    usable[np.linspace(0, len(days) - 1, valid).astype(int)] = True
    made = harmonic().answer(Series(seen.pixels, usable, BANDS), days, days, bands=BANDS)
    if not columns:
        assert np.isnan(made).all()
        return
    at = (days - days.mean()) / YEAR
    model = [np.ones_like(at), at]
    for order in (1, 2, 3):
        model += [np.cos(2 * np.pi * order * at), np.sin(2 * np.pi * order * at)]
    used = np.stack(model[:columns], axis=1)
    here = usable[:, 0, 0]
    for band in range(len(BANDS)):
        found = np.linalg.lstsq(used[here], seen.pixels[here, band, 0, 0], rcond=None)[0]
        np.testing.assert_allclose(made[:, band, 0, 0], used @ found, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("composite", {"variant": "mean"}, "median"),
        ("composite", {"half_window": -1}, "half_window.*at least 0"),
        ("whittaker", {"lambda": "much"}, "lambda.*'much'"),
        ("whittaker", {"lambda": float("nan")}, "lambda.*nan"),
        ("harmonic", {"harmonics": 1.5}, "whole number"),
        ("harmonic", {"days_each": 0.5}, "days_each.*at least 1"),
        ("harmonic", {"order": 3}, "no option order"),
    ],
)
def test_options_that_make_no_sense_are_refused(method, options, says):
    with pytest.raises(OptionError, match=says):
        plan_method(method, Request(bands_of(paired_cube()), options=options))

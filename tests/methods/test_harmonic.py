"""Harmonic regression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.errors import OptionError
from tamrf_xr.fuser import Series
from tamrf_xr.methods.harmonic import YEAR, Harmonic
from tamrf_xr.methods.registry import Request, plan_method
from tests.fuser_tests import FuserTests, bands_of, paired_cube

DAYS = np.arange(0.0, 365, 5)
ASKED = np.array([-30.0, 2, 100, 181.5, 364, 400])
BANDS = ("B04", "B08")


class TestHarmonic(FuserTests):
    method = "harmonic"


class TestHarmonicOfManyDates(FuserTests):
    """Enough dates for every harmonic."""

    method = "harmonic"

    def cube(self, shape=(36, 45), **changes):
        days = {"sentinel2": tuple(range(0, 300, 6)), "landsat": tuple(range(5, 300, 8))}
        gone = changes.pop("days", days)
        return paired_cube(shape, days={n: d for n, d in days.items() if n in gone}, **changes)

    def test_a_sensor_without_acquisitions_in_the_window_works_or_says_so(self):
        """Its dates are those of the other class, which holds it."""


def fuse(series, *, days=DAYS, harmonics=3, ridge=0.0, days_each=3.0):
    fuser = Harmonic({"sentinel2": BANDS}, harmonics=harmonics, ridge=ridge, days_each=days_each)
    return fuser.answer(series, days, ASKED, bands=BANDS)


def signal(days, harmonics, seed):
    """Constant, trend and harmonics of 2 x 3 pixels, two bands (day, band, y, x)."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.asarray(days)[:, None, None, None] / YEAR
    made = 0.3 + rng.random((1, 2, 2, 3)) * angle / 50
    for order in range(1, harmonics + 1):
        for wave in (np.cos, np.sin):
            made = made + 0.1 * rng.standard_normal((1, 2, 2, 3)) * wave(order * angle)
    return made


def series_of(pixels, valid) -> Series:
    return Series(pixels.astype(np.float32), valid, BANDS)


@given(harmonics=st.integers(0, 3), seed=st.integers(0, 99))
def test_recovers_an_exact_signal_from_its_valid_dates(harmonics, seed):
    valid = np.random.default_rng(seed).random((len(DAYS), 2, 3)) < 0.6
    clouded = np.where(valid[:, None], signal(DAYS, harmonics, seed), 9.0)
    made = fuse(series_of(clouded, valid))
    np.testing.assert_allclose(made, signal(ASKED, harmonics, seed), atol=2e-5)


@pytest.mark.parametrize(("count", "harmonics"), [(24, 3), (23, 2), (18, 2), (17, 1), (12, 1)])
def test_as_many_harmonics_as_valid_days_allow(count, harmonics):
    """What it gives is the fit of that many harmonics, and not that of one more."""
    rng = np.random.default_rng(count)
    pixels = rng.random((len(DAYS), 2, 1, 1))
    valid = np.zeros((len(DAYS), 1, 1), bool)
    valid[:: len(DAYS) // count][:count] = True
    given = series_of(pixels, valid)
    made = fuse(given)
    np.testing.assert_array_equal(made, fuse(given, harmonics=harmonics, days_each=1.0))
    assert np.abs(made - fuse(given, harmonics=harmonics + 1, days_each=1.0)).max() > 1e-3


def test_few_days_give_the_mean_and_none_nan():
    pixels = np.random.default_rng(0).random((len(DAYS), 2, 1, 3))
    valid = np.zeros((len(DAYS), 1, 3), bool)
    valid[:5, 0, 0] = valid[7, 0, 1] = True
    made = fuse(series_of(pixels, valid))
    for position in range(len(ASKED)):
        np.testing.assert_allclose(made[position, :, 0, 0], pixels[:5, :, 0, 0].mean(0), rtol=1e-6)
        np.testing.assert_allclose(made[position, :, 0, 1], pixels[7, :, 0, 1], rtol=1e-6)
    assert np.isnan(made[..., 2]).all()


def test_acquisitions_of_one_day_count_as_one_day():
    days = np.repeat(DAYS[:2], 20)
    pixels = np.random.default_rng(0).random((40, 2, 1, 1))
    made = fuse(series_of(pixels, np.ones((40, 1, 1), bool)), days=days)
    expected = np.broadcast_to(pixels.mean(0), made.shape)
    np.testing.assert_allclose(made, expected, rtol=1e-5)


def test_a_ridge_is_that_of_the_normal_equations():
    pixels = np.random.default_rng(0).random((len(DAYS), 2, 1, 1))
    made = fuse(series_of(pixels, np.ones((len(DAYS), 1, 1), bool)), harmonics=1, ridge=5.0)
    seen, asked = (
        np.stack([d**0, d / YEAR, np.cos(2 * np.pi * d / YEAR), np.sin(2 * np.pi * d / YEAR)], 1)
        for d in (DAYS, ASKED)
    )
    extra = np.sqrt(5.0) * np.eye(4)[1:]
    values = np.concatenate([pixels[..., 0, 0].astype(np.float32), np.zeros((3, 2))])
    found = np.linalg.lstsq(np.concatenate([seen, extra]), values, rcond=None)[0]
    np.testing.assert_allclose(made[..., 0, 0], asked @ found, rtol=1e-5)


@pytest.mark.parametrize("options", [{"harmonics": 1.5}, {"ridge": -1}, {"days_each": 0.5}])
def test_options_that_are_none_are_refused(options):
    request = Request(bands_of(paired_cube()), options=options)
    with pytest.raises(OptionError, match=f"option {next(iter(options))} of method 'harmonic'"):
        plan_method("harmonic", request)

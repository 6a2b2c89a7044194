"""Linear interpolation: the naive method of the published comparison."""

from __future__ import annotations

import numpy as np
import pytest

from tamrf_xr.fuser import Episode, Series
from tamrf_xr.methods.linear import Linear, interpolate
from tamrf_xr.methods.registry import Request, plan_method
from tests.fuser_tests import FuserTests, bands_of, paired_cube, whole_of
from tests.oracle import shared

TOLERANCE = 1e-5


class TestLinear(FuserTests):
    method = "linear"


def oracle_series(images, mask) -> Series:
    names = tuple(str(band) for band in range(images.shape[1]))
    return Series(images.astype(np.float32) / np.float32(1e4), ~mask, names)


MISC = {
    "lr": "in_lr",
    "hr": "in_hr",
    "lr_days": "in_lr_doy",
    "hr_days": "in_hr_doy",
    "lr_mask": "in_lr_mask",
    "hr_mask": "in_hr_mask",
    "asked": "query_doy",
}
EXTENDED = {
    "lr": "lr_data",
    "hr": "hr_data",
    "lr_days": "lr_doy",
    "hr_days": "hr_doy",
    "lr_mask": "lr_mask",
    "hr_mask": "hr_mask",
    "asked": "naive_target_doy",
}


@pytest.mark.parametrize(
    ("file", "names"),
    [("oracle/misc/baselines.npz", MISC), ("oracle/extended/oracle_baselines.npz", EXTENDED)],
)
def test_agrees_with_published(file, names):
    stored = np.load(shared(file))
    of = {key: stored[name] for key, name in names.items()}
    series = {
        "landsat": oracle_series(of["lr"][0], of["lr_mask"][0]),
        "sentinel2": oracle_series(of["hr"][0], of["hr_mask"][0]),
    }
    given = {name: seen.bands for name, seen in series.items()}
    days = {"landsat": of["lr_days"].ravel(), "sentinel2": of["hr_days"].ravel()}
    asked = of["asked"].ravel()
    episode = Episode(
        {n: tuple(range(len(d))) for n, d in days.items()},
        {n: tuple(map(float, d)) for n, d in days.items()},
        tuple(range(len(asked))),
        tuple(map(float, asked)),
    )
    made = Linear(given)(series, [episode], whole_of(series))
    np.testing.assert_allclose(made["landsat"], stored["naive_lr"][0], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(made["sentinel2"], stored["naive_hr"][0], atol=TOLERANCE, rtol=0)


def test_naive_is_another_name_of_linear():
    request = Request(bands_of(paired_cube()))
    assert plan_method("naive", request) == plan_method("linear", request)


def test_nearest_valid_date_beyond_the_ends_and_on_a_masked_date_its_neighbours():
    pixels = np.array([1.0, 50.0, 3.0, 7.0], np.float32)[:, None, None, None]
    valid = np.array([True, False, True, True])[:, None, None]
    made = interpolate(
        Series(pixels, valid, ("B04",)),
        np.array([0.0, 4, 10, 20]),
        np.array([-5.0, 0, 4, 10, 15, 99]),
    )
    np.testing.assert_allclose(made.ravel(), [1, 1, 1.8, 3, 5, 7], rtol=1e-6)


def test_a_pixel_missing_in_one_band_is_missing_there_alone():
    pixels = np.array([[1.0, 1.0], [np.nan, 2.0], [3.0, 9.0]], np.float32)[..., None, None]
    series = Series(pixels, np.ones((3, 1, 1), bool), ("B04", "B08"))
    made = interpolate(series, np.array([0.0, 1, 2]), np.array([1.0]))
    np.testing.assert_allclose(made.ravel(), [2, 2])

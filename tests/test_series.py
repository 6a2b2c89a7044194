"""What a sensor saw: bands by name, and nothing copied that need not be."""

from __future__ import annotations

import numpy as np
import pytest

from tamrf_xr.fuser import Series
from tamrf_xr.sensors import SENTINEL2

BANDS = SENTINEL2.band_names


@pytest.fixture
def series() -> Series:
    pixels = np.arange(3 * 10 * 4, dtype=np.float32).reshape(3, 10, 2, 2)
    pixels[1, 2, 0, 0] = np.nan
    valid = np.ones((3, 2, 2), bool)
    valid[1, 1, 1] = False
    return Series(pixels, valid, BANDS, panchromatic=np.zeros((3, 4, 4), np.float32))


def test_all_bands_in_order_are_the_object_itself(series):
    assert series.select(list(BANDS)) is series
    scene = series.scene(1)
    assert scene.select(BANDS) is scene


@pytest.mark.parametrize("bands", [BANDS[:3], BANDS[6:8], ("B8A",)])
def test_bands_that_follow_one_another_are_views(series, bands):
    for taken in (series.select(bands), series.scene(1).select(bands)):
        assert np.shares_memory(taken.pixels, series.pixels)
        assert taken.bands == bands


@pytest.mark.parametrize("bands", [("B04", "B03", "B02", "B08"), ("B02", "B12"), BANDS[:3]])
def test_bands_come_by_name_in_the_order_asked(series, bands):
    places = [BANDS.index(band) for band in bands]
    np.testing.assert_array_equal(series.select(bands).pixels, series.pixels[:, places])
    np.testing.assert_array_equal(series.scene(2).select(bands).pixels, series.pixels[2, places])
    again = series.select(bands).select(bands[::-1])
    np.testing.assert_array_equal(again.pixels, series.pixels[:, places[::-1]])


def test_acquisitions_are_views_and_keep_their_bands(series):
    assert np.shares_memory(series.at([1, 2]).pixels, series.pixels)
    assert series.at([2, 0]).bands == series.scene(0).bands == BANDS
    assert np.shares_memory(series.scene(0).panchromatic, series.panchromatic)


def test_a_pixel_is_known_where_it_is_valid_and_every_band_is_there(series):
    assert series.scene(1).known.tolist() == [[False, True], [True, False]]
    assert series.scene(1).select(("B02",)).known.tolist() == [[True, True], [True, False]]

"""COGs: where they lie, what their bands are called, overviews that invent nothing."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from tamrf_xr.export.cog import Layer, Sheet, put_cog, write_cog
from tests.scenes import grid


@settings(max_examples=5)
@given(low=st.floats(0, 0.1), high=st.floats(0.2, 1), shift=st.integers(0, 31))
def test_overviews_stay_within_the_values(tmp_path_factory, low, high, shift):
    path = tmp_path_factory.mktemp("cog") / "step.tif"
    rows, cols = np.indices((1040, 1040))
    water = ((rows + shift) // 32 + cols // 32) % 2 == 0
    step = np.where(water, low, high).astype(np.float32)[None]
    write_cog(step, ["B08"], grid((1040, 1040)), path)
    with rasterio.open(path) as file:
        assert file.overviews(1)
        assert file.descriptions == ("B08",)
        for factor in file.overviews(1):
            seen = file.read(1, out_shape=(1040 // factor, 1040 // factor))
            assert seen.min() >= step.min() - 1e-6
            assert seen.max() <= step.max() + 1e-6


@pytest.mark.parametrize("missing", [0.3, 1.0])
def test_overviews_of_no_data_are_no_data_or_the_rest(tmp_path, missing):
    rng = np.random.default_rng(0)
    pixels = np.where(rng.random((1, 1040, 1040)) < missing, np.nan, 0.25).astype(np.float32)
    write_cog(pixels, ["B08"], grid((1040, 1040)), tmp_path / "c.tif")
    with rasterio.open(tmp_path / "c.tif") as file:
        seen = file.read(1, out_shape=(520, 520))
    np.testing.assert_allclose(seen[np.isfinite(seen)], 0.25)
    assert np.isfinite(seen).any() == (missing < 1)


def test_each_overview_is_the_mean_of_what_is_valid_of_the_one_before(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 10_000, (1, 1040, 1040)).astype(np.int16)
    pixels[rng.random(pixels.shape) < 0.4] = -32768
    sheet = Sheet(grid((1040, 1040)), (Layer("B08"),), "int16", -32768)
    strips = [(first, pixels[:, first : first + 300]) for first in range(0, 1040, 300)]
    put_cog(sheet, strips, tmp_path / "c.tif", overwrite=False)
    before = np.ma.masked_equal(pixels[0], -32768).astype(float)
    for level in (0, 1):
        with rasterio.open(tmp_path / "c.tif", overview_level=level) as file:
            seen = file.read(1, masked=True).astype(float)
        half = before.shape[0] // 2
        expected = before.reshape(half, 2, half, 2).mean(axis=(1, 3))
        np.testing.assert_array_equal(np.ma.getmaskarray(seen), np.ma.getmaskarray(expected))
        assert np.abs(seen - expected).max() <= 0.5 + 1e-9
        before = seen

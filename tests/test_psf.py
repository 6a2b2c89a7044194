"""Kernels, blur and resampling against the published values and their own general paths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamrf_xr import psf
from tests.oracle import shared

HR_MTF = [1, 1, 1, 0.3, 0.3, 0.3, 1, 0.3, 0.3, 0.3]
HR_GSD = [10, 10, 10, 20, 20, 20, 10, 20, 20, 20]
LR_MTF, LR_GSD = [0.3] * 7 + [0.2], [30] * 7 + [90]


def load(relative):
    return np.load(shared(relative))


def kernels(mtfs, gsds):
    reach = psf.half_width(gsds)
    return np.stack([psf.kernel(m, g, reach=reach) for m, g in zip(mtfs, gsds, strict=True)])


def test_kernels_agree_with_published():
    oracle, more = load("oracle/misc/mtf.npz"), load("oracle/extended/oracle_losses.npz")
    for values in (oracle, more):
        np.testing.assert_allclose(kernels(HR_MTF, HR_GSD), values["psf_hr"], atol=1e-7)
        np.testing.assert_allclose(kernels(LR_MTF, LR_GSD), values["psf_lr"], atol=1e-7)
    unit = psf.kernel(0.4, 1, 1)
    np.testing.assert_allclose(unit, oracle["psf_unit_mtf0p4"][0], atol=1e-7)
    np.testing.assert_allclose(unit, more["psf_sen2like_0.4"][0], atol=1e-7)
    np.testing.assert_allclose(psf.kernel(0.3, 1, 1), more["psf_hpf_0.3"][0], atol=1e-7)
    wide = more["psf_generic_f3_mtf0.1_hkw3"][0]
    np.testing.assert_allclose(psf.kernel(0.1, 3, 1, reach=3), wide, atol=1e-7)


def test_blur_and_downsampling_agree_with_published():
    oracle = load("oracle/misc/mtf.npz")
    blurred = psf.blur(oracle["mtf_in"], LR_MTF, LR_GSD)
    np.testing.assert_allclose(blurred, oracle["mtf_out_x1"], atol=1e-5)
    np.testing.assert_allclose(psf.downsample(blurred), oracle["mtf_out_x3"], atol=1e-5)
    np.testing.assert_allclose(psf.upsample(oracle["mtf_in"]), oracle["bicubic_up_x3"], atol=1e-5)
    generic = psf.downsample(psf.blur(oracle["mtf_in"], [0.3] * 8, [3] * 8, sampling=1))
    np.testing.assert_allclose(generic[0], oracle["generic_downscale_x3_mtf0p3"], atol=1e-5)


def test_non_square_images_agree_with_published():
    oracle = load("oracle/extended/oracle_losses.npz")
    images = oracle["ds_in"]
    coarse = psf.downsample(psf.blur(images, LR_MTF, LR_GSD))
    np.testing.assert_allclose(coarse, oracle["ds_lr_out"], atol=1e-5)
    fine = psf.blur(images, HR_MTF[:8], HR_GSD[:8])
    np.testing.assert_allclose(fine, oracle["ds_hr_factor1_out"], atol=1e-5)
    np.testing.assert_allclose(psf.downsample(images), oracle["ds_plain3"], atol=1e-5)
    corner = psf.upsample(images[..., :16, :19])
    np.testing.assert_allclose(corner, oracle["us_plain3"], atol=1e-5)
    np.testing.assert_allclose(psf.highpass(images, 0.3), oracle["hpf_out"], atol=1e-5)
    generic = psf.downsample(psf.blur(images, [0.1] * 8, [3] * 8, sampling=1))
    np.testing.assert_allclose(generic[0], oracle["generic_downscale_f3"], atol=1e-5)


@pytest.mark.parametrize(
    ("file", "fine", "coarse"),
    [
        ("oracle/small/forward.npz", "both_out", "both_downscaled_out"),
        ("oracle/full/forward.npz", "both_out", "both_downscaled_out"),
        ("oracle/extended/oracle_forward.npz", "both", "down"),
    ],
)
def test_degraded_predictions_agree_with_published(file, fine, coarse):
    oracle = load(file)
    lr = psf.downsample(psf.blur(oracle[f"{fine}_lr"], LR_MTF, LR_GSD))
    np.testing.assert_allclose(lr, oracle[f"{coarse}_lr"], atol=1e-5)
    hr = psf.blur(oracle[f"{fine}_hr"], HR_MTF, HR_GSD)
    np.testing.assert_allclose(hr, oracle[f"{coarse}_hr"], atol=1e-5)


@given(factor=st.sampled_from([1, 3, 5]), rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_fast_path_equals_general_path(factor, rows, columns):
    size = (2, rows * factor, columns * factor)
    images = np.random.default_rng(0).normal(size=size)
    general = psf._resample(images, float(factor))
    np.testing.assert_allclose(psf.downsample(images, factor), general, atol=1e-12)


def test_separable_blur_equals_the_kernel():
    image = np.random.default_rng(1).normal(size=(1, 9, 11))
    weights = psf.kernel(0.3, 20)
    padded = np.pad(image[0], 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    whole = (windows * weights).sum((-1, -2))
    np.testing.assert_allclose(psf.blur(image, [0.3], [20])[0], whole, atol=1e-12)


@settings(max_examples=20)
@given(value=st.floats(-1, 1), factor=st.integers(1, 4))
def test_constants_stay_constant(value, factor):
    image = np.full((1, 8, 12), value)
    np.testing.assert_allclose(psf.upsample(image, factor), value, atol=1e-12)
    np.testing.assert_allclose(psf.downsample(image, factor), value, atol=1e-12)
    np.testing.assert_allclose(psf.blur(image, [0.2], [90]), value, atol=1e-12)


def test_inputs_are_untouched_and_results_are_new():
    image = np.random.default_rng(2).normal(size=(2, 6, 6)).astype(np.float32)
    before = image.copy()
    for result in (
        psf.blur(image, [1, 1], [10, 10]),
        psf.downsample(image),
        psf.upsample(image),
        psf.highpass(image, 1.0),
    ):
        assert not np.shares_memory(result, image)
        assert result.dtype == np.float32
        result[:] = 7
    np.testing.assert_array_equal(image, before)


def test_nan_reaches_no_further_than_the_kernel():
    image = np.zeros((1, 21, 21))
    image[0, 10, 10] = np.nan
    assert np.isnan(psf.blur(image, [0.3], [20])).sum() == 25
    assert np.isnan(psf.downsample(image)).sum() == 1


def test_integers_become_floats():
    assert psf.downsample(np.arange(36).reshape(6, 6)).dtype == np.float64


@pytest.mark.parametrize("mtf", [0, -1, 1.5, float("nan")])
def test_impossible_mtf_is_refused(mtf):
    with pytest.raises(ValueError, match=r"mtf is .* above 0 and at most 1"):
        psf.kernel(mtf, 10)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="gsd is 0"):
        psf.sigma(0.3, 0)
    with pytest.raises(ValueError, match="2 bands, but 1 MTF values and 2 resolutions"):
        psf.blur(np.zeros((2, 4, 4)), [0.3], [10, 10])
    with pytest.raises(ValueError, match="factor is 0"):
        psf.upsample(np.zeros((4, 4)), 0)

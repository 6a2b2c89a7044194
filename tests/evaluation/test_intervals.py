"""Errors that products tell of themselves: scored as defined, in tables, summary and figure."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import laplace

from tamrf_xr import metrics
from tamrf_xr.cli import main
from tamrf_xr.errors import ModelError
from tamrf_xr.evaluation import evaluate
from tamrf_xr.evaluation.intervals import INTERVALS, Told, score_errors
from tamrf_xr.evaluation.score import Scoring
from tamrf_xr.evaluation.summary import blocks
from tamrf_xr.model.checkpoint import save_model
from tamrf_xr.store import save_cube
from tests.scenes import random_cube
from tests.test_uncertainty import network


@pytest.mark.parametrize(("error", "deviation"), [(0.0, 1.0), (0.7, 0.3), (2.0, 5.0)])
def test_crps_is_the_integral_that_defines_it(error, deviation):
    scale = deviation / 2**0.5

    def squared(x):
        return (laplace.cdf(x, scale=scale) - (x >= error)) ** 2

    ends = [(-60 * scale, 0), (0, error), (error, error + 60 * scale)]
    expected = sum(quad(squared, *pair)[0] for pair in ends)
    found = metrics.laplace_crps(np.array([error]), np.array([deviation]))
    assert found == pytest.approx(expected, abs=1e-7)


def test_errors_drawn_as_told_lie_within_as_told():
    """Of Laplace's distribution; a coarse pixel is held against the deviation in its middle."""
    rng = np.random.default_rng(0)
    fine = rng.uniform(0.01, 0.1, (2, 306, 306)).astype(np.float32)
    sigma = fine[:, 1::3, 1::3]
    fine[:, ::3] = np.nan  # never looked at
    truth = rng.uniform(size=(2, 102, 102))
    near = truth + rng.laplace(scale=sigma / 2**0.5)
    half = {share: np.full(2, laplace.ppf(0.5 + share / 200) / 2**0.5) for share in (50, 80, 95)}
    usable, inside = rng.random((102, 102)) < 0.9, np.s_[..., 1:-1, 1:-1]
    told = Told(fine, half)
    found = score_errors(near[inside], truth[inside], usable[inside], told, margin=1)
    for share in half:
        np.testing.assert_allclose(found[f"within_{share}"], share / 100, atol=0.015)
    kept = sigma[inside][:, usable[inside]].mean(axis=1)
    np.testing.assert_allclose(found["width_80"], 2 * half[80] * kept, rtol=1e-5)
    wrong = Told(3 * fine, half)
    worse = score_errors(near[inside], truth[inside], usable[inside], wrong, margin=1)
    assert (worse["crps"] > found["crps"]).all()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intervals")
    save_cube(random_cube((48, 48), hr=8, lr=5), folder / "scene.zarr")
    save_model(network(), folder / "tells.safetensors")
    save_model(network(told=False), folder / "silent.safetensors")
    return folder


@pytest.fixture(scope="module")
def report(place):
    """A report of the command, and what it printed."""
    words = ["evaluate", place / "scene.zarr", "--task", "gap-filling", "--methods", "naive,tamrf"]
    words += ["--model", place / "tells.safetensors", "--uncertainty", "--margin", 3]
    words += ["--out", place / "report", "--viewer-dates", 0, "--quiet"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([str(word) for word in words]) == 0
    return place / "report", printed.getvalue()


def test_the_command_reports_what_is_told(report):
    folder, printed = report
    table = pd.read_parquet(folder / "gap-filling.parquet")
    told = table["method"] == "tamrf"
    scored = told & table["rmse"].notna()
    assert scored.any()
    assert table.loc[scored, list(INTERVALS)].notna().all(axis=None)
    assert table.loc[~told, list(INTERVALS)].isna().all(axis=None)
    assert table.loc[scored, "within_50"].between(0, 1).all()
    assert "within 80 %" in printed
    assert "<svg" in (folder / "gap-filling" / "reliability-sentinel2.svg").read_text()
    assert "reliability-landsat" in (folder / "gap-filling.html").read_text()


def test_the_best_is_nearest_to_what_is_told(report):
    table = pd.read_parquet(report[0] / "gap-filling.parquet")
    rows = table[table["method"] == "tamrf"].assign(within_80=0.9)
    both = pd.concat([rows, rows.assign(run="other", within_80=0.81)])
    block = next(block for block in blocks(both) if block.metric == "within_80")
    assert block.best.loc["other"].all()
    assert not block.best.drop("other").any(axis=None)


def test_weights_that_tell_nothing_are_refused(place):
    options = {"methods": ["tamrf"], "out": place / "none", "scoring": Scoring(margin=3)}
    options |= {"model": place / "silent.safetensors", "uncertainty": True}
    with pytest.raises(ModelError, match="do not tell how uncertain they are"):
        evaluate(place / "scene.zarr", task="gap-filling", **options)
    assert not (place / "none").exists()

"""The benchmark of quality runs at tiny size, and its ratios are what they say."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from studies import figures, quality, quality_table
from tamrf_xr.cube import build_cube
from tamrf_xr.methods.tamrf import resolve
from tests.oracle import shared
from tests.scenes import random_cube


@pytest.mark.slow
@pytest.mark.real
def test_quality_is_measured_on_real_and_simulated_scenes(tmp_path, monkeypatch):
    shared("real/pair_31UDS")
    monkeypatch.setattr("tamrf_xr.evaluation.report.figures", lambda *tables: ())
    results = tmp_path / "quality.json"
    quality.main(["--tiny", "--out", str(tmp_path), "--results", str(results)])
    told = json.loads(results.read_text())
    assert told["belgium, every third month left out"]["left out"]["naive, sentinel2"]["dates"] == 6
    truth = told["simulated, against the truth"]["naive"]
    assert set(truth) == {"sentinel2", "landsat"}
    for sensor in truth.values():
        assert sensor["rmse to naive, left out"] == 1
        # Naive keeps to clear pixels where masks are right; clouds it was given are hardly there.
        assert sensor["rmse, given, under clouds"] < 0.1
        assert sensor["frr of bicubic (dB)"] < -1


def test_ratios_are_taken_on_dates_that_both_answered():
    rows = pd.DataFrame(
        {
            "method": ["naive", "naive", "x"],
            "run": ["naive", "naive", "x"],
            "date": pd.to_datetime(["2022-01-01", "2022-01-09", "2022-01-09"]),
            "rmse": [0.9, 0.04, 0.03],
        }
    ).assign(cube="a", sensor="sentinel2", band="B04", is_input=False, failed="")
    assert quality._ratios(rows) == {"x, sentinel2": 0.75}


def test_figures_that_are_kept_are_of_the_weights_that_ship():
    told = json.loads(quality_table.KEPT.read_text())
    assert told["network"] == quality_table.network_digest(resolve("default")[2])


def test_pages_quote_results_as_they_are_kept(capsys):
    assert figures.main(["--check"]) == 0, capsys.readouterr().out


def test_a_field_cut_out_of_its_square_is_clear_where_the_field_is():
    cube = random_cube((12, 12), hr=6)
    group = cube["sentinel2"].to_dataset().copy(deep=True)
    group["valid"][:] = True
    group["valid"][:, :, 3:] = False  # never any pixel there
    group["valid"][2] = False
    group["reflectance"][:] = 0.1
    group["reflectance"][4] = 0.3  # a cloud that the mask missed, or snow
    days = quality_table.clear_days(build_cube({"sentinel2": group}))
    assert days.equals(pd.DatetimeIndex(group["time"].values).floor("D")[[0, 1, 3, 5]])

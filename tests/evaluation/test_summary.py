"""What the summary of a table averages, and what it calls the best."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tamrf_xr.evaluation.summary import blocks, common_dates, summary_text


def test_summary_marks_the_best_and_knows_common_dates():
    rows = pd.DataFrame(
        {
            "cube": "a",
            "method": ["x", "x", "y", "y"],
            "run": ["x", "x", "y", "y"],
            "sensor": "sentinel2",
            "band": "B04",
            "date": pd.to_datetime(["2022-01-01", "2022-01-09"] * 2),
            "is_input": False,
            "clear_rate": 1.0,
            "rmse": [0.01, 0.05, 0.02, np.nan],
            "frr": [-3.0, -3.0, 1.0, np.nan],
            "failed": "",
        }
    )
    found = {block.metric: block for block in blocks(rows)}
    assert found["rmse"].values["B04"].to_dict() == {"x": pytest.approx(0.03), "y": 0.02}
    assert found["rmse"].counts["scored"].to_dict() == {"x": 2, "y": 1}
    assert found["rmse"].best["B04"].to_dict() == {"x": False, "y": True}
    assert found["frr"].best["B04"].to_dict() == {"x": False, "y": True}
    shared = {block.metric: block for block in blocks(common_dates(rows))}
    assert shared["rmse"].best["B04"].to_dict() == {"x": True, "y": False}
    assert "*0.0200" in summary_text(rows, style=("*", ""))


def test_the_average_is_over_bands_that_every_run_makes():
    rows = pd.DataFrame(
        {
            "run": ["x", "x", "y", "z", "z"],
            "band": ["B04", "B08", "B04", "B04", "B08"],
            "rmse": [0.02, 0.08, 0.03, np.nan, np.nan],
        }
    ).assign(
        cube="a",
        sensor="sentinel2",
        date=pd.Timestamp("2022-01-01"),
        is_input=False,
        clear_rate=1.0,
        failed="",
    )
    (block,) = blocks(rows)
    assert block.values["average"].to_dict() == {
        "x": 0.02,
        "y": 0.03,
        "z": pytest.approx(np.nan, nan_ok=True),
    }
    assert block.best["average"].to_dict() == {"x": True, "y": False, "z": False}
    assert set(common_dates(rows)["band"]) == {"B04"}

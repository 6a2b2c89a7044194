"""The protocols of the paper, and the command that runs them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from tamrf_xr import save_cube
from tamrf_xr.cli import main
from tamrf_xr.evaluation import TASKS
from tamrf_xr.evaluation.tasks import Run
from tests.scenes import random_cube

NAIVE = "naive"


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """Leave out the figures, which take most of a small evaluation; test_report draws them."""
    monkeypatch.setattr("tamrf_xr.evaluation.report.figures", lambda *tables: ())


def test_tasks_ask_of_each_method_what_the_paper_asks():
    runs = TASKS["spatio-temporal-fusion"].runs(
        ("stair", "tamrf", "naive"), strategy=None, compensate=False
    )
    assert [run.slug for run in runs] == [
        "stair-ALL2CONJHR",
        "tamrf-CONJLR2HR",
        "tamrf-HRNOCONJ2HR",
        "tamrf-LRuHRNOCONJ2HR",
        "naive-HRNOCONJ2HR",
    ]
    thermal = TASKS["thermal-sharpening"].runs(("dms",), strategy=None, compensate=False)
    assert thermal == (Run("dms", "ALL"), Run("dms", "ALL", compensated=True))


def test_settings_of_a_task_can_be_replaced():
    assert replace(TASKS["gap-filling"].settings, gap_days=60).gap_days == 60


def test_the_command_evaluates_and_tells(tmp_path, capsys):
    save_cube(random_cube((24, 27), hr=8, lr=6), tmp_path / "scene.zarr")
    words = ["evaluate", str(tmp_path / "scene.zarr"), "--out", str(tmp_path / "out"), "--quiet"]
    options = ["--methods", NAIVE, "--margin", "2", "--metrics", "rmse,sam", "--viewer-dates", "2"]
    assert main([*words, "--task", "gap-filling", "--gap-days", "20", *options]) == 0
    told = capsys.readouterr().out
    assert "Sentinel-2, masked dates (left out)" in told
    assert "gap-filling.html" in told
    table = pd.read_parquet(tmp_path / "out/gap-filling.parquet")
    assert "frr" not in table
    chosen = ["--methods", "naive,sen2like", "--option", "sen2like.variant=composite"]
    assert main([*words, "--task", "gap-filling", *options, *chosen]) == 0
    assert "sen2like" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*words, "--task", "gap-filling", *options, "--option", "variant=composite"])
    assert "'variant=composite' is not METHOD.NAME=VALUE" in capsys.readouterr().err
    assert main([*words, "--task", "nonsense", *options]) == 1
    assert "no task 'nonsense'; those that exist" in capsys.readouterr().err
    asked = ["--strategy", "CUSTOM", "--dates", "2022-01-14", "2022-01-25", "--withhold"]
    assert main([*words, "--task", "gap-filling", *asked, *options]) == 0
    table = pd.read_parquet(tmp_path / "out/gap-filling.parquet")
    assert set(table["date"]) == {pd.Timestamp("2022-01-14"), pd.Timestamp("2022-01-25")}
    assert not table["is_input"].any()

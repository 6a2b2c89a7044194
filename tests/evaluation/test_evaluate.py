"""Tasks on small cubes: what is written, what is run again, what fails and lets others go on."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
from functools import partial

import numpy as np
import pandas as pd
import pytest
import rioxarray

from tamrf_xr import open_cube, save_cube
from tamrf_xr.cube import groups_of
from tamrf_xr.errors import (
    CubeError,
    MethodError,
    ModelError,
    OptionError,
    SourceNotFoundError,
)
from tamrf_xr.evaluation import Scoring, SplitSettings, Task, evaluate
from tamrf_xr.evaluation.acquisitions import brought_near, scene_on
from tamrf_xr.evaluation.summary import summarize, summary_text
from tests.scenes import random_cube

running = importlib.import_module("tamrf_xr.evaluation.running")

NAIVE = "naive"
SCORING = Scoring(margin=2, metrics=("rmse", "nrmse", "sam", "frr"), frr_clear_rate=0.5)
QUICK = {"scoring": SCORING, "progress": False, "viewer_dates": 0}


def cube(seed=0, **sizes):
    return random_cube((24, 27), **({"hr": 8, "lr": 6} | sizes), seed=seed)


def meeting(seed=0):
    """Return a cube whose sensors meet on three days."""
    tree = cube(seed)
    times = tree["landsat"]["time"].values.copy()
    times[1:4] = tree["sentinel2"]["time"].values[1:4]
    tree["landsat"] = tree["landsat"].to_dataset().assign_coords(time=times)
    return tree


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """Leave out the figures, which take most of a small evaluation; test_report draws them."""
    monkeypatch.setattr("tamrf_xr.evaluation.report.figures", lambda *tables: ())


@pytest.fixture
def fused(monkeypatch):
    """Count what is fused: a list of query dates, one entry a call."""
    calls = []
    genuine = running.fuse_lazily

    def counting(job):
        calls.append((job.cube, job.queries, job.spec))
        return genuine(job)

    monkeypatch.setattr(running, "fuse_lazily", counting)
    return calls


def test_gap_filling_asks_every_date_of_both_sensors(tmp_path):
    table = evaluate({"a": cube()}, task="gap-filling", methods=[NAIVE], out=tmp_path, **QUICK)
    assert table.groupby("sensor")["date"].nunique().to_dict() == {"landsat": 6, "sentinel2": 8}
    assert (table["failed"] == "").all()
    assert not table.loc[table["sensor"] == "landsat", "rmse"].isna().any()
    left_out = table[~table["is_input"]]
    assert 0 < left_out["date"].nunique() < 14
    assert (left_out["days_to_closest"] > 0).all()
    for name in ("gap-filling.parquet", "gap-filling.csv", "gap-filling-summary.csv"):
        assert (tmp_path / name).stat().st_size
    again = pd.read_parquet(tmp_path / "gap-filling.parquet")
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert not list(tmp_path.rglob("*.partial*"))


def test_naive_is_exact_on_given_dates_at_10_m(tmp_path):
    table = evaluate(cube(), task="gap-filling", methods=[NAIVE], out=tmp_path, **QUICK)
    exact = table[table["is_input"] & table["band"].isin(["B02", "B08"])]
    assert (exact.loc[exact["sensor"] == "sentinel2", "rmse"] == 0).all()


def test_rerun_runs_only_what_is_missing(tmp_path, fused):
    cubes = {"a": cube(0), "b": cube(1)}
    options = {"task": "gap-filling", "methods": [NAIVE], "out": tmp_path, **QUICK}
    first = evaluate(cubes, **options)
    calls = len(fused)
    assert calls == 4  # two cubes, two sensors
    pd.testing.assert_frame_equal(evaluate(cubes, **options), first)
    assert len(fused) == calls
    evaluate({**cubes, "c": cube(2)}, **options)
    assert len(fused) == calls + 2
    # Other parameters, or another cube by the same name, are another result.
    evaluate(cubes, **options | {"settings": SplitSettings(gap_days=20)})
    assert len(fused) == calls + 6
    evaluate({"a": cube(0, hr=7)}, **options | {"settings": SplitSettings(gap_days=20)})
    assert len(fused) == calls + 8
    evaluate({"a": cube(9, hr=7)}, **options | {"settings": SplitSettings(gap_days=20)})
    assert len(fused) == calls + 10
    # Weights are of no concern to a method that has none.
    evaluate({"b": cube(1)}, **options | {"settings": SplitSettings(gap_days=20)}, model="other")
    assert len(fused) == calls + 10


def test_an_interrupted_run_leaves_nothing_and_is_taken_up(tmp_path, monkeypatch, fused):
    cubes = {"a": cube(0), "b": cube(1)}
    options = {"task": "gap-filling", "methods": [NAIVE], "out": tmp_path, **QUICK}
    genuine, count = running.predicted, iter(range(10**6))

    def interrupted(group, position):
        if next(count) == 20:
            raise KeyboardInterrupt
        return genuine(group, position)

    monkeypatch.setattr(running, "predicted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(cubes, **options)
    made = [path.name for path in (tmp_path / "gap-filling").glob("*/*")]
    assert made == [f"{NAIVE}-GAPS"]
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = tmp_path / f"gap-filling/b/.{NAIVE}-GAPS.{socket.gethostname()}.{dead.pid}.partial"
    left.mkdir(parents=True)  # as of a process that was killed
    monkeypatch.setattr(running, "predicted", genuine)
    fused.clear()
    table = evaluate(cubes, **options)
    assert len(fused) == 2
    assert set(table["cube"]) == {"a", "b"}
    assert not left.exists()


def test_a_rewritten_store_is_evaluated_again(tmp_path, fused):
    options = {"task": "gap-filling", "methods": [NAIVE], "out": tmp_path / "out", **QUICK}
    store = tmp_path / "scene.zarr"
    save_cube(cube(0), store)
    table = evaluate(store, **options)
    assert set(table["cube"]) == {"scene"}
    save_cube(cube(5), store, overwrite=True)
    os.utime(store / "zarr.json", ns=(1, 1))
    evaluate([store], **options)
    assert len(fused) == 4


def test_a_method_that_fails_lets_the_others_go_on(tmp_path):
    table = evaluate(
        {"a": cube()},
        task="gap-filling",
        model=tmp_path / "absent.safetensors",
        out=tmp_path,
        **QUICK,
    )
    failed = table[table["failed"] != ""]
    assert failed["method"].tolist() == ["utilise", "tamrf"]
    assert "method 'utilise' needs weights" in failed["failed"].iloc[0]
    assert "absent.safetensors" in failed["failed"].iloc[1]
    assert (table.loc[table["method"] == NAIVE, "failed"] == "").all()
    page = (tmp_path / "gap-filling.html").read_text()
    assert "Left out" in page
    assert "absent.safetensors" in page
    assert "left out: tamrf on a: the checkpoint" in summary_text(table)


def test_a_method_that_is_named_must_be_able_to_work(tmp_path, fused):
    """It fails at the door, before the others take their time."""
    only = random_cube((24, 27), hr=8, sensors=("sentinel2",))
    cold = cube()
    cold["landsat"] = cold["landsat"].to_dataset().drop_vars("surface_temperature")
    weights = {"tamrf": "absent.safetensors", "dsen2": "absent.pt"}
    for given, task, methods, error, message in (
        (cube(), "gap-filling", ["tamrf"], SourceNotFoundError, weights["tamrf"]),
        (cube(), "gap-filling", ["utilise"], ModelError, "'utilise' needs weights"),
        (cube(), "band-sharpening", ["dsen2"], SourceNotFoundError, weights["dsen2"]),
        (cube(), "spatio-temporal-fusion", [NAIVE], MethodError, "days on which both sensors"),
        (only, "thermal-sharpening", [NAIVE], MethodError, "makes none that the cube has"),
        (only, "gap-filling", ["stair"], MethodError, "'stair' needs /landsat"),
        (cold, "thermal-sharpening", [NAIVE], MethodError, r"asks landsat \(LST\)"),
    ):
        options = {"dsen2": {"weights": weights["dsen2"]}} if methods == ["dsen2"] else {}
        with pytest.raises(error, match=message):
            evaluate(
                given,
                task=task,
                methods=[NAIVE, *methods] if task == "gap-filling" else methods,
                model=weights["tamrf"],
                method_options=options,
                out=tmp_path,
                **QUICK,
            )
    assert not fused
    assert not list(tmp_path.iterdir())


def test_a_method_that_can_work_on_one_cube_does(tmp_path):
    only = random_cube((24, 27), hr=8, sensors=("sentinel2",))
    cubes = {"both": meeting(), "one": only, "two": only, "three": only, "four": only}
    table = evaluate(cubes, task="gap-filling", methods=["stair"], out=tmp_path, **QUICK)
    assert set(table.loc[table["failed"] == "", "cube"]) == {"both"}
    assert "left out: stair on one, two, three and 1 more: method 'stair'" in summary_text(table)


def test_options_reach_their_method_alone(tmp_path, fused):
    options = {"task": "gap-filling", "methods": [NAIVE, "sen2like"], "out": tmp_path, **QUICK}
    evaluate({"a": meeting()}, **options)
    calls = len(fused)
    chosen = {"sen2like": {"variant": "composite"}}
    evaluate({"a": meeting()}, **options, method_options=chosen)
    (spec,) = [call[2] for call in fused[calls:]]
    assert chosen["sen2like"].items() <= dict(spec.options).items()
    for wrong, message in (
        ({"stair": {"variant": "paper"}}, "options of stair, which is not compared"),
        ({"sen2like": {"colour": 1}}, "method 'sen2like' has no option colour"),
    ):
        with pytest.raises(OptionError, match=message):
            evaluate({"a": meeting()}, **options, method_options=wrong)


def test_fully_cloudy_targets_are_rows_and_counted(tmp_path):
    given = cube()
    seen = given["sentinel2"].to_dataset()
    day = seen["time"][4]
    given["sentinel2"] = seen.assign(valid=seen["valid"] & (seen["time"] != day))
    table = evaluate(given, task="gap-filling", methods=[NAIVE], out=tmp_path, **QUICK)
    rows = table[(table["sensor"] == "sentinel2") & (table["date"] == day.values)]
    assert len(rows) == 10
    assert rows["rmse"].isna().all()
    assert (rows["clear_rate"] == 0).all()
    counted = summarize(table)
    chosen = counted[(counted["sensor"] == "sentinel2") & (counted["metric"] == "rmse")]
    totals = chosen.drop_duplicates("dates")[["asked", "scored", "cloudy"]].sum()
    assert totals.to_dict() == {"asked": 8, "scored": 7, "cloudy": 1}
    assert "1 of them fully cloudy" in summary_text(table)


def test_conjunctions_are_left_out_one_by_one(tmp_path, fused):
    table = evaluate(
        {"a": meeting()},
        task="spatio-temporal-fusion",
        methods=[NAIVE],
        strategy="ALL2CONJHR",
        out=tmp_path,
        **QUICK,
    )
    assert len(fused) == 3
    for given, dates, _ in fused:
        (day,) = dates
        assert scene_on(groups_of(given)["sentinel2"], day) is None
        assert scene_on(groups_of(given)["landsat"], day) is not None
        assert given["sentinel2"].sizes["time"] == 7
    assert not table["is_input"].any()
    assert (table["days_to_closest"] > 0).all()
    assert (table["days_to_closest_either"] == 0).all()


def test_compensation_brings_given_dates_nearer(tmp_path):
    table = evaluate(
        {"a": cube()},
        task="thermal-sharpening",
        methods=[NAIVE],
        out=tmp_path,
        **QUICK,
    )
    assert set(table["run"]) == {NAIVE, f"{NAIVE} + residual"}
    means = table.groupby("compensated")["rmse"].mean()
    assert means[True] < means[False]
    assert set(table["band"]) == {"LST"}
    held = evaluate(
        {"a": meeting()},
        task="spatio-temporal-fusion",
        methods=[NAIVE],
        compensate=True,
        out=tmp_path,
        **QUICK,
    )
    assert "residual compensation needs" in held.loc[held["compensated"], "failed"].iloc[0]
    assert (held.loc[~held["compensated"], "failed"] == "").all()


@pytest.mark.parametrize("task", ["l3a", "forecasting", "band-sharpening"])
def test_other_tasks_run(task, tmp_path):
    table = evaluate({"a": cube()}, task=task, methods=[NAIVE], out=tmp_path, **QUICK)
    assert (table["failed"] == "").all()
    if task == "l3a":
        assert set(table["date"].dt.day) == {1, 15}
        assert not table["has_reference"].any()
    if task == "band-sharpening":
        assert set(table["band"]) == {"B05", "B06", "B07", "B8A", "B11", "B12"}
    assert (tmp_path / f"{task}.html").exists()


def test_batches_of_dates_change_nothing(tmp_path, monkeypatch, fused):
    options = {"task": "gap-filling", "methods": [NAIVE], **QUICK}
    whole = evaluate({"a": cube()}, out=tmp_path / "whole", **options)
    calls = len(fused)
    monkeypatch.setattr(running, "MEMORY", 4 * 24 * 27 * 10 * 3)  # three dates of Sentinel-2
    parts = evaluate({"a": cube()}, out=tmp_path / "parts", **options)
    assert len(fused) - calls > calls
    pd.testing.assert_frame_equal(whole, parts)


def test_images_are_georeferenced(tmp_path):
    given = cube()
    evaluate(
        {"a": given}, task="gap-filling", methods=[NAIVE], write_images=True, out=tmp_path, **QUICK
    )
    files = sorted((tmp_path / "gap-filling/a" / f"{NAIVE}-GAPS" / "predictions").glob("*.tif"))
    assert len(files) == 14
    with rioxarray.open_rasterio(files[-1]) as image:
        assert image.rio.crs == given["sentinel2"].to_dataset().rio.crs
        assert image.rio.transform() == given["sentinel2"].to_dataset().rio.transform()
        assert image.attrs["long_name"] == tuple(given["sentinel2"]["band"].values)
        assert np.isnan(image.rio.nodata)
        expected = scene_on(given["sentinel2"].to_dataset(), pd.Timestamp(files[-1].stem[-10:]))
        close = np.isclose(image.values, expected.pixels)[:, expected.valid]
        assert close.all() or files[-1].stem[-10:] in _left_out(given)


def _left_out(given):
    from tamrf_xr.evaluation import split

    kept, asked = split(given, "GAPS")
    seen = pd.DatetimeIndex(kept["sentinel2"]["time"].values).floor("D")
    return [f"{day:%Y-%m-%d}" for day in asked["sentinel2"].difference(seen)]


def test_a_task_of_ones_own_passes(tmp_path):
    own = Task(
        "mine",
        "One band.",
        strategy="ALL",
        methods=(NAIVE,),
        sensors=("sentinel2",),
        bands=("B04",),
    )
    table = evaluate({"a": cube()}, task=own, out=tmp_path, **QUICK)
    assert set(table["band"]) == {"B04"}
    assert (tmp_path / "mine.html").exists()


def test_a_cube_is_left_as_it_was(tmp_path):
    save_cube(cube(), tmp_path / "scene.zarr")
    given = open_cube(tmp_path / "scene.zarr")
    evaluate({"a": given}, task="gap-filling", methods=[NAIVE], out=tmp_path, **QUICK)
    assert not given["sentinel2"]["reflectance"].variable._in_memory


def test_cubes_that_exceed_the_memory_give_the_same(tmp_path, monkeypatch):
    options = {"task": "gap-filling", "methods": [NAIVE], **QUICK}
    save_cube(cube(), tmp_path / "scene.zarr")
    whole = evaluate(tmp_path / "scene.zarr", out=tmp_path / "whole", **options)
    monkeypatch.setattr("tamrf_xr.evaluation.running.brought_near", partial(brought_near, memory=0))
    lazy = evaluate(tmp_path / "scene.zarr", out=tmp_path / "lazy", **options)
    pd.testing.assert_frame_equal(whole, lazy)


def test_mistakes_are_told(tmp_path, monkeypatch):
    good = {"task": "gap-filling", "methods": [NAIVE], "out": tmp_path, **QUICK}
    for change, error, message in (
        ({"task": "gaps"}, MethodError, "no task 'gaps'; those that exist: gap-filling, band-sh"),
        ({"methods": ["magic"]}, MethodError, f"unknown method magic; the methods are: .*{NAIVE}"),
        ({"methods": []}, MethodError, "no method to compare"),
        ({"strategy": "GAP"}, MethodError, "no strategy 'GAP'; those that exist: ALL"),
        ({"weights": "w"}, OptionError, "no option weights; fuse takes model"),
        ({"scoring": Scoring()}, OptionError, "margin of 30 pixels leaves too little"),
    ):
        with pytest.raises(error, match=message):
            evaluate({"a": cube()}, **good | change)
    unmasked = cube()
    unmasked["landsat"] = unmasked["landsat"].to_dataset().drop_vars("valid")
    with pytest.raises(CubeError, match="cube a: /landsat has no 'valid'"):
        evaluate({"a": unmasked}, **good)
    with pytest.raises(SourceNotFoundError, match="no store at"):
        evaluate(tmp_path / "absent.zarr", **good)
    with pytest.raises(OptionError, match="two cubes are called scene"):
        evaluate([tmp_path / "a/scene.zarr", tmp_path / "b/scene.zarr"], **good)
    with pytest.raises(OptionError, match="no cube to evaluate on"):
        evaluate([], **good)
    with pytest.raises(OptionError, match="cannot be the name of a cube"):
        evaluate({"../a": cube()}, **good)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("tamrf_xr.evaluation.results.find_spec", lambda name: None)
    with pytest.raises(MethodError, match=r"pip install 'tamrf-xr\[evaluation\]'"):
        evaluate({"a": cube()}, **good)

"""Products brought up to date: only what is touched is made, and no byte else changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import InputChangedError, JobError, OptionError
from tamrf_xr.fusion import prepare
from tamrf_xr.scale import merging
from tamrf_xr.scale.ledger import forget, read_manifest
from tests.jobs.run import contents
from tests.scenes import random_cube

WINDOW = "60D"
DATES = "2022-01-05/2022-06-30/15D"
HOW = {"method": "linear", "window": WINDOW, "tile": 12}
ROOT = Path(__file__).parents[1]


def series(count):
    """A cube of `count` dates a sensor, 11 days apart, of which fewer are the first ones."""
    whole = random_cube((18, 27), hr=20, lr=18, nan=0.2)
    return build_cube({n: group.isel(time=slice(count)) for n, group in groups_of(whole).items()})


def append(store: Path, count: int, *, hour: int = 0):
    """Append acquisitions to a cube, as xarray does it."""
    for name, group in groups_of(series(18)).items():
        more = group.isel(time=slice(count, 18))
        more = more.assign_coords(time=more["time"] + np.timedelta64(hour, "h"))
        more = more.drop_vars([name for name in more.coords if name != "time"])
        for variable in more.variables.values():
            variable.attrs, variable.encoding = {}, {}
        more.to_zarr(store, group=name, append_dim="time", consolidated=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Object at .tamrf_contents.json")
        zarr.consolidate_metadata(store)


@pytest.fixture
def grown(tmp_path):
    """A product of 15 dates a sensor, and its cube, to which three were appended since."""
    tamrf_xr.save_cube(series(15), tmp_path / "scene.zarr")
    cube = tamrf_xr.open_cube(tmp_path / "scene.zarr")
    tamrf_xr.run_job(cube, tmp_path / "fused.zarr", DATES, progress=False, **HOW)
    append(tmp_path / "scene.zarr", 15)
    return tmp_path


def anew(folder: Path, dates=DATES) -> dict[str, bytes]:
    cube = tamrf_xr.open_cube(folder / "scene.zarr")
    assert cube["sentinel2"].sizes["time"] == 18
    tamrf_xr.run_job(cube, folder / "anew.zarr", dates, progress=False, **HOW)
    return contents(folder / "anew.zarr")


def test_an_update_is_the_product_made_anew_and_only_what_is_touched_is_made(grown):
    before = contents(grown / "fused.zarr")
    report = tamrf_xr.update(
        grown / "fused.zarr", tamrf_xr.open_cube(grown / "scene.zarr"), progress=False
    )
    assert contents(grown / "fused.zarr") == anew(grown) != before
    dates = pd.date_range("2022-01-05", "2022-06-30", freq="15D")
    first = pd.Timestamp("2022-01-03") + pd.Timedelta(days=15 * 11)
    assert report.made.equals(dates[dates >= first - pd.Timedelta(WINDOW) / 2])
    assert (len(report.added), report.dates, report.summary.done) == (0, len(dates), 6)
    # A rerun of the job finds nothing to do: it is the product of that cube now.
    cube = tamrf_xr.open_cube(grown / "scene.zarr")
    again = tamrf_xr.run_job(cube, grown / "fused.zarr", DATES, progress=False, **HOW)
    assert (again.done, again.found) == (0, 6)
    assert sorted(p.name for p in grown.iterdir()) == ["anew.zarr", "fused.zarr", "scene.zarr"]
    second = tamrf_xr.update(grown / "fused.zarr", cube, progress=False)
    assert second.summary is None
    assert str(second).startswith("0 dates made anew")


def test_dates_are_added_on_the_command_line_and_layers_go_along(grown, capsys):
    words = ["fuse", str(grown / "scene.zarr"), "", "--method", "linear", "--window", WINDOW]
    words += ["--quiet", "--tile", "12", "--provenance", "--indices", "NDVI", "--bands", "B04"]
    save = tamrf_xr.save_cube
    save(series(15), grown / "early.zarr")
    early = ["2022-01-20", "2022-05-30"]
    words[1], words[2] = str(grown / "early.zarr"), str(grown / "with.zarr")
    assert main([*words, "--dates", *early]) == 0
    update = ["update", str(grown / "with.zarr"), "--input", str(grown / "scene.zarr"), "--quiet"]
    assert main([*update, "--dates", "2022-05-30", "2022-07-05"]) == 0
    assert "1 dates made anew, 1 added, 1 as they were" in capsys.readouterr().out
    words[1], words[2] = str(grown / "scene.zarr"), str(grown / "new.zarr")
    assert main([*words, "--dates", *early, "2022-07-05"]) == 0
    assert contents(grown / "with.zarr") == contents(grown / "new.zarr")
    made = tamrf_xr.open_cube(grown / "with.zarr")
    assert made["provenance"].sizes["time"] == 3


def test_a_causal_product_keeps_its_past(grown):
    cube = tamrf_xr.open_cube(grown / "scene.zarr")
    tamrf_xr.save_cube(series(15), grown / "early.zarr")
    early, dates = tamrf_xr.open_cube(grown / "early.zarr"), ["2022-03-01", "2022-06-01"]
    how = HOW | {"causal": True, "window": None}
    tamrf_xr.run_job(early, grown / "causal.zarr", dates, progress=False, **how)
    assert tamrf_xr.update(grown / "causal.zarr", cube, progress=False).summary is None
    report = tamrf_xr.update(grown / "causal.zarr", cube, ["2022-07-10"], progress=False)
    assert (len(report.made), len(report.added)) == (0, 1)


def test_an_append_with_a_time_of_day_keeps_it(tmp_path):
    tamrf_xr.save_cube(series(15), tmp_path / "scene.zarr")
    append(tmp_path / "scene.zarr", 15, hour=10)
    times = pd.DatetimeIndex(
        tamrf_xr.open_cube(tmp_path / "scene.zarr")["sentinel2"]["time"].values
    )
    expected = pd.DatetimeIndex(groups_of(series(18))["sentinel2"]["time"].values)
    assert times[:15].equals(expected[:15])
    assert times[15:].equals(expected[15:] + pd.Timedelta(hours=10))


@pytest.mark.parametrize("moment", ["put_in_place", "run_tiles"])
def test_killed_at_any_step_the_old_product_is_there_and_a_rerun_updates_it(grown, moment):
    before = contents(grown / "fused.zarr")
    process = subprocess.run(
        [sys.executable, "-m", "tests.test_update", str(grown), moment], cwd=ROOT, check=False
    )
    assert process.returncode == -signal.SIGKILL
    left = contents(grown / "fused.zarr")
    left.pop(".tamrf_job/lock", None)  # of a process that is gone
    assert left == before
    report = tamrf_xr.update(
        grown / "fused.zarr", tamrf_xr.open_cube(grown / "scene.zarr"), progress=False
    )
    done = 4 if moment == "run_tiles" else 0  # of 6, two were made before it was killed
    assert report.summary.done == done
    assert contents(grown / "fused.zarr") == anew(grown)
    assert sorted(p.name for p in grown.iterdir()) == ["anew.zarr", "fused.zarr", "scene.zarr"]


def killed(folder: Path, moment: str) -> None:
    """Update, and be killed at a step."""
    if moment == "run_tiles":
        from tamrf_xr.scale import worker

        record = worker.record

        def recording(place, index, sizes):
            record(place, index, sizes)
            recording.done += 1
            if recording.done == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        recording.done = 0
        worker.record = recording
    else:
        setattr(merging, moment, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    cube = tamrf_xr.open_cube(folder / "scene.zarr")
    tamrf_xr.update(folder / "fused.zarr", cube, progress=False, workers=1)


def test_a_reader_sees_the_old_product_or_the_new_one(grown, monkeypatch):
    """What is opened before stays readable, whole, until the exchange; nothing between is seen."""
    old = tamrf_xr.open_cube(grown / "fused.zarr")["sentinel2/reflectance"].values
    put = merging.put_in_place
    seen = []

    def looking(partial, target, *, overwrite):
        seen.append(tamrf_xr.open_cube(target)["sentinel2/reflectance"].values)
        put(partial, target, overwrite=overwrite)
        seen.append(tamrf_xr.open_cube(target)["sentinel2/reflectance"].values)

    monkeypatch.setattr(merging, "put_in_place", looking)
    cube = tamrf_xr.open_cube(grown / "scene.zarr")
    tamrf_xr.update(grown / "fused.zarr", cube, progress=False)
    np.testing.assert_array_equal(seen[0], old)
    new = cube.tamrf.fuse(DATES, **HOW)["sentinel2/reflectance"].values
    np.testing.assert_allclose(seen[1], new, atol=6e-5)


def test_what_cannot_be_updated_is_refused_and_left_as_it_is(grown):
    before, product = contents(grown / "fused.zarr"), grown / "fused.zarr"
    cube = tamrf_xr.open_cube(grown / "scene.zarr")

    def refused(error, match, store=product, given=cube, **options):
        with pytest.raises(error, match=match):
            tamrf_xr.update(store, given, progress=False, **options)

    tamrf_xr.save_cube(
        build_cube({n: g.isel(time=slice(1, None)) for n, g in groups_of(cube).items()}),
        grown / "later.zarr",
    )
    later = tamrf_xr.open_cube(grown / "later.zarr")
    refused(InputChangedError, "the past of the cube has changed: .* of /sentinel2", given=later)
    refused(JobError, "window: found 60D, asked 90D\npass the options", window="90D")
    refused(JobError, "method: found linear, asked composite", method="composite")
    refused(OptionError, "cannot be held against", given=series(18))
    refused(OptionError, "only a product in a folder", store="s3://bucket/fused.zarr")
    refused(JobError, "is no product of a job", store=grown / "later.zarr")
    refused(JobError, "is no product of a job", store=grown / "nothing.zarr")
    asked = {"statistics": ["max"], "progress": False} | HOW
    tamrf_xr.run_job(cube, grown / "months.zarr", DATES, **asked)
    refused(OptionError, "holds statistics of periods", store=grown / "months.zarr")
    assert contents(product) == before
    forget(product, [(0, 0)])
    refused(JobError, "1 of 6 tiles to be made")


def test_a_product_says_what_it_was_made_with(grown):
    told = read_manifest(grown / "fused.zarr").about["options"]
    assert json.loads(told) == {"method": "linear", "window": "60D"}
    # What has no text is not told, and what stands for its default is not either.
    asked = {"model": object(), "window": pd.Timedelta("60D"), "origin": pd.Timestamp("2022-01-01")}
    cube = tamrf_xr.open_cube(grown / "scene.zarr")
    said = prepare(cube, DATES, method="linear", same_day="12h", device="cpu", **asked).options
    expected = {"method": "linear", "window": "P60DT0H0M0S", "origin": "2022-01-01T00:00:00"}
    assert json.loads(said) == expected


if __name__ == "__main__":
    killed(Path(sys.argv[1]), sys.argv[2])

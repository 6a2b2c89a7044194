"""Acquisitions of one day: by the time between them, whatever the date in UTC and the sensor."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.cube import groups_of
from tamrf_xr.dates import plan_dates
from tamrf_xr.days import count_days
from tamrf_xr.errors import DateError, MethodError
from tamrf_xr.evaluation.acquisitions import days_of, scene_on
from tamrf_xr.evaluation.score import Scoring, score
from tamrf_xr.evaluation.split import split
from tamrf_xr.fusion import fuse, run_job
from tamrf_xr.store import open_cube
from tests.scenes import random_cube

FIRST = pd.Timestamp("2020-01-01")
minutes = st.lists(st.integers(0, 40 * 1440), max_size=15).map(
    lambda m: FIRST + pd.to_timedelta(m, "min")
)


def timed(cube, **times):
    """The cube with other acquisition times."""
    made = cube.copy()
    for name, index in times.items():
        group = groups_of(cube)[name]
        made[name] = (
            made[name].to_dataset(inherit=False).assign_coords(time=pd.DatetimeIndex(index))
        )
        assert group.sizes["time"] == len(index)
    return made


def at_150_east(shape=(48, 48)):
    """A cube whose Landsat passes at 23:47 and Sentinel-2 at 00:02 of the date after."""
    cube = random_cube(shape, hr=3, lr=3)
    dates = pd.DatetimeIndex(["2022-01-03", "2022-01-19", "2022-02-04"])
    landsat, sentinel2 = dates + pd.Timedelta("23h47min"), dates + pd.Timedelta("24h2min")
    return timed(cube, landsat=landsat, sentinel2=sentinel2)


@given(minutes, minutes, st.integers(1, 23))
def test_one_day_never_spans_more_than_same_day_nor_splits_what_is_closer(one, other, hours):
    times = {"landsat": one[one != one.floor("D")], "sentinel2": other[other != other.floor("D")]}
    counted = count_days(times, same_day=f"{hours}h")
    every = [t for index in times.values() for t in index]
    days = [d for index in counted.values() for d in index]
    apart = pd.Timedelta(hours=hours)
    order = np.argsort(every)
    assert [days[i] for i in order] == sorted(days)
    for day in set(days):
        members = [t for t, d in zip(every, days, strict=True) if d == day]
        assert max(members) - min(members) <= apart
        before = [t for t, d in zip(every, days, strict=True) if d < day]
        if before:
            assert min(members) > max(before)


@given(st.lists(st.integers(0, 40), max_size=12), st.lists(st.integers(0, 40), max_size=12))
def test_ordinary_series_are_counted_by_date(landsat, sentinel2):
    at = {"landsat": pd.Timedelta("10h20min"), "sentinel2": pd.Timedelta("10h50min")}
    given_days = {"landsat": landsat, "sentinel2": sentinel2}
    times = {n: FIRST + pd.to_timedelta(d, "D") + at[n] for n, d in given_days.items()}
    counted = count_days(times)
    assert all(counted[n].equals(pd.DatetimeIndex(times[n].floor("D"))) for n in times)


@pytest.mark.parametrize("hour", ["0min", "3h", "18h40min", "23h50min"])
def test_dates_without_time_of_day_are_of_the_acquisitions_of_their_date(hour):
    dates = pd.DatetimeIndex(["2022-01-03", "2022-01-04", "2022-01-12"])
    counted = count_days({"landsat": dates, "sentinel2": dates + pd.Timedelta(hour)})
    assert counted["landsat"].equals(dates)
    assert counted["sentinel2"].equals(dates)


def test_both_sides_of_midnight_are_one_image():
    index = pd.DatetimeIndex(["2022-06-02T00:02", "2022-06-01T23:47", "2022-06-12T23:47"])
    plan = plan_dates({"sentinel2": index}, pd.DatetimeIndex(["2022-06-05"]))
    assert plan.reads["sentinel2"] == ((0, 1), (2,))
    assert plan.episodes[0].days["sentinel2"] == (151.0, 162.0)


def test_both_ends_of_one_date_are_two_images():
    index = pd.DatetimeIndex(["2022-06-01T00:02", "2022-06-01T23:56"])
    plan = plan_dates({"landsat": index}, pd.DatetimeIndex(["2022-06-02"]))
    assert plan.reads["landsat"] == ((0,), (1,))
    assert plan.episodes[0].days["landsat"] == (151.0, 152.0)


@pytest.mark.parametrize(
    "asked", ["2022-06-01", "2022-06-02", "2022-06-01T23:47", "2022-06-02T00:02"]
)
def test_either_date_of_a_pair_asks_for_its_day(asked):
    times = {
        "landsat": pd.DatetimeIndex(["2022-06-01T23:47"]),
        "sentinel2": pd.DatetimeIndex(["2022-06-02T00:02"]),
    }
    (episode,) = plan_dates(times, pd.DatetimeIndex([asked])).episodes
    assert episode.query_days == episode.days["landsat"] == episode.days["sentinel2"]


@pytest.mark.parametrize("method", ["stair", "dms", "sen2like"])
def test_pairs_across_midnight_are_pairs_for_every_method(method):
    cube = at_150_east()
    days = pd.DatetimeIndex(["2022-01-03", "2022-01-19", "2022-02-04"])
    plain = timed(cube, landsat=days, sentinel2=days)
    options = {"max_masked": 1.0} if method == "sen2like" else {}
    ours, theirs = (
        fuse(scene, days[1:], method=method, method_options=options) for scene in (cube, plain)
    )
    for name, group in groups_of(ours).items():
        for variable in group.data_vars:
            np.testing.assert_array_equal(group[variable], groups_of(theirs)[name][variable])
    assert any(np.isfinite(group[v]).any() for group in groups_of(ours).values() for v in group)


def test_conjunctions_are_a_matter_of_same_day():
    with pytest.raises(MethodError, match="needs conjunctions"):
        fuse(at_150_east(), "2022-01-19", method="stair", same_day="10min")


def test_evaluation_finds_conjunctions_across_midnight():
    cube = at_150_east()
    cube_given, asked = split(cube, "CONJLR2HR")
    assert len(asked["sentinel2"]) == 3
    assert list(days_of(groups_of(cube_given)["landsat"])) == list(asked["sentinel2"])
    scores = score(
        fuse(cube, asked["sentinel2"], method="linear").load(), cube, scoring=Scoring(margin=0)
    ).table
    assert scores.query("sensor == 'sentinel2'")["has_reference"].all()
    assert scene_on(groups_of(cube)["sentinel2"], pd.Timestamp("2022-01-04")) is not None


@pytest.mark.parametrize("same_day", ["24h", "P1D", "0h", "soon", "-3h", 2])
def test_a_day_of_no_sense_is_refused(same_day):
    with pytest.raises(DateError, match="same_day"):
        count_days({"landsat": pd.DatetimeIndex([FIRST])}, same_day=same_day)


def test_an_acquisition_without_a_time_is_refused():
    times = {"landsat": pd.DatetimeIndex(["2022-06-01", None])}
    with pytest.raises(DateError, match=r"/landsat has acquisitions without a time .* at 1 of 2"):
        plan_dates(times, pd.DatetimeIndex(["2022-06-01"]))


def test_jobs_of_another_same_day_are_other_jobs(tmp_path):
    cube = random_cube((12, 12))
    options = {"method": "linear", "progress": False}
    run_job(cube, tmp_path / "out.zarr", "2022-01-19", **options)
    assert open_cube(tmp_path / "out.zarr")
    with pytest.raises(Exception, match=r"same day: found 0.5D, asked 0.125D"):
        run_job(cube, tmp_path / "out.zarr", "2022-01-19", same_day="3h", **options)

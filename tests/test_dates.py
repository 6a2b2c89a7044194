"""Query dates as users write them, and what each of them sees."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.dates import default_origin, parse_dates, plan_dates
from tamrf_xr.errors import DateError
from tests.scenes import random_cube

FIRST = pd.Timestamp("2020-01-01")
series = st.lists(st.integers(0, 1500), max_size=12).map(lambda d: FIRST + pd.to_timedelta(d, "D"))


@pytest.mark.parametrize(
    "dates",
    [
        "2022-06-01",
        ["2022-06-01"],
        dt.datetime(2022, 6, 1),
        dt.date(2022, 6, 1),
        np.datetime64("2022-06-01"),
        pd.DatetimeIndex(["2022-06-01"]),
        pd.DatetimeIndex(["2022-06-01T02:00"], tz="Europe/Paris"),
        "2022-06-01/2022-06-10/15D",
        slice("2022-06-01", "2022-06-10", "15D"),
    ],
)
def test_every_way_to_write_a_date_is_read(dates):
    assert list(parse_dates(dates)) == [pd.Timestamp("2022-06-01")]


def test_times_of_an_xarray_object_are_taken():
    cube = random_cube(hr=3)
    assert len(parse_dates(cube["sentinel2/reflectance"])) == 3
    assert len(parse_dates(cube["sentinel2"].to_dataset()["time"])) == 3
    with pytest.raises(DateError, match="no 'time' coordinate"):
        parse_dates(cube["sentinel2"].to_dataset()["x"])


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        ("soon", "not understood"),
        (["2022-13-01"], "not understood"),
        (42, "42 is a number"),
        ([1.5], "1.5 is a number"),
        ([], "at least one"),
        ([None], "missing value"),
        ("2022-01-01/2022-02-01/x", "not understood"),
        (slice("2022-01-01", "2022-02-01"), "needs start, end and step"),
        ("2022-02-01/2022-01-01/5D", "at least one"),
    ],
)
def test_what_is_no_date_is_refused(dates, message):
    with pytest.raises(DateError, match=message):
        parse_dates(dates)


def test_origin_is_january_where_acquisitions_allow_it():
    assert default_origin(pd.DatetimeIndex(["2022-03-01", "2022-12-31"])) == pd.Timestamp(
        "2022-01-01"
    )
    late = pd.DatetimeIndex(["2022-08-01", "2023-07-01"])
    assert default_origin(late) == late[0]


@given(
    series, series, st.lists(st.integers(-50, 1550), min_size=1, max_size=5), st.integers(30, 800)
)
def test_each_query_sees_just_its_window(landsat, sentinel2, asked, length):
    times = {"landsat": landsat, "sentinel2": sentinel2}
    queries = FIRST + pd.to_timedelta(asked, "D")
    half = pd.Timedelta(days=length) / 2
    every = landsat.append(sentinel2)
    near = [((every >= q - half) & (every <= q + half)).any() for q in queries]
    if not len(every) or not all(near):
        with pytest.raises(DateError):
            plan_dates(times, queries, window=f"{length}D")
        return
    plan = plan_dates(times, queries, window=f"{length}D")
    assert sorted(q for e in plan.episodes for q in e.queries) == list(range(len(queries)))
    for episode in plan.episodes:
        for sensor, index in times.items():
            seen = {p for day in episode.seen[sensor] for p in plan.reads[sensor][day]}
            if every.max() - every.min() <= pd.Timedelta(days=length):
                assert seen == set(range(len(index)))
            else:
                query = queries[episode.queries[0]]
                inside = (index >= query - half) & (index <= query + half)
                assert seen == set(np.flatnonzero(inside))


@given(series.filter(len), st.integers(0, 1500))
def test_days_count_from_the_origin(index, day):
    query = FIRST + pd.Timedelta(days=day)
    plan = plan_dates({"sentinel2": index}, query_index(query), origin=FIRST, window=None)
    (episode,) = plan.episodes
    assert episode.query_days == (float(day),)
    assert list(episode.days["sentinel2"]) == sorted({float((t - FIRST).days) for t in index})


def query_index(*dates):
    return pd.DatetimeIndex(dates)


def test_origin_and_windows_exclude_each_other():
    times = {"sentinel2": pd.DatetimeIndex(["2020-01-01", "2022-01-01"])}
    with pytest.raises(DateError, match="pass window=None"):
        plan_dates(times, query_index("2020-02-01"), origin="2020-01-01")


def test_no_acquisition_at_all_is_refused():
    with pytest.raises(DateError, match="holds no acquisition"):
        plan_dates({"sentinel2": pd.DatetimeIndex([])}, query_index("2020-02-01"))

"""Query dates as users write them, and what each of them sees."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.cube import build_cube, groups_of, validate
from tamrf_xr.dates import default_origin, parse_dates, plan_dates, tell_of_counting
from tamrf_xr.errors import CubeError, DateError, TimingWarning
from tamrf_xr.fusion import fuse, run_job
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
        ("2022-06-01/2022-06-15", "write 2022-06-01/2022-06-15/1D for every day, or name two"),
        (["2022-06-01/2022-06-15"], "has no step"),
        (slice(pd.Timestamp("2022-06-01"), dt.date(2022, 6, 15)), "has no step"),
        ("2022-06-01/..", "its end is open"),
        ("../2022-06-01", "its start is open"),
        ("2022-06-01/../1D", "its end is open"),
        ("/2022-06-01/1D", "its start is open"),
        ("2022-06-01/2022-06-15/", "has no step"),
        ("2022-06-01/2022-06-30/0D", "is nothing"),
        ("2022-06-01/2022-06-30/P0D", "is nothing"),
        ("2022-06-01/2022-06-30/PT0S", "is nothing"),
        ("2022-06-01/2022-06-30/0MS", "is nothing"),
        (slice("2022-06-01", "2022-06-30", dt.timedelta(0)), "is nothing"),
        ("2022-06-01/2022-06-30/-1D", "back in time"),
        ("2022-06-01/2022-06-30/-P1D", "back in time"),
        ("2022-06-30/2022-06-01/-1D", "ends before it starts"),
        ("2022-06-01/2022-06-30/15", "step '15' .* not understood"),
        ("2022-06-01/2022-06-30/1M", "months as 'P1M'"),
        ("2022-06-01/2022-06-30/P", "not understood"),
        ("2022-06-01/2022-06-30/P1H", "not understood"),
        ("2022-06-02/2022-06-03/MS", "at least one"),
        ("2022-01-01/2022-12-31/1min", "gives 524161 query dates"),
        ("2022-01-01/2022-12-31/PT1S", "query dates, more than 100000"),
        ("2022-01-01/2022-01-02/1ns", "query dates, more than 100000"),
        ("2022-01-01/P10D/P1D", "'P10D' not understood"),
        ("2022-06-01 2022-06-15", "not understood"),
        ("2022-01-01/2022-06-01/P1D/P1D", "4 parts"),
        ("2022-06", "names no day; write the day, as '2022-06-01'"),
        ("2022", "names no day; write the day, as '2022-01-01'"),
        ("20", "not understood"),
        ("1/2/2022", "not understood"),
        ("2022/06/01", "names no day"),
        ("2022-06-31", "day is out of range"),
        (np.array(5), "is a number"),
        (True, "is a number"),
    ],
)
def test_what_is_no_date_is_refused(dates, message):
    with pytest.raises(DateError, match=message):
        parse_dates(dates)


LENIENT = ["June", "10:30", "today", "now", "1 June 2022", "Jun 2022", "2022-W22", "2022-152", "T"]
LENIENT += ["2022-6-1", "06/01/2022", "2022.06.01", "2022-06-01Z", "2022-06-01T10", "", "NaT", "Q2"]
LENIENT += [
    "2022-06-01T10:30 Europe/Paris",
    "12022-06-01",
    "\u0662022-06-01",
    "220601",
    "6",
    "2022Q2",
]


@pytest.mark.parametrize("text", LENIENT)
def test_what_needs_guessing_is_refused(text):
    with pytest.raises(DateError, match="query date"):
        parse_dates(text)


@given(st.text(alphabet="0123456789-:/T .ZJune+W", max_size=12))
def test_text_is_read_as_it_is_written_or_refused(text):
    try:
        found = parse_dates(text)
    except DateError:
        return
    if "/" not in text:
        assert found[0].strftime("%Y%m%d") == text.strip().replace("-", "")[:8]


zones = st.sampled_from([dt.timezone(dt.timedelta(minutes=m)) for m in (-570, -60, 0, 120, 345)])
moments = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))


@given(moments, st.none() | zones, st.sampled_from(["T", " "]))
def test_every_iso_date_is_read_as_utc(moment, zone, between):
    aware = moment.replace(tzinfo=zone)
    expected = moment if zone is None else aware.astimezone(dt.UTC).replace(tzinfo=None)
    assert list(parse_dates(aware.isoformat(between))) == [pd.Timestamp(expected)]
    assert list(parse_dates(f"{moment:%Y-%m-%d}")) == [pd.Timestamp(moment.date())]
    assert list(parse_dates(f"{moment:%Y%m%d}")) == [pd.Timestamp(moment.date())]


@pytest.mark.parametrize(
    ("iso", "step"),
    [("P10D", "10D"), ("P1W", "7D"), ("PT12H", "12h"), ("P1DT12H", "36h"), ("PT90M", "90min")],
)
def test_iso_steps_are_those_of_pandas(iso, step):
    start, stop = "2022-01-01T06:30", "2022-03-05"
    assert parse_dates(f"{start}/{stop}/{iso}").equals(parse_dates(f"{start}/{stop}/{step}"))


# The last of them must lie before 2250.
@given(
    st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2140, 1, 1)),
    st.integers(1, 30),
    st.integers(0, 40),
    st.integers(0, 5),
)
def test_months_are_counted_from_the_start(start, months, count, days):
    stop = start + pd.DateOffset(months=months * count) + pd.Timedelta(days=days * count)
    years, rest = divmod(months, 12)
    step = f"P{years}Y{rest}M{days}D" if years else f"P{rest}M{days}D"
    found = parse_dates(slice(start, stop, step))
    expected = [
        pd.Timestamp(start) + pd.DateOffset(months=months * k) + pd.Timedelta(days=days * k)
        for k in range(count + 1)
    ]
    assert list(found) == expected


def test_ranges_may_stand_among_dates():
    found = parse_dates(["2022-06-01/2022-06-03/P1D", "2022-05-01"])
    assert found.strftime("%d%m").tolist() == ["0106", "0206", "0306", "0105"]


@pytest.mark.parametrize("window", [365, 365.0, "365", "365D", "P365D", dt.timedelta(365)])
def test_a_window_may_be_written_in_any_way(window):
    times = {"sentinel2": pd.DatetimeIndex(["2020-01-01", "2021-06-01"])}
    plan = plan_dates(times, query_index("2020-02-01"), window=window)
    assert plan == plan_dates(times, query_index("2020-02-01"), window=pd.Timedelta(365, "D"))


@pytest.mark.parametrize(
    "window", ["", "long", "P1M", "1M", "-3D", 0, True, "nan", float("nan"), []]
)
def test_a_window_of_no_sense_is_refused(window):
    with pytest.raises(DateError, match="window"):
        plan_dates(
            {"sentinel2": FIRST + pd.to_timedelta([0], "D")}, query_index(FIRST), window=window
        )


def test_origin_is_one_date():
    with pytest.raises(DateError, match="origin is one date, got 3"):
        plan_dates(
            {"sentinel2": FIRST + pd.to_timedelta([0], "D")},
            query_index(FIRST),
            origin="2020-01-01/2020-01-03/1D",
        )


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


def _span(last: int) -> dict[str, pd.DatetimeIndex]:
    return {"landsat": FIRST + pd.to_timedelta([0, 100, 200, last], "D")}


def counted(times, origin=None, window="365D"):
    tell_of_counting(times, origin=origin, window=window)


MARCH = pd.DatetimeIndex(["2020-03-15"])


def test_a_series_just_longer_than_the_window_says_that_it_is_cut():
    counted(_span(365))
    assert plan_dates(_span(365), MARCH).episodes[0].query_days == (74.0,)
    with pytest.warns(TimingWarning, match=r"span 366 days, .* window of 365: .* Pass window=366"):
        counted(_span(366))
    assert plan_dates(_span(366), MARCH).episodes[0].query_days != (74.0,)


@pytest.mark.parametrize("window", [None, 366, "400D"])
def test_a_longer_window_keeps_a_series_one_without_a_word(window):
    counted(_span(366), window=window, origin=FIRST)
    plan = plan_dates(_span(366), MARCH, window=window, origin=FIRST)
    assert plan.episodes[0].query_days == (74.0,)


def test_a_series_of_years_is_fused_by_windows_without_a_word():
    counted(_span(800))
    counted({"landsat": pd.DatetimeIndex(["2020-07-01", "2021-06-15"])})


def test_a_series_just_beyond_its_year_says_from_where_it_counts():
    times = {"landsat": pd.DatetimeIndex(["2020-02-01", "2020-06-01", "2020-12-31"])}
    assert plan_dates(times, MARCH).episodes[0].query_days == (74.0,)
    times = {"landsat": pd.DatetimeIndex(["2020-02-01", "2020-06-01", "2021-01-05"])}
    with pytest.warns(TimingWarning, match=r"366 days after .* Pass origin='2020-01-01' or"):
        counted(times)
    assert plan_dates(times, MARCH).episodes[0].query_days == (43.0,)
    for origin, day in (("2020-01-01", 74.0), ("2020-02-01", 43.0)):
        counted(times, origin=origin)
        assert plan_dates(times, MARCH, origin=origin).episodes[0].query_days == (day,)


def test_every_product_tells_once_how_its_days_are_counted(tmp_path):
    start = pd.Timestamp("2022-01-03")
    cube = _retimed(random_cube((12, 12)), lambda t: start + 122 * (t - t[0]) / 11)
    with pytest.warns(TimingWarning) as told:
        fuse(cube, "2022-03-20", method="linear")
    with pytest.warns(TimingWarning):
        run_job(cube, tmp_path / "a.zarr", "2022-03-20", method="linear", progress=False)
    assert len([t for t in told if t.category is TimingWarning]) == 1
    fuse(cube, "2022-03-20", method="linear", window=None, origin="2022-01-01")


def _retimed(cube, change):
    groups = {
        name: group.assign_coords(time=change(pd.DatetimeIndex(group["time"].values)))
        for name, group in groups_of(cube).items()
    }
    return xr.DataTree.from_dict({"/": cube.to_dataset(), **groups})


@pytest.mark.parametrize("zone", ["Europe/Paris", "Asia/Tokyo", "UTC"])
def test_acquisitions_with_a_zone_are_those_of_utc(zone):
    cube = _retimed(random_cube(), lambda times: times + pd.Timedelta("1h"))
    zoned = _retimed(cube, lambda times: times.tz_localize("UTC").tz_convert(zone))
    one, other = (fuse(c, "2022-01-20", method="linear").load() for c in (cube, zoned))
    xr.testing.assert_equal(one["sentinel2"].to_dataset(), other["sentinel2"].to_dataset())


def test_origin_and_dates_of_mixed_zones_are_one_rule():
    local = pd.Timestamp("2022-01-20T01:00", tz="Asia/Tokyo")
    utc = pd.DatetimeIndex(["2022-01-19T16:00"])
    assert (parse_dates([local, "2022-01-19T16:00", "2022-01-19T18:00+02:00"]) == utc[0]).all()
    times = {"landsat": pd.DatetimeIndex(["2022-01-05", "2022-02-05"])}
    one, other = (
        plan_dates(times, utc, origin=origin)
        for origin in (pd.Timestamp("2022-01-01T05:00", tz="Asia/Tokyo"), "2021-12-31")
    )
    assert one == other


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda times: times.insert(1, pd.NaT).delete(2), DateError, "without a time .NaT., at 1"),
        (lambda times: np.arange(len(times)), CubeError, "time holds int64, expected datetime64"),
        (lambda times: times.astype(str).to_numpy(object), CubeError, "time holds object"),
    ],
)
def test_a_cube_whose_acquisitions_have_no_time_is_none(change, error, message):
    with pytest.raises(error, match=message):
        validate(_retimed(random_cube(), change))
    with pytest.raises(error, match=message):
        build_cube(groups_of(_retimed(random_cube(), change)))

"""Strategies on cubes: the days given and asked are those of `tamrf_xr.holdout`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tamrf_xr import holdout
from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError, MethodError, OptionError
from tamrf_xr.evaluation import split
from tamrf_xr.evaluation.acquisitions import SceneReader, days_of, scene_on
from tests.scenes import random_cube

ORIGIN = pd.Timestamp("2022-01-01")


@pytest.fixture(scope="module")
def cube():
    """Sentinel-2 every 11 days from 3 January, Landsat from 6 January: they meet never."""
    return random_cube((12, 12), hr=14, lr=9)


@pytest.fixture(scope="module")
def meeting(cube):
    """The same, Landsat two days earlier on its second and third date: two conjunctions."""
    times = cube["landsat"]["time"].values.copy()
    times[1:3] = cube["sentinel2"]["time"].values[[1, 3]] + np.timedelta64(10, "h")
    moved = cube.copy()
    moved["landsat"] = cube["landsat"].to_dataset().assign_coords(time=times)
    return moved


def numbers(days):
    return tuple(((days - ORIGIN) // pd.Timedelta(days=1)).tolist())


def series(cube):
    return holdout.BySensor(**{n: numbers(days_of(g)) for n, g in groups_of(cube).items()})


@pytest.mark.parametrize("name", holdout.STRATEGIES)
def test_every_strategy_divides_a_cube_as_it_divides_days(name, meeting):
    seen = series(meeting)
    expected = holdout.split(
        name,
        seen,
        parameters=holdout.Parameters(custom=(30, 41), origin="2022-01-01", pivot=60, length=146),
        rng=np.random.default_rng(4),
    )
    given, asked = split(meeting, name, seed=4, pivot_day=60, dates=["2022-01-31", "2022-02-11"])
    for sensor in ("landsat", "sentinel2"):
        kept = numbers(days_of(groups_of(given)[sensor])) if sensor in given.children else ()
        wanted = tuple(getattr(seen, sensor)[i] for i in getattr(expected.given, sensor))
        assert kept == wanted
        assert numbers(asked.get(sensor, pd.DatetimeIndex([]))) == getattr(expected.asked, sensor)


def test_gaps_are_as_long_as_asked(cube):
    given, asked = split(cube, "GAPS", gap_days=40)
    left_out = asked["sentinel2"].difference(days_of(given["sentinel2"].to_dataset()))
    days = np.array(numbers(left_out))
    assert len(days)
    assert ((days // 40) % 2 == 1).all()


def test_given_pixels_are_those_of_the_cube(meeting):
    given, _ = split(meeting, "CONJLRuHR2HR")
    for sensor, group in groups_of(given).items():
        for day in days_of(group):
            ours = scene_on(group, day)
            theirs = scene_on(groups_of(meeting)[sensor], day)
            np.testing.assert_array_equal(ours.pixels, theirs.pixels)
            np.testing.assert_array_equal(ours.valid, theirs.valid)


def test_withheld_dates_are_asked_and_not_given(cube):
    third = cube["sentinel2"]["time"].values[1::3]
    given, asked = split(cube, "CUSTOM", dates=third, withhold=True)
    assert not days_of(given["sentinel2"].to_dataset()).isin(third).any()
    assert list(asked["sentinel2"]) == list(pd.DatetimeIndex(third))
    assert given["sentinel2"].sizes["time"] == 14 - len(third)


def test_a_cube_of_two_years_counts_from_its_first_day():
    cube = random_cube((12, 12), hr=70, lr=3)
    given, asked = split(cube, "FORECAST", pivot_day=400)
    last = days_of(given["sentinel2"].to_dataset())[-1]
    assert last <= pd.Timestamp("2022-01-03") + pd.Timedelta(days=400)
    assert len(asked["sentinel2"]) == 70


def test_acquisitions_of_one_day_are_one(cube):
    group = cube["sentinel2"].to_dataset()
    twice = cube.copy()
    times = group["time"].values.copy()
    times[1] = times[0] + np.timedelta64(1, "h")
    twice["sentinel2"] = group.assign_coords(time=times)
    given, asked = split(twice, "ALL")
    assert len(asked["sentinel2"]) == 13
    assert given["sentinel2"].sizes["time"] == 14


@pytest.mark.parametrize("memory", [1, 4 * 12 * 12 * 10 * 3, 2**30])
def test_reading_in_blocks_changes_nothing(cube, memory):
    group = cube["sentinel2"].to_dataset()
    asked = days_of(group).union(pd.DatetimeIndex(["2021-12-25", "2022-02-01", "2023-01-01"]))
    reader = SceneReader(group, asked, memory=memory)
    for day in asked:
        ours, theirs = reader.read(day), scene_on(group, day)
        if theirs is None:
            assert ours is None
        else:
            np.testing.assert_array_equal(ours.pixels, theirs.pixels)
            np.testing.assert_array_equal(ours.valid, theirs.valid)


def test_mistakes_are_told(cube):
    with pytest.raises(MethodError, match="no strategy 'GAP'; those that exist: ALL, RANDOM"):
        split(cube, "GAP")
    with pytest.raises(OptionError, match="no setting gap; they have gap_days"):
        split(cube, "GAPS", gap=30)
    with pytest.raises(MethodError, match="needs days on which both sensors observed"):
        split(cube, "CONJLR2HR")
    with pytest.raises(MethodError, match="CUSTOM lacks its days"):
        split(cube, "CUSTOM")
    with pytest.raises(MethodError, match=r"NOHR gives nothing of this cube.*/sentinel2"):
        split(random_cube((12, 12), sensors=("sentinel2",)), "NOHR")
    with pytest.raises(MethodError, match="strategy L3A asks nothing"):
        split(random_cube((12, 12), sensors=("landsat",)), "L3A")
    with pytest.raises(CubeError, match="not a cube"):
        split(cube["sentinel2"], "ALL")

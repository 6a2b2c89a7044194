"""The strategies, held to the day against the published ones."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.errors import MethodError
from tamrf_xr.holdout import STRATEGIES, BySensor, Parameters, draw, split
from tests.oracle import shared

SMALL = Path(__file__).parent / "data" / "strategies.json"
CONJUNCTIONS = ("ALL2CONJHR", "CONJLRuHR2HR", "CONJLR2HR", "LRuHRNOCONJ2HR", "HRNOCONJ2HR")
RANDOM = ("RANDOM", "RANDOM_ALL_DOYS")
SETTINGS = {
    "CUSTOM": Parameters(custom=(10, 53, 100, 165, 364)),
    "GAPS/gaps_size=45": Parameters(gap=45),
    "FORECAST/doy=100": Parameters(pivot=100),
    "BACKCAST/doy=198": Parameters(pivot=198),
    "CONTEXT/start=100,size=60,n=2": Parameters(context_start=100, context_images=2),
    "CONTEXT/n=2 (test.py default)": Parameters(context_images=2),
    "CONTEXT/start=0": Parameters(context_start=0),
    "RANDOM/rate=0.2/seed1": Parameters(rate=0.2),
    "RANDOM/rate=0.7/seed1": Parameters(rate=0.7),
}
ALL_DAYS = st.lists(st.integers(0, 364), max_size=40, unique=True).map(sorted)


def series(oracle):
    return BySensor(tuple(oracle["lr_doy"]), tuple(oracle["hr_doy"]))


def as_days(division, days):
    """Put a split in the oracle's words: days given and asked; null and empty are one."""
    return {
        "lr_input": [days.landsat[i] for i in division.given.landsat],
        "hr_input": [days.sentinel2[i] for i in division.given.sentinel2],
        "lr_target": list(division.asked.landsat),
        "hr_target": list(division.asked.sentinel2),
    }


def check(name, expected, days, parameters=None):
    rng = np.random.default_rng(0)
    found = as_days(split(name, days, parameters=parameters, rng=rng), days)
    for key, value in found.items():
        wanted = expected[key] or []
        if name in RANDOM and key.endswith("input"):
            assert len(value) == len(wanted), (name, key)
        elif name == "RANDOM_ALL_DOYS":
            assert value == sorted(set(wanted)), (name, key)
        else:
            assert value == wanted, (name, key)


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_agree_with_published(name):
    oracle = json.loads(SMALL.read_text())
    (expected,) = oracle["strategies"][name]
    check(name, expected, series(oracle), Parameters(custom=(5, 100, 250)))


def test_other_parameters_agree_with_published():
    oracle = json.loads(shared("oracle/extended/oracle_strategies.json").read_text())
    entries = dict(oracle["strategies"])
    assert entries.pop("CONTEXT/start=330")["lr_input"] == [325, 5]  # wraps around: see below
    assert {key.split("/")[0] for key in entries} == set(STRATEGIES)
    for key, expected in entries.items():
        check(key.split("/")[0], expected, series(oracle), SETTINGS.get(key))


def test_context_past_the_last_date_ends_at_the_last_date():
    days = BySensor((5, 293, 325, 341), (3, 318, 358))
    found = as_days(split("CONTEXT", days, parameters=Parameters(context_start=330)), days)
    assert found["lr_input"] == found["lr_target"] == [325, 341]
    assert found["hr_input"] == found["hr_target"] == [318, 358]


def test_training_draws_stay_in_the_ranges_of_the_paper():
    rng = np.random.default_rng(7)
    draws = [draw(rng) for _ in range(3200)]
    counts = Counter(name for name, _ in draws)
    for name, slots in {"RANDOM": 8, "GAPS": 4, "NOHR": 1, "NOLR": 1, "FORECAST": 1}.items():
        assert counts[name] == pytest.approx(200 * slots, abs=5 * math.sqrt(200 * slots))
    rates, pivots, gaps = zip(*((p.rate, p.pivot, p.gap) for _, p in draws), strict=True)
    assert 0.2 <= min(rates) < 0.21
    assert 0.69 < max(rates) <= 0.7
    assert (min(pivots), max(pivots)) == (65, 300)
    assert (min(gaps), max(gaps)) == (30, 90)
    published = json.loads(shared("oracle/extended/oracle_strategies.json").read_text())
    drawn = {row["strategy"] for rows in published["mae_draws"].values() for row in rows}
    assert drawn <= set(counts)


@given(landsat=ALL_DAYS, sentinel2=ALL_DAYS, name=st.sampled_from(sorted(STRATEGIES)))
def test_positions_are_sorted_and_in_the_series(landsat, sentinel2, name):
    days = BySensor(tuple(landsat), tuple(sentinel2))
    parameters = Parameters(custom=(3,))
    rng = np.random.default_rng(0)
    if name in CONJUNCTIONS and not set(landsat) & set(sentinel2):
        with pytest.raises(MethodError, match=f"strategy {name} needs days on which both sensors"):
            split(name, days, parameters=parameters, rng=rng)
        return
    division = split(name, days, parameters=parameters, rng=rng)
    for positions, series_ in (
        (division.given.landsat, landsat),
        (division.given.sentinel2, sentinel2),
    ):
        assert list(positions) == sorted(set(positions))
        assert all(0 <= position < len(series_) for position in positions)


@given(days=ALL_DAYS, gap=st.integers(1, 90), length=st.integers(1, 400))
def test_gaps_drop_the_days_the_spec_lists(days, gap, length):
    dropped = {t for d in range(gap, length, 2 * gap) for t in range(d + 1, d + gap)}
    case = BySensor(tuple(days), ())
    found = as_days(split("GAPS", case, parameters=Parameters(gap=gap, length=length)), case)
    assert found["lr_input"] == [day for day in days if day not in dropped]


def test_chance_comes_from_the_generator_alone():
    days = BySensor(tuple(range(0, 300, 7)), tuple(range(0, 300, 5)))
    first, again = (split("RANDOM", days, rng=np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert first != split("RANDOM", days, rng=np.random.default_rng(4))


def test_half_months_follow_the_calendar():
    leap = Parameters(origin="2024-01-01", length=366)
    asked = split("L3A", BySensor(), parameters=leap).asked.sentinel2
    dates = np.datetime64("2024-01-01") + np.array(asked)
    assert len(dates) == 24
    assert {str(date)[-2:] for date in dates} == {"01", "15"}


def test_mistakes_name_the_way_out():
    with pytest.raises(MethodError, match=re.escape("no strategy 'RANDON'; those that exist: ALL")):
        split("RANDON", BySensor())
    with pytest.raises(MethodError, match="pass rng="):
        split("RANDOM", BySensor((1, 2), (1,)))
    with pytest.raises(MethodError, match="CUSTOM lacks its days"):
        split("CUSTOM", BySensor((1, 2), (1,)))
    with pytest.raises(MethodError, match=r"rate is 1\.5"):
        Parameters(rate=1.5)
    with pytest.raises(MethodError, match="gap is 0"):
        Parameters(gap=0)

"""Causal products: what came after a query date is as if it were not in the cube."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tamrf_xr
from tamrf_xr.causal import past_of, plan_causally
from tamrf_xr.cli import main
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.dates import plan_dates
from tamrf_xr.errors import DateError, JobError, OptionError, TimingWarning
from tamrf_xr.model.checkpoint import load_model
from tamrf_xr.scale.ledger import read_manifest
from tests.scenes import random_cube

START = pd.Timestamp("2022-01-01")
MOMENTS = st.integers(0, 24 * 500).map(lambda hours: START + pd.Timedelta(hours=hours))
PASSES = st.lists(MOMENTS, min_size=1, max_size=8, unique=True).map(pd.DatetimeIndex)
QUERIES = ("2022-01-20", "2022-02-06T12:00", "2022-03-15", "2022-01-25")


def read_of(plan, times, query):
    """The episode of a query date, its acquisitions as times."""
    (episode,) = (one for one in plan.episodes if query in one.queries)
    seen = {
        name: [tuple(times[name][list(plan.reads[name][one])]) for one in chosen]
        for name, chosen in episode.seen.items()
    }
    day = episode.query_days[episode.queries.index(query)]
    return seen, episode.days, day, episode.origin


@pytest.mark.filterwarnings("ignore::tamrf_xr.errors.TimingWarning")
@given(
    landsat=PASSES, sentinel2=PASSES, queries=PASSES, latency=st.sampled_from([None, "12h", "3D"]),
    window=st.sampled_from([None, 1000, 200]),
)  # fmt: skip
def test_a_plan_is_that_of_the_series_as_it_was(landsat, sentinel2, queries, latency, window):
    times = {"landsat": landsat, "sentinel2": sentinel2}
    for query in queries:
        try:
            past = past_of(times, query, latency=latency)
            cut = {name: index[list(past[name])] for name, index in times.items()}
            expected = plan_dates(cut, pd.DatetimeIndex([query]), window=window)
        except DateError:
            with pytest.raises(DateError):
                plan_causally(times, pd.DatetimeIndex([query]), latency=latency, window=window)
            queries = queries.drop(query)
            continue
        late = pd.Timedelta(latency or 0)
        asked = query + pd.Timedelta(days=1) if query == query.floor("D") else query
        assert all((index <= asked - late).all() for index in cut.values())
        alone = plan_causally(times, pd.DatetimeIndex([query]), latency=latency, window=window)
        assert read_of(alone, times, 0) == read_of(expected, cut, 0)
    if len(queries):
        together = plan_causally(times, queries, latency=latency, window=window)
        assert sorted(q for e in together.episodes for q in e.queries) == list(range(len(queries)))
        for place in range(len(queries)):
            alone = plan_causally(times, queries[[place]], latency=latency, window=window)
            assert read_of(together, times, place) == read_of(alone, times, 0)


@pytest.fixture(scope="module")
def small():
    folder = Path(__file__).parent / "data" / "oracle_small"
    return load_model(folder / "checkpoint.ckpt", folder / "config_composed.yaml")


def until(cube, moment):
    groups = {name: group.sel(time=group["time"] <= moment) for name, group in cube.items()}
    return build_cube({name: group for name, group in groups.items() if group.sizes["time"]})


def spiked(cube, moment):
    """The cube with other values, all valid, in acquisitions after a moment."""
    groups = {}
    for name, group in groups_of(cube).items():
        later = group["time"] > moment
        changed = {"valid": group["valid"] | later}
        for variable in ("reflectance", "surface_temperature"):
            if variable in group:
                changed[variable] = group[variable] * (1 + 0.1 * later)
        groups[name] = group.assign(changed)
    return build_cube(groups)


@pytest.mark.parametrize("method", ["tamrf", "linear", "harmonic", "composite", "whittaker"])
def test_equal_to_the_cube_without_the_future_and_blind_to_a_spike_in_it(method, small):
    cube = random_cube((12, 15), hr=8, lr=8)
    how = {"method": method, "model": small} if method == "tamrf" else {"method": method}
    made = cube.tamrf.fuse(QUERIES, causal=True, tile=9, **how).load()  # variables at once
    for place, query in enumerate(QUERIES):
        moment = pd.Timestamp(query)
        moment += pd.Timedelta(days=1 if moment == moment.floor("D") else 0)
        cut = until(groups_of(cube), moment)
        alone = cut.tamrf.fuse([query], **how).load()
        later = spiked(cube, moment).tamrf.fuse([query], causal=True, **how).load()
        full = cube.tamrf.fuse([query], **how).load()
        for name, group in alone.children.items():
            for variable in group.data_vars:
                expected = group[variable].values[0]
                for found in (made[name][variable].values[place], later[name][variable].values[0]):
                    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)
                if method != "tamrf":
                    np.testing.assert_array_equal(later[name][variable].values[0], expected)
                seeing = full[name][variable].values[0]
                assert not np.allclose(seeing, expected, equal_nan=True, atol=1e-4)


def test_a_day_of_which_a_part_was_there_is_two_images():
    """Two acquisitions of one day: a query between them sees the first alone."""
    times = {"sentinel2": pd.DatetimeIndex(["2022-01-10T10:00", "2022-01-10T12:00"])}
    queries = pd.DatetimeIndex(["2022-01-10T11:00", "2022-01-10"])
    plan = plan_causally(times, queries)
    assert plan.reads["sentinel2"] == ((0,), (0, 1))
    assert [episode.seen["sentinel2"] for episode in plan.episodes] == [(0,), (1,)]
    cube = random_cube((24, 30), hr=2, sensors=("sentinel2",), nan=0.3)
    group = groups_of(cube)["sentinel2"].assign_coords(time=times["sentinel2"])
    made = build_cube({"sentinel2": group}).tamrf.fuse(queries, method="linear", causal=True)
    first = build_cube({"sentinel2": group.isel(time=[0])}).tamrf.fuse(queries[0], method="linear")
    both = build_cube({"sentinel2": group}).tamrf.fuse(queries[1], method="linear")
    expected = [one["sentinel2"]["reflectance"].values[0] for one in (first, both)]
    np.testing.assert_array_equal(made["sentinel2"]["reflectance"].values, np.stack(expected))
    assert not np.array_equal(*expected, equal_nan=True)


def test_latency_holds_back_what_had_not_arrived():
    cube = random_cube((24, 30), sensors=("sentinel2",))
    passes = pd.DatetimeIndex(groups_of(cube)["sentinel2"]["time"].values)
    held = groups_of(cube)["sentinel2"].assign_coords(time=passes + pd.Timedelta(hours=10))
    cube, day = build_cube({"sentinel2": held}), passes[2] + pd.Timedelta(days=2)
    seen = {
        latency: past_of({"sentinel2": passes + pd.Timedelta(hours=10)}, day, latency=latency)
        for latency in (None, "2D", "3D")
    }
    assert {key: len(one["sentinel2"]) for key, one in seen.items()} == {None: 3, "2D": 3, "3D": 2}
    late = cube.tamrf.fuse([day], method="linear", causal=True, latency="3D")
    at_once = cube.tamrf.fuse([passes[1]], method="linear", causal=True)
    found, expected = (one["sentinel2"]["reflectance"].values for one in (late, at_once))
    np.testing.assert_array_equal(found, expected)
    assert "3D later" in late["sentinel2"].attrs["causal"]


def test_what_makes_no_sense_is_refused_before_anything_is_written(tmp_path, capsys):
    cube = random_cube((24, 30))
    with pytest.raises(DateError, match="2021-12-01 has no past: the first acquisition is of 2022"):
        cube.tamrf.fuse(["2022-02-01", "2021-12-01"], method="linear", causal=True)
    with pytest.raises(DateError, match="which arrives after P30D"):
        cube.tamrf.fuse(["2022-01-10"], method="linear", causal=True, latency="30D")
    with pytest.raises(OptionError, match="latency='3D' has no meaning without causal=True"):
        cube.tamrf.fuse(["2022-02-01"], method="linear", latency="3D")
    with pytest.raises(OptionError, match="causal must be True or False, got 'yes'"):
        cube.tamrf.fuse(["2022-02-01"], method="linear", causal="yes")
    # A method that cannot without a pair of dates in the past says so at the door.
    with pytest.raises(tamrf_xr.errors.MethodError, match="'stair' needs conjunctions"):
        cube.tamrf.fuse(["2022-01-04"], method="stair", causal=True)
    tamrf_xr.save_cube(cube, tmp_path / "scene.zarr")
    words = ["fuse", str(tmp_path / "scene.zarr"), str(tmp_path / "out.zarr"), "--quiet"]
    assert main([*words, "--dates", "2021-12-01", "--method", "linear", "--causal"]) == 1
    assert "has no past" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["scene.zarr"]


def test_a_past_that_outgrows_the_window_is_told():
    cube = random_cube((24, 30), hr=12, sensors=("sentinel2",))
    with pytest.warns(TimingWarning, match="outgrows the window of 60 days: they see the half"):
        cube.tamrf.fuse(["2022-02-10", "2022-05-01"], method="linear", causal=True, window="60D")


def test_a_job_is_causal_or_not_and_one_of_before_is_gone_on_with(tmp_path, capsys):
    tamrf_xr.save_cube(random_cube((24, 30)), tmp_path / "scene.zarr")
    words = ["fuse", str(tmp_path / "scene.zarr"), str(tmp_path / "out.zarr"), "--quiet"]
    words += ["--method", "linear", "--dates", "2022-01-20", "2022-02-20", "--tile", "12"]
    assert main([*words, "--causal", "--latency", "2D"]) == 0
    assert main([*words, "--causal", "--latency", "P2D"]) == 0
    cube = tamrf_xr.open_cube(tmp_path / "scene.zarr")
    lazy = cube.tamrf.fuse(words[-4:-2], method="linear", causal=True, latency="2D")
    made = tamrf_xr.open_cube(tmp_path / "out.zarr")
    for name in ("sentinel2", "landsat"):
        found, expected = (one[name]["reflectance"].values for one in (made, lazy))
        np.testing.assert_allclose(found, expected, atol=6e-5)
    assert main([*words, "--causal"]) == 1
    assert "causal: found latency 2D, asked latency None" in capsys.readouterr().err
    with pytest.raises(JobError, match="causal: found latency 2D, asked nothing"):
        tamrf_xr.run_job(cube, tmp_path / "out.zarr", words[-4:-2], method="linear", tile=12)
    tamrf_xr.run_job(cube, tmp_path / "plain.zarr", words[-4:-2], method="linear", progress=False)
    manifest = read_manifest(tmp_path / "plain.zarr")
    assert "causal" not in manifest.asked
    assert "causal" in json.dumps(dict(read_manifest(tmp_path / "out.zarr").asked))

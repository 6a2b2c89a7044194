"""Alerts: computed as stated, from the past alone, whatever the tile; runs persist or do not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tamrf_xr
from tamrf_xr.alerts import alerts, scores, scoring
from tamrf_xr.alerts.monitoring import alerts_of
from tamrf_xr.alerts.runs import NONE, find_runs
from tamrf_xr.cli import main
from tamrf_xr.cube import build_cube, build_group, groups_of
from tamrf_xr.errors import (
    CubeError,
    DateError,
    MethodError,
    ModelError,
    OptionError,
)
from tamrf_xr.evaluation.compensate import degrade
from tests.scenes import grid, random_cube
from tests.test_uncertainty import network

SINCE, LATENCY = "2022-02-12", "15D"


@pytest.fixture(scope="module")
def cube():
    return random_cube((24, 30), hr=8, lr=6, seed=1, nan=0.02)


@pytest.fixture(scope="module")
def model():
    return network()


def told(cube, model, **more) -> xr.Dataset:
    options = {"since": SINCE, "latency": LATENCY, "model": model, "precision": "float32"}
    options |= {"bands": [f"B{n:02}" for n in range(1, 13) if n not in (9, 10)] + ["B8A"]}
    return scores(cube, **options | more).load()


def cut(cube, keep):
    """Return the acquisitions whose times `keep` takes."""
    return build_cube({n: g.sel(time=keep(g["time"].values)) for n, g in groups_of(cube).items()})


def test_a_score_is_that_of_a_prediction_from_the_cube_as_it_was(cube, model):
    found = told(cube, model)
    assert set(found["sensor"].values) == {"sentinel2", "landsat"}
    for place, (time, name) in enumerate(
        zip(found["time"].values, found["sensor"].values, strict=True)
    ):
        past = cut(cube, lambda times, now=time: times <= now - np.timedelta64(15, "D"))
        made = past.tamrf.fuse(
            [pd.Timestamp(time)], model=model, uncertainty=True, sensors=[name], precision="float32"
        )
        images, std = (made[f"{name}/reflectance{end}"].values[0] for end in ("", "_std"))
        ratio = 3 if name == "landsat" else 1
        middle = slice(ratio // 2, None, ratio)
        seen = degrade(images, name, tuple(made[name]["band"].values), ratio=ratio)
        group = groups_of(cube)[name].sel(time=time)
        expected = (group["reflectance"].values - seen) / std[:, middle, middle]
        expected = np.where(group["valid"].values, np.sqrt((expected**2).mean(axis=0)), np.nan)
        got = found["score"].values[place]
        np.testing.assert_allclose(got[middle, middle], expected, rtol=2e-3)
        assert np.isfinite(got).any()
        for row, column in np.ndindex(ratio, ratio):
            np.testing.assert_array_equal(got[row::ratio, column::ratio], got[middle, middle])


def test_an_acquisition_shows_in_its_own_score_and_in_those_after_the_latency_alone(cube, model):
    at = np.datetime64("2022-02-16")
    groups = groups_of(cube)
    images = groups["sentinel2"]["reflectance"]
    spiked = images.where(images["time"] != at, images + 0.6)
    odd = build_cube({**groups, "sentinel2": groups["sentinel2"].assign(reflectance=spiked)})
    before, after = told(cube, model), told(odd, model)
    same = np.isclose(before["score"], after["score"], equal_nan=True, rtol=1e-4).all(axis=(1, 2))
    times = before["time"].values
    own = (times == at) & (before["sensor"].values == "sentinel2")
    assert own.sum() == 1
    assert not same[own].any()
    late = times >= at + np.timedelta64(15, "D")
    assert late.any()
    np.testing.assert_array_equal(same, ~own & ~late)


@pytest.mark.parametrize("tile", [6, 9, 12])
def test_any_tiling_equals_the_whole(cube, model, tile):
    whole = told(cube, model)
    tiled = told(cube, model, tile=tile)
    np.testing.assert_allclose(tiled["score"], whole["score"], rtol=1e-4)
    threshold = float(whole["score"].median())
    maps = [alerts_of(one, threshold=threshold, persistence=2).load() for one in (whole, tiled)]
    for name in ("first_exceedance", "confirmed", "persistence", "observations"):
        np.testing.assert_array_equal(*(one[name].values for one in maps))
    assert maps[0]["confirmed"].notnull().any()


def test_what_comes_later_changes_nothing_of_what_is_confirmed(cube, model):
    options = {"since": SINCE, "latency": LATENCY, "model": model, "persistence": 2}
    threshold = float(told(cube, model)["score"].median())
    last = np.datetime64("2022-03-12")
    early = alerts(
        cut(cube, lambda times: times <= last), threshold=threshold, **options
    ).load()  # fmt: skip
    late = alerts(cube, threshold=threshold, **options).load()
    known = early["confirmed"].notnull().values
    assert known.any()
    for name in ("first_exceedance", "confirmed"):
        np.testing.assert_array_equal(early[name].values[known], late[name].values[known])
    fresh = late["confirmed"].values[~known]
    assert (np.isnat(fresh) | (fresh > last)).all()


def by_hand(row, threshold, persistence):
    """The run of one pixel, as stated, by lists."""
    runs, open_ = [], []
    for place, score in enumerate(row):
        if np.isnan(score):
            continue
        if score > threshold:
            open_.append(place)
        else:
            runs.append(open_)
            open_ = []
    lasting = [run for run in [*runs, open_] if len(run) >= persistence]
    run = lasting[0] if lasting else open_
    first = run[0] if run else NONE
    confirmed = run[persistence - 1] if len(run) >= persistence else NONE
    mean = np.mean([row[place] for place in run]) if run else np.nan
    return first, confirmed, len(run), mean


@given(
    rows=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)),
        elements=st.sampled_from([0.5, 3.5, 4.5, np.nan]),
    ),
    persistence=st.integers(1, 4),
)  # fmt: skip
def test_runs_are_those_of_lists(rows, persistence):
    found = find_runs(rows[:, None], threshold=3.0, persistence=persistence)
    for pixel in range(rows.shape[1]):
        expected = by_hand(rows[:, pixel], 3.0, persistence)
        got = [getattr(found, name)[0, pixel] for name in found.__slots__]
        np.testing.assert_allclose(got, expected)


@pytest.fixture
def by_interpolation(monkeypatch):
    """Let the prediction be the newest that is known, its deviation 0.01."""

    def fuse(cube, queries, *, uncertainty, **options):
        assert uncertainty
        assert options["causal"]
        made = tamrf_xr.fuse(cube, queries, method="linear", **options)
        groups = {}
        for name, group in groups_of(made).items():
            std = {f"{v}_std": xr.full_like(group[v], 0.01) for v in group.data_vars}
            groups[name] = group.assign(std)
        return xr.DataTree.from_dict(groups)

    monkeypatch.setattr(scoring, "fuse", fuse)


def steady(step=None, *, at="2022-05-01", where=np.s_[6:15, 9:18]):
    """A series of a flat field that never changes, but by `step` in `where` from `at` on."""
    groups = {}
    for name, (ratio, first) in {
        "sentinel2": (1, "2022-01-02"),
        "landsat": (3, "2022-01-04"),
    }.items():
        times = pd.date_range(first, "2022-06-30", freq="8D")
        bands = 10 if ratio == 1 else 7
        images = np.full((len(times), bands, 24 // ratio, 30 // ratio), 0.2, np.float32)
        inside = tuple(slice(s.start // ratio, s.stop // ratio) for s in where)
        if step is not None:
            images[(slice(None), slice(None), *inside)] += np.where(
                times >= at, np.float32(step), np.float32(0)
            )[:, None, None, None]
        place = grid(images.shape[2:], gsd=10.0 * ratio)
        groups[name] = build_group(name, images, times=times, grid=place,
                                   valid=np.ones(images[:, 0].shape, bool))  # fmt: skip
    return build_cube(groups)


@pytest.mark.usefixtures("by_interpolation")
def test_nothing_that_stays_is_an_alert():
    found = steady().tamrf.alerts("2022-03-01", latency="30D").load()
    assert found["confirmed"].isnull().all()
    assert (found["persistence"] == 0).all()
    assert (found["observations"] > 10).all()


@pytest.mark.usefixtures("by_interpolation")
@pytest.mark.parametrize("step", [0.1, -0.1])
def test_a_step_is_found_on_its_day_and_confirmed_by_the_last_that_it_takes(step):
    cube = steady(step)
    found = cube.tamrf.alerts("2022-03-01", persistence=3, latency="40D").load()
    times = np.unique(np.concatenate([g["time"].values for g in groups_of(cube).values()]))
    days = times[times >= np.datetime64("2022-05-01")]
    inside = np.zeros((24, 30), bool)
    inside[7:14, 10:17] = True  # the rim of a blurred prediction is neither
    assert (found["first_exceedance"].values[inside] == days[0]).all()
    assert (found["confirmed"].values[inside] == days[2]).all()
    np.testing.assert_allclose(found["magnitude"].values[inside], 10, rtol=1e-3)
    # Until the new state is 40 days old, and predicted.
    known = days < days[0] + np.timedelta64(40, "D")
    assert (found["persistence"].values[inside] == known.sum()).all()
    outside = np.ones((24, 30), bool)
    outside[6:15, 9:18] = False
    assert found["first_exceedance"].isnull().values[outside].all()


@pytest.mark.usefixtures("by_interpolation")
def test_what_is_not_usable_neither_confirms_nor_breaks_a_run():
    cube = steady(0.1)
    groups = groups_of(cube)
    days = np.unique(np.concatenate([g["time"].values for g in groups.values()]))
    days = days[days >= np.datetime64("2022-05-01")]
    for group in groups.values():
        clouded = np.isin(group["time"].values, days[[1, 2]])
        group["valid"][clouded] = False
        group["reflectance"][clouded] = 0.9
    found = build_cube(groups).tamrf.alerts("2022-04-01", latency="60D").load()
    assert found["first_exceedance"].values[10, 13] == days[0]
    assert found["confirmed"].values[10, 13] == days[4]
    clear = steady(0.1).tamrf.alerts("2022-04-01", latency="60D").load()
    assert (clear["observations"] - found["observations"] == 2).all()


@pytest.mark.usefixtures("by_interpolation")
def test_acquisitions_of_one_sensor_and_day_are_one():
    groups = groups_of(steady(0.1))
    again = groups["sentinel2"].copy(deep=True)
    groups["sentinel2"]["valid"][:, :, :15] = False  # two tiles that meet
    again = again.assign_coords(time=again["time"] + np.timedelta64(10, "s"))
    both = xr.concat([groups["sentinel2"], again], "time").sortby("time")
    doubled = (
        build_cube({**groups, "sentinel2": both}).tamrf.alerts("2022-03-01", latency="30D").load()
    )
    single = steady(0.1).tamrf.alerts("2022-03-01", latency="30D").load()
    for name in single.data_vars:
        np.testing.assert_allclose(
            doubled[name].values.astype(float), single[name].values.astype(float), rtol=1e-4
        )


def test_bad_requests_are_told(cube, model):
    with pytest.raises(ModelError, match="do not tell how uncertain"):
        alerts(cube, SINCE, latency=LATENCY, model=network(told=False))
    with pytest.raises(DateError, match="has no past"):
        alerts(cube, "2022-01-01", latency=LATENCY, model=model)
    with pytest.raises(DateError, match=r"no acquisition to monitor from 2024.*2022-01-03"):
        alerts(cube, "2024-01-01", model=model)
    with pytest.raises(DateError, match="--since"):
        alerts(cube, model=model)  # shorter than what is left out at first
    with pytest.raises(DateError, match="since is one date, got 2"):
        alerts(cube, ["2022-02-12", "2022-02-13"], model=model)
    for value in (0, -1, 1.5, True, 10**6, "3"):
        with pytest.raises(OptionError, match="persistence is"):
            alerts(cube, SINCE, persistence=value, model=model)
    for value in (0, -1, np.nan, np.inf, True, "3"):
        with pytest.raises(OptionError, match="threshold is"):
            alerts(cube, SINCE, threshold=value, model=model)
    with pytest.raises(OptionError, match="predicted from itself"):
        alerts(cube, SINCE, latency="12h", model=model)
    with pytest.raises(MethodError, match="unknown band"):
        alerts(cube, SINCE, latency=LATENCY, bands=["B99"], model=model)
    groups = groups_of(cube)
    bare = build_cube({name: group.drop_vars("valid") for name, group in groups.items()})
    with pytest.raises(CubeError, match="no 'valid': clouds would be alerts"):
        alerts(bare, SINCE, model=model)
    cold = build_cube(
        {n: g.drop_vars("surface_temperature", errors="ignore") for n, g in groups.items()}
    )
    with pytest.raises(CubeError, match="LST of landsat"):
        alerts(cold, SINCE, latency=LATENCY, bands=["LST"], model=model)
    product = cube.tamrf.fuse(["2022-02-12"], method="linear")
    with pytest.raises(CubeError, match="made by fuse"):
        alerts(product, SINCE, model=model)


def test_one_sensor_and_temperature_do(cube, model):
    groups = groups_of(cube)
    alone = told(build_cube({"landsat": groups["landsat"]}), model, bands=["LST", "B04"])
    assert alone["score"].shape[1:] == (24, 30)
    assert np.isfinite(alone["score"]).any()
    assert set(alone["sensor"].values) == {"landsat"}


def test_the_command_writes_a_map_whole_or_not_at_all(tmp_path, cube, model, capsys):
    weights = tamrf_xr.save_model(model, tmp_path / "m.safetensors")
    bare = tamrf_xr.save_model(network(told=False), tmp_path / "n.safetensors")
    tamrf_xr.save_cube(cube, tmp_path / "c.zarr")
    out = tmp_path / "a.zarr"
    words = ["alerts", tmp_path / "c.zarr", out, "--since", SINCE, "--latency", LATENCY, "--quiet"]
    words = [str(word) for word in words]
    assert main([*words, "--model", str(bare)]) == 1
    assert "do not tell how uncertain" in capsys.readouterr().err
    assert not out.exists()
    assert main([*words, "--model", str(weights)]) == 0
    assert "of 6 acquisitions" in capsys.readouterr().out
    found = xr.open_zarr(out, decode_coords="all")
    wanted = tamrf_xr.open_cube(tmp_path / "c.zarr").tamrf.alerts(
        SINCE, latency=LATENCY, model=model
    ).load()  # fmt: skip
    for name in wanted.data_vars:
        np.testing.assert_array_equal(found[name].values, wanted[name].values)
    assert found.rio.crs.to_epsg() == 32631
    assert found["first_exceedance"].dtype.kind == "M"
    assert main([*words, "--model", str(weights)]) == 1
    assert "exists" in capsys.readouterr().err
    assert main([*words, "--model", str(weights), "--overwrite"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".json") == [
        "a.zarr", "c.zarr", "m.safetensors", "n.safetensors",
    ]  # fmt: skip
    assert main([words[0], words[1], words[1], *words[3:], "--overwrite"]) == 1
    assert "read" in capsys.readouterr().err

"""Sudden changes: seen from their day on, where the truth says, and not before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tamrf_xr.errors import OptionError
from tamrf_xr.simulate import Event, SceneConfig, draw_config, simulate
from tamrf_xr.simulate.changes import AFTERMATHS, STAYS
from tests.simulate.configs import QUIET

DAY = 150
CHANGED = {kind: Event(kind, DAY, 0.5, 0.5, 90.0) for kind in AFTERMATHS}
FEW = {"sentinel2_revisit_days": 180, "landsat_revisit_days": 180, "cloudiness": 0.0}


def scene_of(biome, *events, **fixed):
    return simulate(SceneConfig(size_px=48, seed=3, biome=biome, events=events, **FEW, **fixed))


def images(scene, days):
    dates = [pd.Timestamp(scene.config.year, 1, 1) + pd.Timedelta(day, "D") for day in days]
    return scene.truth(dates)


@pytest.fixture(scope="module")
def still():
    return scene_of("savanna")


@pytest.mark.parametrize("kind", AFTERMATHS)
def test_a_change_is_seen_from_its_day_on_where_it_is_and_nowhere_else(kind, still):
    scene = scene_of("savanna", CHANGED[kind])
    days = (DAY - 1, DAY, DAY + 30)
    with_it, without = images(scene, days), images(still, days)
    share = scene.changes["share"].values[0]
    assert share.max() == 1
    for sensor in ("sentinel2", "landsat"):
        after, before = (cube[sensor]["reflectance"].values for cube in (with_it, without))
        np.testing.assert_array_equal(after[0], before[0])
        np.testing.assert_array_equal(after[..., share == 0], before[..., share == 0])
        for place in (1, 2):
            gone = np.abs(after[place] - before[place]).max(axis=0)[share == 1]
            assert np.median(gone) > 0.01
            assert np.isfinite(after).all()


@pytest.fixture(scope="module")
def untouched():
    return images(scene_of("tropical", years=2), LATER)["sentinel2"]["reflectance"].values


LATER = (DAY + 400, DAY + 560)
LASTING = [kind for kind, row in AFTERMATHS.items() if row.heals_days == STAYS]


@pytest.mark.parametrize("kind", LASTING)
def test_what_stays_is_still_there_a_year_later(kind, untouched):
    scene = scene_of("tropical", CHANGED[kind], years=2)
    later = images(scene, LATER)["sentinel2"]["reflectance"].values
    inside = scene.changes["share"].values[0] == 1
    assert (np.abs(later - untouched).max(axis=1)[:, inside].mean(axis=1) > 0.02).all()


def test_char_is_dark_and_fades():
    scene = scene_of("savanna", CHANGED["fire"])
    inside = scene.changes["share"].values[0] == 1
    nir = images(scene, (DAY - 1, DAY, DAY + 120))["sentinel2"]["reflectance"].sel(band="B08")
    before, fresh, later = nir.values[:, inside].mean(axis=1)
    assert fresh < 0.12 < before
    assert later > fresh


def test_fresh_lava_is_hot_and_cools():
    scene = scene_of("volcanic", CHANGED["lava"])
    still = scene_of("volcanic")
    inside = scene.changes["share"].values[0] == 1
    days = (DAY, DAY + 100)
    excess = [
        (images(scene, days)["landsat"]["surface_temperature"].values
         - images(still, days)["landsat"]["surface_temperature"].values)[i][inside].mean()
        for i in (0, 1)
    ]  # fmt: skip
    assert excess[0] > 30 > 20 > excess[1]


def test_the_truth_of_changes_names_day_and_kind_of_the_first():
    first, second = Event("building", 80, 0.5, 0.5, 60.0), Event("flood", 200, 0.5, 0.5, 150.0)
    scene = scene_of("rice", second, first)
    told = scene.changes
    assert told["event_kind"].values.tolist() == ["flood", "building"]
    assert told.sizes == {"event": 2, "y": 48, "x": 48}
    np.testing.assert_array_equal(told["x"], scene.cube["sentinel2"]["x"])
    words = told["kind"].attrs["flag_meanings"].split()
    kinds = np.array(words)[told["kind"].values]
    built, wet = told["share"].values[1] >= 0.5, told["share"].values[0] >= 0.5
    assert (kinds[built] == "building").all()
    assert (kinds[wet & ~built] == "flood").all()
    assert (kinds[~wet & ~built] == "none").all()
    start = np.datetime64(f"{scene.config.year}-01-01", "ns")
    assert (told["date"].values[built] == start + np.timedelta64(80, "D")).all()
    assert np.isnat(told["date"].values[~wet & ~built]).all()


def test_a_scene_without_events_has_no_changes(still):
    told = still.changes
    assert told.sizes["event"] == 0
    assert np.isnat(told["date"].values).all()
    assert not told["kind"].values.any()


def test_changes_spare_water():
    scene = scene_of(
        "boreal", *(Event("fire", 100, s, e, 500.0) for s in (0.2, 0.8) for e in (0.2, 0.8))
    )
    land, inner = scene.ground.land, slice(12, 60)
    wet = land.mixing @ (land.of("ground") == "water").astype(np.float32)
    wet = wet.reshape(land.shape)[inner, inner]
    assert (scene.changes["share"].values <= 1 - wet + 1e-6).all()


def test_acquisitions_see_changes_too():
    config = replace(QUIET, size_px=48, sentinel2_revisit_days=30)
    changed, plain = (
        simulate(replace(config, events=events)).cube["sentinel2"]
        for events in ((CHANGED["building"],), ())
    )
    day = changed["time"].dt.dayofyear.values - 1
    difference = changed["reflectance"].values - plain["reflectance"].values
    most = np.abs(difference).max(axis=(1, 2, 3))
    assert (most[day < DAY] == 0).all()
    assert (most[day >= DAY] > 0.05).all()


def test_drawn_events_follow_the_seed_and_not_the_size():
    wide, narrow = (draw_config(3, biome="savanna", size_px=size).events for size in (660, 120))
    assert wide == draw_config(3, biome="savanna", size_px=660).events
    assert set(narrow) <= set(wide)
    counts = [len(draw_config(seed, biome="savanna").events) for seed in range(40)]
    assert 2.5 < np.mean(counts) < 6
    assert not draw_config(3).events


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "meteor"}, "no event 'meteor'; there are: fire"),
        ({"south": 1.2}, "south of fire is 1.2"),
        ({"radius_m": 0.0}, "radius_m of fire"),
        ({"day": -1}, "day of fire"),
        ({"day": 1.5}, "day of fire"),
    ],
)
def test_events_without_meaning_are_refused(change, words):
    usual = {"kind": "fire", "day": 3, "south": 0.5, "east": 0.5, "radius_m": 100.0}
    with pytest.raises(OptionError, match=words):
        Event(**{**usual, **change})


def test_events_of_a_scene_are_events():
    with pytest.raises(OptionError, match="events has 'fire': expected"):
        SceneConfig(events=("fire",))
    assert SceneConfig(events=[CHANGED["fire"]]) == SceneConfig(events=(CHANGED["fire"],))

"""Samples: the same whoever reads them; dates as the paper draws them; validation kept apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import tamrf_xr
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import CubeError
from tamrf_xr.training.config import DataConfig
from tamrf_xr.training.data import Patches, draw_dates, hold_back, read_ahead
from tamrf_xr.training.sites import sites_of
from tamrf_xr.training.stack import turned
from tests.scenes import random_cube

DATA = DataConfig(patch_m=240, dates=12, validation_share=0.2)


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cubes")
    for seed in range(2):
        tamrf_xr.save_cube(
            random_cube((96, 120), hr=14, lr=9, seed=seed, nan=0.1), folder / f"{seed}.zarr"
        )
    return [tamrf_xr.open_cube(folder / f"{seed}.zarr") for seed in range(2)]


def patches(cubes, **options):
    train, _ = sites_of(cubes, DATA)
    return Patches(cubes, train, DATA, seed=3, count=20, **options)


def same(one, other):
    assert (one.number, one.strategy) == (other.number, other.strategy)
    for name, seen in one.patches.items():
        theirs = other.patches[name]
        np.testing.assert_array_equal(seen.pixels, theirs.pixels)
        np.testing.assert_array_equal(seen.days, theirs.days)
        np.testing.assert_array_equal(seen.given, theirs.given)


@pytest.mark.parametrize(("threads", "processes"), [(1, 0), (4, 0), (1, 2)])
def test_samples_are_the_same_whoever_reads_them(cubes, threads, processes):
    numbers = [7, 3, 3, 19, 0]
    read = list(read_ahead(patches(cubes), numbers, threads=threads, processes=processes))
    for number, sample in zip(numbers, read, strict=True):
        same(sample, patches(cubes)[number])


def test_samples_differ_by_number_and_seed(cubes):
    one, two = patches(cubes)[0], patches(cubes)[1]
    other = Patches(cubes, sites_of(cubes, DATA)[0], DATA, seed=4, count=20)[0]
    prints = {s.patches["sentinel2"].pixels.numpy().tobytes() for s in (one, two, other)}
    assert len(prints) == 3


def test_a_sample_is_what_the_cube_holds_there(cubes):
    train, _ = sites_of(cubes, DATA)
    site = [train[0]]
    sample = Patches(cubes, site, DATA, seed=0, count=1)[0]
    y, x = (3 * start for start in site[0].corner)
    cube = cubes[site[0].part.cube]
    seen = sample.patches["sentinel2"]
    days = site[0].part.days["sentinel2"].tolist()
    at = [days.index(day) for day in seen.days]
    expected = cube["sentinel2/reflectance"].values[at, :, y : y + 24, x : x + 24]
    stored = seen.pixels.numpy().astype(np.float32)
    stored[stored == seen.packing.fill] = np.nan
    np.testing.assert_array_equal(stored * np.float32(1e-4), expected)
    assert sample.patches["landsat"].pixels.shape[-2:] == (8, 8)


def test_samples_are_moved_and_turned_as_asked(cubes):
    train, _ = sites_of(cubes, DATA)
    data = replace(DATA, shift_days=20, turn=True)
    plain, moved = (Patches(cubes, train, d, seed=3, count=40) for d in (DATA, data))
    shifts, ways = set(), set()
    for number in range(40):
        one, turns = plain[number].patches, moved[number].turns
        other = {n: as_turned(seen, turns) for n, seen in moved[number].patches.items()}
        shift = {int(days) for n in one for days in other[n].days - one[n].days}
        assert len(shift) == 1
        shifts |= shift
        way = {tuple(w for w in range(8) if same_images(one[n], other[n], w)) for n in one}
        assert len(way) == 1  # both sensors alike
        ways |= way
    assert min(shifts) < -9
    assert max(shifts) > 9
    assert ways == {(w,) for w in range(8)}


def as_turned(seen, turns):
    each = torch.full((len(seen.days),), turns)
    return replace(seen, pixels=turned(seen.pixels, each), valid=turned(seen.valid, each))


def same_images(one, other, way):
    for images, theirs in ((one.pixels, other.pixels), (one.valid, other.valid)):
        turned = np.rot90(images, way % 4, axes=(-2, -1))
        turned = turned[..., ::-1] if way >= 4 else turned
        if not np.array_equal(turned, theirs, equal_nan=True):
            return False
    return True


def test_validation_is_kept_apart_and_stays_where_it_is(cubes):
    train, kept = sites_of(cubes, DATA)
    where = lambda sites: {(s.part.cube, s.corner) for s in sites}  # noqa: E731
    assert not where(train) & where(kept)
    assert len(train) + len(kept) == 2 * 4 * 5
    first_train, first_kept = sites_of(cubes[:1], DATA)
    assert where(first_train) == {w for w in where(train) if w[0] == 0}
    assert where(first_kept) == {w for w in where(kept) if w[0] == 0}


def test_patches_that_overlap_leave_validation_apart(cubes):
    edge = DATA.patch_m // 30
    train, kept = sites_of(cubes, replace(DATA, stride_m=30))
    assert len(kept) > 2
    for one in train:
        for other in (site for site in kept if site.part.cube == one.part.cube):
            assert max(abs(np.subtract(one.corner, other.corner))) >= edge
    share = replace(DATA, stride_m=30, validation_share=0.0)
    assert len(sites_of(cubes, share)[0]) > len(train) + len(kept)


def test_every_date_is_in_a_slice():
    series = random_cube((24, 24), hr=30, lr=30)  # 320 days
    train, _ = sites_of([series], replace(DATA, slice_days=200, validation_share=0.0))
    for sensor in ("landsat", "sentinel2"):
        seen = {at for site in train for day in site.part.positions[sensor] for at in day}
        assert seen == set(range(30))


def test_dates_are_shared_in_proportion():
    days = {"landsat": np.arange(30), "sentinel2": np.arange(90)}
    drawn = draw_dates(days, 40, np.random.default_rng(0))
    assert {name: len(chosen) for name, chosen in drawn.items()} == {"landsat": 10, "sentinel2": 30}
    assert all((np.diff(chosen) > 0).all() for chosen in drawn.values())
    everything = draw_dates(days, 500, np.random.default_rng(0))
    assert len(everything["sentinel2"]) == 90


def test_strategies_are_those_of_the_paper():
    days = {name: np.arange(0, 360, 10) for name in ("landsat", "sentinel2")}
    drawn = [hold_back(days, "all", np.random.default_rng(seed))[0] for seed in range(300)]
    assert set(drawn) == {"RANDOM", "GAPS", "NOHR", "NOLR", "FORECAST", "BACKCAST"}
    assert 0.35 < drawn.count("RANDOM") / 300 < 0.65
    assert {hold_back(days, "random", np.random.default_rng(s))[0] for s in range(9)} == {"RANDOM"}


def test_something_is_always_given():
    days = {"landsat": np.array([200]), "sentinel2": np.array([210])}
    for seed in range(200):
        _, given = hold_back(days, "all", np.random.default_rng(seed))
        assert any(kept.any() for kept in given.values())


def test_cubes_that_cannot_be_trained_on_are_refused(cubes):
    with pytest.raises(CubeError, match="no patch of 3000 m"):
        sites_of(cubes, replace(DATA, patch_m=3000))
    with pytest.raises(CubeError, match="has 50 dates of each sensor within 365"):
        sites_of(cubes, replace(DATA, min_dates=50))
    groups = groups_of(random_cube())
    groups["landsat"] = groups["landsat"].drop_vars("surface_temperature")
    with pytest.raises(CubeError, match="/landsat of cube 0 lacks LST"):
        sites_of([build_cube(groups)], DATA)
    bare = build_cube({n: g.drop_vars("valid") for n, g in groups_of(random_cube()).items()})
    with pytest.raises(CubeError, match="no 'valid'"):
        sites_of([bare], DATA)

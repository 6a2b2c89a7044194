"""Samples mixed by weight; what is tested on is left out, by place and date."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import tamrf_xr
from tamrf_xr.cube import build_cube, fine_grid, groups_of
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.training.config import DataConfig, TrainConfig
from tamrf_xr.training.data import Patches
from tamrf_xr.training.leaving import LeftOut
from tamrf_xr.training.recipes import recipe
from tamrf_xr.training.run import train
from tamrf_xr.training.setting import as_tree, merge, override
from tamrf_xr.training.sites import sites_of
from tests.scenes import random_cube

DATA = DataConfig(cubes=("a", "b"), patch_m=240, dates=12, mix=(3, 1), validation_share=0.0)


@pytest.fixture(scope="module")
def cubes():
    """Nine sites of both sensors, then two cubes of one, of one site each."""
    large = random_cube((72, 72), hr=14, lr=9)
    fine = groups_of(random_cube((24, 24), hr=14, seed=1))["sentinel2"]
    coarse = groups_of(random_cube((24, 24), lr=9, seed=2))["landsat"]
    return [large, build_cube({"sentinel2": fine}), build_cube({"landsat": coarse})]


def test_kinds_come_as_often_as_their_weights_say(cubes):
    sites, _ = sites_of(cubes, DATA)
    patches = Patches(cubes, sites, DATA, count=800, kinds=[0, 1, 1])
    drawn = [patches._drawn(np.random.default_rng((0, number))) for number in range(800)]
    cube = np.array([sites[at].part.cube for at in drawn])
    assert 0.70 < (cube == 0).mean() < 0.80
    assert 0.08 < (cube == 1).mean() < 0.17  # half of a quarter
    assert len(set(drawn)) == len(sites) == 11
    single = next(number for number in range(800) if cube[number] == 1)
    assert list(patches[single].patches) == ["sentinel2"]


def test_a_kind_without_weight_is_never_drawn(cubes):
    data = replace(DATA, mix=(0, 2))
    sites, _ = sites_of(cubes, data)
    patches = Patches(cubes, sites, data, kinds=[0, 1, 1])
    drawn = {patches._drawn(np.random.default_rng(n)) for n in range(200)}
    assert {sites[at].part.cube for at in drawn} == {1, 2}


def test_a_run_mixes_what_its_patterns_name(cubes, tmp_path):
    for name, cube in zip(("s0", "r0", "r1"), cubes, strict=True):
        tamrf_xr.save_cube(cube, tmp_path / f"{name}.zarr")
    words = [f"data={tmp_path}/s*.zarr,{tmp_path}/r*.zarr", "data.mix=[1, 1]", "optim.steps=2"]
    words += [
        "data.patch_m=240",
        "data.dates=6",
        "run.validate_every=2",
        "run.validation_samples=1",
    ]
    words += ["model.latent=8", "model.growth=4", "model.positional=8", "model.feedforward=8"]
    words += ["model.decoder_feedforward=8", "optim.batch=1"]
    words += ['data.leave_out=["100,40,109,60", "2000-01-01/2000-12-31"]']
    config = override(recipe("quick"), words)
    assert config.data.leave_out == ("100,40,109,60", "2000-01-01/2000-12-31")
    assert merge(TrainConfig(), as_tree(config)) == config
    assert train(config, tmp_path / "run", progress=False).exists()


@pytest.mark.parametrize("mix", [(1,), (1, -1), (0, 0), (1, float("inf"))])
def test_weights_that_make_no_sense_are_refused(mix):
    with pytest.raises(OptionError, match=r"data.mix is .*expected a weight, 0 or more, for each"):
        TrainConfig(data=replace(DATA, patch_m=1650, mix=mix))


def test_a_weight_without_a_patch_is_refused(cubes):
    sites, _ = sites_of(cubes[:1], DATA)
    with pytest.raises(CubeError, match=r"no patch in the cubes number 1 of data.cubes"):
        Patches(cubes[:1], sites, DATA, kinds=[0])


def geographic(cube, x, y):
    """Degrees of a point, in pixels of 10 m from the upper left corner."""
    from pyproj import Transformer

    grid = fine_grid(cube)
    left, _, _, top = grid.bounds
    return Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(
        left + 10 * x, top - 10 * y
    )


def test_no_patch_touches_a_place_left_out(cubes):
    """A point in the middle of nine squares takes one away; their corner takes four."""
    for at, left in ((36, 8), (24, 5)):
        lon, lat = geographic(cubes[0], at, at)
        place = f"{lon - 1e-7:.9f},{lat - 1e-7:.9f},{lon + 1e-7:.9f},{lat + 1e-7:.9f}"
        sites, _ = sites_of(cubes[:1], replace(DATA, leave_out=(place,)))
        assert len(sites) == left


@pytest.mark.parametrize("where", ["", "0,40,9,60@", "100,40,109,60@"])
def test_no_date_of_a_span_left_out_is_drawn(cubes, where):
    times = pd.DatetimeIndex(cubes[0]["sentinel2"]["time"].values).floor("D")
    first, last = times[3], times[6]
    data = replace(DATA, leave_out=(f"{where}{first:%Y-%m-%d}/{last:%Y-%m-%d}",))
    sites, _ = sites_of(cubes[:1], data)
    seen = {p for site in sites for day in site.part.positions["sentinel2"] for p in day}
    elsewhere = where.startswith("100")
    assert seen == set(range(14)) - (set() if elsewhere else {3, 4, 5, 6})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1,2,3", "expected WEST,SOUTH,EAST,NORTH"),
        ("5,2,3,4", "west < east"),
        ("1,2,3,4@2019", "expected WEST"),
        ("2020-01-02/2020-01-01", "START not after END"),
        ("2020-01-02/never", "expected WEST"),
    ],
)
def test_what_cannot_be_read_is_refused(text, told):
    with pytest.raises(OptionError, match=told):
        LeftOut.parsed(text)


def test_leaving_all_out_is_told(cubes):
    with pytest.raises(CubeError, match=r"leave less out \(data.leave_out\)"):
        sites_of(cubes, replace(DATA, leave_out=("2000-01-01/2100-01-01",)))

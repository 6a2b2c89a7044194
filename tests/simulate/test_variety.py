"""Dates of acquisition, and scenes drawn to be unlike each other."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from tamrf_xr.cube import validate
from tamrf_xr.errors import OptionError
from tamrf_xr.simulate import SceneConfig, draw_config, simulate, write_scenes
from tamrf_xr.simulate.orbits import passes
from tamrf_xr.store import open_cube
from tests.simulate.configs import TINY


def test_orbits_that_overlap_alternate():
    for seed in range(4):
        plain = SceneConfig(seed=seed)
        both = replace(plain, sentinel2_overlap=True, landsat_overlap=True)
        one_satellite = replace(both, landsat_revisit_days=16)
        assert _gaps(plain, "sentinel2") == {5}
        assert _gaps(both, "sentinel2") == {2, 3}
        assert _gaps(plain, "landsat") == {8}
        assert _gaps(both, "landsat") == {1, 7}
        assert _gaps(one_satellite, "landsat") == {7, 9}


def _gaps(config, sensor) -> set[int]:
    return {int(gap) for gap in np.diff([one.day for one in passes(config, sensor)])}


def test_overlapping_orbits_look_from_both_sides():
    found = passes(SceneConfig(sentinel2_overlap=True), "sentinel2")
    assert len({one.view for one in found}) == 2
    first, second = found[0].view, found[1].view
    assert np.cos(first.azimuth - second.azimuth) == pytest.approx(-1)
    assert min(first.zenith, second.zenith) > np.radians(6)


def test_lost_dates_leave_the_others_as_they_are():
    whole = passes(SceneConfig(), "sentinel2")
    left = passes(SceneConfig(lost_dates=0.3), "sentinel2")
    assert 0.5 < len(left) / len(whole) < 0.9
    assert set(left) < set(whole)


def test_a_series_without_dates_is_refused():
    with pytest.raises(OptionError, match="no acquisition of sentinel2 is left"):
        simulate(replace(TINY, lost_dates=1.0))


def test_a_drawn_configuration_is_of_its_seed_alone():
    assert draw_config(5) == draw_config(5)
    assert draw_config(5) != draw_config(6)
    fixed = draw_config(5, size_px=60, cloudiness=0.0)
    assert replace(fixed, size_px=330, cloudiness=draw_config(5).cloudiness) == draw_config(5)


def test_drawn_scenes_differ_and_are_cubes():
    few = {"size_px": 30, "sentinel2_revisit_days": 40, "landsat_revisit_days": 60}
    scenes = [simulate(draw_config(seed, **few)) for seed in range(3)]
    for scene in scenes:
        validate(scene.cube)
    assert len({scene.config.latitude for scene in scenes}) == 3


def test_scenes_are_written_once(tmp_path):
    few = {"size_px": 30, "sentinel2_revisit_days": 90, "landsat_revisit_days": 90}
    first = write_scenes(tmp_path, [4], **few)
    made = first[0].stat().st_mtime_ns
    both = write_scenes(tmp_path, [4, 5], workers=2, **few)
    assert [path.name for path in both] == ["scene-00004.zarr", "scene-00005.zarr"]
    assert first[0].stat().st_mtime_ns == made
    assert "seed 5" in open_cube(both[1]).attrs["history"]


def test_what_is_missing_of_scenes_and_of_these_without_their_sky_is_written(tmp_path):
    few = {"size_px": 30, "sentinel2_revisit_days": 90, "landsat_revisit_days": 90}
    (first,) = write_scenes(tmp_path, [4], **few)
    made = first.stat().st_mtime_ns
    (scene,) = write_scenes(tmp_path, [4], unclouded=True, **few)
    beside = tmp_path / "unclouded" / scene.name
    assert open_cube(beside).attrs["history"] == open_cube(scene).attrs["history"]
    assert scene.stat().st_mtime_ns == made
    shutil.rmtree(beside)
    with pytest.raises(OptionError, match=r"scene-00004\.zarr is another scene than asked"):
        write_scenes(tmp_path, [4], unclouded=True, **few | {"size_px": 60})
    assert not beside.exists()
    write_scenes(tmp_path, [4], unclouded=True, **few)
    shutil.rmtree(scene)
    assert write_scenes(tmp_path, [4], unclouded=True, **few) == [scene]
    assert scene.exists()

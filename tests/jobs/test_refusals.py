"""Jobs that are refused, and what tells one job from another."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest

import tamrf_xr
from tamrf_xr import owners
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import JobError, OptionError, OutputExistsError
from tamrf_xr.scale.job import Execution
from tamrf_xr.scale.ledger import FOLDER, job_state, lock_of
from tamrf_xr.scale.prepared import Timing
from tests.jobs.fusers import traced
from tests.jobs.run import QUERIES, TILE, contents
from tests.laid import run_tiles
from tests.numpy_fusers import blur_spec
from tests.scenes import random_cube

TILES = 3 * 4
QUIET = Execution(workers=2, progress=False)
ALWAYS = Timing()


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.zarr"
    tamrf_xr.save_cube(random_cube((36, 45), nan=0.05), path)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "traces"
    path.mkdir()
    return path


def job(scene, store, folder, how=QUIET, **changes):
    cube = tamrf_xr.open_cube(scene)
    return run_tiles(cube, store, traced(folder, **changes), QUERIES, tile=TILE, how=how)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": {"provenance": (("weights_sha256", "b" * 64),)}}, "weights_sha256: found a.*b"),
        ({"spec": {"makes": (("sentinel2", ("B02",)),)}}, "bands of sentinel2: found B02 B03, ask"),
        ({"queries": QUERIES[:2]}, "query dates: found 2022-01-20, 2022-01-01, 2022-02-02, asked"),
        ({"timing": Timing(window="300D")}, "window: found 365D, asked 300D"),
        ({"tile": 15}, "tile: found 12 x 12, asked 15 x 15"),
        ({"seed": 7}, "sentinel2 content: found sha256"),
        ({"hr": 3}, r"sentinel2 dates: found 2022-01-03.*, asked"),
    ],
)
def test_job_that_asks_something_else_is_refused(tmp_path, changes, message):
    store, before = tmp_path / "out.zarr", {"provenance": (("weights_sha256", "a" * 64),)}

    def attempt(spec=before, queries=QUERIES, timing=ALWAYS, tile=12, **scene):
        cube = random_cube((24, 24), **({"hr": 2, "lr": 2} | scene))
        spec = blur_spec(**before | spec)
        return run_tiles(cube, store, spec, queries, timing=timing, tile=tile, how=QUIET)

    attempt()
    files = contents(store)
    with pytest.raises(JobError, match=rf"(?s){message}.*--overwrite.*or name another"):
        attempt(**changes)
    assert contents(store) == files


def test_weights_that_only_moved_are_the_same(scene, folder, tmp_path):
    for path in ("here", "there"):
        options = (("folder", str(folder)),)
        where = (("weights", path), ("weights_sha256", "a" * 64))
        summary = job(scene, tmp_path / "out.zarr", folder, options=options, provenance=where)
    assert summary.found == TILES


def test_other_input_store_is_refused(scene, folder, tmp_path):
    job(scene, tmp_path / "out.zarr", folder)
    other = tmp_path / "other.zarr"
    tamrf_xr.save_cube(build_cube(groups_of(tamrf_xr.open_cube(scene)), title="other"), other)
    with pytest.raises(JobError, match="input metadata: found sha256"):
        job(other, tmp_path / "out.zarr", folder)
    shutil.copytree(scene, tmp_path / "moved.zarr")
    assert job(tmp_path / "moved.zarr", tmp_path / "out.zarr", folder).found == TILES


def test_tiles_of_the_store_are_taken_where_none_are_asked(scene, folder, tmp_path):
    job(scene, tmp_path / "out.zarr", folder)
    cube = tamrf_xr.open_cube(scene)
    assert run_tiles(cube, tmp_path / "out.zarr", traced(folder), QUERIES, how=QUIET).found == TILES


def test_stores_that_exist_are_refused_unless_told(scene, folder, tmp_path):
    saved, store = tmp_path / "saved.zarr", tmp_path / "out.zarr"
    shutil.copytree(scene, saved)
    with pytest.raises(OutputExistsError, match="is no job to go on with; pass overwrite=True"):
        job(scene, saved, folder)
    job(scene, store, folder)
    with pytest.raises(OutputExistsError, match="resume is False"):
        job(scene, store, folder, Execution(resume=False, progress=False))
    assert job(scene, store, folder, Execution(overwrite=True, progress=False)).done == TILES
    assert job(scene, saved, folder, Execution(overwrite=True, progress=False)).done == TILES
    assert contents(saved) == contents(store)
    assert not list(tmp_path.glob(".*"))


def test_lock_of_another_machine_holds_while_it_shows_signs_of_life(
    scene, folder, tmp_path, monkeypatch
):
    store = tmp_path / "out.zarr"
    job(scene, store, folder)
    lock = lock_of(store)
    lock.write_text(
        '{"host": "elsewhere", "pid": 1, "born": 0, "since": "2022-01-01", "token": "x"}'
    )
    with pytest.raises(JobError, match=r"process 1 on elsewhere since 2022-01-01.*delete"):
        job(scene, store, folder)
    os.utime(lock, (time.time() - 3600,) * 2)
    monkeypatch.setattr(owners, "WATCH", 0.1)
    for name in ("lock.probe.dead", "lock.probe.dead.other", "lock.dead"):
        (lock.parent / name).touch()
    assert job(scene, store, folder).found == TILES
    assert not list(lock.parent.glob("lock*dead*"))
    lock.write_text("{")
    with pytest.raises(JobError, match=r"lock .* is damaged"):
        job(scene, store, folder)


def test_damaged_ledger_is_told(scene, folder, tmp_path):
    store = tmp_path / "out.zarr"
    job(scene, store, folder)
    (store / FOLDER / "job.json").write_text("{")
    with pytest.raises(JobError, match=r"job\.json is damaged.*overwrite=True"):
        job(scene, store, folder)


def test_remote_stores_and_contradictions_are_refused(scene, folder):
    with pytest.raises(OptionError, match=r"https://h/out.zarr' \(https:// is only read\); name a"):
        job(scene, "https://h/out.zarr", folder)
    with pytest.raises(OptionError, match="not both"):
        Execution(object(), "local")
    with pytest.raises(OptionError, match="at least 1"):
        Execution(workers=0)


def test_device_that_is_not_there_is_refused_before_anything_is_laid_out(scene, tmp_path):
    ask = {"device": "cuda:63", "progress": False}
    for cluster in (None, "local"):
        with pytest.raises(OptionError, match="device is 'cuda:63', which is not there"):
            tamrf_xr.run_job(
                tamrf_xr.open_cube(scene), tmp_path / "o", "2022-01-10", cluster=cluster, **ask
            )
    assert not list(tmp_path.iterdir())


def test_store_that_no_job_made_has_no_state(scene):
    assert job_state(scene) is None


def test_run_job_resolves_the_method(scene, tmp_path):
    summary = tamrf_xr.run_job(
        tamrf_xr.open_cube(scene),
        tmp_path / "o.zarr",
        "2022-01-10",
        method="linear",
        progress=False,
    )
    assert summary.done == summary.tiles == 1
    assert summary.km2 == pytest.approx(0.162)


def test_tile_that_did_not_reach_the_disk_is_not_done(scene, folder, tmp_path, monkeypatch):
    from tamrf_xr.scale import writing

    def fail(inside, name, data):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(writing, "_write", fail)
        summary = job(scene, tmp_path / "out.zarr", folder)
    assert len(summary.failed) == TILES
    assert "Input/output error" in summary.failed[0].error
    assert job_state(tmp_path / "out.zarr").done == 0
    assert job(scene, tmp_path / "out.zarr", folder).done == TILES


def test_dates_that_are_many_are_told_by_their_hash(scene, folder, tmp_path):
    many = pd.date_range("2022-01-01", periods=9)
    run_tiles(tamrf_xr.open_cube(scene), tmp_path / "o", blur_spec(), many, tile=36, how=QUIET)
    assert (
        "9 dates, 2022-01-01 to 2022-01-09 (sha256"
        in job_state(tmp_path / "o").asked["query dates"]
    )

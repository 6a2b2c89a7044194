"""Jobs: the same bytes whatever happens to the processes that make them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import groups_of
from tamrf_xr.errors import JobError, RereadWarning, StoreFullError
from tamrf_xr.scale.job import Execution
from tamrf_xr.scale.ledger import DONE, FOLDER, job_state, lock_of, read_done
from tests.jobs.fusers import traced, traces
from tests.jobs.run import QUERIES, TILE, contents
from tests.laid import fuse_lazily, run_tiles
from tests.numpy_fusers import blur_spec
from tests.scenes import random_cube

TILES = 3 * 4
ROOT = Path(__file__).resolve().parents[1]
QUIET = Execution(workers=2, progress=False)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.zarr"
    tamrf_xr.save_cube(random_cube((36, 45), nan=0.05), path)
    return path


@pytest.fixture(scope="module")
def undisturbed(scene, tmp_path_factory) -> dict[str, bytes]:
    store = tmp_path_factory.mktemp("undisturbed") / "out.zarr"
    run_tiles(tamrf_xr.open_cube(scene), store, blur_spec(), QUERIES, tile=TILE, how=QUIET)
    return contents(store)


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "traces"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=":0") as cluster,
        Client(cluster) as opened,
    ):
        yield opened


def job(scene, store, folder, how=QUIET, **changes):
    cube = tamrf_xr.open_cube(scene)
    return run_tiles(cube, store, traced(folder, **changes), QUERIES, tile=TILE, how=how)


@contextlib.contextmanager
def process(*words):
    """A job in a process of its own; killed at the end if it is still there."""
    command = [sys.executable, "-m", "tests.jobs.run", *map(str, words)]
    started = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def wait_for(condition, *, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def done(store: Path) -> int:
    return len(read_done(store)) if (store / FOLDER / DONE).exists() else 0


# Faults, with real processes


def test_killed_worker_changes_nothing(scene, folder, client, undisturbed, tmp_path):
    (folder / "kill").touch()
    summary = job(scene, tmp_path / "out.zarr", folder, Execution(client, progress=False))
    assert not (folder / "kill").exists()
    assert (summary.done, summary.failed) == (TILES, ())
    assert contents(tmp_path / "out.zarr") == undisturbed
    assert len(traces(folder, "calls")) > TILES  # what died with its worker was made again


@pytest.mark.parametrize("how", ["threads", "local"])
def test_killed_client_leaves_only_the_rest_to_do(scene, folder, how, undisturbed, tmp_path):
    store = tmp_path / "out.zarr"
    (folder / "slow").touch()
    with process(scene, store, folder, how) as client:
        wait_for(lambda: done(store) >= 3)
        client.send_signal(signal.SIGKILL)
        client.wait()
    workers = {int(pid) for pid in traces(folder, "built")} - {client.pid}
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    found = done(store)
    assert 3 <= found < TILES
    (folder / "calls").unlink()
    summary = job(scene, store, folder)
    assert (summary.found, summary.done) == (found, TILES - found)
    assert len(traces(folder, "calls")) == TILES - found
    assert contents(store) == undisturbed


def test_half_written_shard_is_not_done(scene, folder, undisturbed, tmp_path):
    store = tmp_path / "out.zarr"
    with process(scene, store, folder, "halves") as writer:
        wait_for((folder / "half").exists)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    halves = {name for name, data in contents(store).items() if undisturbed.get(name) != data}
    assert any("/c/" in name for name in halves)
    assert done(store) == 0
    (store / "sentinel2/reflectance/c/0/0/0/0.made-up.partial").touch()
    assert job(scene, store, folder).done == TILES
    assert contents(store) == undisturbed


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, with a way to make it larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"may not mount a small tmpfs: {made.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_full_disk_stops_and_room_completes(small_disk, tmp_path):
    cube, store, whole = random_cube((180, 180)), small_disk / "out.zarr", tmp_path / "whole.zarr"

    def attempt(out):  # noise, that does not compress
        options = {"method": "linear", "tile": 60, "workers": 2, "progress": False}
        return tamrf_xr.run_job(cube, out, QUERIES[:2], **options)

    attempt(whole)
    with pytest.raises(StoreFullError, match=r"no room left for .*out.zarr.*run again"):
        attempt(store)
    found = read_done(store)
    assert 0 < len(found) < 9
    for row, column in found:
        shard = f"sentinel2/reflectance/c/0/0/{row}/{column}"
        assert (store / shard).read_bytes() == (whole / shard).read_bytes()
    assert not list(store.rglob("*.partial"))
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    summary = attempt(store)
    assert (summary.found, summary.done) == (len(found), 9 - len(found))
    assert contents(store) == contents(whole)


def test_no_room_for_the_layout_leaves_nothing(small_disk, scene, folder):
    with contextlib.suppress(OSError), (small_disk / "fill").open("wb") as fill:
        fill.write(bytes(4 * 2**20))
    with pytest.raises(StoreFullError, match="nothing was written"):
        job(scene, small_disk / "out.zarr", folder)
    assert [path.name for path in small_disk.iterdir()] == ["fill"]


def test_corrupt_input_is_told_and_the_rest_made(tmp_path, caplog, capsys):
    scene, store = tmp_path / "scene.zarr", tmp_path / "out.zarr"
    tamrf_xr.save_cube(random_cube((36, 720), hr=2, lr=2), scene)
    words = ["fuse", scene, store, "--dates", "2022-01-10", "--method", "linear", "--tile", "60"]
    words = [str(word) for word in words] + ["--quiet"]
    shard = scene / "sentinel2/reflectance/c/0/0/0/0"
    sound = shard.read_bytes()
    shard.write_bytes(sound[:1000] + bytes(len(sound) - 1000))
    assert main(words) == 1
    told = [record.message for record in caplog.records if "failed" in record.message]
    assert len(told) == 6
    assert any(
        "tile (0, 1) failed: rows 0:36, columns 60:120, bounds 500600, 4999650, 501200, 5000010 "
        "(EPSG:32631)" in line
        for line in told
    )
    assert "6 tiles done, 0 found done, 6 failed, of 12" in capsys.readouterr().out
    assert main(["info", str(store)]) == 0
    assert "6 of 12 tiles done, incomplete" in capsys.readouterr().out
    shard.write_bytes(sound)
    assert main(words) == 0
    assert "6 tiles done, 6 found done, of 12" in capsys.readouterr().out
    alone = tamrf_xr.open_cube(scene).tamrf.fuse("2022-01-10", method="linear")
    made = tamrf_xr.open_cube(store)["sentinel2/reflectance"].values
    np.testing.assert_allclose(made, alone["sentinel2/reflectance"].values, atol=0.5001e-4)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_command_stops_in_seconds(scene, folder, undisturbed, tmp_path, sign):
    store = tmp_path / "out.zarr"
    dates = ["--dates", *(f"{date:%Y-%m-%d}" for date in QUERIES), "--tile", str(TILE)]
    words = ["cli", "fuse", scene, store, *dates, "--method", "traced", "--model", folder]
    (folder / "hang").touch()
    with process(*words, "--workers", "2") as command:
        wait_for(lambda: len(traces(folder, "hanging")) == 2)  # every thread computes for minutes
        start = time.monotonic()
        command.send_signal(sign)
        _, said = command.communicate(timeout=30)
        took = time.monotonic() - start
    assert took < 10
    assert command.returncode == 130
    safe = done(store)
    assert 0 < safe <= 3  # of two threads, one may hang at its third tile, too
    assert f"{safe} of {TILES} tiles done; run again" in said
    assert not lock_of(store).exists()
    (folder / "hang").unlink()
    with process(*words, "--workers", "2") as command:
        said, _ = command.communicate(timeout=60)
    assert f"{TILES - safe} tiles done, {safe} found done" in said
    assert contents(store) == undisturbed


def test_second_job_on_a_store_is_refused_until_the_first_is_gone(
    scene, folder, undisturbed, tmp_path
):
    store = tmp_path / "out.zarr"
    (folder / "hang").touch()
    with process(scene, store, folder) as first:
        wait_for(lambda: traces(folder, "hanging"))
        with pytest.raises(JobError, match=f"another run is at work on .*: process {first.pid} on"):
            job(scene, store, folder)
        with pytest.raises(JobError, match="another run is at work"):
            job(scene, store, folder, Execution(overwrite=True, progress=False))
        state = job_state(store)
        assert state.owner.pid == first.pid
        assert "at work: process" in str(state)
    (folder / "hang").unlink()
    job(scene, store, folder)  # the lock of a dead process is no lock
    assert contents(store) == undisturbed
    assert str(job_state(store)) == f"job: {TILES} of {TILES} tiles done, complete"


def test_jobs_that_start_at_once_make_one_product(scene, folder, undisturbed, tmp_path):
    store = tmp_path / "out.zarr"
    with process(scene, store, folder) as one, process(scene, store, folder) as other:
        errors = [each.communicate(timeout=60)[1] for each in (one, other)]
    assert 0 in (one.returncode, other.returncode)
    for each, error in zip((one, other), errors, strict=True):
        assert each.returncode == 0 or "JobError: another run" in error
    assert contents(store) == undisturbed
    assert len(traces(folder, "calls")) == TILES
    assert not list(tmp_path.glob(".*"))


# Where it runs


def test_processes_give_the_bytes_of_threads(scene, folder, client, undisturbed, tmp_path):
    summary = job(scene, tmp_path / "out.zarr", folder, Execution(client, progress=False))
    assert summary.done == TILES
    assert contents(tmp_path / "out.zarr") == undisturbed
    built = traces(folder, "built")
    assert sorted(built) == sorted(set(traces(folder, "calls")))  # once per worker
    assert len(built) == 2


def test_cubes_in_memory_and_in_dask_give_the_same(scene, folder, undisturbed, tmp_path):
    for name, cube, told in (
        ("memory", tamrf_xr.open_cube(scene).load(), contextlib.nullcontext()),
        ("dask", tamrf_xr.open_cube(scene, chunks={}), pytest.warns(RereadWarning, match="12.0")),
    ):
        with told:
            run_tiles(cube, tmp_path / name, traced(folder), QUERIES, tile=TILE, how=QUIET)
        assert contents(tmp_path / name) == undisturbed


def test_product_is_what_save_cube_writes(scene, tmp_path):
    cube = tamrf_xr.open_cube(scene)
    run_tiles(cube, tmp_path / "job.zarr", blur_spec(), QUERIES, tile=TILE, how=QUIET)
    tamrf_xr.save_cube(fuse_lazily(cube, blur_spec(), QUERIES, tile=TILE), tmp_path / "saved.zarr")
    for opened in (tamrf_xr.open_cube, xr.open_datatree):
        made, saved = (groups_of(opened(tmp_path / f"{n}.zarr")) for n in ("job", "saved"))
        for name in saved:
            xr.testing.assert_identical(made[name], saved[name])
    raw = xr.open_datatree(tmp_path / "job.zarr", mask_and_scale=False)["landsat/reflectance"]
    assert raw.dtype == np.int16
    assert raw.attrs["_FillValue"] == raw.encoding["fill_value"] == -32768
    assert raw.encoding["shards"] == (3, 1, TILE, TILE)
    attrs = tamrf_xr.open_cube(tmp_path / "job.zarr").attrs
    assert attrs["input"] == str(scene)
    assert '"method": "blur"' in attrs["parameters"]


def test_stages_of_tiles_overlap(scene, folder, tmp_path, monkeypatch):
    from tamrf_xr.scale import worker

    spans, add = [], worker.Stopwatch.__call__

    @contextlib.contextmanager
    def slowed(watch, stage):
        with add(watch, stage):
            time.sleep(0.05)
            yield
        spans.append(watch.spans[-1])

    monkeypatch.setattr(worker.Stopwatch, "__call__", slowed)
    changes = {"at_once": 2, "computing": 1}
    job(scene, tmp_path / "out.zarr", folder, Execution(progress=False), **changes)
    computing = sorted((s.start, s.stop) for s in spans if s.stage == "computing")
    assert all(a[1] <= b[0] for a, b in pairwise(computing))
    busy = sum(stop - start for start, stop in computing)
    assert busy > 0.6 * (computing[-1][1] - computing[0][0])  # alone it would be a third


def test_cores_are_shared_out_between_processes(scene, folder, tmp_path, monkeypatch):
    from distributed import Client, LocalCluster

    monkeypatch.setenv("TAMRF_TEST_CORES", str(folder / "cores"))
    how = {"processes": False, "dashboard_address": ":0", "resources": {"GPU": 1}}
    with LocalCluster(n_workers=2, threads_per_worker=1, **how) as cluster, Client(cluster) as c:
        spec = {"prepare": "tests.jobs.fusers:note_cores", "at_once": 2}
        summary = job(scene, tmp_path / "out.zarr", folder, Execution(c, progress=False), **spec)
    assert summary.done == TILES
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert {line.split()[1] for line in (folder / "cores").read_text().splitlines()} == {share}


def test_gpu_share_lets_tiles_be_read_around_the_one_that_computes(folder):
    from types import SimpleNamespace

    from tamrf_xr.scale.cluster import gpu_share

    def workers(resources):
        return lambda **_: {"workers": {"tcp://a:1": {"resources": resources}}}

    work = SimpleNamespace(job=SimpleNamespace(spec=traced(folder, at_once=2)))
    assert gpu_share(SimpleNamespace(scheduler_info=workers({})), work) is None
    assert gpu_share(SimpleNamespace(scheduler_info=workers({"GPU": 1})), work) == {"GPU": 1 / 3}


def test_memory_is_retried_in_smaller_blocks(scene, folder, undisturbed, tmp_path):
    (folder / "greedy").touch()
    assert job(scene, tmp_path / "out.zarr", folder).failed == ()
    assert contents(tmp_path / "out.zarr") == undisturbed
    (folder / "stubborn").touch()
    failed = job(scene, tmp_path / "two.zarr", folder / ".." / "traces").failed
    assert len(failed) == TILES
    assert "out of memory" in failed[0].error


def test_progress_is_shown_with_ground_and_time_left(scene, folder, tmp_path, capsys):
    job(scene, tmp_path / "out.zarr", folder, Execution(workers=1))
    said = capsys.readouterr().err
    assert "tile/s" in said
    assert "km2/s" in said
    assert f"{TILES}/{TILES}" in said

"""Nothing is recorded that was not read, and nothing written into a store of another job."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

import tamrf_xr
from tamrf_xr import owners
from tamrf_xr.cli import main
from tamrf_xr.errors import InputChangedError, JobError
from tamrf_xr.listing import write_listing
from tamrf_xr.replaceable import LISTING
from tamrf_xr.scale import disk
from tamrf_xr.scale.damage import verify
from tamrf_xr.scale.job import Execution
from tamrf_xr.scale.ledger import FOLDER, forget, lock_of, read_done
from tests.jobs.fusers import traced, traces
from tests.jobs.run import QUERIES, TILE, contents
from tests.laid import run_tiles
from tests.numpy_fusers import blur_spec
from tests.scenes import random_cube
from tests.test_job import done, process, wait_for

TILES = 3 * 4
QUIET = Execution(workers=2, progress=False)
CHUNK = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A scene of several shards: a tile reads some."""
    path = tmp_path_factory.mktemp("made") / "scene.zarr"
    tamrf_xr.save_cube(random_cube((36, 45), nan=0.05), path)
    _in_shards(path)
    return path


def _in_shards(path):
    """Write the pixels again, a shard every 12 px of ground: as a large scene has them."""
    for name, edge in (("sentinel2", 12), ("landsat", 4)):
        for variable in ("reflectance", "valid"):
            array = zarr.open_array(path / name / variable, mode="r")
            values, attrs, fill = array[:], dict(array.attrs), array.fill_value
            sizes = (*values.shape[:-2], edge, edge)
            shutil.rmtree(path / name / variable)
            again = zarr.create_array(
                path / name / variable,
                shape=values.shape,
                dtype=values.dtype,
                chunks=sizes,
                fill_value=fill,
                attributes=attrs,
                dimension_names=array.metadata.dimension_names,
            )
            again[:] = values
    (path / LISTING).unlink()
    zarr.consolidate_metadata(path)
    write_listing(path)


@pytest.fixture
def scene(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "scene.zarr"))


@pytest.fixture(scope="module")
def undisturbed(made, tmp_path_factory) -> dict[str, bytes]:
    store = tmp_path_factory.mktemp("undisturbed") / "out.zarr"
    run_tiles(tamrf_xr.open_cube(made), store, blur_spec(), QUERIES, tile=TILE, how=QUIET)
    return contents(store)


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "traces"
    path.mkdir()
    return path


def job(scene, store, folder, how=QUIET, chunks=None, **changes):
    cube = tamrf_xr.open_cube(scene, chunks=chunks)
    return run_tiles(cube, store, traced(folder, **changes), QUERIES, tile=TILE, how=how)


def shards_of(tiles, names):
    """Names of the shards of some tiles."""
    ends = tuple(f"/{row}/{column}" for row, column in tiles)
    return [name for name in names if "/c/0/0/" in name and name.endswith(ends)]


# Inputs


def away(scene):
    scene.rename(scene.with_name("away.zarr"))


def partly(scene):
    for shard in (scene / "landsat/reflectance/c").rglob("*"):
        if shard.is_file():
            shard.unlink()


def replaced(scene):
    other = scene.with_name("other.zarr")
    shutil.copytree(scene, other, copy_function=shutil.copyfile)
    scene.rename(scene.with_name("away.zarr"))
    other.rename(scene)


@pytest.mark.filterwarnings("ignore::tamrf_xr.errors.RereadWarning")
@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize("fault", [away, partly, replaced])
def test_input_that_changes_fails_tiles_and_a_rerun_makes_them(
    fault, chunks, scene, folder, undisturbed, tmp_path
):
    store, sound = tmp_path / "out.zarr", tmp_path / "sound.zarr"
    shutil.copytree(scene, sound)
    cube = tamrf_xr.open_cube(scene, chunks=chunks)
    after = {"calls": 4}

    def happen(path):
        if len(traces(folder, "calls")) == after["calls"] and not (folder / "happened").exists():
            (folder / "happened").touch()
            fault(scene)

    spec = traced(folder)
    from tests.jobs import fusers

    note = fusers.Traced.note

    def noted(self, what):
        note(self, what)
        happen(self.folder)

    fusers.Traced.note = noted
    try:
        how = Execution(workers=1, progress=False)
        summary = run_tiles(cube, store, spec, QUERIES, tile=TILE, how=how)
    finally:
        fusers.Traced.note = note
    assert summary.done == 3  # the fourth was read, and not recorded
    assert len(summary.failed) == TILES - 3
    assert all("scene.zarr" in failed.error for failed in summary.failed)
    assert all("InputChangedError" in failed.error for failed in summary.failed)
    made = contents(store)
    assert all(made[name] == undisturbed[name] for name in shards_of(read_done(store), made))
    shutil.rmtree(scene, ignore_errors=True)
    sound.rename(scene)
    assert job(scene, store, folder, chunks=chunks).found == 3
    assert contents(store) == undisturbed


def test_chunk_that_was_lost_before_the_job_is_told_by_the_list_of_the_cube(
    scene, folder, undisturbed, tmp_path
):
    shard = scene / "sentinel2/reflectance/c/0/0/0/0"
    sound = shard.read_bytes()
    shard.unlink()
    summary = job(scene, tmp_path / "out.zarr", folder)
    assert {failed.index for failed in summary.failed} >= {(0, 0)}
    assert "c/0/0/0/0 is missing, though" in summary.failed[0].error
    assert main(["verify", str(scene)]) == 1
    shard.write_bytes(sound)
    assert main(["verify", str(scene)]) == 0
    assert job(scene, tmp_path / "out.zarr", folder).failed == ()
    assert contents(tmp_path / "out.zarr") == undisturbed


def test_chunk_that_is_lost_between_runs_is_told_by_the_job(scene, folder, tmp_path):
    """Where the input keeps no list."""
    (scene / LISTING).unlink()
    store = tmp_path / "out.zarr"
    job(scene, store, folder)
    forget(store, read_done(store))
    (scene / "sentinel2/reflectance/c/0/0/0/0").unlink()
    assert {failed.index for failed in job(scene, store, folder).failed} >= {(0, 0)}


def test_input_that_changes_after_its_last_tile_is_told(scene, folder, tmp_path, monkeypatch):
    from tamrf_xr.scale import job as jobs

    follow = jobs._follow

    def late(*args, **options):
        follow(*args, **options)
        replaced(scene)

    monkeypatch.setattr(jobs, "_follow", late)
    with pytest.raises(InputChangedError, match=r"scene.zarr.*of the input as it was"):
        job(scene, tmp_path / "out.zarr", folder)


def test_worker_that_does_not_see_the_input_hands_its_tiles_over(
    scene, folder, undisturbed, tmp_path, caplog
):
    """One of two workers has nothing mounted where the input is."""
    from distributed import Client, LocalCluster

    store = tmp_path / "out.zarr"
    how = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**how) as cluster, Client(cluster) as client:
        blind = _blind_worker(cluster.scheduler_address, scene, tmp_path)
        try:
            client.wait_for_workers(2, timeout=60)
            summary = job(scene, store, folder, Execution(client, progress=False))
        finally:
            blind.kill()
            blind.wait()
    assert (summary.done, summary.failed) == (TILES, ())
    assert contents(store) == undisturbed
    assert any("its tiles go to another worker, once" in r.message for r in caplog.records)


def test_tile_that_waits_for_workers_that_are_gone_goes_to_any():
    from types import SimpleNamespace

    from tamrf_xr.scale import cluster

    client = SimpleNamespace(scheduler_info=lambda **_: {"workers": {"tcp://new:1": {}}})
    elsewhere = cluster.Elsewhere(client)
    elsewhere.pin("future", ["tcp://gone:1"])
    assert elsewhere.wait_for(SimpleNamespace(has_ready=lambda: False)) == ["future"]
    assert elsewhere.gave_up("future")
    assert not elsewhere.gave_up("future")


def _blind_worker(address, scene, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    hide = f'mount --bind "{empty}" "{scene}" && exec "$@"'
    words = ["-m", "distributed.cli.dask_worker", address, "--name", "blind", "--no-dashboard"]
    made = subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True)
    if made.returncode:
        pytest.skip(f"may not hide a folder: {made.stderr.decode().strip()}")
    return subprocess.Popen(
        ["unshare", "-m", "sh", "-c", hide, "x", sys.executable, *words, "--no-nanny"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).resolve().parents[2],
    )


def test_input_that_no_worker_sees_is_told_by_both(scene, folder, tmp_path):
    from distributed import Client, LocalCluster

    how = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "processes": False}
    with LocalCluster(**how) as cluster, Client(cluster) as client:
        cube = tamrf_xr.open_cube(scene)
        store, execution = tmp_path / "out.zarr", Execution(client, progress=False)
        run_tiles(cube, store, traced(folder), QUERIES, tile=TILE, how=execution)
        forget(store, read_done(store))
        shutil.rmtree(scene / "landsat")
        summary = run_tiles(cube, store, traced(folder), QUERIES, tile=TILE, how=execution)
    assert len(summary.failed) == TILES
    assert "(worker inproc://" in summary.failed[0].error
    assert "; before, on worker inproc://" in summary.failed[0].error


# Stores of another job


def test_tile_of_a_dead_job_does_not_reach_the_next_ones_store(scene, folder, tmp_path):
    store, whole = tmp_path / "out.zarr", tmp_path / "whole.zarr"
    spec = blur_spec(makes=(("sentinel2", ("B02", "B03")), ("landsat", ("B04", "LST"))))
    run_tiles(tamrf_xr.open_cube(scene), whole, spec, QUERIES[:2], tile=TILE, how=QUIET)
    (folder / "wait").touch()
    with process(scene, store, folder) as first:
        wait_for(lambda: len(traces(folder, "waiting")) == 2)
        lock_of(store).unlink()  # as of a run whose client was stopped, not its workers
        how = Execution(workers=2, progress=False, overwrite=True)
        run_tiles(tamrf_xr.open_cube(scene), store, spec, QUERIES[:2], tile=TILE, how=how)
        (folder / "wait").unlink()
        _, said = first.communicate(timeout=60)
    assert "has laid" in said
    assert "out anew" in said
    assert contents(store) == contents(whole)
    assert verify(store, deep=True).ok


def test_store_that_is_gone_ends_the_job(scene, folder, tmp_path):
    store = tmp_path / "out.zarr"
    (folder / "wait").touch()
    with process(scene, store, folder) as first:
        wait_for(lambda: len(traces(folder, "waiting")) == 2)
        store.rename(tmp_path / "moved.zarr")
        (folder / "wait").unlink()
        _, said = first.communicate(timeout=60)
    assert first.returncode == 1
    assert "JobError" in said
    assert "out.zarr is gone" in said
    assert not store.exists()


# Locks


def test_clock_that_steps_takes_no_lock(scene, folder, tmp_path):
    store = tmp_path / "out.zarr"
    (folder / "hang").touch()
    with process(scene, store, folder) as first:
        wait_for(lambda: traces(folder, "hanging"))
        step = (
            f"sed 's/^btime .*/btime 1000000000/' /proc/stat > {tmp_path}/stat && "
            f'mount --bind {tmp_path}/stat /proc/stat && exec "$@"'
        )
        said = _elsewhere(["unshare", "-m", "sh", "-c", step, "x"], scene, store, folder)
        assert f"another run is at work on {store}: process {first.pid}" in said


def test_container_of_the_same_name_takes_a_lock_only_of_the_dead(
    scene, folder, undisturbed, tmp_path
):
    store = tmp_path / "out.zarr"
    container = ["unshare", "-p", "-f", "--mount-proc"]
    (folder / "hang").touch()
    with process(scene, store, folder) as first:
        wait_for(lambda: traces(folder, "hanging"))
        assert "another run is at work" in _elsewhere(container, scene, store, folder)
        first.kill()
        first.wait()
    (folder / "hang").unlink()
    assert "tiles done" in _elsewhere(container, scene, store, folder)
    assert contents(store) == undisturbed


def _elsewhere(prefix, scene, store, folder):
    """Run the job behind a prefix; return what it said."""
    trial = subprocess.run([*prefix, "true"], check=False, capture_output=True)
    if trial.returncode:
        pytest.skip(f"may not: {trial.stderr.decode().strip()}")
    command = [*prefix, sys.executable, "-m", "tests.jobs.run", *map(str, (scene, store, folder))]
    root = Path(__file__).resolve().parents[2]
    made = subprocess.run(
        command, cwd=root, check=False, capture_output=True, text=True, timeout=120
    )
    return made.stdout + made.stderr


def test_silence_that_a_clock_made_is_watched_before_it_is_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(owners, "WATCH", 0.6)
    monkeypatch.setattr(owners, "BEAT", 0.1)
    path = tmp_path / "lock"
    path.touch()
    os.utime(path, (1, 1))
    with owners.beating(path):
        monkeypatch.setattr(owners, "_silence", lambda _: 3600.0)
        assert not owners.is_silent(path)
    assert owners.is_silent(path)


def test_two_writers_leave_no_hole(scene, folder, undisturbed, tmp_path):
    """A lock deleted by hand lets two runs in; both are killed."""
    store = tmp_path / "out.zarr"
    (folder / "slow").touch()
    with process(scene, store, folder) as one:
        wait_for(lambda: done(store) >= 2)
        lock_of(store).unlink()
        with process(scene, store, folder) as other:
            wait_for(lambda: done(store) >= 9)
            other.send_signal(signal.SIGKILL)
            one.send_signal(signal.SIGKILL)
            one.wait()
            other.wait()
    made = contents(store)
    assert all(made[n] == undisturbed[n] for n in shards_of(read_done(store), undisturbed))
    job(scene, store, folder)
    assert contents(store) == undisturbed


# Damage after it was done


def test_every_flipped_bit_of_a_product_is_found_and_mended(scene, folder, undisturbed, tmp_path):
    store, draw = tmp_path / "out.zarr", np.random.default_rng(3)
    job(scene, store, folder)
    sound = contents(store)
    shards = sorted(path for path in store.glob("*/*/c/**/*") if path.is_file())
    shards = [path for path in shards if path.parts[-5] == "c" or path.parts[-4] == "c"]
    for _ in range(12):
        shard = shards[draw.integers(len(shards))]
        data = bytearray(shard.read_bytes())
        data[draw.integers(len(data))] ^= 1 << int(draw.integers(8))
        shard.write_bytes(data)
        verdict = verify(store, deep=True)
        index = tuple(map(int, shard.parts[-2:]))
        assert list(verdict.damaged) == [index]
        summary = job(scene, store, folder)
        assert (summary.done, summary.found) == (1, TILES - 1)
        assert contents(store) == sound


def test_verify_names_damaged_tiles_and_a_rerun_mends_just_these(
    scene, folder, undisturbed, tmp_path, capsys
):
    store = tmp_path / "out.zarr"
    job(scene, store, folder)
    assert main(["verify", str(store)]) == 0
    assert main(["verify", str(store), "--deep"]) == 0
    (store / "sentinel2/reflectance/c/0/0/1/2").unlink()
    cut = store / "landsat/reflectance/c/0/0/2/0"
    cut.write_bytes(cut.read_bytes()[:-7])
    capsys.readouterr()
    assert main(["info", str(store)]) == 0
    assert "2 of them damaged" in capsys.readouterr().out
    assert main(["verify", str(store)]) == 1
    said = capsys.readouterr().out
    assert "tile (1, 2): sentinel2/reflectance/c/0/0/1/2 has 0 bytes, was written with" in said
    assert "tile (2, 0)" in said
    assert "run its job again to mend these tiles" in said
    assert job(scene, store, folder).done == 2
    assert contents(store) == undisturbed
    assert main(["verify", str(store)]) == 0
    (store / "sentinel2/zarr.json").write_text("{}")
    assert main(["verify", str(store)]) == 1


def test_stores_of_before_are_read_and_gone_on_with(scene, folder, undisturbed, tmp_path):
    """Marks without sizes, no token, no list."""
    store = tmp_path / "out.zarr"
    job(scene, store, folder)
    for mark in (store / FOLDER / "done").iterdir():
        mark.write_bytes(b"")
    for name in (f"{FOLDER}/lock.token", f"{FOLDER}/chunks.json", LISTING):
        (store / name).unlink()
    forget(store, [(0, 0), (1, 1)])
    summary = job(scene, store, folder)
    assert (summary.done, summary.found) == (2, TILES - 2)
    assert verify(store, deep=True).ok
    made = contents(store)
    assert all(made[name] == data for name, data in undisturbed.items() if "/c/" in name)


# File systems


@pytest.mark.parametrize("lacking", ["flock", "link", "fsync", "flock link fsync"])
def test_file_systems_that_lack_calls_are_told_and_done_without(
    lacking, scene, folder, undisturbed, tmp_path, monkeypatch, caplog
):
    def missing(*_args, **_options):
        raise OSError(38, "Function not implemented")

    if "flock" in lacking:
        monkeypatch.setattr(disk.fcntl, "flock", missing)
    if "link" in lacking:
        monkeypatch.setattr(os, "link", missing)
    if "fsync" in lacking:
        fsync = os.fsync

        def only_files(handle):
            return missing() if os.path.isdir(f"/proc/self/fd/{handle}") else fsync(handle)

        monkeypatch.setattr(os, "fsync", only_files)
    store = tmp_path / "out.zarr"
    summary = job(scene, store, folder)
    assert (summary.done, summary.failed) == (TILES, ())
    assert contents(store) == undisturbed
    told = [record.message for record in caplog.records if "file system of" in record.message]
    assert len(told) == len(lacking.split())
    assert all(str(store) in line for line in told)
    (folder / "hang").touch()
    with process(scene, store, folder):
        pass
    monkeypatch.setattr(owners, "WATCH", 0.1)
    lock_of(store).write_text('{"host": "x", "pid": 1, "born": 0, "since": "now", "token": "x"}')
    with pytest.raises(JobError, match="another run is at work"):
        job(scene, store, folder)


def test_folder_that_a_dead_guard_left_does_not_hold_for_ever(tmp_path, monkeypatch):
    from tamrf_xr.scale import lock

    monkeypatch.setattr(lock, "PATIENCE", 0.2)
    folder = tmp_path / "lock.guard.d"
    folder.mkdir()
    start = time.monotonic()
    with lock._guarded_by_folder(folder):
        assert folder.exists()
    assert not folder.exists()
    assert time.monotonic() - start < 30


# Signals and stores that close


def test_store_that_becomes_read_only_stops_the_job(scene, folder, undisturbed, tmp_path):
    disk_of = tmp_path / "disk"
    disk_of.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "tmpfs", disk_of], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"may not mount a tmpfs: {made.stderr.decode().strip()}")
    store = disk_of / "out.zarr"
    try:
        (folder / "slow").touch()
        with process(scene, store, folder) as first:
            wait_for(lambda: done(store) >= 3)
            remount = ["mount", "-o", "remount,ro", disk_of]  # busy while a file is written
            wait_for(lambda: not subprocess.run(remount, check=False, stderr=-3).returncode)
            _, said = first.communicate(timeout=60)
        assert first.returncode == 1
        assert "may not be written any more" in said
        assert "tiles that are done are safe; make it writable and run again" in said
        assert said.count("failed:") == 0
        subprocess.run(["mount", "-o", "remount,rw", disk_of], check=True)
        job(scene, store, folder)
        assert contents(store) == undisturbed
    finally:
        subprocess.run(["umount", "-l", disk_of], check=True)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_read_that_hangs_holds_no_signal(sign, scene, folder, tmp_path):
    shard = scene / "sentinel2/reflectance/c/0/0/0/0"
    shard.unlink()
    os.mkfifo(shard)
    store = tmp_path / "out.zarr"
    words = ["fuse", scene, store, "--dates", "2022-01-20", "--tile", str(TILE), "--workers", "2"]
    with process("cli", *words, "--method", "traced", "--model", folder) as command:
        wait_for(lock_of(store).exists)
        time.sleep(1)  # every thread reads
        start = time.monotonic()
        command.send_signal(sign)
        command.wait(timeout=30)
        took = time.monotonic() - start
    assert took < 10
    assert command.returncode == 130
    assert not lock_of(store).exists()

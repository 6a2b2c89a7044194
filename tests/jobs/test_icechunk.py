"""The faults of a job on Icechunk in a folder: readers see what is whole, a rerun does the rest."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time

import numpy as np
import pandas as pd
import pytest

import tamrf_xr
from tamrf_xr import commits
from tamrf_xr.cli import main
from tamrf_xr.commits import BRANCH, repository_at
from tamrf_xr.errors import (
    JobError,
    OptionError,
    OutputExistsError,
    SourceNotFoundError,
    StoreError,
    StoreFullError,
)
from tamrf_xr.places import FOLDER
from tamrf_xr.scale.damage import verify
from tamrf_xr.scale.job import Execution
from tamrf_xr.scale.ledger import job_state, read_done
from tests import s3
from tests.jobs import fusers
from tests.jobs.fusers import traced, traces
from tests.jobs.run import QUERIES, TILE
from tests.jobs.test_stores import QUIET, TILES, done, job
from tests.laid import run_tiles
from tests.scenes import random_cube
from tests.test_job import process, wait_for

pytest.importorskip("icechunk")


@pytest.fixture
def url(tmp_path) -> str:
    return f"icechunk://{tmp_path}/repository"


def opened(url):
    return repository_at(url, "store", None, write=False)


def known(url):
    """Tiles that are safe: those that another process sees."""
    try:
        return done(opened(url))
    except (OSError, ValueError):
        return 0


def assert_pixels_are_those(url, undisturbed):
    place = opened(url)
    shards = {name: data for name, data in undisturbed.items() if "/c/" in name}
    assert {name: place.read(name) for name in shards} == shards


def assert_same_pixels(product, undisturbed_store):
    for name in ("sentinel2", "landsat"):
        one, other = product[name]["reflectance"], undisturbed_store[name]["reflectance"]
        np.testing.assert_array_equal(one.values, other.values)


def test_icechunk_shows_a_product_once_it_is_whole_and_a_kill_costs_a_batch(
    scene, folder, undisturbed, tmp_path
):
    url = f"icechunk://{tmp_path}/repository"
    (folder / "hang").touch()
    with process(scene, url, folder, "commits") as client:
        wait_for(lambda: (tmp_path / "repository").exists() and known(url) >= 2)
        with pytest.raises(SourceNotFoundError, match="holds nothing finished"):
            tamrf_xr.open_cube(url)
        client.send_signal(signal.SIGKILL)
        client.wait()
    (folder / "hang").unlink()
    found = known(url)
    summary = job(scene, url, folder)
    assert (summary.found, summary.done) == (found, TILES - found)
    assert_pixels_are_those(url, undisturbed)
    assert len(opened(url)._repository.list_tags()) == 1
    assert str(job_state(url)) == "job: 12 of 12 tiles done, complete"
    assert main(["info", url]) == main(["verify", url, "--deep"]) == 0
    assert job(scene, url, folder).found == TILES


def test_second_run_on_icechunk_is_refused_by_its_commit(scene, folder, tmp_path, monkeypatch):
    import icechunk

    storage = icechunk.local_filesystem_storage(str(tmp_path / "repository"))
    repository = icechunk.Repository.create(storage)
    (folder / "wait").touch()
    monkeypatch.setattr(commits, "TILES", 2)
    failed = []

    def second():
        try:
            job(scene, repository_at(repository, "store", None, write=True), folder)
        except JobError as error:
            failed.append(str(error))

    job_of_before(scene, repository, folder)
    thread = threading.Thread(target=second)
    thread.start()
    wait_for(lambda: traces(folder, "waiting"))
    session = repository.writable_session(BRANCH)
    commits._changed(session).commit("another run")
    (folder / "wait").unlink()
    thread.join(60)
    assert failed
    assert "another run is at work on" in failed[0]
    # What the refused one wrote is not there, and it is not said to be.
    assert read_done(repository_at(repository, "store", None, write=True)) == set()
    job(scene, repository, folder)
    assert verify(repository, deep=True).ok


def job_of_before(scene, repository, folder):
    """A job whose tiles are all to be made again."""
    (folder / "wait").rename(folder / "later")
    job(scene, repository, folder)
    place = repository_at(repository, "store", None, write=True)
    place.delete([f"{FOLDER}/done/{row}_{column}" for row, column in read_done(place)])
    (folder / "later").rename(folder / "wait")
    (folder / "calls").unlink()


def test_icechunk_takes_no_cluster_and_keeps_what_readers_see(scene, folder, tmp_path):
    url = f"icechunk://{tmp_path}/repository"
    tamrf_xr.save_cube(tamrf_xr.open_cube(scene), url)
    before = tamrf_xr.open_cube(url)
    assert_same_pixels(before, tamrf_xr.open_cube(scene))
    with pytest.raises(OutputExistsError):
        tamrf_xr.save_cube(tamrf_xr.open_cube(scene), url)
    how = Execution(cluster="local", workers=2, progress=False)
    for place, words in ((f"{url}2", "which one process writes"), ("memory://x", "no worker sees")):
        with pytest.raises(OptionError, match=words):
            job(scene, place, folder, how)


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", disk]
    made = subprocess.run(mount, check=False, capture_output=True)
    if made.returncode:
        pytest.skip(f"may not mount a small tmpfs: {made.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture(scope="module")
def noise():
    """A scene of noise, whose shards do not compress into the manifest."""
    return random_cube((180, 180))


def fuse_noise(cube, out, *, workers=2, **more):
    options = {"method": "linear", "tile": 60, "workers": workers, "progress": False, **more}
    return tamrf_xr.run_job(cube, out, QUERIES[:2], **options)


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_disk_that_takes_no_more_ends_the_job_and_what_is_told_safe_is(
    fault, noise, small_disk, tmp_path, monkeypatch
):
    monkeypatch.setattr(commits, "TILES", 2)
    url = f"icechunk://{small_disk}/repository"

    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", small_disk], check=True)

    fuse_noise(noise, tmp_path / "whole.zarr")
    if fault == "full":
        words, error = "no room left for icechunk://.*os error 28.*", StoreFullError
    else:
        remount("size=64m")
        close_after(3, lambda: remount("ro"), monkeypatch)
        words, error = "may not be written any more.*os error 30.*", JobError
    with pytest.raises(error, match=words + r"The \d tiles that are done are safe") as told:
        # A disk is not made read-only while another worker has a file open for writing.
        fuse_noise(noise, url, workers=2 if fault == "full" else 1)
    monkeypatch.undo()
    remount("size=64m" if fault == "full" else "rw")
    safe = known(url)
    assert f"The {safe} tiles that are done are safe" in str(told.value)
    assert 0 < safe < 9
    summary = fuse_noise(noise, url)
    assert (summary.found, summary.done, summary.failed) == (safe, 9 - safe, ())
    assert_same_pixels(tamrf_xr.open_cube(url), tamrf_xr.open_cube(tmp_path / "whole.zarr"))


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("QuotaExceeded", StoreFullError, 'no room left for .*code: "QuotaExceeded"'),
        ("AccessDenied", JobError, 'may not be written any more, .*code: "AccessDenied"'),
        ("InvalidRequest", None, "InvalidRequest: No more"),
    ],
)
def test_service_that_takes_no_more_ends_the_job_by_what_it_answers(
    code, error, words, noise, endpoint, faults, tmp_path
):
    """Digits and words of the name, which every message holds, are no answer of the service."""
    url = f"icechunk://s3://bucket/{tmp_path.name}-507-QuotaExceeded"
    known = {"endpoint_url": endpoint, "allow_http": True, "force_path_style": True, **s3.KEYS}
    answer = f"<Error><Code>{code}</Code><Message>No more</Message></Error>"
    (faults / "fault").write_text(f"400 Bad Request\n{answer}")
    if error:
        with pytest.raises(error, match=words):
            fuse_noise(noise, url, storage_options=known)
    else:
        failed = fuse_noise(noise, url, storage_options=known).failed
        assert len(failed) == 9
        assert all(words in tile.error for tile in failed)
    (faults / "fault").unlink()
    assert fuse_noise(noise, url, storage_options=known).done == 9
    fuse_noise(noise, tmp_path / "whole.zarr")
    written = tamrf_xr.open_cube(url, storage_options=known)
    assert_same_pixels(written, tamrf_xr.open_cube(tmp_path / "whole.zarr"))


def test_repository_that_is_gone_is_told_by_name(url, tmp_path):
    place = repository_at(url, "store", None, write=True)
    place.begin()
    place.write("zarr.json", b'{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    place.note(f"{FOLDER}/one", b"1")
    place.commit("one")
    shutil.rmtree(tmp_path / "repository")
    asked = [
        lambda: place.read("zarr.json"),
        lambda: place.size("zarr.json"),
        lambda: place.write("zarr.json", b"{}"),
        lambda: place.publish("fused"),
        place.begin,
        lambda: place.finished,
    ]
    for ask in asked:
        with pytest.raises(StoreError, match=r"icechunk://.*repository"):
            ask()


def close_after(count, close, monkeypatch):
    """Close the disk once so many tiles are recorded."""
    note, recorded = commits.Commits.note, []

    def noted(self, name, data):
        note(self, name, data)
        recorded.extend([name] if "/done/" in name else [])
        if len(recorded) == count:
            close()

    monkeypatch.setattr(commits.Commits, "note", noted)


def test_input_that_goes_away_fails_tiles_and_a_rerun_makes_them(
    scene, folder, undisturbed, url, monkeypatch
):
    bring_back = fusers.take_input_away(scene, folder, monkeypatch)
    summary = job(scene, url, folder)
    assert summary.failed
    assert all("InputChangedError" in tile.error for tile in summary.failed)
    with pytest.raises(SourceNotFoundError, match="holds nothing finished"):
        tamrf_xr.open_cube(url)
    bring_back()
    assert job(scene, url, folder).failed == ()
    assert_pixels_are_those(url, undisturbed)


@pytest.mark.parametrize("how", ["flipped", "deleted"])
def test_damaged_tiles_are_named_made_again_and_tagged_anew(how, noise, url, tmp_path, capsys):
    fuse_noise(noise, url)
    fuse_noise(noise, tmp_path / "whole.zarr")
    wanted = (tmp_path / "whole.zarr/sentinel2/reflectance/c/0/0/1/2").read_bytes()
    chunks = (tmp_path / "repository" / "chunks").iterdir()
    (chunk,) = (path for path in chunks if path.read_bytes() == wanted)
    if how == "flipped":
        middle = len(wanted) // 2
        chunk.write_bytes(wanted[:middle] + bytes([wanted[middle] ^ 1]) + wanted[middle + 1 :])
    else:
        chunk.unlink()
    assert main(["verify", url, "--deep"]) == 1
    assert "tile (1, 2): sentinel2/reflectance" in capsys.readouterr().out
    assert fuse_noise(noise, url).done == 1
    assert opened(url).read("sentinel2/reflectance/c/0/0/1/2") == wanted
    assert main(["verify", url, "--deep"]) == 0
    repository = opened(url)._repository
    first, second = sorted(repository.list_tags())
    assert second == f"{first}.2"
    assert repository.lookup_tag(second) == repository.lookup_branch("main")


def test_killed_while_it_replaces_a_product_readers_see_that_one(scene, folder, undisturbed, url):
    queries = pd.DatetimeIndex(["2022-01-09"])
    cube = tamrf_xr.open_cube(scene)
    run_tiles(cube, url, traced(folder), queries, tile=TILE, how=QUIET)
    before = tamrf_xr.open_cube(url).load()
    (folder / "calls").unlink()
    (folder / "hang").touch()
    with process(scene, url, folder, "over") as client:
        wait_for(lambda: traces(folder, "hanging") and known(url) >= 2)
        client.send_signal(signal.SIGKILL)
        client.wait()
    (folder / "hang").unlink()
    assert tamrf_xr.open_cube(url).identical(before)
    found = known(url)
    summary = job(scene, url, folder)  # goes on with what replaces it
    assert (summary.found, summary.done) == (found, TILES - found)
    assert_pixels_are_those(url, undisturbed)
    assert list(tamrf_xr.open_cube(url)["sentinel2"].time.values) == list(QUERIES.values)


def test_tile_of_a_dead_job_does_not_reach_the_next_ones_store(scene, folder, undisturbed, url):
    (folder / "wait").touch()
    with process(scene, url, folder) as client:
        wait_for(lambda: traces(folder, "waiting"))
        other = folder.with_name("others")
        other.mkdir()
        again = Execution(overwrite=True, workers=2, progress=False)
        job(scene, url, other, again)
        (folder / "wait").unlink()
        _, said = client.communicate(timeout=60)
    assert client.returncode == 1
    assert "another run is at work on" in said
    assert_pixels_are_those(url, undisturbed)
    assert verify(url, deep=True).ok


def test_read_that_hangs_holds_no_signal_and_what_was_done_is_committed(
    scene, folder, undisturbed, url
):
    shard = scene / "sentinel2/reflectance/c/0/0/0/0"
    whole = shard.read_bytes()
    words = ["fuse", scene, url, "--dates", *(f"{date:%Y-%m-%d}" for date in QUERIES)]
    words += ["--tile", str(TILE), "--workers", "2", "--method", "traced", "--model", folder]
    shard.unlink()
    os.mkfifo(shard)
    with process("cli", *words) as command:
        wait_for(lambda: known_to_be_laid_out(url))
        time.sleep(1)  # every thread reads
        start = time.monotonic()
        command.send_signal(signal.SIGTERM)
        command.wait(timeout=30)
        took = time.monotonic() - start
    assert took < 10
    assert command.returncode == 130
    shard.unlink()
    shard.write_bytes(whole)
    assert job(scene, url, folder).failed == ()
    assert_pixels_are_those(url, undisturbed)


def known_to_be_laid_out(url):
    try:
        return job_state(url) is not None
    except (OSError, ValueError):
        return False

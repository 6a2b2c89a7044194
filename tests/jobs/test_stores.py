"""The faults of a job on an S3 server (moto, on this machine).

What that cannot show: latency, throttling, a service of many servers, and moto answers one request
at a time, so that of two conditional PUTs that come at once one is always first.
"""

from __future__ import annotations

import http.server
import os
import signal
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import xarray as xr

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.errors import (
    JobError,
    OptionError,
    OutputExistsError,
    SourceNotFoundError,
    StoreError,
    StoreFullError,
)
from tamrf_xr.places import FOLDER, Objects, objects
from tamrf_xr.replaceable import LISTING
from tamrf_xr.scale import objectlock
from tamrf_xr.scale.damage import verify
from tamrf_xr.scale.job import Execution
from tamrf_xr.scale.ledger import job_state, read_done
from tests import s3
from tests.jobs import fusers
from tests.jobs.fusers import traced, traces
from tests.jobs.run import QUERIES, TILE, contents
from tests.laid import run_tiles
from tests.scenes import random_cube
from tests.test_job import process, wait_for

pytest.importorskip("obstore")

TILES = 3 * 4
QUIET = Execution(workers=2, progress=False)


@pytest.fixture
def bucket(endpoint, faults, monkeypatch, tmp_path) -> str:
    """A URL where nothing is; clients find the server by their environment, processes too."""
    for name, value in {**s3.options(endpoint), "allow_http": "true"}.items():
        monkeypatch.setenv(f"AWS_{name.upper()}", value)
    yield f"s3://bucket/{tmp_path.name}"
    for fault in faults.iterdir():
        fault.unlink()


def job(scene, store, folder, how=QUIET, **changes):
    cube = tamrf_xr.open_cube(scene)
    return run_tiles(cube, store, traced(folder, **changes), QUERIES, tile=TILE, how=how)


def at(url: str) -> Objects:
    return objects(url, "store", write=True)


def held_by(place: Objects) -> dict[str, bytes]:
    """As `contents` of a folder."""
    origin = {"zarr.json", LISTING, *(f"{FOLDER}/{n}" for n in ("job.json", "chunks.json"))}
    origin.add(f"{FOLDER}/lock.token")
    return {n: place.read(n) for n, _ in place.all_names() if n not in origin}


def done(place) -> int:
    try:
        return len(read_done(place))
    except OSError:
        return 0


# Object stores


@pytest.mark.parametrize("of", ["s3", "memory", "zarr object"])
def test_product_in_an_object_store_is_that_of_a_folder(of, scene, folder, undisturbed, bucket):
    url = f"memory://{bucket[5:]}" if of == "memory" else bucket
    place = at(url)
    job(scene, place.zarr_store() if of == "zarr object" else url, folder)
    assert held_by(place) == undisturbed
    assert not [name for name, _ in place.all_names() if "lock" in name and "token" not in name]
    assert str(job_state(url)) == "job: 12 of 12 tiles done, complete"
    assert job(scene, url, folder).found == TILES
    product = tamrf_xr.open_cube(url)
    assert product.encoding["source"] == url
    assert main(["info", url]) == main(["verify", url, "--deep"]) == 0


def test_a_tile_asks_for_its_token_twice_and_puts_each_shard_and_its_record_once(
    scene, folder, bucket, faults
):
    """All else is asked per job: as often for 12 tiles as for 4."""
    shared, token = {}, f"GET /{FOLDER}/lock.token"
    for edge, tiles in ((TILE, TILES), (24, 4)):
        url, how = f"{bucket}-{edge}", Execution(workers=1, progress=False)
        (faults / "requests").write_text("")
        run_tiles(tamrf_xr.open_cube(scene), url, traced(folder), QUERIES, tile=edge, how=how)
        said = (faults / "requests").read_text().replace(url.removeprefix("s3:/"), "")
        asked = Counter(line for line in said.splitlines() if "lock.probe" not in line)
        of_tiles = {line: n for line, n in asked.items() if is_of_tile(line.partition("/")[2])}
        made = {f"PUT /{name}" for name, _ in at(url).all_names() if is_of_tile(name)}
        assert of_tiles == dict.fromkeys(made, 1)
        assert asked.pop(token) == 1 + 2 * tiles
        shared[tiles] = {line: n for line, n in asked.items() if line not in of_tiles}
    assert shared[4] == shared[TILES]


def is_of_tile(name: str) -> bool:
    pixels = ("/reflectance/c/", "/surface_temperature/c/")
    return name.startswith(f"{FOLDER}/done/") or any(folder in name for folder in pixels)


@pytest.mark.filterwarnings("ignore::tamrf_xr.errors.RereadWarning")
def test_cube_in_an_object_store_is_that_of_a_folder_and_is_read_from_there(
    scene, folder, undisturbed, bucket, tmp_path
):
    cube = tamrf_xr.open_cube(scene)
    tamrf_xr.save_cube(cube, bucket)
    place = at(bucket)
    there = {name: place.read(name) for name, _ in place.all_names()}
    here = {p.relative_to(scene).as_posix(): p for p in scene.rglob("*") if p.is_file()}
    assert there.keys() == here.keys()
    same = [name for name in there if name == LISTING or there[name] == here[name].read_bytes()]
    assert len(same) == len(there)
    assert verify(bucket).ok
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        tamrf_xr.save_cube(cube, bucket)
    with pytest.raises(OptionError, match="one is inside the other"):
        job(bucket, f"{bucket}/inside", folder)
    read = run_tiles(
        tamrf_xr.open_cube(bucket), f"{bucket}-out", traced(folder), QUERIES, tile=TILE, how=QUIET
    )
    assert read.done == TILES
    assert held_by(at(f"{bucket}-out")) == undisturbed
    lazily = tamrf_xr.open_cube(bucket, chunks={})  # goes on with it
    ask = (lazily, f"{bucket}-out", traced(folder), QUERIES)
    assert run_tiles(*ask, tile=TILE, how=QUIET).found == TILES
    place.write("sentinel2/reflectance/c/0/0/0/0", b"cut")
    assert "has 3 bytes, was written with" in str(verify(bucket))
    tamrf_xr.save_cube(cube, bucket, overwrite=True)
    assert verify(bucket, deep=True).ok


def test_killed_client_leaves_only_the_rest_to_do(scene, folder, undisturbed, bucket):
    place = at(bucket)
    (folder / "hang").touch()
    with process(scene, bucket, folder) as client:
        wait_for(lambda: done(place) >= 2)
        with pytest.raises(JobError, match=r"another run is at work on s3://.*: process"):
            job(scene, bucket, folder)
        client.send_signal(signal.SIGKILL)
        client.wait()
    (folder / "hang").unlink()
    left = TILES - done(place)
    assert job_state(bucket).owner is None
    summary = job(scene, bucket, folder)
    assert (summary.done, summary.failed) == (left, ())
    assert held_by(place) == undisturbed


def test_killed_worker_changes_nothing(scene, folder, undisturbed, bucket):
    (folder / "kill").touch()
    summary = job(scene, bucket, folder, Execution(cluster="local", workers=2, progress=False))
    assert (summary.done, summary.failed) == (TILES, ())
    assert held_by(at(bucket)) == undisturbed


def test_two_writers_leave_no_hole(scene, folder, undisturbed, bucket):
    """A lock deleted by hand lets two runs in; both are killed."""
    place = at(bucket)
    (folder / "slow").touch()
    with process(scene, bucket, folder) as one:
        wait_for(lambda: done(place) >= 2)
        place.delete([objectlock.NAME])
        with process(scene, bucket, folder) as other:
            wait_for(lambda: done(place) >= 8)
            for writer in (other, one):
                writer.send_signal(signal.SIGKILL)
                writer.wait()
    mine, ends = held_by(place), {f"/{row}/{column}" for row, column in read_done(place)}
    for name, data in undisturbed.items():
        if "/c/0/0/" in name and any(name.endswith(end) for end in ends):
            assert mine[name] == data
    (folder / "slow").unlink()
    job(scene, bucket, folder)
    assert held_by(place) == undisturbed


QUOTA = "<Error><Code>QuotaExceeded</Code><Message>No more</Message></Error>"


@pytest.mark.parametrize(
    "status",
    [
        "507 InsufficientStorage",
        f"400 Bad Request\n{QUOTA}",
        f"403 Forbidden\n{QUOTA}",
        "403 Forbidden",
        "400 Bad Request",
    ],
    ids=["507", "quota", "quota-403", "403", "400"],
)
def test_puts_that_fail_stop_or_fail_tiles_and_a_rerun_makes_them(
    status, scene, folder, undisturbed, bucket, faults
):
    bucket += "-507-QuotaExceeded"  # A name says nothing of what the service answered.
    (faults / "fault").write_text(status)
    if status.startswith("507") or QUOTA in status:
        with pytest.raises(StoreFullError, match=r"no room left for s3://.*run again to do the"):
            job(scene, bucket, folder)
    elif status.startswith("403"):
        with pytest.raises(JobError, match="may not be written any more"):
            job(scene, bucket, folder)
    else:
        summary = job(scene, bucket, folder)
        assert len(summary.failed) == TILES
        assert "/c/0/0/" in summary.failed[0].error
        assert "400" in summary.failed[0].error
    (faults / "fault").unlink()
    assert job(scene, bucket, folder).failed == ()
    assert held_by(at(bucket)) == undisturbed


def test_damaged_tiles_are_named_and_made_again(scene, folder, undisturbed, bucket, capsys):
    job(scene, bucket, folder)
    place, name = at(bucket), "sentinel2/reflectance/c/0/0/1/2"
    flipped = bytearray(place.read(name))
    flipped[len(flipped) // 2] ^= 1
    place.write(name, bytes(flipped))
    place.delete(["landsat/reflectance/c/0/0/2/0"])
    assert main(["verify", bucket]) == 1
    assert "tile (2, 0): landsat/reflectance/c/0/0/2/0 has 0 bytes" in capsys.readouterr().out
    assert list(verify(bucket, deep=True).damaged) == [(1, 2)]
    assert job(scene, bucket, folder).done == 2
    assert held_by(place) == undisturbed


def test_input_that_goes_away_fails_tiles_and_a_rerun_makes_them(
    scene, folder, undisturbed, bucket, monkeypatch
):
    bring_back = fusers.take_input_away(scene, folder, monkeypatch)
    summary = job(scene, bucket, folder)
    assert summary.failed
    assert all("InputChangedError" in tile.error for tile in summary.failed)
    bring_back()
    assert job(scene, bucket, folder).failed == ()
    assert held_by(at(bucket)) == undisturbed


def test_tile_of_a_dead_job_does_not_reach_the_next_ones_store(scene, folder, bucket):
    place = at(bucket)
    (folder / "wait").touch()
    with process(scene, bucket, folder) as client:
        wait_for(lambda: traces(folder, "waiting"))
        place.write(f"{FOLDER}/lock.token", b"another\n")
        (folder / "wait").unlink()
        _, said = client.communicate(timeout=60)
    assert "another job has laid" in said
    assert done(place) == 0
    assert not [name for name, _ in place.all_names() if "/c/0/0/" in name]


def test_layout_that_was_cut_off_is_seen_by_nobody_and_made_anew(
    scene, folder, undisturbed, bucket
):
    job(scene, bucket, folder)
    place = at(bucket)
    place.delete(["zarr.json"])
    place.write(objectlock.NAME, b'{"owner": {"host": "x", "pid": 1, "born": 1, "since": "", '
                b'"token": "x"}}')  # fmt: skip
    with pytest.raises(SourceNotFoundError, match="found nothing there"):
        tamrf_xr.open_cube(bucket)
    with pytest.raises(JobError, match="another run is at work"):  # of a machine not seen from here
        job(scene, bucket, folder)
    place.delete([objectlock.NAME])
    assert job(scene, bucket, folder).done == TILES
    assert held_by(place) == undisturbed


def test_lock_of_a_silent_machine_is_taken_over_by_one(scene, bucket, monkeypatch):
    place = at(bucket)
    other = b'{"owner": {"host": "x", "pid": 1, "born": 1, "since": "", "token": "x"}}'
    place.write(objectlock.NAME, other)
    monkeypatch.setattr(objectlock, "SILENCE", -1.0)
    monkeypatch.setattr(objectlock, "BEAT", 0.2)
    with objectlock.held(place):
        first = place.look(objectlock.NAME)
        with pytest.raises(JobError, match="another run is at work"), objectlock.held(place):
            pass
        assert not place.swap(objectlock.NAME, b"", "of-before")
        wait_for(lambda: place.look(objectlock.NAME).tag != first.tag)  # signs of life
    assert place.size(objectlock.NAME) is None


@pytest.mark.parametrize("how", ["server", "client"])
def test_stores_without_conditional_puts_say_so_and_refuse_two_writers(
    how, scene, folder, undisturbed, bucket, faults, monkeypatch, caplog
):
    """The server that does not know the header, and the client that was told so."""
    if how == "server":
        (faults / "unconditional").touch()
    else:
        monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    place = at(bucket)
    (folder / "hang").touch()
    with process(scene, bucket, folder):
        wait_for(lambda: done(place) >= 1)
        with pytest.raises(JobError, match=f"at work on s3.*delete {bucket}/.tamrf_job/claims/"):
            job(scene, bucket, folder)
        assert job_state(bucket).owner is not None
    (folder / "hang").unlink()
    job(scene, bucket, folder)  # its owner was killed
    assert "has no conditional PUT" in caplog.text
    assert held_by(place) == undisturbed


def test_what_is_not_ours_is_not_written_over(scene, folder, bucket):
    place = at(bucket)
    place.write("notes.txt", b"mine")
    for how in (QUIET, Execution(overwrite=True, progress=False)):
        with pytest.raises(OutputExistsError, match=r"exists and is no"):
            job(scene, bucket, folder, how)
    assert list(place.all_names()) == [("notes.txt", 4)]


def test_job_that_is_replaced_is_made_anew(scene, folder, undisturbed, bucket):
    job(scene, bucket, folder)
    summary = job(scene, bucket, folder, Execution(overwrite=True, progress=False))
    assert summary.done == TILES
    assert held_by(at(bucket)) == undisturbed


def test_places_that_cannot_be_are_refused_and_no_folder_is_made(
    scene, folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = set(os.listdir("."))
    for url in ("s3://bucket", "s3:/bucket/x", Path("s3://bucket/x"), "ftp://h/x", "icechunk://"):
        with pytest.raises(OptionError):
            job(scene, url, folder)
        with pytest.raises(OptionError):
            tamrf_xr.save_cube(random_cube((12, 12)), url)
    with pytest.raises(OptionError, match="colour"):
        tamrf_xr.open_cube("s3://bucket/x", storage_options={"colour": "red"})
    assert set(os.listdir(".")) == before


def part_of(wanted: str, size: int) -> tuple[int, int]:
    """Read a Range: ``bytes=0-9``, ``bytes=10-``, ``bytes=-20``."""
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    if wanted and not first:
        return max(size - int(last), 0), size
    return int(first or 0), min(int(last) + 1, size) if last else size


def test_cube_behind_a_web_server_is_read(scene, folder, undisturbed, tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        """Serves parts of files, as object stores do, and as Python's own server does not."""

        def log_message(self, *_):
            pass

        def do_GET(self):
            path = Path(self.translate_path(self.path))
            if not path.is_file():
                self.send_error(404)
                return
            data, wanted = path.read_bytes(), self.headers.get("Range", "")
            first, last = part_of(wanted, len(data))
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(last - first))
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{len(data)}")
            self.end_headers()
            self.wfile.write(data[first:last])

    handler = partial(Quiet, directory=str(scene.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{web.server_port}/scene.zarr"
        xr.testing.assert_identical(tamrf_xr.open_cube(url), tamrf_xr.open_cube(scene))
        job(url, tmp_path / "out.zarr", folder)
        assert contents(tmp_path / "out.zarr") == undisturbed
        assert main(["info", url]) == 0
        with pytest.raises(OptionError, match="behind a web server"):
            verify(url)
        with pytest.raises(OptionError, match="is only read"):
            tamrf_xr.save_cube(random_cube((12, 12)), url)
        with pytest.raises(SourceNotFoundError):
            tamrf_xr.open_cube(f"{url}x")
        web.shutdown()


def test_missing_credentials_are_told_with_the_way_out(monkeypatch):
    """obstore 0.12 asks the metadata address of clouds then, and tells of that alone."""
    import obstore
    from obstore.exceptions import GenericError

    def unanswered(*_: object, **__: object) -> None:
        raise GenericError(
            "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token"
        )

    monkeypatch.setattr(obstore, "put", unanswered)
    place = objects("s3://bucket/cube.zarr", "cube", write=True)
    with pytest.raises(StoreError, match=r"no credentials.*storage_options.*s3://bucket/cube.zarr"):
        place.create("lock", b"")

"""``--storage-option`` of every command that reads or writes a store by URL."""

from __future__ import annotations

import os

import pytest

import tamrf_xr
from tamrf_xr import view
from tamrf_xr.cli import main
from tamrf_xr.errors import OptionError
from tamrf_xr.places import objects
from tests import s3
from tests.scenes import random_cube

pytest.importorskip("obstore")

SECRET = "hunter2hunter2"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with s3.server(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture
def words(endpoint, monkeypatch) -> list[str]:
    """The options as words; the environment knows none of them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    given = s3.options(endpoint, secret_access_key=SECRET)
    return [word for pair in given.items() for word in ("--storage-option", "=".join(pair))]


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.filterwarnings("ignore::tamrf_xr.errors.TamrfWarning")
def test_every_command_reaches_a_store_by_the_options_given(
    words, endpoint, tmp_path, monkeypatch, capsys
):
    cube, fused = "s3://bucket/scene.zarr", "s3://bucket/fused.zarr"
    options = s3.options(endpoint)
    tamrf_xr.save_cube(random_cube((36, 45)), cube, storage_options=options)
    job = ("--dates", "2022-01-10", "--method", "linear", "--quiet", *words)
    assert run("fuse", cube, fused, *job) == 0
    for command in ("info", "verify"):
        assert run(command, fused, *words) == 0
    assert run("quicklook", cube, fused, tmp_path / "q.png", *words) == 0
    assert run("export", "cog", fused, tmp_path / "cogs", "--quiet", *words) == 0
    assert run("export", "stac", fused, tmp_path / "stac", *words) == 0
    assert list((tmp_path / "cogs").glob("*.tif"))
    shown = []
    monkeypatch.setattr(view, "serve", lambda *trees, **_: shown.extend(trees))
    assert run("view", fused, "--cube", cube, *words) == 0
    assert [tree.encoding["source"] for tree in shown] == [fused, cube]
    task = ("--task", "gap-filling", "--methods", "naive", "--margin", "3", "--quiet")
    assert run("evaluate", cube, *task, "--out", tmp_path / "report", *words) == 0
    assert SECRET not in "".join(capsys.readouterr())
    stored = tamrf_xr.open_cube(fused, storage_options=options)
    assert SECRET not in str(stored.attrs)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([SECRET], "number 1 is not KEY=VALUE, such as region=eu-central-1"),
        (["region=x", f"={SECRET}"], "number 2 is not KEY=VALUE"),
        ([f"secret key={SECRET}"], "number 1 is not KEY=VALUE"),
        ([f"secret_access_key={SECRET}"] * 2, "secret_access_key is given twice"),
        ([f"colour={SECRET}"], "cannot be opened with the options colour"),
    ],
)
def test_malformed_options_are_told_without_their_values(given, told, tmp_path, capsys):
    words = [word for one in given for word in ("--storage-option", one)]
    assert run("info", "s3://bucket/cube.zarr", *words) == 1
    said = capsys.readouterr()
    assert told in said.err
    assert SECRET not in said.err + said.out


def test_options_of_no_url_are_refused(tmp_path, capsys):
    tamrf_xr.save_cube(random_cube((12, 12)), tmp_path / "c.zarr")
    assert run("info", tmp_path / "c.zarr", "--storage-option", f"token={SECRET}") == 1
    said = capsys.readouterr().err
    assert "--storage-option token is of stores by URL" in said
    assert SECRET not in said


def test_unknown_options_of_icechunk_are_refused_by_name():
    pytest.importorskip("icechunk")
    with pytest.raises(OptionError, match=r"options colour; those of icechunk.s3_storage are .*re"):
        tamrf_xr.open_cube("icechunk://s3://b/x", storage_options={"colour": SECRET})


def test_options_stand_in_no_repr():
    from tamrf_xr.scale.job import Execution

    assert SECRET not in repr(Execution(storage_options={"secret_access_key": SECRET}))


@pytest.mark.parametrize("said", [True, "true"])
def test_plain_http_may_be_allowed_among_the_options_of_the_store(said):
    options = {"allow_http": said, "endpoint": "http://127.0.0.1:9", "region": "x"}
    place = objects("s3://b/cube.zarr", "cube", options, write=False)
    assert place.store.client_options["allow_http"] in {True, "true"}
    assert options["allow_http"] == said

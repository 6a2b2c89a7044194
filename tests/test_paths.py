"""Paths as users write them, wherever one is taken: read alike, or refused; no folder `s3:`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import grid_of
from tamrf_xr.errors import OptionError, TamrfError
from tamrf_xr.export.cog import write_cog
from tamrf_xr.export.quicklook import quicklook
from tamrf_xr.fusion import run_job
from tamrf_xr.ingest.ls2s2 import from_ls2s2, ingest_ls2s2
from tamrf_xr.metrics.naturalness import read_brisque_model
from tamrf_xr.model.checkpoint import content_hash, load_model, save_model
from tamrf_xr.paths import is_url, local_path, readable
from tamrf_xr.scale.clusters import opened
from tamrf_xr.scale.ledger import job_state
from tamrf_xr.simulate import SceneConfig, write_scene, write_scenes
from tests.scenes import random_cube

REMOTE = [
    "s3://bucket/x",
    "gs://b/x",
    "az://b/x",
    "memory://x",
    "http://h/x",
    "S3://b/x",
    "abfs://b/x",
]
SCENE = SceneConfig(30, sentinel2_revisit_days=90, landsat_revisit_days=90)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder; the working directory is an empty one too."""
    for name in ("home", "cwd"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path / "home"


def small():
    return random_cube((12, 12), hr=2, lr=2)


def network():
    folder = Path(__file__).parent / "data" / "oracle_small"
    return load_model(folder / "checkpoint.ckpt", folder / "config_composed.yaml")


def image(path):
    grid = grid_of(small()["sentinel2"].to_dataset())
    write_cog(np.zeros((1, *grid.shape), np.float32), ["B02"], grid, path)


def job(path):
    run_job(small(), path, "2022-01-08", method="linear", progress=False)


def evaluation(path):
    from tamrf_xr.evaluation.protocol import evaluate

    evaluate({"a": small()}, task="gap-filling", methods=["linear"], out=path, progress=False)


def training(path):
    from tamrf_xr.train import main as train

    if train([f"data={path}", f"output={path}"]):
        raise OptionError(f"the way in was refused: got {path}")


def lpips(path):
    from tamrf_xr.training.lpips import load_lpips as load

    load(path)


def by_command(*words):
    def call(path):
        if main([str(path) if word == "PATH" else word for word in words]):
            raise OptionError(f"the command refused: got {path}")

    return call


WRITERS = {
    "save_cube": lambda path: tamrf_xr.save_cube(small(), path),
    "run_job": job,
    "save_model": lambda path: save_model(network(), path),
    "write_cog": image,
    "quicklook": lambda path: quicklook(small(), path=path),
    "write_scene": lambda path: write_scene(SCENE, path),
    "write_scene truth": lambda path: write_scene(SCENE, "there.zarr", path),
    "write_scenes": lambda path: write_scenes(path, range(1)),
    "evaluate": evaluation,
    "train": training,
    "ingest": lambda path: ingest_ls2s2("nothing", path, progress=False),
    "tamrf-xr simulate": by_command("simulate", "PATH", "--size", "30"),
    "tamrf-xr weights convert": by_command("weights", "convert", "nothing.ckpt", "PATH"),
    "tamrf-xr adapt": by_command("adapt", "nothing.zarr", "PATH"),
    "tamrf-xr ingest": by_command("ingest", "ls2s2", "nothing", "PATH"),
}
READERS = {
    "load_model": load_model,
    "config of load_model": lambda path: load_model(__file__, path),
    "content_hash": content_hash,
    "from_ls2s2": from_ls2s2,
    "folder of ingest": lambda path: ingest_ls2s2(path, "there.zarr", progress=False),
    "cluster": lambda path: opened(path).__enter__(),
    "weights": lambda path: small().tamrf.fuse(
        "2022-01-08", method="utilise", method_options={"weights": path}
    ),
    "several weights": lambda path: small().tamrf.fuse(
        "2022-01-08", method="deepharmo", method_options={"weights": path}
    ),
    "model": lambda path: small().tamrf.fuse("2022-01-08", model=path),
    "brisque": read_brisque_model,
    "lpips": lpips,
}


STORES = ("save_cube", "run_job")
"""What writes to object stores too: tests/jobs/test_stores.py."""


@pytest.mark.parametrize("url", ["s3://bucket/x", "memory://x", Path("s3://bucket/x"), ""])
@pytest.mark.parametrize("name", [*WRITERS, *READERS])
def test_remote_and_empty_paths_are_refused_and_nothing_is_made(name, url, home, monkeypatch):
    if name in STORES and url == "memory://x":
        pytest.skip("it takes that")
    # Nobody answers there, so where an object store is taken, nothing can be made either.
    for key in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION"):
        monkeypatch.setenv(f"AWS_{key}", "x")
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(TamrfError):
        {**WRITERS, **READERS}[name](url)
    assert os.listdir(home) == os.listdir(".") == []


FILES = {"save_model": "x.safetensors", "write_cog": "x.tif", "quicklook": "x.png"}


@pytest.mark.parametrize("form", ["~/{}", "file://{home}/{}", "file://localhost{home}/{}"])
@pytest.mark.parametrize(
    "name", ["save_cube", "run_job", "save_model", "write_cog", "quicklook", "write_scene"]
)
def test_home_and_file_urls_are_written_where_they_say(name, form, home):
    file = FILES.get(name, "my%20x.zarr" if form.startswith("file") else "my x.zarr")
    WRITERS[name](form.format(file, home=home))
    made = {path for path in os.listdir(home) if not path.endswith(".json")}
    assert made == {file.replace("%20", " ")}
    assert os.listdir(".") == []


def test_what_is_written_to_the_home_is_read_from_there(home):
    tamrf_xr.save_cube(small(), "~/x.zarr")
    for path in ("~/x.zarr", f"file://{home}/x.zarr", Path("~/x.zarr"), home / "x.zarr"):
        assert tamrf_xr.open_cube(path)["sentinel2/reflectance"].shape == (2, 10, 12, 12)
    job("~/out.zarr")
    assert job_state("~/out.zarr").done == 1
    assert main(["info", "~/out.zarr"]) == 0


@pytest.mark.parametrize("url", REMOTE)
def test_the_refusal_names_what_is_possible(url):
    with pytest.raises(OptionError, match=r"local or shared file system, got .*; name a path, ~/"):
        local_path(url, "store")
    assert readable(url, "store") == url
    assert is_url(Path(url))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("file://host/x", "of this machine"),
        ("file:x", "absolute"),
        ("~nobody-of-that-name/x", "home folder"),
        (b"x", "as text"),
    ],
)
def test_paths_that_lead_nowhere_are_refused(path, words):
    with pytest.raises(OptionError, match=words):
        local_path(path, "store")


names = st.text(st.characters(categories=["L", "N"], include_characters=" %#?+-_"), min_size=1)


@given(st.lists(names.filter(str.strip), min_size=1, max_size=4))
def test_every_path_is_itself_and_its_own_url(parts):
    path = Path("/", *parts)
    assert local_path(path, "store") == local_path(str(path), "store") == path
    assert local_path(path.as_uri(), "store") == path
    assert local_path(Path(path.as_uri()), "store") == path

"""What jobs on stores start from: a scene, a folder for traces, an undisturbed product."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tamrf_xr
from tamrf_xr.scale.job import Execution
from tests import s3
from tests.jobs.fusers import traced
from tests.jobs.run import QUERIES, TILE, contents
from tests.laid import run_tiles
from tests.scenes import random_cube


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("made") / "scene.zarr"
    tamrf_xr.save_cube(random_cube((36, 45), nan=0.05), path)
    return path


@pytest.fixture
def scene(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "scene.zarr"))


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "traces"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def undisturbed(made, tmp_path_factory) -> dict[str, bytes]:
    at = tmp_path_factory.mktemp("undisturbed")
    how = Execution(workers=2, progress=False)
    cube = tamrf_xr.open_cube(made)
    run_tiles(cube, at / "out.zarr", traced(at), QUERIES, tile=TILE, how=how)
    return contents(at / "out.zarr")


@pytest.fixture(scope="module")
def faults(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def endpoint(faults):
    with s3.server(faults) as endpoint:
        yield endpoint

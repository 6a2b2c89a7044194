"""Documentation runs as tests, in a folder of its own that holds the scene it speaks of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def documented_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the `scene.zarr` of the documentation, once."""
    from tamrf_xr.simulate import SceneConfig, write_scene

    path = tmp_path_factory.mktemp("docs") / "scene.zarr"
    write_scene(SceneConfig(size_px=60, year=2022, seed=1), path)
    return path


@pytest.fixture(autouse=True)
def _documentation(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if Path(str(request.node.path)).suffix == ".md":
        shutil.copytree(request.getfixturevalue("documented_scene"), tmp_path / "scene.zarr")
        monkeypatch.chdir(tmp_path)

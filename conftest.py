"""Documentation runs as tests, in a folder of its own that holds the scene it speaks of."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

# Kernels are interpreted on the CPU: Triton looks when it is first imported. A machine with a GPU
# compiles them instead: TRITON_INTERPRET=0 pytest -m gpu
os.environ.setdefault("TRITON_INTERPRET", "1")

collect_ignore_glob = []
if find_spec("triton") is None:  # it is of Linux alone, and optional there
    collect_ignore_glob += ["tamrf_xr/model/kernels/*.py", "tamrf_xr/model/fused.py"]


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

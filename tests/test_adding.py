"""What it takes to add a method or a sensor: a file and a row, or a row; nothing else changes.

Each is added to a copy of the package, whose other files stay as they are, and used there by a
process of its own: through `fuse`, a job, the command line, a store.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tamrf_xr

METHOD = '''
"""The Sentinel-2 image closest in time."""

from __future__ import annotations

import numpy as np

from tamrf_xr.fuser import FuserSpec, Scene
from tamrf_xr.methods.daily import DailyFuser, Seen
from tamrf_xr.methods.registry import Request


class Closest(DailyFuser):
    """Clouds and all that the closest image has."""

    def answer(self, seen: Seen, day: float) -> Scene | None:
        """Take the closest."""
        closest = int(np.argmin(np.abs(seen.days["sentinel2"] - day)))
        return seen.core("sentinel2", seen.series["sentinel2"].scene(closest))


def plan(request: Request) -> FuserSpec:
    """Return the recipe."""
    makes = request.wanted({"sentinel2": request.given["sentinel2"]})
    return FuserSpec("closest", f"{__name__}:Closest", tuple(makes.items()))
'''

USE_METHOD = """
import sys, numpy as np, tamrf_xr
from tamrf_xr.cli import main
from tests.scenes import random_cube
cube = random_cube((36, 45))
image, clear = (cube["sentinel2"][name].values[1] for name in ("reflectance", "valid"))
expected = np.where(clear, image, np.nan)
date = str(cube["sentinel2"]["time"].values[1] + np.timedelta64(1, "D"))[:10]
made = tamrf_xr.fuse(cube, date, method="closest", tile=13)
np.testing.assert_array_equal(made["sentinel2/reflectance"].values[0], expected)
some = tamrf_xr.fuse(cube, date, method="closest", bands={"sentinel2": ["B04"]})
np.testing.assert_array_equal(some["sentinel2/reflectance"].values[0, 0], expected[2])
tamrf_xr.save_cube(cube, "cube.zarr")
tamrf_xr.run_job(cube, "job.zarr", date, method="closest", progress=False)
job = tamrf_xr.open_cube("job.zarr")["sentinel2/reflectance"].values[0]
np.testing.assert_allclose(job, expected, atol=1e-4)
arguments = ["fuse", "cube.zarr", "cli.zarr", "--dates", date, "--method", "closest", "--quiet"]
assert main(arguments) == 0
told = tamrf_xr.open_cube("cli.zarr")["sentinel2/reflectance"].values[0]
np.testing.assert_array_equal(told, job)
"""

SENSOR = """

WIDE = Sensor(
    name="wide",
    title="Wide",
    gsd=60.0,
    bands=(
        Band("W1", "red", 60.0, 0.65, 0.3, ("w_red",)),
        Band("W2", "nir", 60.0, 0.86, 0.3),
    ),
    thermal=Band(THERMAL, "lwir11", 60.0, 11.0, 0.3),
)
SENSORS[WIDE.name] = WIDE
"""

USE_SENSOR = """
import numpy as np, tamrf_xr
from tamrf_xr.cube import build_cube, build_group, groups_of
from tests.scenes import days, grid, random_cube
rng = np.random.default_rng(0)
group = build_group(
    "wide",
    rng.random((3, 2, 6, 8), np.float32) * 0.5,
    times=days(3),
    grid=grid((6, 8), gsd=60.0),
    valid=np.ones((3, 6, 8), bool),
    surface_temperature=280 + 30 * rng.random((3, 6, 8), np.float32),
)
groups = groups_of(random_cube((36, 48)))
for others in ({}, {"sentinel2": groups["sentinel2"]}, groups):
    cube = build_cube({**others, "wide": group})
    tamrf_xr.save_cube(cube, "cube.zarr", overwrite=True)
    stored = tamrf_xr.open_cube("cube.zarr")
    date = str(group["time"].values[1])[:10]
    asked = {"method": "linear", "bands": {"wide": ["w_red", "LST"]}}
    asked["sensors"] = ["wide"]
    whole = tamrf_xr.fuse(stored, date, **asked)["wide"]
    assert whole["reflectance"].shape == (1, 1, 36, 48)
    fine = grid((36, 48))
    assert float(whole["x"][0]) == float(fine.coords()["x"][0])
    tiled = tamrf_xr.fuse(stored, date, **asked, tile=20)["wide"]
    for name in ("reflectance", "surface_temperature"):
        np.testing.assert_allclose(tiled[name].values, whole[name].values, rtol=1e-5)
    # Bicubic upsampling keeps the mean of a whole image but for its borders.
    warm = whole["surface_temperature"].values.mean()
    assert abs(warm - stored["wide/surface_temperature"].values[1].mean()) < 2
    tamrf_xr.run_job(stored, "job.zarr", date, progress=False, overwrite=True, **asked)
    job = tamrf_xr.open_cube("job.zarr")["wide/reflectance"].values
    np.testing.assert_allclose(job, whole["reflectance"].values, atol=1e-4)
"""


@pytest.fixture
def package(tmp_path) -> Path:
    """A copy of the package, beside the tests that it is used with."""
    source = Path(tamrf_xr.__file__).parent
    shutil.copytree(source, tmp_path / "tamrf_xr", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").symlink_to(Path(__file__).parent)
    return tmp_path / "tamrf_xr"


def digests(folder: Path) -> dict[str, str]:
    """What lies in a folder, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def changed(package: Path) -> set[str]:
    """Files that are not those of the package under test."""
    ours, theirs = digests(Path(tamrf_xr.__file__).parent), digests(package)
    return {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}


def use(package: Path, code: str) -> None:
    """Run code with the copy, in a folder of its own."""
    place = package.parent / "used"
    place.mkdir()
    script = f"assert tamrf_xr.__file__.startswith({str(package)!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", f"import tamrf_xr\n{script}{code}"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_method_is_a_file_and_a_row(package):
    (package / "methods/closest.py").write_text(METHOD.lstrip())
    registry = package / "methods/registry.py"
    row = '    "linear": "tamrf_xr.methods.linear",\n'
    text = registry.read_text()
    assert text.count(row) == 1
    registry.write_text(text.replace(row, f'{row}    "closest": "tamrf_xr.methods.closest",\n'))
    use(package, USE_METHOD)
    assert changed(package) == {"methods/closest.py", "methods/registry.py"}


def test_a_sensor_is_a_row(package):
    table = package / "sensors.py"
    table.write_text(table.read_text() + SENSOR)
    use(package, USE_SENSOR)
    assert changed(package) == {"sensors.py"}

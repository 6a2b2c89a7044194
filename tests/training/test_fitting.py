"""What the commands that fit a part of a network refuse, before anything is fitted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tamrf_xr.cube import build_cube
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.training import decoder, levels, uncertainty
from tamrf_xr.training.fitting import check_sensors, kept_of
from tests.scenes import random_cube

SIZES = {
    decoder: ("samples", "checked", "steps"),
    levels: ("samples", "checked", "steps"),
    uncertainty: ("samples", "calibration"),
}


@pytest.mark.parametrize(
    ("command", "size"),
    [(command, size) for command, sizes in SIZES.items() for size in sizes],
    ids=lambda one: one if isinstance(one, str) else one.__name__.rpartition(".")[2],
)
@pytest.mark.parametrize("value", [0, -3])
def test_sizes_of_which_nothing_comes_are_refused(command, size, value, tmp_path):
    words = ["default", "no cube", str(tmp_path / "out.safetensors"), f"--{size}", str(value)]
    with pytest.raises(OptionError, match=f"{size} is {value}; expected a whole number of at"):
        command.main(words)
    assert not any(tmp_path.iterdir())


def test_a_refusal_is_a_line_and_no_traceback(tmp_path):
    command = "tamrf_xr.training.levels"
    words = ["default", str(tmp_path / "*.zarr"), str(tmp_path / "out.safetensors")]
    told = subprocess.run(
        [sys.executable, "-m", command, *words], capture_output=True, text=True, check=False
    )
    assert told.returncode == 1
    assert told.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in told.stderr


def test_what_comes_of_the_weights_that_ship_keeps_what_is_known_of_them():
    """Without it, it would be taken for the published network: with dates that saw nothing."""
    assert {"training", "levels", "decoder", "errors"} <= kept_of("default").keys()


def test_a_sensor_that_no_cube_has_is_named():
    cube = random_cube((12, 12))
    alone = build_cube({"landsat": cube["landsat"].to_dataset()})
    check_sensors([alone, cube], ["lr", "hr"], "the decoder makes")
    with pytest.raises(CubeError, match=r"none of 1 cubes has /sentinel2, which the decoder makes"):
        check_sensors([alone], ["lr", "hr"], "the decoder makes")
    check_sensors([alone], ["lr"], "a head is of")

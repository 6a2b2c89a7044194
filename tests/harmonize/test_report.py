"""The door tells what it understood of each variable, and from which statement."""

from __future__ import annotations

import numpy as np
import xarray as xr

from tamrf_xr.harmonize import as_cube
from tests.harmonize.users_data import AFTER, band, landsat_scene, scene
from tests.scenes import random_cube


def test_report_tells_what_was_understood(capsys):
    data = scene(("blue", "B8A"), times=AFTER, raised=1000)
    data = data.assign(SCL=band(np.full((2, 6, 9), 4, "uint8"), times=AFTER), AOT=data["blue"])
    data = data.assign_coords({"s2:processing_baseline": "05.10"})
    data["blue"][0, 0] = 0
    cube = as_cube(data, report=True)
    told = capsys.readouterr().out
    for words in (
        "/sentinel2",
        "blue (uint16) -> B02",
        "B8A (uint16) -> B8A",
        "grid: 6 x 9 of 10 m, EPSG:32631, from 500000, 5000010",
        "x 0.0001 + -0.1, no data 0 65535",
        "92% there; 1 % 0.0",
        "numbers of the Level-2 product; offset by processing baseline",
        "SCL (uint8) -> valid",
        "ignored: AOT",
    ):
        assert words in told, told
    xr.testing.assert_identical(cube, as_cube(data))
    assert not capsys.readouterr().out


def test_report_tells_what_moved_and_what_does_not_count(capsys):
    data = landsat_scene(("red", "lwir11"), gsd=15.0)
    data = data.assign(
        valid=band(np.ones((2, 6, 9), bool), gsd=15.0),
        QA_PIXEL=band(np.full((2, 6, 9), 21824, "uint16"), gsd=15.0),
    )
    as_cube(data, regrid="nested", report=True)
    told = capsys.readouterr().out
    assert "of 15 m, EPSG:32631, from 500000, 5000010; from 15 to 30 m (area mean)" in told
    assert "QA_PIXEL (uint16) -> not used: 'valid' is there" in told
    assert " K\n" in told


def test_a_cube_is_told_to_be_one(capsys):
    as_cube(random_cube(), report=True)
    assert capsys.readouterr().out == "a cube already: taken as it is\n"

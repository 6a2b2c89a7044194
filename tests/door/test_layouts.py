"""Every layout of the table goes through the door."""

from __future__ import annotations

import numpy as np
import pytest

from tests.door.door_tests import DoorTests
from tests.door.layouts import LAYOUTS
from tests.door.ramp import Scene


class TestLayouts(DoorTests):
    """The table, row by row."""

    @pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS)
    def layout(self, request):
        return request.param


def test_the_ramp_is_dark_where_it_must_be():
    """Else the offset of Sentinel-2 could not be told from the pixels."""
    blue = Scene().bands("sentinel2", ("B02", "B04"))
    assert float((blue < 0.05).mean()) > 0.3
    assert float(blue.min()) > 0.02


def test_the_lazy_ramp_is_the_ramp():
    np.testing.assert_array_equal(
        Scene(lazy=True).bands("landsat").values, Scene().bands("landsat").values
    )


def test_every_row_says_where_it_comes_from():
    assert len(LAYOUTS) >= 16
    assert all(row.source for row in LAYOUTS.values())

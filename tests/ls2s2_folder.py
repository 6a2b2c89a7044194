"""LS2S2 folders of random scenes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from studies.ls2s2_folder import NODATA, Scenes, write_ls2s2
from tamrf_xr.cube import Grid
from tests.scenes import grid

DATES = {
    "sentinel2": ["2022-01-05", "2022-01-10", "2022-03-01"],
    "landsat": ["2022-01-09", "2022-02-10"],
}


def scenes(sensor, place, *, seed=0, nodata=0.03, **options) -> Scenes:
    """Random scenes with clouds, zeros and nodata in them."""
    rng = np.random.default_rng(seed)
    dates = DATES[sensor]
    count = {"sentinel2": 10, "landsat": 8}[sensor]
    stored = rng.integers(-50, 9000, (len(dates), count, *place.shape)).astype(np.int16)
    drawn = rng.random(stored.shape)
    stored[drawn < nodata] = NODATA
    stored[drawn > 1 - nodata / 3] = 0
    masks = rng.choice([0, 0, 1, 4], (len(dates), *place.shape)).astype(np.uint8)
    return Scenes(dates, stored, masks, place, **options)


def coarse(shape: tuple[int, int], **options: Any) -> Grid:
    """A grid of 30 m."""
    return grid(shape, gsd=30.0, **options)


def both(folder, fine=None, rough=None, **options):
    """A folder with both sensors; the same ground unless told."""
    fine, rough = fine or grid((36, 45)), rough or coarse((12, 15))
    pair = {"sentinel2": scenes("sentinel2", fine), "landsat": scenes("landsat", rough)}
    return write_ls2s2(folder, **{name: replace(one, **options) for name, one in pair.items()})

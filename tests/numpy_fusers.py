"""Fusers of a few lines: prove tiling, laziness and resume without torch."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from tamrf_xr.fuser import EpisodeFuser, FuserSpec

HALO = {"sentinel2": 3, "landsat": 2}


class Blur(EpisodeFuser):
    """Per sensor, a box blur of a time-weighted mean, Landsat repeated to 10 m: needs its halo."""

    def __init__(self, makes):
        self.makes = makes

    def predict(self, series, days, query_days, crop):
        total = 0.0
        for name, seen in series.items():
            ratio = {"sentinel2": 1, "landsat": 3}[name]
            rows, cols = crop.within(name)
            for image, day in zip(np.nan_to_num(seen.pixels), days[name], strict=True):
                blurred = uniform_filter(image[0], 2 * HALO[name] + 1, mode="nearest")
                fine = blurred.repeat(ratio, 0).repeat(ratio, 1)[rows, cols]
                total = total + fine * (1 + np.abs(query_days - day))[:, None, None]
        return {
            name: np.stack([total * (i + 1) for i, _ in enumerate(bands)], axis=1)
            for name, bands in self.makes.items()
        }


def blur_spec(**changes) -> FuserSpec:
    makes = (("sentinel2", ("B02", "B03")), ("landsat", ("B05", "LST")))
    return FuserSpec(
        **({"method": "blur", "factory": "tests.numpy_fusers:Blur", "makes": makes} | changes),
        halo=tuple(HALO.items()),
    )

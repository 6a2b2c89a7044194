"""What bfloat16 costs: products of the default weights in both precisions, compared.

``python benchmarks/precision.py`` takes a minute. A CPU without AMX is made to compute in bfloat16
all the same: slower, but the rounding is that of a GPU but for the order of its sums.
"""

from __future__ import annotations

import argparse
from typing import Any
from unittest import mock

import numpy as np
import xarray as xr
from machine import keep

from tamrf_xr.simulate import draw_config, simulate

SEED = 9_000_000
"""Of the scene: no training takes it."""

DATES = ("2022-02-01", "2022-05-01", "2022-08-01", "2022-11-01")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Fuse twice, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=180, help="10 m pixels of the scene")
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.size = 30
    cube = simulate(draw_config(SEED, size_px=options.size, year=2022)).cube
    exact = cube.tamrf.fuse(DATES, precision="float32").compute()
    with mock.patch("tamrf_xr.model.precision.bfloat16_speed", return_value=2.0):
        rounded = cube.tamrf.fuse(DATES, precision="bfloat16").compute()
    figures: dict[str, Any] = {"size_px": options.size}
    for path in ("sentinel2/reflectance", "landsat/reflectance", "landsat/surface_temperature"):
        figures[path] = differences(exact[path], rounded[path])
        print(path, {name: float(f"{value:.2g}") for name, value in figures[path].items()})
    if not options.tiny:
        keep("precision", figures)
    return figures


def differences(exact: xr.DataArray, rounded: xr.DataArray) -> dict[str, float]:
    """Return the mean and the largest absolute difference, in the unit of the variable."""
    apart = np.abs(exact.values - rounded.values)
    return {"mean": float(apart.mean()), "max": float(apart.max())}


if __name__ == "__main__":
    main()

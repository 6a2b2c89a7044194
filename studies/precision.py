"""What bfloat16 costs: products of the default weights in both precisions, compared.

``python -m studies.precision`` takes a minute. A CPU without AMX is made to compute in bfloat16
all the same: slower, but the rounding is that of a GPU but for the order of its sums.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import xarray as xr

from benchmarks.harness import Row, finish, parse
from studies import RESULTS
from tamrf_xr.simulate import draw_config, simulate

SEED = 9_000_000
"""Of the scene: no training takes it."""

VARIABLES = ("sentinel2/reflectance", "landsat/reflectance", "landsat/surface_temperature")
DATES = ("2022-02-01", "2022-05-01", "2022-08-01", "2022-11-01")


def main(arguments: list[str] | None = None) -> Row:
    """Fuse twice, print, keep."""
    options = parse(__doc__, arguments, size=(180, 30))
    fixed: dict[str, Any] = {"sentinel2_revisit_days": 20} if options.tiny else {}
    cube = simulate(draw_config(SEED, size_px=options.size, year=2022, **fixed)).cube
    exact = cube.tamrf.fuse(DATES, precision="float32").compute()
    with mock.patch("tamrf_xr.model.precision.bfloat16_speed", return_value=2.0):
        rounded = cube.tamrf.fuse(DATES, precision="bfloat16").compute()
    rows = {path: differences(exact[path], rounded[path]) for path in VARIABLES}
    for path, row in rows.items():
        print(path, {name: float(f"{value:.2g}") for name, value in row.items()})
    return finish("precision", {"size_px": options.size, **rows}, options, folder=RESULTS)


def differences(exact: xr.DataArray, rounded: xr.DataArray) -> dict[str, float]:
    """Return the mean and the largest absolute difference, in the unit of the variable."""
    apart = np.abs(exact.values - rounded.values)
    return {"mean": float(apart.mean()), "max": float(apart.max())}


if __name__ == "__main__":
    main()

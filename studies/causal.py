"""What hindsight is worth: causal products against the truth of a simulated scene.

``python -m studies.causal --figure docs/causal.png`` fuses a scene at weekly dates with all
acquisitions, with those of the past alone, and with those that had arrived three days later, and
prints RMSE against the truth (some minutes on two cores). ``--tiny`` for a test.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import tamrf_xr
from tamrf_xr.cube import groups_of
from tamrf_xr.simulate import draw_config, simulate

SEED, YEAR = 9_000_001, 2022
WAYS: Mapping[str, dict[str, Any]] = {
    "all acquisitions": {},
    "the past": {"causal": True},
    "the past, 3 days late": {"causal": True, "latency": "3D"},
}
COLOURS = ("#228833", "#4477aa", "#ee6677")


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Fuse, compare, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, help="where to draw")
    parser.add_argument("--method", default="tamrf")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    size, dates = (60, f"{YEAR}-03-01/{YEAR}-10-31/{'60D' if options.tiny else '7D'}")
    scene = simulate(draw_config(SEED, size_px=size, year=YEAR))
    method = "linear" if options.tiny else options.method
    made = {
        way: tamrf_xr.fuse(scene.cube, dates, method=method, **how).compute()
        for way, how in WAYS.items()
    }
    truth = groups_of(scene.truth(dates))
    rmse = {
        f"{sensor}, {way}": _rmse(group["reflectance"], truth[sensor]["reflectance"])
        for way, fused in made.items()
        for sensor, group in groups_of(fused).items()
    }
    for name, value in rmse.items():
        print(f"{method}, {name}: RMSE {value:.4f}")
    if options.figure:
        series = {way: groups_of(fused)["sentinel2"] for way, fused in made.items()}
        _draw(series, truth["sentinel2"], options.figure, method)
    return rmse


def _rmse(fused: xr.DataArray, truth: xr.DataArray) -> float:
    return float(np.sqrt(((fused.values - truth.values) ** 2).mean()))


def _ndvi(group: xr.Dataset, at: int) -> tuple[pd.DatetimeIndex, np.ndarray]:
    bands = group["reflectance"].sel(band=["B04", "B08"])[:, :, at, at].values
    red, near = bands[:, 0], bands[:, 1]
    return pd.DatetimeIndex(group["time"].values), (near - red) / (near + red)


def _draw(made: Mapping[str, xr.Dataset], truth: xr.Dataset, path: Path, method: str) -> None:
    from matplotlib.figure import Figure

    places = (15, 45)
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    for axes, at in zip(figure.subplots(2, sharex=True), places, strict=True):
        axes.plot(*_ndvi(truth, at), color="black", lw=2.5, alpha=0.35, label="truth")
        for (way, fused), colour in zip(made.items(), COLOURS, strict=True):
            axes.plot(*_ndvi(fused, at), color=colour, marker=".", lw=1.2, label=way)
        axes.set(ylabel="NDVI", title=f"pixel ({at}, {at}), method {method}")
        axes.grid(alpha=0.3)
    figure.axes[1].legend(loc="lower center", fontsize=9)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

"""What provenance tells of errors, and what indices save, on a simulated scene.

``python -m studies.layers --figures docs`` fuses a scene with the default network, prints RMSE
against the truth by days to the nearest usable observation, times and bytes of a year of NDVI
beside those of every band, and draws ``provenance.png`` and ``indices.png`` (some minutes on two
cores). ``--tiny`` for a test.
"""

from __future__ import annotations

import argparse
import tempfile
import time
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
BINS = ((0, 0), (1, 2), (3, 5), (6, 10), (11, 20), (21, 400))
"""Days to the nearest usable observation, first and last."""

COLOURS = ("#bbbbbb", "#4477aa", "#ccbb44", "#228833")


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Fuse, compare, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", type=Path, help="folder to draw in")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    scene = simulate(draw_config(SEED, size_px=60 if options.tiny else 120, year=YEAR))
    dates = f"{YEAR}-01-05/{YEAR}-12-20/{'90D' if options.tiny else '8D'}"
    how: dict[str, Any] = {"method": "linear" if options.tiny else "tamrf"}
    made = tamrf_xr.fuse(scene.cube, dates, provenance=True, **how).compute()
    rmse = _by_distance(made, scene.truth(dates))
    for name, value in rmse.items():
        print(f"{how['method']}, {name}: RMSE {value:.4f}")
    with tempfile.TemporaryDirectory() as folder:
        measured = _measured(scene.cube, Path(folder), dates, how)
    for name, value in measured.items():
        print(f"{name}: {value:.4g}")
    if options.figures:
        _draw_provenance(made, options.figures / "provenance.png")
        _draw_indices(scene.cube, dates, how, options.figures / "indices.png")
    return rmse | measured


def _by_distance(made: xr.DataTree, truth: xr.DataTree) -> dict[str, float]:
    """Return RMSE of Sentinel-2's bands by days to its nearest usable observation."""
    fused, true = (groups_of(tree)["sentinel2"]["reflectance"].values for tree in (made, truth))
    days = made["provenance"].to_dataset()["days_to_observation"].sel(sensor="sentinel2").values
    nearest = np.where(days < 0, 400, days).min(axis=1)
    squares = ((fused - true) ** 2).mean(axis=1)
    found = {}
    for first, last in BINS:
        chosen = (nearest >= first) & (nearest <= last)
        if chosen.any():
            name = f"{first} to {last} days ({chosen.mean():.1%} of pixels)"
            found[name] = float(np.sqrt(squares[chosen].mean()))
    return found


def _measured(
    cube: xr.DataTree, folder: Path, dates: str, how: Mapping[str, Any]
) -> dict[str, Any]:
    """Return seconds and bytes of products, turn by turn, the least of each."""
    ways: dict[str, dict[str, Any]] = {
        "every band": {},
        "NDVI": {"indices": {"sentinel2": "NDVI"}},
        "NDVI, three statistics a month": {
            "indices": {"sentinel2": "NDVI"},
            "statistics": ["median", "p10", "p90"],
        },
    }
    found: dict[str, Any] = {}
    for turn in range(2):
        for name, asked in ways.items():
            store = folder / f"{len(name)}-{turn}.zarr"
            start = time.perf_counter()
            tamrf_xr.run_job(cube, store, dates, progress=False, **how, **asked)
            seconds = time.perf_counter() - start
            found[f"{name}, s"] = min(seconds, found.get(f"{name}, s", seconds))
            files = [file for file in store.rglob("c/**/*") if file.is_file()]
            found[f"{name}, MB"] = sum(file.stat().st_size for file in files) / 1e6
    return found


def _draw_provenance(made: xr.DataTree, path: Path) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    group, fused = made["provenance"].to_dataset(), groups_of(made)["sentinel2"]
    images = [image.values for image in group["source"]]
    chosen = int(
        np.argmax([len(np.unique(image)) - abs((image > 0).mean() - 0.5) for image in images])
    )
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    axes = figure.subplots(1, 3)
    date = pd.Timestamp(group["time"].values[chosen])
    colours = fused["reflectance"].sel(band=["B04", "B03", "B02"])[chosen].values
    axes[0].imshow(np.clip(np.moveaxis(colours, 0, -1) * 4, 0, 1))
    axes[0].set_title(f"fused, {date:%Y-%m-%d}")
    axes[1].imshow(group["source"][chosen], cmap=ListedColormap(COLOURS), vmin=-0.5, vmax=3.5)
    axes[1].set_title("source")
    names = ("reconstructed", "Sentinel-2", "Landsat", "both")
    handles = [Patch(color=c, label=n) for c, n in zip(COLOURS, names, strict=True)]
    axes[1].legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2)
    days = group["days_to_observation"].sel(sensor="any")[chosen].values
    nearest = np.where(days < 0, 400, days).min(axis=0)
    image = axes[2].imshow(nearest, cmap="viridis", vmin=0)
    axes[2].set_title("days to the nearest observation")
    figure.colorbar(image, ax=axes[2], shrink=0.8)
    for one in axes:
        one.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=110)


def _draw_indices(cube: xr.DataTree, dates: str, how: Mapping[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    asked = {"indices": {"sentinel2": "NDVI"}, **how}
    statistics = ["p10", "median", "p90"]
    made = tamrf_xr.fuse(cube, dates, statistics=statistics, **asked)
    group = groups_of(made)["sentinel2"].compute()
    middle = group.sizes["time"] // 2
    month = pd.Timestamp(group["time"].values[middle]).month_name()
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for one, name in zip(axes, statistics, strict=True):
        image = one.imshow(group[f"NDVI_{name}"][middle], cmap="YlGn", vmin=0, vmax=1)
        one.set(xticks=[], yticks=[], title=f"NDVI, {name} of {month}")
        figure.colorbar(image, ax=one, shrink=0.8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

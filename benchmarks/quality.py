"""Errors of the methods that need no weights, on real pixels: the line that weights must beat.

Run ``python -m benchmarks.quality`` from the root of the checkout (minutes on two cores), with the
shared real data beside it or in ``TAMRF_SHARED``. Figures go to
``benchmarks/results/quality.json``, the reports with their HTML pages to ``--out``.

- pair: Landsat-8 and Sentinel-2 near Kortrijk, 57 x 60 pixels, the dates that are at least 90 %
  usable and no cloud that the mask missed; gap-filling (GAPS 30 days) and spatio-temporal fusion
  (conjunctions left out).
- belgium: 20 monthly Sentinel-2 composites, every third one left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from tamrf_xr import open_cube, save_cube
from tamrf_xr.cube import Grid, build_cube, build_group, groups_of
from tamrf_xr.evaluation import Scoring, SplitSettings, evaluate
from tamrf_xr.evaluation.split import give
from tamrf_xr.evaluation.summary import common_dates, failures, summarize, summary_text
from tamrf_xr.ingest.ls2s2 import ingest_ls2s2
from tamrf_xr.methods.registry import METHODS
from tests.oracle import shared
from tests.real_pair import write_real_pair

RESULTS = Path(__file__).resolve().parent / "results" / "quality.json"
USABLE = 0.9
"""Share of a date that must be usable for it to be in the series."""

UNDETECTED = 0.2
"""Median blue reflectance above which a date is cloud that its mask missed: 2018-09-23, at 0.60."""

MARGIN = 6
"""The pair is 57 x 60 pixels and 19 x 20 at 30 m: the paper's margin of 30 leaves nothing."""


def clear_pair(folder: Path) -> xr.DataTree:
    """Return the pair, clear dates alone."""
    ingest_ls2s2([write_real_pair(folder / "31UDS")], folder / "pair.zarr", progress=False)
    cube = open_cube(folder / "pair.zarr")
    kept = {}
    for name, group in groups_of(cube).items():
        blue = group["reflectance"].sel(band="B02").where(group["valid"]).median(("y", "x"))
        clear = (group["valid"].mean(("y", "x")) >= USABLE) & (blue < UNDETECTED)
        kept[name] = pd.DatetimeIndex(group["time"].values[clear.values]).floor("D")
    return give(cube, kept)


def belgium() -> xr.DataTree:
    """Return the monthly composites; B08 stands in for B8A, which they lack."""
    source = xr.open_dataset(shared("real/s2_monthly_belgium_31UFS.nc"), mask_and_scale=False)
    names = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8", "B11", "B12")
    # Unsigned in truth, though the file says int16: 65535 is what is missing.
    stored = np.stack([source[name].transpose("t", "y", "x").values for name in names], 1)
    stored = stored.view(np.uint16)
    reflectance = np.where(stored == 65535, np.nan, stored / 1e4).astype(np.float32)
    if source["y"].values[0] < source["y"].values[-1]:
        reflectance = reflectance[:, :, ::-1]
    grid = _grid(source)
    group = build_group(
        "sentinel2",
        reflectance,
        times=source["t"].values,
        grid=grid,
        valid=np.isfinite(reflectance).all(1),
        attrs={"source": "WorldCereal monthly composites 31UFS", "B8A": "a copy of B08"},
    )
    return build_cube({"sentinel2": group})


def _grid(source: xr.Dataset) -> Grid:
    from affine import Affine
    from pyproj import CRS

    x, y = source["x"].values, source["y"].values
    left, top = float(x.min()) - 5, float(y.max()) + 5
    return Grid(CRS(32631), Affine(10, 0, left, 0, -10, top), (len(y), len(x)))


def _naive() -> str:
    return "naive" if "naive" in METHODS else "linear"


def studies(folder: Path, out: Path, *, tiny: bool) -> dict[str, pd.DataFrame]:
    """Evaluate, and return the tables by name of the study."""
    pair = clear_pair(folder)
    months = belgium()
    if tiny:
        few = {name: pd.DatetimeIndex(g["time"].values[-8:]) for name, g in groups_of(pair).items()}
        pair = give(pair, {name: days.floor("D") for name, days in few.items()})
    for name, cube in {"pair": pair, "belgium": months}.items():
        save_cube(cube, folder / f"{name}-clear.zarr", overwrite=True)
    third = pd.DatetimeIndex(months["sentinel2"]["time"].values)[1::3]
    methods = [name for name in (_naive(), "stair", "sen2like") if name in METHODS]
    scoring = Scoring(margin=MARGIN)
    both = {"out": out / "pair", "methods": methods, "scoring": scoring, "progress": False}
    tables = {
        f"pair, {task}": evaluate({"pair": folder / "pair-clear.zarr"}, task=task, **both)
        for task in ("gap-filling", "spatio-temporal-fusion")
    }
    tables["belgium, every third month left out"] = evaluate(
        {"belgium": folder / "belgium-clear.zarr"},
        task="gap-filling",
        strategy="CUSTOM",
        settings=SplitSettings(dates=third, withhold=True),
        methods=[_naive()],
        scoring=scoring,
        out=out / "belgium",
        # Twenty months are one series: the default window of a year would see half of it.
        window=None,
        progress=False,
    )
    return tables


def figures(table: pd.DataFrame) -> dict[str, object]:
    """Return the means on dates left out, as JSON takes them."""
    return {
        "left out": _means(table),
        "left out, dates that every method answered": _means(common_dates(table)),
        "failed": failures(table).to_dict("records"),
    }


def _means(table: pd.DataFrame) -> dict[str, dict[str, object]]:
    summary = summarize(table)
    if summary.empty:
        return {}
    found: dict[str, dict[str, object]] = {}
    masked = summary[summary["dates"] == "masked"]
    for (run, sensor), rows in masked.groupby(["run", "sensor"], sort=False):
        told: dict[str, object] = {"dates": int(rows["scored"].max())}
        for metric, part in rows.groupby("metric", sort=False):
            values = dict(zip(part["band"], part["value"].round(5), strict=True))
            told[str(metric)] = {band: value for band, value in values.items() if value == value}
        found[f"{run}, {sensor}"] = told
    return found


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep the reports here")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tiny", action="store_true", help="few dates, to see that it runs")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        tables = studies(Path(folder), options.out or Path(folder) / "out", tiny=options.tiny)
    for name, table in tables.items():
        print(f"== {name}\n{summary_text(table, style=('*', ''))}\n")
    kept = {
        "command": "python -m benchmarks.quality",
        "margin": MARGIN,
        "units": "RMSE in reflectance and kelvin, SAM in radians, FRR in dB; means over dates",
        **{name: figures(table) for name, table in tables.items()},
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()

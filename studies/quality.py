"""Errors of methods on real pixels and on simulated truth: the line that weights must beat.

Run ``python -m studies.quality`` from the root of the checkout (minutes on two cores), with the
shared real data beside it or in ``TAMRF_SHARED``; ``--model WEIGHTS`` adds tamrf with those, as
they are and fine-tuned (``adapt``).
Figures go to ``studies/results/quality.json``, the reports with their HTML pages to ``--out``.

- pair: Landsat-8 and Sentinel-2 near Kortrijk, 57 x 60 pixels, the dates that are at least 90 %
  usable and no cloud that the mask missed: gap-filling (GAPS 30 days), spatio-temporal fusion
  (conjunctions left out), and every third Sentinel-2 date left out. The last once more with all
  other dates given, clouds and all, but 2018-09-23, which is cloud that the mask missed.
- belgium: 20 monthly Sentinel-2 composites, every third one left out.
- adapted: on both, the weights fine-tuned on the cube without the dates left out.
- simulated: gap-filling on scenes of `draw_config` whose seeds no training takes, against what
  was observed (as everywhere else), and against the truth (`studies.quality_truth`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from studies import RESULTS
from studies.quality_truth import against_truth
from studies.real_pair import write_real_pair
from studies.shared import shared
from tamrf_xr import open_cube, save_cube, save_model
from tamrf_xr.cube import Grid, build_cube, build_group, groups_of
from tamrf_xr.errors import TimingWarning
from tamrf_xr.evaluation import Scoring, SplitSettings, evaluate
from tamrf_xr.evaluation.split import give
from tamrf_xr.evaluation.summary import common_dates, failures, summarize, summary_text
from tamrf_xr.evaluation.tasks import find_task
from tamrf_xr.ingest.ls2s2 import ingest_ls2s2
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.sensors import THERMAL
from tamrf_xr.simulate import draw_config, simulate

KEPT = RESULTS / "quality.json"
USABLE = 0.9
"""Share of a date that must be usable for it to be in the series."""

UNDETECTED = 0.2
"""Median blue reflectance above which a date is cloud that its mask missed: 2018-09-23, at 0.60."""

SEEDS = 9_000_000
"""First seed of the simulated scenes; those that networks are trained on start at 0."""

MARGIN = 6
"""The pair is 57 x 60 pixels and 19 x 20 at 30 m: the paper's margin of 30 leaves nothing."""


def pair(folder: Path) -> tuple[xr.DataTree, xr.DataTree]:
    """Return the pair: its clear dates alone, and all but the cloud that the mask missed."""
    ingest_ls2s2([write_real_pair(folder / "31UDS")], folder / "pair.zarr", progress=False)
    cube = open_cube(folder / "pair.zarr")
    clear, seen = {}, {}
    for name, group in groups_of(cube).items():
        blue = group["reflectance"].sel(band="B02").where(group["valid"]).median(("y", "x"))
        usable = group["valid"].mean(("y", "x")) >= USABLE
        days = pd.DatetimeIndex(group["time"].values).floor("D")
        clear[name] = days[(usable & (blue < UNDETECTED)).values]
        seen[name] = days[~(usable & (blue >= UNDETECTED)).values]
    return give(cube, clear), give(cube, seen)


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


@dataclass(frozen=True)
class Options:
    """What is run."""

    out: Path
    """Folder of the reports."""

    model: str | None = None
    """Weights of tamrf; None leaves it out."""

    scenes: int = 4
    """Simulated scenes."""

    size: int = 180
    """Their width in 10 m pixels."""

    steps: int = 300
    """Steps of the fine-tuning."""

    tiny: bool = False
    """Few dates and pixels, to see that it runs."""

    def methods(self, *names: str) -> tuple[str, ...]:
        """Return these methods, and tamrf if it has weights."""
        return (*names, "tamrf") if self.model else names

    def adapted(self, name: str, cube: xr.DataTree, left_out: pd.DatetimeIndex) -> str:
        """Fine-tune on a cube without some Sentinel-2 dates; return where the weights are."""
        seen = {n: pd.DatetimeIndex(g["time"].values) for n, g in groups_of(cube).items()}
        seen["sentinel2"] = seen["sentinel2"].difference(left_out)
        given = give(cube, {n: days.floor("D") for n, days in seen.items()})
        weights = self.out / f"{name}-adapted.safetensors"
        save_model(
            given.tamrf.adapt(model=self.model, steps=2 if self.tiny else self.steps), weights
        )
        return str(weights)

    def evaluate(self, name: str, store: Path, **options: Any) -> pd.DataFrame:
        """Evaluate on one cube by the rules of this benchmark."""
        return self.evaluate_all({name: store}, out=self.out / name, **options)

    def evaluate_all(self, stores: Mapping[str, Path], **options: Any) -> pd.DataFrame:
        """Evaluate on several cubes, likewise."""
        fixed: dict[str, Any] = {"scoring": Scoring(margin=MARGIN), "progress": False}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TimingWarning)  # what a user gets who chooses nothing
            return evaluate(
                stores, **fixed | ({"model": self.model} if self.model else {}) | options
            )


def real(folder: Path, how: Options) -> dict[str, pd.DataFrame]:
    """Evaluate on real pixels, and return the tables by name of the study."""
    clear, clouded = pair(folder)
    if how.tiny:
        first = clear["sentinel2"].to_dataset()["time"].values[-8]
        clear, clouded = _since(clear, first), _since(clouded, first)
    cubes = {"pair": clear, "clouded": clouded, "belgium": belgium()}
    stores = {name: folder / f"{name}-given.zarr" for name in cubes}
    for name, cube in cubes.items():
        save_cube(cube, stores[name])
    paired = () if how.tiny else ("stair",)  # of so few dates, none is a conjunction
    every, two = how.methods("naive", *paired, "sen2like"), how.methods("naive")
    tables = {
        f"pair, {task}": how.evaluate("pair", stores["pair"], task=task, methods=every)
        for task in ("gap-filling", "spatio-temporal-fusion")
    }
    third = "every third Sentinel-2 date left out"
    studies = {
        f"pair, {third}": ("pair", _third(clear), every),
        f"pair, {third}, clouded dates given": ("clouded", _third(clear), two),
        "belgium, every third month left out": ("belgium", _third(cubes["belgium"]), two),
    }
    for study, (name, dates, methods) in studies.items():
        options = _left_out(dates)
        tables[study] = how.evaluate(name, stores[name], methods=methods, **options)
        if how.model and name != "clouded":
            options["model"] = how.adapted(name, cubes[name], dates)
            label = f"{name}-adapted"
            tables[f"{study}, adapted"] = how.evaluate(label, stores[name], methods=two, **options)
    return tables


def _since(cube: xr.DataTree, first: np.datetime64) -> xr.DataTree:
    days = {n: pd.DatetimeIndex(g["time"].values).floor("D") for n, g in groups_of(cube).items()}
    late = days["sentinel2"] >= first
    return give(cube, days | {"sentinel2": days["sentinel2"][late]})


def _third(cube: xr.DataTree) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(cube["sentinel2"].to_dataset()["time"].values)[1::3]


def _left_out(dates: pd.DatetimeIndex) -> dict[str, Any]:
    """Return the options of `evaluate` that leave Sentinel-2 dates out, Landsat given."""
    about = "Every third Sentinel-2 date left out, all others and Landsat given."
    task = replace(find_task("gap-filling"), name="third", about=about, sensors=("sentinel2",))
    settings = SplitSettings(dates=dates, withhold=True)
    return {"task": task, "strategy": "CUSTOM", "settings": settings}


def simulated(folder: Path, how: Options) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Evaluate on simulated scenes: the table, and figures against the truth."""
    count, size = (1, 60) if how.tiny else (how.scenes, how.size)
    fixed: dict[str, Any] = {"landsat_revisit_days": 16, "lost_dates": 0.5} if how.tiny else {}
    configs = [draw_config(SEEDS + seed, size_px=size, **fixed) for seed in range(count)]
    scenes = {f"scene-{config.seed}": partial(simulate, config) for config in configs}
    stores = {name: folder / f"{name}.zarr" for name in scenes}
    for name, make in scenes.items():
        save_cube(make().cube, stores[name], overwrite=True)
    names = how.methods("naive")
    table = how.evaluate_all(stores, task="gap-filling", methods=names, out=how.out / "simulated")
    return table, against_truth(scenes, {name: _weights(name, how) for name in names})


def _weights(method: str, how: Options) -> dict[str, Any]:
    return {"model": how.model} if method == "tamrf" else {}


def figures(table: pd.DataFrame) -> dict[str, object]:
    """Return the means on dates left out, as JSON takes them."""
    common = common_dates(table)
    return {
        "left out": _means(table),
        "left out, dates that every method answered": _means(common),
        "rmse to naive, left out, dates that both answered": _ratios(table),
        "failed": failures(table).to_dict("records"),
    }


def _ratios(table: pd.DataFrame) -> dict[str, float]:
    """Return mean RMSE over reflectance bands and dates, divided by that of naive."""
    rows = table[~table["is_input"].fillna(value=True).astype(bool) & (table["band"] != THERMAL)]
    naive = rows[rows["method"] == "naive"]
    ratios = {}
    for run in dict.fromkeys(rows.loc[rows["method"] != "naive", "run"]):
        both = common_dates(pd.concat([naive, rows[rows["run"] == run]]))
        for sensor, part in both.groupby("sensor"):
            means = part.groupby("method")["rmse"].mean()
            if len(means) == 2:
                other = means.drop("naive").iloc[0]
                ratios[f"{run}, {sensor}"] = round(float(other / means["naive"]), 4)
    return ratios


def _means(table: pd.DataFrame) -> dict[str, dict[str, object]]:
    summary = summarize(table)
    if summary.empty:
        return {}
    means: dict[str, dict[str, object]] = {}
    masked = summary[summary["dates"] == "masked"]
    for (run, sensor), rows in masked.groupby(["run", "sensor"], sort=False):
        row: dict[str, object] = {"dates": int(rows["scored"].max())}
        for metric, part in rows.groupby("metric", sort=False):
            values = dict(zip(part["band"], part["value"].round(5), strict=True))
            row[str(metric)] = {band: value for band, value in values.items() if value == value}
        means[f"{run}, {sensor}"] = row
    return means


def _said(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    """Return the options that figures depend on, where they are not the default."""
    values = {name: vars(options)[name] for name in ("model", "scenes", "size", "steps")}
    return [f"--{n} {value}" for n, value in values.items() if value != parser.get_default(n)]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep the reports here")
    parser.add_argument("--results", type=Path, default=KEPT)
    parser.add_argument("--model", help="weights of tamrf")
    parser.add_argument("--scenes", type=int, default=Options.scenes, help="simulated ones")
    parser.add_argument("--size", type=int, default=Options.size, help="their pixels across")
    parser.add_argument("--tiny", action="store_true", help="few dates, to see that it runs")
    parser.add_argument("--steps", type=int, default=Options.steps, help="of the fine-tuning")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder) / "out"
        how = Options(out, options.model, options.scenes, options.size, options.steps, options.tiny)
        tables = real(Path(folder), how)
        tables["simulated, gap-filling"], truth = simulated(Path(folder), how)
    for name, table in tables.items():
        print(f"== {name}\n{summary_text(table, style=('*', ''))}\n")
    print(json.dumps(truth, indent=1))
    kept = {
        "command": " ".join(["python -m studies.quality", *_said(parser, options)]),
        "sha256 of the weights": resolve(how.model)[1] if how.model else None,
        "margin": MARGIN,
        "scenes": f"{how.scenes} of {how.size} px, seeds from {SEEDS}",
        "units": "RMSE in reflectance and kelvin, SAM in radians, FRR in dB; means over dates",
        **{name: figures(table) for name, table in tables.items()},
        "simulated, against the truth": truth,
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()

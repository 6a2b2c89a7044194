"""How well shifts are found, and whether products gain: simulated scenes, and the real pair.

``python -m studies.coregistration --figure docs/coregistration.png`` (some minutes on two cores)
``--tiny``: a test-sized run, kept nowhere

- simulated: shifts found against shifts drawn, in pixels of the sensor, less the mean of
  Sentinel-2's, which cannot be known; with and without masks; and the error of `linear` against the
  truth before and after.
- pair: Sentinel-2 dates left out, one by one with `linear`, every third at once with `linear` and
  `tamrf`. Corrected images are a little smoother, which alone lowers errors; so the prediction is
  also brought back to where the date left out lies, and compared with it as it was acquired.
  "blurred" is the control: each image moved there and back, smoother still, and not registered.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import tamrf_xr
from benchmarks.harness import keep
from studies import RESULTS
from studies.quality import pair
from tamrf_xr.coregistration import coregister, shifts
from tamrf_xr.coregistration.correcting import LEAST_PX
from tamrf_xr.coregistration.moving import moved
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.evaluation.split import give
from tamrf_xr.sensors import SENSORS
from tamrf_xr.simulate import Simulation, draw_config, simulate

SEED, YEAR = 9_000_001, 2022
BANDS = ("B04", "B08", "B8A", "B11")
EDGE = 4
"""Pixels along the border that are not compared: what moved ends there."""


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, draw, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, help="where to draw")
    parser.add_argument("--scenes", type=int, default=3)
    parser.add_argument("--size", type=int, default=180)
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    scenes, size = (1, 60) if options.tiny else (options.scenes, options.size)
    figures: dict[str, Any] = {"units": "pixels of the sensor; RMSE of reflectance x 1e-4"}
    with tempfile.TemporaryDirectory() as folder:
        found = None if options.tiny else on_pair(Path(folder), figures)
    points, figures["simulated"] = on_simulated(scenes, size)
    if found is not None:
        keep("coregistration", figures, folder=RESULTS)
        if options.figure:
            draw(points, found, options.figure)
    return figures


def on_simulated(scenes: int, size: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return found and true shifts of the scenes with masks; and the figures of all."""
    points: dict[str, list[np.ndarray]] = {name: [] for name in SENSORS}
    figures: dict[str, Any] = {}
    for seed in range(SEED, SEED + scenes):
        scene = simulate(draw_config(seed, size_px=size, year=YEAR))
        ways = {"masks": (scene.cube, "2km"), "masks, blocks of 1 km": (scene.cube, "1km")}
        ways["no masks"] = (without_masks(scene.cube), "2km")
        for way, (cube, block) in ways.items():
            table = shifts(cube, block=block)
            for sensor, (found, true) in compared(table, scene).items():
                error = float(np.sqrt(np.mean((found - true) ** 2)))
                told = {"found": found.shape[1], "of": len(scene.cube[sensor]["time"])}
                told |= {"true": float(np.sqrt(np.mean(true**2))), "error": error}
                told["standard error"] = standard_error(table, sensor)
                figures.setdefault(way, {}).setdefault(sensor, []).append(told)
                print(f"{seed} {way}, {sensor}: {told}", flush=True)
                if way == "masks":
                    points[sensor].append(np.stack([found, true]))
        figures.setdefault("linear against the truth", []).append(against_truth(scene))
        print(figures["linear against the truth"][-1])
    return {name: np.concatenate(own, axis=2) for name, own in points.items()}, figures


def without_masks(cube: xr.DataTree) -> xr.DataTree:
    """Return a cube that has no ``valid``."""
    return build_cube({name: group.drop_vars("valid") for name, group in groups_of(cube).items()})


def compared(table: xr.DataTree, scene: Simulation) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return per sensor shifts found and true, (2, blocks and dates), in its pixels."""
    result = {}
    gauge: Any = None
    for sensor, drawn in scene.shifts().items():
        group, gsd = table[sensor].to_dataset(), SENSORS[sensor].gsd
        true = np.stack([drawn["dx"].values, drawn["dy"].values])
        known = np.isfinite(group["overall_dx"].values)
        if gauge is None:
            gauge = true[:, known].mean(axis=1)[:, None]
        usable = group["trusted"].values
        found = np.stack([group["dx"].values, group["dy"].values])[:, usable]
        whole = np.broadcast_to((true - gauge)[..., None, None], (2, *usable.shape))[:, usable]
        result[sensor] = found / gsd, whole / gsd
    return result


def standard_error(table: xr.DataTree, sensor: str) -> float:
    """Return the RMS of the standard errors told, in pixels."""
    group = table[sensor].to_dataset()
    told = group["standard_error"].values[group["trusted"].values] / SENSORS[sensor].gsd
    return float(np.sqrt(np.mean(told**2)))


def against_truth(scene: Simulation) -> dict[str, float]:
    """Return RMSE x 1e-4 of Sentinel-2, monthly, before and after."""
    dates = pd.date_range(f"{YEAR}-02-15", f"{YEAR}-11-15", freq="30D")
    truth = groups_of(scene.truth(dates))["sentinel2"]["reflectance"].sel(band=list(BANDS))
    found = {}
    for way, cube in (("before", scene.cube), ("after", coregister(scene.cube))):
        made = tamrf_xr.fuse(cube, dates, method="linear", sensors="sentinel2")
        images = groups_of(made)["sentinel2"]["reflectance"].sel(band=list(BANDS))
        found[way] = rmse(images.values - truth.values)
    return found


def on_pair(folder: Path, figures: dict[str, Any]) -> xr.DataTree:
    """Add what was found of the pair, and errors of dates left out; return the shifts."""
    clear, seen = pair(folder)
    table = shifts(seen)
    figures["pair shifts, m"] = rms_of(table)
    print(figures["pair shifts, m"], flush=True)
    figures["pair"] = predicted(clear.load(), table)
    return table


def predicted(clear: xr.DataTree, table: xr.DataTree) -> dict[str, Any]:
    """Return errors of dates left out, before and after."""
    days = {n: pd.DatetimeIndex(g["time"].values).floor("D") for n, g in groups_of(clear).items()}
    own = {
        name: (rows := table[name].to_dataset()).isel(time=places_of(rows, group))
        for name, group in groups_of(clear).items()
    }
    part = xr.DataTree.from_dict({"/": table.to_dataset(), **own})
    series = {
        "before": clear,
        "after": coregister(clear, shifts=part).load(),
        "blurred": blurred(clear, own),
    }
    figures: dict[str, Any] = {}
    inner = list(range(1, len(days["sentinel2"]) - 1))
    single = [[one] for one in inner]
    third = [inner[1::3]]
    for name, method, held in (
        ("linear, one by one", "linear", single),
        ("linear, every third", "linear", third),
        ("tamrf, every third", "tamrf", third),
    ):
        figures[name] = {}
        for way, cube in series.items():
            made = left_out(cube, held, method)
            figures[name] |= scored(way, made, series, own["sentinel2"])
        print(name, figures[name], flush=True)
    return figures


def places_of(table: xr.Dataset, group: xr.Dataset) -> list[int]:
    """Return where the acquisitions of a part stand in the table; of a day, all or none are."""
    return np.flatnonzero(np.isin(table["time"].values, group["time"].values)).tolist()


def left_out(cube: xr.DataTree, held: list[list[int]], method: str) -> dict[int, np.ndarray]:
    """Return the predictions of Sentinel-2 dates left out, several at once."""
    times = {n: pd.DatetimeIndex(g["time"].values) for n, g in groups_of(cube).items()}
    days = {name: index.floor("D") for name, index in times.items()}
    made: dict[int, np.ndarray] = {}
    for places in held:
        asked = days["sentinel2"][places]
        given = give(cube, days | {"sentinel2": days["sentinel2"].difference(asked)})
        fused = tamrf_xr.fuse(given, asked, method=method, sensors="sentinel2", window=None)
        images = groups_of(fused)["sentinel2"]["reflectance"].sel(band=list(BANDS)).values
        made |= dict(zip(places, images, strict=True))
    return made


def scored(
    way: str, made: Mapping[int, np.ndarray], series: Mapping[str, xr.DataTree], table: xr.Dataset
) -> dict[str, float]:
    """Return errors against the dates left out, as this series has them, and as acquired."""
    found = {way: difference(made, series[way])}
    if way == "after":
        back = {place: _moved_by(image, table, place, sign=-1.0) for place, image in made.items()}
        found["after, dates as acquired"] = difference(back, series["before"])
    elif way == "blurred":
        found["blurred, dates as acquired"] = difference(made, series["before"])
    return found


def difference(made: Mapping[int, np.ndarray], cube: xr.DataTree) -> float:
    """Return RMSE x 1e-4: mean over dates and bands of that of a date, its clear pixels."""
    group = groups_of(cube)["sentinel2"]
    seen = group["reflectance"].sel(band=list(BANDS)).values
    valid, inner = group["valid"].values, np.s_[EDGE:-EDGE, EDGE:-EDGE]
    each = []
    for place, image in made.items():
        off = (image - seen[place])[(slice(None), *inner)][:, valid[place][inner]]
        each.append(1e4 * np.sqrt(np.nanmean(off**2, axis=1)))
    return round(float(np.mean(each)), 1)


def blurred(cube: xr.DataTree, tables: Mapping[str, xr.Dataset]) -> xr.DataTree:
    """Return the control: every image moved by its shift and back."""
    groups = {}
    for name, group in groups_of(cube).items():
        images = group["reflectance"].values.copy()
        for place in range(len(images)):
            there = _moved_by(images[place], tables[name], place, sign=1.0, sensor=name)
            images[place] = _moved_by(there, tables[name], place, sign=-1.0, sensor=name)
        groups[name] = group.assign(reflectance=group["reflectance"].copy(data=images))
    return build_cube(groups)


def _moved_by(
    image: np.ndarray, table: xr.Dataset, place: int, *, sign: float, sensor: str = "sentinel2"
) -> np.ndarray:
    """Move an image of the pair by what was found, which is one block."""
    row = table.isel(time=place, block_y=0, block_x=0)
    if not bool(row["trusted"]):
        return image
    gsd = SENSORS[sensor].gsd
    by = -sign * float(row["dy"]) / gsd, sign * float(row["dx"]) / gsd
    if max(map(abs, by)) < LEAST_PX:
        return image
    return moved(image, np.isfinite(image), (np.full((1, 1), by[0]), np.full((1, 1), by[1])))


def rmse(off: np.ndarray) -> float:
    """Return it in 1e-4."""
    return round(1e4 * float(np.sqrt(np.nanmean(off**2))), 1)


def rms_of(table: xr.DataTree) -> dict[str, Any]:
    """Return per sensor the RMS and the mean of what was found, in metres."""
    found = {}
    for name in table.children:
        group = table[name].to_dataset()
        both = np.stack([group["overall_dx"].values, group["overall_dy"].values])
        known = both[:, np.isfinite(both[0])]
        found[name] = {
            "acquisitions": known.shape[1],
            "rms": np.sqrt(np.mean(known**2, axis=1)).round(2).tolist(),
            "mean": known.mean(axis=1).round(2).tolist(),
            "standard error": round(
                float(group["standard_error"].where(group["trusted"]).median()), 2
            ),
        }
    return found


def draw(points: Mapping[str, np.ndarray], table: xr.DataTree, path: Path) -> None:
    """Draw found against true shifts, and what was found of the pair by date."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    for (name, (found, true)), colour in zip(points.items(), ("#4477aa", "#ee6677"), strict=True):
        error = float(np.sqrt(np.mean((found - true) ** 2)))
        label = f"{SENSORS[name].title}: RMS error {error:.3f}"
        left.plot(true.ravel(), found.ravel(), ".", color=colour, alpha=0.6, label=label)
    left.axline((0, 0), slope=1, color="black", lw=0.8)
    left.set(xlabel="true shift (pixels of the sensor)", ylabel="found", title="Simulated scenes")
    left.legend(fontsize=9)
    for name, mark in (("sentinel2", "o"), ("landsat", "s")):
        group = table[name].to_dataset()
        group = group.isel(time=np.isfinite(group["overall_dx"].values))
        errors = group["standard_error"].isel(block_y=0, block_x=0).values
        for axis, colour, way in (("dx", "#4477aa", "east"), ("dy", "#ee6677", "north")):
            label = f"{SENSORS[name].title}, {way}"
            values = group[f"overall_{axis}"].values
            fill = colour if mark == "o" else "none"
            right.errorbar(
                group["time"].values, values, errors, fmt=mark, ms=5, color=colour, mfc=fill,
                lw=0.8, label=label,
            )  # fmt: skip
    right.axhline(0, color="black", lw=0.8)
    right.set_ylim(-12, 24)  # room for the legend
    right.set(ylabel="found shift (m)", title="The real pair (31UDS), bars: standard error")
    right.legend(fontsize=9, ncols=2)
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

"""How many observations left out lie inside the intervals that a network tells.

``python -m studies.coverage [--model WEIGHTS] [--scenes 6] [--figure docs/uncertainty.png]``
``--tiny``: a test-sized run, kept nowhere

Every third clear date of either sensor is left out and predicted from all others, clouds and all:
on simulated scenes whose seeds no training takes, and on the real pair where it is at hand.
Coverage is the share of clear pixels within the half widths of 50, 80 and 95 %; sharpness the mean
width of the 80 % interval over the deviation of what was observed; classes are of the deviation
told, each with its mean and the RMSE of its pixels.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import tamrf_xr
from benchmarks.harness import keep
from studies import RESULTS
from studies.quality import SEEDS, pair
from tamrf_xr.cube import groups_of
from tamrf_xr.evaluation.compensate import degrade
from tamrf_xr.evaluation.split import give
from tamrf_xr.sensors import SENSORS, Sensor
from tamrf_xr.simulate import draw_config, simulate

SHARES = (50, 80, 95)
CLEAR = 0.9
BRIGHTEST = 0.2
"""Median blue reflectance above which a date is cloud that the mask missed."""

CLASSES = 8
"""Of the deviation told, each of as many pixels."""

VARIABLES = ("reflectance", "surface_temperature")


def cubes(scenes: int, folder: Path, **fixed: Any) -> Iterator[tuple[str, xr.DataTree]]:
    """Give the simulated scenes, and the pair if it is there."""
    for seed in range(scenes):
        yield "simulated", simulate(draw_config(SEEDS + 100 + seed, **fixed)).cube
    try:
        yield "pair", pair(folder)[1]
    except FileNotFoundError as error:
        print(error)


def relative(cube: xr.DataTree, model: Any) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Give per sensor and band: what was observed, and rows of error, deviation and half widths."""
    groups = groups_of(cube)
    days = {n: pd.DatetimeIndex(g["time"].values).floor("D") for n, g in groups.items()}
    for sensor, group in groups.items():
        blue = group["reflectance"].isel(band=0).where(group["valid"]).median(("y", "x")).values
        clear = (group["valid"].mean(("y", "x")).values >= CLEAR) & (blue < BRIGHTEST)
        once = ~days[sensor].duplicated() & clear
        at = np.flatnonzero(once)[1::3]
        if not len(at):
            continue
        held = days[sensor][at]
        given = give(cube, days | {sensor: days[sensor].difference(held)})
        made = tamrf_xr.fuse(given, held, model=model, uncertainty=True, sensors=[sensor])
        yield from _by_band(SENSORS[sensor], group, made[sensor].to_dataset().load(), at)


def _by_band(
    row: Sensor, group: xr.Dataset, made: xr.Dataset, at: np.ndarray
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    for variable in VARIABLES:
        if variable not in group or f"{variable}_std" not in made:
            continue
        bands = group["band"].values.tolist() if variable == "reflectance" else [None]
        for place, band in enumerate(bands):
            pick = {"band": place} if band else {}
            seen = group[variable].isel({"time": at, **pick}).values
            valid = group["valid"].values[at] & np.isfinite(seen)
            name = band or "LST"
            predicted = _as_seen(made[variable].isel(pick).values, row, name)
            middle = slice(row.ratio // 2, None, row.ratio)
            told = made[f"{variable}_std"].isel(pick).values[:, middle, middle]
            attrs = made[f"{variable}_std"].attrs
            widths = [np.atleast_1d(attrs[f"half_width_{share}"])[place] for share in SHARES]
            error = np.abs(predicted - seen)[valid]
            rows = np.stack([error, told[valid], *(w * told[valid] for w in widths)])
            yield row.name, name, seen[valid], rows


def _as_seen(images: np.ndarray, row: Sensor, band: str) -> np.ndarray:
    return np.stack([degrade(one[None], row.name, (band,), ratio=row.ratio)[0] for one in images])


def told(parts: list[tuple[str, str, np.ndarray, np.ndarray]]) -> dict[str, dict[str, Any]]:
    """Return the figures of each band."""
    by_band: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for sensor, band, seen, rows in parts:
        by_band.setdefault(f"{sensor} {band}", []).append((seen, rows))
    found = {}
    for name, own in by_band.items():
        seen = np.concatenate([one for one, _ in own])
        error, std, *widths = np.concatenate([rows for _, rows in own], axis=1)
        edges = np.quantile(std, np.linspace(0, 1, CLASSES + 1))
        kind = np.clip(np.searchsorted(edges, std, side="right") - 1, 0, CLASSES - 1)
        found[name] = {
            "pixels": len(error),
            "coverage": [round(float((error <= width).mean()), 3) for width in widths],
            "sharpness": round(float(2 * widths[1].mean() / seen.std()), 3),
            "classes": [
                [float(np.sqrt((values[kind == k] ** 2).mean())) for k in range(CLASSES)]
                for values in (std, error)
            ],
        }
    return found


def draw(figures: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw coverage by band, and RMSE against the deviation told."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for place, (name, rows) in enumerate(figures.items()):
        for share, column in zip(
            SHARES, zip(*(r["coverage"] for r in rows.values()), strict=True), strict=True
        ):
            axes[0].plot(
                [100 * v for v in column],
                "o" if place else "s",
                color=f"C{SHARES.index(share)}",
                alpha=0.9 if place else 0.5,
                label=f"{name}, {share} %",
            )
        for row in rows.values():
            axes[1].plot(
                *np.divide(row["classes"], np.mean(row["classes"][0])),
                color=f"C{place + 3}",
                alpha=0.5,
            )
    for share in SHARES:
        axes[0].axhline(share, color=f"C{SHARES.index(share)}", lw=0.8)
    bands = list(next(iter(figures.values())))
    short = [name.replace("sentinel2 ", "S2 ").replace("landsat ", "L ") for name in bands]
    axes[0].set_xticks(range(len(bands)), short, rotation=90)
    axes[0].set(ylabel="observations inside (%)", ylim=(0, 100), title="Coverage of intervals")
    axes[0].legend(fontsize=7, ncols=2, loc="lower left")
    axes[1].axline((0, 0), slope=1, color="black", lw=0.8)
    axes[1].set(
        xlabel="deviation told, over its mean",
        ylabel="RMSE, over the same",
        title="RMSE of pixels by the deviation told",
    )
    for place, name in enumerate(figures):
        axes[1].plot([], [], color=f"C{place + 3}", label=f"{name}, a line a band")
    axes[1].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, draw, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--size", type=int, default=120)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    scenes, fixed = options.scenes, {"size_px": options.size}
    if options.tiny:
        scenes, fixed = 1, {"size_px": 48, "sentinel2_revisit_days": 15}
    parts: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, cube in cubes(scenes, Path(folder), **fixed):
            parts.setdefault(name, []).extend(relative(cube, options.model))
            if options.tiny:
                break
    figures = {name: told(own) for name, own in parts.items()}
    for name, rows in figures.items():
        for band, row in rows.items():
            print(f"{name:<10} {band:<14} {row['coverage']} sharpness {row['sharpness']}")
        print(name, "mean", np.mean([row["coverage"] for row in rows.values()], axis=0).round(3))
    if options.figure:
        draw(figures, options.figure)
    if not options.tiny:
        keep("coverage", figures, folder=RESULTS)
    return figures


if __name__ == "__main__":
    main()

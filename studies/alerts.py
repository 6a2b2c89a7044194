"""How many changes of simulated scenes are found, how late, and how many alerts are false.

``python -m studies.alerts --figure docs/alerts.png --scores FOLDER`` (a quarter of an hour on two
cores; ``--scores`` keeps them, and takes those that are there)
``--tiny``: a test-sized run, kept nowhere

Scenes of seeds that no training takes, each with a fire, a harvest, a building and a flood on days
drawn at random. Pixels of which half or more changed count as changed, those of which nothing did
as unchanged, the rest as neither. A change is found where a run that begins within 60 days after it
is confirmed; all other alerts are false.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from benchmarks.harness import keep
from studies import RESULTS
from tamrf_xr.alerts import alerts_of, scores
from tamrf_xr.alerts.asked import LATENCY
from tamrf_xr.alerts.monitoring import PERSISTENCE, THRESHOLD
from tamrf_xr.cube import groups_of
from tamrf_xr.simulate import Event, Simulation, draw_config, simulate
from tamrf_xr.simulate.changes import AFTERMATHS

SEEDS, YEAR = (9_000_205, 9_000_201), 2022
"""The first two from 9,000,201 on that one orbit of Sentinel-2 sees: fewer dates to predict."""

SPAN = (f"{YEAR}-05-15", f"{YEAR}-10-31")
EVENTS = {"fire": 110.0, "harvest": 110.0, "building": 90.0, "flood": 110.0}
"""Mean radius in metres."""

SCENES = {"1D": SEEDS, "10D": SEEDS, "30D": SEEDS[1:]}
"""Per latency."""

THRESHOLDS, PERSISTENCES = (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0), (3, 4, 5)
LATE = np.timedelta64(60, "D")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, draw, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, help="where to draw")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--scores", type=Path, help="folder where scores are kept")
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    if options.tiny:
        scene = scene_of(SEEDS[0], 30)
        told = scores(scene.cube, f"{YEAR}-08-01", f"{YEAR}-08-12", latency="1D").load()
        figures = tabulate([(scene, told)])
        print(figures)
        return figures
    figures = {}
    for latency, seeds in SCENES.items():
        found = {seed: scored(seed, options.size, latency, options.scores) for seed in seeds}
        figures[latency] = tabulate(list(found.values()))
        for seed, one in found.items():
            show(f"{latency}, {seed}", tabulate([one]))
        show(latency, figures[latency])
        if options.figure and latency == LATENCY:
            draw(*found[SEEDS[-1]], options.figure)
    about = {"size_px": options.size, "span": "/".join(SPAN)}
    keep("alerts", {**about, "scenes": SCENES, "latencies": figures}, folder=RESULTS)
    return figures


def scene_of(seed: int, size: int) -> Simulation:
    """Simulate a scene with an event of each kind, one in each quarter."""
    rng = np.random.default_rng(seed)
    places = rng.permutation([(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)])
    events = tuple(
        Event(kind, int(rng.integers(155, 275)), float(south), float(east), radius * size / 60)
        for (kind, radius), (south, east) in zip(EVENTS.items(), places, strict=True)
    )
    return simulate(replace(draw_config(seed, size_px=size, year=YEAR), events=events))


def scored(
    seed: int, size: int, latency: str, folder: Path | None
) -> tuple[Simulation, xr.Dataset]:
    """Return a scene and its scores, in memory."""
    scene = scene_of(seed, size)
    path = folder / f"{seed}-{size}-{latency}.nc" if folder else None
    if path and path.exists():
        return scene, xr.open_dataset(path, engine="scipy").load()
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
    told = scores(scene.cube, *SPAN, latency=latency, window=None).load()
    if path:
        told.to_netcdf(path, engine="scipy")
    print(f"scored {seed}, {latency}: {told.sizes['time']} acquisitions", flush=True)
    return scene, told


def tabulate(found: list[tuple[Simulation, xr.Dataset]]) -> dict[str, Any]:
    """Return rows of every threshold and persistence."""
    rows = {}
    for persistence in PERSISTENCES:
        for threshold in THRESHOLDS:
            parts = [judged(scene, told, threshold, persistence) for scene, told in found]
            rows[f"{threshold:g}, {persistence}"] = summed(parts)
    return rows


def judged(
    scene: Simulation, told: xr.Dataset, threshold: float, persistence: int
) -> dict[str, np.ndarray]:
    """Return per pixel what happened, and what was said of it."""
    found = alerts_of(told, threshold=threshold, persistence=persistence).load()
    changes = scene.changes
    date, first = changes["date"].values, found["first_exceedance"].values
    alert = ~np.isnat(found["confirmed"].values)
    right = alert & (first >= date) & (first <= date + LATE)
    touched = (
        changes["share"].max("event").values if changes.sizes["event"] else np.zeros(first.shape)
    )
    days = (found["confirmed"].values - date) / np.timedelta64(1, "D")
    unchanged = touched == 0
    after = told["time"].values[:, None, None] >= date
    often = (np.isfinite(told["score"].values) & after).sum(axis=0) >= persistence
    return {
        "kind": changes["kind"].values, "alert": alert, "right": right, "days": days,
        "unchanged": unchanged, "often": often,
    }  # fmt: skip


def summed(parts: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Return recall and delay of each kind; precision; the share of unchanged pixels alerted."""
    every = {name: np.concatenate([part[name].ravel() for part in parts]) for name in parts[0]}
    kinds = {name: 1 + list(AFTERMATHS).index(name) for name in EVENTS}
    row: dict[str, Any] = {}
    for name, code in kinds.items():
        own = every["kind"] == code
        right = own & every["right"]
        delay = float(np.median(every["days"][right])) if right.any() else None
        row[name] = {
            "pixels": int(own.sum()), "recall": share(right, own), "days": delay,
            "seen often enough": share(every["often"], own),
            "by scene": [share(p["right"], p["kind"] == code) for p in parts],
        }  # fmt: skip
    changed = every["kind"] > 0
    counted = every["alert"] & (changed | every["unchanged"])
    row["recall"] = share(every["right"], changed)
    row["precision"] = share(every["right"] & changed, counted)
    row["precision without harvest"] = share(
        every["right"] & changed & (every["kind"] != kinds["harvest"]),
        counted & (every["kind"] != kinds["harvest"]),
    )
    row["false of unchanged"] = share(every["alert"], every["unchanged"])
    row["false by scene"] = [share(p["alert"], p["unchanged"]) for p in parts]
    row["false before the change"] = share(every["alert"] & ~every["right"], changed)
    return row


def share(what: np.ndarray, of: np.ndarray) -> float | None:
    """Return the part of pixels, None of none."""
    return round(float(what[of].mean()), 3) if of.any() else None


def show(latency: str, rows: Mapping[str, Any]) -> None:
    """Print a line a row."""
    for name, row in rows.items():
        kinds = "  ".join(f"{k} {row[k]['recall']} ({row[k]['days']} d)" for k in EVENTS)
        rates = f"precision {row['precision']} false {row['false of unchanged']}"
        print(f"{latency} | {name} | {kinds} | recall {row['recall']} {rates}", flush=True)


def draw(scene: Simulation, told: xr.Dataset, path: Path) -> None:
    """Draw the truth, the map, and what was predicted and seen of a pixel."""
    from matplotlib.figure import Figure

    found = alerts_of(told, threshold=THRESHOLD, persistence=PERSISTENCE).load()
    changes, start = scene.changes, np.datetime64(SPAN[0])
    figure = Figure(figsize=(12, 7.4), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1.25, 1))
    maps = {
        "Truth: first day of the change": changes["date"].values,
        f"Alerts (beyond {THRESHOLD:g}, {PERSISTENCE} in a row): first exceedance":
            np.where(np.isnat(found["confirmed"].values), np.datetime64("NaT"),
                     found["first_exceedance"].values),
    }  # fmt: skip
    shown: Any = None
    for place, (title, days) in enumerate(maps.items()):
        axes = figure.add_subplot(grid[0, place])
        since = np.where(np.isnat(days), np.nan, (days - start) / np.timedelta64(1, "D"))
        shown = axes.imshow(since, vmin=0, vmax=170, cmap="viridis")
        axes.contour(changes["share"].max("event").values, [0.5], colors="black", linewidths=0.8)
        axes.set(title=title, xticks=[], yticks=[])
        for kind, y, x in middles(changes):
            axes.text(x, y, kind, ha="center", color="black", fontsize=9,
                      bbox={"fc": "white", "alpha": 0.7, "lw": 0})  # fmt: skip
    figure.colorbar(shown, ax=figure.axes, label=f"days since {SPAN[0]}", shrink=0.9)
    at = pixel_of(scene, told, found)
    draw_series(figure.add_subplot(grid[1, :]), scene, found, at)
    figure.savefig(path, dpi=100)


def middles(changes: xr.Dataset) -> Iterator[tuple[str, float, float]]:
    """Give the kinds of the map and where they lie."""
    for code in np.unique(changes["kind"].values):
        if code:
            y, x = np.nonzero(changes["kind"].values == code)
            yield list(AFTERMATHS)[code - 1], float(y.mean()), float(x.mean())


def pixel_of(scene: Simulation, told: xr.Dataset, found: xr.Dataset) -> tuple[int, int]:
    """Return a changed pixel that was found, of the middle magnitude."""
    right = judged(scene, told, THRESHOLD, PERSISTENCE)["right"]
    sizes = np.where(right, found["magnitude"].values, np.nan)
    off = np.abs(sizes - np.nanmedian(sizes))
    y, x = np.unravel_index(np.nanargmin(off), off.shape)
    return int(y), int(x)


def draw_series(axes: Any, scene: Simulation, found: xr.Dataset, at: tuple[int, int]) -> None:
    """Draw NIR of a pixel by Sentinel-2: predicted from its past, with 80 %, and observed."""
    seen = groups_of(scene.cube)["sentinel2"].sel(time=slice(*SPAN), band="B08")
    pick = {"y": at[0], "x": at[1]}
    made = scene.cube.tamrf.fuse(
        seen["time"].values, causal=True, latency=LATENCY, uncertainty=True, window=None,
        sensors="sentinel2", bands=["B08"],
    )["sentinel2"].to_dataset().isel({"band": 0, **pick}).load()  # fmt: skip
    values, std = made["reflectance"].values, 1.2816 * made["reflectance_std"].values
    times = pd.DatetimeIndex(made["time"].values)
    axes.fill_between(times, values - std, values + std, alpha=0.3, label="predicted, 80 %")
    axes.plot(times, values, lw=1)
    own = seen.isel(pick)
    valid = own["valid"].values
    axes.plot(times[valid], own["reflectance"].values[valid], "ko", ms=5, label="observed, usable")
    axes.plot(times[~valid], own["reflectance"].values[~valid], "x", color="grey", ms=5,
              label="observed, not usable")  # fmt: skip
    change = scene.changes.isel(pick)
    kind = list(AFTERMATHS)[int(change["kind"]) - 1]
    marks = {
        f"{kind} (truth)": (change["date"].values, "red", "-"),
        "first exceedance": (found["first_exceedance"].isel(pick).values, "C1", "--"),
        "confirmed": (found["confirmed"].isel(pick).values, "C2", "--"),
    }
    for label, (day, colour, style) in marks.items():
        axes.axvline(day, color=colour, ls=style, label=label)
    axes.set(ylabel="NIR (B08)", ylim=(0, 0.7), title="A pixel that was found: Sentinel-2")
    axes.legend(fontsize=8, ncols=3)


if __name__ == "__main__":
    main()

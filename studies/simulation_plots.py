"""The two figures of simulated scenes: beside real pixels, and one scene through the year."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from PIL import Image

from studies.simulation_series import EDGES, Series, amplitude, spectra

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

BANDS = ("blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "swir16", "swir22")
COLOURS = {
    "simulated sentinel2": "black",
    "simulated landsat": "0.55",
    "real 31UDS sentinel2": "tab:red",
    "real 31UDS landsat": "tab:orange",
    "real 31UDS temperature": "tab:pink",
    "real 31UFS monthly": "tab:blue",
    "real 34SGH L1C": "tab:green",
    "real 29RKH 100 m": "tab:brown",
    "real 19 dates": "tab:purple",
    "real pixels a (L1C)": "tab:cyan",
    "real pixels b (L1C)": "tab:olive",
}


def draw_comparison(
    kinds: dict[str, list[Series]], table: dict[str, dict[str, Any]], figure: Path
) -> None:
    """Draw what `describe` says of each kind of series, real ones in colour."""
    drawing, axes = plt.subplots(2, 4, figsize=(19, 9), layout="constrained")
    panels = axes.ravel()
    _reflectance(panels[0], table)
    _months(panels[1], table)
    _amplitudes(panels[2], kinds)
    _temperature(panels[3], kinds)
    _changes(panels[4], table, "nir")
    _changes(panels[5], table, "red")
    _covers(panels[6], kinds)
    _spectra(panels[7], kinds)
    handles = [mpl.lines.Line2D([], [], color=COLOURS[name], label=name) for name in kinds]
    drawing.legend(handles=handles, loc="outside lower center", ncols=5)
    _save(drawing, figure, dpi=70)


def _reflectance(ax: Axes, table: dict[str, dict[str, Any]]) -> None:
    ax.set(title="Reflectance of clear pixels: 5, 25, 50, 75, 95 %", ylabel="reflectance")
    shown = [name for name in table if "L1C" not in name]
    for place, name in enumerate(shown):
        for at, band in enumerate(BANDS):
            levels = table[name]["reflectance"].get(band)
            if levels:
                x = at + 0.8 * (place + 0.5) / len(shown) - 0.4
                ax.plot([x, x], [levels[0], levels[4]], color=COLOURS[name], lw=1)
                ax.plot([x, x], [levels[1], levels[3]], color=COLOURS[name], lw=4)
                ax.plot(x, levels[2], "_", color="white", ms=5)
    ax.set_xticks(range(len(BANDS)), BANDS, rotation=40)


def _months(ax: Axes, table: dict[str, dict[str, Any]]) -> None:
    ax.set(title="NDVI by month: 5, 25, 50, 75, 95 %", xlabel="month", ylim=(-0.1, 1))
    for name, row in table.items():
        if name in {"simulated sentinel2", "real 31UDS sentinel2", "real 31UFS monthly"}:
            months = row["ndvi by month"]
            lines = np.array(list(months.values())).T
            ax.plot(list(months), lines[2], color=COLOURS[name], marker="o", ms=3)
            ax.fill_between(list(months), lines[1], lines[3], color=COLOURS[name], alpha=0.15)
            for line in (lines[0], lines[4]):
                ax.plot(list(months), line, color=COLOURS[name], lw=0.8, ls=":")


def _amplitudes(ax: Axes, kinds: dict[str, list[Series]]) -> None:
    ax.set(title="Range of a pixel's NDVI (5 to 95 % of its dates)", xlabel="range", xlim=(0, 1))
    for name, series in kinds.items():
        if len(series[0].days) > 2 and {"red", "nir"} <= series[0].bands.keys():
            values = np.concatenate([amplitude(one.ndvi) for one in series if "nir" in one.bands])
            if values.size:
                ax.hist(
                    values, np.arange(0, 1.01, 0.04).tolist(), density=True, histtype="step",
                    color=COLOURS[name],
                )  # fmt: skip


def _temperature(ax: Axes, kinds: dict[str, list[Series]]) -> None:
    ax.set(title="Surface temperature of a date: mean, 5 to 95 %", xlabel="month", ylabel="K")
    for name, series in kinds.items():
        for one in series:
            if "temperature" not in one.bands:
                continue
            images = one.bands["temperature"]
            seen = np.isfinite(images).mean(axis=(1, 2)) > 0.5
            days, images = one.days[seen], images[seen]
            year = pd.to_datetime(days, unit="D").day_of_year / 30.44 + 0.5
            low, high = np.nanpercentile(images, [5, 95], axis=(1, 2))
            mean = np.nanmean(images, axis=(1, 2))
            front = 2 if name.startswith("real") else 1
            ax.errorbar(
                year, mean, (mean - low, high - mean), fmt=".", ms=4, lw=0.8,
                color=COLOURS[name], zorder=front,
            )  # fmt: skip


def _changes(ax: Axes, table: dict[str, dict[str, Any]], band: str) -> None:
    ax.set(title=f"Root mean square change of {band} / mean", xlabel="days between clear dates")
    for name, row in table.items():
        change = row.get(f"change with days between dates, {band}", {})
        middle = [np.mean([float(v) for v in key.split("-")]) for key in change]
        if len(change) > 1:
            ax.plot(middle, list(change.values()), color=COLOURS[name], marker="o", ms=3)
    ax.set(xscale="log", ylim=(0, None))


def _covers(ax: Axes, kinds: dict[str, list[Series]]) -> None:
    ax.set(title="Cover of a date: how many have less", xlabel="cover", ylim=(0, 1))
    for name, series in kinds.items():
        parts = [one.cover for one in series if one.cover is not None]
        if parts:
            cover = np.sort(np.concatenate(parts))
            ax.plot(cover, np.arange(1, len(cover) + 1) / len(cover), color=COLOURS[name])


def _spectra(ax: Axes, kinds: dict[str, list[Series]]) -> None:
    middle = np.sqrt(EDGES[1:] * EDGES[:-1])
    ax.set(title="Spatial spectrum, red (line) and NIR (dashes)", xlabel="cycles a pixel")
    for name, series in kinds.items():
        for band, style in (("red", "-"), ("nir", "--")):
            rows = spectra(series, band)
            if len(rows):
                ax.plot(middle, np.median(rows, axis=0), style, color=COLOURS[name])
    ax.set(xscale="log", yscale="log")


def draw_scene(seed: int, size: int, figure: Path) -> None:
    """Draw one scene: acquisitions of both sensors, masks, truth, temperature, NDVI."""
    from tamrf_xr.simulate import SceneConfig, simulate

    scene = simulate(SceneConfig(size_px=size, seed=seed))
    drawing = plt.figure(figsize=(15, 14.5), layout="constrained")
    grid = drawing.add_gridspec(5, 6)
    for row, sensor in enumerate(("sentinel2", "landsat")):
        places = _choose(scene.clear[sensor].values.mean(axis=(1, 2)))
        for column, place in enumerate(places):
            _acquisition(drawing.add_subplot(grid[row, column]), scene, sensor, place)
    days = ("02-15", "04-15", "06-01", "07-15", "09-01", "11-15")
    truth = scene.truth([f"{scene.config.year}-{day}" for day in days])
    order = np.argsort(truth["sentinel2"].to_dataset()["time"].values)
    for column, place in enumerate(order):
        _truth(drawing.add_subplot(grid[2, column]), truth["sentinel2"], place)
        _warmth(drawing.add_subplot(grid[3, column]), truth["landsat"], place)
    _curves(drawing.add_subplot(grid[4, :]), scene)
    _save(drawing, figure, dpi=56)


def _save(drawing: Any, figure: Path, dpi: int) -> None:
    """Write a figure in 200 colours: photographs as PNG are large."""
    memory = io.BytesIO()
    drawing.savefig(memory, dpi=dpi)
    plt.close(drawing)
    Image.open(memory).convert("RGB").quantize(200, method=Image.Quantize.MAXCOVERAGE).save(
        figure, optimize=True
    )


def _choose(clear: np.ndarray) -> list[int]:
    """Take six dates through the year: clear, broken and covered ones."""
    wanted = (0.95, 0.5, 0.9, 0.3, 0.97, 0.7)
    parts = np.array_split(np.arange(len(clear)), len(wanted))
    return [int(part[np.argmin(np.abs(clear[part] - w))]) for part, w in zip(parts, wanted)]  # noqa: B905


def _rgb(image: np.ndarray, names: list[str]) -> np.ndarray:
    picked = np.stack([image[names.index(name)] for name in ("red", "green", "blue")], axis=-1)
    return np.clip(np.nan_to_num(picked, nan=1) * 4, 0, 1) ** 0.8


def _acquisition(ax: Axes, scene: Any, sensor: str, place: int) -> None:
    group = scene.cube[sensor]
    names = group["common_name"].values.tolist()
    ax.imshow(_rgb(group["reflectance"].values[place], names))
    masked = ~group["valid"].values[place]
    if masked.any() and not masked.all():
        ax.contour(masked, [0.5], colors="tab:red", linewidths=0.7)
    title = {"sentinel2": "Sentinel-2", "landsat": "Landsat"}[sensor]
    ax.set_title(f"{title} {str(group['time'].values[place])[:10]}", fontsize=10)
    ax.set_axis_off()


def _truth(ax: Axes, group: Any, place: int) -> None:
    names = group["common_name"].values.tolist()
    ax.imshow(_rgb(group["reflectance"].values[place], names))
    ax.set_title(f"truth {str(group['time'].values[place])[:10]}", fontsize=10)
    ax.set_axis_off()


def _warmth(ax: Axes, group: Any, place: int) -> None:
    kelvin = group["surface_temperature"].values[place]
    low, high = np.percentile(kelvin, [1, 99])
    ax.imshow(kelvin, cmap="inferno", vmin=low, vmax=high)
    ax.set_title(f"temperature, {low:.0f} to {high:.0f} K", fontsize=10)
    ax.set_axis_off()


def _curves(ax: Axes, scene: Any) -> None:
    """Draw the NDVI of six pixels: the truth as lines, what is seen and said valid as points."""
    rng = np.random.default_rng(0)
    year, size = scene.config.year, scene.config.size_px
    daily = scene.truth(f"{year}-01-01/{year}-12-31/6D")["sentinel2"]
    pixels = rng.integers(0, size, (6, 2))
    for number, (y, x) in enumerate(pixels):
        colour = f"C{number}"
        ax.plot(daily["time"].values, _ndvi(daily)[:, y, x], color=colour, lw=1.2)
        for sensor, marker, step in (("sentinel2", "o", 1), ("landsat", "x", 3)):
            group = scene.cube[sensor]
            said = group["valid"].values[:, y // step, x // step]
            seen = _ndvi(group)[said, y // step, x // step]
            ax.plot(group["time"].values[said], seen, marker, color=colour, ms=4, alpha=0.7)
    ax.set(ylim=(-0.2, 1))
    ax.set_title(
        "NDVI of six pixels: truth (lines), Sentinel-2 (dots) and Landsat (crosses) where valid",
        fontsize=10,
    )


def _ndvi(group: Any) -> np.ndarray:
    names = group["common_name"].values.tolist()
    nir = "nir" if "nir" in names else "nir08"
    red, near = (group["reflectance"].values[:, names.index(n)] for n in ("red", nir))
    return (near - red) / (near + red)


def draw_biomes(chosen: dict[str, tuple[int, tuple[str, ...]]], size: int, figure: Path) -> None:
    """Draw the truth of one scene of each biome on three dates, two biomes a row."""
    rows = -(-len(chosen) // 2)
    drawing, axes = plt.subplots(rows, 6, figsize=(15, 2.75 * rows), layout="constrained")
    panels = axes.reshape(-1, 3)
    for line, (name, (seed, days)) in zip(panels, chosen.items(), strict=False):
        group, year = _truth_of(name, seed, size, days)
        for ax, place, day in zip(line, np.argsort(np.argsort(days)), days, strict=True):
            image = group["reflectance"].values[place]
            ax.imshow(_stretched(image, group["common_name"].values.tolist()))
            ax.set_title(f"{name} {year}-{day}", fontsize=10)
            ax.set_axis_off()
    _save(drawing, figure, dpi=64)


def _truth_of(biome: str, seed: int, size: int, days: tuple[str, ...]) -> tuple[Any, int]:
    from tamrf_xr.simulate import draw_config, simulate

    few = {"sentinel2_revisit_days": 180, "landsat_revisit_days": 180, "lost_dates": 0.0}
    scene = simulate(draw_config(seed, biome=biome, size_px=size, **few))
    year = scene.config.year
    return scene.truth([f"{year}-{day}" for day in days])["sentinel2"].to_dataset(), year


def _stretched(image: np.ndarray, names: list[str]) -> np.ndarray:
    """Return an image in true colour: as dark land is shown, unless what is bright is much."""
    picked = np.stack([image[names.index(name)] for name in ("red", "green", "blue")], axis=-1)
    bright = max(0.25, float(np.percentile(picked, 90)))
    return np.clip(picked / bright, 0, 1) ** 0.7

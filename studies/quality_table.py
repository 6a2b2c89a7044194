"""One table of methods on real series: RMSE on dates left out, over that of interpolation.

``python -m studies.quality_table [--model NAME=WEIGHTS ...]``
``--only SERIES``, ``--tiny``: some series, one; kept nowhere

Every third clear date of Sentinel-2 is left out and predicted from what is left: ``clear``, the
other clear dates (and Landsat); ``clouded``, all other dates; ``cut out``, these without what is
masked, as many have their cubes. Of Landsat, which has fewer, each third of its clear dates in
turn, and what is made is averaged over its pixels. RMSE per band over the clear pixels of all dates
left out; shown are the mean of the ratios over bands, and the worst. `floor` is what no method can
be under: the root of half the mean squared difference of clear dates 1 to 6 days apart
(`studies.simulation_noise`), over the RMSE of interpolation, mean over bands.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import tamrf_xr
from benchmarks.harness import keep
from studies import RESULTS, real_series
from studies.quality import belgium, pair
from studies.simulation_noise import structure
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.evaluation.split import give
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.model.levels import TEMPERATURE
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.uncertainty import PREFIX as ERRORS

METHODS: Mapping[str, Mapping[str, Any]] = {
    "linear": {"method": "linear"},
    "whittaker": {"method": "whittaker"},
    "harmonic": {"method": "harmonic"},
    "default": {"model": "default"},
}

CLEAR = 0.9
"""Share of the pixels that any date has that must be usable for a date to count as clear."""

BRIGHTEST = 0.2
"""Median reflectance of the shortest band there is, above which a date is a missed cloud."""

FEWEST = 6
"""Clear dates that a series needs."""

KEPT = sorted(RESULTS.glob("quality-table-*.json"))[-1]
"""What the model card quotes."""

KINDS = ("clear", "clouded", "cut out")
"""What is given beside the dates left out."""

HEADS = (ERRORS, f"{TEMPERATURE}.")
"""What of a network leaves reflectance as it is."""

Rmse = dict[str, float]
"""By band."""

Asked = tuple[pd.DatetimeIndex, Mapping[str, Any]]
"""Days left out, and how they are made."""


def network_digest(model: Tamrf) -> str:
    """Return the SHA-256 of what reflectance is computed with: every tensor but those of heads."""
    digest = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        if not name.startswith(HEADS):
            digest.update(name.encode() + values.numpy().tobytes())
    return digest.hexdigest()


def series(folder: Path) -> Iterator[tuple[str, xr.DataTree]]:
    """Give every real series, by name."""
    yield "belgium", belgium()
    yield "pair", pair(folder)[1]
    yield "tanzania", real_series.tanzania()
    for number, cube in enumerate(real_series.finland(), 1):
        yield f"finland {number}", cube


def _rows(folder: Path) -> Iterator[tuple[str, xr.DataTree, str]]:
    for name, cube in series(folder):
        for sensor in groups_of(cube):
            yield (name if sensor == "sentinel2" else f"{name}, {sensor}"), cube, sensor


def cut_out(cube: xr.DataTree) -> xr.DataTree:
    """Return a cube without the pixels that are masked."""
    pixels = ("reflectance", "surface_temperature")
    return build_cube(
        {
            name: group.assign({v: group[v].where(group["valid"]) for v in pixels if v in group})
            for name, group in groups_of(cube).items()
        }
    )


def clear_days(cube: xr.DataTree, sensor: str = "sentinel2") -> pd.DatetimeIndex:
    """Return the days of a sensor that are clear and no cloud that the mask missed."""
    group = cube[sensor].to_dataset()
    seen = group["reflectance"].where(group["valid"]).median(("y", "x"))
    shortest = seen.values[np.arange(seen.sizes["time"]), np.isfinite(seen.values).argmax(axis=1)]
    clear = (_share(group) >= CLEAR) & (shortest < BRIGHTEST)
    return pd.DatetimeIndex(group["time"].values[clear]).floor("D").unique()


def _share(group: xr.Dataset) -> np.ndarray:
    """Return per date the usable part of the pixels that any date has.

    Some files hold a field and nothing around.
    """
    valid = group["valid"].transpose("time", "y", "x").values
    share: np.ndarray = valid[:, valid.any(axis=0)].mean(axis=1)
    return share


def squares(cube: xr.DataTree, sensor: str, given: xr.DataTree, asked: Asked) -> np.ndarray:
    """Return squared errors of each band that is there, (date, band, y, x), NaN where not clear."""
    days, options = asked
    group = cube[sensor].to_dataset().transpose("time", "band", "y", "x")
    product = tamrf_xr.fuse(given, days, sensors=[sensor], **options)[sensor].to_dataset()
    made = product["reflectance"].sel(band=group["band"].values)
    across = made.sizes["y"] // group.sizes["y"]
    made = made.transpose("time", "band", "y", "x").coarsen(y=across, x=across).mean()
    at, share = pd.DatetimeIndex(group["time"].values).floor("D"), _share(group)
    clearest = [max(np.flatnonzero(at == day), key=share.__getitem__) for day in days]
    off = (made.values - group["reflectance"].values[clearest]) ** 2
    return np.where(group["valid"].values[clearest][:, None], off, np.nan)


def _rmse(cube: xr.DataTree, found: Sequence[np.ndarray], sensor: str) -> Rmse:
    with np.errstate(invalid="ignore"):
        means = np.nanmean(np.concatenate(found), axis=(0, 2, 3))
    bands = cube[sensor].to_dataset()["band"].values
    return {
        str(band): float(value**0.5)
        for band, value in zip(bands, means, strict=True)
        if np.isfinite(value)
    }


def row(
    cube: xr.DataTree, methods: Mapping[str, Mapping[str, Any]], sensor: str = "sentinel2"
) -> dict[str, Any]:
    """Return the figures of a sensor of one series."""
    days = clear_days(cube, sensor)
    thirds = [days[1::3]] if sensor == "sentinel2" else [days[first::3] for first in range(3)]
    every = {n: pd.DatetimeIndex(g["time"].values).floor("D") for n, g in groups_of(cube).items()}
    told: dict[str, Any] = {"dates left out": sum(map(len, thirds))}
    for name in KINDS:
        seen = days if name == "clear" else every[sensor]
        found: dict[str, list[np.ndarray]] = {method: [] for method in methods}
        for left_out in thirds:
            given = give(cube, every | {sensor: seen.difference(left_out)})
            given = cut_out(given) if name == "cut out" else given
            for method, options in methods.items():
                found[method].append(squares(cube, sensor, given, (left_out, options)))
        errors = {method: _rmse(cube, parts, sensor) for method, parts in found.items()}
        naive = errors["linear"]
        told[name] = {m: _ratios(own, naive) for m, own in errors.items()} | {"linear, rmse": naive}
    told["floor"] = _floor(cube, told["clear"]["linear, rmse"], sensor)
    return told


def _ratios(found: Rmse, naive: Rmse) -> dict[str, Any]:
    ratios = {band: round(found[band] / naive[band], 4) for band in naive}
    return {"mean": round(float(np.mean(list(ratios.values()))), 4), "bands": ratios}


def _floor(cube: xr.DataTree, naive: Rmse, sensor: str) -> float | None:
    """Return the part of interpolation's RMSE that dates a few days apart differ by."""
    group = cube[sensor].to_dataset().sel(band=list(naive))
    clear = np.isin(pd.DatetimeIndex(group["time"].values).floor("D"), clear_days(cube, sensor))
    group = group.isel(time=clear)
    pixels = group["reflectance"].transpose("time", "band", "y", "x").values
    pixels = np.where(group["valid"].values[:, None], pixels, np.nan)
    days = group["time"].values.astype("M8[D]").astype(int)
    found = structure(days, pixels, list(naive), sensor)
    if not found:
        return None
    noise = {band: sum(part[band] ** 2 for part in found.values()) ** 0.5 / 1e4 for band in naive}
    return round(float(np.mean([noise[band] / naive[band] for band in naive])), 3)


def show(name: str, figures: Mapping[str, Any]) -> None:
    """Print one series: the mean ratio, and the worst of a band."""
    for kind in KINDS:
        parts = [
            f"{method} {told['mean']:.3f} ({max(told['bands'].values()):.2f})"
            for method, told in figures[kind].items()
            if method not in {"linear", "linear, rmse"}
        ]
        print(f"{name:<13} {kind:<8} floor {figures['floor']}  " + "  ".join(parts), flush=True)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", default=[], metavar="NAME=WEIGHTS")
    parser.add_argument("--only", nargs="+", metavar="SERIES", help="by the start of their names")
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    methods = dict(METHODS)
    methods |= {
        name: {"model": path} for name, _, path in (m.partition("=") for m in options.model)
    }
    figures: dict[str, Any] = {"network": network_digest(resolve("default")[2])}
    with tempfile.TemporaryDirectory() as folder:
        for name, cube, sensor in _rows(Path(folder)):
            if options.only and not name.startswith(tuple(options.only)):
                continue
            if len(clear_days(cube, sensor)) < FEWEST:
                print(f"{name}: fewer than {FEWEST} clear dates")
                continue
            figures[name] = row(cube, methods, sensor)
            show(name, figures[name])
            if options.tiny:
                return figures
    if not options.only:
        keep("quality-table", figures, folder=RESULTS)
    return figures


if __name__ == "__main__":
    main()

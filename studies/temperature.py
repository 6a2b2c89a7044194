"""Errors of temperature at dates left out: interpolation, the network, and its head of days.

``python -m studies.temperature [--scenes 40] [--size 60] [--model WEIGHTS]``
``--tiny``: one scene, test-sized, kept nowhere

Simulated scenes of seeds that no fit takes, each of a place, weather and sky of its own, of any
land: GAPS of 30 days in both sensors, against truth. Then the real pair, as in
`studies.quality_table`, clear dates of Landsat left out one by one, and the clear
ones or all others given. RMSE in kelvin, at 30 m; ``alone`` is the network without the head.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

import tamrf_xr
from benchmarks.harness import keep
from studies import RESULTS
from studies.quality import pair
from studies.quality_table import network_digest
from tamrf_xr.cube import groups_of
from tamrf_xr.evaluation.compensate import degrade
from tamrf_xr.evaluation.split import give, split
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.model.network import Tamrf
from tamrf_xr.sensors import SENSORS, THERMAL
from tamrf_xr.simulate import draw_config, simulate

SEED = 9_300_000

Networks = Mapping[str, Tamrf]

Errors = Mapping[str, float]
"""In kelvin, by method."""

Images = NDArray[np.float64]


def networks_of(weights: str) -> dict[str, Tamrf]:
    """Return the network without its head, and with it."""
    model = resolve(weights)[2]
    alone = copy.deepcopy(model)
    alone.temperature = None
    return {"alone": alone, "network": model}


def simulated(scenes: int, networks: Networks, **fixed: Any) -> dict[str, Errors]:
    """Return errors against truth, by scene."""
    found = {}
    for seed in range(SEED, SEED + scenes):
        config = draw_config(seed, biome="any", **fixed)
        scene = simulate(config)
        given, asked = split(scene.cube, "GAPS")
        held = asked["landsat"].difference(days_of(given))
        truth = images_of(scene.truth(held))
        found[f"{config.biome} {seed}"] = errors(given, held, truth, networks)
        show(f"{config.biome} {seed}", found[f"{config.biome} {seed}"])
    return found


def on_the_pair(networks: Networks, folder: Path) -> dict[str, Errors]:
    """Return errors at observations left out, one date at a time, by what is given."""
    clear, cube = pair(folder)
    days = {n: pd.DatetimeIndex(g["time"].values).floor("D") for n, g in groups_of(cube).items()}
    found: dict[str, Errors] = {}
    for kind, others in (("clear", days_of(clear)), ("clouded", days["landsat"])):
        squares = []
        for day in days_of(clear).unique():
            held = pd.DatetimeIndex([day])
            given = give(cube, days | {"landsat": others.difference(held)})
            squares.append(pd.Series(errors(given, held, _observed(cube, held), networks)) ** 2)
        roots = pd.DataFrame(squares).mean() ** 0.5
        found[f"pair, {kind}"] = {str(n): round(float(value), 3) for n, value in roots.items()}
        show(f"pair, {kind}", found[f"pair, {kind}"])
    return found


def _observed(cube: xr.DataTree, days: pd.DatetimeIndex) -> Images:
    """Return what was seen on days, the first acquisition of each; NaN where that was no land."""
    of_cube = days_of(cube)
    first = np.flatnonzero(of_cube.isin(days) & ~of_cube.duplicated())
    group = cube["landsat"].to_dataset().isel(time=first).transpose("time", "band", "y", "x")
    return np.where(group["valid"], group["surface_temperature"], np.nan)


def days_of(cube: xr.DataTree) -> pd.DatetimeIndex:
    """Return the days of Landsat."""
    return pd.DatetimeIndex(groups_of(cube)["landsat"]["time"].values).floor("D")


def images_of(product: xr.DataTree) -> Images:
    """Return temperatures as Landsat samples them, (date, y, x)."""
    ratio, made = SENSORS["landsat"].ratio, product["landsat/surface_temperature"]
    images = made.transpose("time", "y", "x").values
    return np.stack([degrade(one[None], "landsat", (THERMAL,), ratio=ratio)[0] for one in images])


def errors(given: xr.DataTree, held: pd.DatetimeIndex, truth: Images, networks: Networks) -> Errors:
    """Return the RMSE of each method at the days held back, where there is a truth."""
    methods = {"naive": {"method": "naive"}} | {n: {"model": m} for n, m in networks.items()}
    found = {}
    for name, options in methods.items():
        made = images_of(tamrf_xr.fuse(given, held, sensors=["landsat"], **options))
        found[name] = round(float(np.sqrt(((made - truth)[np.isfinite(truth)] ** 2).mean())), 3)
    return found


def together(found: Mapping[str, Errors]) -> dict[str, Errors]:
    """Return the RMSE of all scenes alike, and the median of their ratios to interpolation.

    Where interpolation has no clear date of a pixel it says nothing, and a scene does not count.
    """
    table = pd.DataFrame(found).T.dropna()
    ratios = table.div(table["naive"], axis=0).median()
    rms = (table**2).mean() ** 0.5
    return {
        "all": {str(name): round(float(value), 3) for name, value in rms.items()},
        "median ratio": {str(name): round(float(value), 3) for name, value in ratios.items()},
    }


def show(name: str, row: Errors) -> None:
    """Print one row."""
    parts = [f"{method} {value:.2f}" for method, value in row.items()]
    print(f"{name:<18} " + "  ".join(parts), flush=True)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--size", type=int, default=60, help="pixels of 10 m across")
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    networks = networks_of(options.model)
    figures: dict[str, Any] = {"network": network_digest(resolve(options.model)[2])}
    fixed = {"size_px": 48, "sentinel2_revisit_days": 15} if options.tiny else {}
    fixed = {"size_px": options.size} | fixed
    figures["simulated"] = simulated(1 if options.tiny else options.scenes, networks, **fixed)
    figures |= together(figures["simulated"])
    for name in ("all", "median ratio"):
        show(name, figures[name])
    if options.tiny:
        return figures
    with tempfile.TemporaryDirectory() as folder:
        figures |= on_the_pair(networks, Path(folder))
    keep("temperature", figures, folder=RESULTS)
    return figures


if __name__ == "__main__":
    main()

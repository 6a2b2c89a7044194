"""Errors of temperature at dates left out: interpolation, the network, and its head of days.

``python -m studies.temperature [--scenes 40] [--size 60] [--model WEIGHTS]``
``--tiny``: one scene, test-sized, kept nowhere

Simulated scenes of seeds that no fit takes, each of a place, weather and sky of its own, of any
land: GAPS of 30 days in both sensors, against truth. Then the real pair, as in
`studies.quality_table`, clear dates of Landsat left out one by one, and the clear
ones or all others given. RMSE in kelvin, at 30 m; ``alone`` is the network without the head. Of
simulated scenes also ``detail``: the RMSE at 10 m about the mean error of a date.
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

Products = Mapping[str, xr.DataTree]
"""By method."""

Images = NDArray[np.float64]


def networks_of(weights: str) -> dict[str, Tamrf]:
    """Return the network without its head, and with it."""
    model = resolve(weights)[2]
    alone = copy.deepcopy(model)
    alone.temperature = None
    return {"alone": alone, "network": model}


def simulated(
    scenes: int, networks: Networks, **fixed: Any
) -> tuple[dict[str, Errors], dict[str, Errors]]:
    """Return errors against truth by scene, at 30 m, and at 10 m about the mean of a date."""
    found, detail = {}, {}
    for seed in range(SEED, SEED + scenes):
        config = draw_config(seed, biome="any", **fixed)
        scene = simulate(config)
        given, asked = split(scene.cube, "GAPS")
        held = asked["landsat"].difference(days_of(given))
        truth, name = scene.truth(held), f"{config.biome} {seed}"
        made = products(given, held, networks)
        found[name] = errors(made, images_of(truth))
        detail[name] = details(made, truth)
        show(name, found[name])
    return found, detail


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
            made = products(given, held, networks)
            squares.append(pd.Series(errors(made, _observed(cube, held))) ** 2)
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
    ratio = SENSORS["landsat"].ratio
    return np.stack(
        [degrade(one[None], "landsat", (THERMAL,), ratio=ratio)[0] for one in fine_images(product)]
    )


def fine_images(product: xr.DataTree) -> Images:
    """Return temperatures (date, y, x) at 10 m."""
    made: Images = product["landsat/surface_temperature"].transpose("time", "y", "x").values
    return made


def products(given: xr.DataTree, held: pd.DatetimeIndex, networks: Networks) -> Products:
    """Return what each method makes of the days held back."""
    methods = {"naive": {"method": "naive"}} | {n: {"model": m} for n, m in networks.items()}
    return {
        name: tamrf_xr.fuse(given, held, sensors=["landsat"], **options).compute()
        for name, options in methods.items()
    }


def errors(made: Products, truth: Images) -> Errors:
    """Return the RMSE of each method where there is a truth."""
    known = np.isfinite(truth)
    return {name: _rms((images_of(one) - truth)[known]) for name, one in made.items()}


def details(made: Products, truth: xr.DataTree) -> Errors:
    """Return the RMSE of each method at 10 m about the mean error of a date."""
    found = {}
    for name, one in made.items():
        error = fine_images(one) - fine_images(truth)
        found[name] = _rms(error - error.mean(axis=(1, 2), keepdims=True))
    return found


def _rms(error: Images) -> float:
    return round(float(np.sqrt((error**2).mean())), 3)


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
    scenes = 1 if options.tiny else options.scenes
    figures["simulated"], figures["detail by scene"] = simulated(scenes, networks, **fixed)
    figures |= together(figures["simulated"])
    figures["detail"] = together(figures["detail by scene"])["all"]
    for name in ("all", "median ratio", "detail"):
        show(name, figures[name])
    if options.tiny:
        return figures
    with tempfile.TemporaryDirectory() as folder:
        figures |= on_the_pair(networks, Path(folder))
    keep("temperature", figures, folder=RESULTS)
    return figures


if __name__ == "__main__":
    main()

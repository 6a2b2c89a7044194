"""Errors of temperature at dates left out: interpolation, the network, and its head of days.

``python -m studies.temperature [--scenes 40] [--size 60] [--model WEIGHTS]``
``--tiny``: one scene, test-sized, kept nowhere

Simulated scenes of seeds that no fit takes, each of a place, weather and sky of its own, of any
land: GAPS of 30 days in both sensors, against truth. Then the real pair, as in
`studies.quality_table`: every third clear date of Landsat left out, and its clear dates or all
others given. RMSE in kelvin, at 30 m; ``alone`` is the network without the head.
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

import tamrf_xr
from benchmarks.harness import keep
from studies import RESULTS
from studies.quality import pair
from studies.quality_table import network_digest
from studies.quality_truth import against_truth
from tamrf_xr.cube import groups_of
from tamrf_xr.evaluation.compensate import degrade
from tamrf_xr.evaluation.split import give
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.model.network import Tamrf
from tamrf_xr.sensors import SENSORS, THERMAL
from tamrf_xr.simulate import Simulation, draw_config, simulate

SEED = 9_300_000

Networks = Mapping[str, Tamrf]


def networks_of(weights: str) -> dict[str, Tamrf]:
    """Return the network without its head, and with it."""
    model = resolve(weights)[2]
    alone = copy.deepcopy(model)
    alone.temperature = None
    return {"alone": alone, "network": model}


def simulated(scenes: int, networks: Networks, **fixed: Any) -> dict[str, dict[str, float]]:
    """Return errors against truth, by scene and method."""
    found = {}
    for seed in range(SEED, SEED + scenes):
        config = draw_config(seed, biome="any", **fixed)
        name = f"{config.biome} {seed}"
        found[name] = _against_truth(simulate(config), networks)
        print(f"{name:<18} " + _shown(found[name]), flush=True)
    return found


def _against_truth(scene: Simulation, networks: Networks) -> dict[str, float]:
    errors = {}
    for name, model in networks.items():
        told = against_truth({name: lambda: scene}, {"naive": {}, "tamrf": {"model": model}})
        for method, key in (("naive", "naive"), ("tamrf", name)):
            errors[key] = float(told[method]["landsat"]["rmse of LST, left out (K)"])
    return errors


def on_the_pair(networks: Networks, folder: Path) -> dict[str, dict[str, float]]:
    """Return errors at observations left out, of what is given and by method."""
    clear, cube = pair(folder)
    days = {n: pd.DatetimeIndex(g["time"].values).floor("D") for n, g in groups_of(cube).items()}
    seen = pd.DatetimeIndex(groups_of(clear)["landsat"]["time"].values).floor("D")
    held = seen[1::3]
    group = cube["landsat"].to_dataset()
    at = days["landsat"].get_indexer(held)
    truth = group["surface_temperature"].transpose("time", "y", "x").values[at]
    valid = group["valid"].transpose("time", "y", "x").values[at] & np.isfinite(truth)
    found: dict[str, dict[str, float]] = {}
    for kind, others in (("clear", seen), ("clouded", days["landsat"])):
        given = give(cube, days | {"landsat": others.difference(held)})
        found[f"pair, {kind}"] = {}
        every = {"naive": {"method": "naive"}} | {n: {"model": m} for n, m in networks.items()}
        for name, options in every.items():
            made = tamrf_xr.fuse(given, held, sensors=["landsat"], **options)["landsat"]
            images = made["surface_temperature"].transpose("time", "y", "x").values
            ratio = SENSORS["landsat"].ratio
            coarse = [degrade(i[None], "landsat", (THERMAL,), ratio=ratio)[0] for i in images]
            error = (np.stack(coarse) - truth)[valid]
            found[f"pair, {kind}"][name] = round(float(np.sqrt(np.nanmean(error**2))), 3)
        print(f"{f'pair, {kind}':<18} " + _shown(found[f"pair, {kind}"]), flush=True)
    return found


def together(found: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the RMSE of all scenes alike, and the median of their ratios to interpolation."""
    table = pd.DataFrame(found).T
    ratios = table.div(table["naive"], axis=0).median()
    rms = (table**2).mean() ** 0.5
    return {
        "all": {str(name): round(float(value), 3) for name, value in rms.items()},
        "median ratio": {str(name): round(float(value), 3) for name, value in ratios.items()},
    }


def _shown(row: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.2f}" for name, value in row.items())


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
        print(f"{name:<18} " + _shown(figures[name]))
    if options.tiny:
        return figures
    with tempfile.TemporaryDirectory() as folder:
        figures |= on_the_pair(networks, Path(folder))
    keep("temperature", figures, folder=RESULTS)
    return figures


if __name__ == "__main__":
    main()

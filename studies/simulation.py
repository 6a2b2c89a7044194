"""How fast scenes are simulated, and how they compare with real pixels.

``python -m studies.simulation speed [--size 990]``
``python -m studies.simulation compare --real FOLDER [--seeds 12] [--figure docs/X.png]``
``python -m studies.simulation scene [--seed 5] [--figure docs/X.png]``
``--tiny``: a test-sized run, kept nowhere

`FOLDER` holds the real pixels of `simulation_real.py`, none of which is in this repository.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import keep
from studies import RESULTS
from studies.simulation_series import QUANTILES, Series, describe
from tamrf_xr.simulate import SceneConfig, draw_config, simulate


def simulated(seeds: int, size: int, **fixed: Any) -> dict[str, list[Series]]:
    """Simulate scenes, each of a place and a sky of its own: a list of series for each sensor."""
    by_sensor: dict[str, list[Series]] = {"sentinel2": [], "landsat": []}
    for seed in range(1000, 1000 + seeds):
        scene = simulate(draw_config(seed, size_px=size, **fixed))
        for sensor, series in by_sensor.items():
            series.append(_series(scene, sensor))
    return by_sensor


def _series(scene: Any, sensor: str) -> Series:
    group, clear = scene.cube[sensor], scene.clear[sensor].values
    days = group["time"].values.astype("M8[D]").astype(int)
    # No real series here has snow: dates with it are left out of the comparison.
    first = np.datetime64(f"{scene.config.year}-01-01").astype(int)
    snow = scene.ground.weather.snow[days - first] > 0
    clear = clear & ~snow[:, None, None]
    values = np.where(clear[:, None], group["reflectance"].values, np.nan)
    names = [_NAMES.get(name, name) for name in group["common_name"].values.tolist()]
    if sensor == "landsat":
        names[names.index("nir08")] = "nir"
    bands = {name: values[:, i] for i, name in enumerate(names)}
    if "surface_temperature" in group:
        bands["temperature"] = np.where(clear, group["surface_temperature"].values, np.nan)
    return Series(days, bands, 1 - scene.clear[sensor].values.mean(axis=(1, 2)))


_NAMES = {"rededge071": "rededge1", "rededge075": "rededge2", "rededge078": "rededge3"}


def speed(size: int) -> dict[str, Any]:
    """Time one pair-year; other work on the machine shows in its load."""
    load = round(os.getloadavg()[0], 1)
    start, cpu = time.perf_counter(), time.process_time()
    scene = simulate(SceneConfig(size_px=size, seed=1))
    figures = {
        "size": size,
        "dates": [scene.cube[name].sizes["time"] for name in ("sentinel2", "landsat")],
        "seconds": round(time.perf_counter() - start, 1),
        "load_before": load,
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    print(f"{size} px pair-year: {figures['seconds']} s ({figures['cpu_seconds']} s of CPU)")
    return figures


def compare(
    real: dict[str, list[Series]], synthetic: dict[str, list[Series]], figure: Path
) -> dict[str, Any]:
    """Describe real and simulated series alike, and draw them side by side."""
    from studies.simulation_plots import draw_comparison

    kinds = {f"simulated {name}": series for name, series in synthetic.items()}
    kinds |= {f"real {name}": series for name, series in real.items()}
    table = {name: describe(series) for name, series in kinds.items()}
    draw_comparison(kinds, table, figure)
    for name, row in table.items():
        print(name, row.get("cover"), row.get("ndvi amplitude"))
    return {"quantiles": QUANTILES, "scenes": len(synthetic["landsat"]), **table}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run one of the three, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["speed", "compare", "scene"])
    parser.add_argument("--real", type=Path, help="folder of real pixels")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--size", type=int)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        figure = options.figure or Path(folder) / "figure.png"
        figures = _run(options, figure)
    if figures and not options.tiny:
        name = "simulation" if options.what == "compare" else "simulation-speed"
        keep(name, figures, folder=RESULTS)
    return figures


def _run(options: argparse.Namespace, figure: Path) -> dict[str, Any]:
    if options.what == "speed":
        return speed(options.size or (60 if options.tiny else 990))
    if options.what == "scene":
        from studies.simulation_plots import draw_scene

        draw_scene(options.seed, options.size or (60 if options.tiny else 330), figure)
        print(f"drew the scene of seed {options.seed}")
        return {}
    from studies.simulation_real import real_series

    real = real_series(options.real) if options.real else {}
    seeds = options.seeds or (1 if options.tiny else 12)
    few = {"sentinel2_revisit_days": 20, "landsat_revisit_days": 40} if options.tiny else {}
    synthetic = simulated(seeds, options.size or (60 if options.tiny else 150), **few)
    return compare(real, synthetic, figure)


if __name__ == "__main__":
    main()

"""Biomes: scenes of each beside the real series nearest to it, and a picture of each.

``python -m studies.simulation_biomes compare --real FOLDER [--seeds 4]``
``python -m studies.simulation_biomes scenes [--size 240] [--figure docs/simulator-biomes.png]``
``python -m studies.simulation_biomes speed [--size 330]``
``--tiny``: a test-sized run, kept nowhere
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import keep
from studies import RESULTS
from studies.simulation_places import PLACES, Place
from studies.simulation_series import QUANTILES, Series, describe
from tamrf_xr.simulate import BIOMES, draw_config, simulate
from tamrf_xr.simulate.layers import COVER_NAMES
from tamrf_xr.simulate.scene import MARGIN

SEED = 1000
NAMES = ("blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "swir16",
         "swir22")  # fmt: skip
FEWEST_DATES = 8
"""Of a series whose range in time is told."""

MEDIAN = QUANTILES.index(50)


def compare(folder: Path, seeds: int, size: int, **fixed: Any) -> dict[str, Any]:
    """Put numbers to each place and to scenes of its biome, in its months."""
    scenes = {
        biome: [
            simulate(draw_config(SEED + seed, biome=biome, size_px=size, **fixed))
            for seed in range(seeds)
        ]
        for biome in {place.biome for place in PLACES}
    }
    table = {}
    for place in PLACES:
        made = [_series(scene, place) for scene in scenes[place.biome]]
        table[place.name] = {
            "biome": place.biome,
            "real": _told(place.read(folder)),
            "simulated": _told([one for one in made if len(one.days)]),
        }
        _show(place, table[place.name])
    return {"quantiles": QUANTILES, "scenes": seeds, "size": size, "places": table}


def _series(scene: Any, place: Place) -> Series:
    """Return the clear pixels of a scene that are alike in season, and in land where told."""
    group, clear = scene.cube["sentinel2"], scene.clear["sentinel2"].values
    times = group["time"].values
    days = times.astype("M8[D]").astype(int)
    first = np.datetime64(f"{scene.config.year}-01-01").astype(int)
    snowy = scene.ground.weather.snow[days - first]
    months = times.astype("M8[M]").astype(int) % 12 + 1
    kept = np.isin(months, place.months) & ((snowy > 0.6) if place.snow else (snowy == 0))
    alike = clear[kept] & _alike(scene, place.cover)
    bands = np.where(alike[:, None], group["reflectance"].values[kept], np.nan)
    cover = 1 - clear.mean(axis=(1, 2))
    named = dict(zip(NAMES, bands.swapaxes(0, 1), strict=True))
    return Series(days[kept], named, cover if not place.snow else None)


def _alike(scene: Any, cover: str) -> np.ndarray:
    land, size = scene.ground.land, scene.config.size_px
    if not cover:
        return np.ones((size, size), bool)
    share = land.mixing @ (land.covers == COVER_NAMES.index(cover)).astype(np.float32)
    inner = slice(MARGIN, MARGIN + size)
    return np.asarray(share.reshape(land.shape)[inner, inner] > 0.95)


def _told(series: list[Series]) -> dict[str, Any]:
    told = describe(series) if series else {}
    if max((len(one.days) for one in series), default=0) < FEWEST_DATES:
        told.pop("ndvi amplitude", None)
    return {name: told[name] for name in ("reflectance", "ndvi", "ndvi amplitude", "cover")
            if name in told}  # fmt: skip


def _show(place: Place, row: dict[str, Any]) -> None:
    print(f"\n{place.name} | {place.biome}")
    real, made = row["real"], row["simulated"]
    for name in (*NAMES, "ndvi", "ndvi amplitude"):
        pair = [side.get(name) or side.get("reflectance", {}).get(name) for side in (real, made)]
        if pair[0] is None and name == "nir" and "nir08" in real.get("reflectance", {}):
            continue
        if all(pair):
            inside = pair[1][0] <= pair[0][MEDIAN] <= pair[1][-1]
            text = " | ".join(", ".join(f"{side[i]:.3f}" for i in (0, 2, 4)) for side in pair)
            print(f"  {name:15} {text}  {'' if inside else 'median outside'}")
    if "cover" in real:
        print(f"  cover           {real['cover']} | {made.get('cover')}")


def scenes(names: Sequence[str], size: int, figure: Path) -> dict[str, Any]:
    """Draw one scene of each biome on three dates, in true colour."""
    from studies.simulation_plots import draw_biomes

    draw_biomes({name: _CHOSEN[name] for name in names}, size, figure)
    print(f"drew {len(names)} scenes")
    return {}


_CHOSEN: dict[str, tuple[int, tuple[str, ...]]] = {
    "temperate": (1, ("01-20", "05-20", "08-10")),
    "desert": (6, ("01-25", "04-20", "10-20")),
    "savanna": (11, ("03-20", "08-20", "12-20")),
    "tropical": (2, ("03-01", "07-20", "12-20")),
    "rice": (2, ("01-25", "04-10", "06-05")),
    "mountain": (2, ("01-15", "05-01", "08-20")),
    "boreal": (3, ("03-15", "07-01", "09-25")),
    "coast": (2, ("02-10", "06-20", "09-20")),
    "city": (11, ("01-10", "06-20", "11-20")),
    "volcanic": (31, ("01-25", "04-20", "07-20")),
}
"""Seed and dates of what is drawn of each biome."""


def speed(names: Sequence[str], size: int) -> dict[str, Any]:
    """Time one pair-year of each biome, one after the other; say what else the machine does."""
    figures: dict[str, Any] = {"size": size, "load_before": round(os.getloadavg()[0], 1)}
    for name in names:
        # One revisit for all, so that the same number of dates is made.
        config = draw_config(
            1, biome=name, size_px=size, year=2022, lost_dates=0.0, sentinel2_overlap=False,
            landsat_overlap=False,
        )  # fmt: skip
        start, cpu = time.perf_counter(), time.process_time()
        simulate(config)
        figures[name] = {
            "seconds": round(time.perf_counter() - start, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
        }
        print(name, figures[name])
    return figures


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run one of the three, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["compare", "scenes", "speed"])
    parser.add_argument("--real", type=Path, help="folder of real pixels")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        figures = _run(options, options.figure or Path(folder) / "figure.png")
    if figures and not options.tiny:
        name = "simulation-biomes" if options.what == "compare" else "simulation-biomes-speed"
        keep(name, figures, folder=RESULTS)
    return figures


def _run(options: argparse.Namespace, figure: Path) -> dict[str, Any]:
    names = list(BIOMES)[: 2 if options.tiny else None]
    if options.what == "speed":
        return speed(names, options.size or (30 if options.tiny else 330))
    if options.what == "scenes":
        return scenes(names, options.size or (60 if options.tiny else 240), figure)
    if options.real is None:
        raise SystemExit("compare needs --real FOLDER: the real pixels are not in the repository")
    few = {"sentinel2_revisit_days": 20, "landsat_revisit_days": 90} if options.tiny else {}
    seeds, size = options.seeds or (1 if options.tiny else 4), options.size or 60
    return compare(options.real, seeds, size, **{"landsat_revisit_days": 120, **few})


if __name__ == "__main__":
    main()

"""Errors against truth by biome: default weights, others, and what everyone compares with first.

``python -m studies.quality_biomes [--model NAME=WEIGHTS ...] [--scenes 1] [--size 60]``
``--tiny``: one biome, test-sized, kept nowhere

Simulated scenes of seeds that no training takes, GAPS of 30 days in both sensors. RMSE against the
truth of the dates left out, over all pixels but 12 along the border, over that of interpolation;
mean over reflectance bands, and temperature in kelvin.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from typing import Any

from benchmarks.harness import keep
from studies import RESULTS
from studies.quality_table import network_digest
from studies.quality_truth import against_truth
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.simulate import draw_config, simulate
from tamrf_xr.simulate.biomes import BIOMES

SEED, APART = 9_200_000, 100
"""Of the first scene, and between biomes: scenes of one seed have the same weather."""

BASELINES = ("naive", "whittaker", "harmonic")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Simulate, fuse, compare, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", default=[], metavar="NAME=WEIGHTS")
    parser.add_argument("--scenes", type=int, default=1, help="of each biome")
    parser.add_argument("--size", type=int, default=60, help="pixels of 10 m across")
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    options = parser.parse_args(arguments)
    models = {"default": "default"} | dict(word.split("=", 1) for word in options.model)
    figures: dict[str, Any] = {"network": network_digest(resolve("default")[2])}
    for place, biome in enumerate(["rice"] if options.tiny else BIOMES):
        first = SEED + APART * place
        seeds = range(first, first + options.scenes)
        fixed = {"size_px": 48, "sentinel2_revisit_days": 15} if options.tiny else {}
        scenes = {
            f"{biome} {seed}": partial(
                simulate,
                draw_config(seed, biome=biome, **{"size_px": options.size, "year": 2022} | fixed),
            )
            for seed in seeds
        }
        figures[biome] = told(scenes, models)
        print(
            f"{biome:<10} " + "  ".join(shown(*item) for item in figures[biome].items()), flush=True
        )
    if not options.tiny:
        keep("quality-biomes", figures, folder=RESULTS)
    return figures


def told(scenes: Mapping[str, Any], models: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return per method the ratios to interpolation, and the error of temperature."""
    found = against_truth(
        scenes, {name: {} for name in BASELINES} | {"tamrf": {"model": "default"}}
    )
    rows = {name: _row(found[name]) for name in BASELINES} | {"default": _row(found["tamrf"])}
    for name, weights in models.items():
        if name != "default":
            other = against_truth(scenes, {"naive": {}, "tamrf": {"model": weights}})
            rows[name] = _row(other["tamrf"])
    return rows


def _row(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {
        "sentinel2": found["sentinel2"]["rmse to naive, left out"],
        "landsat": found["landsat"]["rmse to naive, left out"],
        "LST (K)": found["landsat"]["rmse of LST, left out (K)"],
    }


def shown(name: str, row: Mapping[str, float]) -> str:
    """Write one method."""
    return f"{name} {row['sentinel2']:.2f} {row['landsat']:.2f} {row['LST (K)']:.1f} K"


if __name__ == "__main__":
    main()

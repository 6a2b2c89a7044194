"""How the bands of a sensor go together: what missing ones are regressed on the others with.

``python -m studies.spectra`` draws simulated scenes, every second of temperate land, the others of
any biome, takes pixels of all their acquisitions, clouds and all, and writes mean and covariance of
the bands to ``tamrf_xr/weights/spectra.json`` (a minute or two). ``--scenes N --out FILE`` for
another. No real pixel is used.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from tamrf_xr.cube import groups_of
from tamrf_xr.methods.standardising import KELVIN, MOMENTS
from tamrf_xr.replacing import fresh_file
from tamrf_xr.simulate import draw_config, simulate

FIRST_SEED, SCENES = 7_100_000, 48
SIZE_PX, PIXELS = 60, 8000
DIGITS = 6


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Draw, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parents[1] / "tamrf_xr" / MOMENTS
    )
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(FIRST_SEED)
    drawn: dict[str, list[npt.NDArray[Any]]] = {"sentinel2": [], "landsat": []}
    for seed in range(FIRST_SEED, FIRST_SEED + options.scenes):
        config = draw_config(seed, biome=("temperate", "any")[seed % 2], size_px=SIZE_PX)
        for name, group in groups_of(simulate(config).cube).items():
            pixels = _pixels(group)
            drawn[name].append(pixels[rng.integers(len(pixels), size=PIXELS)])
    found = {name: _moments(np.concatenate(parts)) for name, parts in drawn.items()}
    with fresh_file(options.out) as partial:
        partial.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


def _pixels(group: xr.Dataset) -> npt.NDArray[Any]:
    """Return (pixel, band) of all acquisitions, in the network's units, where all is there."""
    values = group["reflectance"].transpose("time", "y", "x", "band").values
    if "surface_temperature" in group:
        thermal = group["surface_temperature"].transpose("time", "y", "x").values * KELVIN
        values = np.concatenate([values, thermal[..., None]], axis=-1)
    values = values.reshape(-1, values.shape[-1]).astype(np.float64)
    return values[np.isfinite(values).all(axis=1)]


def _moments(pixels: npt.NDArray[Any]) -> dict[str, Any]:
    return {
        "mean": _rounded(pixels.mean(axis=0)),
        "covariance": [_rounded(row) for row in np.cov(pixels.T)],
    }


def _rounded(values: npt.NDArray[Any]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


if __name__ == "__main__":
    main()

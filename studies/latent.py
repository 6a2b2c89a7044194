"""What it would take to store a series once and decode any date later: sizes, times, losses.

``python -m studies.latent`` encodes a simulated scene with the default network, up to the tokens
that all query dates attend to, rounds these to int8 with scales that the weights fix, and
decodes dates from both. It prints bytes a pixel, seconds of the stages, and what rounding costs
(some minutes on two cores). Why: docs/decisions/018-beyond.md. ``--tiny`` for a test.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tamrf_xr.cube import groups_of
from tamrf_xr.methods.standardising import STREAMS, standardise
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf
from tamrf_xr.scale.reading import source_of
from tamrf_xr.simulate import draw_config, simulate
from tamrf_xr.tiles import Window

SEED, YEAR = 9_000_001, 2022
DEVIATIONS = 5.0
"""Of a LayerNorm's output that int8 spans on either side; the rest is clipped."""

Result = TypeVar("Result")


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Encode, round, decode, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    _, _, model = resolve("default")
    engine = Engine(model)
    images, days = _standardised(model, 30 if options.tiny else 60)
    if options.tiny:
        images = {name: one[:3] for name, one in images.items()}
        days = {name: one[:3] for name, one in days.items()}
    asked = np.arange(10.0, 350.0, 120.0 if options.tiny else 14.0)
    found = _measured(engine, model, (images, days), asked)
    for name, value in found.items():
        print(f"{name}: {value:.4g}")
    return found


def _standardised(model: Tamrf, size: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    cube = simulate(draw_config(SEED, size_px=size, year=YEAR)).cube
    images, days = {}, {}
    for sensor, group in groups_of(cube).items():
        rows, cols = group.sizes["y"], group.sizes["x"]
        every = [(at,) for at in range(group.sizes["time"])]
        seen = source_of(sensor, group).series(Window(slice(0, rows), slice(0, cols)), every)
        values, missing = standardise(model, sensor, torch.from_numpy(seen.pixels), None)
        images[STREAMS[sensor]] = values.masked_fill_(missing, 0.0)
        since = pd.DatetimeIndex(group["time"].values) - pd.Timestamp(f"{YEAR}-01-01")
        days[STREAMS[sensor]] = torch.tensor(since.days.to_numpy(float))
    return images, days


def _measured(
    engine: Engine, model: Tamrf, given: tuple[dict[str, Tensor], dict[str, Tensor]], asked: Any
) -> dict[str, float]:
    images, days = given
    pixels = engine.stages.pixels
    with torch.inference_mode():
        maps, encoding = _timed(
            lambda: [engine.encode_lr(images["lr"]), engine.encode_hr(images["hr"])]
        )
        query = pixels.ask(days, torch.as_tensor(asked))
        y, x = maps[0].shape[1:3]
        tokens, attending = _timed(lambda: pixels.transform(pixels.load(maps, query), query))
        (exact, seconds) = _timed(lambda: _decoded(engine, tokens, query, (y, x)))
        rounded, clipped = _rounded(tokens, model)
        lossy = _decoded(engine, rounded, query, (y, x))
    reflectance = [band for band in range(exact.shape[1]) if band != model.config.lr_bands - 1]
    difference = (lossy - exact)[:, reflectance].numpy()
    dates = {name: len(one) for name, one in days.items()}
    latent = sum(dates.values()) * model.config.width
    source = 2.0 * (dates["hr"] * model.config.hr_bands + dates["lr"] * model.config.lr_bands / 9)
    return {
        "acquisitions": float(sum(dates.values())),
        "query dates": float(len(asked)),
        "latent, bytes a pixel, int8, not compressed": float(latent),
        "latent / input, bytes": latent / source,
        "latent / product of these dates, bytes": latent / (2.0 * len(asked) * exact.shape[1]),
        "encoding, s": encoding,
        "attention among acquisitions, s": attending,
        "decoding, s": seconds,
        "all / decoding": (encoding + attending + seconds) / seconds,
        "int8, RMS difference of reflectance": float(np.sqrt((difference**2).mean())),
        "int8, largest difference": float(np.abs(difference).max()),
        "int8, share of values clipped": clipped,
    }


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def _decoded(engine: Engine, tokens: Tensor, query: Any, shape: tuple[int, int]) -> Tensor:
    attended = engine.stages.pixels.answer(tokens, query)
    return engine.decode(attended.view(len(attended), *shape, -1))


def _rounded(tokens: Tensor, model: Tamrf) -> tuple[Tensor, float]:
    """Round what a LayerNorm gave to int8: its weights say how far each channel reaches."""
    last = f"layers.{model.config.num_layers - 1}.norm2"
    weight, bias = (model.get_parameter(f"{last}.{name}") for name in ("weight", "bias"))
    step = DEVIATIONS * weight.abs() / 127
    units = (tokens - bias) / step
    clipped = float((units.abs() > 127.5).float().mean())
    return units.round_().clamp_(-127, 127) * step + bias, clipped


if __name__ == "__main__":
    main()

"""Which type to compute in: measured where that differs from machine to machine.

CPUs multiply bfloat16 at half to several times the speed of float32, whatever their flags say:
with AVX512_BF16 but without AMX, 0.5 times on an Intel Sapphire Rapids in a virtual machine, 2.3
times on an AMD Genoa.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional

from tamrf_xr.errors import ModelError

_log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
"""Least precision that is accepted; the engine may compute in a better one."""

FASTER: Final = 1.15
"""How many times as fast bfloat16 must be: what is nearly as fast is computed in float32."""

ROWS, WIDTH, WIDE = 4096, 136, 544
"""A product as of the feed-forward of the published network."""

MAP, LATENT, GROWTH = 96, 64, 32
"""A convolution as of its dense blocks."""


def fastest_type(device: torch.device, precision: Precision) -> torch.dtype:
    """Return the type to compute in: the fastest of those at least as precise as asked.

    Raises
    ------
    ModelError
        If `precision` is neither ``"float32"`` nor ``"bfloat16"``.
    """
    if precision not in {"float32", "bfloat16"}:
        raise ModelError(f"precision must be 'float32' or 'bfloat16', got {precision!r}")
    if precision == "float32":
        return torch.float32
    if device.type == "cpu" and bfloat16_speed() < FASTER:
        return torch.float32
    return torch.bfloat16


@cache
def bfloat16_speed() -> float:
    """Measure how many times as fast as in float32 this CPU computes in bfloat16.

    A product and a convolution as of the network, the least of several turns each: some 50 ms,
    once a process. In CPU time of one thread: other work on the machine matters little.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = {kind: _seconds(kind) for kind in (torch.float32, torch.bfloat16)}
    finally:
        torch.set_num_threads(threads)
    speed = seconds[torch.float32] / seconds[torch.bfloat16]
    _log.info("this CPU computes %.2f times as fast in bfloat16 as in float32", speed)
    return speed


@torch.inference_mode()
def _seconds(kind: torch.dtype) -> float:
    rows, wide = torch.ones(ROWS, WIDTH, dtype=kind), torch.ones(WIDTH, WIDE, dtype=kind)
    bias = torch.ones(WIDE, dtype=kind)
    maps = torch.ones(1, LATENT, MAP, MAP, dtype=kind).to(memory_format=torch.channels_last)
    weights = torch.ones(GROWTH, LATENT, 3, 3, dtype=kind).to(memory_format=torch.channels_last)
    product = _least(lambda: torch.addmm(bias, rows, wide))
    return product + _least(lambda: functional.conv2d(maps, weights, padding=1))


def _least(call: Callable[[], Tensor], turns: int = 5) -> float:
    call()  # plans are made at the first call
    least = float("inf")
    for _ in range(turns):
        start = time.thread_time()
        call()
        least = min(least, time.thread_time() - start)
    return least

"""What to compute in: exactly what is named, and the fastest type where that is measured.

CPUs multiply bfloat16 at half to several times the speed of float32, whatever their flags say:
with AVX512_BF16 but without AMX, 0.5 times on an Intel Sapphire Rapids in a virtual machine, 2.3
times on an AMD Genoa.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Final, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional

from tamrf_xr.errors import ModelError

_log = logging.getLogger(__name__)

Precision = Literal["float32", "tf32", "bfloat16"]
"""What is computed in. ``"tf32"``: float32, but products round what they multiply to 10 bits."""

DTYPES: Final[dict[str, torch.dtype]] = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
}
"""Of weights and arrays."""

AMPERE: Final = (8, 0)
"""Compute capability since which CUDA cards multiply TF32 and bfloat16."""

FASTER: Final = 1.15
"""How many times as fast bfloat16 must be: what is nearly as fast is computed in float32."""

ROWS, WIDTH, WIDE = 4096, 136, 544
"""A product as of the feed-forward of the published network."""

MAP, LATENT, GROWTH = 96, 64, 32
"""A convolution as of its dense blocks."""


def fastest(device: torch.device, precision: str) -> Precision:
    """Return what to compute in: the fastest of those at least as precise as asked.

    Parameters
    ----------
    device
        Where; for a CUDA card that is not of this machine, one of today is supposed.
    precision
        Least precision that is accepted; ``"auto"`` accepts bfloat16 on GPUs, where it is there.

    Raises
    ------
    ModelError
        If `precision` is none, or the card is too old for bfloat16.
    """
    if precision == "auto":
        precision = "bfloat16" if device.type != "cpu" and not _is_old(device) else "float32"
    if precision not in DTYPES:
        raise ModelError(f"precision must be one of auto, {', '.join(DTYPES)}, got {precision!r}")
    if precision == "tf32" and (device.type != "cuda" or _is_old(device)):
        return "float32"
    if precision == "bfloat16" and device.type == "cpu" and bfloat16_speed() < FASTER:
        return "float32"
    if precision == "bfloat16":
        check_card(device)
    return cast("Precision", precision)


def check_card(device: torch.device) -> None:
    """Refuse bfloat16 on a card that emulates it.

    Raises
    ------
    ModelError
        If it does.
    """
    if _is_old(device):
        name, found = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
        raise ModelError(
            f"{name} has compute capability {found[0]}.{found[1]}: bfloat16 needs "
            f"{AMPERE[0]}.{AMPERE[1]} (A100 and later); ask for precision='float32'"
        )


def _is_old(device: torch.device) -> bool:
    here = device.type == "cuda" and torch.cuda.is_available()
    return here and torch.cuda.get_device_capability(device) < AMPERE


class _Products:
    """The flags of PyTorch that let products of float32 round, which are of the whole process.

    Those who want the same share them; who wants another waits until they are done. Afterwards
    they are as before.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._how, self._users = "", 0
        self._before: list[str] = []

    @contextmanager
    def rounding(self, how: Literal["ieee", "tf32"]) -> Iterator[None]:
        """Compute products and convolutions of float32 so within, in all threads."""
        with self._free:
            self._free.wait_for(lambda: not self._users or self._how == how)
            if not self._users:
                self._how, self._before = how, [flag.fp32_precision for flag in _flags()]
                self._set([how if flag in _on_cuda() else "ieee" for flag in _flags()])
            self._users += 1
        try:
            yield
        finally:
            with self._free:
                self._users -= 1
                if not self._users:
                    self._set(self._before)
                    self._free.notify_all()

    @staticmethod
    def _set(values: Sequence[str]) -> None:
        for flag, value in zip(_flags(), values, strict=True):
            flag.fp32_precision = value


def _on_cuda() -> tuple[Any, ...]:
    return torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]


def _flags() -> tuple[Any, ...]:
    cpu = torch.backends.mkldnn
    return *_on_cuda(), cpu.matmul, cpu.conv  # type: ignore[attr-defined]


_PRODUCTS: Final = _Products()


def products(precision: Precision) -> AbstractContextManager[None]:
    """Compute float32 as exactly as `precision` says, whatever the process was set to.

    Without this, convolutions on CUDA are TF32 (cuDNN's default), and a user's
    ``torch.set_float32_matmul_precision`` holds here too. Settings are as before afterwards.
    """
    return _PRODUCTS.rounding("tf32" if precision == "tf32" else "ieee")


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

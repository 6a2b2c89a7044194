"""How much memory the fast path needs, and the sizes of its pieces; no torch, for planners."""

from __future__ import annotations

from typing import Final

from tamrf_xr.model.config import NetworkConfig

CPU_ROWS: Final = 32
"""Rows of a strip of convolutions on a CPU."""

ALL_ROWS: Final = 1 << 30
"""More rows than any image: one strip."""

GPU_BATCH: Final = 4
"""Dates encoded, or queries decoded, together on a GPU."""

_TOKENS: Final = 6144
_GPU_PIXELS: Final = 16384
_STRIP_BYTES: Final = 256 << 20
_LEAST_ROWS: Final = 16


def block_pixels(dates: int, *, gpu: bool) -> int:
    """Return the pixels of a block of the transformer: in cache on a CPU, 16k at most on a GPU."""
    return _GPU_PIXELS if gpu else max(_TOKENS // max(dates, 1), 16)


def strip_rows(config: NetworkConfig, width: int, queries: int, *, itemsize: int) -> int:
    """Return the rows attended to and decoded together by `Engine.reconstruct`."""
    row_bytes = max(queries * width * config.width * itemsize, 1)
    return max(_STRIP_BYTES // row_bytes, _LEAST_ROWS)

"""How much memory the network needs, and the sizes of its pieces; no torch, for planners."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tamrf_xr.model.config import SAR, NetworkConfig

CPU_ROWS: Final = 32
"""Rows of a strip of convolutions on a CPU."""

ALL_ROWS: Final = 1 << 30
"""More rows than any image: one strip."""

GPU_BATCH: Final = 4
"""Queries decoded together on a GPU."""

_MOST_IMAGES: Final = 16
_SHARE_OF_IMAGES: Final = 1 / 8

_SIDE_BY_SIDE: Final = 512 << 20

_TOKENS: Final = 3072
_GPU_PIXELS: Final = 16384
_STRIP_BYTES: Final = 256 << 20
_LEAST_ROWS: Final = 16


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes that a tile needs while the network is at work: what the tile planner reckons with."""

    fixed: float
    """Weights, strips and blocks: whatever the tile."""

    hr_date: float
    """Per pixel of the high resolution and date of its sensor, halos included."""

    lr_date: float
    """Likewise, per date of the other sensor."""

    query: float
    """Likewise, per query date."""

    sar_date: float = 0.0
    """Likewise, per date of radar, of a network with that stream."""


def needs(config: NetworkConfig, *, drawn: bool = False) -> Needs:
    """Tell what tiles need: input and features of each date, bands out of each query, twice.

    Where weights know levels of days (`drawn`), features are followed by what was measured, and
    what dates weigh is kept of all pixels.

    In float32, which takes more than bfloat16. On a CPU, 22 to 57 % of it were measured for small
    tiles, which are mostly the fixed part; what dates add, within a factor 1.4 (tests hold both).

    Examples
    --------
    >>> needs(NetworkConfig())
    Needs(fixed=600000000.0, hr_date=296, lr_date=260, query=144, sar_date=0.0)
    """
    features = 4 * config.latent
    heads = {"hr": 1, "lr": 2}  # each keeps what dates weigh
    hr, lr = (
        4 * (getattr(config, f"{name}_bands") + count) if drawn else 0
        for name, count in heads.items()
    )
    return Needs(
        fixed=0.6e9,
        hr_date=features + hr + 4 * config.hr_bands,
        lr_date=features + lr + 4 * -(-config.lr_bands // config.ratio**2),
        query=2 * 4 * config.bands,
        sar_date=features + 4.0 * config.sar_bands if SAR in config.streams else 0.0,
    )


def block_pixels(dates: int, *, gpu: bool) -> int:
    """Return the pixels of a block of the transformer: in cache on a CPU, 16k at most on a GPU."""
    return _GPU_PIXELS if gpu else max(_TOKENS // max(dates, 1), 16)


def images_at_once(bytes_each: int, memory: int) -> int:
    """Return how many images are encoded together: what fits an eighth of a GPU's memory, or 16.

    Of all its memory, not of what is free at the moment: a rerun then computes in the same batches.

    Examples
    --------
    >>> (
    ...     images_at_once(220 << 20, 80 << 30),
    ...     images_at_once(220 << 20, 8 << 30),
    ...     images_at_once(1, 0),
    ... )
    (16, 4, 1)
    """
    return max(min(int(memory * _SHARE_OF_IMAGES) // max(bytes_each, 1), _MOST_IMAGES), 1)


def images_side_by_side(bytes_each: int) -> int:
    """Return how many images a CPU encodes at the same time: what fits 512 MiB, or one.

    Examples
    --------
    >>> images_side_by_side(120 << 20), images_side_by_side(1 << 30)
    (4, 1)
    """
    return max(_SIDE_BY_SIDE // max(bytes_each, 1), 1)


def strip_rows(config: NetworkConfig, width: int, queries: int, *, itemsize: int) -> int:
    """Return the rows attended to and decoded together by `Engine.reconstruct`."""
    row_bytes = max(queries * width * config.width * itemsize, 1)
    return max(_STRIP_BYTES // row_bytes, _LEAST_ROWS)


def blocks(height: int, width: int, pixels: int) -> Iterator[tuple[slice, slice]]:
    """Cover a grid by rectangles of at most `pixels` pixels: whole rows, or even parts of one."""
    rows = max(pixels // width, 1)
    columns = -(-width // -(-width // pixels)) if width > pixels else width
    for y in range(0, height, rows):
        for x in range(0, width, columns):
            yield slice(y, min(y + rows, height)), slice(x, min(x + columns, width))

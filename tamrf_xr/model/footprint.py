"""How much memory the fast path needs, and the sizes of its pieces; no torch, for planners."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Work:
    """One call of `Engine.predict`: what a tile holds, halos included."""

    height: int
    """High-resolution rows."""

    width: int
    """High-resolution columns."""

    hr_dates: int
    """Dates of the high-resolution sensor."""

    lr_dates: int
    """Dates of the low-resolution sensor."""

    queries: int
    """Query dates."""

    itemsize: int = 4
    """Bytes of a number computed with: 4 for float32, 2 for bfloat16."""

    gpu: bool = False
    """Sizes of pieces are those of a GPU."""


def peak_bytes(config: NetworkConfig, work: Work) -> int:
    """Estimate the peak memory of one tile: input, features, working memory and output.

    Weights, and the libraries themselves, are not counted.

    Parameters
    ----------
    config
        The network.
    work
        The tile.

    Returns
    -------
    int
        Bytes. `Engine.predict` was measured within a factor 1.5 of it (a test holds it there).

    Examples
    --------
    >>> work = Work(height=330, width=330, hr_dates=20, lr_dates=12, queries=12)
    >>> round(peak_bytes(NetworkConfig(), work) / 2**30, 1)
    1.4
    """
    pixels, dates = work.height * work.width, work.hr_dates + work.lr_dates
    coarse = pixels // config.ratio**2
    entering = 4 * (
        pixels * work.hr_dates * config.hr_bands + coarse * work.lr_dates * config.lr_bands
    )
    features = pixels * dates * config.latent * work.itemsize
    encoding = max(
        _encoder_bytes(config, work, pixels, (work.hr_dates, config.num_blocks)),
        _encoder_bytes(config, work, coarse, (work.lr_dates, config.lr_blocks))
        + 3 * min(work.lr_dates, _batch(work)) * pixels * config.latent * work.itemsize,
    )
    return entering + features + max(encoding, _reconstruct_bytes(config, work))


def block_pixels(dates: int, *, gpu: bool) -> int:
    """Return the pixels of a block of the transformer: in cache on a CPU, 16k at most on a GPU."""
    return _GPU_PIXELS if gpu else max(_TOKENS // max(dates, 1), 16)


def strip_rows(config: NetworkConfig, width: int, queries: int, *, itemsize: int) -> int:
    """Return the rows attended to and decoded together by `Engine.reconstruct`."""
    row_bytes = max(queries * width * config.width * itemsize, 1)
    return max(_STRIP_BYTES // row_bytes, _LEAST_ROWS)


def _batch(work: Work) -> int:
    return GPU_BATCH if work.gpu else 1


def _encoder_bytes(config: NetworkConfig, work: Work, pixels: int, of: tuple[int, int]) -> int:
    """Planes of an encoder of so many dates, blocks: `tamrf_xr.model.convolve.FastEncoder`."""
    dates, blocks = of
    images = min(dates, _batch(work))
    inputs = sum(config.latent + i * config.growth for i in range(1, 5)) if blocks else 0
    spare = min(blocks + 1, 3) if blocks else 0
    channels = inputs + (spare + 2) * config.latent + config.hr_bands
    return images * pixels * channels * work.itemsize


def _reconstruct_bytes(config: NetworkConfig, work: Work) -> int:
    """Attended rows, one block of the transformer, one strip of the decoder, the output."""
    rows = strip_rows(config, work.width, work.queries, itemsize=work.itemsize)
    rows = min(rows + 2 * config.decoder_reach, work.height)
    attended = work.queries * rows * work.width * config.width * work.itemsize
    dates = work.hr_dates + work.lr_dates
    block = min(block_pixels(dates, gpu=work.gpu), work.height * work.width)
    channels = 6 * config.width + max(config.feedforward, config.decoder_feedforward)
    tokens = block * max(dates, work.queries) * channels * work.itemsize
    strip = min(rows, ALL_ROWS if work.gpu else 2 * CPU_ROWS + 2 * config.decoder_reach)
    hidden = min(work.queries, _batch(work)) * strip * work.width * config.width * work.itemsize
    return attended + max(tokens, 2 * hidden) + _output_bytes(config, work)


def _output_bytes(config: NetworkConfig, work: Work) -> int:
    """Count the output, and the strip of it that is decoded before it is put in place."""
    return 2 * 4 * work.queries * config.bands * work.height * work.width

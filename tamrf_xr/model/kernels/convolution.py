"""3 x 3 convolution of maps that lie anyhow, with all that follows it, in one kernel.

Shapes: N images, R rows and W columns out, C channels in, O channels out. A program makes 128
pixels of 16, 32 or 64 channels, as a product of (128, 9 C) and (9 C, O) of which the first is
never laid out: it adds, for each of the nine neighbours and 16 or 32 channels of it, what it reads
there (zero beyond the border) times their weights, in float32 in registers. Then, still there:

    v = sum * gain + bias                             per channel, float32
    v = leaky_relu(v)                                 if asked
    v = first + scale * v                             if asked, e.g. what came into a dense block
    v = second + scale * v                            if asked, e.g. what came into three of them

and ``v`` is written where it belongs. Every array is read and written by its strides, so a stage
of a dense block reads the first channels of a plane and writes the next ones: nothing is copied,
and no addition is a pass of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from tamrf_xr.model.kernels.product import dot, how

BLOCK: int = 128
"""Pixels of a program."""

WARPS, STAGES = 4, 4
"""The same on every card: a choice by the clock would make the last bits differ between runs."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Weights of a convolution and what is done to its sums."""

    weight: Tensor
    """(9, C, O'), contiguous, in the type that products are computed in; neighbours by rows, O'
    channels of which those beyond O are zero: a multiple of 16, so that whole vectors are read."""

    bias: Tensor
    """(O',), float32."""

    gain: Tensor | None = None
    """(O',), float32: what sums are multiplied with, before the bias is added."""

    slope: float | None = None
    """Of the leaky ReLU; None for none."""

    @classmethod
    def of(
        cls,
        weight: Tensor,
        bias: Tensor,
        *,
        gain: Tensor | None = None,
        slope: float | None = None,
    ) -> Filters:
        """Lay out the weights (O, C, 3, 3) and the bias (O,) of a convolution of PyTorch."""
        more = (0, -len(bias) % 16)
        by_tap = functional.pad(weight.permute(2, 3, 1, 0).flatten(0, 1), more).contiguous()
        factors = None if gain is None else functional.pad(gain.float(), more)
        return cls(by_tap, functional.pad(bias.float(), more), factors, slope)


def convolve(
    filters: Filters,
    maps: Tensor,
    out: Tensor,
    *residuals: tuple[Tensor, float],
    top: int = 1,
    products: str,
) -> None:
    """Convolve and write.

    Parameters
    ----------
    filters
        The convolution.
    maps
        (N, H, W, C), of any strides and type: read and then rounded to the type of the weights.
    out
        (N, R, W, O), of any strides and type; no memory of it may be in `maps`.
    residuals
        At most two: maps (N, R, W, O) whose channels are contiguous, and the factor of what is
        added to them.
    top
        Row r is around row ``r + 1 - top`` of `maps`: 1 pads with a row of zeros, 0 takes the
        first row as context.
    products
        How float32 is multiplied: ``"ieee"`` or ``"tf32"``.
    """
    N, R, W, channels = out.shape
    inputs, across = maps.shape[3], _across(channels)
    # What is absent is not read.
    (first, scale1), (second, scale2) = (*residuals, (out, 0.0), (out, 0.0))[:2]
    gain = filters.bias if filters.gain is None else filters.gain
    steps = [step for each in (maps, first, second, out) for step in _steps(each)]
    grid = (triton.cdiv(N * R * W, BLOCK), triton.cdiv(channels, across))
    with torch.cuda.device_of(out):  # Triton launches on the device that is current
        _convolve[grid](
            maps, filters.weight, gain, filters.bias, first, second, out, N * R * W, R, W,
            maps.shape[1], *steps, maps.stride(3), out.stride(3), scale1, scale2,
            filters.slope or 0.0, M_X=maps.stride(2), F_X=first.stride(2), S_X=second.stride(2),
            O_X=out.stride(2), C=inputs, O=channels, WIDE=filters.weight.shape[2], TOP=top,
            GAIN=filters.gain is not None, RELU=filters.slope is not None,
            RESIDUALS=len(residuals), BLOCK=BLOCK, ACROSS=across, DEEP=32 if inputs > 16 else 16,
            HOW=how(products, filters.weight), num_warps=WARPS, num_stages=STAGES,
        )  # fmt: skip


def _steps(maps: Tensor) -> tuple[int, int]:
    """Return the strides of images and rows in pixels: what a pixel is a multiple of is known."""
    per_image, per_row, per_pixel, _ = maps.stride()
    if per_image % per_pixel or per_row % per_pixel:
        raise ValueError(f"images and rows of {maps.stride()} are no whole pixels")
    return per_image // per_pixel, per_row // per_pixel


def _across(channels: int) -> int:
    """Return the channels that a program makes: many, if that wastes less than a quarter.

    Examples
    --------
    >>> [_across(channels) for channels in (32, 64, 136, 18, 5)]
    [32, 64, 32, 32, 16]
    """
    for across in (64, 32):
        if triton.cdiv(channels, across) * across * 4 <= channels * 5:
            return across
    return 16 if channels <= 16 else 32


@triton.jit(
    do_not_specialize=[
        "pixels", "rows", "width", "height", "m_n", "m_y", "f_n", "f_y", "s_n", "s_y", "o_n", "o_y",
        "scale1", "scale2", "slope",
    ]
)  # fmt: skip
def _convolve(
    maps, weight, gain, bias, first, second, out, pixels, rows, width, height,
    m_n, m_y, f_n, f_y, s_n, s_y, o_n, o_y, m_c, o_c, scale1, scale2, slope,
    M_X: tl.constexpr, F_X: tl.constexpr, S_X: tl.constexpr, O_X: tl.constexpr, C: tl.constexpr,
    O: tl.constexpr, WIDE: tl.constexpr, TOP: tl.constexpr, GAIN: tl.constexpr, RELU: tl.constexpr,
    RESIDUALS: tl.constexpr, BLOCK: tl.constexpr, ACROSS: tl.constexpr, DEEP: tl.constexpr,
    HOW: tl.constexpr,
):  # fmt: skip
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * ACROSS + tl.arange(0, ACROSS)
    here = pixel < pixels
    x = pixel % width
    y = pixel // width % rows
    n = (pixel // width // rows).to(tl.int64)
    start = n * m_n + (y - TOP) * m_y + x
    kind: tl.constexpr = weight.dtype.element_ty
    DEPTHS: tl.constexpr = (C + DEEP - 1) // DEEP
    total = tl.zeros((BLOCK, ACROSS), tl.float32)
    for step in range(9 * DEPTHS):
        tap = step // DEPTHS
        dy, dx = tap // 3, tap % 3 - 1
        c = step % DEPTHS * DEEP + tl.arange(0, DEEP)
        inside = here & (y + dy >= TOP) & (y + dy < height + TOP) & (x + dx >= 0) & (x + dx < width)
        at = maps + (start + dy * m_y + dx) * M_X
        in_c = c < C
        seen = tl.load(
            at[:, None] + c[None, :] * m_c, mask=inside[:, None] & in_c[None, :], other=0.0
        )
        w = tl.load(
            weight + (tap * C + c)[:, None] * WIDE + channel[None, :],
            mask=in_c[:, None] & (channel < WIDE)[None, :],
            other=0.0,
        )
        total = dot(seen.to(kind), w, total, HOW)
    if GAIN:
        total *= tl.load(gain + channel, mask=channel < WIDE, other=0.0)[None, :]
    total += tl.load(bias + channel, mask=channel < WIDE, other=0.0)[None, :]
    if RELU:
        total = tl.where(total > 0, total, total * slope)
    written = here[:, None] & (channel < O)[None, :]
    if RESIDUALS > 0:
        at = first + (n * f_n + y * f_y + x) * F_X
        total = tl.load(at[:, None] + channel[None, :], mask=written, other=0.0) + scale1 * total
    if RESIDUALS > 1:
        at = second + (n * s_n + y * s_y + x) * S_X
        total = tl.load(at[:, None] + channel[None, :], mask=written, other=0.0) + scale2 * total
    at = out + (n * o_n + y * o_y + x) * O_X
    tl.store(at[:, None] + channel[None, :] * o_c, total.to(out.dtype.element_ty), mask=written)

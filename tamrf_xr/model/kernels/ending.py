"""Residual, LayerNorm, feed-forward, residual, LayerNorm of a block of tokens, in one kernel.

Shapes: M rows, K channels of what is added first, D token width, F hidden width; a block of 128
rows (64 in float32) is worked on by one program:

    x = residual + found @ into                       (128, D), float32, in registers
    y = LayerNorm(x)                                  (128, D), float32, in registers
    y += relu(y @ wide + wide_bias) @ narrow          F in slices of 32: (128, 32) in registers
    out = LayerNorm(y)

So a row is read once and written once, and the F hidden channels never leave the program. D is of
any width: rows lie in two pieces of a power of two, the widest that fits and what is left (136 =
128 + 8, held as 128 + 16), because Triton's blocks are powers of two and one of 256 would be half
empty. Rows of ``residual`` may stand for several rows of ``found`` each: queries for all pixels.
Biases are carried as in `tamrf_xr.model.attend`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from tamrf_xr.model.kernels.product import dot, how


class Blocks(NamedTuple):
    """How the work is cut."""

    rows: int
    """Of a program."""

    slice: int
    """Channels of `found`, or of the hidden layer, multiplied at a time."""

    warps: int
    """Of a program."""

    stages: int
    """Slices of weights on their way at a time."""


BLOCKS = {2: Blocks(128, 32, 8, 3), 4: Blocks(64, 32, 8, 2)}
"""By bytes of a value, so that nothing spills out of registers (`benchmarks/compiled.py`). The same
on every card: a choice by the clock would make the last bits differ between runs."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Weights, in the type that products are computed in; see the module's first lines."""

    into: Tensor
    """(K, D)."""

    norm1: tuple[Tensor, Tensor]
    """Weight and bias, (D,) each."""

    wide: Tensor
    """(D, F)."""

    wide_bias: Tensor
    """(F,)."""

    narrow: Tensor
    """(F, D)."""

    norm2: tuple[Tensor, Tensor]
    """Weight and bias, (D,) each."""

    eps: float
    """Of both norms."""


def end(weights: Ending, residual: Tensor, found: Tensor, *, products: str) -> Tensor:
    """Finish a block of a transformer.

    Parameters
    ----------
    weights
        Of the block.
    residual
        (R, D), contiguous; M is a multiple of R, and row r is of rows r M / R to (r + 1) M / R.
    found
        What attention found, (M, K), contiguous.
    products
        How float32 is multiplied: ``"ieee"`` or ``"tf32"``.

    Returns
    -------
    Tensor
        (M, D), contiguous.
    """
    rows, width = len(found), residual.shape[1]
    first, rest = pieces(width)
    blocks = BLOCKS[found.element_size()]
    out = torch.empty((rows, width), device=found.device, dtype=found.dtype)
    with torch.cuda.device_of(found):  # Triton launches on the device that is current
        _end[(triton.cdiv(rows, blocks.rows),)](
            residual, found, weights.into, *weights.norm1, weights.wide, weights.wide_bias,
            weights.narrow, *weights.norm2, out, rows, rows // len(residual),
            EPS=weights.eps, K=found.shape[1], D=width, F=weights.wide.shape[1], FIRST=first,
            REST=rest, BLOCK=blocks.rows, SLICE=blocks.slice, HOW=how(products, found),
            num_warps=blocks.warps, num_stages=blocks.stages,
        )  # fmt: skip
    return out


def pieces(width: int) -> tuple[int, int]:
    """Return the two powers of two, 16 at least, that hold the channels of a row.

    Examples
    --------
    >>> pieces(136), pieces(24), pieces(7)
    ((128, 16), (16, 16), (16, 16))
    """
    first = max(1 << (width.bit_length() - 1), 16)
    return first, max(triton.next_power_of_2(width - first), 16)


@triton.jit(do_not_specialize=["rows", "repeat"])
def _end(
    residual, found, into, norm1, shift1, wide, wide_bias, narrow, norm2, shift2, out, rows, repeat,
    EPS: tl.constexpr, K: tl.constexpr, D: tl.constexpr, F: tl.constexpr, FIRST: tl.constexpr,
    REST: tl.constexpr, BLOCK: tl.constexpr, SLICE: tl.constexpr, HOW: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    a = tl.arange(0, FIRST)[None, :]
    b = FIRST + tl.arange(0, REST)[None, :]
    here = (row < rows)[:, None]
    row = row[:, None]
    start = residual + row // repeat * D
    x_a = tl.load(start + a, mask=here & (a < D), other=0.0).to(tl.float32)
    x_b = tl.load(start + b, mask=here & (b < D), other=0.0).to(tl.float32)
    for k in range(0, K, SLICE):
        c = k + tl.arange(0, SLICE)
        part = tl.load(found + row * K + c[None, :], mask=here & (c < K)[None, :], other=0.0)
        w = into + c[:, None] * D
        in_k = (c < K)[:, None]
        w_a = tl.load(w + a, mask=in_k & (a < D), other=0.0)
        w_b = tl.load(w + b, mask=in_k & (b < D), other=0.0)
        x_a = dot(part, w_a, x_a, HOW)
        x_b = dot(part, w_b, x_b, HOW)
    y_a, y_b = _norm(x_a, x_b, norm1, shift1, a, b, D, EPS)
    kind: tl.constexpr = wide.dtype.element_ty
    given_a, given_b = y_a.to(kind), y_b.to(kind)
    a_down, b_down = tl.arange(0, FIRST)[:, None], FIRST + tl.arange(0, REST)[:, None]
    for f in range(0, F, SLICE):
        c = f + tl.arange(0, SLICE)
        across, down = c[None, :] < F, c[:, None] < F
        w_a = tl.load(wide + a_down * F + c[None, :], mask=across & (a_down < D), other=0.0)
        w_b = tl.load(wide + b_down * F + c[None, :], mask=across & (b_down < D), other=0.0)
        hidden = dot(given_a, w_a, tl.zeros((BLOCK, SLICE), tl.float32), HOW)
        hidden = dot(given_b, w_b, hidden, HOW)
        hidden += tl.load(wide_bias + c, mask=c < F, other=0.0).to(tl.float32)[None, :]
        hidden = tl.maximum(hidden, 0.0).to(kind)
        v = narrow + c[:, None] * D
        v_a = tl.load(v + a, mask=down & (a < D), other=0.0)
        v_b = tl.load(v + b, mask=down & (b < D), other=0.0)
        y_a = dot(hidden, v_a, y_a, HOW)
        y_b = dot(hidden, v_b, y_b, HOW)
    z_a, z_b = _norm(y_a, y_b, norm2, shift2, a, b, D, EPS)
    end = out + row * D
    tl.store(end + a, z_a.to(out.dtype.element_ty), mask=here & (a < D))
    tl.store(end + b, z_b.to(out.dtype.element_ty), mask=here & (b < D))


@triton.jit
def _norm(x_a, x_b, weight, shift, a, b, D: tl.constexpr, EPS: tl.constexpr):
    """Normalise rows in two pieces; zeros beyond the width stay zero."""
    mean = ((tl.sum(x_a, 1) + tl.sum(x_b, 1)) / D)[:, None]
    x_a = tl.where(a < D, x_a - mean, 0.0)
    x_b = tl.where(b < D, x_b - mean, 0.0)
    spread = (tl.sum(x_a * x_a, 1) + tl.sum(x_b * x_b, 1)) / D
    scale = (1.0 / tl.sqrt(spread + EPS))[:, None]
    w_a = tl.load(weight + a, mask=a < D, other=0.0).to(tl.float32)
    w_b = tl.load(weight + b, mask=b < D, other=0.0).to(tl.float32)
    s_a = tl.load(shift + a, mask=a < D, other=0.0).to(tl.float32)
    s_b = tl.load(shift + b, mask=b < D, other=0.0).to(tl.float32)
    return x_a * scale * w_a + s_a, x_b * scale * w_b + s_b

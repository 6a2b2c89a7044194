"""A product inside a kernel, and what differs where there is no GPU.

Triton 3.7's interpreter multiplies the bits of bfloat16 as integers. There, both sides are widened
to float32 first: products of two bfloat16 are exact in it, as on a GPU, and so are the sums' type.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor


def interpreted() -> bool:
    """Tell whether kernels run in Python on the CPU: ``TRITON_INTERPRET=1``."""
    return bool(triton.knobs.runtime.interpret)


def how(products: str, operand: Tensor) -> str:
    """Return the `HOW` of `dot` for operands as this one; float32 as `products` says."""
    return "widened" if interpreted() and operand.element_size() == 2 else products


@triton.jit
def dot(a, b, total, HOW: tl.constexpr):
    """Return ``total + a @ b``, summed in float32."""
    if HOW == "widened":
        return tl.dot(a.to(tl.float32), b.to(tl.float32), total, input_precision="ieee")
    return tl.dot(a, b, total, input_precision=HOW)

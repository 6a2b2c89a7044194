"""A matrix product, its bias and what rectifies it, in one pass over what is written.

PyTorch adds a bias by writing it first, and rectifies in a pass of its own; oneDNN, which comes
with PyTorch, does both as it writes the product. The operator is the one that ``torch.compile``
takes on CPUs. Numbers are the same to the bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tamrf_xr.model.convolve import Placement


class Affine:
    """``x @ weight + bias``, on request rectified.

    Parameters
    ----------
    weight
        (C, C').
    bias
        (C',).
    placement
        Device and type.
    rectified
        Whether what is below zero becomes zero.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, placement: Placement, *, rectified: bool = False
    ) -> None:
        self.rectified, self.bias = rectified, placement.weights(bias)
        self.weight = placement.weights(weight)
        self.rows = placement.weights(weight.t()).contiguous() if _in_one(placement) else None

    def __call__(self, x: Tensor) -> Tensor:
        """Map (M, C) to (M, C')."""
        if self.rows is not None:
            then = "relu" if self.rectified else "none"
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.rows, self.bias, then, [], "")
            return y
        y = torch.addmm(self.bias, x, self.weight)
        return y.relu_() if self.rectified else y


def _in_one(placement: Placement) -> bool:
    exact = placement.device.type == "cpu" and placement.dtype == torch.float32
    there = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return exact and there and hasattr(torch.ops.mkldnn, "_linear_pointwise")

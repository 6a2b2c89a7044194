"""The stages of the fast path on the kernels of `tamrf_xr.model.kernels`: needs Triton.

A dense block has one plane of all its channels: each stage reads the first of them and writes the
next, so that nothing is copied between stages, and the first channels of a plane are written by
the block before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tamrf_xr.model import attend
from tamrf_xr.model.convolve import Placement, parts, upsample
from tamrf_xr.model.encoders import SLOPE
from tamrf_xr.model.kernels.convolution import Filters, convolve
from tamrf_xr.model.kernels.ending import Ending, end
from tamrf_xr.model.network import DenseBlock, ResidualBlock, SpatialEncoder


class FusedEncoder:
    """As `tamrf_xr.model.convolve.FastEncoder`.

    Parameters
    ----------
    encoder
        Of the network.
    placement
        Device and type.
    products
        How float32 is multiplied: ``"ieee"`` or ``"tf32"``.
    """

    def __init__(self, encoder: SpatialEncoder, placement: Placement, products: str) -> None:
        self.placement, self.products, self.ratio = placement, products, encoder.ratio
        self.latent = encoder.first.out_channels
        self.first, self.last = (_filters(c, placement) for c in (encoder.first, encoder.last))
        self.up = None if encoder.up is None else _filters(encoder.up, placement, slope=SLOPE)
        blocks = [cast("ResidualBlock", block) for block in encoder.blocks]
        self.blocks = [_Residual(block, placement, products) for block in blocks]
        self.wide = self.blocks[0].dense[0].wide if blocks else self.latent
        self.count = min(2 + len(blocks), 4) if blocks else 1

    def __call__(self, x: Tensor, row: int = 0) -> Tensor:  # noqa: ARG002  (rows are not grouped)
        """Encode standardised (T, C, h, w) into features (T, ratio h, ratio w, L)."""
        T, _, h, w = x.shape
        place = self.placement
        out = self._empty(T, h * self.ratio, w * self.ratio, self.latent)
        batch = self.images_at_once(h, w)
        planes = [self._empty(min(T, batch), h, w, self.wide) for _ in range(self.count)]
        for part in parts(T, batch):
            images_NhwC = x[part].to(place.device).permute(0, 2, 3, 1)
            mine = [plane[: len(images_NhwC)] for plane in planes]
            if self.up is None:
                self._encode(images_NhwC, mine, out[part])
                continue
            coarse = self._empty(len(images_NhwC), h, w, self.latent)
            self._encode(images_NhwC, mine, coarse)
            fine = upsample(upsample(coarse, self.ratio, dim=1), self.ratio, dim=2)
            convolve(self.up, fine, out[part], products=self.products)
        return out

    def images_at_once(self, height: int, width: int) -> int:
        """Return how many images (h, w) go through together."""
        return self.placement.images_at_once(height, width, self.count * self.wide)

    def _encode(self, images: Tensor, planes: Sequence[Tensor], out: Tensor) -> None:
        first = planes[0][..., : self.latent]
        convolve(self.first, images, first, products=self.products)
        y = planes[0]
        for block in self.blocks:
            y = block(y, [plane for plane in planes[1:] if plane is not y])
        convolve(self.last, y[..., : self.latent], out, (first, 1.0), products=self.products)

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, device=self.placement.device, dtype=self.placement.dtype)


class _Residual:
    """Three dense blocks, and the scaled residual around them."""

    def __init__(self, block: ResidualBlock, placement: Placement, products: str) -> None:
        self.scale = float(block.scale.detach())
        dense = [cast("DenseBlock", each) for each in block.dense]
        self.dense = [_Dense(each, placement, products) for each in dense]

    def __call__(self, x: Tensor, spare: Sequence[Tensor]) -> Tensor:
        """Map a plane, of which the first channels count, to the first of two spare ones."""
        one, two = spare[:2]
        self.dense[0](x, one)
        self.dense[1](one, two)
        self.dense[2](two, one, (x[..., : self.dense[0].latent], self.scale))
        return one


class _Dense:
    """A dense block in a plane of all its channels."""

    def __init__(self, block: DenseBlock, placement: Placement, products: str) -> None:
        self.products, self.scale = products, float(block.scale.detach())
        convs = [cast("nn.Conv2d", conv) for conv in block.convs]
        self.filters = [_filters(conv, placement, slope=SLOPE) for conv in convs]
        self.widths = [conv.in_channels for conv in convs]
        self.latent, self.wide = self.widths[0], self.widths[-1]

    def __call__(self, x: Tensor, out: Tensor, *around: tuple[Tensor, float]) -> None:
        """Write to the first channels of `out`, from those of `x`, whose others are filled."""
        for filters, a, b in zip(self.filters, self.widths, self.widths[1:], strict=False):
            convolve(filters, x[..., :a], x[..., a:b], products=self.products)
        inside = x[..., : self.latent], self.scale
        target = out[..., : self.latent]
        convolve(self.filters[-1], x, target, inside, *around, products=self.products)


class FusedDecoder:
    """As `tamrf_xr.model.convolve.FastDecoder`."""

    def __init__(
        self,
        convs: tuple[nn.Conv2d, nn.Conv2d],
        scaling: tuple[Tensor, Tensor],
        placement: Placement,
        products: str,
    ) -> None:
        self.placement, self.products = placement, products
        self.hidden = _filters(convs[0], placement, slope=SLOPE)
        self.weight, bias = placement.weights(convs[1].weight), _bias(convs[1])
        std, mean = scaling
        self.std, self.bias = (part.to(placement.device) for part in (std, bias * std + mean))

    def __call__(self, attended: Tensor, out: Tensor, channels: Tensor | None) -> None:
        """Decode (Q, H, W, D) into `out` (Q, C, H, W), or its channels of these indices."""
        at = slice(None) if channels is None else channels
        bands = Filters.of(self.weight[at], self.bias[at], gain=self.std[at])
        for part in parts(attended.shape[0], self.placement.batch):
            hidden = torch.empty_like(attended[part], memory_format=torch.contiguous_format)
            convolve(self.hidden, attended[part], hidden, products=self.products)
            convolve(bands, hidden, out[part].permute(0, 2, 3, 1), products=self.products)


def fused_ending(ending: attend.Ending, products: str) -> attend.Finish:
    """Return what does the same as `ending`, in one kernel."""
    weights = Ending(
        ending.out.contiguous(), ending.norm1, ending.wide.weight.contiguous(),
        ending.wide.bias, ending.narrow.contiguous(), ending.norm2, attend.EPS,
    )  # fmt: skip

    def finish(x: Tensor, found: Tensor) -> Tensor:
        return end(weights, x, found, products=products)

    return finish


def _filters(conv: nn.Conv2d, placement: Placement, *, slope: float | None = None) -> Filters:
    bias = _bias(conv).to(placement.device)
    return Filters.of(placement.weights(conv.weight), bias, slope=slope)


def _bias(conv: nn.Conv2d) -> Tensor:
    return torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach().float()

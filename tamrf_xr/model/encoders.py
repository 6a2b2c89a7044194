"""Encoders of single dates other than dense residual blocks: ``NetworkConfig.encoder``.

Each turns the bands of one date into L features on its own grid, then, for the coarse sensor, is
upsampled as the published one is. ``first`` takes the bands, ``blocks`` are as many as the
configuration says. None pools: what a pixel becomes must not hang on where a tile begins.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamrf_xr.model.config import NetworkConfig

SLOPE: Final = 0.2
"""Of every LeakyReLU of the network."""


def conv(inputs: int, outputs: int, *, size: int = 3, dilation: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps the size of an image: beyond it are zeros."""
    padding = dilation * (size // 2)
    return nn.Conv2d(inputs, outputs, size, padding=padding, dilation=dilation)


class DateEncoder(nn.Module, ABC):
    """Bands of single dates to features; what is between is of the kinds below."""

    up: nn.Conv2d | None

    size = 3
    """Pixels across what the first convolution sees."""

    def __init__(self, config: NetworkConfig, bands: int, *, blocks: int, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.first = conv(bands, config.latent, size=self.size)
        self.up = conv(config.latent, config.latent) if ratio > 1 else None
        self.build(config.latent, blocks)

    def build(self, latent: int, blocks: int) -> None:
        """Add what lies between; nothing, unless a kind says so."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Return what one date is on its own grid, (X, L, h, w), of bands (X, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Encode (X, C, h, w) into (X, L, ratio h, ratio w)."""
        y = self.features(x)
        if self.up is None:
            return y
        scale = float(self.ratio)
        fine = functional.interpolate(y, scale_factor=scale, mode="bicubic", align_corners=False)
        return functional.leaky_relu(self.up(fine), SLOPE)


class Linear(DateEncoder):
    """Each feature is a weighted sum of the bands of the pixel."""

    size = 1

    def features(self, x: Tensor) -> Tensor:
        """Map (X, C, h, w) to (X, L, h, w)."""
        y: Tensor = self.first(x)
        return y


class Mlp(DateEncoder):
    """A perceptron of the bands of the pixel, with as many hidden layers as blocks."""

    size = 1

    def build(self, latent: int, blocks: int) -> None:
        """Add the hidden layers."""
        self.blocks = nn.ModuleList(conv(latent, latent, size=1) for _ in range(blocks))

    def features(self, x: Tensor) -> Tensor:
        """Map (X, C, h, w) to (X, L, h, w)."""
        y: Tensor = self.first(x)
        for block in self.blocks:
            y = block(functional.leaky_relu(y, SLOPE))
        return y


class Unet(DateEncoder):
    """Ever wider views and back, what was seen on the way joined again.

    Ronneberger et al., "U-Net", 2015, doi 10.1007/978-3-319-24574-4_28, without its pooling: a
    convolution of level i takes every 2**i-th pixel instead, so that no grid is laid over the tile.
    """

    def build(self, latent: int, blocks: int) -> None:
        """Add the levels."""
        levels, back = range(blocks), range(max(blocks - 1, 0))
        self.blocks = nn.ModuleList(conv(latent, latent, dilation=2**level) for level in levels)
        self.joins = nn.ModuleList(conv(2 * latent, latent, dilation=2**level) for level in back)

    def features(self, x: Tensor) -> Tensor:
        """Map (X, C, h, w) to (X, L, h, w)."""
        y: Tensor = self.first(x)
        seen = []
        for block in self.blocks:
            y = functional.leaky_relu(block(y), SLOPE)
            seen.append(y)
        for join, near in zip(reversed(self.joins), reversed(seen[:-1]), strict=True):
            y = functional.leaky_relu(join(torch.cat([near, y], dim=1)), SLOPE)
        return y


class Carn(DateEncoder):
    """Cascades of residual blocks: each step sees all steps before it, through 1 x 1 convolutions.

    Ahn et al., "Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network",
    2018, doi 10.1007/978-3-030-01249-6_16, without its upsampling.
    """

    def build(self, latent: int, blocks: int) -> None:
        """Add the outer cascade."""
        self.blocks = nn.ModuleList(Cascade(latent) for _ in range(blocks))
        self.joins = joins_of(latent, blocks)

    def features(self, x: Tensor) -> Tensor:
        """Map (X, C, h, w) to (X, L, h, w)."""
        return cascaded(self.first(x), self.blocks, self.joins)


class Cascade(nn.Module):
    """Three residual blocks of two convolutions, cascaded."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(Residual(latent) for _ in range(3))
        self.joins = joins_of(latent, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (X, L, h, w) to (X, L, h, w)."""
        return cascaded(x, self.steps, self.joins)


class Residual(nn.Module):
    """Two convolutions, and what they were given."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.one, self.two = conv(latent, latent), conv(latent, latent)

    def forward(self, x: Tensor) -> Tensor:
        """Map (X, L, h, w) to (X, L, h, w)."""
        return functional.relu(x + self.two(functional.relu(self.one(x))))


def joins_of(latent: int, steps: int) -> nn.ModuleList:
    """Return the 1 x 1 convolutions after each step of a cascade: of all that there is by then."""
    return nn.ModuleList(conv((place + 2) * latent, latent, size=1) for place in range(steps))


def cascaded(x: Tensor, steps: nn.ModuleList, joins: nn.ModuleList) -> Tensor:
    """Let each step see its predecessors' outputs, joined."""
    parts, y = [x], x
    for step, join in zip(steps, joins, strict=True):
        parts.append(step(y))
        y = functional.relu(join(torch.cat(parts, dim=1)))
    return y


KINDS: Final[dict[str, type[DateEncoder]]] = {
    "linear": Linear,
    "mlp": Mlp,
    "unet": Unet,
    "carn": Carn,
}
"""By ``NetworkConfig.encoder``; ``"esrgan"`` is `tamrf_xr.model.network.SpatialEncoder`."""

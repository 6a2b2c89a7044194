"""DSTFN: one network sharpens Sentinel-2's 20 m bands, another fuses images of two days.

Written from the paper's description; where it leaves a choice, the simplest is taken: attention
over channels, then over places; inputs that are upsampled join after one block of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, cat, nn
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, interpolate, relu

SQUEEZE = 16
"""Channels of the features for one of the hidden layer of channel attention."""

SHARP, COARSE, FUSED, PANCHROMATIC = 3, 3, 6, 1
"""Bands of Sentinel-2 at 10 m and 20 m, of either sensor in the fusion, and the sharp one."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is free in the two networks."""

    width: int
    """Channels of features."""

    growth: int
    """Channels that a dense convolution adds."""

    layers: int
    """Dense convolutions of a block."""

    blocks: int
    """Blocks of the sharpening network, and of the fusing one after its inputs are joined."""

    @property
    def block_reach(self) -> int:
        """Pixels on either side that count for a block, attention over channels apart."""
        return self.layers + 1

    @property
    def reach(self) -> tuple[int, int]:
        """Pixels on either side, without interpolation: at 10 m, and coarser before that."""
        one = self.block_reach
        sharpening, fusing = 2 + self.blocks * one, 1 + self.blocks * one
        return sharpening + 1 + one + fusing, 1 + one


def sizes_of(shapes: Sequence[tuple[int, ...]]) -> Sizes:
    """Read sizes off the shapes of all parameters in order; ValueError where they do not fit."""
    if len(shapes) < 2 or any(len(shape) != 4 for shape in shapes):
        raise ValueError("not every array is a convolution without bias")
    width, growth = shapes[0][0], shapes[1][0]
    layers = 0
    while shapes[1 + layers] == (growth, width + layers * growth, 3, 3):
        layers += 1
    block = layers + 5
    twice, left = divmod(len(shapes) - 7 - 3 * block, block)
    if layers == 0 or left or twice < 2 or twice % 2:
        raise ValueError(f"{len(shapes)} arrays do not divide into blocks of {block}")
    return Sizes(width, growth, layers, twice // 2)


def _conv(inputs: int, outputs: int, kernel: int = 3, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)


class Block(nn.Module):
    """Residual dense block with attention."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, growth = sizes.width, sizes.growth
        self.dense = nn.ModuleList(_conv(width + i * growth, growth) for i in range(sizes.layers))
        self.join = _conv(width + sizes.layers * growth, width, 1)
        hidden = max(width // SQUEEZE, 1)
        self.channels = nn.Sequential(_conv(width, hidden, 1), nn.ReLU(), _conv(hidden, width, 1))
        self.places = nn.Sequential(_conv(width, width, groups=width), _conv(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, Y, X) to the same."""
        stacked = x
        for convolve in self.dense:
            stacked = cat([stacked, relu(convolve(stacked))], 1)
        made = self.join(stacked)
        pooled = adaptive_avg_pool2d(made, 1), adaptive_max_pool2d(made, 1)
        made = made * (self.channels(pooled[0]) + self.channels(pooled[1])).sigmoid()
        result: Tensor = x + made * self.places(made).sigmoid()
        return result


class Sharpening(nn.Module):
    """Sentinel-2's bands of 20 m at 10 m."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.head = _conv(SHARP + COARSE, sizes.width)
        self.blocks = nn.Sequential(*(Block(sizes) for _ in range(sizes.blocks)))
        self.tail = _conv(sizes.width, COARSE)

    def forward(self, sharp: Tensor, coarse: Tensor) -> Tensor:
        """Map (N, SHARP, Y, X) and (N, COARSE, Y, X), brought to 10 m, to the latter."""
        made: Tensor = self.tail(self.blocks(self.head(cat([sharp, coarse], 1))))
        return made


class Stream(nn.Sequential):
    """First features of one input, at its own resolution."""

    def __init__(self, bands: int, sizes: Sizes) -> None:
        super().__init__(_conv(bands, sizes.width), Block(sizes))


class Fusing(nn.Module):
    """Sentinel-2 of another day, Landsat and its panchromatic band of this one."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.fine = Stream(FUSED, sizes)
        self.coarse = Stream(FUSED, sizes)
        self.panchromatic = Stream(PANCHROMATIC, sizes)
        self.join = _conv(3 * sizes.width, sizes.width, 1)
        self.blocks = nn.Sequential(*(Block(sizes) for _ in range(sizes.blocks)))
        self.tail = _conv(sizes.width, FUSED)

    def forward(self, fine: Tensor, coarse: Tensor, sharp: Tensor) -> Tensor:
        """Map (N, FUSED, Y, X), a third and two thirds as many pixels, to the first."""
        size = fine.shape[-2:]
        parts = [self.fine(fine)]
        for stream, image in ((self.coarse, coarse), (self.panchromatic, sharp)):
            parts.append(interpolate(stream(image), size=size, mode="bicubic"))
        made: Tensor = self.tail(self.blocks(self.join(cat(parts, 1))))
        return made


class Dstfn(nn.Module):
    """Both networks.

    References
    ----------
    Wu, Lin, Li, Cheng, Zhang & Shen, "Fusing Landsat 8 and Sentinel-2 data for 10-m dense
    time-series imagery using a degradation-term constrained deep network", JAG 2022,
    10.1016/j.jag.2022.102738.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.sharpening = Sharpening(sizes)
        self.fusing = Fusing(sizes)

    def forward(self, fine: Tensor, coarse: Tensor, sharp: Tensor) -> Tensor:
        """Map Sentinel-2 (three sharp bands, then three of 20 m), Landsat, panchromatic."""
        detailed = self.sharpening(fine[:, :SHARP], fine[:, SHARP:])
        made: Tensor = self.fusing(cat([fine[:, :SHARP], detailed], 1), coarse, sharp)
        return made

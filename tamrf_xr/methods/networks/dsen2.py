"""DSen2, a residual network that sharpens bands of 20 m by bands of 10 m.

Shapes: N images, F sharp bands, C bands to sharpen, Y X pixels.
"""

from __future__ import annotations

from torch import Tensor, cat, nn

WIDTH, BLOCKS = 128, 6
RESIDUAL_SCALE = 0.1
REACH = 2 * BLOCKS + 2
"""Pixels that count on either side: 3 x 3 convolutions, two a block, one before, one after."""


class Block(nn.Module):
    """Two convolutions whose result is scaled down and added."""

    def __init__(self) -> None:
        super().__init__()
        self.first = _conv(WIDTH, WIDTH)
        self.second = _conv(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, WIDTH, Y, X) to the same."""
        added: Tensor = x + RESIDUAL_SCALE * self.second(self.first(x).relu())
        return added


class DSen2(nn.Module):
    """Adds detail to bands that were brought to 10 m.

    References
    ----------
    Lanaras, Bioucas-Dias, Galliani, Baltsavias & Schindler, "Super-resolution of Sentinel-2
    images: Learning a globally applicable deep neural network", ISPRS Journal 2018,
    arXiv:1803.04271, figure 4.
    """

    def __init__(self, sharp: int = 4, coarse: int = 6) -> None:
        super().__init__()
        self.head = _conv(sharp + coarse, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.tail = _conv(WIDTH, coarse)

    def forward(self, sharp: Tensor, coarse: Tensor) -> Tensor:
        """Map (N, F, Y, X) and (N, C, Y, X) to the latter, sharpened."""
        features = self.head(cat([sharp, coarse], 1)).relu()
        sharpened: Tensor = coarse + self.tail(self.blocks(features))
        return sharpened


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)

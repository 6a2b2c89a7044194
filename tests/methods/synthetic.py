"""Weights made up in the shapes that authors publish, written as they write them."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn


def drawn(
    network: nn.Module, *, seed: int = 0, gain: float = 1.0
) -> OrderedDict[str, torch.Tensor]:
    """A state dict that neither explodes nor dies out."""
    generator = torch.Generator().manual_seed(seed)
    state = OrderedDict()
    for name, like in network.state_dict().items():
        fan = max(like[0].numel() if like.dim() > 1 else 25, 1)
        state[name] = gain * torch.randn(like.shape, generator=generator) / fan**0.5
    return state


def write_torchscript_constants(path: Path, tensors: list[torch.Tensor]) -> Path:
    """What TorchScript leaves of a frozen network: constants, and modules without weights."""
    beside = path.with_suffix(".saved")
    torch.save(tuple(tensors), beside)
    torch.save({}, path)
    with zipfile.ZipFile(beside) as saved, zipfile.ZipFile(path, "a") as archive:
        for name in saved.namelist():
            _, _, rest = name.partition("/")
            if rest.startswith("data"):
                archive.writestr(
                    f"{path.stem}/constants{rest.removeprefix('data')}", saved.read(name)
                )
    return path

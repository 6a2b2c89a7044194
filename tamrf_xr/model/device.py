"""Where networks compute; torch is loaded when a device is asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tamrf_xr.errors import OptionError

if TYPE_CHECKING:
    import torch

DEVICE: Final = re.compile(r"auto|cpu|mps|xpu|cuda(:\d{1,3})?", re.ASCII)
"""Devices that may be asked."""


def resolve_device(name: str, *, here: bool = True) -> torch.device:
    """Return the device asked, or for ``"auto"`` a GPU where there is one.

    Parameters
    ----------
    name
        As users write it.
    here
        Whether this machine computes: what workers elsewhere have cannot be known.

    Returns
    -------
    torch.device
        One that is there, if `here`.

    Raises
    ------
    OptionError
        If it is none, or is not there.

    Examples
    --------
    >>> resolve_device("cpu"), resolve_device("cuda:1", here=False)
    (device(type='cpu'), device(type='cuda', index=1))
    """
    if not DEVICE.fullmatch(str(name)):
        raise OptionError(
            f"device must be auto, cpu, cuda or cuda:N (such as cuda:1), got {name!r}"
        )
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    try:
        if here:
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the second: torch without CUDA
        raise OptionError(
            f"device is {name!r}, which is not there ({str(error).splitlines()[0]}); "
            "expected auto, cpu, cuda or cuda:N"
        ) from error
    return device


def use_cores(count: int) -> None:
    """Let PyTorch use so many cores in this process, which shares the machine with others."""
    import torch

    torch.set_num_threads(count)


def upload(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Bring a tensor to a device without waiting for what is computed there."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)  # plain memory would wait
    return tensor.to(device)

"""Where to compute: what users ask for, told apart from what is there."""

from __future__ import annotations

import os
import re
from typing import Final

import torch

from tamrf_xr.errors import OptionError

DEVICE: Final = re.compile(r"auto|cpu|mps|xpu|cuda(:\d{1,3})?", re.ASCII)
"""Devices that may be asked."""


def find_device(asked: str) -> str:
    """Return the device asked, or for ``"auto"`` a GPU where there is one.

    Raises
    ------
    OptionError
        If it is none; whether it is there is not looked at.

    Examples
    --------
    >>> find_device("cuda:1")
    'cuda:1'
    """
    if not DEVICE.fullmatch(str(asked)):
        raise OptionError(
            f"device must be auto, cpu, cuda or cuda:N (such as cuda:1), got {asked!r}"
        )
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(asked: str, *, here: bool) -> None:
    """Refuse a device that is none, or is not there.

    Parameters
    ----------
    asked
        As users write it.
    here
        Whether this machine computes: what workers elsewhere have cannot be known.

    Raises
    ------
    OptionError
        Naming it.
    """
    if asked == "auto":
        return
    try:
        device = torch.device(asked)
        if here:
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:  # the second: torch without CUDA
        raise OptionError(
            f"device is {asked!r}, which is not there ({str(error).splitlines()[0]}); "
            "expected auto, cpu, cuda or cuda:N"
        ) from error


def own_device(asked: str) -> torch.device:
    """Return the device of this process: with torchrun, each one has a GPU of its own.

    Raises
    ------
    OptionError
        If it is none, or is not there.

    Examples
    --------
    >>> own_device("cpu")
    device(type='cpu')
    """
    check_device(asked, here=True)
    found = find_device(asked)
    if found == "cuda":
        found = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        check_device(found, here=True)
    return torch.device(found)

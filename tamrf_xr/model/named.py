"""Weights that have a name rather than a path: those that ship, and the authors'."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Final

DEFAULT: Final = "default"
"""The weights that ship; their model card lies beside them."""

PUBLISHED: Final = "published"
"""The network of the authors, fetched when first asked for."""

SHIPPED: Final = "weights/default.safetensors"


def named_weights(source: str | os.PathLike[str]) -> Path | None:
    """Return the file of weights by their name; None where `source` is no such name.

    Raises
    ------
    DownloadError
        If the published network is not there, and cannot be fetched.
    """
    if source == DEFAULT:
        return Path(str(files("tamrf_xr"))) / SHIPPED
    if source == PUBLISHED:
        from tamrf_xr.model.authors import published_weights

        return published_weights()
    return None

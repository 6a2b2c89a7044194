"""Where the shared oracle values lie; tests that need them skip where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared"


def shared(relative: str) -> Path:
    """Return a path inside the shared folder (`TAMRF_SHARED`, or `shared/` beside the checkout)."""
    path = Path(os.environ.get("TAMRF_SHARED", _BESIDE_THE_CHECKOUT)) / relative
    if not path.exists():
        pytest.skip(f"oracle file {path} is absent; set TAMRF_SHARED to the shared folder")
    return path

"""Where real data and published values lie that are not in the repository."""

from __future__ import annotations

import os
from pathlib import Path

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared"


def shared(relative: str) -> Path:
    """Return a path inside the shared folder (`TAMRF_SHARED`, or `shared/` beside the checkout).

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    path = Path(os.environ.get("TAMRF_SHARED", _BESIDE_THE_CHECKOUT)) / relative
    if not path.exists():
        raise FileNotFoundError(f"{path} is absent; set TAMRF_SHARED to the shared folder")
    return path

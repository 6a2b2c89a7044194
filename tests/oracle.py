"""Where the shared oracle values lie; tests that need them skip where they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies import shared as folder


def shared(relative: str) -> Path:
    """Return a path inside the shared folder, or skip the test."""
    try:
        return folder.shared(relative)
    except FileNotFoundError as error:
        pytest.skip(str(error))

"""Bring the acquisitions of a cube onto each other: find their shifts, correct them, once.

`shifts` compares each acquisition with the medians of the others, block by block, and tells what it
found; `coregister` corrects by that.
"""

from __future__ import annotations

from tamrf_xr.coregistration.applying import coregister
from tamrf_xr.coregistration.finding import shifts
from tamrf_xr.coregistration.table import as_frame

__all__ = ["as_frame", "coregister", "shifts"]

"""What a product says of its deviations: how wide intervals of them are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tamrf_xr.errors import ModelError

if TYPE_CHECKING:
    from tamrf_xr.model.uncertainty import ErrorHead

HalfWidths = tuple[tuple[float, tuple[tuple[str, tuple[float, ...]], ...]], ...]
"""See `tamrf_xr.fuser.FuserSpec.half_widths`."""


def half_widths(head: ErrorHead | None, channels: Mapping[str, Sequence[int]]) -> HalfWidths:
    """Return half the width of intervals of each coverage, in deviations of each band.

    Parameters
    ----------
    head
        Of the weights.
    channels
        Per sensor, its bands among those of the head.

    Raises
    ------
    ModelError
        If the weights have no head.
    """
    from tamrf_xr.model.uncertainty import COVERAGES

    if head is None:
        raise ModelError(
            "these weights do not tell how uncertain they are; fit that on cubes with python -m "
            "tamrf_xr.training.uncertainty WEIGHTS CUBES... OUT, or leave uncertainty out"
        )
    rows = zip(COVERAGES, head.half_widths.tolist(), strict=True)
    return tuple(
        (share, tuple((sensor, tuple(row[c] for c in own)) for sensor, own in channels.items()))
        for share, row in rows
    )

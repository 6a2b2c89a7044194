"""Attend and decode by strips of rows: attended, a whole tile would not fit the memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tamrf_xr.model import footprint

if TYPE_CHECKING:
    from tamrf_xr.model.engine import Engine

Fill = Callable[[int, Tensor], object]
"""Called with the first row of a strip and a tensor (Q, rows, W, D) to fill."""


def by_strips(
    engine: Engine,
    attend: Fill,
    tell: Fill,
    size: tuple[int, int, int],
    *,
    channels: Sequence[int] | None = None,
) -> Tensor:
    """Decode what is attended strip by strip; each row is attended once.

    Parameters
    ----------
    engine
        Decodes.
    attend
        Fills rows of the image.
    tell
        Fills what heads tell of rows that are attended to (`tamrf_xr.model.levels`): again where
        strips overlap, as what it tells of a row follows from the next one, too.
    size
        Q query dates, H and W pixels.
    channels
        As for `Engine.decode`.

    Returns
    -------
    Tensor
        As of `Engine.decode`, (Q, channels, H, W).
    """
    queries, H, W = size
    config, margin = engine.config, engine.reach(channels)
    index = engine.channels(channels)
    count = config.bands if index is None else len(index)
    out = torch.empty((queries, count, H, W), device=engine.device)
    rows = footprint.strip_rows(config, W, queries, itemsize=engine.dtype.itemsize)
    shape = (queries, min(rows + 2 * margin, H), W, engine.attended)
    attended = torch.empty(shape, device=engine.device, dtype=engine.dtype)
    filled = low = 0  # rows [low, filled) of the image are in `attended`
    for a in range(0, H, rows):
        b, top = min(a + rows, H), max(a - margin, 0)
        high = min(b + margin, H)
        attended[:, : filled - top] = attended[:, top - low : filled - low].clone()
        attend(filled, attended[:, filled - top : high - top])
        low, filled = top, high
        tell(top, attended[:, : high - top])
        bands = out.new_empty((queries, count, high - low, W))
        engine.drawing(attended[:, : high - low], bands, index)
        out[:, :, a:b] = bands[:, :, a - low : b - low]
    return out

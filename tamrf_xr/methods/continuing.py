"""A scene that goes on beyond its border: mirrored at the outermost edge of its footprint.

Both sensors share that edge, so what is mirrored of one lies on what is mirrored of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Beyond = tuple[tuple[int, int], tuple[int, int]]
"""Pixels of a sensor before and after its array, (y, x)."""


def lacking(core: Sequence[slice], size: Sequence[int], *, halo: int, ratio: int) -> Beyond:
    """Return the pixels of the halo that an array lacks: at the border of the scene, else none.

    Parameters
    ----------
    core
        The pixels to make, (y, x), in fine pixels from the corner of the array.
    size
        Of the array, (y, x), in its own pixels.
    halo
        Its own pixels that are needed around the core.
    ratio
        Fine pixels across one of its own.

    Examples
    --------
    >>> lacking((slice(0, 30), slice(30, 60)), (20, 30), halo=4, ratio=3)
    ((4, 0), (0, 0))
    """
    y, x = (
        (max(halo - part.start // ratio, 0), max(halo - (n + -part.stop // ratio), 0))
        for part, n in zip(core, size, strict=True)
    )
    return y, x


def moved(wanted: slice, before: int) -> slice:
    """Move a slice to an array continued by so many pixels, and cut what lies before it still."""
    return slice(max(wanted.start + before, 0), wanted.stop + before)


def continued(pixels: Tensor, beyond: Beyond) -> Tensor:
    """Mirror (date, band, y, x) at its outermost edges, by so many pixels on each side."""
    import torch

    for axis, (before, after) in zip((2, 3), beyond, strict=True):
        if before or after:
            size = pixels.shape[axis]
            at = torch.arange(-before, size + after, device=pixels.device) % (2 * size)
            pixels = pixels.index_select(axis, torch.minimum(at, 2 * size - 1 - at))
    return pixels

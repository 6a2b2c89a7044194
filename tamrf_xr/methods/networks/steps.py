"""Images cut so that a network which halves its grid does so at the same places in any tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tamrf_xr.fuser import Pixels


def on_steps(
    image: Pixels,
    corner: tuple[int, int],
    step: int,
    *,
    mode: Literal["edge", "reflect"] = "edge",
    smallest: int = 1,
) -> tuple[Pixels, tuple[slice, slice]]:
    """Cut and pad an image so that it starts and ends on whole steps of the scene.

    Parameters
    ----------
    image
        ``(..., y, x)``.
    corner
        Pixels (y, x) from the corner of the scene to that of the image.
    step
        Pixels of a step.
    mode
        What stands beyond the last row and column, as in `numpy.pad`.
    smallest
        Pixels down and across that come out at least, a multiple of `step`.

    Returns
    -------
    numpy.ndarray, tuple of slice
        The image without what comes before its first whole step, padded at the end up to one; and
        where it lies in what was given.

    Examples
    --------
    >>> made, (rows, _) = on_steps(np.zeros((1, 10, 8)), (6, 0), 4)
    >>> made.shape, rows
    ((1, 8, 8), slice(2, 10, None))
    """
    place, pad = [], [(0, 0)] * (image.ndim - 2)
    for first, size in zip(corner, image.shape[-2:], strict=True):
        start = -first % step
        place.append(slice(start, size))
        pad.append((0, max((start - size) % step, smallest - size + start)))
    down, across = place
    return np.pad(image[..., down, across], pad, mode=mode), (down, across)


def through_steps(
    network: Callable[[Pixels], Pixels],
    image: Pixels,
    corner: tuple[int, int],
    step: int,
    **how: Any,
) -> Pixels:
    """Return what a network makes (band, y, x) of an image cut by `on_steps`, NaN outside."""
    cut, (down, across) = on_steps(image, corner, step, **how)
    answer = network(cut)
    out: Pixels = np.full((answer.shape[0], *image.shape[-2:]), np.nan, np.float32)
    out[:, down, across] = answer[:, : down.stop - down.start, : across.stop - across.start]
    return out

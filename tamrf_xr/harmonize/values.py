"""Look at values before they are believed: a sample of every array, read once, a few MB.

Blocks are spread over dates and ground. Of lazy data, whole chunks have to be read, so that there
are as few of them as answer the questions; a block that holds no data is followed by others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.base import compute
from dask.delayed import delayed

from tamrf_xr.errors import OptionError
from tamrf_xr.plausible import STRIDE

CHECKS = ("sample", "full", "off")
BUDGET = 2**26
"""Bytes of chunks that a look at one sensor reads, where its chunks are no larger."""

LEAST, MOST = 2, 8
"""Places that a look takes: one date alone may be clouded."""

VALUES = {"sample": 2**18, "full": 2**24, "off": 2**18}
"""Values of one sensor that are kept of a look, whatever is read for it."""

FEWEST = 16
"""Values of an image that are kept all the same."""

LARGEST = 2**29
"""Bytes that a look may read where chunks are large."""

ROUNDS = 3
"""Looks at other places where one found no data."""

Array = npt.NDArray[Any]
_Place = dict[str, slice]
"""Chunks of an array: slices along time, y and x."""


@dataclass(frozen=True, slots=True)
class Look:
    """Values of one array, as they came, and of which acquisitions."""

    values: Array
    """``(n, band, m)``: n pieces."""

    times: npt.NDArray[np.int64]
    """``(n,)``: position of the acquisition of each piece."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to judge by."""
        return not self.values.size


def _nothing(array: xr.DataArray) -> Look:
    return Look(np.empty((0, array.sizes.get("band", 1), 0)), np.empty(0, np.int64))


def check_option(check: str) -> None:
    """Refuse an unknown ``check=``.

    Raises
    ------
    OptionError
        If it is none of `CHECKS`.
    """
    if check not in CHECKS:
        raise OptionError(f"check={check!r} is unknown; it may be {', '.join(CHECKS)}")


def look_at(arrays: Sequence[xr.DataArray], check: str) -> list[Look]:
    """Look at the arrays of one sensor.

    Parameters
    ----------
    arrays
        ``(time, band, y, x)`` or ``(time, y, x)``, in memory or lazy.
    check
        ``"sample"``, some places; ``"full"``, every chunk once; ``"off"``, nothing lazy.

    Returns
    -------
    list of Look
        One an array, empty where it was not looked at.
    """
    most = VALUES[check] // max(len(arrays), 1)
    looks = [_in_memory(array, most) for array in arrays]
    lazy = [at for at, look in enumerate(looks) if look is None]
    if check != "off" and lazy:
        for at, look in zip(lazy, _lazily([arrays[at] for at in lazy], check), strict=True):
            looks[at] = look
    return [
        _nothing(array) if look is None else look for array, look in zip(arrays, looks, strict=True)
    ]


def _in_memory(array: xr.DataArray, most: int) -> Look | None:
    if array.chunks is not None or not array.variable._in_memory:
        return None
    return _piece(array.transpose(..., "y", "x").values, np.arange(array.sizes["time"]), most)


def _piece(block: Array, times: Array, most: int) -> Look:
    """Thin an image or more ``(time, [band,] y, x)``, evenly along both axes."""
    images = math.prod(block.shape[:-2])
    step = max(1, round(math.sqrt(block.size / max(most, images * FEWEST))))
    thinned = block[..., ::step, ::step]
    values = thinned if thinned.ndim == 4 else thinned[:, None]
    shape = *values.shape[:2], math.prod(values.shape[2:])
    return Look(values.reshape(shape), np.asarray(times, np.int64))


def _lazily(arrays: Sequence[xr.DataArray], check: str) -> list[Look]:
    """Read the same places of every array; other places while an array shows nothing."""
    if check == "full":
        return _read(arrays, [list(_every_place(array)) for array in arrays], full=True)
    count, looks = _affordable(arrays), [_nothing(array) for array in arrays]
    for turn in range(ROUNDS):
        left = [at for at, look in enumerate(looks) if not _shows(look)]
        if not left:
            break
        places = [_spread_over(arrays[at], count, turn) for at in left]
        for at, look in zip(left, _read([arrays[at] for at in left], places), strict=True):
            looks[at] = look
    return looks


def _shows(look: Look) -> bool:
    return bool(np.any(np.isfinite(look.values) & (look.values > 0)))


def _chunks(array: xr.DataArray) -> dict[str, list[slice]]:
    """Return the slices of the chunks along time, y and x."""
    known = array.chunksizes or array.encoding.get("preferred_chunks") or {}
    default = {"time": 1, "y": STRIDE, "x": STRIDE}
    return {
        name: _slices(array.sizes[name], known.get(name) or size) for name, size in default.items()
    }


def _slices(size: int, chunks: Any) -> list[slice]:
    lengths = chunks if isinstance(chunks, tuple) else (chunks,) * -(-size // chunks)
    starts = [0, *accumulate(lengths)]
    return [slice(a, min(a + n, size)) for a, n in zip(starts, lengths, strict=False) if n]


def _bytes(array: xr.DataArray, place: _Place) -> int:
    pixels = math.prod(one.stop - one.start for one in place.values())
    return int(pixels * array.sizes.get("band", 1) * array.dtype.itemsize)


def _every_place(array: xr.DataArray) -> Iterator[_Place]:
    chunks = _chunks(array)
    for combination in product(*chunks.values()):
        yield dict(zip(chunks, combination, strict=True))


def _affordable(arrays: Sequence[xr.DataArray]) -> int:
    """Return how many places of all arrays fit the budget."""
    each = sum(_bytes(array, next(_every_place(array))) for array in arrays)
    return int(np.clip(BUDGET // max(each, 1), LEAST, MOST))


def _spread_over(array: xr.DataArray, count: int, turn: int) -> list[_Place]:
    """Choose places: dates evenly, ground by golden ratios; others each turn."""
    chunks = _chunks(array)
    return [
        {
            name: along[int((start + ratio * (turn * count + at)) % 1 * len(along))]
            for (name, along), ratio in zip(chunks.items(), (0, 0.618, 0.414), strict=True)
            for start in [((at + 0.5) / count + 0.31 * turn) if name == "time" else 0.5]
        }
        for at in range(count)
    ]


def _read(
    arrays: Sequence[xr.DataArray], places: Sequence[Sequence[_Place]], *, full: bool = False
) -> list[Look]:
    """Compute all places together, each thinned at once; the first array at least."""
    pending: list[tuple[int, Any]] = []
    left, most = LARGEST, VALUES["full" if full else "sample"] // max(sum(map(len, places)), 1)
    for at, array in enumerate(arrays):
        for place in places[at]:
            left -= _bytes(array, place)
            if left > 0 or not pending or full:
                pending.append((at, _seen(array, place, most)))
    done = compute(*(look for _, look in pending))
    return [
        _together([look for (of, _), look in zip(pending, done, strict=True) if of == at])
        or _nothing(array)
        for at, array in enumerate(arrays)
    ]


def _seen(array: xr.DataArray, place: _Place, most: int) -> Any:
    times = np.arange(place["time"].start, place["time"].stop)
    there = array.isel(place)
    if array.chunks is None:
        return _piece(there.transpose(..., "y", "x").values, times, most)
    return delayed(_piece)(there.transpose(..., "y", "x").data, times, most)


def _together(looks: Sequence[Look]) -> Look | None:
    """Put pieces of unequal size together, the rest not a number."""
    if len(looks) < 2:
        return looks[0] if looks else None
    longest = max(look.values.shape[-1] for look in looks)
    pieces = []
    for look in looks:
        values = look.values if look.values.dtype.kind == "f" else look.values.astype(np.float64)
        room = [(0, 0), (0, 0), (0, longest - values.shape[-1])]
        pieces.append(np.pad(values, room, constant_values=np.nan))
    return Look(np.concatenate(pieces), np.concatenate([look.times for look in looks]))

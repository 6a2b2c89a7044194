"""The table of shifts: what was found per acquisition and block, and what is trusted of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.coregistration.blocks import trusted

Array = NDArray[Any]

MOST_APART_PX = 0.5
"""Pixels by which a block may differ from its acquisition: more is a match of something else."""

_ABOUT = {
    "dx": {"long_name": "how far the image lies off, eastwards", "units": "m"},
    "dy": {"long_name": "how far the image lies off, northwards", "units": "m"},
    "standard_error": {"long_name": "standard error of dx and of dy", "units": "m"},
    "pixels": {"long_name": "pixels that were compared", "units": "1"},
    "trusted": {"long_name": "whether the estimate of this block is used"},
    "overall_dx": {"long_name": "dx of the acquisition: median of trusted blocks", "units": "m"},
    "overall_dy": {"long_name": "dy of the acquisition: median of trusted blocks", "units": "m"},
}


def tabulate(
    found: Mapping[str, Array],
    *,
    times: Mapping[str, pd.DatetimeIndex],
    gsds: Mapping[str, float],
    centres: tuple[Array, Array],
    most_px: float,
    attrs: Mapping[str, Any],
) -> xr.DataTree:
    """Put estimates together.

    Parameters
    ----------
    found
        Per sensor, the finest first, ``(time, block_y, block_x, 4)`` as `blocks.estimate` says.
    times, gsds
        Per sensor, its acquisitions and the size of its pixels in metres.
    centres
        Of the blocks, northings and eastings.
    most_px
        The largest shift that is trusted, in pixels of each sensor.
    attrs
        What it was made with.

    Returns
    -------
    xarray.DataTree
        A group a sensor, as `tamrf_xr.coregistration.shifts` says.
    """
    finest = next(iter(found))
    gauge = _gauge(_trusted_only(found[finest], most_px)) * gsds[finest]
    groups = {}
    for name, table in found.items():
        metres = table[..., :2] * gsds[name] - gauge
        coords = {"time": times[name], "block_y": centres[0], "block_x": centres[1]}
        usable = trusted(table, most_px)
        groups[name] = _group(metres, table[..., 2:], usable, gsds[name]).assign_coords(coords)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs), **groups})


def _group(metres: Array, rest: Array, usable: Array, gsd: float) -> xr.Dataset:
    overall = _median(np.where(usable[..., None], metres, np.nan))
    apart = np.abs(metres - overall[:, None, None]).max(axis=-1)
    with np.errstate(invalid="ignore"):
        usable = usable & (apart <= MOST_APART_PX * gsd)
    overall = _median(np.where(usable[..., None], metres, np.nan))
    dims = ("time", "block_y", "block_x")
    arrays = {
        "dx": (dims, metres[..., 1]),
        "dy": (dims, -metres[..., 0]),
        "standard_error": (dims, rest[..., 0] * gsd),
        "pixels": (dims, rest[..., 1].astype(np.int64)),
        "trusted": (dims, usable),
        "overall_dx": (("time",), overall[:, 1]),
        "overall_dy": (("time",), -overall[:, 0]),
    }
    return xr.Dataset({name: (*value, _ABOUT[name]) for name, value in arrays.items()})


def _trusted_only(table: Array, most_px: float) -> Array:
    return np.where(trusted(table, most_px)[..., None], table[..., :2], np.nan)


def _gauge(shifts: Array) -> Array:
    """Return where the medians of each block lie: ``(block_y, block_x, 2)``.

    Shift = acquisition + block; what is common to the acquisitions of a sensor cannot be known,
    so that these have mean 0. Blocks saw different acquisitions clear, hence the iteration.
    """
    gauge = np.zeros(shifts.shape[1:])
    for _ in range(20):
        acquisitions = _median(shifts - gauge)
        acquisitions -= _mean(acquisitions, 0)
        block = _mean(shifts - acquisitions[:, None, None], 0)
        gauge = np.where(np.isfinite(block), block, _mean(block.reshape(-1, 2), 0))
    return np.nan_to_num(gauge)


def _median(shifts: Array) -> Array:
    """Return the median over blocks, NaN where there is none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.asarray(np.nanmedian(shifts, axis=(1, 2)))


def _mean(values: Array, axis: int) -> Array:
    there = np.isfinite(values)
    total, count = np.where(there, values, 0).sum(axis=axis), there.sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def in_words(table: xr.DataTree, sensor: str) -> str:
    """Return what was found of a sensor, in a line."""
    group = table[sensor].to_dataset()
    shift = np.stack([group["overall_dx"].values, group["overall_dy"].values])
    known = np.isfinite(shift[0])
    rms = float(np.sqrt(np.mean(shift[:, known] ** 2))) if known.any() else float("nan")
    return f"{int(known.sum())} of {known.size} acquisitions found, RMS {rms:.2f} m along each axis"


def as_frame(table: xr.DataTree) -> pd.DataFrame:
    """Return a row for each acquisition: what was found overall, and in how many blocks."""
    frames = []
    for name, node in table.children.items():
        group = node.to_dataset()
        rows = {
            "sensor": name,
            "time": group["time"].values,
            "dx_m": group["overall_dx"].values,
            "dy_m": group["overall_dy"].values,
            "standard_error_m": _median(group["standard_error"].where(group["trusted"]).values),
            "blocks": group["trusted"].sum(("block_y", "block_x")).values,
            "pixels": group["pixels"].sum(("block_y", "block_x")).values,
        }
        frames.append(pd.DataFrame(rows))
    return pd.concat(frames, ignore_index=True).sort_values("time", ignore_index=True)

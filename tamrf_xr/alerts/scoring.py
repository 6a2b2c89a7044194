"""How far each acquisition departs from what the past alone predicts of it.

The plan of the graph: one product of `tamrf_xr.fuse`, its dates those of the acquisitions; blurred
as the sensor blurs, which takes the rim of neighbouring tiles; then, tile by tile, the observation
less that, over the deviation told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tamrf_xr.alerts.asked import LATENCY, Span, check_monitored, span_of
from tamrf_xr.cube import groups_of
from tamrf_xr.days import count_days
from tamrf_xr.errors import CubeError
from tamrf_xr.fusion import bands_of, fuse
from tamrf_xr.methods.registry import parse_bands
from tamrf_xr.psf import blur, half_width
from tamrf_xr.sensors import SENSORS, THERMAL, Band

Array = NDArray[Any]

BANDS = ("red", "nir", "swir16", "swir22")
"""Compared by default: seen by both sensors, and little by haze that masks missed."""


def scores(
    cube: xr.DataTree,
    since: Any = None,
    until: Any = None,
    *,
    bands: Any = None,
    latency: Any = LATENCY,
    **options: Any,
) -> xr.Dataset:
    """Tell how far each acquisition departs from what the past alone predicts of it, lazily.

    Parameters
    ----------
    cube, since, until, bands, latency, options
        As for `tamrf_xr.alerts.alerts`.

    Returns
    -------
    xarray.Dataset
        ``score`` (time, y, x) on the 10 m grid, dask: root mean square over bands of
        (observed - predicted as its sensor sees it) / deviation told; NaN where the acquisition
        is not usable. ``sensor`` (time) beside it. In order of time; acquisitions of one sensor
        and day are one, of which the first usable counts.

    Raises
    ------
    TamrfError
        As `tamrf_xr.alerts.alerts`.
    """
    check_monitored(cube)
    groups = groups_of(cube)
    times = {name: pd.DatetimeIndex(group["time"].values) for name, group in groups.items()}
    chosen = _bands(cube, bands)
    span = span_of({name: times[name] for name in chosen}, since, until, latency)
    made = fuse(
        cube, span.queries, causal=True, latency=span.latency, uncertainty=True,
        sensors=list(chosen), bands=chosen, **options,
    )  # fmt: skip
    parts = {
        name: _departures(groups[name], made[name].to_dataset(), span, name)
        for name in chosen
        if len(span.positions[name])
    }
    words = "; ".join(f"{name}: {' '.join(own)}" for name, own in chosen.items())
    frame = made[next(iter(chosen))].to_dataset()
    return _in_order(parts, times, span, frame).assign_attrs(bands=words)


def _bands(cube: xr.DataTree, asked: Any) -> dict[str, tuple[str, ...]]:
    """Return the bands compared of each sensor: of those that were observed."""
    held = bands_of(cube)
    if asked is None:
        usual = parse_bands(BANDS, tuple(held))
        kept = {name: tuple(b for b in usual[name] if b in own) for name, own in held.items()}
        return _some({name: own for name, own in kept.items() if own}, held)
    chosen = {name: own for name, own in parse_bands(asked, tuple(held)).items() if own}
    for name, own in chosen.items():
        if absent := set(own) - set(held.get(name, ())):
            raise CubeError(
                f"bands asks for {' '.join(sorted(absent))} of {name}, which the cube does not "
                f"hold (found {' '.join(held.get(name, ())) or 'no such sensor'}): what was not "
                "observed cannot be compared; leave it out"
            )
    return chosen


def _some(
    kept: dict[str, tuple[str, ...]], held: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    if not kept:
        raise CubeError(
            f"the cube holds none of {', '.join(BANDS)}, which are compared by default: name "
            "bands= (--bands) of those it holds: "
            + "; ".join(f"{name} {' '.join(own)}" for name, own in held.items())
        )
    return kept


def _departures(group: xr.Dataset, made: xr.Dataset, span: Span, name: str) -> da.Array:
    """Return the scores (time, y, x) of a sensor on the 10 m grid."""
    at, asked = list(span.positions[name]), list(span.asked[name])
    rows = _rows(name, made)
    predicted, deviation = (_stacked(made.isel(time=asked), end) for end in ("", "_std"))
    seen = predicted.map_overlap(
        _blurred, depth={2: (reach := half_width([row.gsd for row in rows])), 3: reach},
        boundary="none", mtfs=[row.mtf for row in rows], gsds=[row.gsd for row in rows],
        dtype=np.float32, meta=predicted._meta,
    )  # fmt: skip
    ratio = SENSORS[name].ratio
    coarse = {"y": _coarser(seen.chunks[2], ratio), "x": _coarser(seen.chunks[3], ratio)}
    own = _of_bands(group, rows).isel(time=at).chunk({"time": -1, **coarse})
    scored: da.Array = da.blockwise(
        _score, "tyx", seen, "tbyx", deviation.rechunk(seen.chunks), "tbyx",
        _stacked(own, ""), "tbyx", own["valid"].transpose("time", "y", "x").data, "tyx",
        concatenate=True, align_arrays=False, dtype=np.float32, meta=np.empty((0, 0, 0), "f4"),
    )  # fmt: skip
    return scored


def _of_bands(group: xr.Dataset, rows: list[Band]) -> xr.Dataset:
    """Return what was observed of the bands compared, and where it is usable."""
    names = [row.name for row in rows]
    optical = [name for name in names if name != THERMAL]
    wanted = ["valid", *["reflectance"] * bool(optical)]
    wanted += ["surface_temperature"] * (THERMAL in names)
    held = group[wanted]
    return held.sel(band=optical) if optical else held


def _rows(name: str, made: xr.Dataset) -> list[Band]:
    """Return the bands of a product, as they are stacked."""
    held = [str(band) for band in made["band"].values] if "reflectance" in made else []
    held += [THERMAL] if "surface_temperature" in made else []
    return [SENSORS[name].find(band) for band in held]  # type: ignore[misc]


def _coarser(chunks: tuple[int, ...], ratio: int) -> tuple[int, ...]:
    return tuple(size // ratio for size in chunks)


def _stacked(group: xr.Dataset, end: str) -> da.Array:
    """Return (time, band, y, x): reflectance, then temperature, of those there are."""
    parts = []
    if f"reflectance{end}" in group and group.sizes.get("band"):
        parts.append(group[f"reflectance{end}"].transpose("time", "band", "y", "x").data)
    if f"surface_temperature{end}" in group:
        parts.append(group[f"surface_temperature{end}"].transpose("time", "y", "x").data[:, None])
    stacked: da.Array = da.concatenate(parts, axis=1).rechunk({0: -1, 1: -1})
    return stacked


def _blurred(images: Array, *, mtfs: list[float], gsds: list[float]) -> Array:
    blurred: Array = blur(images, mtfs, gsds)
    return blurred


def _score(seen: Array, deviation: Array, observed: Array, valid: Array) -> Array:
    """Return the root mean square over bands, NaN where a band or all is not usable."""
    ratio = seen.shape[-1] // observed.shape[-1]
    # The middle of a coarse pixel stands for it, as the deviations were calibrated.
    middle = (..., slice(ratio // 2, None, ratio), slice(ratio // 2, None, ratio))
    relative = (observed - seen[middle]) / deviation[middle]
    score = np.sqrt(np.mean(relative**2, axis=1))
    usable: Array = np.where(valid, score, np.nan).astype(np.float32)
    return usable.repeat(ratio, axis=1).repeat(ratio, axis=2)


@dataclass(frozen=True, slots=True)
class _Order:
    """Where acquisitions stand: those of one sensor and day together."""

    members: tuple[tuple[int, ...], ...]
    times: pd.DatetimeIndex
    sensors: tuple[str, ...]


def _in_order(
    parts: Mapping[str, da.Array],
    times: Mapping[str, pd.DatetimeIndex],
    span: Span,
    frame: xr.Dataset,
) -> xr.Dataset:
    order = _order(parts, times, span)
    inputs = [word for pair in zip(parts.values(), ("ayx", "byx"), strict=False) for word in pair]
    score = da.blockwise(
        _joined, "tyx", *inputs, new_axes={"t": len(order.times)}, members=order.members,
        concatenate=True, align_arrays=False, dtype=np.float32, meta=np.empty((0, 0, 0), "f4"),
    )  # fmt: skip
    space = {name: frame[name] for name in ("y", "x", "spatial_ref")}
    about = {"long_name": "departure from the prediction", "units": "1"}
    return xr.Dataset(
        {"score": (("time", "y", "x"), score, about | {"grid_mapping": "spatial_ref"})},
        coords={"time": order.times, "sensor": ("time", list(order.sensors)), **space},
    )


def _order(
    parts: Mapping[str, da.Array], times: Mapping[str, pd.DatetimeIndex], span: Span
) -> _Order:
    days = count_days(times)
    rows: dict[tuple[Any, str], list[tuple[Any, int]]] = {}
    start = 0
    for name, part in parts.items():
        for place, position in enumerate(span.positions[name]):
            key = (days[name][position], name)
            rows.setdefault(key, []).append((times[name][position], start + place))
        start += part.shape[0]
    ordered = sorted((sorted(own), name) for (_, name), own in rows.items())
    return _Order(
        tuple(tuple(place for _, place in own) for own, _ in ordered),
        pd.DatetimeIndex([own[0][0] for own, _ in ordered]),
        tuple(name for _, name in ordered),
    )


def _joined(*parts: Array, members: tuple[tuple[int, ...], ...]) -> Array:
    """Put sensors together in order of time; of several of one day the first usable counts."""
    every = np.concatenate(parts)
    joined = every[[own[0] for own in members]]
    for place, own in enumerate(members):
        for other in own[1:]:
            joined[place] = np.where(np.isfinite(joined[place]), joined[place], every[other])
    return joined

"""The strategies of `tamrf_xr.holdout` on cubes: a cube to give to a method, and dates to ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from tamrf_xr import holdout
from tamrf_xr.cube import groups_of, validate
from tamrf_xr.dates import default_origin, parse_dates
from tamrf_xr.errors import MethodError, OptionError
from tamrf_xr.evaluation.acquisitions import by_day, days_of

Dates = dict[str, pd.DatetimeIndex]
"""Days per sensor."""

DAY = pd.Timedelta(days=1)


_DECADES = 36_525
_BOUNDS = {
    "gap_days": (1, _DECADES),
    "rate": (0, 1),
    "pivot_day": (-_DECADES, _DECADES),
    "context_start": (-_DECADES, _DECADES),
    "context_days": (1, _DECADES),
    "context_images": (0, _DECADES),
    "seed": (0, 2**63 - 1),
}
"""Least and most of each number, both allowed."""


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """Settings of the strategies; each reads only its own. Days count from the cube's origin."""

    gap_days: int = 30
    """GAPS: length of a gap, and of the spell between two gaps."""

    rate: float = 0.5
    """RANDOM, RANDOM_ALL_DOYS: share of the dates dropped, rounded up, 0 to 1."""

    pivot_day: int = 183
    """FORECAST, BACKCAST: last, first day given."""

    context_start: int = 160
    """CONTEXT: first day of the window."""

    context_days: int = 60
    """CONTEXT: length of the window."""

    context_images: int = 1
    """CONTEXT: dates given on each side of the window, per sensor."""

    dates: Any = ()
    """CUSTOM: dates asked, in any form that `tamrf_xr.fuse` takes."""

    withhold: bool = False
    """Any strategy: never give an acquisition of the day and the sensor that are asked."""

    seed: int = 0
    """RANDOM, RANDOM_ALL_DOYS: where chance starts."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not least <= value <= most:
                raise OptionError(f"{name} is {value!r:.40}; expected {least} to {most}")


def split(cube: xr.DataTree, strategy: str, **settings: Any) -> tuple[xr.DataTree, Dates]:
    """Divide a cube into what a method is given and what it is asked.

    Parameters
    ----------
    cube
        The cube; acquisitions of one sensor on one day (`tamrf_xr.days`) count as one.
    strategy
        One of the 19: a key of `tamrf_xr.holdout.STRATEGIES`, such as ``"GAPS"``.
    **settings
        Fields of `SplitSettings`: ``gap_days=30``, ``seed=1``.

    Returns
    -------
    tuple of xarray.DataTree and dict
        The cube that is given, without the sensors that are withheld altogether; and per sensor
        of the cube the days asked, in order. The references are the cube's own acquisitions.

    Raises
    ------
    CubeError
        If the tree is no cube.
    MethodError
        If the strategy does not exist, needs conjunctions and there are none, lacks a setting,
        or gives or asks nothing on this cube.
    OptionError
        If there is no such setting.

    Notes
    -----
    Dates picked lazily from a store are read one by one, slowly: ``cube.load()`` first, or open
    it with ``chunks={}``.

    References
    ----------
    Michel & Inglada, "Temporal Attention Multi-Resolution Fusion of Satellite Image
    Time-Series", RSE 2025 (experimental setup of each task).

    Examples
    --------
    >>> import tamrf_xr
    >>> cube = tamrf_xr.open_cube("scene.zarr")  # doctest: +SKIP
    >>> given, asked = split(cube, "GAPS", gap_days=30)  # doctest: +SKIP
    >>> asked["sentinel2"]  # doctest: +SKIP
    """
    return split_by(cube, strategy, read_settings(settings))


def read_settings(settings: Mapping[str, Any]) -> SplitSettings:
    """Return settings by name.

    Raises
    ------
    OptionError
        If there is no such setting.
    """
    names = [field.name for field in fields(SplitSettings)]
    if unknown := [name for name in settings if name not in names]:
        raise OptionError(
            f"strategies have no setting {', '.join(unknown)}; they have {', '.join(names)}"
        )
    return SplitSettings(**settings)


def split_by(
    cube: xr.DataTree, strategy: str, settings: SplitSettings
) -> tuple[xr.DataTree, Dates]:
    """Divide a cube as `split` does, by settings that are read already."""
    validate(cube)
    cube = by_day(cube)
    days = {name: days_of(group) for name, group in groups_of(cube).items()}
    origin = _origin(days)
    series = {name: ((index - origin) // DAY).tolist() for name, index in days.items()}
    division = holdout.split(
        strategy,
        holdout.BySensor(
            **{name: tuple(series.get(name, ())) for name in ("landsat", "sentinel2")}
        ),
        parameters=_parameters(settings, origin, series),
        rng=np.random.default_rng(settings.seed),
    )
    asked = {
        name: origin + pd.to_timedelta(list(getattr(division.asked, name)), unit="D")
        for name in days
    }
    kept = {name: index[list(getattr(division.given, name))] for name, index in days.items()}
    if settings.withhold:
        kept = {name: index.difference(asked[name]) for name, index in kept.items()}
    asked = {name: pd.DatetimeIndex(index) for name, index in asked.items() if len(index)}
    _check(strategy, kept, asked)
    return give(cube, kept), asked


def give(cube: xr.DataTree, kept: Mapping[str, pd.DatetimeIndex]) -> xr.DataTree:
    """Return the cube with the acquisitions of the days `kept` alone, per sensor.

    Sensors left without any are left out.
    """
    groups = {}
    for name, group in groups_of(cube).items():
        inside = pd.DatetimeIndex(group["time"].values).floor("D").isin(kept.get(name, []))
        if inside.any():
            groups[name] = group.isel(time=np.flatnonzero(inside))
    return xr.DataTree.from_dict({"/": cube.to_dataset(), **groups})


def _origin(days: Mapping[str, pd.DatetimeIndex]) -> pd.Timestamp:
    every = pd.DatetimeIndex([day for index in days.values() for day in index]).sort_values()
    if every.empty:
        raise MethodError("the cube holds no acquisition: there is nothing to give or to ask")
    return default_origin(every)


def _parameters(
    settings: SplitSettings, origin: pd.Timestamp, series: Mapping[str, list[int]]
) -> holdout.Parameters:
    last = max(day for days in series.values() for day in days)
    asked = parse_dates(settings.dates).floor("D") if len(settings.dates) else None
    return holdout.Parameters(
        rate=settings.rate,
        pivot=settings.pivot_day,
        gap=settings.gap_days,
        context_start=settings.context_start,
        context_size=settings.context_days,
        context_images=settings.context_images,
        custom=() if asked is None else tuple(((asked - origin) // DAY).tolist()),
        # The paper's series are whole years; beyond the last acquisition nothing is asked.
        length=last + 1,
        origin=f"{origin:%Y-%m-%d}",
    )


def _check(strategy: str, kept: Mapping[str, pd.DatetimeIndex], asked: Dates) -> None:
    held = ", ".join(f"/{name} ({len(index)} days)" for name, index in kept.items())
    if not any(len(index) for index in kept.values()):
        raise MethodError(
            f"strategy {strategy} gives nothing of this cube, whose sensors are left out: {held}; "
            "choose another strategy"
        )
    if not asked:
        raise MethodError(
            f"strategy {strategy} asks nothing of this cube, of which it gives {held}; "
            "choose another strategy or other settings"
        )

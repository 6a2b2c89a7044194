"""Which dates, sensors and bands of a product are asked for, in the words of users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr

from tamrf_xr.cube import groups_of
from tamrf_xr.dates import parse_dates
from tamrf_xr.errors import DateError, OptionError
from tamrf_xr.sensors import SENSORS, THERMAL

DAY = pd.Timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Selection:
    """What to write of a product."""

    dates: Any = None
    """Days or times, as `tamrf_xr.fuse` takes them, or ``"START/END"`` for all between; by default
    all."""

    bands: Sequence[str] | None = None
    """Names or common names, `THERMAL` the temperature; by default all. Empty for none."""

    sensors: Sequence[str] | None = None
    """Names of the groups; by default all."""

    indices: Sequence[str] = ()
    """Names of spyndex."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked of one sensor."""

    sensor: str
    """Name of its group."""

    times: pd.DatetimeIndex
    """Of its images, all of them."""

    positions: tuple[int, ...]
    """Those that are asked, among them."""

    bands: tuple[str, ...]
    """Those that are asked, the temperature last."""

    present: tuple[str, ...]
    """Its bands of reflectance."""

    def stamp(self, time: pd.Timestamp) -> str:
        """Return a time for a file name, as short as tells the sensor's images apart."""
        for form in ("%Y%m%d", "%Y%m%dT%H%M%S"):
            if len(set(self.times.strftime(form))) == len(self.times):
                return time.strftime(form)
        return f"{time:%Y%m%dT%H%M%S}{time.value % 10**9:09d}"


def choose(cube: xr.DataTree, what: Selection) -> list[Choice]:
    """Find what is asked.

    Raises
    ------
    OptionError
        If a sensor or a band is not there, or nothing is asked.
    DateError
        If a date is not there.
    """
    groups = _groups(cube, what.sensors)
    chosen = {name: _bands(name, group, what.bands) for name, group in groups.items()}
    if what.bands is not None:
        _check_found(what.bands, groups, chosen)
    if not any(chosen.values()) and not what.indices:
        raise OptionError("nothing to export: no band and no index is asked")
    positions = _positions(groups, what.dates)
    return [
        Choice(
            sensor=name,
            times=pd.DatetimeIndex(group["time"].values),
            positions=positions[name],
            bands=chosen[name],
            present=_present(group),
        )
        for name, group in groups.items()
    ]


def _groups(cube: xr.DataTree, sensors: Sequence[str] | None) -> dict[str, xr.Dataset]:
    groups = groups_of(cube)
    if missing := [name for name in sensors or () if name not in groups]:
        raise OptionError(
            f"no sensor {', '.join(map(repr, missing))}; there are {', '.join(groups)}"
        )
    return {name: group for name, group in groups.items() if sensors is None or name in sensors}


def _present(group: xr.Dataset) -> tuple[str, ...]:
    return tuple(map(str, group["band"].values)) if "reflectance" in group else ()


def _bands(sensor: str, group: xr.Dataset, asked: Sequence[str] | None) -> tuple[str, ...]:
    there = [*_present(group), *([THERMAL] if "surface_temperature" in group else [])]
    if asked is None:
        return tuple(there)
    found = {band.name for name in asked if (band := SENSORS[sensor].find(name)) is not None}
    return tuple(name for name in there if name in found)


def _check_found(
    asked: Sequence[str], groups: dict[str, xr.Dataset], chosen: dict[str, tuple[str, ...]]
) -> None:
    for name in asked:
        found = (SENSORS[sensor].find(name) for sensor in groups)
        if not any(
            band is not None and band.name in chosen[sensor]
            for sensor, band in zip(groups, found, strict=True)
        ):
            there = {sensor: _bands(sensor, group, None) for sensor, group in groups.items()}
            told = "; ".join(f"{sensor} has {' '.join(names)}" for sensor, names in there.items())
            raise OptionError(f"no band {name!r:.40}: {told}")


def _positions(groups: dict[str, xr.Dataset], dates: Any) -> dict[str, tuple[int, ...]]:
    times = {name: pd.DatetimeIndex(group["time"].values) for name, group in groups.items()}
    if dates is None:
        return {name: tuple(range(len(index))) for name, index in times.items()}
    if (span := _span(dates)) is not None:
        spans = [span]
    else:
        # A date without a time of day is the whole day.
        wanted = parse_dates(dates)
        spans = [(at, at + DAY if at == at.floor("D") else at + pd.Timedelta(1)) for at in wanted]
    for first, end in spans:
        if not any(((index >= first) & (index < end)).any() for index in times.values()):
            raise DateError(_told_missing(first, end, times))
    return {
        name: tuple(i for i, at in enumerate(index) if any(a <= at < b for a, b in spans))
        for name, index in times.items()
    }


def _span(dates: Any) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Return the ends of ``"START/END"``, or None; the last day is a whole one."""
    words = dates.split("/") if isinstance(dates, str) else ()
    if len(words) != 2 or not all(word.strip(" .") for word in words):
        return None
    first, last = parse_dates(words)
    if last < first:
        raise DateError(f"the dates {dates} end before they begin; write the earlier one first")
    return first, last + DAY if last == last.floor("D") else last + pd.Timedelta(1)


def _told_missing(
    first: pd.Timestamp, end: pd.Timestamp, times: dict[str, pd.DatetimeIndex]
) -> str:
    every = sorted({at for index in times.values() for at in index})
    what = f"{first}" if end - first <= DAY else f"{first:%Y-%m-%d} to {end:%Y-%m-%d}"
    told = f"it has {len(every)} dates, {every[0]} to {every[-1]}" if every else "it has no dates"
    return f"no image of {what}: {told}; `tamrf-xr info` shows them"

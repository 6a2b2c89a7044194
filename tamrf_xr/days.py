"""Which acquisitions are of one day: by the time between them, not by the date in UTC."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tamrf_xr.errors import DateError
from tamrf_xr.iso8601 import Length, read_length

ONE_DAY = pd.Timedelta(days=1)

SAME_DAY = "12h"
"""Acquisitions no further apart are of one day."""


def count_days(
    times: Mapping[str, pd.DatetimeIndex], *, same_day: Length = SAME_DAY
) -> dict[str, pd.DatetimeIndex]:
    """Return the day of every acquisition: equal for those that are of one day, whatever sensor.

    In time order, an acquisition no more than `same_day` after the first one of a day is of that
    day, and else begins one. A day is named by the date (UTC) of its first acquisition: near 150 E
    those of 23:47 and of 00:02 are of one day, that of 23:47. Those of 00:02 and of 23:56 of one
    date are not: the later is named by the date after. Where no two dates meet at midnight, and
    none holds acquisitions further apart than `same_day`, days are the dates. A time of exactly
    midnight is a date without time of day: it is of the day that has an acquisition on that date.

    Parameters
    ----------
    times
        Acquisition times per sensor, in any order.
    same_day
        How far apart acquisitions of one day may be.

    Returns
    -------
    dict
        Per sensor, midnight of the day of each acquisition, in the order of `times`.

    Raises
    ------
    DateError
        If an acquisition has no time (NaT), or `same_day` is not less than 24 hours.

    Examples
    --------
    >>> landsat = pd.DatetimeIndex(["2022-06-01T23:47"])
    >>> sentinel2 = pd.DatetimeIndex(["2022-06-02T00:02"])
    >>> count_days({"landsat": landsat, "sentinel2": sentinel2})["sentinel2"][0]
    Timestamp('2022-06-01 00:00:00')
    """
    apart = read_length(same_day, "same_day")
    if apart >= ONE_DAY:
        raise DateError(f"same_day must be less than 24 hours, got {same_day!r}")
    for name, index in times.items():
        check_times(name, index)
    every = pd.DatetimeIndex([time for index in times.values() for time in index]).unique()
    day_of = _days_by_time(every.sort_values(), apart)
    return {
        name: pd.DatetimeIndex([day_of[time] for time in index]) for name, index in times.items()
    }


def check_times(sensor: str, times: pd.DatetimeIndex) -> None:
    """Check that every acquisition of a sensor has a time.

    Raises
    ------
    DateError
        If one has none (NaT).
    """
    if times.hasnans:
        where = ", ".join(map(str, np.flatnonzero(times.isna())[:5]))
        raise DateError(
            f"/{sensor} has acquisitions without a time (NaT), at {where} of {len(times)}; drop "
            "them, or give their times"
        )


def days_asked(
    queries: pd.DatetimeIndex,
    times: Mapping[str, pd.DatetimeIndex],
    counted: Mapping[str, pd.DatetimeIndex],
) -> pd.DatetimeIndex:
    """Return the days of query dates, as acquisitions count them.

    Parameters
    ----------
    queries
        Query dates.
    times
        Acquisition times per sensor.
    counted
        Their days; see `count_days`.

    Returns
    -------
    pandas.DatetimeIndex
        Per query date: the day of the acquisition of that very time, else that of its date where
        it is one of the days, else that of the first acquisition on its date, else its date.
    """
    pairs = [pair for name in times for pair in zip(times[name], counted[name], strict=True)]
    days = {day for _, day in pairs}
    at_time = dict(pairs)
    on_date = {time.floor("D"): day for time, day in sorted(pairs, reverse=True)}

    def day_of(query: pd.Timestamp) -> pd.Timestamp:
        date = query.floor("D")
        return at_time.get(query, date if date in days else on_date.get(date, date))

    return pd.DatetimeIndex([day_of(query) for query in queries])


def _days_by_time(every: pd.DatetimeIndex, apart: pd.Timedelta) -> dict[pd.Timestamp, pd.Timestamp]:
    """Return the day of each time, given in order."""
    day_of: dict[pd.Timestamp, pd.Timestamp] = {}
    on_date: dict[pd.Timestamp, pd.Timestamp] = {}
    first, day = None, None
    for time in every[every != every.floor("D")]:
        if first is None or day is None or time - first > apart:
            date = time.floor("D")
            first, day = time, date if day is None else max(date, day + ONE_DAY)
        day_of[time] = day
        on_date.setdefault(time.floor("D"), day)
    dates = every[every == every.floor("D")]
    return day_of | {date: on_date.get(date, date) for date in dates}

"""Read query dates as users write them, and plan which acquisitions each of them sees."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tamrf_xr.days import SAME_DAY, count_days, days_asked
from tamrf_xr.errors import DateError, TimingWarning
from tamrf_xr.fuser import Episode
from tamrf_xr.iso8601 import Length, read_length, read_moment, read_range

DateLike = Any
"""A string, a datetime, a numpy or pandas time."""

ONE_YEAR = pd.Timedelta(days=366)

FIRST_YEAR, LAST_YEAR = 1700, 2250
"""Of dates that are read: nanoseconds since 1970 count them, and a window about each."""

JUST_BEYOND = 1.1
"""Series no longer than so many windows, or years, are told that they are counted otherwise than
those that fit; see `tell_of_counting`."""


def parse_dates(dates: DateLike | Iterable[DateLike]) -> pd.DatetimeIndex:
    """Read query dates.

    Parameters
    ----------
    dates
        One date or many: ISO 8601 text (``"2022-06-01"``, ``"20220601"``, with a time of day
        ``"2022-06-01T10:30Z"``), datetimes, a DatetimeIndex, an xarray object with a ``time``
        coordinate, ``"start/end/step"`` such as ``"2022-01-01/2022-12-31/15D"``, or
        ``slice(start, end, step)``. The step is a pandas frequency or an ISO 8601 duration:
        ``"P1M"`` gives the same day of every month, the last one in shorter months. Kept in the
        order given.

    Returns
    -------
    pandas.DatetimeIndex
        Without time zone: what names one is converted to UTC, the rest is taken to be UTC.

    Raises
    ------
    DateError
        If something is not a date, or needs guessing; if a range has no step, or one of nothing;
        if there is no date, or too many.

    Examples
    --------
    >>> parse_dates("2022-01-01/2022-02-15/15D").strftime("%d %b").tolist()
    ['01 Jan', '16 Jan', '31 Jan', '15 Feb']
    """
    index = _to_index(dates)
    if index.empty:
        raise DateError(f"no query date in {dates!r}; name at least one, such as '2022-06-01'")
    if index.hasnans:
        raise DateError(f"query dates hold a missing value (NaT): {dates!r}")
    return index


def _to_index(dates: Any) -> pd.DatetimeIndex:
    if isinstance(dates, slice):
        return _range(dates.start, dates.stop, dates.step)
    if isinstance(dates, str):
        return _index(_expanded(dates))
    if hasattr(dates, "coords"):
        return _index(_times_of(dates))
    if np.ndim(dates) == 0:
        dates = [dates[()] if isinstance(dates, np.ndarray) else dates]
    return _index([moment for value in dates for moment in _expanded(value)])


def _expanded(value: Any) -> list[Any]:
    """Return the dates of a range written as text; anything else as it is."""
    if not isinstance(value, str) or "/" not in value:
        return [value]
    parts = value.split("/")
    if len(parts) > 3:
        raise DateError(
            f"query dates {value!r} have {len(parts)} parts; a range is 'start/end/step', such as "
            "'2022-01-01/2022-12-31/15D'"
        )
    return list(_range(*parts, *[None] * (3 - len(parts))))


def _times_of(thing: Any) -> list[Any]:
    if "time" not in thing.coords:
        raise DateError(f"no 'time' coordinate in the {type(thing).__name__} given as query dates")
    return list(np.atleast_1d(thing.coords["time"].values))


def _index(values: Sequence[Any]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex([_moment(value) for value in values])


def _moment(value: Any) -> Any:
    """Read one date: a Timestamp in UTC, or NaT."""
    # Numbers would pass as nanoseconds since 1970: refuse what is not a date.
    if isinstance(value, (int, float, np.integer, np.floating)):
        raise DateError(f"query date {value!r} is a number; write it as '2022-06-01'")
    if isinstance(value, str):
        return _in_range(read_moment(value))
    try:
        moment = pd.Timestamp(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise DateError(f"query date not understood: {error}; write it as '2022-06-01'") from error
    return _in_range(moment if moment.tz is None else moment.tz_convert(None))


def _in_range(moment: Any) -> Any:
    """Refuse what nanoseconds since 1970 do not hold, in which xarray counts; NaT passes."""
    if pd.isna(moment):
        return moment
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise DateError(
            f"date {moment:%Y-%m-%d} is out of range; expected one from {FIRST_YEAR} to {LAST_YEAR}"
        )
    return moment


def _range(start: Any, stop: Any, step: Any) -> pd.DatetimeIndex:
    for end, name in ((start, "start"), (stop, "end")):
        if end is None or (isinstance(end, str) and end.strip() in {"", ".."}):
            raise DateError(
                f"a range of query dates needs start, end and step, and its {name} is open; write "
                "both, such as '2022-01-01/2022-12-31/15D'"
            )
    first, last = (_moment(end) for end in (start, stop))
    if step is None or (isinstance(step, str) and not step.strip()):
        raise DateError(
            f"a range of query dates needs start, end and step, and {start}/{stop} has no step; "
            f"write {start}/{stop}/1D for every day, or name two dates"
        )
    if first is pd.NaT or last is pd.NaT:
        raise DateError(f"the range of query dates {start}/{stop} has an end that is missing (NaT)")
    return read_range(first, last, step)


@dataclass(frozen=True, slots=True)
class DatePlan:
    """Which acquisitions are read, and who sees them."""

    reads: Mapping[str, tuple[tuple[int, ...], ...]]
    """Per sensor and day, in order: positions in the cube of the acquisitions of that day."""

    episodes: tuple[Episode, ...]
    """Positions in them count the days of `reads`."""

    @property
    def dates(self) -> dict[str, int]:
        """Days read, per sensor."""
        return {name: len(days) for name, days in self.reads.items()}

    @property
    def queries(self) -> int:
        """Query dates answered."""
        return sum(len(episode.queries) for episode in self.episodes)


def plan_dates(
    times: Mapping[str, pd.DatetimeIndex],
    queries: pd.DatetimeIndex,
    *,
    origin: DateLike | None = None,
    window: Length | None = "365D",
    same_day: Length = SAME_DAY,
) -> DatePlan:
    """Plan which acquisitions each query date sees, and how their days are counted.

    Acquisitions that span no more than `window` form one episode, counted from `origin`. A longer
    cube gives an episode per query date: the acquisitions of the window centred on it, counted
    from that window's start. Days are whole, see `tamrf_xr.days`; acquisitions of one sensor on one
    day are one.

    Parameters
    ----------
    times
        Acquisition times per sensor, in any order.
    queries
        Query dates.
    origin
        Day 0; by default 1 January of the year of the first acquisition when all lie within 366
        days of it, else the first acquisition.
    window
        Length of the window, such as ``"365D"``, or in days; None for no window.
    same_day
        How far apart acquisitions of one day may be, such as ``"12h"``.

    Returns
    -------
    DatePlan
        The plan.

    Raises
    ------
    DateError
        If a query date has no acquisition in its window, `origin` is given where windows
        have their own, or an acquisition has no time.
    """
    counted = count_days(times, same_day=same_day)
    asked = days_asked(queries, times, counted)
    days = {name: index.unique().sort_values() for name, index in counted.items()}
    every = _union(days)
    length = None if window is None else read_length(window, "window")
    if length is not None:
        _check_served(every, asked, length)
    if length is None or every[-1] - every[0] <= length:
        start = default_origin(every) if origin is None else _one(origin)
        episodes: tuple[Episode, ...] = (_episode(days, start, dict(enumerate(asked))),)
    elif origin is not None:
        raise DateError(
            f"acquisitions span {(every[-1] - every[0]).days} days, more than the window of "
            f"{length.days}: each window counts from its own start, so origin={origin!r} has no "
            "meaning; drop it, or pass window=None"
        )
    else:
        episodes = tuple(
            _windowed(days, query, position, length) for position, query in enumerate(asked)
        )
    return _reads(counted, days, episodes)


def tell_of_counting(
    times: Mapping[str, pd.DatetimeIndex], *, origin: DateLike | None, window: Length | None
) -> None:
    """Warn where a few acquisitions more have changed how days are counted, and every answer.

    Parameters
    ----------
    times
        Acquisition times per sensor.
    origin, window
        As for `plan_dates`.

    Warns
    -----
    TimingWarning
        If the series is just longer than the window, or ends just after the year that is counted
        from 1 January: what is counted, what would be, and which option chooses.
    """
    every = _union({name: index.floor("D") for name, index in times.items()})
    length = None if window is None else read_length(window, "window")
    span, first = every[-1] - every[0], default_origin(every)
    if length is not None and span > length:
        told = _told_of_windows(span, length) if span <= JUST_BEYOND * length else ""
    else:
        told = _told_of_origin(every[-1], first) if origin is None else ""
    if told:
        warnings.warn(told, TimingWarning, stacklevel=4)


def _told_of_windows(span: pd.Timedelta, window: pd.Timedelta) -> str:
    return (
        f"acquisitions span {span.days} days, just more than the window of {window.days}: each "
        "query date is made from the window around it, with days counted from the start of that. A "
        "series that fits the window is one, counted from its origin, and gives other values (by "
        f"0.1 of reflectance and more). Pass window={span.days} or None to keep this series one; "
        "ignore TimingWarning to keep windows"
    )


def _told_of_origin(last: pd.Timestamp, origin: pd.Timestamp) -> str:
    january = pd.Timestamp(year=origin.year, month=1, day=1)
    if origin == january or last - january >= JUST_BEYOND * ONE_YEAR:
        return ""
    return (
        f"acquisitions end on {last:%Y-%m-%d}, just more than 366 days after {january:%Y-%m-%d}: "
        f"days are counted from the first one, {origin:%Y-%m-%d}. A series that ends sooner is "
        f"counted from 1 January, and gives other values. Pass origin='{january:%Y-%m-%d}' or "
        f"origin='{origin:%Y-%m-%d}' to choose"
    )


def _one(origin: DateLike) -> pd.Timestamp:
    found = parse_dates(origin)
    if len(found) > 1:
        raise DateError(f"origin is one date, got {len(found)}: {origin!r}")
    return found[0]


def default_origin(days: pd.DatetimeIndex) -> pd.Timestamp:
    """Return 1 January of the first year if all `days` lie within 366 days, else the first day."""
    january = pd.Timestamp(year=days[0].year, month=1, day=1)
    return january if days[-1] - january < ONE_YEAR else days[0]


def _union(days: Mapping[str, pd.DatetimeIndex]) -> pd.DatetimeIndex:
    every = pd.DatetimeIndex([day for index in days.values() for day in index])
    if every.empty:
        raise DateError("the cube holds no acquisition of any sensor: there is nothing to fuse")
    return every.unique().sort_values()


def _check_served(every: pd.DatetimeIndex, queries: pd.DatetimeIndex, window: pd.Timedelta) -> None:
    asked = queries.floor("D")
    first = every.searchsorted(asked - window / 2, side="left")
    last = every.searchsorted(asked + window / 2, side="right")
    lonely = asked[first == last]
    if len(lonely):
        named = ", ".join(f"{day:%Y-%m-%d}" for day in lonely[:5])
        named += " ..." if len(lonely) > 5 else ""
        raise DateError(
            f"no acquisition within {window.days / 2:g} days of query date {named}: the cube spans "
            f"{every[0]:%Y-%m-%d} to {every[-1]:%Y-%m-%d}; ask for dates nearer to it, or pass a "
            "longer window"
        )


def _episode(
    days: Mapping[str, pd.DatetimeIndex],
    origin: pd.Timestamp,
    queries: Mapping[int, pd.Timestamp],
    seen: Mapping[str, tuple[int, ...]] | None = None,
) -> Episode:
    seen = seen or {name: tuple(range(len(index))) for name, index in days.items()}
    return Episode(
        seen=seen,
        days={name: _count(days[name][list(chosen)], origin) for name, chosen in seen.items()},
        queries=tuple(queries),
        query_days=_count(pd.DatetimeIndex(list(queries.values())), origin),
        origin=(origin.floor("D") - pd.Timestamp(0)).days,
    )


def _windowed(
    days: Mapping[str, pd.DatetimeIndex], query: pd.Timestamp, position: int, window: pd.Timedelta
) -> Episode:
    start, stop = query.floor("D") - window / 2, query.floor("D") + window / 2
    seen = {
        name: tuple(np.flatnonzero((index >= start) & (index <= stop)).tolist())
        for name, index in days.items()
    }
    return _episode(days, start.ceil("D"), {position: query}, seen)


def _count(times: pd.DatetimeIndex, origin: pd.Timestamp) -> tuple[float, ...]:
    return tuple(((times.floor("D") - origin.floor("D")) / pd.Timedelta(days=1)).tolist())


def _reads(
    counted: Mapping[str, pd.DatetimeIndex],
    days: Mapping[str, pd.DatetimeIndex],
    episodes: tuple[Episode, ...],
) -> DatePlan:
    """Keep the days that some episode sees, and renumber them."""
    used = {
        name: sorted({position for episode in episodes for position in episode.seen[name]})
        for name in days
    }
    number = {name: {old: new for new, old in enumerate(kept)} for name, kept in used.items()}
    reads = {
        name: tuple(
            tuple(np.flatnonzero(counted[name] == days[name][position]).tolist())
            for position in kept
        )
        for name, kept in used.items()
    }
    renumbered = tuple(
        replace(
            episode,
            seen={
                name: tuple(number[name][p] for p in chosen)
                for name, chosen in episode.seen.items()
            },
        )
        for episode in episodes
    )
    return DatePlan(reads, renumbered)

"""Read query dates as users write them, and plan which acquisitions each of them sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tamrf_xr.errors import DateError
from tamrf_xr.fuser import Episode

DateLike = Any
"""A string, a datetime, a numpy or pandas time."""

ONE_YEAR = pd.Timedelta(days=366)


def parse_dates(dates: DateLike | Iterable[DateLike]) -> pd.DatetimeIndex:
    """Read query dates.

    Parameters
    ----------
    dates
        One date or many: strings, datetimes, a DatetimeIndex, an xarray object with a ``time``
        coordinate, ``"start/end/step"`` such as ``"2022-01-01/2022-12-31/15D"`` (any pandas
        frequency), or ``slice(start, end, step)``. Kept in the order given.

    Returns
    -------
    pandas.DatetimeIndex
        Without time zone (UTC).

    Raises
    ------
    DateError
        If something is not a date, or there is none.

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
    return index.tz_convert(None) if index.tz is not None else index


def _to_index(dates: Any) -> pd.DatetimeIndex:
    if isinstance(dates, slice):
        return _range(dates.start, dates.stop, dates.step)
    if isinstance(dates, str):
        parts = dates.split("/")
        return _range(*parts) if len(parts) == 3 else _index([dates])
    if hasattr(dates, "coords"):
        return _index(_times_of(dates))
    if np.ndim(dates) == 0 and not isinstance(dates, Iterable):
        return _index([dates])
    return _index(list(dates))


def _times_of(thing: Any) -> list[Any]:
    if "time" not in thing.coords:
        raise DateError(f"no 'time' coordinate in the {type(thing).__name__} given as query dates")
    return list(np.atleast_1d(thing.coords["time"].values))


def _index(values: Sequence[Any]) -> pd.DatetimeIndex:
    # Numbers would pass as nanoseconds since 1970: refuse what is not a date.
    for value in values:
        if isinstance(value, (int, float, np.integer, np.floating)):
            raise DateError(f"query date {value!r} is a number; write it as '2022-06-01'")
    try:
        return pd.DatetimeIndex([pd.Timestamp(value) for value in values])
    except (ValueError, TypeError) as error:
        raise DateError(f"query date not understood: {error}; write it as '2022-06-01'") from error


def _range(start: Any, stop: Any, step: Any) -> pd.DatetimeIndex:
    if not (start and stop and step):
        raise DateError(
            f"a range of query dates needs start, end and step, got {start!r}, {stop!r}, {step!r}; "
            "such as '2022-01-01/2022-12-31/15D'"
        )
    try:
        return pd.date_range(start, stop, freq=step)
    except (ValueError, TypeError) as error:
        raise DateError(
            f"range of query dates {start}/{stop}/{step} not understood: {error}"
        ) from error


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
    window: str | pd.Timedelta | None = "365D",
) -> DatePlan:
    """Plan which acquisitions each query date sees, and how their days are counted.

    Acquisitions that span no more than `window` form one episode, counted from `origin`. A longer
    cube gives an episode per query date: the acquisitions of the window centred on it, counted
    from that window's start. Days are whole; acquisitions of one sensor on one day are one.

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
        Length of the window, or None for no window.

    Returns
    -------
    DatePlan
        The plan.

    Raises
    ------
    DateError
        If a query date has no acquisition in its window, or `origin` is given where windows
        have their own.
    """
    days = {name: index.floor("D").unique().sort_values() for name, index in times.items()}
    every = _union(days)
    length = None if window is None else _timedelta(window)
    if length is not None:
        _check_served(every, queries, length)
    if length is None or every[-1] - every[0] <= length:
        start = default_origin(every) if origin is None else parse_dates(origin)[0]
        episodes: tuple[Episode, ...] = (_episode(days, start, dict(enumerate(queries))),)
    elif origin is not None:
        raise DateError(
            f"acquisitions span {(every[-1] - every[0]).days} days, more than the window of "
            f"{length.days}: each window counts from its own start, so origin={origin!r} has no "
            "meaning; drop it, or pass window=None"
        )
    else:
        episodes = tuple(
            _windowed(days, query, position, length) for position, query in enumerate(queries)
        )
    return _reads(times, days, episodes)


def default_origin(days: pd.DatetimeIndex) -> pd.Timestamp:
    """Return 1 January of the first year if all `days` lie within 366 days, else the first day."""
    january = pd.Timestamp(year=days[0].year, month=1, day=1)
    return january if days[-1] - january < ONE_YEAR else days[0]


def _union(days: Mapping[str, pd.DatetimeIndex]) -> pd.DatetimeIndex:
    every = pd.DatetimeIndex([day for index in days.values() for day in index])
    if every.empty:
        raise DateError("the cube holds no acquisition of any sensor: there is nothing to fuse")
    return every.unique().sort_values()


def _timedelta(window: str | pd.Timedelta) -> pd.Timedelta:
    try:
        length = pd.Timedelta(window)
    except ValueError as error:
        raise DateError(f"window {window!r} is not a duration: write it as '365D'") from error
    if not length > pd.Timedelta(0):
        raise DateError(f"window must be longer than nothing, got {window!r}")
    return length


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
    times: Mapping[str, pd.DatetimeIndex],
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
            tuple(np.flatnonzero(times[name].floor("D") == days[name][position]).tolist())
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

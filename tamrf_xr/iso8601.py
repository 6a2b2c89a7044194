"""Dates, durations and steps as ISO 8601 writes them, and nothing else: no guessing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from tamrf_xr.errors import DateError

MOST_DATES = 100_000
"""Of one range: 273 years of days."""

Length = str | float | timedelta | np.timedelta64
"""How long: text such as ``"12h"`` or ``"P10D"``, a timedelta, or a number of days."""

_ZONE = r"(?:Z|[+-]\d{2}(?::?\d{2})?)?"
_MOMENT = re.compile(
    rf"\d{{4}}-\d{{2}}-\d{{2}}(?:[T ]\d{{2}}:\d{{2}}(?::\d{{2}}(?:\.\d{{1,9}})?)?{_ZONE})?"
    rf"|\d{{8}}(?:T\d{{4}}(?:\d{{2}}(?:\.\d{{1,9}})?)?{_ZONE})?",
    re.ASCII,
)
_PART = re.compile(r"\d{4}(-\d{2})?", re.ASCII)
_NUMBER = r"\d+(?:\.\d+)?"
_DURATION = re.compile(
    r"(?P<sign>[+-]?)P(?=[\dT])(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?"
    rf"(?:(?P<weeks>{_NUMBER})W)?(?:(?P<days>{_NUMBER})D)?"
    rf"(?:T(?=\d)(?:(?P<hours>{_NUMBER})H)?(?:(?P<minutes>{_NUMBER})M)?"
    rf"(?:(?P<seconds>{_NUMBER})S)?)?",
    re.ASCII,
)
_UNITS = ("weeks", "days", "hours", "minutes", "seconds")
_LENGTH = re.compile(rf"{_NUMBER}(?: ?[A-Za-z]+(?: [+]?\d{{2}}:\d{{2}}:\d{{2}}(?:\.\d+)?)?)?")


def read_moment(text: str) -> pd.Timestamp:
    """Read a date, with or without a time of day.

    Parameters
    ----------
    text
        ``2022-06-01`` or ``20220601``; ``2022-06-01T10:30``, with seconds and their fraction, a
        space for the ``T``, and a zone such as ``Z`` or ``+02:00``.

    Returns
    -------
    pandas.Timestamp
        Without zone: converted to UTC where `text` names one, else as written.

    Raises
    ------
    DateError
        If it is written in any other way, or is a day that no calendar has.

    Examples
    --------
    >>> read_moment("2022-06-01T01:30+02:00")
    Timestamp('2022-05-31 23:30:00')
    """
    text = text.strip()
    if _PART.fullmatch(text):
        first = f"{text}-01-01"[:10]
        raise DateError(
            f"query date {text!r} names no day; write the day, as {first!r}, or a range with its "
            f"step, as '{first}/{text[:4]}-12-31/15D'"
        )
    if not _MOMENT.fullmatch(text):
        raise DateError(f"query date {text!r} not understood; write it as '2022-06-01'")
    try:
        moment = pd.Timestamp(text)
    except ValueError as error:
        raise DateError(f"query date not understood: {error}; write it as '2022-06-01'") from error
    return moment.tz_convert(None) if moment.tz is not None else moment


@dataclass(frozen=True, slots=True)
class Duration:
    """A span of months, whose length is the calendar's, and of time."""

    months: int
    """Months; a year is 12."""

    rest: pd.Timedelta
    """What is added to them."""


def read_duration(text: str) -> Duration | None:
    """Read an ISO 8601 duration; None where `text` is none.

    Examples
    --------
    >>> read_duration("P1Y2M3DT12H")
    Duration(months=14, rest=Timedelta('3 days 12:00:00'))
    >>> read_duration("15D") is None
    True
    """
    found = _DURATION.fullmatch(text)
    if not found:
        return None
    sign = -1 if found["sign"] == "-" else 1
    months = 12 * int(found["years"] or 0) + int(found["months"] or 0)
    try:
        rest = pd.Timedelta(timedelta(**{unit: float(found[unit] or 0) for unit in _UNITS}))
    except (ValueError, OverflowError) as error:
        raise DateError(f"duration {text!r} is too long: {error}") from error
    return Duration(sign * months, sign * rest)


def read_length(value: Length, what: str) -> pd.Timedelta:
    """Read how long something is.

    Parameters
    ----------
    value
        ``"365D"``, ``"12h"``, ``"P10D"``, a timedelta; a bare number, as text too, is days.
    what
        What it is the length of, for errors.

    Returns
    -------
    pandas.Timedelta
        More than nothing.

    Raises
    ------
    DateError
        If it is no length, none that is known (a month), or nothing.

    Examples
    --------
    >>> read_length(365, "window") == read_length("365", "window") == read_length("P365D", "window")
    True
    """
    length = _length_of(value)
    if length is None:
        raise DateError(
            f"{what} {value!r} is not a duration: write it as '365D', 'P365D' or, in days, 365"
        )
    if not length > pd.Timedelta(0):
        raise DateError(f"{what} must be longer than nothing, got {value!r}")
    return length


def _length_of(value: Any) -> pd.Timedelta | None:
    if isinstance(value, str):
        text = value.strip()
        iso = read_duration(text)
        if iso is not None:
            return None if iso.months else iso.rest
        if not _LENGTH.fullmatch(text):
            return None
        value = text if text[-1].isalpha() or " " in text else float(text)
    if isinstance(value, bool):
        return None
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    try:
        found: Any = pd.Timedelta(float(value), "D") if is_number else pd.Timedelta(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return None if found is pd.NaT else found


def read_range(start: pd.Timestamp, stop: pd.Timestamp, step: Any) -> pd.DatetimeIndex:
    """List the moments from `start` to `stop`, both included, every `step`.

    Parameters
    ----------
    start, stop
        Without zone.
    step
        An ISO 8601 duration: months and years are those of the calendar, counted from `start`,
        at most the last day of a month; or a pandas frequency such as ``"15D"`` or ``"MS"``.

    Returns
    -------
    pandas.DatetimeIndex
        Ascending, at least one.

    Raises
    ------
    DateError
        If the step is none, nothing or backwards, or gives no moment or more than `MOST_DATES`.

    Examples
    --------
    >>> first, last = pd.Timestamp("2022-01-31"), pd.Timestamp("2022-04-30")
    >>> read_range(first, last, "P1M").strftime("%d %b").tolist()
    ['31 Jan', '28 Feb', '31 Mar', '30 Apr']
    """
    if stop < start:
        raise DateError(
            f"a range of query dates from {start} to {stop} ends before it starts: at least one "
            "date is needed; write the earlier one first"
        )
    duration = read_duration(step.strip()) if isinstance(step, str) else None
    if duration is None:
        found = _by_frequency(start, stop, step)
    else:
        _check_forward(duration.months, duration.rest, step)
        found = _by_duration(start, stop, duration)
    if found.empty:
        raise DateError(
            f"no date from {start} to {stop} is of the step {step!r}, and at least one is needed"
        )
    _check_count(len(found), step)
    return found


def _check_forward(months: int, rest: pd.Timedelta, step: Any) -> None:
    if months < 0 or rest < pd.Timedelta(0):
        raise DateError(f"step {step!r} goes back in time; write one that goes forward, as '15D'")
    if not months and not rest:
        raise DateError(f"a step of {step!r} is nothing, and never ends; write one such as '15D'")


def _check_count(count: float, step: Any) -> None:
    if count > MOST_DATES:
        raise DateError(
            f"a step of {step!r} gives {count:.0f} query dates, more than {MOST_DATES}; write a "
            "longer step, or a shorter range"
        )


def _by_duration(start: pd.Timestamp, stop: pd.Timestamp, step: Duration) -> pd.DatetimeIndex:
    shortest = pd.Timedelta(days=28) * step.months + step.rest
    most = (stop - start) // shortest + 1
    if not step.months:
        _check_count(most, str(step.rest))
        return pd.DatetimeIndex(start + step.rest * np.arange(most))
    number = np.arange(min(most, 2 * MOST_DATES))
    months = np.datetime64(start, "M") + step.months * number
    firsts = months.astype("M8[D]")
    lengths = ((months + 1).astype("M8[D]") - firsts).astype(int)
    days = pd.DatetimeIndex((firsts + np.minimum(start.day, lengths) - 1).astype("M8[us]"))
    found = days + (start - start.floor("D")) + pd.TimedeltaIndex(step.rest * number)
    return found[found <= stop]


def _by_frequency(start: pd.Timestamp, stop: pd.Timestamp, step: Any) -> pd.DatetimeIndex:
    try:
        offset: Any = pd.tseries.frequencies.to_offset(step)
        if offset is None:
            raise ValueError("there is none")
        first = start if offset.n == 0 else start + offset
        _check_forward(0, first - start, step)
        if isinstance(offset, (pd.offsets.Tick, pd.offsets.Day)):
            _check_count((stop - start) // (first - start) + 1, step)
        return pd.date_range(start, stop, freq=offset)
    except DateError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise DateError(
            f"step {step!r} of the query dates not understood: {error}; write days as '15D' or "
            "'P15D', months as 'P1M', hours as 'PT12H'"
        ) from error

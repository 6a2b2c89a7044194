"""What is monitored: which acquisitions, and what each of them is predicted from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from tamrf_xr.cube import groups_of, is_product, validate
from tamrf_xr.dates import parse_dates
from tamrf_xr.days import ONE_DAY
from tamrf_xr.errors import CubeError, DateError, OptionError
from tamrf_xr.iso8601 import read_length

LATENCY = "1D"
"""How old the newest acquisition is that a prediction sees, by default."""

FIRST_PAST = pd.Timedelta("90D")
"""Of a series, what is not monitored unless it is asked: too little is known then."""


@dataclass(frozen=True, slots=True)
class Span:
    """Acquisitions that are monitored."""

    positions: Mapping[str, tuple[int, ...]]
    """Per sensor, which of its acquisitions."""

    queries: pd.DatetimeIndex
    """Their times, each once, in order."""

    asked: Mapping[str, tuple[int, ...]]
    """Per sensor, which of `queries` each of `positions` is."""

    latency: pd.Timedelta
    """How old what a prediction sees is, at least."""


def check_monitored(cube: xr.DataTree) -> None:
    """Refuse what cannot be monitored.

    Raises
    ------
    CubeError
        If it is no cube, a product, or has no masks.
    """
    validate(cube)
    for name, group in groups_of(cube).items():
        if is_product(group):
            raise CubeError(
                f"/{name} was made by fuse: alerts compare observations with what is predicted of "
                "them; pass the cube that the product was made from"
            )
        if "valid" not in group:
            raise CubeError(
                f"/{name} has no 'valid': clouds would be alerts; give masks (True where usable, "
                "tamrf_xr.as_cube(..., mask=...)), or drop /" + name
            )


def span_of(times: Mapping[str, pd.DatetimeIndex], since: Any, until: Any, latency: Any) -> Span:
    """Return the acquisitions from `since` to the end of the day `until`.

    Parameters
    ----------
    times
        Per sensor, of all acquisitions.
    since, until
        Dates; None for `FIRST_PAST` and `latency` after the first acquisition, and the end.
    latency
        At least a day: an acquisition must not see itself, nor the other sensor's of its day.

    Raises
    ------
    DateError, OptionError
        If one cannot be read, or no acquisition lies between.
    """
    wait = read_length(latency, "latency")
    if wait < ONE_DAY:
        raise OptionError(
            f"latency is {latency!r:.40}: expected a day or more, or an acquisition would be "
            "compared with what it was predicted from itself"
        )
    every = pd.DatetimeIndex(np.unique(np.concatenate([index.values for index in times.values()])))
    first = every[0].floor("D") + FIRST_PAST + wait if since is None else _date(since, "since")
    last = every[-1] if until is None else _date(until, "until")
    end = last.floor("D") + ONE_DAY
    queries = every[(every >= first) & (every < end)]
    if queries.empty:
        raise DateError(
            f"no acquisition to monitor from {first:%Y-%m-%d} to {last:%Y-%m-%d}: the cube has "
            f"those of {every[0]:%Y-%m-%d} to {every[-1]:%Y-%m-%d}; name other dates"
            + ("" if since is not None else ", such as since= (--since) earlier in it")
        )
    positions = {
        name: tuple(np.flatnonzero((index >= first) & (index < end)).tolist())
        for name, index in times.items()
    }
    asked = {
        name: tuple(queries.get_indexer(times[name][list(own)]).tolist())
        for name, own in positions.items()
    }
    return Span(positions, queries, asked, wait)


def _date(value: Any, name: str) -> pd.Timestamp:
    found = parse_dates(value)
    if len(found) != 1:
        raise DateError(f"{name} is one date, got {len(found)}: {value!r:.60}")
    return found[0]

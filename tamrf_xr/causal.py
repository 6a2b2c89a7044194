"""Causal plans: a query date sees nothing that was acquired after it.

A plan is put together from those of the series as they were: for every set of acquisitions that
some query date may see, what `tamrf_xr.dates.plan_dates` plans of these alone. So the count of
days, windows and images of one day are those of a cube without what came later.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from tamrf_xr.dates import DateLike, DatePlan, plan_dates
from tamrf_xr.days import ONE_DAY, SAME_DAY
from tamrf_xr.errors import DateError, TimingWarning
from tamrf_xr.fuser import Episode
from tamrf_xr.iso8601 import Length, read_length

Positions = dict[str, tuple[int, ...]]
"""Per sensor, positions of acquisitions in a cube."""

Times = Mapping[str, pd.DatetimeIndex]
"""Per sensor, acquisition times in any order."""


def plan_causally(
    times: Times,
    queries: pd.DatetimeIndex,
    *,
    latency: Length | None = None,
    origin: DateLike | None = None,
    window: Length | None = "365D",
    same_day: Length = SAME_DAY,
) -> DatePlan:
    """Plan as `plan_dates` would if what came after a query date were not in the cube.

    Parameters
    ----------
    times, queries, origin, window, same_day
        As for `plan_dates`.
    latency
        How long an acquisition takes to arrive; None for no time.

    Returns
    -------
    DatePlan
        The plan; query dates that see the same acquisitions share an episode.

    Raises
    ------
    DateError
        If a query date has no past, or as `plan_dates` does.

    Warns
    -----
    TimingWarning
        If the past of some query dates fits the window, and that of later ones does not.
    """
    shared: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for place, query in enumerate(queries):
        past = past_of(times, query, latency=latency)
        shared.setdefault(tuple(past.values()), []).append(place)
    groups = [(dict(zip(times, key, strict=True)), asked) for key, asked in shared.items()]
    _tell_of_windows(times, [past for past, _ in groups], window)
    counting = {"origin": origin, "window": window, "same_day": same_day}
    plans = [
        _on_positions(
            plan_dates(_at(times, past), queries[asked], **counting),  # type: ignore[arg-type]
            past,
            asked,
        )
        for past, asked in groups
    ]
    return _joined(plans, times)


def past_of(times: Times, query: pd.Timestamp, *, latency: Length | None = None) -> Positions:
    """Return the acquisitions that a query date may see.

    Those that had arrived by the moment asked: the query's time, or the end of its day where it
    is a date. An acquisition that is a date without a time of day counts as of the end of its day.

    Parameters
    ----------
    times
        Acquisition times per sensor.
    query
        The query date.
    latency
        How long an acquisition takes to arrive.

    Raises
    ------
    DateError
        If there is none.

    Examples
    --------
    >>> times = {"landsat": pd.DatetimeIndex(["2022-06-07T10:30", "2022-06-08T10:30"])}
    >>> past_of(times, pd.Timestamp("2022-06-10"), latency="3D")
    {'landsat': (0,)}
    """
    wait = pd.Timedelta(0) if latency is None else read_length(latency, "latency")
    asked = _moments(pd.DatetimeIndex([query]))[0]
    seen = {
        name: tuple(np.flatnonzero(_moments(index) + wait <= asked).tolist())
        for name, index in times.items()
    }
    if not any(seen.values()):
        first = min((index.min() for index in times.values() if len(index)), default=None)
        waited = f", which arrives after {wait.isoformat()}" if latency is not None else ""
        raise DateError(
            f"query date {query:%Y-%m-%d} has no past: the first acquisition is of "
            f"{'no date' if first is None else first.isoformat()}{waited}; ask for later dates, "
            "or drop causal=True (--causal)"
        )
    return seen


def _moments(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Return when something was there: dates without time of day at the end of theirs."""
    dates = times == times.floor("D")
    return pd.DatetimeIndex(times.where(~dates, times + ONE_DAY))


def _at(times: Times, past: Positions) -> dict[str, pd.DatetimeIndex]:
    return {name: index[list(past[name])] for name, index in times.items()}


def _on_positions(plan: DatePlan, past: Positions, asked: Sequence[int]) -> DatePlan:
    """Bring a plan of a part of the acquisitions and queries to their positions among all."""
    reads = {
        name: tuple(tuple(past[name][one] for one in image) for image in images)
        for name, images in plan.reads.items()
    }
    episodes = tuple(
        replace(episode, queries=tuple(asked[query] for query in episode.queries))
        for episode in plan.episodes
    )
    return DatePlan(reads, episodes)


def _joined(plans: Sequence[DatePlan], times: Times) -> DatePlan:
    """Join plans: what several of them read is read once.

    A day of which a query saw a part, and a later one all, is two images.
    """
    reads = {
        name: tuple(
            sorted(
                {image for plan in plans for image in plan.reads[name]},
                key=lambda image, name=name: (times[name][list(image)].min(), len(image), image),  # type: ignore[misc]
            )
        )
        for name in times
    }
    number = {name: {image: at for at, image in enumerate(reads[name])} for name in reads}

    def renumbered(plan: DatePlan, episode: Episode) -> Episode:
        seen = {
            name: tuple(number[name][plan.reads[name][one]] for one in chosen)
            for name, chosen in episode.seen.items()
        }
        return replace(episode, seen=seen)

    return DatePlan(
        reads, tuple(renumbered(plan, episode) for plan in plans for episode in plan.episodes)
    )


def _tell_of_windows(times: Times, pasts: Sequence[Positions], window: Length | None) -> None:
    """Warn where later query dates see less of their past than earlier ones."""
    if window is None:
        return
    length = read_length(window, "window")
    within = [_span(_at(times, past)) <= length for past in pasts]
    if any(within) and not all(within):
        warnings.warn(
            f"the past of later query dates outgrows the window of {length.days} days: they see "
            "the half of it that lies before them, earlier ones all their past, counted from "
            "another day. Pass window=None (--window none) for all the past of each, or a longer "
            "window; ignore TimingWarning to keep both",
            TimingWarning,
            stacklevel=5,
        )


def _span(times: Times) -> pd.Timedelta:
    every = [day for index in times.values() for day in index.floor("D")]
    return pd.Timedelta(max(every) - min(every))

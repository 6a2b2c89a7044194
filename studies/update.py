"""Which query dates of a product new acquisitions touch: the picture of docs/update.md.

``python -m studies.update --figure docs/update.png`` plans dates with and without three
acquisitions, as `tamrf_xr.updating` does, and draws what each sees. ``--tiny`` for a test.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from tamrf_xr.dates import DatePlan, plan_dates


def main(arguments: list[str] | None = None) -> int:
    """Plan, print how many are touched, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, help="where to draw")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(arguments)
    days = pd.date_range("2021-01-03", "2022-12-28", periods=24 if options.tiny else 58).floor("D")
    queries = pd.date_range("2021-01-10", "2022-12-20", periods=24).floor("D")
    then, now = (_seen({"sentinel2": some}, queries) for some in (days[:-3], days))
    touched = [at for at in range(len(queries)) if then[at] != now[at]]
    print(f"{len(touched)} of {len(queries)} query dates see something else")
    if options.figure:
        _draw(days, queries, seen=now, touched=touched, path=options.figure)
    return len(touched)


def _seen(
    times: dict[str, pd.DatetimeIndex], queries: pd.DatetimeIndex
) -> dict[int, tuple[int, ...]]:
    plan: DatePlan = plan_dates(times, queries)
    return {
        query: tuple(plan.reads["sentinel2"][one][0] for one in episode.seen["sentinel2"])
        for episode in plan.episodes
        for query in episode.queries
    }


def _draw(
    days: pd.DatetimeIndex,
    queries: pd.DatetimeIndex,
    *,
    seen: dict[int, tuple[int, ...]],
    touched: list[int],
    path: Path,
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    for at in range(len(queries)):
        colour = "#cc3311" if at in touched else "#4477aa"
        axes.plot(days[[min(seen[at]), max(seen[at])]], [at, at], color=colour, lw=2)
        axes.plot(queries[[at]], [at], "o", color=colour)
    axes.plot(days[:-3], np.full(len(days) - 3, -2), "|", color="black", ms=9)
    axes.plot(days[-3:], np.full(3, -2), "|", color="#cc3311", ms=14, mew=2.5)
    axes.set(ylabel="query date", yticks=[], title="below: acquisitions, the new ones in red")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

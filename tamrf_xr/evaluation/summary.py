"""The summary of a table: means over dates by method, on dates given and on dates left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tamrf_xr.evaluation.intervals import SHARES
from tamrf_xr.evaluation.score import columns_of, sensor_order
from tamrf_xr.sensors import SENSORS, THERMAL

AVERAGE = "average"
DATES = {False: "masked", True: "clear"}
"""In the words of the paper: dates that were left out, and dates that the method was given."""

DECIMALS = {
    "rmse": 4,
    "nrmse": 3,
    "sam": 3,
    "frr": 2,
    "brisque": 1,
    **{f"within_{share}": 3 for share in SHARES},
    "width_80": 4,
    "crps": 4,
}
TITLES = {
    "rmse": "RMSE",
    "nrmse": "NRMSE",
    "sam": "SAM (rad)",
    "frr": "FRR (dB)",
    "brisque": "BRISQUE",
    **{f"within_{share}": f"within {share} %" for share in SHARES},
    "width_80": "width of 80 %",
    "crps": "CRPS",
}
AIMS = {"frr": 0.0} | {f"within_{share}": share / 100 for share in SHARES}
"""Of metrics that are best at a value, rather than least."""

KELVINS = ("rmse", "width_80", "crps")
"""Metrics in the unit of the band."""
FEW = 3
"""Names of cubes that are listed."""

UNLIKE = "  on unlike dates; the report has the means of dates that every method answered"
BOLD, PLAIN = "\033[1m", "\033[0m"


@dataclass(frozen=True, slots=True)
class Block:
    """The runs compared on one kind of dates of one sensor, by one metric."""

    sensor: str
    """Name of the sensor."""

    dates: str
    """``"clear"`` or ``"masked"``."""

    metric: str
    """Column of the table."""

    values: pd.DataFrame
    """One row a run, one column a band and the average of the reflectance bands of all runs."""

    counts: pd.DataFrame
    """One row a run: dates ``asked``, ``scored``, and ``cloudy`` (no usable pixel)."""

    @property
    def best(self) -> pd.DataFrame:
        """Where each column is best; nowhere if there is nothing to compare."""
        aim = AIMS.get(self.metric)
        distance = self.values if aim is None else (self.values - aim).abs()
        if len(distance) < 2:
            return pd.DataFrame(False, distance.index, distance.columns)
        return distance.eq(distance.min())


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Average a table over dates and cubes.

    Parameters
    ----------
    table
        Of `evaluate`.

    Returns
    -------
    pandas.DataFrame
        One row per run, sensor, kind of dates (``clear``: given, ``masked``: left out), metric
        and band, ``average`` being the mean over the reflectance bands that every run makes:
        ``value``, and the dates ``asked``, ``scored`` and ``cloudy``. NaN is left out of means.
    """
    return pd.DataFrame([row for block in blocks(table) for row in _long(block)])


def blocks(table: pd.DataFrame) -> Iterator[Block]:
    """Go through the comparisons that a table holds, sensor by sensor."""
    answered = table[table["failed"] == ""]
    if answered.empty:
        return
    order = list(dict.fromkeys(answered["run"]))
    for sensor in sensor_order(answered["sensor"]):
        for given, dates in DATES.items():
            chosen = answered[(answered["sensor"] == sensor) & (answered["is_input"] == given)]
            runs = [run for run in order if (chosen["run"] == run).any()]
            for metric in columns_of(table) if runs else ():
                yield Block(
                    sensor,
                    dates,
                    metric,
                    _means(chosen, metric, sensor).reindex(runs),
                    _counts(chosen, metric).reindex(runs),
                )


def _long(block: Block) -> Iterator[dict[str, object]]:
    head = {"sensor": block.sensor, "dates": block.dates, "metric": block.metric}
    counts = block.counts.to_dict("index")
    for run, values in block.values.to_dict("index").items():
        for band, value in values.items():
            tally = {str(name): count for name, count in counts[run].items()}
            yield {"run": run, **head, "band": band, "value": value, **tally}


def common_dates(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows of dates and bands that every run answered, so that means compare.

    Every run that answered anything of that sensor on that kind of dates; a band that one of them
    does not make is dropped.
    """
    rows = table[(table["failed"] == "") & table["rmse"].notna()]
    kind = ["sensor", "is_input"]
    runs = rows.groupby(kind)["run"].transform("nunique")
    shared = rows.groupby([*kind, "cube", "band", "date"])["rmse"].transform("size")
    return rows[shared == runs]


def _means(chosen: pd.DataFrame, metric: str, sensor: str) -> pd.DataFrame:
    means = chosen.pivot_table(
        index="run", columns="band", values=metric, aggfunc="mean", dropna=False, observed=True
    )
    present = [band.name for band in SENSORS[sensor].all_bands if band.name in means]
    means = means[present]
    optical = [band for band in present if band != THERMAL]
    if optical:
        # Over the bands that every run makes: a run of the easy bands alone is no better for it.
        answered = means[optical].dropna(how="all")
        shared = [band for band in optical if answered[band].notna().all()]
        means.insert(0, AVERAGE, means[shared].mean(axis=1))
    return means


def _counts(chosen: pd.DataFrame, metric: str) -> pd.DataFrame:
    dates = chosen.groupby(["run", "cube", "date"]).agg(
        scored=(metric, lambda values: values.notna().any()),
        cloudy=("clear_rate", lambda rates: (rates == 0).any()),
    )
    counted = dates.groupby("run").agg(
        asked=("scored", "size"), scored=("scored", "sum"), cloudy=("cloudy", "sum")
    )
    return counted.astype(int)


def failures(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run and reason for which it failed: run, cubes (as text), reason."""
    failed = table[table["failed"] != ""]
    if failed.empty:
        return pd.DataFrame(columns=["run", "cubes", "reason"])
    cubes = failed.groupby(["run", "failed"], sort=False)["cube"].agg(_few).reset_index()
    return cubes.set_axis(["run", "reason", "cubes"], axis=1)


def _few(names: pd.Series) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(map(str, names[:FEW])) + more


def summary_text(table: pd.DataFrame, *, style: Sequence[str] = (BOLD, PLAIN)) -> str:
    """Write a summary for a terminal: averages of every metric, then the first one per band.

    Parameters
    ----------
    table
        Of `evaluate`.
    style
        What begins and ends the best figures; ``("*", "")`` where there is no bold.

    Returns
    -------
    str
        Lines of text.
    """
    lines: list[str] = []
    groups: dict[tuple[str, str], list[Block]] = {}
    for block in blocks(table):
        groups.setdefault((block.sensor, block.dates), []).append(block)
    for (sensor, dates), group in groups.items():
        asked, cloudy = group[0].counts["asked"].max(), group[0].counts["cloudy"].max()
        kind = "left out" if dates == DATES[False] else "given"
        title = f"{SENSORS[sensor].title}, {dates} dates ({kind}): {asked} asked"
        lines += [
            title + (f", {cloudy} of them fully cloudy" if cloudy else ""),
            *_lines(group, style),
            *([UNLIKE] if group[0].counts["scored"].nunique() > 1 else []),
            "",
        ]
    lines += [
        f"left out: {row.run} on {row.cubes}: {row.reason}" for row in failures(table).itertuples()
    ]
    return "\n".join(lines).rstrip()


def _lines(group: list[Block], style: Sequence[str]) -> list[str]:
    parts = [
        cells(block, [AVERAGE if AVERAGE in block.values else THERMAL]).set_axis(
            [TITLES[block.metric]], axis=1
        )
        for block in group
    ]
    bands = [str(band) for band in group[0].values if band != AVERAGE]
    parts.append(cells(group[0], bands))
    scored = group[0].counts["scored"].map(str).to_frame("dates").map(lambda text: (text, False))
    return _aligned(pd.concat([scored, *parts], axis=1), style)


def cells(block: Block, columns: list[str]) -> pd.DataFrame:
    """Return per run and column the figure as it is written, and whether it is the best."""
    best = block.best
    cells = {
        column: [
            (shown(value, block.metric, column), bool(bold))
            for value, bold in zip(block.values[column], best[column], strict=True)
        ]
        for column in columns
    }
    return pd.DataFrame(cells, index=block.values.index)


def shown(value: float, metric: str, band: str) -> str:
    """Write a figure with the decimals its metric deserves; kelvin have two."""
    if np.isnan(value):
        return "-"
    return f"{value:.{2 if band == THERMAL and metric in KELVINS else DECIMALS[metric]}f}"


def _aligned(cells: pd.DataFrame, style: Sequence[str]) -> list[str]:
    names = [str(run) for run in cells.index]
    first = max(map(len, names))
    widths = [
        max([len(str(name)), *(len(text) for text, _ in cells.iloc[:, place])])
        for place, name in enumerate(cells)
    ]
    head = " " * first
    head += "".join(f"{name!s:>{width + 2}}" for name, width in zip(cells, widths, strict=True))
    rows = []
    for name, row in zip(names, cells.itertuples(index=False), strict=True):
        line = f"{name:<{first}}"
        for (text, bold), width in zip(row, widths, strict=True):
            marked = style[0] + text + style[1] if bold else text
            seen = len(text) + (len(style[0]) if bold and style[0].isprintable() else 0)
            line += " " * (width + 2 - seen) + marked
        rows.append(line)
    return ["  " + line for line in [head, *rows]]

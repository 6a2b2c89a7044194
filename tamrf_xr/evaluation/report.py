"""The report of an evaluation: tables, figures, and one HTML page that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined, Template

from tamrf_xr.cube import groups_of
from tamrf_xr.evaluation import summary
from tamrf_xr.evaluation.acquisitions import SceneReader, bands_of
from tamrf_xr.evaluation.pictures import DIFFERENCES, VIEWS, views_of
from tamrf_xr.evaluation.plots import figures, svg
from tamrf_xr.evaluation.results import Result, write_table
from tamrf_xr.evaluation.running import Plan, Subject
from tamrf_xr.evaluation.score import columns_of
from tamrf_xr.evaluation.tasks import Run, label_runs
from tamrf_xr.replacing import fresh_file
from tamrf_xr.sensors import SENSORS, THERMAL

VIEWER_CUBES = 4
"""Cubes in the viewer, so that the page opens; the tables hold all of them."""

Results = Mapping[tuple[str, Run], Result]


@dataclass(frozen=True, slots=True)
class Study:
    """What was evaluated."""

    plan: Plan
    """The protocol and its options."""

    runs: tuple[Run, ...]
    """What was compared."""

    subjects: tuple[Subject, ...]
    """On what."""

    out: Path
    """Folder of the report."""


def write_report(study: Study, results: Results) -> pd.DataFrame:
    """Write tables, figures and the page of a study; return the table.

    Parameters
    ----------
    study
        What was evaluated.
    results
        Per name of a cube and run.

    Returns
    -------
    pandas.DataFrame
        All rows, failures included.
    """
    labels = label_runs(study.runs)
    table = _joined([_named(result.table, labels[run]) for (_, run), result in results.items()])
    profiles = _joined(
        [_named(result.profiles, labels[run]) for (_, run), result in results.items()]
    )
    name, out = study.plan.task.name, study.out
    write_table(table, out / f"{name}.parquet")
    write_table(table, out / f"{name}.csv")
    write_table(summary.summarize(table), out / f"{name}-summary.csv")
    drawn = {}
    answered = table[table["failed"] == ""]
    for title, figure in figures(answered, profiles) if len(answered) else ():
        drawn[title] = svg(figure)
        _write(out / name / f"{title}.svg", drawn[title])
    _write(out / f"{name}.html", page(study, results, table, figures_svg=drawn))
    return table


def page(
    study: Study, results: Results, table: pd.DataFrame, *, figures_svg: Mapping[str, str]
) -> str:
    """Return the page as text: summary, figures and viewer, all inside; every name escaped."""
    failures = summary.failures(table).to_dict("records")
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in figures_svg.items()}
    return _template().render(
        title=study.plan.task.name.replace("-", " "),
        about=study.plan.task.about,
        facts=_facts(study, table),
        failures=failures,
        tables=_summary(table),
        figures=encoded,
        data=_viewer(study, results),
    )


def _template() -> Template:
    options: Any = {"trim_blocks": True, "lstrip_blocks": True, "undefined": StrictUndefined}
    environment = Environment(autoescape=True, **options)
    # `tojson` writes < > & ' as \u003c ...: a tag inside a string would end the script.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "default": str}
    text = (files("tamrf_xr.evaluation") / "report.html").read_text(encoding="utf-8")
    return environment.from_string(text)


def _named(table: pd.DataFrame, run: str) -> pd.DataFrame:
    """Add the name of the run, which depends on what it is compared with."""
    if table.empty:
        return table
    place = table.columns.tolist().index("compensated") + 1
    parts = [table.iloc[:, :place], pd.DataFrame({"run": run}, table.index), table.iloc[:, place:]]
    return pd.concat(parts, axis=1)


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    if not filled:
        return pd.DataFrame()
    columns = list(dict.fromkeys(column for table in filled for column in table.columns))
    # "failed" comes last, whether the first run failed or not.
    columns.sort(key=lambda column: column == "failed")
    joined = pd.concat(filled, ignore_index=True)[columns]
    flags = {"is_input": "boolean", "has_reference": "boolean"}
    return joined.astype({name: kind for name, kind in flags.items() if name in joined})


def _write(path: Path, text: str) -> None:
    with fresh_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _facts(study: Study, table: pd.DataFrame) -> dict[str, str]:
    plan = study.plan
    strategies = dict.fromkeys(run.strategy for run in study.runs)
    frr = f"FRR on dates at least {plan.scoring.frr_clear_rate:.0%} clear"
    metrics = ", ".join(summary.TITLES[name] for name in columns_of(table))
    absent = [name for name in plan.scoring.metrics if name not in table.columns]
    facts = {
        "cubes": ", ".join(subject.name for subject in study.subjects),
        "methods": ", ".join(dict.fromkeys(run.method for run in study.runs)),
        "strategy": ", ".join(strategies),
        "metrics": f"{metrics}; {frr}" if "frr" in plan.scoring.metrics else metrics,
        "margin": f"{plan.scoring.margin} pixels on every side of the images compared",
    }
    if absent and (table["failed"] == "").any():
        facts["not computed"] = f"{', '.join(absent)} (its model is not installed)"
    if any(run.leaves_one_out for run in study.runs):
        facts["left out"] = "under ALL2CONJHR, each image while it is asked, and only then"
    return facts


def _summary(table: pd.DataFrame) -> list[dict[str, Any]]:
    common = summary.common_dates(table) if "rmse" in table.columns else table[:0]
    shown = {"all": table}
    if 0 < len(common) < int((table["failed"] == "").sum()):
        shown["common"] = common
    return [_table(block, dates) for dates, part in shown.items() for block in summary.blocks(part)]


def _table(block: summary.Block, dates: str) -> dict[str, Any]:
    bands = [str(band) for band in block.values.columns]
    cells = summary.cells(block, bands)
    return {
        "block": block,
        "dates": dates,
        "title": SENSORS[block.sensor].title,
        "kind": "left out" if block.dates == "masked" else "given",
        "metric": summary.TITLES[block.metric],
        "bands": bands,
        "rows": list(zip(cells.index, cells.to_numpy(), block.counts.to_numpy(), strict=True)),
    }


def _viewer(study: Study, results: Results) -> dict[str, Any]:
    """Return what the viewer shows: cube, sensor, view, date, run."""
    cubes = []
    for subject in study.subjects[:VIEWER_CUBES]:
        name = subject.name
        runs = {
            run.slug: result.pictures
            for (owner, run), result in results.items()
            if owner == name and result.pictures
        }
        if runs:
            album = _album(subject.brought_near(), runs)
            cubes.append({"name": name, **album, "scores": _scores(name, results)})
    return {
        "runs": [{"id": run.slug, "label": label} for run, label in label_runs(study.runs).items()],
        "sensors": {name: sensor.title for name, sensor in SENSORS.items()},
        "differences": DIFFERENCES,
        "thermal": THERMAL,
        "cubes": cubes,
        "more": max(len(study.subjects) - VIEWER_CUBES, 0),
    }


def _album(subject: Subject, runs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pictures of the runs, and those of every acquisition that they refer to."""
    wanted: set[tuple[str, str]] = set()
    views: dict[str, dict[str, tuple[str, ...]]] = {}
    for sensor, group in groups_of(subject.cube).items():
        views[sensor] = views_of(sensor, bands_of(group))
    for pictures in runs.values():
        for key, shown in pictures.items():
            sensor, view, day = key.split("|")
            views[sensor].setdefault(view, VIEWS[sensor].get(view, (view,)))
            wanted |= {(sensor, day), *shown["closest"].items()}
    return {"runs": runs, "acquired": _acquisitions(subject, wanted, views)}


def _acquisitions(
    subject: Subject,
    wanted: set[tuple[str, str]],
    views: Mapping[str, Mapping[str, tuple[str, ...]]],
) -> dict[str, Any]:
    painted: dict[str, Any] = {}
    for sensor, group in groups_of(subject.cube).items():
        days = pd.DatetimeIndex(sorted(day for name, day in wanted if name == sensor))
        reader = SceneReader(group, days)
        for day in days:
            scene = reader.read(day)
            if scene is not None:
                clear = round(float(scene.valid.mean()), 3)
                painted[f"{sensor}|{day:%Y-%m-%d}"] = {"clear": clear} | {
                    name: subject.painter.paint(sensor, scene, view)
                    for name, view in views[sensor].items()
                }
    return painted


def _scores(name: str, results: Results) -> dict[str, Any]:
    """Return per run, sensor and date the means over bands that the viewer tells."""
    scores: dict[str, Any] = {}
    for (owner, run), result in results.items():
        if owner != name or not result.pictures:
            continue
        rows = result.table.assign(date=result.table["date"].dt.strftime("%Y-%m-%d"))
        thermal = rows["band"] == THERMAL
        columns = columns_of(rows)
        means_of = {}
        for part, label in ((rows[~thermal], ""), (rows[thermal], f"|{THERMAL}")):
            means = part.groupby(["sensor", "date"])[[*columns, "is_input"]].mean()
            for key, values in zip(means.index, means.to_dict("records"), strict=True):
                finite = {name: round(float(v), 5) for name, v in values.items() if v == v}
                means_of["|".join(key) + label] = finite
        scores[run.slug] = means_of
    return scores

"""Run a task on many cubes and methods, resume, and report: `evaluate`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from tqdm import tqdm

from tamrf_xr.cube import groups_of, validate
from tamrf_xr.errors import (
    CubeError,
    DateError,
    MemoryBudgetError,
    MethodError,
    ModelError,
    OptionError,
    SourceNotFoundError,
    TileError,
)
from tamrf_xr.evaluation.acquisitions import brought_near
from tamrf_xr.evaluation.pictures import Painter, painter_of
from tamrf_xr.evaluation.report import Study, write_report
from tamrf_xr.evaluation.results import (
    Result,
    fresh_folder,
    load_result,
    require_parquet,
    write_result,
)
from tamrf_xr.evaluation.running import Held, Plan, Subject, hold_out, run_method
from tamrf_xr.evaluation.score import Scoring, check_margin
from tamrf_xr.evaluation.split import SplitSettings
from tamrf_xr.evaluation.tasks import Run, Task, check_methods, check_strategy, find_task
from tamrf_xr.store import open_cube

FAILURES = (
    CubeError,
    DateError,
    MemoryBudgetError,
    MethodError,
    ModelError,
    SourceNotFoundError,
    TileError,
)
"""What stops one method on one cube, and lets the others go on."""

FUSING = ("model", "window", "device", "precision", "tile")
"""Options of `fuse` that `evaluate` takes."""


def evaluate(
    cubes: Any,
    *,
    task: str | Task,
    out: str | os.PathLike[str],
    methods: Sequence[str] | None = None,
    strategy: str | None = None,
    settings: SplitSettings | None = None,
    scoring: Scoring | None = None,
    compensate: bool = False,
    write_images: bool = False,
    viewer_dates: int = 24,
    progress: bool = True,
    **fusing: Any,
) -> pd.DataFrame:
    """Compare methods on cubes by one of the paper's tasks, and write a report.

    Parameters
    ----------
    cubes
        A cube or a path of one, several of them, or a mapping of names to them.
    task
        A key of `TASKS`, such as ``"gap-filling"``, or a `Task` of your own.
    out
        Folder of the report: ``<task>.html``, ``<task>.parquet``, ``<task>.csv`` and
        ``<task>-summary.csv``, and below ``<task>/`` a folder per cube and run. What is complete
        there and was made with the same parameters is not made again.
    methods
        Methods to compare; by default those of the task.
    strategy
        Strategy for all of them; by default those of the task.
    settings
        Settings of the strategies; by default those of the task.
    scoring
        Margin, BRISQUE's model and the rest; its metrics are cut down to those of the task.
    compensate
        Score after residual compensation too.
    write_images
        Write predictions as Cloud Optimized GeoTIFFs into the folder of each run.
    viewer_dates
        Dates a sensor in the viewer of the report, evenly chosen; 0 for no viewer.
    progress
        Show a bar on standard error.
    **fusing
        Options of `tamrf_xr.fuse`: ``model``, ``window``, ``device``, ``precision``, ``tile``.

    Returns
    -------
    pandas.DataFrame
        The table of `score` with ``cube``, ``task``, ``method``, ``strategy``, ``compensated``
        in front. A method that failed on a cube has one row there, whose ``failed`` says why.

    Raises
    ------
    MethodError
        If task, method, strategy or metric do not exist, or pyarrow is not installed.
    CubeError
        If a cube is none, or has no ``valid``.
    OptionError
        If an option has no meaning, or the margin leaves too little of a cube.

    References
    ----------
    Michel & Inglada, "Temporal Attention Multi-Resolution Fusion of Satellite Image
    Time-Series", RSE 2025 (experimental setup).

    Examples
    --------
    >>> evaluate("scene.zarr", task="gap-filling", methods=["naive"], out="report")
    ... # doctest: +SKIP
    """
    found = find_task(task)
    check_strategy(strategy)
    chosen = check_methods(methods, found)
    require_parquet()
    if unknown := [name for name in fusing if name not in FUSING]:
        raise OptionError(f"no option {', '.join(unknown)}; fuse takes {', '.join(FUSING)}")
    scoring = scoring or Scoring()
    kept = tuple(name for name in found.metrics if name in scoring.metrics)
    plan = Plan(
        found,
        settings or found.settings,
        replace(scoring, metrics=kept),
        fusing,
        write_images,
        viewer_dates,
    )
    subjects = tuple(_subject(name, cube, plan) for name, cube in _named(cubes).items())
    runs = found.runs(chosen, strategy=strategy, compensate=compensate)
    study = Study(plan, runs, subjects, Path(out))
    results: dict[tuple[str, Run], Result] = {}
    with tqdm(total=0, disable=not progress, unit="date") as bar:
        for subject in subjects:
            for run in runs:
                bar.set_description(f"{subject.name}, {run.slug}")
                place = Path(out) / found.name / subject.name / run.slug
                results[subject.name, run] = _result(subject, run, plan, place=place, bar=bar)
    return write_report(study, results)


def _named(cubes: Any) -> dict[str, Any]:
    """Return cubes or paths by name."""
    single = isinstance(cubes, str | os.PathLike | xr.DataTree)
    # A DataTree is a mapping too: of its groups.
    if isinstance(cubes, Mapping) and not single:
        named = {str(name): cube for name, cube in cubes.items()}
    else:
        several = [cubes] if single else list(cubes)
        names = [_name(cube, position) for position, cube in enumerate(several, 1)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise OptionError(
                f"two cubes are called {', '.join(sorted(twice))}: pass a mapping of names to cubes"
            )
        named = dict(zip(names, several, strict=True))
    if not named:
        raise OptionError("no cube to evaluate on; pass at least one")
    if wrong := [name for name in named if Path(name).name != name or name.startswith(".")]:
        raise OptionError(f"{wrong[0]!r} cannot be the name of a cube: it names a folder of `out`")
    return named


def _name(cube: Any, position: int) -> str:
    if isinstance(cube, xr.DataTree):
        return cube.name or f"cube{position}"
    return Path(cube).name.removesuffix(".zarr")


def _subject(name: str, source: Any, plan: Plan) -> Subject:
    """Return a cube that can be evaluated on, and what its runs share."""
    cube = source if isinstance(source, xr.DataTree) else open_cube(source)
    validate(cube)
    stamp: dict[str, Any] = {}
    for sensor, group in groups_of(cube).items():
        if "valid" not in group:
            raise CubeError(
                f"cube {name}: /{sensor} has no 'valid', so clouds would count as errors; add it "
                "(as_cube(..., valid=...)), True where usable"
            )
        if sensor in plan.task.sensors:
            check_margin(plan.scoring, sensor, group)
        corner = [float(group[axis].values[end]) for axis in ("x", "y") for end in (0, -1)]
        stamp[sensor] = [list(map(str, group["time"].values)), corner]
    if not isinstance(source, xr.DataTree):
        stamp["written"] = _written(Path(source))
    near = brought_near(cube)
    return Subject(name, near, stamp, painter_of(near) if plan.viewer_dates else Painter())


def _written(path: Path) -> int:
    file = path / "zarr.json" if path.is_dir() else path
    return file.stat().st_mtime_ns if file.exists() else 0


def _parameters(plan: Plan, run: Run, stamp: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that a result depends on, so that another one is not taken for it."""
    model = plan.fusing.get("model")
    weights = Path(model) if isinstance(model, str | os.PathLike) else None
    return {
        "task": plan.task.name,
        "sensors": plan.task.sensors,
        "bands": plan.task.bands,
        "run": asdict(run),
        "settings": asdict(plan.settings),
        "metrics": plan.scoring.metrics,
        "margin": plan.scoring.margin,
        "frr_clear_rate": plan.scoring.frr_clear_rate,
        "degrade": plan.scoring.degrade,
        "brisque": plan.scoring.support() is not None,
        "fusing": dict(plan.fusing),
        "weights_written": _written(weights) if weights else 0,
        "write_images": plan.write_images,
        "viewer_dates": plan.viewer_dates,
        "cube": stamp,
    }


def _result(subject: Subject, run: Run, plan: Plan, *, place: Path, bar: Any) -> Result:
    """Take a result that is there, or run: what stops one method becomes a row that tells so."""
    parameters = _parameters(plan, run, subject.stamp)
    found = load_result(place, parameters)
    if found is not None:
        return found
    what = (subject.name, run)
    try:
        held = hold_out(subject.cube, run, plan)
        bar.total += _dates(held)
        with fresh_folder(place) as folder:
            made = run_method(held, run, plan, folder=folder, subject=subject, step=bar.update)
            result = Result(
                _labelled(made.table, what, plan.task).assign(failed=""),
                _labelled(made.profiles, what, plan.task),
                made.pictures,
            )
            write_result(folder, result, parameters)
    except FAILURES as error:
        return _failed(what, plan.task, error)
    return result


def _dates(held: Held) -> int:
    return sum(len(days) for days in held.asked.values())


def _failed(what: tuple[str, Run], task: Task, error: Exception) -> Result:
    row = pd.DataFrame({"sensor": [""], "band": [""], "date": [pd.NaT], "failed": [str(error)]})
    return Result(_labelled(row, what, task), pd.DataFrame(), {})


def _labelled(table: pd.DataFrame, what: tuple[str, Run], task: Task) -> pd.DataFrame:
    name, run = what
    labels = {
        "cube": name,
        "task": task.name,
        "method": run.method,
        "strategy": run.strategy,
        "compensated": run.compensated,
    }
    rest = {str(column): table[column] for column in table.columns}
    return pd.DataFrame({**labels, **rest}, index=table.index)

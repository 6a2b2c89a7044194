"""Run a task on many cubes and methods, resume, and report: `evaluate`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
import xarray as xr
from dask.base import tokenize
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
from tamrf_xr.evaluation.acquisitions import by_day
from tamrf_xr.evaluation.report import Study, write_report
from tamrf_xr.evaluation.results import (
    Result,
    fresh_folder,
    load_result,
    require_parquet,
    write_result,
)
from tamrf_xr.evaluation.running import Held, Plan, Subject, brought_to, hold_out, run_method
from tamrf_xr.evaluation.score import Scoring, check_margin
from tamrf_xr.evaluation.split import SplitSettings
from tamrf_xr.evaluation.tasks import Run, Task, check_methods, check_strategy, find_task
from tamrf_xr.iso8601 import read_length
from tamrf_xr.model.device import resolve_device
from tamrf_xr.paths import readable
from tamrf_xr.places import StorageOptions, is_remote
from tamrf_xr.replaceable import check_around
from tamrf_xr.store import SHARD, open_cube

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

MOST_VIEWED = 10_000

FUSING = ("model", "window", "device", "precision", "tile", "uncertainty")
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
    method_options: Mapping[str, Mapping[str, Any]] | None = None,
    progress: bool = True,
    storage_options: StorageOptions = None,
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
        Methods to compare. By default those of the task, of which those that lack weights or
        bands are left out, which the report says.
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
    method_options
        Per method, options of its own: ``{"dsen2": {"weights": path}}``.
    progress
        Show a bar on standard error.
    storage_options
        Of cubes by URL, as of `tamrf_xr.open_cube`.
    **fusing
        Options of `tamrf_xr.fuse`: ``model``, ``window``, ``device``, ``precision``, ``tile``; and
        ``uncertainty=True``, which scores the errors that methods tell of themselves too.

    Returns
    -------
    pandas.DataFrame
        The table of `score` with ``cube``, ``task``, ``method``, ``strategy``, ``compensated``
        in front. A method that failed on a cube, or cannot work on it, has one row there, whose
        ``failed`` says why.

    Raises
    ------
    MethodError
        If task, method, strategy or metric do not exist, or pyarrow is not installed; if a
        method that is named lacks a sensor, band or conjunction it needs on every cube.
    ModelError, SourceNotFoundError
        If a method that is named lacks its weights.
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
    named = _named(cubes)
    read = (cube for cube in named.values() if not isinstance(cube, xr.DataTree))
    place = check_around(out, "folder of the report", inputs=read)
    chosen_task = find_task(task)
    check_strategy(strategy)
    chosen = check_methods(methods, chosen_task)
    options = _options(method_options or {}, chosen)
    require_parquet()
    _check_values(fusing, viewer_dates)
    scoring = scoring or Scoring()
    kept = tuple(name for name in chosen_task.metrics if name in scoring.metrics)
    scoring, settings = replace(scoring, metrics=kept), settings or chosen_task.settings
    plan = Plan(chosen_task, settings, scoring, fusing, options, write_images, viewer_dates)
    runs = chosen_task.runs(chosen, strategy=strategy, compensate=compensate)
    subjects = tuple(_subject(name, cube, plan, storage_options) for name, cube in named.items())
    study = Study(plan, runs, subjects, place)
    jobs = [_job(subject, run, study) for subject in subjects for run in study.runs]
    if methods is not None:
        _check_possible(jobs)
    return write_report(study, _results(jobs, plan, progress=progress))


def _check_values(fusing: Mapping[str, Any], viewer_dates: int) -> None:
    """Check what each method would refuse, cube after cube."""
    if unknown := [name for name in fusing if name not in FUSING]:
        raise OptionError(f"no option {', '.join(unknown)}; fuse takes {', '.join(FUSING)}")
    if fusing.get("window") is not None:
        read_length(fusing["window"], "window")
    resolve_device(fusing.get("device", "auto"), here=True)
    if not 0 <= viewer_dates <= MOST_VIEWED:
        raise OptionError(f"viewer_dates is {viewer_dates!r:.40}; expected 0 to {MOST_VIEWED}")


def _options(
    asked: Mapping[str, Mapping[str, Any]], methods: Sequence[str]
) -> Mapping[str, Mapping[str, Any]]:
    if unknown := [name for name in asked if name not in methods]:
        raise OptionError(
            f"options of {', '.join(unknown)}, which is not compared; compared are: "
            f"{', '.join(methods)}"
        )
    return asked


def _named(cubes: Any) -> dict[str, Any]:
    """Return cubes or paths by name."""
    single = isinstance(cubes, str | os.PathLike | xr.DataTree)
    # A DataTree is a mapping too: of its groups.
    if isinstance(cubes, Mapping) and not single:
        named = {str(name): cube for name, cube in cubes.items()}
    elif not single and not isinstance(cubes, Iterable):
        raise OptionError(f"cubes is {cubes!r:.80}; expected cubes, or paths of them")
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
    return Path(readable(cube, "cube")).name.removesuffix(".zarr")


def _subject(name: str, source: Any, plan: Plan, options: StorageOptions) -> Subject:
    """Return a cube that can be evaluated on, and what its runs share."""
    given = isinstance(source, xr.DataTree)
    cube = source if given else open_cube(source, storage_options=options)
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
    if isinstance(source, xr.DataTree) or is_remote(source):
        stamp["content"] = [_content(group) for group in groups_of(cube).values()]
    else:
        stamp["written"] = _written(Path(readable(source, "cube")))
    return Subject(name, by_day(cube), stamp)


def _content(group: xr.Dataset) -> str:
    """Return a hash of all pixels, read a strip at a time and not kept."""
    rows = range(0, group.sizes["y"], SHARD)
    return str(tokenize([tokenize(group.isel(y=slice(row, row + SHARD))) for row in rows]))


def _written(path: Path) -> int:
    file = path / "zarr.json" if path.is_dir() else path
    return file.stat().st_mtime_ns if file.exists() else 0


@dataclass(frozen=True, slots=True)
class Job:
    """One run on one cube."""

    subject: Subject
    """The cube."""

    run: Run
    """The method under its strategy."""

    place: Path
    """Folder of the result."""

    held: Held | None = None
    """What the method is given and asked; None where it cannot work."""

    error: Exception | None = None
    """Why it cannot."""


def _job(subject: Subject, run: Run, study: Study) -> Job:
    place = study.out / study.plan.task.name / subject.name / run.slug
    try:
        return Job(subject, run, place, hold_out(subject.cube, run, study.plan))
    except FAILURES as error:
        return Job(subject, run, place, error=error)


def _check_possible(jobs: Sequence[Job]) -> None:
    """Refuse a method that can work on none of the cubes, before the others take their time."""
    possible = {job.run.method for job in jobs if job.held is not None}
    for job in jobs:
        if job.error is not None and job.run.method not in possible:
            raise job.error


def _results(jobs: Sequence[Job], plan: Plan, *, progress: bool) -> dict[tuple[str, Run], Result]:
    """Take the results that are there and make the others, cube by cube."""
    results = {(job.subject.name, job.run): _there(job, plan) for job in jobs}
    missing = [job for job in jobs if results[job.subject.name, job.run] is None]
    near = None
    with tqdm(total=sum(map(_dates, missing)), disable=not progress, unit="date") as bar:
        for job in missing:
            bar.set_description(f"{job.subject.name}, {job.run.slug}")
            if near is None or near.name != job.subject.name:
                near = job.subject.brought_near()
            results[near.name, job.run] = _made(job, near, plan, step=bar.update)
    return {what: result for what, result in results.items() if result is not None}


def _there(job: Job, plan: Plan) -> Result | None:
    """Return a result that was made before, or a row that says why there is none."""
    if job.error is not None:
        return _failed(job, plan.task, job.error)
    return load_result(job.place, _parameters(job, plan))


def _parameters(job: Job, plan: Plan) -> dict[str, Any]:
    """Return all that a result depends on, so that another one is not taken for it."""
    spec = None if job.held is None else job.held.spec
    return {
        "task": plan.task.name,
        "sensors": plan.task.sensors,
        "bands": plan.task.bands,
        "run": asdict(job.run),
        "settings": asdict(plan.settings),
        "metrics": plan.scoring.metrics,
        "margin": plan.scoring.margin,
        "frr_clear_rate": plan.scoring.frr_clear_rate,
        "degrade": plan.scoring.degrade,
        "brisque": plan.scoring.support() is not None,
        # Of weights their hash, and only where the method has any.
        "method": None if spec is None else [spec.options, spec.provenance],
        "fusing": {name: value for name, value in plan.fusing.items() if name != "model"},
        "write_images": plan.write_images,
        "viewer_dates": plan.viewer_dates,
        "cube": job.subject.stamp,
    }


def _made(job: Job, near: Subject, plan: Plan, *, step: Any) -> Result:
    """Run: what stops one method becomes a row that tells so."""
    try:
        held = brought_to(cast("Held", job.held), near.cube)  # what has none has its row already
        with fresh_folder(job.place) as folder:
            outcome = run_method(held, folder=folder, subject=near, step=step)
            result = Result(
                _labelled(outcome.table, job, plan.task).assign(failed=""),
                _labelled(outcome.profiles, job, plan.task),
                outcome.pictures,
            )
            write_result(folder, result, _parameters(job, plan))
    except FAILURES as error:
        return _failed(job, plan.task, error)
    return result


def _dates(job: Job) -> int:
    return 0 if job.held is None else sum(len(days) for days in job.held.asked.values())


def _failed(job: Job, task: Task, error: Exception) -> Result:
    row = pd.DataFrame({"sensor": [""], "band": [""], "date": [pd.NaT], "failed": [str(error)]})
    return Result(_labelled(row, job, task), pd.DataFrame(), {})


def _labelled(table: pd.DataFrame, job: Job, task: Task) -> pd.DataFrame:
    labels = {
        "cube": job.subject.name,
        "task": task.name,
        "method": job.run.method,
        "strategy": job.run.strategy,
        "compensated": job.run.compensated,
    }
    rest = {str(column): table[column] for column in table.columns}
    return pd.DataFrame({**labels, **rest}, index=table.index)

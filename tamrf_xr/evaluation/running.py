"""Run one method on one cube: predict a few dates at a time, score them, paint them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from tamrf_xr.cube import fine_grid, groups_of
from tamrf_xr.errors import MethodError
from tamrf_xr.evaluation.acquisitions import (
    MEMORY,
    SceneReader,
    bands_by_sensor,
    brought_near,
    days_of,
    predicted,
)
from tamrf_xr.evaluation.compensate import compensate, degrade
from tamrf_xr.evaluation.intervals import Told, told_errors
from tamrf_xr.evaluation.pictures import (
    Painter,
    paint_difference,
    painter_of,
    spread,
    views_of,
)
from tamrf_xr.evaluation.results import PREDICTIONS, Pictures, Result
from tamrf_xr.evaluation.score import Scorer, Scores, Scoring, join
from tamrf_xr.evaluation.split import Dates, SplitSettings, give, split_by
from tamrf_xr.evaluation.tasks import Run, Task
from tamrf_xr.export.cog import write_cog
from tamrf_xr.fuser import FuserSpec, Scene
from tamrf_xr.fusion import prepare
from tamrf_xr.methods.registry import tells_errors
from tamrf_xr.scale.lazy import fuse_lazily
from tamrf_xr.scale.prepared import Job


@dataclass(frozen=True, slots=True)
class Plan:
    """What every run of an evaluation has in common."""

    task: Task
    """The protocol."""

    settings: SplitSettings
    """Settings of the strategies."""

    scoring: Scoring
    """Margin, metrics and the rest."""

    fusing: Mapping[str, Any] = field(default_factory=dict)
    """Options of `tamrf_xr.fuse`: model, window, device, precision, tile; uncertainty, of methods
    that tell it."""

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per method, options of its own."""

    write_images: bool = False
    """Whether predictions are written as Cloud Optimized GeoTIFFs."""

    viewer_dates: int = 24
    """Dates a sensor shown in the viewer; 0 for no pictures."""


@dataclass(frozen=True)
class Subject:
    """What all runs on one cube share."""

    name: str
    """Name of the cube."""

    cube: xr.DataTree
    """All acquisitions."""

    stamp: Mapping[str, Any]
    """What tells its content from another's."""

    naturalness: dict[tuple[str, pd.Timestamp, tuple[str, ...]], Any] = field(default_factory=dict)
    """BRISQUE of references that are scored already."""

    @cached_property
    def painter(self) -> Painter:
        """Black and white of its pictures."""
        return painter_of(self.cube)

    def brought_near(self) -> Subject:
        """Return the subject with a cube that is read from quickly; see `brought_near`."""
        return replace(self, cube=brought_near(self.cube))


@dataclass(frozen=True, slots=True)
class Prediction:
    """One date of one sensor."""

    sensor: str
    """Name of the sensor."""

    day: pd.Timestamp
    """The date."""

    made: Scene
    """The image, on the 10 m grid."""

    given: Dates
    """Days that the method was given, per sensor."""

    told: Told | None = None
    """What it says of its errors."""


@dataclass(frozen=True, slots=True)
class Held:
    """A cube as one run sees it."""

    run: Run
    """Method and strategy."""

    plan: Plan
    """What all runs have in common."""

    cube: xr.DataTree
    """All acquisitions: the references."""

    given: xr.DataTree
    """What the method is given."""

    asked: Dates
    """Days asked, of the sensors that the method makes."""

    bands: Mapping[str, tuple[str, ...]]
    """Bands asked: those that the task scores, the method makes and the cube has."""

    jobs: Mapping[str, Job]
    """Per sensor asked, the job that makes its days."""

    @property
    def spec(self) -> FuserSpec:
        """The method, all options and weights included."""
        return next(iter(self.jobs.values())).spec


def hold_out(cube: xr.DataTree, run: Run, plan: Plan) -> Held:
    """Split a cube for a run, and ask of the method what it can make.

    Raises
    ------
    MethodError
        If strategy or method lack something they need: which, is said.
    ModelError, SourceNotFoundError
        If weights are not there, or not those of the method.
    OptionError
        If the method has no such option.
    """
    given, asked = split_by(cube, run.strategy, plan.settings)
    makes = _prepared(given, next(iter(asked.values())), run, plan).spec.bands
    scored = plan.task.bands
    bands = {
        sensor: tuple(
            band
            for band in makes.get(sensor, ())
            if band in present and (scored is None or band in scored)
        )
        for sensor, present in bands_by_sensor(cube).items()
        if sensor in plan.task.sensors and sensor in asked
    }
    bands = {sensor: names for sensor, names in bands.items() if names}
    if not bands:
        raise MethodError(_nothing_to_score(run, plan.task, asked, makes))
    jobs = {
        name: _prepared(given, asked[name], run, plan, sensors=name, bands={name: names})
        for name, names in bands.items()
    }
    held = Held(run, plan, cube, given, {name: asked[name] for name in bands}, bands, jobs)
    if run.compensated:
        _check_compensable(held)
    return held


def _prepared(
    given: xr.DataTree, days: pd.DatetimeIndex, run: Run, plan: Plan, **wanted: Any
) -> Job:
    """Prepare the job of a run: its method is planned, and its weights are read, here alone."""
    own, fusing = plan.options.get(run.method, {}), dict(plan.fusing)
    if not tells_errors(run.method):
        fusing.pop("uncertainty", None)
    return prepare(given, days, method=run.method, method_options=own, **fusing, **wanted)


def brought_to(held: Held, cube: xr.DataTree) -> Held:
    """Return what is held with the same cube read from elsewhere."""
    given, _ = split_by(cube, held.run.strategy, held.plan.settings)
    jobs = {name: job.on(given, job.queries) for name, job in held.jobs.items()}
    return replace(held, cube=cube, given=given, jobs=jobs)


def _nothing_to_score(
    run: Run, task: Task, asked: Dates, makes: Mapping[str, tuple[str, ...]]
) -> str:
    own = "; ".join(f"{name} {' '.join(bands)}" for name, bands in makes.items()) or "nothing"
    wanted = " and ".join(name for name in task.sensors if name in asked) or "no sensor of the cube"
    bands = f" ({' '.join(task.bands)})" if task.bands else ""
    return (
        f"task {task.name} with strategy {run.strategy} asks {wanted}{bands}, of which method "
        f"{run.method!r} makes none that the cube has: it makes {own}"
    )


def run_method(held: Held, *, folder: Path, subject: Subject, step: Callable[[], object]) -> Result:
    """Predict, score, and paint one run on one cube.

    Parameters
    ----------
    held
        The cube, split, and what is asked.
    folder
        Where predictions are written if they are asked for.
    subject
        What the runs on this cube share.
    step
        Called after every date.

    Returns
    -------
    Result
        Tables without the columns that name cube and run.
    """
    plan = held.plan
    scorer = Scorer(plan.scoring, days_given(held.given), naturalness=subject.naturalness)
    painter = subject.painter if plan.viewer_dates else Painter()
    album = Album(painter, held.asked, plan.viewer_dates)
    grid = fine_grid(held.cube)
    parts: list[Scores] = []
    for prediction, truth in predictions(held):
        parts.append(
            scorer.date(
                (prediction.sensor, prediction.day),
                prediction.made,
                truth,
                given=prediction.given,
                told=prediction.told,
            )
        )
        album.add(prediction, truth)
        if plan.write_images:
            name = f"{prediction.sensor}_{prediction.day:%Y-%m-%d}.tif"
            write_cog(
                prediction.made.pixels, prediction.made.bands, grid, folder / PREDICTIONS / name
            )
        step()
    scores = join(parts)
    return Result(scores.table, scores.profiles, album.pictures)


def predictions(held: Held) -> Iterator[tuple[Prediction, Scene | None]]:
    """Predict what is asked, date by date, a batch in memory at a time; with the references."""
    for sensor, days in held.asked.items():
        reader = SceneReader(groups_of(held.cube)[sensor], days)
        for batch, given in _batches(held, sensor):
            fused = fuse_lazily(_job_on(held, given, days[batch], sensor))
            group = groups_of(fused)[sensor].load()
            kept = days_given(given)
            for position, day in enumerate(days[batch]):
                answer, truth = predicted(group, position), reader.read(day)
                told = told_errors(group, position, answer.bands)
                if held.run.compensated and truth is not None and day in kept.get(sensor, ()):
                    answer, told = _compensated(answer, truth, sensor), None
                yield Prediction(sensor, day, answer, kept, told), truth


def _job_on(held: Held, given: xr.DataTree, days: pd.DatetimeIndex, sensor: str) -> Job:
    if given.children.keys() == held.given.children.keys():
        return held.jobs[sensor].on(given, days)
    # The only acquisition of a sensor is left out: the method sees another kind of cube.
    wanted = {"sensors": sensor, "bands": {sensor: held.bands[sensor]}}
    return _prepared(given, days, held.run, held.plan, **wanted)


def days_given(given: xr.DataTree) -> Dates:
    """Return the days of the acquisitions of a cube, per sensor."""
    return {name: days_of(group) for name, group in groups_of(given).items()}


def _batches(held: Held, sensor: str) -> Iterator[tuple[slice, xr.DataTree]]:
    """Divide the dates of a sensor, each part with the cube that is given for it."""
    days, kept = held.asked[sensor], days_given(held.given)
    if held.run.leaves_one_out:
        for position, day in enumerate(days):
            others = kept | {sensor: kept[sensor][kept[sensor] != day]}
            yield slice(position, position + 1), give(held.given, others)
        return
    rows, columns = fine_grid(held.cube).shape
    images = len(held.bands[sensor]) * (2 if held.plan.fusing.get("uncertainty") else 1)
    size = max(int(MEMORY / (4 * rows * columns * images)), 1)
    for start in range(0, len(days), size):
        yield slice(start, start + size), held.given


def _check_compensable(held: Held) -> None:
    kept = days_given(held.given)
    if not any(days.isin(kept.get(name, [])).any() for name, days in held.asked.items()):
        raise MethodError(
            f"residual compensation needs the acquisition of a day that is asked, and strategy "
            f"{held.run.strategy} gives none of {', '.join(held.asked)}; choose strategy ALL"
        )


def _compensated(answer: Scene, observed: Scene, sensor: str) -> Scene:
    pixels = compensate(answer.pixels, observed.select(answer.bands), sensor)
    return Scene(pixels, answer.valid, answer.bands)


class Album:
    """Pictures of the predictions of a few dates, evenly chosen among those asked."""

    def __init__(self, painter: Painter, asked: Dates, count: int) -> None:
        """Take what paints, the dates asked of each sensor, and how many of them to paint."""
        self.pictures: Pictures = {}
        self._painter = painter
        self._days = {name: spread(days, count) for name, days in asked.items()}

    def add(self, prediction: Prediction, truth: Scene | None) -> None:
        """Paint a prediction, if its date is among the chosen ones."""
        if prediction.day not in self._days[prediction.sensor]:
            return
        near = None if truth is None else _on_grid_of(truth, prediction)
        for name, view in views_of(prediction.sensor, prediction.made.bands).items():
            key = f"{prediction.sensor}|{name}|{prediction.day:%Y-%m-%d}"
            self.pictures[key] = {
                "prediction": self._painter.paint(prediction.sensor, prediction.made, view),
                "difference": _difference(near, truth, view),
                "closest": _closest(prediction),
            }


def _difference(near: Scene | None, truth: Scene | None, view: tuple[str, ...]) -> str | None:
    return None if near is None or truth is None else paint_difference(near, truth, view)


def _on_grid_of(truth: Scene, prediction: Prediction) -> Scene:
    ratio = prediction.made.pixels.shape[-1] // truth.pixels.shape[-1]
    near = degrade(prediction.made.pixels, prediction.sensor, prediction.made.bands, ratio=ratio)
    return Scene(near, truth.valid, prediction.made.bands)


def _closest(prediction: Prediction) -> dict[str, str]:
    """Return the given day closest to the date, per sensor."""
    return {
        sensor: f"{days[int(np.argmin(np.abs(days - prediction.day)))]:%Y-%m-%d}"
        for sensor, days in prediction.given.items()
        if len(days)
    }

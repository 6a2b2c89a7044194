"""Keep a product current: what new acquisitions touch is made anew, all else stays as it is."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import pandas as pd
import xarray as xr

from tamrf_xr.cube import groups_of
from tamrf_xr.dates import DateLike, DatePlan, parse_dates
from tamrf_xr.errors import InputChangedError, JobError, OptionError, TimingWarning
from tamrf_xr.fusion import prepare
from tamrf_xr.options import FuseOptions
from tamrf_xr.origins import places_of
from tamrf_xr.replaceable import check_place
from tamrf_xr.replacing import remove, remove_abandoned
from tamrf_xr.scale.identity import asked_by, dates_in, describe_origin, words_of_dates
from tamrf_xr.scale.job import Execution, run_tiles
from tamrf_xr.scale.ledger import Manifest, read_done, read_manifest
from tamrf_xr.scale.merging import Source, merge
from tamrf_xr.scale.prepared import Job
from tamrf_xr.scale.progress import JobSummary
from tamrf_xr.store import open_cube

BESIDE = ".update"
"""Ends the name of the store of dates made anew, beside the product."""

Times = Mapping[str, pd.DatetimeIndex]


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What became of a product."""

    made: pd.DatetimeIndex
    """Query dates made anew, those that were there before."""

    added: pd.DatetimeIndex
    """Query dates that are new."""

    dates: int
    """Query dates in all."""

    summary: JobSummary | None
    """Of the tiles of these dates; None where nothing was touched."""

    @property
    def failed(self) -> bool:
        """Whether tiles failed: the product is as it was, and the same call does the rest."""
        return bool(self.summary and self.summary.failed)

    def __str__(self) -> str:
        """Return a line for a person to read."""
        if self.failed:
            return f"as it was: {self.summary}; run again to do the rest"
        kept = self.dates - len(self.made) - len(self.added)
        return f"{len(self.made)} dates made anew, {len(self.added)} added, {kept} as they were"


def update(
    store: str | os.PathLike[str],
    cube: xr.DataTree,
    query_dates: DateLike | None = None,
    *,
    workers: int | None = None,
    progress: bool = True,
    **options: Unpack[FuseOptions],
) -> UpdateReport:
    """Bring a product up to date with acquisitions that were appended to its cube.

    Query dates that see the same acquisitions as before, counted alike, are taken over as they
    are stored; the others, and new ones, are made anew beside the product, as a job that a rerun
    goes on with; then the whole takes the place of the product in one step.

    Parameters
    ----------
    store
        A product of `tamrf_xr.run_job` in a folder, whole.
    cube
        Its cube, whose first acquisitions are those that the product was made of, opened with
        `tamrf_xr.open_cube`.
    query_dates
        Dates to add; those that are there are left out.
    workers, progress
        As for `tamrf_xr.run_job`.
    options
        What the product was made with, where it does not say: it does, unless the model was given
        in memory or an older version made it.

    Returns
    -------
    UpdateReport
        What was made.

    Raises
    ------
    InputChangedError
        If the cube is another one, or its past has changed.
    JobError
        If there is no product of a job, it has tiles to be made, or was asked something else.
    OptionError
        If the product holds statistics, or lies in no folder.
    TamrfError
        As `tamrf_xr.run_job`.
    """
    target = _place(store, cube)
    manifest = _whole(target)
    told = json.loads(manifest.about.get("options", "{}"))
    wanted: dict[str, Any] = {**told, **options, "tile": max(manifest.tile)}
    if wanted.get("statistics"):
        raise OptionError(
            f"{target} holds statistics of periods, which are not updated; fuse anew with "
            "overwrite=True (--overwrite)"
        )
    before = _queries_of(target)
    added = _added(before, query_dates)
    job = prepare(cube, before.append(added), **wanted)
    layout = manifest.asked.get("layout", "sharded")
    tiled = job.tiled()
    asked = asked_by(job, tiled, layout)
    past = _past_of(job.times, manifest, target)
    _check_same(manifest, asked, before, target)
    places = _touched(job, past, before, tiled.dates)
    made = before[[place for place in places if place < len(before)]]
    if not places:
        return UpdateReport(made, added, len(job.queries), None)
    how = Execution(workers=workers, progress=progress, layout=layout)
    beside = target.with_name(target.name + BESIDE)
    summary = _make(replace(job, queries=job.queries[places]), beside, how)
    report = UpdateReport(made, added, len(job.queries), summary)
    if not report.failed:
        new = Manifest(manifest.counts, manifest.tile, asked, describe_origin(job))
        merge(job, tiled, Source(target, beside, places), new)
        remove(beside)
    return report


def _place(store: Any, cube: Any) -> Path:
    if not isinstance(store, str | os.PathLike) or "://" in os.fspath(store):
        raise OptionError(
            f"only a product in a folder is updated, got {store!r:.80}: fuse anew elsewhere"
        )
    read = places_of(cube) if isinstance(cube, xr.DataTree) else set()
    target = check_place(Path(store), "product", inputs=read)
    remove_abandoned(target)
    return target


def _whole(target: Path) -> Manifest:
    """Return what a product was asked; refuse what is none, or not whole."""
    manifest = read_manifest(target)
    if manifest is None:
        raise JobError(
            f"{target} is no product of a job: make it with run_job (tamrf-xr fuse), then update it"
        )
    if "decoded_from" in manifest.asked or "latent" in manifest.asked:
        raise JobError(
            f"{target} is a latent cube, or decoded from one: new acquisitions enter all of it; "
            "encode the cube anew (tamrf-xr encode --overwrite), then decode"
        )
    tiles = manifest.counts[0] * manifest.counts[1]
    if (done := len(read_done(target))) < tiles:
        raise JobError(
            f"{target} has {tiles - done} of {tiles} tiles to be made: run its job again with the "
            "cube as it was, or fuse anew with overwrite=True (--overwrite)"
        )
    return manifest


def _queries_of(target: Path) -> pd.DatetimeIndex:
    group = next(iter(groups_of(open_cube(target)).values()))
    return pd.DatetimeIndex(group["time"].values)


def _added(before: pd.DatetimeIndex, query_dates: Any) -> pd.DatetimeIndex:
    if query_dates is None:
        return before[:0]
    asked = parse_dates(query_dates)
    return pd.DatetimeIndex(asked[~asked.isin(before)].unique())


def _past_of(times: Times, manifest: Manifest, target: Path) -> dict[str, pd.DatetimeIndex]:
    """Return the acquisitions that a product was made of: the first ones of the cube.

    Raises
    ------
    InputChangedError
        If they are others.
    """
    past = {}
    for name, index in times.items():
        words = manifest.asked.get(f"{name} dates")
        if words is None:
            raise InputChangedError(
                f"{target} was made of a cube without /{name}: fuse anew with overwrite=True "
                "(--overwrite)"
            )
        past[name] = index[: dates_in(words)]
        if words_of_dates(past[name]) != words:
            raise InputChangedError(
                f"the past of the cube has changed: {target} was made of {words} of /{name}, and "
                f"the first {len(past[name])} of the cube are {words_of_dates(past[name])}. Only "
                "what was appended is updated; fuse anew with overwrite=True (--overwrite)"
            )
    return past


def _check_same(
    manifest: Manifest, asked: Mapping[str, str], before: pd.DatetimeIndex, target: Path
) -> None:
    """Refuse a product that was asked something else than what is asked of it now."""
    grows = {"query dates", "input metadata", *(name for name in asked if name.endswith(" dates"))}
    if in_memory := [name for name in {**manifest.asked, **asked} if name.endswith(" content")]:
        raise OptionError(
            f"a cube in memory cannot be held against that of a product ({in_memory[0]}): save it, "
            "and open it with tamrf_xr.open_cube"
        )
    keys = {**manifest.asked, **asked}.keys() - grows
    lines = [
        f"\n  {key}: found {manifest.asked.get(key, 'nothing')}, asked {asked.get(key, 'nothing')}"
        for key in sorted(keys)
        if manifest.asked.get(key) != asked.get(key)
    ]
    if manifest.asked["query dates"] != words_of_dates(before):
        lines.append(f"\n  query dates: found {words_of_dates(before)}")
    if lines:
        raise JobError(
            f"{target} was asked something else:{''.join(lines)}\npass the options that it was "
            "made with, or fuse anew with overwrite=True (--overwrite)"
        )


def _touched(job: Job, past: Times, before: pd.DatetimeIndex, now: DatePlan) -> list[int]:
    """Return the positions of query dates that see something else than before, or are new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TimingWarning)  # told of the job itself
        then = _seen(job.timing.plan(past, before))
    return [query for query, seen in sorted(_seen(now).items()) if then.get(query) != seen]


def _seen(plan: DatePlan) -> dict[int, Any]:
    """Return what each query date sees: acquisitions, image by image, and how days count."""
    found = {}
    for episode in plan.episodes:
        images = {
            name: tuple(plan.reads[name][one] for one in chosen)
            for name, chosen in episode.seen.items()
        }
        for query, day in zip(episode.queries, episode.query_days, strict=True):
            found[query] = images, dict(episode.days), day, episode.origin
    return found


def _make(job: Job, beside: Path, how: Execution) -> JobSummary:
    """Make dates anew in a store beside; one of another update, that was killed, is replaced."""
    found = read_manifest(beside)
    stale = found is not None and found.asked != asked_by(job, job.tiled(), how.layout)
    return run_tiles(job, beside, how=replace(how, overwrite=stale))

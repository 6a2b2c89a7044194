"""Products of a fuser of a test's own: what `tamrf_xr.fuse` and `run_job` do with a method's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import xarray as xr

from tamrf_xr.fuser import FuserSpec
from tamrf_xr.scale import job, lazy
from tamrf_xr.scale.job import Execution
from tamrf_xr.scale.prepared import Job
from tamrf_xr.scale.progress import JobSummary


def fuse_lazily(cube: xr.DataTree, spec: FuserSpec, queries: pd.DatetimeIndex, **options):
    return lazy.fuse_lazily(Job.of(cube, spec, queries, **options))


def run_tiles(
    cube: xr.DataTree,
    store: str | Path,
    spec: FuserSpec,
    queries: pd.DatetimeIndex,
    *,
    how: Execution = Execution(),  # noqa: B008 (frozen)
    **options,
) -> JobSummary:
    return job.run_tiles(Job.of(cube, spec, queries, **options), store, how=how)

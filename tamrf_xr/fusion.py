"""The main job: a cube and query dates in, a lazy product out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from tamrf_xr import panchromatic
from tamrf_xr.cube import groups_of, is_product
from tamrf_xr.dates import parse_dates
from tamrf_xr.days import count_days
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.fuser import FuserSpec
from tamrf_xr.harmonize import as_cube
from tamrf_xr.methods.registry import Request, check_sensors, listed, parse_bands, plan_method
from tamrf_xr.methods.weights import check_device
from tamrf_xr.scale.job import Execution, run_tiles
from tamrf_xr.scale.lazy import Timing, fuse_lazily
from tamrf_xr.scale.progress import JobSummary
from tamrf_xr.sensors import SENSORS

if TYPE_CHECKING:
    from distributed import Client


LARGEST_TILE = 1_000_000
"""10 m pixels: more than any scene has."""

HERE = (None, "local", "dask-cuda")
"""Clusters whose workers run on this machine."""

MOST_WORKERS = 10_000


def fuse(
    cube: xr.DataTree,
    query_dates: Any,
    *,
    model: Any = "default",
    method: str = "tamrf",
    sensors: str | Sequence[str] | None = None,
    bands: Any = None,
    origin: Any = None,
    window: Any = "365D",
    same_day: Any = "12h",
    device: str = "auto",
    precision: str = "auto",
    tile: int | str = "auto",
    method_options: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """Make every band of both sensors at 10 m at any dates, lazily.

    Parameters
    ----------
    cube
        A cube, from `tamrf_xr.open_cube` or `tamrf_xr.as_cube`.
    query_dates
        Strings, datetimes, a DatetimeIndex, ``"start/end/step"`` such as
        ``"2022-01-01/2022-12-31/15D"`` (or ``P1M``: the same day of every month),
        ``slice(start, end, step)``, or an xarray object whose ``time`` is taken. In UTC.
    model
        Weights for a method that needs them: a path, a loaded model, or ``"default"``.
    method
        ``"tamrf"``, the network; ``"linear"`` (or ``"naive"``), interpolation per pixel, without
        weights; ``"stair"``, ``"sen2like"``, ``"dms"``, ``"dsen2"``, ``"deepharmo"``, ``"dstfn"``,
        ``"utilise"``: other published methods, which make the bands and dates that they can and
        leave NaN elsewhere; see docs/methods.md.
    sensors
        Sensors whose bands to make; by default both.
    bands
        Bands to make: names, or a mapping of sensor to names; by default all.
    origin
        Day 0 of the count of days; by default 1 January when all acquisitions lie within 366
        days of it, else the first acquisition.
    window
        Cubes longer than this are fused window by window, each centred on a query date, days
        counted from its start; a bare number is days. None: all acquisitions at once, whatever
        their span.
    same_day
        Acquisitions no further apart are of one day: those of one sensor make one image, those of
        both a pair, on either side of midnight too.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: a GPU where there is one.
    precision
        ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 on GPUs, else float32.
    tile
        Edge of a tile in 10 m pixels. ``"auto"`` fits the memory there is. The result does not
        depend on it, but for ``"dms"``, whose models are fitted per tile, ``"dstfn"``, whose
        attention looks at a tile, and ``"sen2like"`` with its default ``max_masked``, which is
        judged per tile.
    method_options
        Options of the method itself, such as ``{"variant": "paper"}`` or ``{"weights": path}``
        of methods that users bring weights for; an unknown one is refused with those that exist.

    Returns
    -------
    xarray.DataTree
        A cube at the query dates, in their order: ``/sentinel2`` and ``/landsat``, both on
        the 10 m grid, dask arrays of one task a tile; ``.tamrf.save(store)`` (`tamrf_xr.save_cube`)
        computes it tile by tile, into a store that is whole or not there. Plain ``to_zarr`` does
        too, but killed half-way it leaves a store that opens, and reads as no data elsewhere.

    Raises
    ------
    CubeError
        If the tree is no cube.
    DateError
        If a query date cannot be read, or has no acquisition in its window.
    MethodError, ModelError
        If the method, its weights or the bands asked are not there.
    MemoryBudgetError
        If a tile needs more memory than the machine has.

    References
    ----------
    Michel & Inglada, Temporal Attention Multi-Resolution Fusion of Satellite Image
    Time-Series, Remote Sensing of Environment, 2025.
    """
    cube = _checked(cube)
    plan = _plan(
        cube,
        query_dates,
        choice=Choice(model, method, sensors, bands, device, precision, method_options or {}),
        timing=Timing(origin, window, same_day),
        tile=tile,
    )
    _check_device(plan.spec, here=False)
    read = _read_by(plan.spec, cube)
    return fuse_lazily(read, plan.spec, plan.queries, timing=plan.timing, tile=plan.tile)


def run_job(
    cube: xr.DataTree,
    store: str | os.PathLike[str],
    query_dates: Any,
    *,
    client: Client | None = None,
    cluster: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    resume: bool = True,
    overwrite: bool = False,
    progress: bool = True,
    model: Any = "default",
    method: str = "tamrf",
    sensors: str | Sequence[str] | None = None,
    bands: Any = None,
    origin: Any = None,
    window: Any = "365D",
    same_day: Any = "12h",
    device: str = "auto",
    precision: str = "auto",
    tile: int | str = "auto",
    method_options: Mapping[str, Any] | None = None,
) -> JobSummary:
    """Fuse into a store tile by tile, safe to interrupt: a rerun does only what is left.

    Parameters
    ----------
    cube
        A cube, best opened with `tamrf_xr.open_cube`: tiles then read straight from its store.
    store
        Path of the product, on a local or shared file system; a cube that `tamrf_xr.open_cube`
        reads. Tiles that are not done read as no data.
    query_dates
        As for `fuse`.
    client
        A ``dask.distributed`` client. Its workers read the input and write the store themselves.
    cluster
        Instead of a client: ``"local"``, ``"dask-cuda"`` or a YAML file, see docs/cluster.md.
        With neither, tiles run on threads.
    workers
        Threads, or processes of `cluster`; by default as many as the method keeps busy.
    resume
        Go on with a store that holds this job. False refuses any store that exists.
    overwrite
        Replace what is at `store`.
    progress
        Show a bar.
    model, method, sensors, bands, origin, window, same_day, device, precision, tile, method_options
        As for `fuse`. A rerun must ask the same; ``tile="auto"`` then takes the store's.

    Returns
    -------
    JobSummary
        Tiles done and found done, tiles that failed with their bounds, seconds spent.

    Raises
    ------
    OutputExistsError
        If something else than a job is at `store`.
    JobError
        If the job there was asked something else, or another run is at work on it.
    StoreFullError
        If there is no room left; what is done is safe.
    TamrfError
        As `fuse` does.
    """
    _check_workers(workers)
    if cluster is not None:
        from tamrf_xr.scale.cluster import check_cluster

        check_cluster(cluster)
    how = Execution(client, cluster, workers, resume, overwrite, progress)
    cube = _checked(cube)
    plan = _plan(
        cube,
        query_dates,
        choice=Choice(model, method, sensors, bands, device, precision, method_options or {}),
        timing=Timing(origin, window, same_day),
        tile=tile,
    )
    _check_device(plan.spec, here=client is None and cluster in HERE)
    return run_tiles(
        _read_by(plan.spec, cube),
        store,
        plan.spec,
        plan.queries,
        timing=plan.timing,
        tile=plan.tile,
        how=how,
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """What is asked of which method, as users write it; see `fuse`."""

    model: Any
    """Weights."""

    method: str
    """Name of the method."""

    sensors: str | Sequence[str] | None
    """Sensors to make."""

    bands: Any
    """Bands to make."""

    device: str
    """Where to compute."""

    precision: str
    """How finely."""

    options: Mapping[str, Any]
    """The method's own options."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked, read and checked."""

    spec: FuserSpec
    """The method."""

    queries: pd.DatetimeIndex
    """Query dates."""

    timing: Timing
    """Origin and window."""

    tile: int | None
    """Edge of a tile in fine pixels, or None for the planner's choice."""


def _checked(cube: Any) -> xr.DataTree:
    """Return a cube that may be fused: what is none goes through the door like any other data."""
    if isinstance(cube, xr.DataTree) and any(map(is_product, groups_of(cube).values())):
        return cube  # refused where its grid is asked for
    return as_cube(cube)


def _plan(
    cube: xr.DataTree, query_dates: Any, *, choice: Choice, timing: Timing, tile: int | str
) -> Plan:
    sensors, bands = choice.sensors, choice.bands
    names = None if sensors is None else listed(sensors, "sensors")
    check_sensors(names or ())
    request = Request(
        given=bands_of(cube),
        sensors=tuple(names) if names is not None else None,
        bands=None if bands is None else parse_bands(bands, tuple(names or SENSORS)),
        model=choice.model,
        device=choice.device,
        precision=choice.precision,
        options=choice.options,
        panchromatic=_has_panchromatic(cube),
        days=_days_of(cube, timing.same_day),
    )
    spec = plan_method(choice.method, request)
    return Plan(spec, parse_dates(query_dates), timing, _parse_tile(tile))


def _check_device(spec: FuserSpec, *, here: bool) -> None:
    """Refuse a device before anything is laid out, rather than tile by tile."""
    asked = dict(spec.options).get("device")
    if isinstance(asked, str):
        check_device(asked, here=here)


def _has_panchromatic(cube: xr.DataTree) -> bool:
    return any(panchromatic.NAME in group for group in groups_of(cube).values())


def _read_by(spec: FuserSpec, cube: xr.DataTree) -> xr.DataTree:
    """Drop the panchromatic band where a method has no use for it: reading it takes time."""
    if spec.panchromatic or not _has_panchromatic(cube):
        return cube
    groups = groups_of(cube)
    kept = {
        name: group.drop_vars(panchromatic.NAME, errors="ignore") for name, group in groups.items()
    }
    read = xr.DataTree.from_dict({"/": cube.to_dataset(), **kept}, name=cube.name)
    read.encoding = cube.encoding
    return read


def bands_of(cube: xr.DataTree) -> dict[str, tuple[str, ...]]:
    """Return the bands that each group of a cube holds, in the order of the sensor table.

    Raises
    ------
    CubeError
        If a group has no acquisition.
    """
    given = {}
    for name, group in groups_of(cube).items():
        if not group.sizes["time"]:
            raise CubeError(f"/{name} has no acquisition; drop the group, or give it data")
        present = set(group["band"].values.tolist()) if "reflectance" in group else set()
        present |= {"LST"} if "surface_temperature" in group else set()
        given[name] = tuple(band.name for band in SENSORS[name].all_bands if band.name in present)
    return given


def _days_of(cube: xr.DataTree, same_day: Any) -> dict[str, tuple[int, ...]]:
    """Return whole days since 1970 of each sensor's acquisitions."""
    groups = groups_of(cube).items()
    times = {name: pd.DatetimeIndex(group["time"].values) for name, group in groups}
    counted = count_days(times, same_day=same_day)
    return {name: tuple((days - pd.Timestamp(0)).days) for name, days in counted.items()}


def _check_workers(workers: Any) -> None:
    whole = isinstance(workers, int) and not isinstance(workers, bool)
    if workers is not None and (not whole or not 1 <= workers <= MOST_WORKERS):
        raise OptionError(f"workers must be from 1 to {MOST_WORKERS}, got {workers!r:.40}")


def _parse_tile(tile: int | str) -> int | None:
    if tile == "auto":
        return None
    whole = isinstance(tile, int) and not isinstance(tile, bool)
    if not whole or not 1 <= int(tile) <= LARGEST_TILE:
        raise OptionError(
            f"tile must be 'auto' or a number of pixels from 1 to {LARGEST_TILE}, got {tile!r:.40}"
        )
    return int(tile)

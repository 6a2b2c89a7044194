"""The main job: a cube and query dates in, a lazy product out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

import pandas as pd
import xarray as xr

from tamrf_xr import panchromatic
from tamrf_xr.cube import carried_of, grids_of, groups_of
from tamrf_xr.dates import parse_dates
from tamrf_xr.days import count_days
from tamrf_xr.errors import CubeError
from tamrf_xr.fuser import FuserSpec
from tamrf_xr.harmonize.door import read_cube
from tamrf_xr.layering import plan_layers, without
from tamrf_xr.methods.registry import Request, check_sensors, listed, parse_bands
from tamrf_xr.model.device import resolve_device
from tamrf_xr.options import DEFAULTS, HERE, FuseOptions, check_workers, options_asked, parse_tile
from tamrf_xr.scale.job import Execution, run_tiles
from tamrf_xr.scale.lazy import fuse_lazily
from tamrf_xr.scale.persisting import fuse_in_memory
from tamrf_xr.scale.prepared import Job, Timing, read_by
from tamrf_xr.scale.progress import JobSummary
from tamrf_xr.sensors import SENSORS, THERMAL
from tamrf_xr.signatures import with_options

if TYPE_CHECKING:
    from distributed import Client

_TIMING = ("origin", "window", "same_day", "causal", "latency")


@with_options(FuseOptions, DEFAULTS)
def fuse(
    cube: xr.DataTree,
    query_dates: Any,
    *,
    persist: bool = False,
    progress: bool = True,
    **options: Unpack[FuseOptions],
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
    persist
        Compute now, into memory (that of the workers, with a ``dask.distributed`` client). Of a
        product that is lazy, each plot and each ``compute`` makes whole tiles again.
    progress
        Show a bar of the tiles that are done, with `persist`.
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
    causal
        Let no query date see what was acquired after it (after the end of its day, where it names
        no time): what would have been made on that day, as for a forecast or a back-test. Equal
        to fusing a cube without those acquisitions; see docs/causal.md.
    latency
        With `causal`: how long an acquisition takes to arrive, such as ``"3D"``.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: a GPU where there is one.
    precision
        ``"float32"``, exactly, on GPUs too; ``"tf32"``, whose products round to 10 bits on GPUs
        and nowhere else; ``"bfloat16"``, where it is faster; or ``"auto"``: bfloat16 on GPUs
        that have it, else float32. What was computed in is an attribute of the product.
    tile
        Edge of a tile in 10 m pixels. ``"auto"`` fits the memory there is. The result does not
        depend on it, but for ``"dms"``, whose models are fitted per tile, ``"dstfn"``, whose
        attention looks at a tile, and ``"sen2like"`` with its default ``max_masked``, which is
        judged per tile.
    method_options
        Options of the method itself, such as ``{"variant": "paper"}`` or ``{"weights": path}``
        of methods that users bring weights for; an unknown one is refused with those that exist.
    uncertainty
        Add ``reflectance_std`` and ``surface_temperature_std``: standard deviations of how far
        a clear observation of that date, by that sensor, lies from what is predicted. Of
        ``"tamrf"`` with weights that tell it. See docs/uncertainty.md.
    provenance
        Add a group ``/provenance``: per date and pixel, days to the nearest usable observation
        on either side, per sensor and of any; how many there are in the window; and whether the
        day itself was observed, by which sensor, or reconstructed. See docs/provenance.md.
    indices
        Spectral indices to make, by the names of spyndex (``"NDVI"``): names for whichever sensor
        has them, or a mapping of sensor to names. The bands that they need are made, and kept
        only if `bands` asks for them. See docs/indices.md.
    statistics
        In place of images, statistics over the query dates of each `period`, pixel by pixel:
        ``"median"``, ``"min"``, ``"max"``, ``"p10"`` and so on. Variables are called
        ``NDVI_median``, ``reflectance_p10``; times are the first days of the periods.
    period
        ``"month"``, or ``"dekad"``: from the 1st, 11th and 21st of each month.

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
        If a query date cannot be read, or has no acquisition in its window, or none before it
        with `causal`.
    MethodError, ModelError
        If the method, its weights or the bands asked are not there.
    MemoryBudgetError
        If a tile needs more memory than the machine has, or the product does with `persist`.

    References
    ----------
    Michel & Inglada, Temporal Attention Multi-Resolution Fusion of Satellite Image
    Time-Series, Remote Sensing of Environment, 2025.
    """
    job = prepare(cube, query_dates, **options)
    check_device(job.spec, here=False)
    return fuse_in_memory(job, progress=progress) if persist else fuse_lazily(job)


@with_options(FuseOptions, DEFAULTS)
def run_job(
    cube: xr.DataTree,
    store: Any,
    query_dates: Any,
    *,
    client: Client | None = None,
    cluster: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    resume: bool = True,
    overwrite: bool = False,
    progress: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    layout: str = "sharded",
    **options: Unpack[FuseOptions],
) -> JobSummary:
    """Fuse into a store tile by tile, safe to interrupt: a rerun does only what is left.

    Parameters
    ----------
    cube
        A cube, best opened with `tamrf_xr.open_cube`: tiles then read straight from its store.
    store
        Path of the product, on a local or shared file system; a cube that `tamrf_xr.open_cube`
        reads. Tiles that are not done read as no data. Or a URL (``s3://``, ``gs://``, ``az://``,
        ``memory://``), a Zarr store object, or ``icechunk://PATH``; see docs/stores.md.
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
    storage_options
        Of a URL, as of `tamrf_xr.open_cube`.
    layout
        ``"sharded"``, Zarr 3, a shard a tile; or ``"gdal"``, Zarr 2, a chunk a tile and date,
        without checksums, which GDAL 3.10 opens.
    model, method, sensors, bands, origin, window, same_day, causal, latency, device, precision, \
tile, method_options, uncertainty, provenance, indices, statistics, period
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
    check_workers(workers)
    if cluster is not None:
        from tamrf_xr.scale.clusters import check_cluster

        check_cluster(cluster)
    how = Execution(client, cluster, workers, resume, overwrite, progress, storage_options, layout)
    job = prepare(cube, query_dates, **options)
    check_device(job.spec, here=client is None and cluster in HERE)
    return run_tiles(job, store, how=how)


def prepare(cube: Any, query_dates: Any, **options: Unpack[FuseOptions]) -> Job:
    """Read and check what is asked, once: what `fuse` and `run_job` then make.

    Parameters
    ----------
    cube
        A cube; what is none goes through `tamrf_xr.as_cube`.
    query_dates, options
        As for `fuse`.

    Returns
    -------
    Job
        The job.

    Raises
    ------
    TamrfError
        As `fuse` does, but for what depends on tiles.
    TypeError
        If there is no such option.
    """
    if unknown := options.keys() - DEFAULTS.keys():
        raise TypeError(f"unexpected option {min(unknown)!r}; there are {', '.join(DEFAULTS)}")
    asked = {**DEFAULTS, **options}
    timing = Timing(**{name: asked[name] for name in _TIMING})
    cube, groups = read_cube(cube)
    grids = grids_of(groups)
    queries, tile = parse_dates(query_dates), parse_tile(asked["tile"])
    days = _days_of(groups, timing, queries)
    spec, layers = plan_layers(asked, _request(groups, asked, days), groups)
    spec = without(carried_of(cube), spec)
    told = options_asked(options)
    return Job(cube, read_by(spec, groups), grids, spec, queries, timing, tile, layers, told)


def _request(
    groups: Mapping[str, xr.Dataset], asked: Mapping[str, Any], days: dict[str, tuple[int, ...]]
) -> Request:
    sensors, bands = asked["sensors"], asked["bands"]
    names = None if sensors is None else tuple(listed(sensors, "sensors"))
    check_sensors(names or ())
    return Request(
        given={name: _bands_of(name, group) for name, group in groups.items()},
        sensors=names,
        bands=None if bands is None else parse_bands(bands, names or tuple(SENSORS)),
        model=asked["model"],
        device=asked["device"],
        precision=asked["precision"],
        options=asked["method_options"] or {},
        panchromatic=any(panchromatic.NAME in group for group in groups.values()),
        days=days,
        uncertainty=asked["uncertainty"] is True,
    )


def check_device(spec: FuserSpec, *, here: bool) -> None:
    """Refuse a device before anything is laid out, rather than tile by tile."""
    asked = dict(spec.options).get("device")
    if isinstance(asked, str):
        resolve_device(asked, here=here)


def bands_of(cube: xr.DataTree) -> dict[str, tuple[str, ...]]:
    """Return the bands that each group of a cube holds, in the order of the sensor table.

    Raises
    ------
    CubeError
        If a group has no acquisition.
    """
    return {name: _bands_of(name, group) for name, group in groups_of(cube).items()}


def _bands_of(sensor: str, group: xr.Dataset) -> tuple[str, ...]:
    if not group.sizes["time"]:
        raise CubeError(f"/{sensor} has no acquisition; drop the group, or give it data")
    present = set(group["band"].values.tolist()) if "reflectance" in group else set()
    present |= {THERMAL} if "surface_temperature" in group else set()
    return tuple(band.name for band in SENSORS[sensor].all_bands if band.name in present)


def _days_of(
    groups: Mapping[str, xr.Dataset], timing: Timing, queries: pd.DatetimeIndex
) -> dict[str, tuple[int, ...]]:
    """Return whole days since 1970 of the acquisitions that every query date may see."""
    times = {name: pd.DatetimeIndex(group["time"].values) for name, group in groups.items()}
    counted = count_days(timing.seen_first(times, queries), same_day=timing.same_day)
    return {name: tuple((days - pd.Timestamp(0)).days) for name, days in counted.items()}

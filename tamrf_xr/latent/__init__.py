"""A latent cube: a series encoded once and stored, any date decoded later without the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import xarray as xr

from tamrf_xr.errors import LatentError
from tamrf_xr.fusion import check_device
from tamrf_xr.latent.planning import (
    DECODES,
    ENCODES,
    RUNS,
    DecodeJobOptions,
    DecodeOptions,
    EncodeJobOptions,
    EncodeOptions,
    parted,
    prepare_decoding,
    prepare_encoding,
)
from tamrf_xr.options import HERE, check_workers
from tamrf_xr.places import StorageOptions, unreadable
from tamrf_xr.scale.job import Execution, run_tiles
from tamrf_xr.scale.lazy import fuse_lazily
from tamrf_xr.scale.prepared import Job
from tamrf_xr.scale.progress import JobSummary
from tamrf_xr.scale.tokens import read_latent
from tamrf_xr.signatures import with_options
from tamrf_xr.store import opened_at


@with_options(EncodeOptions, ENCODES)
def encode(cube: xr.DataTree, **options: Unpack[EncodeOptions]) -> xr.DataTree:
    """Encode a cube into a latent, lazily: what any query date needs of it, without the images.

    Parameters
    ----------
    cube
        A cube, from `tamrf_xr.open_cube` or `tamrf_xr.as_cube`.
    model
        Weights of the network: a path, a loaded model, or ``"default"``. What is encoded with one
        is decoded with that one alone.
    dtype
        ``"int8"``, with a scale a channel that the weights fix; ``"bfloat16"``; or ``"float32"``,
        which loses nothing. See docs/latent.md for what each costs.
    border
        As of the method ``"tamrf"``: ``"auto"``, ``"zeros"`` or ``"mirror"``.
    gaps
        Likewise: ``"auto"``, ``"mean"`` or ``"skip"``.
    origin, window, same_day
        As for `tamrf_xr.fuse`: query dates are decoded as `fuse` makes them with these. A cube that
        is longer than the window is refused: encode a year at a time, or pass None.
    device, precision, tile
        As for `tamrf_xr.fuse`.

    Returns
    -------
    xarray.DataTree
        One group, ``/latent``: ``tokens`` (acquisition, channel, y, x), a dask array of one task a
        tile, ``scale * number + offset``; the days and sensors of acquisitions; and, in
        attributes, the weights' hash and all that decoding takes. `encode_job` writes it.

    Raises
    ------
    CubeError
        If the tree is no cube, or a group has no acquisition.
    DateError
        If acquisitions span more than `window`.
    ModelError
        If the weights cannot be read, or bound no token, with ``"int8"``.
    OptionError
        If an option has no such value.
    MemoryBudgetError
        If a tile needs more memory than the machine has.
    """
    job = prepare_encoding(cube, options)
    check_device(job.spec, here=False)
    return fuse_lazily(job)


@with_options(EncodeJobOptions, {**ENCODES, **RUNS})
def encode_job(cube: xr.DataTree, store: Any, **options: Unpack[EncodeJobOptions]) -> JobSummary:
    """Encode a cube into a store tile by tile, safe to interrupt: a rerun does what is left.

    Parameters
    ----------
    cube
        A cube, best opened with `tamrf_xr.open_cube`: tiles then read straight from its store.
    store
        Path, URL or Zarr store object of the latent, as of `tamrf_xr.run_job`.
    client, cluster, workers, resume, overwrite, progress, storage_options
        As for `tamrf_xr.run_job`.
    model, dtype, border, gaps, origin, window, same_day, device, precision, tile
        As of `encode`. A rerun must ask the same; ``tile="auto"`` then takes the store's.

    Returns
    -------
    JobSummary
        Tiles done and found done, tiles that failed with their bounds, seconds spent.

    Raises
    ------
    TamrfError
        As `encode` and `tamrf_xr.run_job` do.
    """
    run, asked = parted(options)
    return _run(prepare_encoding(cube, asked), store, run)


def open_latent(
    store: Any, *, chunks: Any = None, storage_options: StorageOptions = None
) -> xr.DataTree:
    """Open a latent cube lazily; nothing is converted.

    Parameters
    ----------
    store
        Path or URL of its store, or a Zarr store object, as of `tamrf_xr.open_cube`.
    chunks, storage_options
        As of `tamrf_xr.open_cube`.

    Returns
    -------
    xarray.DataTree
        The latent.

    Raises
    ------
    SourceNotFoundError
        If there is no such store.
    LatentError
        If it is no latent cube.
    """
    path, readable = opened_at(store, storage_options)
    try:
        tree = xr.open_datatree(
            readable, engine="zarr", chunks=chunks, mask_and_scale=False, decode_coords="all"
        )
    except unreadable() as error:
        raise LatentError(
            f"{path} is not a Zarr store that holds a latent cube: {error}"
        ) from error
    try:
        read_latent(tree)
    except LatentError as error:
        raise LatentError(f"{path}: {error}") from error
    if "://" in path:
        tree.encoding["source"] = path
    return tree


@with_options(DecodeOptions, DECODES)
def decode(latent: xr.DataTree, query_dates: Any, **options: Unpack[DecodeOptions]) -> xr.DataTree:
    """Make bands at any dates from a latent cube, lazily: what `fuse` makes of the cube itself.

    Parameters
    ----------
    latent
        A latent cube, whole, from `encode` or `open_latent`.
    query_dates
        As for `tamrf_xr.fuse`.
    model
        The weights that it was encoded with; None for those that it names, which are the default
        ones if their content is the same.
    sensors, bands, indices, statistics, period, uncertainty, device, precision, tile
        As for `tamrf_xr.fuse`.

    Returns
    -------
    xarray.DataTree
        A product as of `tamrf_xr.fuse`. Not a number where tiles of the latent are not done.

    Raises
    ------
    LatentError
        If the tree is no latent cube, or a part of one.
    ModelError
        If the weights are others than it was encoded with, or cannot be found.
    DateError
        If a query date cannot be read, or has no acquisition in its window.
    MethodError, OptionError
        If a band, an index or an option is asked that is not there.
    MemoryBudgetError
        If a tile needs more memory than the machine has.
    """
    job = prepare_decoding(latent, query_dates, options)
    check_device(job.spec, here=False)
    return fuse_lazily(job)


@with_options(DecodeJobOptions, {**DECODES, **RUNS})
def decode_job(
    latent: xr.DataTree, store: Any, query_dates: Any, **options: Unpack[DecodeJobOptions]
) -> JobSummary:
    """Decode a latent cube into a store tile by tile, safe to interrupt.

    Parameters
    ----------
    latent
        A latent cube, best opened with `open_latent`.
    store
        Path, URL or Zarr store object of the product, as of `tamrf_xr.run_job`.
    query_dates
        As for `tamrf_xr.fuse`.
    client, cluster, workers, resume, overwrite, progress, storage_options
        As for `tamrf_xr.run_job`.
    model, sensors, bands, indices, statistics, period, uncertainty, device, precision, tile
        As of `decode`. A rerun must ask the same; ``tile="auto"`` then takes the store's.

    Returns
    -------
    JobSummary
        Tiles done and found done, tiles that failed with their bounds, seconds spent.

    Raises
    ------
    TamrfError
        As `decode` and `tamrf_xr.run_job` do.
    """
    run, asked = parted(options)
    return _run(prepare_decoding(latent, query_dates, asked), store, run)


def _run(job: Job, store: Any, run: Mapping[str, Any]) -> JobSummary:
    check_workers(run.get("workers"))
    if run.get("cluster") is not None:
        from tamrf_xr.scale.clusters import check_cluster

        check_cluster(run["cluster"])
    check_device(job.spec, here=run.get("client") is None and run.get("cluster") in HERE)
    return run_tiles(job, store, how=Execution(**run))

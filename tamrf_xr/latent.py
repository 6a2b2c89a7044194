"""A latent cube: a series encoded once and stored, any date decoded later without the images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import pandas as pd
import xarray as xr

from tamrf_xr.dates import DateLike, parse_dates
from tamrf_xr.days import SAME_DAY
from tamrf_xr.errors import LatentError, ModelError, OptionError
from tamrf_xr.fusion import (
    DEFAULTS,
    HERE,
    bands_of,
    check_device,
    check_workers,
    parse_tile,
)
from tamrf_xr.harmonize.door import read_cube
from tamrf_xr.iso8601 import Length
from tamrf_xr.layering import plan_layers
from tamrf_xr.methods.registry import Request, check_sensors, listed, parse_bands, plan_method
from tamrf_xr.methods.tamrf import resolve
from tamrf_xr.methods.tokens import BYTES, decoding, encoding
from tamrf_xr.places import StorageOptions, unreadable
from tamrf_xr.scale.job import Execution, run_tiles
from tamrf_xr.scale.layers import Layers
from tamrf_xr.scale.lazy import fuse_lazily
from tamrf_xr.scale.prepared import Job, Timing
from tamrf_xr.scale.progress import JobSummary
from tamrf_xr.scale.tokens import GROUP, DecodeJob, Latent, acquisitions_of, read_latent
from tamrf_xr.sensors import SENSORS
from tamrf_xr.store import opened_at

if TYPE_CHECKING:
    from distributed import Client


class EncodeOptions(TypedDict, total=False):
    """Options of `encode`, which says what they mean."""

    model: Any
    dtype: str
    border: str
    origin: DateLike | None
    window: Length | None
    same_day: Length
    device: str
    precision: str
    tile: int | str


class DecodeOptions(TypedDict, total=False):
    """Options of `decode`, which says what they mean."""

    model: Any
    sensors: str | Sequence[str] | None
    bands: Any
    indices: Any
    statistics: Any
    period: str
    uncertainty: bool
    device: str
    precision: str
    tile: int | str


class RunOptions(TypedDict, total=False):
    """Where a job runs and what it does with what is there: as of `tamrf_xr.run_job`."""

    client: Client | None
    cluster: str | os.PathLike[str] | None
    workers: int | None
    resume: bool
    overwrite: bool
    progress: bool
    storage_options: StorageOptions


class EncodeJobOptions(EncodeOptions, RunOptions, total=False):
    """Options of `encode_job`."""


class DecodeJobOptions(DecodeOptions, RunOptions, total=False):
    """Options of `decode_job`."""


def encode(
    cube: xr.DataTree,
    *,
    model: Any = "default",
    dtype: str = "int8",
    border: str = "auto",
    origin: DateLike | None = None,
    window: Length | None = "365D",
    same_day: Length = SAME_DAY,
    device: str = "auto",
    precision: str = "auto",
    tile: int | str = "auto",
) -> xr.DataTree:
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
    options = EncodeOptions(
        model=model, dtype=dtype, border=border, origin=origin, window=window, same_day=same_day,
        device=device, precision=precision, tile=tile,
    )  # fmt: skip
    job = _prepare_encoding(cube, options)
    check_device(job.spec, here=False)
    return fuse_lazily(job)


def encode_job(cube: xr.DataTree, store: Any, **options: Unpack[EncodeJobOptions]) -> JobSummary:
    """Encode a cube into a store tile by tile, safe to interrupt: a rerun does what is left.

    Parameters
    ----------
    cube
        A cube, best opened with `tamrf_xr.open_cube`: tiles then read straight from its store.
    store
        Path, URL or Zarr store object of the latent, as of `tamrf_xr.run_job`.
    **options
        As of `encode`; and ``client``, ``cluster``, ``workers``, ``resume``, ``overwrite``,
        ``progress`` and ``storage_options`` as of `tamrf_xr.run_job`. A rerun must ask the same; ``tile="auto"`` then takes the store's.

    Returns
    -------
    JobSummary
        Tiles done and found done, tiles that failed with their bounds, seconds spent.

    Raises
    ------
    TamrfError
        As `encode` and `tamrf_xr.run_job` do.
    """
    run, asked = _split(options, EncodeJobOptions)
    return _run(_prepare_encoding(cube, asked), store, run)


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
        tree = xr.open_datatree(readable, engine="zarr", chunks=chunks, mask_and_scale=False, decode_coords="all")
    except unreadable() as error:
        raise LatentError(f"{path} is not a Zarr store that holds a latent cube: {error}") from error
    try:
        read_latent(tree)
    except LatentError as error:
        raise LatentError(f"{path}: {error}") from error
    if "://" in path:
        tree.encoding["source"] = path
    return tree


def decode(
    latent: xr.DataTree,
    query_dates: Any,
    *,
    model: Any = None,
    sensors: str | Sequence[str] | None = None,
    bands: Any = None,
    indices: Any = None,
    statistics: Any = None,
    period: str = "month",
    uncertainty: bool = False,
    device: str = "auto",
    precision: str = "auto",
    tile: int | str = "auto",
) -> xr.DataTree:
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
    options = DecodeOptions(
        model=model, sensors=sensors, bands=bands, indices=indices, statistics=statistics,
        period=period, uncertainty=uncertainty, device=device, precision=precision, tile=tile,
    )  # fmt: skip
    job = _prepare_decoding(latent, query_dates, options)
    check_device(job.spec, here=False)
    return fuse_lazily(job)


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
    **options
        As of `decode`; and those of `tamrf_xr.run_job` that `encode_job` takes. A rerun must ask the same; ``tile="auto"`` then takes the store's.

    Returns
    -------
    JobSummary
        Tiles done and found done, tiles that failed with their bounds, seconds spent.

    Raises
    ------
    TamrfError
        As `decode` and `tamrf_xr.run_job` do.
    """
    run, asked = _split(options, DecodeJobOptions)
    return _run(_prepare_decoding(latent, query_dates, asked), store, run)


def _split(options: Mapping[str, Any], known: type[Any]) -> tuple[dict[str, Any], Any]:
    """Part the options of a run from those of what is made.

    Raises
    ------
    TypeError
        If there is no such option.
    """
    if unknown := options.keys() - known.__annotations__.keys():
        names = ", ".join(known.__annotations__)
        raise TypeError(f"unexpected option {min(unknown)!r}; there are {names}")
    run = {name: options[name] for name in RunOptions.__annotations__ if name in options}
    return run, {name: value for name, value in options.items() if name not in run}


def _run(job: Job, store: Any, run: Mapping[str, Any]) -> JobSummary:
    check_workers(run.get("workers"))
    if run.get("cluster") is not None:
        from tamrf_xr.scale.clusters import check_cluster

        check_cluster(run["cluster"])
    check_device(job.spec, here=run.get("client") is None and run.get("cluster") in HERE)
    return run_tiles(job, store, how=Execution(**run))


def _prepare_encoding(cube: Any, options: EncodeOptions) -> Job:
    """Read and check what is asked."""
    from tamrf_xr.model.latent import form_of

    defaults = {name: DEFAULTS[name] for name in EncodeOptions.__annotations__ if name in DEFAULTS}
    asked = {**defaults, "dtype": "int8", "border": "auto", **options}
    if asked["dtype"] not in tuple(BYTES):
        raise OptionError(f"dtype is {asked['dtype']!r:.40}; expected one of {', '.join(BYTES)}")
    cube, groups = read_cube(cube)
    timing = Timing(asked["origin"], asked["window"], asked["same_day"])
    request = Request(
        bands_of(cube), model=asked["model"], device=asked["device"],
        precision=asked["precision"], options={"border": asked["border"]},
    )  # fmt: skip
    spec = plan_method("tamrf", request)
    *_, network = resolve(asked["model"])
    mirrored = dict(spec.options)["border"] == "mirror"
    margin = network.config.decoder_reach if mirrored else 0
    form = form_of(network, asked["dtype"], margin=margin)
    times = {name: pd.DatetimeIndex(group["time"].values) for name, group in groups.items()}
    return Job.of(
        cube, encoding(spec, form), acquisitions_of(times, timing).times, timing=timing,
        tile=parse_tile(asked["tile"]), layers=Layers(latent=form),
    )  # fmt: skip


def _prepare_decoding(tree: Any, query_dates: Any, options: DecodeOptions) -> Job:
    """Read and check what is asked."""
    latent = read_latent(tree)
    defaults = {name: DEFAULTS[name] for name in DecodeOptions.__annotations__}
    asked = {**defaults, "model": None, **options, "method": "tamrf", "provenance": False}
    queries, tile = parse_dates(query_dates), parse_tile(asked["tile"])
    sensors = None if asked["sensors"] is None else tuple(listed(asked["sensors"], "sensors"))
    check_sensors(sensors or ())
    bands = asked["bands"]
    request = Request(
        {},
        sensors=sensors,
        bands=None if bands is None else parse_bands(bands, sensors or tuple(SENSORS)),
        model=_model_of(latent, asked["model"]),
        device=asked["device"],
        precision=asked["precision"],
        uncertainty=asked["uncertainty"] is True,
    )
    spec, layers = plan_layers(asked, request, {})
    *_, network = resolve(request.model)
    return DecodeJob(
        latent.tree,
        {GROUP: latent.group},
        {GROUP: latent.grid},
        decoding(spec, latent.form, reach=network.config.decoder_reach),
        queries,
        latent.timing,
        tile,
        layers,
        acquired=latent.acquired,
        form=latent.form,
    )


def _model_of(latent: Latent, asked: Any) -> Any:
    """Return the weights to decode with: those that a latent was encoded with, and no other.

    Raises
    ------
    ModelError
        If those asked are others, or those that it names are not there.
    """
    encoded, named = latent.attrs.get("weights_sha256", ""), latent.attrs.get("weights", "")
    if asked is not None:
        found = resolve(asked)[1]
        if found != encoded:
            raise ModelError(
                f"the latent was encoded with {_words(named, encoded)}, and the weights given have "
                f"sha256 {found[:12]}: no other network reads its tokens. Pass the first, or "
                "encode the cube with the second"
            )
        return asked
    for source in ("default", named):
        if source == "default" or Path(source).exists():
            if resolve(source)[1] == encoded:
                return source
    raise ModelError(
        f"the latent was encoded with {_words(named, encoded)}, which are neither the default ones "
        "of this version nor there under that name; pass model= (--model)"
    )


def _words(named: str, digest: str) -> str:
    return f"weights {named or 'without a name'} (sha256 {digest[:12]})"

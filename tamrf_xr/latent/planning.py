"""What is asked of a latent cube, read and checked once, before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import pandas as pd

from tamrf_xr.dates import DateLike, parse_dates
from tamrf_xr.errors import ModelError, OptionError
from tamrf_xr.fusion import bands_of
from tamrf_xr.harmonize.door import read_cube
from tamrf_xr.iso8601 import Length
from tamrf_xr.layering import plan_layers
from tamrf_xr.methods.registry import Request, check_sensors, listed, parse_bands, plan_method
from tamrf_xr.methods.tamrf import MAKES, reach_of, resolve
from tamrf_xr.methods.tokens import BYTES, decoding, encoding
from tamrf_xr.options import DEFAULTS, parse_tile
from tamrf_xr.places import StorageOptions
from tamrf_xr.scale.layers import Layers
from tamrf_xr.scale.prepared import Job, Timing
from tamrf_xr.scale.tokens import GROUP, DecodeJob, Latent, acquisitions_of, read_latent
from tamrf_xr.sensors import SENSORS

if TYPE_CHECKING:
    from distributed import Client


class EncodeOptions(TypedDict, total=False):
    """Options of `encode`, which says what they mean."""

    model: Any
    dtype: str
    border: str
    gaps: str
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


ENCODES: Mapping[str, Any] = {
    "model": "default",
    "dtype": "int8",
    "border": "auto",
    "gaps": "auto",
    **{name: DEFAULTS[name] for name in ("origin", "window", "same_day")},
    **{name: DEFAULTS[name] for name in ("device", "precision", "tile")},
}
DECODES: Mapping[str, Any] = {
    name: None if name == "model" else DEFAULTS[name] for name in DecodeOptions.__annotations__
}
RUNS: Mapping[str, Any] = {
    "client": None,
    "cluster": None,
    "workers": None,
    "resume": True,
    "overwrite": False,
    "progress": True,
    "storage_options": None,
}


def parted(options: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Part the options of a run from those of what is made."""
    run = {name: options[name] for name in RUNS if name in options}
    return run, {name: value for name, value in options.items() if name not in run}


def _asked(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := options.keys() - defaults.keys():
        raise TypeError(f"unexpected option {min(unknown)!r}; there are {', '.join(defaults)}")
    return {**defaults, **options}


def prepare_encoding(cube: Any, options: EncodeOptions) -> Job:
    """Read and check what is asked of a cube; errors as of `tamrf_xr.encode`."""
    from tamrf_xr.model.latent import form_of

    asked = _asked(options, ENCODES)
    if asked["dtype"] not in tuple(BYTES):
        raise OptionError(f"dtype is {asked['dtype']!r:.40}; expected one of {', '.join(BYTES)}")
    cube, groups = read_cube(cube)
    timing = Timing(asked["origin"], asked["window"], asked["same_day"])
    request = Request(
        bands_of(cube), model=asked["model"], device=asked["device"],
        precision=asked["precision"], options={name: asked[name] for name in ("border", "gaps")},
    )  # fmt: skip
    spec = plan_method("tamrf", request)
    *_, network = resolve(asked["model"])
    mirrored = dict(spec.options)["border"] == "mirror"
    margin = reach_of(network, MAKES) if mirrored else 0
    form = form_of(network, asked["dtype"], margin=margin)
    times = {name: pd.DatetimeIndex(group["time"].values) for name, group in groups.items()}
    return Job.of(
        cube, encoding(spec, form, network), acquisitions_of(times, timing).times, timing=timing,
        tile=parse_tile(asked["tile"]), layers=Layers(latent=form),
    )  # fmt: skip


def prepare_decoding(tree: Any, query_dates: Any, options: DecodeOptions) -> Job:
    """Read and check what is asked of a latent; errors as of `tamrf_xr.decode`."""
    latent = read_latent(tree)
    asked = {**_asked(options, DECODES), "method": "tamrf", "provenance": False}
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
        decoding(spec, latent.form, reach=reach_of(network, dict(spec.makes))),
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
    there = ["default", *([named] if named and Path(named).exists() else [])]
    for source in there:
        if resolve(source)[1] == encoded:
            return source
    raise ModelError(
        f"the latent was encoded with {_words(named, encoded)}, which are neither the default ones "
        "of this version nor there under that name; pass model= (--model)"
    )


def _words(named: str, digest: str) -> str:
    return f"weights {named or 'without a name'} (sha256 {digest[:12]})"

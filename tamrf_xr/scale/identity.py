"""What decides the numbers of a product, as words: two jobs that say the same give the same."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from tamrf_xr.days import ONE_DAY
from tamrf_xr.fuser import FuserSpec
from tamrf_xr.iso8601 import Length, read_length
from tamrf_xr.origins import zarr_array_of
from tamrf_xr.scale.prepared import Job, Timing
from tamrf_xr.scale.reading import READABLE
from tamrf_xr.scale.tilework import FuseJob

LOCATIONS = ("weights",)
"""Options that say where something lies; its hash is what counts."""

LISTED = 6
"""Dates named one by one."""

PACKAGES = ("tamrf-xr", "numpy", "xarray", "zarr", "torch")


def identify(job: Job, tiled: FuseJob) -> dict[str, str]:
    """Say what decides the numbers of a product.

    Inputs count by their times, bands and grid, and by their content where they are in memory, or
    the metadata of their store where they are not: a store whose pixels are rewritten in place,
    as to mend a corrupt chunk, is the same input.
    """
    return {
        **_of_method(job.spec),
        "query dates": words_of_dates(job.queries),
        "origin": str(job.timing.origin),
        "window": _length(job.timing.window, "window"),
        "same day": _length(job.timing.same_day, "same_day"),
        "tile": " x ".join(map(str, tiled.grid.tile)),
        **_of_causality(job.timing),
        **job.layers.words(),
        **_of_inputs(job),
    }


def asked_by(job: Job, tiled: FuseJob, layout: str) -> dict[str, str]:
    """Say what a job is asked: what decides the numbers, and how the store is laid out."""
    return identify(job, tiled) | ({} if layout == "sharded" else {"layout": layout})


def dates_in(words: str) -> int:
    """Return how many dates words of `identify` name.

    Examples
    --------
    >>> dates_in("2022-01-03, 2022-01-14"), dates_in("41 dates, 2022-01-03 to 2022-12-30 (...)")
    (2, 41)
    """
    count, told, _ = words.partition(" dates, ")
    return int(count) if told else len(words.split(", "))


def _of_causality(timing: Timing) -> dict[str, str]:
    # Only where it is asked: jobs of before are gone on with.
    return {"causal": f"latency {_length(timing.latency, 'latency')}"} if timing.causal else {}


def _length(length: Length | None, what: str) -> str:
    return "None" if length is None else f"{read_length(length, what) / ONE_DAY:g}D"


def describe_origin(job: Job) -> dict[str, str]:
    """Say where a product comes from, beyond what decides its numbers."""
    versions = " ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    return {
        "input": job.source or "in memory",
        "software": f"{versions} python {platform.python_version()}",
        **({"options": job.options} if job.options else {}),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _of_method(spec: FuserSpec) -> dict[str, str]:
    words = {"method": spec.method}
    words |= {f"bands of {sensor}": " ".join(bands) for sensor, bands in spec.makes}
    given = {**dict(spec.options), **dict(spec.provenance)}
    words |= {name: _word(value) for name, value in given.items() if name not in LOCATIONS}
    return words


def _word(value: Any) -> str:
    return f"sha256 {_digest(value)}" if isinstance(value, bytes) else str(value)


def _of_inputs(job: Job) -> dict[str, str]:
    words: dict[str, str] = {}
    for sensor, group in job.groups.items():
        grid = job.grids[sensor]
        words |= {
            f"{sensor} dates": words_of_dates(pd.DatetimeIndex(group["time"].values)),
            f"{sensor} bands": " ".join(group["band"].values) if "band" in group else "",
            f"{sensor} grid": f"{grid.shape[0]} x {grid.shape[1]} px, bounds {grid.bounds}",
        }
        if content := _content(group):
            words[f"{sensor} content"] = f"sha256 {content}"
    if job.source:
        words["input metadata"] = f"sha256 {_digest(_metadata(job))}"
    return words


def _metadata(job: Job) -> bytes:
    source = job.source
    path = Path(source) / "zarr.json"
    if "://" not in source and path.exists():
        return path.read_bytes()
    store = next(filter(None, map(_store_of, job.groups.values())), source)
    metadata = zarr.open_group(store, mode="r").metadata.to_dict()
    return json.dumps(metadata, sort_keys=True, default=str).encode()


def _store_of(group: xr.Dataset) -> Any:
    """Return the store that a group is read from, opened, so that no option is asked again."""
    arrays = (zarr_array_of(group[name].variable) for name in READABLE if name in group)
    return next((array.store for array in arrays if array is not None), None)


def _content(group: xr.Dataset) -> str:
    """Hash the arrays that are in memory."""
    arrays = [group[name].variable for name in READABLE if name in group]
    held = [a.values for a in arrays if a._in_memory and isinstance(a.data, np.ndarray)]
    return _digest(*(np.ascontiguousarray(array).view(np.uint8) for array in held)) if held else ""


def words_of_dates(dates: pd.DatetimeIndex) -> str:
    """Return dates one by one, or how many with a hash of them."""
    words = [f"{date:%Y-%m-%d}" if date == date.floor("D") else str(date) for date in dates]
    if len(words) <= LISTED:
        return ", ".join(words)
    digest = _digest(" ".join(words).encode())
    return f"{len(words)} dates, {words[0]} to {words[-1]} (sha256 {digest[:12]})"


def _digest(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def provenance(asked: Mapping[str, str], about: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that a product carries."""
    return {**about, "parameters": json.dumps(dict(asked))}

"""What `tamrf_xr.fuse` may be asked: names, defaults, and checks that no other module has."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pandas as pd

from tamrf_xr.days import SAME_DAY
from tamrf_xr.errors import OptionError

LARGEST_TILE = 1_000_000
"""10 m pixels: more than any scene has."""

HERE = (None, "local", "dask-cuda")
"""Clusters whose workers run on this machine."""

MOST_WORKERS = 10_000


class FuseOptions(TypedDict, total=False):
    """Options of `fuse`, which says what they mean; `DEFAULTS` has those not given."""

    model: Any
    method: str
    sensors: str | Sequence[str] | None
    bands: Any
    origin: Any
    window: Any
    same_day: Any
    causal: bool
    latency: Any
    device: str
    precision: str
    tile: int | str
    method_options: Mapping[str, Any] | None
    uncertainty: bool
    provenance: bool
    indices: Any
    statistics: Any
    period: str


DEFAULTS: Mapping[str, Any] = {
    "model": "default",
    "method": "tamrf",
    "sensors": None,
    "bands": None,
    "origin": None,
    "window": "365D",
    "same_day": SAME_DAY,
    "causal": False,
    "latency": None,
    "device": "auto",
    "precision": "auto",
    "tile": "auto",
    "method_options": None,
    "uncertainty": False,
    "provenance": False,
    "indices": None,
    "statistics": None,
    "period": "month",
}


def options_asked(options: Mapping[str, Any]) -> str:
    """Return as JSON the options that were asked, but for those that have no text.

    Such as a model in memory: `tamrf_xr.updating` is then given it again.
    """
    kept = {}
    for name, value in options.items():
        if name not in {"device", "tile"} and value is not DEFAULTS[name]:
            with contextlib.suppress(TypeError):
                kept[name] = json.loads(json.dumps(_plain(name, value)))
    return json.dumps(kept) if kept else ""


def _plain(name: str, value: Any) -> Any:
    """Return a date or a length as text, and the path of a model as it is from everywhere."""
    if isinstance(value, pd.Timestamp | pd.Timedelta):
        return value.isoformat()
    if name == "model" and isinstance(value, str | os.PathLike):
        return os.path.abspath(value) if os.path.exists(value) else value
    return value


def check_workers(workers: Any) -> None:
    """Refuse a number of workers that is none.

    Raises
    ------
    OptionError
        If it is.
    """
    whole = isinstance(workers, int) and not isinstance(workers, bool)
    if workers is not None and (not whole or not 1 <= workers <= MOST_WORKERS):
        raise OptionError(f"workers must be from 1 to {MOST_WORKERS}, got {workers!r:.40}")


def parse_tile(tile: int | str) -> int | None:
    """Read the edge of a tile; None where that is the planner's choice.

    Raises
    ------
    OptionError
        If it is neither ``"auto"`` nor a number of pixels.
    """
    if tile == "auto":
        return None
    whole = isinstance(tile, int) and not isinstance(tile, bool)
    if not whole or not 1 <= int(tile) <= LARGEST_TILE:
        raise OptionError(
            f"tile must be 'auto' or a number of pixels from 1 to {LARGEST_TILE}, got {tile!r:.40}"
        )
    return int(tile)

"""Where the result of one method on one cube is kept: a folder, there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from tamrf_xr.errors import MethodError
from tamrf_xr.store import partial_of, remove_abandoned

SCORES, PROFILES = "scores.parquet", "profiles.parquet"
PICTURES, PARAMETERS = "pictures.json", "parameters.json"
PREDICTIONS = "predictions"

Pictures = dict[str, dict[str, Any]]
"""Per sensor, view and date (``"sentinel2|true colour|2022-01-03"``): data URIs by what they
show, and the days of the closest inputs."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one run on one cube gave."""

    table: pd.DataFrame
    """One row per sensor, date and band, with cube, task and run told in each."""

    profiles: pd.DataFrame
    """Frequency profiles, likewise."""

    pictures: Pictures
    """For the viewer of the report."""


def require_parquet() -> None:
    """Check that tables can be kept.

    Raises
    ------
    MethodError
        If pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise MethodError(
            "evaluate keeps its tables as parquet, which takes pyarrow: "
            "pip install 'tamrf-xr[evaluation]'"
        )


def load_result(folder: Path, parameters: Mapping[str, Any]) -> Result | None:
    """Read a result, if it is there and was made with the same parameters."""
    path = folder / PARAMETERS
    if not path.exists() or json.loads(path.read_text()) != _plain(parameters):
        return None
    return Result(
        pd.read_parquet(folder / SCORES),
        pd.read_parquet(folder / PROFILES),
        json.loads((folder / PICTURES).read_text()),
    )


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to write into, which takes the name `folder` when all went well."""
    partial = partial_of(folder)
    remove_abandoned(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_result(folder: Path, result: Result, parameters: Mapping[str, Any]) -> None:
    """Write a result into a folder of `fresh_folder`."""
    result.table.to_parquet(folder / SCORES, index=False)
    result.profiles.to_parquet(folder / PROFILES, index=False)
    (folder / PICTURES).write_text(json.dumps(result.pictures))
    (folder / PARAMETERS).write_text(json.dumps(_plain(parameters), indent=1))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table, parquet or CSV by its name, under another name first."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.suffix == ".parquet":
            table.to_parquet(partial, index=False)
        else:
            table.to_csv(partial, index=False)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _plain(parameters: Mapping[str, Any]) -> Any:
    """Return parameters as JSON gives them back; of weights in memory their hash stands beside."""
    return json.loads(json.dumps(parameters, default=_words, sort_keys=True))


def _words(value: object) -> str:
    return "in memory" if isinstance(value, bytes) else str(value)

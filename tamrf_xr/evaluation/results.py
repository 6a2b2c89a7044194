"""Where the result of one method on one cube is kept: a folder, there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from tamrf_xr.errors import MethodError
from tamrf_xr.replaceable import check_folder
from tamrf_xr.replacing import fresh, fresh_file

SCORES, PROFILES = "scores.parquet", "profiles.parquet"
PICTURES, PARAMETERS = "pictures.json", "parameters.json"
PREDICTIONS = "predictions"
_FILES = {SCORES, PROFILES, PICTURES, PARAMETERS, PREDICTIONS}

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
    check_folder(folder, "folder of a result", overwrite=True, ours=_why_not_a_result)
    with fresh(folder, overwrite=True) as partial:
        yield partial


def _why_not_a_result(folder: Path) -> str | None:
    if not folder.is_dir():
        return "is a file"
    foreign = sorted({entry.name for entry in folder.iterdir()} - _FILES)
    return f"holds what no evaluation wrote ({', '.join(foreign[:3])})" if foreign else None


def write_result(folder: Path, result: Result, parameters: Mapping[str, Any]) -> None:
    """Write a result into a folder of `fresh_folder`."""
    result.table.to_parquet(folder / SCORES, index=False)
    result.profiles.to_parquet(folder / PROFILES, index=False)
    (folder / PICTURES).write_text(json.dumps(result.pictures))
    (folder / PARAMETERS).write_text(json.dumps(_plain(parameters), indent=1))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table, parquet or CSV by its name, under another name first."""
    with fresh_file(path) as partial:
        if path.suffix == ".parquet":
            table.to_parquet(partial, index=False)
        else:
            table.to_csv(partial, index=False)


def _plain(parameters: Mapping[str, Any]) -> Any:
    """Return parameters as JSON gives them back; of weights in memory their hash stands beside."""
    return json.loads(json.dumps(parameters, default=_words, sort_keys=True))


def _words(value: object) -> str:
    return "in memory" if isinstance(value, bytes) else str(value)

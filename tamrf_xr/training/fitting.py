"""What fits of a part of a network have in common: what they are told, refuse and keep."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError, OptionError, TamrfError
from tamrf_xr.methods.standardising import STREAMS
from tamrf_xr.model.checkpoint import check_model_path, metadata_of
from tamrf_xr.model.named import named_weights

if TYPE_CHECKING:
    import xarray as xr
    from _typeshed import DataclassInstance

    Fit = TypeVar("Fit", bound=DataclassInstance)

Progress = Callable[[Iterable[int]], Iterable[int]]
"""Wraps what is iterated over, as `tqdm` does."""


def parser_of(about: str | None, how: Fit, sizes: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser of weights, cubes, the file to write, and sizes.

    Parameters
    ----------
    about
        What the command does.
    how
        How it fits unasked.
    sizes
        Which of that can be asked for: whole numbers.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("weights", help="network, as load_model takes it")
    parser.add_argument("cubes", nargs="+", help="stores, or patterns of them")
    parser.add_argument("out", type=Path, help="file to write, .safetensors")
    for name in sizes:
        parser.add_argument(f"--{name}", type=int, default=getattr(how, name))
    parser.add_argument("--overwrite", action="store_true")
    return parser


def parsed(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, how: Fit
) -> tuple[argparse.Namespace, Fit]:
    """Return what was asked, and how to fit; sizes and a file that cannot be are refused first."""
    options = parser.parse_args(arguments)
    check_model_path(options.out, overwrite=options.overwrite)
    sizes = {one.name: getattr(options, one.name) for one in fields(how) if one.name in options}
    how = replace(how, **sizes)
    check_fit(how)
    return options, how


def check_fit(how: DataclassInstance) -> None:
    """Refuse sizes of which nothing comes: all are whole numbers of at least 1."""
    for one in fields(how):
        value = getattr(how, one.name)
        if one.name != "seed" and isinstance(value, int) and value < 1:
            raise OptionError(f"{one.name} is {value}; expected a whole number of at least 1")


def check_sensors(cubes: Sequence[xr.DataTree], streams: Iterable[str], what: str) -> None:
    """Refuse cubes of which none has a sensor that is needed."""
    sensors = {stream: sensor for sensor, stream in STREAMS.items()}
    for sensor in sorted(sensors[stream] for stream in set(streams)):
        if not any(sensor in groups_of(cube) for cube in cubes):
            raise CubeError(
                f"none of {len(cubes)} cubes has /{sensor}, which {what}; give some that have"
            )


def run(main: Callable[[], None]) -> None:
    """Run a command as this process; an error is told in a line, as ``tamrf-xr`` does."""
    try:
        main()
    except (TamrfError, OSError) as error:
        sys.exit(f"error: {error}")


def kept_of(weights: str) -> dict[str, Any]:
    """Return what is known of weights, which those that come of them keep."""
    path = named_weights(weights) or Path(weights)
    return metadata_of(path.read_bytes()) if path.suffix == ".safetensors" else {}

"""What the commands that fit a part of a network have in common: what they are told, and keep."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tamrf_xr.model.checkpoint import check_model_path, metadata_of

if TYPE_CHECKING:
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
    """Return what was asked, and how to fit; a file that cannot be written is refused first."""
    options = parser.parse_args(arguments)
    check_model_path(options.out, overwrite=options.overwrite)
    sizes = {one.name: getattr(options, one.name) for one in fields(how) if one.name in options}
    return options, replace(how, **sizes)


def kept_of(weights: str) -> dict[str, Any]:
    """Return what is known of weights, which those that come of them keep."""
    path = Path(weights)
    return metadata_of(path.read_bytes()) if path.suffix == ".safetensors" else {}

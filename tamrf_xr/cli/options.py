"""What commands share: how they are added, and the options that several of them take."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any

from tamrf_xr.errors import OptionError
from tamrf_xr.places import is_remote

_DEFAULT = "(default: %(default)s)"
_SHARED: dict[str, dict[str, Any]] = {
    "--dates": {"nargs": "+", "metavar": "DATE"},
    "--debug": {"action": "store_true", "help": "log everything, show tracebacks"},
    "--device": {"default": "auto", "help": f"cpu, cuda, cuda:1 ... {_DEFAULT}"},
    "--model": {"default": "default", "help": f"weights {_DEFAULT}"},
    "--option": {"action": "append", "default": [], "dest": "method_options"},
    "--overwrite": {"action": "store_true", "help": "replace what is there"},
    "--storage-option": {
        "action": "append",
        "default": [],
        "dest": "storage_options",
        "metavar": "KEY=VALUE",
        "help": "of stores by URL, such as region=eu-central-1; may be repeated",
    },
    "--quiet": {"action": "store_false", "dest": "progress", "help": "show no progress"},
    "--window": {
        "type": lambda word: None if word == "none" else word,
        "default": "365D",
        "help": f"a number is days; 'none' for no window {_DEFAULT}",
    },
}

_KEY, _FLAGS = re.compile(r"[A-Za-z][A-Za-z0-9_]*"), {"true": True, "false": False}


def command(
    commands: Any, run: Callable[..., int], *, about: str, examples: str
) -> argparse.ArgumentParser:
    """Add a command of the name of `run`, which gets its options, `progress` among them."""
    parser: argparse.ArgumentParser = commands.add_parser(
        run.__name__,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared(parser, "--debug")
    shared(parser, "--quiet")
    parser.set_defaults(run=run)
    return parser


def shared(parser: argparse.ArgumentParser, name: str, **special: Any) -> None:
    """Add an option that other commands have too; `special` is what this one says otherwise."""
    parser.add_argument(name, **_SHARED[name] | special)


def execution(parser: argparse.ArgumentParser, out: str) -> None:
    """Add the options of how a job runs, and what it does with what is at `out`."""
    shared(parser, "--device")
    precisions = ["auto", "float32", "tf32", "bfloat16"]
    parser.add_argument("--precision", default="auto", choices=precisions)
    defaulted(parser, "--tile", "auto", "10 m pixels", type=_tile)
    shared(parser, "--overwrite", help=f"replace what is at {out}")
    parser.add_argument(
        "--no-resume",
        dest="resume",
        action="store_false",
        help=f"refuse a {out} that this job left unfinished",
    )
    parser.add_argument(
        "--cluster", metavar="CLUSTER", help="local, dask-cuda or a YAML file (default: threads)"
    )
    parser.add_argument("--workers", type=int, help="threads, or processes of the cluster")
    shared(parser, "--storage-option")


def _tile(word: str) -> int | str:
    return word if word == "auto" else int(word)


def storage(words: Sequence[str], *stores: str) -> dict[str, str | bool] | None:
    """Read ``KEY=VALUE`` of stores by URL; no error tells a value, which may be a secret.

    Raises
    ------
    OptionError
        If a word is none, a key is there twice, or no store is a URL.

    Examples
    --------
    >>> storage(["region=eu-central-1", "skip_signature=true"], "s3://bucket/cube.zarr")
    {'region': 'eu-central-1', 'skip_signature': True}
    """
    if not words:
        return None
    read: dict[str, str | bool] = {}
    for number, word in enumerate(words, 1):
        key, equals, value = word.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise OptionError(
                f"--storage-option number {number} is not KEY=VALUE, such as region=eu-central-1 "
                "(its text is not shown: it may be a secret); KEY is letters, digits and _"
            )
        if key in read:
            raise OptionError(f"--storage-option {key} is given twice; keep one")
        read[key] = _FLAGS.get(value.lower(), value)
    if not any(is_remote(store) for store in stores):
        raise OptionError(
            f"--storage-option {', '.join(read)} is of stores by URL (s3://, gs://, az://, "
            f"icechunk://s3://), and {', '.join(map(repr, stores))} is none; leave it out"
        )
    return read


def defaulted(
    parser: argparse.ArgumentParser, name: str, value: Any, about: str = "", **special: Any
) -> None:
    """Add an option that tells its default, and is of its type."""
    how = {"type": type(value), "default": value, "help": f"{about} {_DEFAULT}".strip()}
    parser.add_argument(name, **how | special)


def one_or_all(words: Sequence[str] | None) -> Any:
    """Return one word as it is, since dates may be a range; several as a list."""
    return words[0] if words and len(words) == 1 else words

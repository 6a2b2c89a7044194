"""What commands share: how they are added, and the options that several of them take."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

_DEFAULT = "(default: %(default)s)"
_SHARED: dict[str, dict[str, Any]] = {
    "--dates": {"nargs": "+", "metavar": "DATE"},
    "--debug": {"action": "store_true", "help": "log everything, show tracebacks"},
    "--device": {"default": "auto", "help": f"cpu, cuda, cuda:1 ... {_DEFAULT}"},
    "--model": {"default": "default", "help": f"weights {_DEFAULT}"},
    "--option": {"action": "append", "default": [], "dest": "method_options"},
    "--overwrite": {"action": "store_true", "help": "replace what is there"},
    "--quiet": {"action": "store_false", "dest": "progress", "help": "show no progress"},
    "--window": {
        "type": lambda word: None if word == "none" else word,
        "default": "365D",
        "help": f"a number is days; 'none' for no window {_DEFAULT}",
    },
}


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


def defaulted(
    parser: argparse.ArgumentParser, name: str, value: Any, about: str = "", **special: Any
) -> None:
    """Add an option that tells its default, and is of its type."""
    how = {"type": type(value), "default": value, "help": f"{about} {_DEFAULT}".strip()}
    parser.add_argument(name, **how | special)


def one_or_all(words: Sequence[str] | None) -> Any:
    """Return one word as it is, since dates may be a range; several as a list."""
    return words[0] if words and len(words) == 1 else words

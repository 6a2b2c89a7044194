"""The command `tamrf-xr`, a file a command: parse, call, report. No logic."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from tamrf_xr.errors import TamrfError
from tamrf_xr.interrupt import INTERRUPTED, stoppable

FAILED = 1
COMMANDS = (
    "get", "ingest", "info", "verify", "simulate", "coregister", "fuse", "update", "alerts",
    "encode", "decode", "view", "export", "quicklook", "adapt", "weights", "evaluate", "doctor",
)  # fmt: skip
"""Files beside this one, in the order of the help; what they call is imported when they run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, by default that of this process, and return its exit code.

    That is 0 if all went well, 1 on an error (told on standard error), 2 on wrong usage, 130 when
    interrupted.
    """
    options = vars(build_parser().parse_args(arguments))
    run, debug = options.pop("run"), options.pop("debug")
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING)
    try:
        # SIGTERM, what a batch system sends before it kills, stops as Ctrl-C does.
        with stoppable():
            return int(run(**options))
    except KeyboardInterrupt:
        print("tamrf-xr: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        print(f"tamrf-xr: {_told(error)}", file=sys.stderr)
        return FAILED


def _told(error: Exception) -> str:
    if isinstance(error, TamrfError | OSError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}\na bug: --debug shows where; report it"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="tamrf-xr",
        description="Cloud-free 10 m series of every Landsat and Sentinel-2 band, at any date.",
    )
    parser.add_argument("--version", action="version", version=version("tamrf-xr"))
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"{__name__}.{name}").add(commands)
    return parser

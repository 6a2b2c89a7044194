"""Train a network: ``python -m tamrf_xr.train data=cubes/*.zarr output=runs/mine``.

Overrides are NAME=VALUE with dotted names (``model.num_layers=2``); ``experiment=NAME`` is the
same as ``--config-name NAME``; see docs/training.md. Exit codes: 0 trained, 2 wrong request, 75
stopped by a signal and to be run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tamrf_xr.errors import TamrfError
from tamrf_xr.training.recipes import RECIPES, recipe
from tamrf_xr.training.run import Stopped, train, try_out
from tamrf_xr.training.setting import override, read_config

AGAIN = 75
"""Exit code of a run that can go on: EX_TEMPFAIL of sysexits.h."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, compose the configuration, train; return the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        named = dict(word.split("=", 1) for word in options.overrides if _is_door(word))
        config = recipe(named.get("experiment", options.config_name))
        if options.config is not None:
            config = read_config(options.config, config)
        config = override(config, [word for word in options.overrides if not _is_door(word)])
        if options.dry_run:
            print(try_out(config))
            return 0
        print(train(config, named.get("output", options.output)))
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return AGAIN
    except (TamrfError, OSError) as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _is_door(word: str) -> bool:
    return word.startswith(("experiment=", "output="))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tamrf_xr.train", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--config-name", default="published", help=", ".join(RECIPES))
    parser.add_argument("--config", metavar="FILE", help="YAML file with some of the values")
    parser.add_argument("--output", default="run", help="folder of the run (default: run)")
    parser.add_argument("--dry-run", action="store_true", help="two steps: shapes, memory, time")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


if __name__ == "__main__":
    sys.exit(main())

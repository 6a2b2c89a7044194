"""`tamrf-xr evaluate`: methods compared by a task of the paper."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tamrf_xr.cli.options import command, defaulted, shared, storage
from tamrf_xr.plain_yaml import option_value

EXAMPLES = """\
  tamrf-xr evaluate scene.zarr --task gap-filling --methods naive,stair --out report
  tamrf-xr evaluate cubes/*.zarr --task gap-filling --methods naive,tamrf --model W --out report
  tamrf-xr evaluate scene.zarr --task band-sharpening --option dsen2.weights=L2A20M.pt --out report
  tamrf-xr evaluate scene.zarr --task thermal-sharpening --methods dms --margin 6 --out report
interrupted? the same command again does what is left
"""
ABOUT = "compare methods on cubes by one of the paper's tasks, and write a report"


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, evaluate, about=ABOUT, examples=EXAMPLES)
    parser.add_argument("cubes", nargs="+", metavar="CUBE.zarr")
    parser.add_argument("--task", required=True, help="gap-filling, spatio-temporal-fusion, ...")
    parser.add_argument("--out", required=True, metavar="DIR", help="rerun to resume")
    parser.add_argument("--methods", type=_words, metavar="A,B", help="default: those of the task")
    _add_settings(parser)
    parser.add_argument("--compensate", action="store_true", help="score with the residual too")
    parser.add_argument("--write-images", action="store_true", help="predictions as GeoTIFF (COG)")
    defaulted(parser, "--viewer-dates", 24, metavar="N")
    shared(parser, "--model", help="tamrf's weights (default: %(default)s)")
    about = "score the errors that methods tell of themselves too"
    parser.add_argument("--uncertainty", action="store_true", help=about)
    about = "an option of one of the methods; may be repeated"
    shared(parser, "--option", type=_option, metavar="METHOD.NAME=VALUE", help=about)
    shared(parser, "--window")
    shared(parser, "--device")
    shared(parser, "--storage-option")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strategy", metavar="NAME", help="default: that of the task")
    parser.add_argument("--gap-days", type=int, metavar="N", help="GAPS (default: 30)")
    parser.add_argument("--pivot-day", type=int, metavar="N", help="FORECAST (default: 183)")
    shared(parser, "--dates", help="CUSTOM: dates asked")
    parser.add_argument("--withhold", action="store_true", help="never give what is asked")
    parser.add_argument("--seed", type=int, metavar="N", help="RANDOM (default: 0)")
    about = "pixels left out on every side; less for small scenes"
    defaulted(parser, "--margin", 30, about, metavar="N")
    parser.add_argument("--metrics", type=_words, metavar="A,B", help="default: all of the task")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _option(word: str) -> tuple[str, str, Any]:
    name, equals, value = word.partition("=")
    method, dot, option = name.partition(".")
    if not (equals and dot and method and option):
        raise argparse.ArgumentTypeError(f"{word!r} is not METHOD.NAME=VALUE")
    return method, option, option_value(value)


def _by_method(options: list[tuple[str, str, Any]]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for method, name, value in options:
        nested.setdefault(method, {})[name] = value
    return nested


def evaluate(
    cubes: list[str], *, task: str, out: str, method_options: Any, storage_options: list[str],
    **how: Any,
) -> int:  # fmt: skip
    """Evaluate, print the summary, tell where the report is."""
    from dataclasses import replace

    from tamrf_xr.evaluation import protocol, summary
    from tamrf_xr.evaluation.score import METRICS, Scoring
    from tamrf_xr.evaluation.tasks import find_task
    from tamrf_xr.paths import local_path

    chosen = find_task(task)
    names = ("gap_days", "pivot_day", "dates", "seed", "withhold")
    settings = {name: value for name in names if (value := how.pop(name)) is not None}
    metrics = tuple(how.pop("metrics") or METRICS)
    table = protocol.evaluate(
        cubes,
        task=chosen,
        out=out,
        settings=replace(chosen.settings, **settings),
        scoring=Scoring(metrics=metrics, margin=how.pop("margin")),
        method_options=_by_method(method_options),
        storage_options=storage(storage_options, *cubes),
        **how,
    )
    style = (summary.BOLD, summary.PLAIN) if sys.stdout.isatty() else ("*", "")
    print(summary.summary_text(table, style=style))
    print(f"report {local_path(out, 'folder of the report') / f'{chosen.name}.html'}")
    return 0 if (table["failed"] == "").any() else 1

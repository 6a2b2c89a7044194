"""The subcommand `tamrf-xr evaluate`: parse, call, report. No logic."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tamrf_xr.plain_yaml import option_value

EXAMPLES = """examples:
  tamrf-xr evaluate scene.zarr --task gap-filling --methods naive,stair --out report
  tamrf-xr evaluate cubes/*.zarr --task gap-filling --methods naive,tamrf --model W --out report
  tamrf-xr evaluate scene.zarr --task band-sharpening --option dsen2.weights=L2A20M.pt --out report
  tamrf-xr evaluate scene.zarr --task thermal-sharpening --methods dms --margin 6 --out report
interrupted? the same command again does what is left
"""
ABOUT = "compare methods on cubes by one of the paper's tasks, and write a report"


def add_evaluate(commands: Any) -> None:
    """Add the subcommand to those of `tamrf-xr`."""
    parser = commands.add_parser(
        "evaluate",
        help=ABOUT,
        description=ABOUT[0].upper() + ABOUT[1:] + ".",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cubes", nargs="+", metavar="CUBE.zarr")
    parser.add_argument("--task", required=True, help="gap-filling, spatio-temporal-fusion, ...")
    parser.add_argument("--out", required=True, metavar="DIR", help="rerun to resume")
    parser.add_argument("--methods", type=_words, metavar="A,B", help="default: those of the task")
    _add_settings(parser)
    parser.add_argument("--compensate", action="store_true", help="score with the residual too")
    parser.add_argument("--write-images", action="store_true", help="predictions as GeoTIFF (COG)")
    parser.add_argument(
        "--viewer-dates", type=int, default=24, metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--model", default="default", help="tamrf's weights (default: %(default)s)")
    parser.add_argument(
        "--option",
        action="append",
        type=_option,
        default=[],
        metavar="METHOD.NAME=VALUE",
        help="an option of one of the methods; may be repeated",
    )
    parser.add_argument("--window", default="365D", help="or 'none' (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="default: %(default)s")
    parser.add_argument("--debug", action="store_true", help="log everything, show tracebacks")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=_evaluate)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strategy", metavar="NAME", help="default: that of the task")
    parser.add_argument("--gap-days", type=int, metavar="N", help="GAPS (default: 30)")
    parser.add_argument("--pivot-day", type=int, metavar="N", help="FORECAST (default: 183)")
    parser.add_argument("--dates", nargs="+", metavar="DATE", help="CUSTOM: dates asked")
    parser.add_argument("--withhold", action="store_true", help="never give what is asked")
    parser.add_argument("--seed", type=int, metavar="N", help="RANDOM (default: 0)")
    parser.add_argument(
        "--margin",
        type=int,
        default=30,
        metavar="N",
        help="pixels left out on every side; less for small scenes (default: %(default)s)",
    )
    parser.add_argument("--metrics", type=_words, metavar="A,B", help="default: all of the task")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _option(word: str) -> tuple[str, str, Any]:
    name, equals, value = word.partition("=")
    method, dot, option = name.partition(".")
    if not (equals and dot and method and option):
        raise argparse.ArgumentTypeError(f"{word!r} is not METHOD.NAME=VALUE")
    return method, option, option_value(value)


def _by_method(found: list[tuple[str, str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        method: {name: value for owner, name, value in found if owner == method}
        for method, _, _ in found
    }


def _evaluate(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from tamrf_xr.evaluation.protocol import evaluate
    from tamrf_xr.evaluation.score import METRICS, Scoring
    from tamrf_xr.evaluation.summary import BOLD, PLAIN, summary_text
    from tamrf_xr.evaluation.tasks import find_task
    from tamrf_xr.paths import local_path

    task = find_task(options.task)
    names = ("gap_days", "pivot_day", "dates", "seed")
    settings = {
        name: getattr(options, name) for name in names if getattr(options, name) is not None
    }
    table = evaluate(
        options.cubes,
        task=task,
        out=options.out,
        methods=options.methods,
        strategy=options.strategy,
        settings=replace(task.settings, withhold=options.withhold, **settings),
        scoring=Scoring(metrics=tuple(options.metrics or METRICS), margin=options.margin),
        compensate=options.compensate,
        write_images=options.write_images,
        viewer_dates=options.viewer_dates,
        method_options=_by_method(options.option),
        progress=not options.quiet,
        model=options.model,
        window=None if options.window == "none" else options.window,
        device=options.device,
    )
    style = (BOLD, PLAIN) if sys.stdout.isatty() else ("*", "")
    print(summary_text(table, style=style))
    page = local_path(options.out, "folder of the report") / f"{task.name}.html"
    print(f"report {page}")
    return 0 if (table["failed"] == "").any() else 1

"""`tamrf-xr fuse`: a product of a cube."""

from __future__ import annotations

import argparse
from typing import Any

from tamrf_xr.cli.options import command, defaulted, execution, one_or_all, shared, storage
from tamrf_xr.plain_yaml import option_value


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        fuse,
        about="make every band of both sensors at 10 m at any dates",
        examples="  tamrf-xr fuse scene.zarr fused.zarr --dates 2022-06-01 2022-06-15\n"
        "  tamrf-xr fuse scene.zarr fused.zarr --dates 2022-01-01/2022-12-31/15D --method linear\n"
        "  tamrf-xr fuse scene.zarr ndvi.zarr --dates 2022-01-01/2022-12-31/5D --indices NDVI "
        "--statistics median p10 p90\n"
        "  tamrf-xr fuse year.zarr fused.zarr --dates 2022-01-01/2022-12-31/15D "
        "--cluster slurm.yaml\n"
        "interrupted? the same command again does what is left",
    )
    parser.add_argument("cube", metavar="IN.zarr")
    parser.add_argument("out", metavar="OUT.zarr", help="path, s3://, gs://, az://, icechunk://")
    _add_request(parser)
    execution(parser, "OUT.zarr")
    parser.add_argument(
        "--layout",
        default="sharded",
        choices=["sharded", "gdal"],
        help="gdal: Zarr 2 without shards and checksums, which GDAL 3.10 opens",
    )


def _add_request(parser: argparse.ArgumentParser) -> None:
    shared(parser, "--dates", required=True, help="or START/END/STEP")
    defaulted(parser, "--method", "tamrf", "tamrf, linear, stair, ...")
    about = "an option of the method; may be repeated"
    shared(parser, "--option", type=_option, metavar="NAME=VALUE", help=about)
    shared(parser, "--model")
    parser.add_argument("--sensors", nargs="+", metavar="SENSOR", help="default: both")
    parser.add_argument("--bands", nargs="+", metavar="BAND", help="default: all")
    parser.add_argument("--origin", metavar="DATE", help="day 0 (default: 1 January)")
    shared(parser, "--window")
    about = "acquisitions no further apart are of one day"
    defaulted(parser, "--same-day", "12h", about, metavar="TIME")
    about = "a date sees nothing acquired after it: for forecasts and back-tests"
    parser.add_argument("--causal", action="store_true", help=about)
    about = "how long an acquisition takes to arrive, such as 3D; with --causal"
    parser.add_argument("--latency", metavar="TIME", help=about)
    about = "add standard deviations of errors, of weights that tell them"
    parser.add_argument("--uncertainty", action="store_true", help=about)
    about = "add /provenance: days to observations, how many, what was observed"
    parser.add_argument("--provenance", action="store_true", help=about)
    about = "spectral indices by the names of spyndex, in place of bands"
    parser.add_argument("--indices", nargs="+", metavar="INDEX", help=about)
    about = "median, min, max, p10 ...: over the dates of a period, in place of dates"
    parser.add_argument("--statistics", nargs="+", metavar="NAME", help=about)
    defaulted(parser, "--period", "month", choices=["month", "dekad"])


def _option(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=VALUE")
    return name, option_value(value)


def fuse(
    cube: str, out: str, *, dates: list[str], method_options: Any, storage_options: list[str],
    **how: Any,
) -> int:  # fmt: skip
    """Run the job, and tell how it went."""
    from tamrf_xr.fusion import run_job
    from tamrf_xr.store import open_cube

    options = storage(storage_options, cube, out)
    how |= {"storage_options": options, "method_options": dict(method_options)}
    source = open_cube(cube, storage_options=options)
    summary = run_job(source, out, one_or_all(dates), **how)
    print(f"fused {out}: {summary}")
    return 1 if summary.failed else 0

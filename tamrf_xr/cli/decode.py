"""`tamrf-xr decode`: a product of a latent cube."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, defaulted, execution, one_or_all, shared, storage


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        decode,
        about="make bands at any dates from a latent cube, without the images",
        examples="  tamrf-xr decode latent.zarr fused.zarr --dates 2022-06-01 2022-06-15\n"
        "  tamrf-xr decode latent.zarr red.zarr --dates 2022-01-01/2022-12-31/5D --bands red\n"
        "interrupted? the same command again does what is left",
    )
    parser.add_argument("latent", metavar="LATENT.zarr")
    parser.add_argument("out", metavar="OUT.zarr", help="path, s3://, gs://, az://, icechunk://")
    shared(parser, "--dates", required=True, help="or START/END/STEP")
    about = "the weights it was encoded with (default: those that it names)"
    shared(parser, "--model", default=None, help=about)
    parser.add_argument("--sensors", nargs="+", metavar="SENSOR", help="default: both")
    parser.add_argument("--bands", nargs="+", metavar="BAND", help="default: all")
    about = "add standard deviations of errors, of weights that tell them"
    parser.add_argument("--uncertainty", action="store_true", help=about)
    about = "spectral indices by the names of spyndex, in place of bands"
    parser.add_argument("--indices", nargs="+", metavar="INDEX", help=about)
    about = "median, min, max, p10 ...: over the dates of a period, in place of dates"
    parser.add_argument("--statistics", nargs="+", metavar="NAME", help=about)
    defaulted(parser, "--period", "month", choices=["month", "dekad"])
    execution(parser, "OUT.zarr")


def decode(
    latent: str, out: str, *, dates: list[str], storage_options: list[str], **how: Any
) -> int:
    """Run the job, and tell how it went."""
    from tamrf_xr.latent import decode_job, open_latent

    options = storage(storage_options, latent, out)
    source = open_latent(latent, storage_options=options)
    summary = decode_job(source, out, one_or_all(dates), storage_options=options, **how)
    print(f"decoded {out}: {summary}")
    return 1 if summary.failed else 0

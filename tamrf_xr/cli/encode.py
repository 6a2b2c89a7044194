"""`tamrf-xr encode`: a latent cube of a cube."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, defaulted, execution, shared, storage


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        encode,
        about="encode a cube once, so that any date is decoded later without the images",
        examples="  tamrf-xr encode scene.zarr latent.zarr\n"
        "  tamrf-xr encode scene.zarr latent.zarr --dtype bfloat16 --device cuda\n"
        "interrupted? the same command again does what is left",
    )
    parser.add_argument("cube", metavar="IN.zarr")
    parser.add_argument("out", metavar="LATENT.zarr", help="path, s3://, gs://, az://, icechunk://")
    shared(parser, "--model")
    kinds = ["int8", "bfloat16", "float32"]
    defaulted(parser, "--dtype", "int8", "how tokens are kept", choices=kinds)
    borders = ["auto", "zeros", "mirror"]
    defaulted(parser, "--border", "auto", "what lies beyond the scene", choices=borders)
    about = "what is seen of pixels of which a date has nothing"
    defaulted(parser, "--gaps", "auto", about, choices=["auto", "mean", "skip"])
    parser.add_argument("--origin", metavar="DATE", help="day 0 (default: 1 January)")
    shared(parser, "--window")
    about = "acquisitions no further apart are of one day"
    defaulted(parser, "--same-day", "12h", about, metavar="TIME")
    execution(parser, "LATENT.zarr")


def encode(cube: str, out: str, *, storage_options: list[str], **how: Any) -> int:
    """Run the job, and tell how it went."""
    from tamrf_xr.latent import encode_job
    from tamrf_xr.store import open_cube

    options = storage(storage_options, cube, out)
    source = open_cube(cube, storage_options=options)
    summary = encode_job(source, out, storage_options=options, **how)
    print(f"encoded {out}: {summary}")
    return 1 if summary.failed else 0

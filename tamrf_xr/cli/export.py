"""`tamrf-xr export`: products as files and catalogues that others read."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tamrf_xr.cli.options import command, one_or_all, shared, storage


def add(commands: Any) -> None:
    """Add the command, one below it for each form."""
    forms = commands.add_parser("export", help="write products for others").add_subparsers(
        title="forms", required=True, metavar="FORM"
    )
    _add_cog(forms)
    _add_stac(forms)
    _add_overviews(forms)
    command(
        forms,
        indices,
        about="list the spectral indices that there are, and how each sensor computes them",
        examples="  tamrf-xr export indices\n  tamrf-xr export indices NDVI kNDVI",
    ).add_argument("names", nargs="*", metavar="NAME")


def _add_cog(forms: Any) -> None:
    parser = command(
        forms,
        cog,
        about="write a product as Cloud Optimized GeoTIFFs, one a date and sensor",
        examples="  tamrf-xr export cog fused.zarr cogs/\n"
        "  tamrf-xr export cog fused.zarr cogs/ --sensors sentinel2 --bands red green blue "
        "--dates 2022-06-01/2022-08-31\n"
        "  tamrf-xr export cog fused.zarr cogs/ --indices NDVI,NDWI\n"
        "interrupted? the same command again does what is left",
    )
    parser.add_argument("store", metavar="FUSED.zarr")
    parser.add_argument("out", metavar="OUT/")
    shared(parser, "--dates", help="those to write, or START/END (default: all)")
    parser.add_argument("--sensors", nargs="+", metavar="SENSOR", help="default: all")
    about = "names or common names, LST for temperature (default: all; none: no bands)"
    parser.add_argument("--bands", nargs="+", metavar="BAND", help=about)
    about = "spectral indices, in files of their own; see `tamrf-xr export indices`"
    parser.add_argument("--indices", type=_words, default=(), metavar="A,B", help=about)
    parser.add_argument("--workers", type=int, help="files at once (default: cores)")
    shared(parser, "--overwrite")
    shared(parser, "--storage-option")


def _add_stac(forms: Any) -> None:
    parser = command(
        forms,
        stac,
        about="write a STAC collection of a product, or of the COGs of one",
        examples="  tamrf-xr export stac fused.zarr catalogue/\n"
        "  tamrf-xr export stac cogs/ cogs/stac --id my-area --license CC-BY-4.0",
    )
    parser.add_argument("source", metavar="FUSED.zarr|COGS/")
    parser.add_argument("out", metavar="CATALOGUE/")
    parser.add_argument("--id", default="", help="default: the name of the source")
    parser.add_argument("--title", default="")
    parser.add_argument("--license", default="other", help="SPDX name (default: %(default)s)")
    shared(parser, "--overwrite")
    shared(parser, "--storage-option")


def _add_overviews(forms: Any) -> None:
    parser = command(
        forms,
        overviews,
        about="write levels of larger pixels into a store of their own, which GDAL opens",
        examples="  tamrf-xr export overviews fused.zarr overviews.zarr\n"
        "  tamrf-xr export overviews s3://bucket/fused.zarr overviews.zarr --factors 4 8\n"
        "interrupted? the same command again does what is left",
    )
    parser.add_argument("store", metavar="FUSED.zarr")
    parser.add_argument("out", metavar="OVERVIEWS.zarr")
    about = "pixels across one of each level (default: 2 4 8)"
    parser.add_argument(
        "--factors", nargs="+", type=int, default=[2, 4, 8], metavar="N", help=about
    )
    parser.add_argument("--workers", type=int, help="blocks at once (default: cores)")
    shared(parser, "--overwrite")
    shared(parser, "--storage-option")


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise argparse.ArgumentTypeError("no name given")
    return words


def cog(
    store: str, out: str, *, dates: Any, bands: list[str] | None, sensors: list[str] | None,
    indices: list[str], storage_options: list[str], **how: Any,
) -> int:  # fmt: skip
    """Export, and tell what became of the files."""
    from tamrf_xr.export.cogs import export_cogs
    from tamrf_xr.export.selecting import Selection

    asked = [] if bands == ["none"] else bands
    what = Selection(one_or_all(dates), asked, sensors, tuple(indices))
    report = export_cogs(store, out, what, storage_options=storage(storage_options, store), **how)
    for line in report.left_out:
        print(line)
    for path, error in report.failed.items():
        print(f"tamrf-xr: {path}: {error}", file=sys.stderr)
    print(f"{len(report.written)} written, {len(report.found)} there, {len(report.failed)} failed")
    return 1 if report.failed else 0


def stac(
    source: str, out: str, *, overwrite: bool, storage_options: list[str], progress: bool,
    **about: str,
) -> int:  # fmt: skip
    """Export."""
    from tamrf_xr.export.catalog import About, export_stac

    options = storage(storage_options, source)
    how: dict[str, Any] = {"overwrite": overwrite, "storage_options": options}
    count = export_stac(source, out, About(**about), **how)
    print(f"{count} items in {out}")
    return 0


def overviews(store: str, out: str, *, storage_options: list[str], **how: Any) -> int:
    """Export."""
    from tamrf_xr.export.overviews import export_overviews

    made = export_overviews(store, out, storage_options=storage(storage_options, store), **how)
    levels = ", ".join(map(str, made.factors))
    print(f"{made.path}: levels {levels}; {made.blocks} blocks written, {made.found} there")
    return 0


def indices(names: list[str], *, progress: bool) -> int:
    """Print them."""
    from tamrf_xr.indices import list_indices

    for name, found in list_indices(names).items():
        print(name)
        for sensor, index in found.items():
            print(f"  {sensor}: {index}")
    return 0

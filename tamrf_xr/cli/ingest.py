"""`tamrf-xr ingest SOURCE`: cubes from folders."""

from __future__ import annotations

import sys
from typing import Any

from tamrf_xr.cli import ingest_openeo
from tamrf_xr.cli.options import command, shared


def add(commands: Any) -> None:
    """Add the command, one below it for each source."""
    sources = commands.add_parser("ingest", help="make cubes from folders").add_subparsers(
        title="sources", required=True, metavar="SOURCE"
    )
    parser = command(
        sources,
        ls2s2,
        about="make a cube of each LS2S2 folder",
        examples="  tamrf-xr ingest ls2s2 31TCJ_12 scene.zarr\n"
        "  tamrf-xr ingest ls2s2 data/* cubes/       # one cube a folder; rerun to resume",
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("out", metavar="OUT.zarr", help="a store, or a folder of stores")
    shared(parser, "--overwrite", help="write cubes that exist anew")
    parser.add_argument("--workers", type=int, help="folders at once (default: cores)")
    ingest_openeo.add(sources)


def ls2s2(folders: list[str], out: str, **how: Any) -> int:
    """Ingest, and tell what became of each folder."""
    from tamrf_xr.ingest.ls2s2 import ingest_ls2s2

    report = ingest_ls2s2(folders, out, **how)
    for folder, error in report.failed.items():
        print(f"tamrf-xr: {folder}: {error}", file=sys.stderr)
    print(
        f"{len(report.written)} written, {len(report.skipped)} there, {len(report.failed)} failed"
    )
    return 1 if report.failed else 0

"""`tamrf-xr get`: what the authors of TAMRF-SITS published, by name."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command


def add(commands: Any) -> None:
    """Add the command, one below it for each thing."""
    things = commands.add_parser("get", help="fetch published weights and data").add_subparsers(
        title="things", required=True, metavar="THING"
    )
    command(
        things,
        weights,
        about="fetch the published network, and convert it once",
        examples="  tamrf-xr get weights\n"
        "  tamrf-xr fuse scene.zarr fused.zarr --dates 2022-06-01 --model published",
    )
    parser = command(
        things,
        ls2s2,
        about="fetch the LS2S2 data set, or some of its areas",
        examples="  tamrf-xr get ls2s2 data/ --aoi 31TCJ_12 31TFJ_12\n"
        "  tamrf-xr get ls2s2 data/ --file test.zip --aoi 31TCJ_12\n"
        "interrupted? the same command again fetches what is left",
    )
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--aoi", nargs="+", default=(), dest="areas", metavar="NAME",
                        help="areas (default: all)")  # fmt: skip
    parser.add_argument("--file", nargs="+", default=(), dest="files", metavar="NAME",
                        help="files of the record to look in")  # fmt: skip


def weights(*, progress: bool) -> int:
    """Fetch, and tell where they are and what to cite."""
    from tamrf_xr.model.authors import published_record, published_weights

    path = published_weights(progress=progress)
    print(f"{path}\n{published_record()}\nuse it as --model published, or model='published'")
    return 0


def ls2s2(folder: str, *, areas: list[str], files: list[str], progress: bool) -> int:
    """Fetch, and tell what is there and what to cite."""
    from tamrf_xr.ingest.published import WHOLE_WORLD, get_ls2s2

    found = get_ls2s2(folder, areas=areas, files=files, progress=progress)
    for path in found.areas:
        print(path)
    print(f"{len(found.areas)} areas\n{found.record}")
    print(f"LS2S2MYWW, of many years and the whole world, is at {WHOLE_WORLD}")
    return 0

"""`tamrf-xr ingest SOURCE`: cubes from folders and catalogues."""

from __future__ import annotations

import sys
from typing import Any

from tamrf_xr.cli import ingest_openeo
from tamrf_xr.cli.options import command, defaulted, shared, storage


def add(commands: Any) -> None:
    """Add the command, one below it for each source."""
    sources = commands.add_parser("ingest", help="make cubes of folders, of catalogues")
    sources = sources.add_subparsers(title="sources", required=True, metavar="SOURCE")
    _add_ls2s2(sources)
    _add_stac(sources)
    _add_eopf(sources)


def _add_ls2s2(sources: Any) -> None:
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


def _add_stac(sources: Any) -> None:
    parser = command(
        sources,
        stac,
        about="make a cube of what a STAC catalogue has of a place and a period",
        examples="  tamrf-xr ingest stac --aoi aoi.json --catalog earth-search scene.zarr\n"
        "  tamrf-xr ingest stac --aoi field.geojson --datetime 2022-01-01/2022-12-31 \\\n"
        "      --catalog planetary-computer --max-cloud 60 scene.zarr    # rerun to resume",
    )
    parser.add_argument("out", metavar="OUT.zarr")
    parser.add_argument("--aoi", required=True, help="GeoJSON, or name, aoi, crs, dates")
    parser.add_argument(
        "--catalog",
        required=True,
        help="earth-search, planetary-computer, cdse, usgs or lpcloud (HLS)",
    )
    parser.add_argument("--url", help="of a mirror of that catalogue")
    parser.add_argument("--datetime", metavar="FIRST/LAST", help="in place of the dates of --aoi")
    parser.add_argument("--collections", nargs="+", metavar="ID")
    parser.add_argument("--crs", help="of the cube (default: of --aoi, or the UTM zone)")
    parser.add_argument("--max-cloud", type=float, metavar="PERCENT")
    parser.add_argument("--skip", nargs="+", default=(), metavar="ITEM", help="leave items out")
    about = "take scenes of Landsat-7 too: without B01, with gaps, not adjusted to OLI"
    parser.add_argument("--landsat-7", action="store_true", dest="landsat7", help=about)
    parser.add_argument(
        "--harmonized",
        choices=("yes", "no"),
        help="whether Sentinel-2 numbers without a baseline had the offset of 04.00 removed",
    )
    parser.add_argument("--offset", type=float, help="reflectance to add to Sentinel-2")
    defaulted(parser, "--check", "sample", "of the values", choices=("off", "sample", "full"))
    defaulted(parser, "--workers", 16, "pieces at once")
    defaulted(parser, "--retries", 4, "times to try again")
    shared(parser, "--overwrite")


def _add_eopf(sources: Any) -> None:
    parser = command(
        sources,
        eopf,
        about="make a cube of Sentinel-2 Level-2A products in EOPF Zarr, all of one granule",
        examples="  tamrf-xr ingest eopf S2B_MSIL2A_20250608*.zarr S2A_MSIL2A_20250603*.zarr "
        "scene.zarr",
    )
    parser.add_argument("products", nargs="+", metavar="PRODUCT.zarr")
    parser.add_argument("out", metavar="OUT.zarr")
    defaulted(parser, "--check", "sample", "of the values", choices=("off", "sample", "full"))
    shared(parser, "--overwrite")
    shared(parser, "--storage-option")


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


def stac(catalog: str, out: str, *, url: str | None, harmonized: str | None, **how: Any) -> int:
    """Ingest, and tell what was written."""
    from dataclasses import replace

    from tamrf_xr.ingest.stac import ingest_stac
    from tamrf_xr.ingest.stac_catalogs import get_catalog

    row = get_catalog(catalog)
    how["harmonized"] = {"yes": True, "no": False, None: None}[harmonized]
    report = ingest_stac(row if url is None else replace(row, url=url), out, **how)
    print(f"{len(report.written)} written, {len(report.skipped)} there")
    return 0


def eopf(
    products: list[str], out: str, *, check: str, overwrite: bool, storage_options: list[str],
    progress: bool,
) -> int:  # fmt: skip
    """Ingest, and tell what was written."""
    from dask.diagnostics.progress import ProgressBar

    from tamrf_xr.ingest.eopf import from_eopf
    from tamrf_xr.store import save_cube

    options = storage(storage_options, *products, out)
    cube = from_eopf(products, check=check, storage_options=options)
    shown = ProgressBar() if progress else None
    save_cube(cube, out, overwrite=overwrite, progress=shown, storage_options=options)
    print(f"wrote {out}: {cube['sentinel2'].sizes['time']} dates")
    return 0

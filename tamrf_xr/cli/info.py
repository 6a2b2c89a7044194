"""`tamrf-xr info`: what a cube, a product or a latent holds, or the door makes of other data."""

from __future__ import annotations

import contextlib
from typing import Any

from tamrf_xr.cli.options import command, one_or_all, shared, storage
from tamrf_xr.errors import CubeError, LatentError, OptionError
from tamrf_xr.places import StorageOptions


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        info,
        about="tell what a cube, a product or a latent holds",
        examples="  tamrf-xr info scene.zarr\n"
        "  tamrf-xr info --door series.nc --scaling dn --regrid nested",
    )
    parser.add_argument("cube", metavar="CUBE.zarr", help="with --door: Zarr, netCDF or GeoTIFF")
    parser.add_argument(
        "--door",
        action="store_true",
        help="tell what as_cube understands of each variable of anyone's data, and why",
    )
    parser.add_argument("--sensor", help="sentinel2 or landsat, where data do not tell")
    parser.add_argument("--crs", help="of data that carry none")
    parser.add_argument("--time", nargs="+", metavar="DATE", help="of data that carry none")
    parser.add_argument("--offset", type=float, help="reflectance to add after scaling")
    parser.add_argument("--scaling", choices=["dn", "ls2s2", "physical", "stated"])
    parser.add_argument("--regrid", choices=["nested"])
    parser.add_argument("--check", choices=["sample", "full", "off"], default="sample")
    shared(parser, "--storage-option")


def info(
    cube: str, *, door: bool, time: list[str] | None, storage_options: list[str], progress: bool,
    **given: Any,
) -> int:  # fmt: skip
    """Print it."""
    options = storage(storage_options, cube)
    if door:
        if options:
            raise OptionError("--storage-option is not of --door, which reads files; leave it out")
        from tamrf_xr.harmonize import as_cube
        from tamrf_xr.harmonize.opening import open_raw

        as_cube(open_raw(cube), time=one_or_all(time), report=True, **given)
        return 0
    from tamrf_xr.scale.ledger import job_state

    print(_described(cube, options))
    if state := job_state(cube, storage_options=options):
        print(state)
    return 0


def _described(store: str, options: StorageOptions) -> str:
    from tamrf_xr.describe import describe, describe_latent
    from tamrf_xr.latent import open_latent
    from tamrf_xr.store import open_cube

    try:
        cube = open_cube(store, storage_options=options)
    except CubeError:
        with contextlib.suppress(LatentError):
            return describe_latent(open_latent(store, storage_options=options))
        raise
    return describe(cube)

"""`tamrf-xr update`: a product brought up to date with its cube."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, one_or_all, shared


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        update,
        about="make anew what acquisitions that were appended to a cube touch of its product",
        examples="  tamrf-xr update fused.zarr --input scene.zarr\n"
        "  tamrf-xr update fused.zarr --input scene.zarr --dates 2022-07-01 2022-07-11\n"
        "interrupted? the same command again does what is left",
    )
    parser.add_argument("out", metavar="FUSED.zarr", help="a product of tamrf-xr fuse, in a folder")
    parser.add_argument("--input", dest="cube", required=True, metavar="IN.zarr", help="its cube")
    shared(parser, "--dates", help="query dates to add; or START/END/STEP")
    shared(parser, "--device")
    parser.add_argument("--workers", type=int, help="threads")


def update(out: str, cube: str, *, dates: list[str] | None, **how: Any) -> int:
    """Update, and tell what was made."""
    from tamrf_xr.store import open_cube
    from tamrf_xr.updating import update as bring_up_to_date

    report = bring_up_to_date(out, open_cube(cube), one_or_all(dates), **how)
    print(f"updated {out}: {report}")
    return 1 if report.failed else 0

"""`tamrf-xr quicklook`: a picture of inputs and products."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, defaulted, shared, storage


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        quicklook,
        about="draw inputs above, fused below",
        examples="  tamrf-xr quicklook scene.zarr fused.zarr quicklook.png",
    )
    parser.add_argument("cube", metavar="CUBE.zarr")
    parser.add_argument("fused", metavar="FUSED.zarr")
    parser.add_argument("out", metavar="OUT.png")
    defaulted(parser, "--columns", 6, "dates")
    shared(parser, "--overwrite")
    shared(parser, "--storage-option")


def quicklook(
    cube: str, fused: str, out: str, *, storage_options: list[str], progress: bool, **how: Any
) -> int:
    """Draw it."""
    from tamrf_xr.export.quicklook import quicklook as draw
    from tamrf_xr.store import open_cube

    options = storage(storage_options, cube, fused)
    inputs, product = (open_cube(store, storage_options=options) for store in (cube, fused))
    draw(inputs, product, out, **how)
    print(f"drew {out}")
    return 0

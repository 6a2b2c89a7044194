"""`tamrf-xr view`: look at a product in a browser."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, defaulted, shared, storage


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        view,
        about="look at a product or a cube in a browser",
        examples="  tamrf-xr view fused.zarr      # then open the address that it tells\n"
        "  tamrf-xr view fused.zarr --cube scene.zarr --port 8080",
    )
    parser.add_argument("store", metavar="FUSED.zarr")
    about = "what it was made of (default: the cube that it names, if it is there)"
    parser.add_argument("--cube", metavar="CUBE.zarr", help=about)
    defaulted(parser, "--port", 5006, "of this machine alone")
    shared(parser, "--storage-option")


def view(
    store: str, *, cube: str | None, port: int, storage_options: list[str], progress: bool
) -> int:
    """Serve until interrupted."""
    from tamrf_xr.store import open_cube
    from tamrf_xr.view import serve

    options = storage(storage_options, store, *([cube] if cube else []))
    tree = open_cube(store, storage_options=options)
    source = None if cube is None else open_cube(cube, storage_options=options)
    print(f"open http://localhost:{port} in a browser; Ctrl-C ends it", flush=True)
    serve(tree, source, port=port)
    return 0

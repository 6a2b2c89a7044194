"""`tamrf-xr verify`: whether a store is as it was written."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, shared, storage


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        verify,
        about="tell whether a cube or a product is as it was written",
        examples="  tamrf-xr verify fused.zarr          # sizes and metadata\n"
        "  tamrf-xr verify fused.zarr --deep   # every chunk against its checksum\n"
        "damaged tiles of a product are made again by the command that made it",
    )
    parser.add_argument("store", metavar="STORE.zarr")
    parser.add_argument("--deep", action="store_true", help="read every chunk")
    shared(parser, "--storage-option")


def verify(store: str, *, deep: bool, storage_options: list[str], progress: bool) -> int:
    """Print the verdict."""
    from tamrf_xr.scale import damage

    verdict = damage.verify(store, deep=deep, storage_options=storage(storage_options, store))
    print(verdict)
    return 0 if verdict.ok else 1

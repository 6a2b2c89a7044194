"""`tamrf-xr coregister`: the acquisitions of a cube brought onto each other."""

from __future__ import annotations

from typing import Any

from tamrf_xr.cli.options import command, defaulted, shared, storage


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        coregister,
        about="find the sub-pixel shifts of the acquisitions of a cube, and correct them",
        examples="  tamrf-xr coregister scene.zarr\n"
        "  tamrf-xr coregister scene.zarr straight.zarr --block 5km --mask\n"
        "without OUT.zarr the shifts are printed, and nothing is written",
    )
    parser.add_argument("cube", metavar="IN.zarr")
    parser.add_argument("out", metavar="OUT.zarr", nargs="?", help="the corrected cube")
    defaulted(parser, "--block", "2km", "edge of the blocks that shifts are found for")
    about = "bands compared: names or common names, of every sensor"
    parser.add_argument("--bands", nargs="+", metavar="BAND", default=["green", "red", "nir"],
                        help=f"{about} (default: green red nir)")  # fmt: skip
    defaulted(parser, "--most-px", 1.5, "largest shift believed, in pixels of the sensor")
    about = "mark acquisitions whose shift is not known as not usable"
    parser.add_argument("--mask", action="store_true", help=about)
    shared(parser, "--overwrite")
    shared(parser, "--storage-option")


def coregister(
    cube: str, out: str | None, *, bands: list[str], mask: bool, overwrite: bool,
    storage_options: list[str], progress: bool, **finding: Any,
) -> int:  # fmt: skip
    """Print the shifts, and write the corrected cube if it has a name."""
    from tamrf_xr.coregistration import as_frame, shifts
    from tamrf_xr.coregistration import coregister as correct
    from tamrf_xr.store import check_place, open_cube, save_cube

    options = storage(storage_options, *filter(None, (cube, out)))
    scene = open_cube(cube, storage_options=options)
    if out is not None:
        check_place(scene, out, overwrite=overwrite, storage_options=options)
    table = shifts(scene, bands=bands, **finding)
    print(as_frame(table).to_string(index=False, float_format="%.2f"))
    if out is not None:
        straight = correct(scene, shifts=table, mask=mask)
        save_cube(straight, out, overwrite=overwrite, storage_options=options)
        for name, group in straight.children.items():
            if told := group.attrs.get("coregistration"):
                print(f"/{name}: {told}")
        print(f"wrote {out}")
    return 0

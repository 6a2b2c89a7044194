"""`tamrf-xr alerts`: where acquisitions depart from what their past predicts."""

from __future__ import annotations

import argparse
from typing import Any

from tamrf_xr.cli.options import command, defaulted, shared, storage


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        alerts,
        about="tell where the land departs from what its past predicts, and since when",
        examples="  tamrf-xr alerts scene.zarr alerts.zarr --since 2022-06-01\n"
        "  tamrf-xr alerts scene.zarr alerts.zarr --since 2022-06-01 --persistence 4 "
        "--bands red nir",
    )
    parser.add_argument("cube", metavar="IN.zarr", help="a cube with masks")
    parser.add_argument("out", metavar="ALERTS.zarr", help="a map of alerts, in a folder")
    _add_request(parser)
    shared(parser, "--overwrite")
    shared(parser, "--storage-option")


def _add_request(parser: argparse.ArgumentParser) -> None:
    about = "first day of the acquisitions compared (default: 90 days and the latency into them)"
    parser.add_argument("--since", metavar="DATE", help=about)
    parser.add_argument("--until", metavar="DATE", help="last day (default: that of the series)")
    about = "compared: names or common names (default: every reflectance)"
    parser.add_argument("--bands", nargs="+", metavar="BAND", help=about)
    defaulted(parser, "--threshold", 2.5, "deviations beyond which a score exceeds")
    about = "usable acquisitions in a row beyond it that make an alert"
    defaulted(parser, "--persistence", 3, about)
    about = "how old what a prediction sees is, at least"
    defaulted(parser, "--latency", "1D", about, metavar="TIME")
    shared(parser, "--model")
    shared(parser, "--device")
    shared(parser, "--window")


def alerts(
    cube: str, out: str, *, overwrite: bool, storage_options: list[str], progress: bool,
    **asked: Any,
) -> int:  # fmt: skip
    """Make the map, and tell how much of it is alerts."""
    from dask.diagnostics.progress import ProgressBar

    from tamrf_xr.alerts import alerts as find
    from tamrf_xr.alerts.saving import check_alerts, save_alerts
    from tamrf_xr.store import open_cube

    source = open_cube(cube, storage_options=storage(storage_options, cube, out))
    check_alerts(source, out, overwrite=overwrite)
    found = find(source, **asked)
    save_alerts(found, out, overwrite=overwrite, progress=ProgressBar() if progress else None)
    print(f"wrote {out}: {describe(out)}")
    return 0


def describe(out: str) -> str:
    """Say of a store of alerts how much of it they are."""
    import xarray as xr

    with xr.open_zarr(out) as found:
        known = found["confirmed"].notnull()
        share = 100 * float(known.mean())
        of = f"of {found.attrs['acquisitions']} acquisitions, {found.attrs['monitored']}"
    return f"alerts in {share:.2f} % of the pixels, {of}"

"""The calls that are killed, in a module that a server of forks has imported beforehand."""

from __future__ import annotations

import sys
import warnings

import tamrf_xr
from tamrf_xr.ingest import ingest_ls2s2

OPTIONS = {"method": "linear", "tile": 20, "workers": 2, "progress": False}
DATES = "2022-01-05/2022-02-10/3D"


def job(scene: str, out: str, over: bool, options: dict[str, str] | None = None) -> None:
    """Fuse into a store."""
    _quiet()
    how = OPTIONS | {"overwrite": over, "storage_options": options}
    tamrf_xr.run_job(tamrf_xr.open_cube(scene), out, DATES, **how)


def save(scene: str, out: str, over: bool) -> None:
    """Save a cube."""
    _quiet()
    tamrf_xr.save_cube(tamrf_xr.open_cube(scene), out, overwrite=over)


def ingest(folder: str, out: str, over: bool) -> None:
    """Make a cube of an LS2S2 folder."""
    _quiet()
    report = ingest_ls2s2(folder, out, overwrite=over, workers=2, progress=False)
    sys.exit(0 if report.ok else f"{report.failed}")


def _quiet() -> None:
    warnings.simplefilter("ignore")

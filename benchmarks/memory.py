"""Peak memory of fusing into a store, against the width of the scene.

``python benchmarks/memory.py`` takes about a quarter of an hour on two cores; each width runs in a
process of its own, 20 + 12 dates, 12 query dates, default tile, default network.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import keep
from scenes import noise_cube, random_model

import tamrf_xr

DATES = "2022-01-15/2022-12-31/30D"  # 12


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure each width in a process of its own, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[999, 3000])
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--method", default="tamrf", choices=["tamrf", "linear"])
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        _fuse(options.one, options.method)
        return []
    rows = [_measure(width, options) for width in options.widths]
    for row in rows:
        print(f"{row['width']:6} px wide: peak {row['peak_gib']:.2f} GiB, {row['seconds']:.0f} s")
    if options.keep:
        keep(f"memory-{options.method}", {"height": options.height, "runs": rows})
    return rows


def _measure(width: int, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        random_model(Path(folder))
        cube = noise_cube((options.height, width), hr=20, lr=12)
        tamrf_xr.save_cube(cube, Path(folder) / "in.zarr")
        start = time.perf_counter()
        command = [sys.executable, __file__, "--one", folder, "--method", options.method]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds = time.perf_counter() - start
    return {"width": width, "seconds": seconds, "peak_gib": float(said)}


def _fuse(folder: Path, method: str) -> None:
    cube = tamrf_xr.open_cube(folder / "in.zarr")
    model = folder / "random.safetensors"
    tamrf_xr.save_cube(cube.tamrf.fuse(DATES, method=method, model=model), folder / "out.zarr")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


if __name__ == "__main__":
    main()

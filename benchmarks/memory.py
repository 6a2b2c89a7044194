"""Peak memory of fusing into a store, against the width of the scene.

``python -m benchmarks.memory`` takes about a quarter of an hour on two cores; each width runs in a
process of its own, 20 + 12 dates, 12 query dates, default tile, default network.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import tamrf_xr
from benchmarks.harness import Row, apart, finish, parse, show
from benchmarks.scenes import noise_cube, random_model

DATES = "2022-01-15/2022-12-31/30D"  # 12


def main(arguments: list[str] | None = None) -> Row:
    """Measure each width in a process of its own, print, keep."""
    sizes = {"widths": ((999, 3000), (60,)), "height": (360, 60), "method": ("tamrf", "linear")}
    options = parse(__doc__, arguments, **sizes)
    runs = [_measure(width, options.height, options.method) for width in options.widths]
    show({f"{row['width']} px wide": row for row in runs})
    return finish(f"memory-{options.method}", {"height": options.height, "runs": runs}, options)


def _measure(width: int, height: int, method: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        random_model(Path(folder))
        cube = noise_cube((height, width), hr=20, lr=12)
        tamrf_xr.save_cube(cube, Path(folder) / "in.zarr")
        start = time.perf_counter()
        peak = apart(fuse, folder, method)
        seconds = time.perf_counter() - start
    return {"width": width, "seconds": seconds, "peak_gib": peak}


def fuse(folder: str, method: str) -> float:
    """Fuse, and return the peak of this process in GiB."""
    cube = tamrf_xr.open_cube(Path(folder) / "in.zarr")
    model = Path(folder) / "random.safetensors"
    fused = cube.tamrf.fuse(DATES, method=method, model=model)
    tamrf_xr.save_cube(fused, Path(folder) / "out.zarr")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()

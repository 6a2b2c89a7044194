"""Reading and writing of tiles: seconds and bytes, against another checkout of the package.

``python -m benchmarks.io [--against CHECKOUT] [--size 720]`` simulates a scene, lets each
checkout save it, and measures in turns, each in a process of its own: to save it; to read a tile of
360 px with a halo of 24, 60 + 45 dates; a job of ``method="linear"``, 12 dates. Values must be
equal. Files are in the page cache: what is measured is the work, not the disk.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tamrf_xr
from benchmarks.harness import TURNS, Row, compared, finish, parse, show
from tamrf_xr.simulate import SceneConfig, simulate

DATES = {"sentinel2": 60, "landsat": 45}
HALO, RUNS = 24, 5


def main(arguments: list[str] | None = None) -> Row:
    """Measure, print, keep."""
    options = parse(__doc__, arguments, size=(720, 48))
    with tempfile.TemporaryDirectory() as folder:
        _scene(Path(folder), options.size)
        turns = 1 if options.tiny else TURNS
        rows = compared(measure, folder, against=options.against, turns=turns)
    show(rows)
    for what in ("values", "product") if options.against else ():
        if rows["this"][what] != rows["other"][what]:
            raise SystemExit(f"{what} differ: {rows['this'][what]} and {rows['other'][what]}")
    return finish("io", rows, options)


def _scene(folder: Path, size: int) -> None:
    short = simulate(SceneConfig(size_px=size, seed=1)).cube.copy()
    for name, count in DATES.items():
        group = short[name].to_dataset()
        short[name] = group.isel(time=np.linspace(0, group.sizes["time"] - 1, count).astype(int))
    tamrf_xr.save_cube(short, folder / "scene.zarr")


def measure(place: str) -> Row:
    """Save, read and fuse with the package that is imported."""
    folder = Path(place)
    store, out = folder / "saved.zarr", folder / "out.zarr"
    scene = tamrf_xr.open_cube(folder / "scene.zarr").load()
    start = time.perf_counter()
    tamrf_xr.save_cube(scene, store, overwrite=True)
    figures: Row = {"save": time.perf_counter() - start, "bytes": _bytes(store)}
    cube = tamrf_xr.open_cube(store)
    for name, packed in {"read_float": False, "read_int16": True}.items():
        figures[name], figures["values"] = _read(cube, packed=packed)
    start = time.perf_counter()
    dates = pd.date_range("2022-01-15", periods=12, freq="30D")
    tamrf_xr.run_job(cube, out, dates, method="linear", tile=360, overwrite=True, progress=False)
    figures |= {"job": time.perf_counter() - start, "product_bytes": _bytes(out)}
    values = np.asarray(tamrf_xr.open_cube(out)["sentinel2/reflectance"])
    return figures | {"product": hashlib.sha256(values.tobytes()).hexdigest()[:16]}


def _read(cube: Any, *, packed: bool) -> tuple[float, float]:
    """Read a tile in the middle, every sensor, the best of some turns."""
    from tamrf_xr.cube import groups_of
    from tamrf_xr.scale.reading import source_of
    from tamrf_xr.tiles import Window

    groups, seconds, total = groups_of(cube), 0.0, 0.0
    for name, group in groups.items():
        ratio = 3 if name == "landsat" else 1
        size = group.sizes["y"]
        edge = min(360 // ratio, size // 2)
        low, high = max(size // 2 - HALO // ratio, 0), min(size // 2 + edge + HALO // ratio, size)
        window, source = Window(slice(low, high), slice(low, high)), source_of(name, group)
        days = [[day] for day in range(group.sizes["time"])]
        runs = []
        for _ in range(RUNS):
            start = time.perf_counter()
            pixels = source.series(window, days, packed=packed).pixels
            runs.append((time.perf_counter() - start, pixels))
        seconds += min(run for run, _ in runs)
        total += float(np.nansum(runs[0][1], dtype=np.float64))
    return seconds, total


def _bytes(store: Path) -> int:
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()

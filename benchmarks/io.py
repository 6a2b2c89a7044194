"""Reading and writing of tiles: seconds and bytes, against another checkout of the package.

``python benchmarks/io.py [--against CHECKOUT] [--size 720] [--tiny]`` simulates a scene, lets each
checkout save it, and measures in turns, each in a process of its own: to save it; to read a tile of
360 px with a halo of 24, 60 + 45 dates; a job of ``method="linear"``, 12 dates. Values must be
equal. Files are in the page cache: what is measured is the work, not the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import keep

import tamrf_xr
from tamrf_xr.simulate import SceneConfig, simulate

HERE = Path(__file__).resolve().parents[1]
DATES = {"sentinel2": 60, "landsat": 45}
HALO, TURNS = 24, 5
FASTER = ("save", "read_float", "read_int16", "job")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=720, help="10 m pixels, two tiles at least")
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    parser.add_argument("--against", type=Path, help="another checkout of the package")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(options.one)))
        return {}
    checkouts = {"this": HERE, **({"other": options.against} if options.against else {})}
    figures: dict[str, Any] = {name: {} for name in checkouts}
    with tempfile.TemporaryDirectory() as folder:
        _scene(Path(folder), 48 if options.tiny else options.size)
        for turn in range(1 if options.tiny else 3):
            for name in checkouts if turn % 2 else reversed(checkouts):
                _least(figures[name], _elsewhere(checkouts[name], folder))
    for name, row in figures.items():
        print(name, {key: _short(value) for key, value in row.items()})
    if options.against:
        figures["ratio"] = _ratio(figures["this"], figures["other"])
        print("other / this", {key: round(value, 2) for key, value in figures["ratio"].items()})
    if not options.tiny:
        keep("io", figures)
    return figures


def _short(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _least(row: dict[str, Any], found: dict[str, Any]) -> None:
    for key, value in found.items():
        row[key] = min(value, row[key]) if key in row and key in FASTER else value


def _ratio(this: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    for what in ("values", "product"):
        if this[what] != other[what]:
            raise SystemExit(f"{what} differ: {this[what]} and {other[what]}")
    return {key: other[key] / this[key] for key in (*FASTER, "bytes", "product_bytes")}


def _scene(folder: Path, size: int) -> None:
    made = simulate(SceneConfig(size_px=size, seed=1)).cube
    short = made.map_over_datasets(lambda group: group)
    for name, count in DATES.items():
        group = short[name].to_dataset()
        short[name] = group.isel(time=np.linspace(0, group.sizes["time"] - 1, count).astype(int))
    tamrf_xr.save_cube(short, folder / "scene.zarr")


def _elsewhere(checkout: Path, folder: str) -> dict[str, Any]:
    """Run in a process of its own, with the package of a checkout."""
    command = [sys.executable, __file__, "--one", folder]
    environment = os.environ | {"PYTHONPATH": str(Path(checkout).resolve())}
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, Any] = json.loads(said.stdout.splitlines()[-1])
    return found


def measure(folder: Path) -> dict[str, Any]:
    """Save, read and fuse with the package that is imported."""
    store, out = folder / "saved.zarr", folder / "out.zarr"
    scene = tamrf_xr.open_cube(folder / "scene.zarr").load()
    start = time.perf_counter()
    tamrf_xr.save_cube(scene, store, overwrite=True)
    figures: dict[str, Any] = {"save": time.perf_counter() - start, "bytes": _bytes(store)}
    cube = tamrf_xr.open_cube(store)
    for name, packed in {"read_float": False, "read_int16": True}.items():
        figures[name], figures["values"] = _read(cube, packed=packed)
    start = time.perf_counter()
    dates = pd.date_range("2022-01-15", periods=12, freq="30D")
    tamrf_xr.run_job(cube, out, dates, method="linear", tile=360, overwrite=True, progress=False)
    figures |= {"job": time.perf_counter() - start, "product_bytes": _bytes(out)}
    values = tamrf_xr.open_cube(out)["sentinel2/reflectance"].values
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
        best = np.inf
        for _ in range(TURNS):
            start = time.perf_counter()
            series = source.series(window, days, packed=packed)
            best = min(best, time.perf_counter() - start)
        seconds += best
        total += float(np.nansum(series.pixels, dtype=np.float64))
    return seconds, total


def _bytes(store: Path) -> int:
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()

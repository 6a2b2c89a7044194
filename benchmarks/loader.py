"""How fast patches are read, against threads and the chunks of the store, and what a GPU asks for.

``python -m benchmarks.loader`` takes a few minutes. The rate that an H100 asks for is computed,
not measured: three times the work of a forward pass (``work`` of ``inference.py``) over an assumed
rate.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import xarray as xr

import tamrf_xr
from benchmarks.harness import Row, finish, parse
from benchmarks.inference import work
from benchmarks.scenes import cloudless_cube
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.training.config import DataConfig
from tamrf_xr.training.data import Patches, read_ahead
from tamrf_xr.training.sites import sites_of

H100_TFLOPS = 200.0
"""Assumed of one H100 in training, bfloat16: a fifth of its 990."""


def main(arguments: list[str] | None = None) -> Row:
    """Measure, print, keep."""
    options = parse(
        __doc__, arguments, threads=((1, 2, 4), (1, 2)), chunks=((60, 120, 165, 360), (120,)),
        dates=((60, 45), (12, 8)), samples=(40, 4),
    )  # fmt: skip
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for chunk in options.chunks:
            path = Path(folder) / f"{chunk}.zarr"
            hr, lr = options.dates
            tamrf_xr.save_cube(cloudless_cube((720, 720), hr=hr, lr=lr), path, chunk=chunk)
            for threads in options.threads:
                rate = measure(tamrf_xr.open_cube(path), threads, options.samples)
                rows.append({"chunk_px": chunk, "threads": threads, "per_s": rate})
                print(f"chunks of {chunk} px, {threads} threads: {rate:.1f} patches/s")
    print(f"one H100 at {H100_TFLOPS:.0f} TFLOP/s would ask for {asked():.0f} patches/s (computed)")
    return finish("loader", {"asked_by_one_h100": asked(), "rows": rows}, options)


def measure(cube: xr.DataTree, threads: int, samples: int) -> float:
    """Return patches of 1650 m and 50 dates read in a second."""
    data = DataConfig(validation_share=0.0)
    train, _ = sites_of([cube], data)
    patches = Patches([cube], train, data, count=samples)
    start = time.perf_counter()
    for _ in read_ahead(patches, range(samples), threads=threads):
        pass
    return samples / (time.perf_counter() - start)


def asked() -> float:
    """Return the patches a second that one H100 trains on: half of 50 dates given, all asked."""
    seen, asked_of = (
        work(NetworkConfig(), argparse.Namespace(size=size, hr_dates=14, lr_dates=11, queries=50))
        for size in (165, 135)  # the encoders see the border, nothing is asked of it
    )
    forward = sum((seen if "encoder" in part else asked_of)[part] for part in seen)
    return H100_TFLOPS * 1e12 / (3 * forward)


if __name__ == "__main__":
    main()

"""What a linear job costs on each kind of store: a folder, S3 (moto, on this machine), Icechunk.

``python -m benchmarks.stores`` needs moto beside the extra ``cloud``. Each is measured in a process
of its own, in turns; the least of each is kept. Moto answers one request at a time in Python, on
the cores of the job, and holds objects in memory: no statement on any service. What the job adds is
``cpu_s``, cores times seconds of its process without the server; and the rows ``one core``, where
the job has one core to itself and the server another, as a service would.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import tamrf_xr
from benchmarks.harness import TURNS, Row, apart, finish, parse, show
from benchmarks.scenes import noise_cube

DATES = "2022-03-01/2022-09-30/14D"
WAYS = ("folder", "s3", "icechunk")
APART = ("folder, one core", "s3, one core")
"""Where the job has one core, and the server another."""


def main(arguments: list[str] | None = None) -> Row:
    """Measure each kind of store, print, keep."""
    options = parse(
        __doc__, arguments, edge=(1440, 36), acquisitions=(20, 2), tile=(360, 12), turns=(TURNS, 1)
    )
    ways = (*WAYS, *APART) if len(os.sched_getaffinity(0)) > 1 else WAYS
    with tempfile.TemporaryDirectory() as folder:
        scene = noise_cube((options.edge,) * 2, hr=options.acquisitions, lr=options.acquisitions)
        tamrf_xr.save_cube(scene, Path(folder) / "in.zarr")
        found = [
            {way: apart(measure, folder, way, options.tile, turn) for way in ways}
            for turn in range(options.turns)
        ]
    rows = {way: min((one[way] for one in found), key=lambda row: row["seconds"]) for way in ways}
    for way, row in rows.items():
        local = rows["folder, one core" if way in APART else "folder"]
        row["to_folder"] = round(row["seconds"] / local["seconds"], 3)
        row["cpu_to_folder"] = round(row["cpu_s"] / local["cpu_s"], 3)
    show(rows)
    return finish("stores", {"edge_px": options.edge, "tile_px": options.tile, **rows}, options)


def measure(place: str, way: str, tile: int, turn: int) -> Row:
    """Run the job once, onto a store that is not there yet."""
    from tests import s3

    folder, cores = Path(place), sorted(os.sched_getaffinity(0))
    if way in APART:
        os.sched_setaffinity(0, cores[1:])  # which the server inherits
    if not way.startswith("s3"):
        _stay_on(cores, way)
        out = folder / f"{way}-{turn}"
        return _run(folder, f"icechunk://{out}" if way == "icechunk" else str(out), tile, {})
    with s3.server(folder) as endpoint:
        _stay_on(cores, way)
        return _run(folder, f"s3://bucket/{turn}", tile, s3.options(endpoint))


def _stay_on(cores: list[int], way: str) -> None:
    if way in APART:
        os.sched_setaffinity(0, cores[:1])


def _run(folder: Path, out: str, tile: int, options: dict[str, str]) -> Row:
    cube, begun = tamrf_xr.open_cube(folder / "in.zarr"), time.process_time()
    summary = tamrf_xr.run_job(
        cube,
        out,
        DATES,
        method="linear",
        tile=tile,
        progress=False,
        window=None,
        storage_options=options,
    )
    return {
        "tiles": summary.done,
        "seconds": round(summary.elapsed, 2),
        "writing": round(summary.writing, 2),
        "cpu_s": round(time.process_time() - begun, 2),
        "km2_per_s": round(summary.km2 / summary.elapsed, 3),
    }


if __name__ == "__main__":
    main()

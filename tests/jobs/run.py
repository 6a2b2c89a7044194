"""A job in a process of its own: ``python -m tests.jobs.run CUBE STORE FOLDER [HOW]``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pandas as pd

import tamrf_xr
from tamrf_xr import commits
from tamrf_xr.methods import registry
from tamrf_xr.replaceable import LISTING
from tamrf_xr.scale.job import Execution
from tamrf_xr.scale.ledger import FOLDER
from tests.jobs.fusers import traced
from tests.laid import run_tiles

QUERIES = pd.DatetimeIndex(["2022-01-20", "2022-01-01", "2022-02-02"])
TILE = 12


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a product but where it came from."""
    origin = {"zarr.json", LISTING, *(f"{FOLDER}/{n}" for n in ("job.json", "chunks.json"))}
    origin |= {f"{FOLDER}/lock.guard", f"{FOLDER}/lock.token"}
    files = {str(path.relative_to(store)): path for path in store.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in origin}


def write_halves(folder: Path) -> None:
    """Write half of a shard under its own name, and hang there."""
    from tamrf_xr.scale import writing

    whole = writing._write

    def half(inside, name, data):
        if (folder / "calls").exists():
            whole(inside, name.split(".")[0], data[: len(data) // 2])
            (folder / "half").touch()
            time.sleep(600)
        return whole(inside, name, data)

    writing._write = half


def command_line(arguments: list[str]) -> int:
    """The real command line, with one more method."""
    registry.METHODS["traced"] = "tests.jobs.fusers"
    from tamrf_xr.cli import main

    return main(arguments)


def main(cube: str, store: str, folder: str, how: str = "threads") -> int:
    if how == "halves":
        write_halves(Path(folder))
    if how in {"commits", "over"}:
        commits.TILES = 2
    summary = run_tiles(
        tamrf_xr.open_cube(cube),
        store,
        traced(Path(folder)),
        QUERIES,
        tile=TILE,
        how=Execution(
            cluster="local" if how == "local" else None,
            overwrite=how == "over",
            workers=2,
            progress=False,
        ),
    )
    print(summary)
    return 1 if summary.failed else 0


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(command_line(words[1:]) if words[0] == "cli" else main(*words))

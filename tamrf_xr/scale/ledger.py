"""What a store knows of its job: what was asked, and which tiles are done.

``OUT.zarr/.tamrf_job/`` holds ``job.json``, the lock (`tamrf_xr.scale.lock`) and ``done/``: an
empty file ``row_column`` per tile. A file that exists or does not cannot be half-written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamrf_xr.errors import JobError
from tamrf_xr.paths import readable
from tamrf_xr.scale.layout import sync
from tamrf_xr.scale.lock import Owner, owner_of

FOLDER, MANIFEST, DONE, LOCK = ".tamrf_job", "job.json", "done", "lock"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a job was asked; written once, when its store is laid out."""

    counts: tuple[int, int]
    """Tiles down and across."""

    tile: tuple[int, int]
    """Fine pixels (y, x) of a tile."""

    asked: Mapping[str, str]
    """What decides the numbers: method, weights, dates, inputs. A rerun must ask the same."""

    about: Mapping[str, str]
    """What else is worth knowing: where the input lay, versions."""


@dataclass(frozen=True, slots=True)
class JobState:
    """How far the job of a store has come."""

    done: int
    """Tiles on disk."""

    tiles: int
    """Tiles in all."""

    owner: Owner | None
    """Process that works on it, or None."""

    asked: Mapping[str, str]
    """What was asked: method, weights, dates, inputs."""

    about: Mapping[str, str]
    """Where the input lay, versions."""

    def __str__(self) -> str:
        """Return a line for a person to read."""
        state = "complete" if self.done == self.tiles else "incomplete: the rest reads as no data"
        return f"job: {self.done} of {self.tiles} tiles done, " + (
            f"at work: {self.owner}" if self.owner else state
        )


def job_state(store: str | os.PathLike[str]) -> JobState | None:
    """Tell how far the job of a store has come.

    Parameters
    ----------
    store
        Path of a store.

    Returns
    -------
    JobState or None
        None where the store was not made by a job.
    """
    path = readable(store, "store")
    if not isinstance(path, Path):
        return None
    manifest = read_manifest(path)
    if manifest is None:
        return None
    rows, cols = manifest.counts
    owner = owner_of(lock_of(path))
    return JobState(len(read_done(path)), rows * cols, owner, manifest.asked, manifest.about)


def lock_of(store: Path) -> Path:
    """Return the lock file of a store."""
    return store / FOLDER / LOCK


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Start the ledger of a store that was just laid out."""
    (store / FOLDER / DONE).mkdir(parents=True)
    written = {
        "counts": manifest.counts,
        "tile": manifest.tile,
        "asked": dict(manifest.asked),
        "about": dict(manifest.about),
    }
    (store / FOLDER / MANIFEST).write_text(json.dumps(written, indent=1) + "\n")


def read_manifest(store: Path) -> Manifest | None:
    """Read what the job of a store was asked; None where there is no job.

    Raises
    ------
    JobError
        If the file is damaged.
    """
    path = store / FOLDER / MANIFEST
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        counts, tile = tuple(found["counts"]), tuple(found["tile"])
        return Manifest(counts, tile, found["asked"], found["about"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise JobError(
            f"{path} is damaged ({error}): cannot tell what was asked; pass overwrite=True "
            "(--overwrite) to start anew, or name another store"
        ) from error


def record(store: Path, index: tuple[int, int]) -> None:
    """Say that a tile is done: its shards must be on the disk by now."""
    folder = store / FOLDER / DONE
    os.close(os.open(folder / f"{index[0]}_{index[1]}", os.O_CREAT | os.O_WRONLY, 0o644))
    sync(folder)


def read_done(store: Path) -> set[tuple[int, int]]:
    """Return row and column of every tile that is done."""
    names = (name.split("_") for name in os.listdir(store / FOLDER / DONE))
    return {(int(row), int(column)) for row, column in names}


def check_same(store: Path, found: Mapping[str, str], asked: Mapping[str, str]) -> None:
    """Refuse to go on with a job that was asked something else.

    Raises
    ------
    JobError
        Telling what differs.
    """
    differing = [key for key in {**found, **asked} if found.get(key) != asked.get(key)]
    if differing:
        lines = "".join(
            f"\n  {key}: found {found.get(key, 'nothing')}, asked {asked.get(key, 'nothing')}"
            for key in differing
        )
        raise JobError(
            f"{store} holds a job that was asked something else:{lines}\n"
            "ask the same to go on with it, pass overwrite=True (--overwrite) to start anew, or "
            "name another store"
        )

"""What a store knows of its job: what was asked, and which tiles are done.

``OUT.zarr/.tamrf_job/`` holds ``job.json``, the lock (`tamrf_xr.scale.lock`) with the token of the
store, and ``done/``: a file ``row_column`` per tile, whose name says that it is done and whose text
the bytes of its shards. A name that exists or does not cannot be half-written.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamrf_xr.errors import JobError, StoreGoneError, StoreReplacedError
from tamrf_xr.owners import Owner
from tamrf_xr.paths import readable
from tamrf_xr.scale.disk import sync_folder
from tamrf_xr.scale.lock import owner_of
from tamrf_xr.scale.writing import Place

FOLDER, MANIFEST, DONE = ".tamrf_job", "job.json", "done"
LOCK, TOKEN = "lock", "lock.token"
_MARK = re.compile(r"\d+_\d+")


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

    damaged: int
    """Tiles among those whose shards have not the sizes that were recorded."""

    asked: Mapping[str, str]
    """What was asked: method, weights, dates, inputs."""

    about: Mapping[str, str]
    """Where the input lay, versions."""

    def __str__(self) -> str:
        """Return a line for a person to read."""
        state = "complete" if self.done == self.tiles else "incomplete: the rest reads as no data"
        if self.damaged:
            state = f"{self.damaged} of them damaged: tamrf-xr verify names them"
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
    owner = owner_of(lock_of(path), watch=False)
    done = read_done(path)
    damaged = sum(why_damaged(path, index) is not None for index in done)
    return JobState(len(done), rows * cols, owner, damaged, manifest.asked, manifest.about)


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


def write_token(store: Path) -> str:
    """Name a store that was just laid out: what a tile of another job does not know."""
    token = uuid.uuid4().hex
    (store / FOLDER / TOKEN).write_text(token + "\n")
    return token


def read_token(store: Path) -> str:
    """Return the name of a store as it was laid out; empty where older versions did that."""
    try:
        return (store / FOLDER / TOKEN).read_text().strip()
    except FileNotFoundError:
        return ""


def check_token(place: Place, token: str) -> None:
    """Check that a store is the one that a tile was planned for, there and under its name.

    Raises
    ------
    StoreGoneError
        If there is no store.
    StoreReplacedError
        If another job has laid it out anew.
    """
    if not (place.store / FOLDER).is_dir():
        raise StoreGoneError(
            f"no store at {place.store} on this machine: workers write it themselves, so it must "
            "lie on a file system that all of them share"
        )
    there = read_token(place.store)
    same = os.path.samestat(os.fstat(place.handle), os.stat(place.store))
    if there != token or not same:
        raise StoreReplacedError(
            f"another job has laid {place.store} out anew since this one began; this one may not "
            "write to it: stop it, or give it another store"
        )


def record(place: Place, index: tuple[int, int], sizes: Mapping[str, int]) -> None:
    """Say that a tile is done, with the bytes of its shards: they must be on the disk by now."""
    folder = f"{FOLDER}/{DONE}"
    # In place: killed before the sizes are there, it is done all the same, as of older versions.
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY
    handle = os.open(f"{folder}/{_mark(index)}", flags, 0o666, dir_fd=place.handle)
    with os.fdopen(handle, "w") as file:
        file.write(json.dumps(dict(sizes)) + "\n")
    sync_folder(folder, inside=place.handle)


def forget(store: Path, indices: Iterable[tuple[int, int]]) -> None:
    """Say that tiles are not done: before anything of them is written again."""
    for index in indices:
        (store / FOLDER / DONE / _mark(index)).unlink(missing_ok=True)
    sync_folder(store / FOLDER / DONE)


def is_done(place: Place, index: tuple[int, int]) -> bool:
    """Tell whether a tile is done."""
    try:
        os.stat(f"{FOLDER}/{DONE}/{_mark(index)}", dir_fd=place.handle)
    except FileNotFoundError:
        return False
    return True


def read_done(store: Path) -> set[tuple[int, int]]:
    """Return row and column of every tile that is done."""
    names = filter(_MARK.fullmatch, os.listdir(store / FOLDER / DONE))
    return {(int(row), int(column)) for row, _, column in (n.partition("_") for n in names)}


def why_damaged(store: Path, index: tuple[int, int]) -> str | None:
    """Tell why the shards of a tile that is done are not as recorded, by their sizes; or None.

    Tiles that older versions made have no sizes.
    """
    try:
        text = (store / FOLDER / DONE / _mark(index)).read_text()
        sizes = {str(name): int(size) for name, size in json.loads(text).items()} if text else {}
    except (ValueError, AttributeError, TypeError):
        return "what was recorded of it is damaged"
    for name, size in sizes.items():
        try:
            found = (store / name).stat().st_size
        except FileNotFoundError:
            found = 0
        if found != size:
            return f"{name} has {found} bytes, was written with {size}"
    return None


def _mark(index: tuple[int, int]) -> str:
    return f"{index[0]}_{index[1]}"


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

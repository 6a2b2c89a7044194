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

from tamrf_xr.commits import Target
from tamrf_xr.errors import JobError, StoreGoneError, StoreReplacedError
from tamrf_xr.owners import Owner
from tamrf_xr.places import FOLDER, Objects, Place, StorageOptions
from tamrf_xr.scale.lock import LOCK
from tamrf_xr.scale.locks import owner_at
from tamrf_xr.scale.writing import Folder, at
from tamrf_xr.targets import seen

MANIFEST, DONE, TOKEN = "job.json", "done", "lock.token"
_MARK = re.compile(r"\d+_\d+")
_REPLACED = (
    "another job has laid {} out anew since this one began; this one may not write to it: stop it, "
    "or give it another store"
)


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

    def as_json(self) -> str:
        """Return the text of its file."""
        written = {
            "counts": self.counts,
            "tile": self.tile,
            "asked": dict(self.asked),
            "about": dict(self.about),
        }
        return json.dumps(written, indent=1) + "\n"


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


def job_state(store: Any, *, storage_options: StorageOptions = None) -> JobState | None:
    """Tell how far the job of a store has come.

    Parameters
    ----------
    store
        Path, URL or Zarr store object of a store.
    storage_options
        As of `tamrf_xr.open_cube`.

    Returns
    -------
    JobState or None
        None where the store was not made by a job, or lies behind a web server: it lists nothing.
    """
    path = seen(store, "store", storage_options)
    manifest = None if path is None else read_manifest(path)
    if path is None or manifest is None or (isinstance(path, Objects) and not path.lists):
        return None
    rows, cols = manifest.counts
    owner = owner_at(path)
    done = read_done(path)
    damaged = sum(why_damaged(path, index) is not None for index in done)
    return JobState(len(done), rows * cols, owner, damaged, manifest.asked, manifest.about)


def lock_of(store: Path) -> Path:
    """Return the lock file of a store."""
    return store / FOLDER / LOCK


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Start the ledger of a store that was just laid out."""
    (store / FOLDER / DONE).mkdir(parents=True)
    (store / FOLDER / MANIFEST).write_text(manifest.as_json())


def read_manifest(store: Target) -> Manifest | None:
    """Read what the job of a store was asked; None where there is no job.

    Raises
    ------
    JobError
        If the file is damaged.
    """
    path = f"{store}/{FOLDER}/{MANIFEST}"
    try:
        found: dict[str, Any] = json.loads(at(store).read(f"{FOLDER}/{MANIFEST}"))
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


def read_token(store: Target | Place) -> str:
    """Return the name of a store as it was laid out; empty where older versions did that."""
    try:
        return at(store).read(f"{FOLDER}/{TOKEN}").decode().strip()
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
    if not isinstance(place, Folder):
        if read_token(place) != token:
            raise StoreReplacedError(_REPLACED.format(place))
        return
    if not (place.store / FOLDER).is_dir():
        raise StoreGoneError(
            f"no store at {place.store} on this machine: workers write it themselves, so it must "
            "lie on a file system that all of them share"
        )
    there = read_token(place.store)
    entered = os.stat(".", dir_fd=place.handle) if place.handle is not None else None
    same = entered is not None and os.path.samestat(entered, os.stat(place.store))
    if there != token or not same:
        raise StoreReplacedError(_REPLACED.format(place))


def record(place: Place, index: tuple[int, int], sizes: Mapping[str, int]) -> None:
    """Say that a tile is done, with the bytes of its shards: they must be on the disk by now."""
    # In place: killed before the sizes are there, it is done all the same, as of older versions.
    place.note(_mark(index), (json.dumps(dict(sizes)) + "\n").encode())


def forget(store: Target, indices: Iterable[tuple[int, int]]) -> None:
    """Say that tiles are not done: before anything of them is written again."""
    at(store).delete([_mark(index) for index in indices])


def is_done(place: Place, index: tuple[int, int]) -> bool:
    """Tell whether a tile is done."""
    return place.size(_mark(index)) is not None


def read_done(store: Target) -> set[tuple[int, int]]:
    """Return row and column of every tile that is done."""
    names = filter(_MARK.fullmatch, at(store).names(f"{FOLDER}/{DONE}"))
    return {(int(row), int(column)) for row, _, column in (n.partition("_") for n in names)}


def why_damaged(store: Target, index: tuple[int, int]) -> str | None:
    """Tell why the shards of a tile that is done are not as recorded, by their sizes; or None.

    Tiles that older versions made have no sizes.
    """
    place = at(store)
    try:
        text = place.read(_mark(index)).decode()
        sizes = {str(name): int(size) for name, size in json.loads(text).items()} if text else {}
    except (ValueError, AttributeError, TypeError):
        return "what was recorded of it is damaged"
    for name, size in sizes.items():
        found = place.size(name) or 0
        if found != size:
            return f"{name} has {found} bytes, was written with {size}"
    return None


def _mark(index: tuple[int, int]) -> str:
    return f"{FOLDER}/{DONE}/{index[0]}_{index[1]}"


def check_same(store: Target, found: Mapping[str, str], asked: Mapping[str, str]) -> None:
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

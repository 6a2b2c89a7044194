"""What a cube was written with: a list of its files, kept in it, written last.

A chunk that is missing reads as no data, and so would one that was lost: only a list tells which.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamrf_xr.encoding import SCALES
from tamrf_xr.errors import JobError
from tamrf_xr.replacing import LISTING, fresh_file

PIXELS = {*SCALES, "valid"}
"""Arrays that are large."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a cube."""

    chunks: dict[str, int]
    """Bytes of each file of pixels."""

    documents: dict[str, str]
    """SHA-256 of each file of metadata or coordinates."""


def write_listing(store: Path) -> None:
    """List what a store holds, in the store.

    Raises
    ------
    JobError
        If it is not there any more.
    """
    chunks, documents = {}, {}
    for name, path in sorted(_files(store)):
        if path.name == "zarr.json" or not PIXELS.intersection(name.split("/")):
            documents[name] = _digest(path)
        else:
            chunks[name] = path.stat().st_size
    if "zarr.json" not in documents:
        # A process that is asleep for long is taken for dead, and its leftovers are removed.
        raise JobError(f"{store} was taken away while it was written; run again")
    with fresh_file(store / LISTING) as partial:
        partial.write_text(json.dumps({"chunks": chunks, "documents": documents}) + "\n")


def read_listing(store: Path) -> Listing | None:
    """Return what a store was written with; None where it does not say."""
    try:
        document: dict[str, Any] = json.loads((store / LISTING).read_text())
        return Listing(document["chunks"], document["documents"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_listing(store: Path, listing: Listing) -> list[str]:
    """Compare what is there with a listing: a line for each file that is missing or another."""
    wrong = []
    for name, size in listing.chunks.items():
        try:
            size_now = (store / name).stat().st_size
        except FileNotFoundError:
            wrong.append(f"{name} is missing")
        else:
            if size_now != size:
                wrong.append(f"{name} has {size_now} bytes, was written with {size}")
    for name, digest in listing.documents.items():
        path = store / name
        if not path.exists():
            wrong.append(f"{name} is missing")
        elif _digest(path) != digest:
            wrong.append(f"{name} is not as it was written")
    return wrong


def _files(store: Path) -> Iterator[tuple[str, Path]]:
    for parent, _, names in os.walk(store):
        for name in names:
            path = Path(parent, name)
            if name != LISTING:
                yield path.relative_to(store).as_posix(), path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

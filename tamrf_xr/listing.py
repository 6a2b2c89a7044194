"""What a cube was written with: a list of its files, kept in it, written last.

A chunk that is missing reads as no data, and so would one that was lost: only a list tells which.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamrf_xr.encoding import SCALES
from tamrf_xr.errors import JobError
from tamrf_xr.places import Objects
from tamrf_xr.replaceable import LISTING
from tamrf_xr.replacing import fresh_file

PIXELS = {*SCALES, "valid"}
"""Arrays that are large."""

METADATA = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}
"""Documents of Zarr, whatever version."""


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
        if _is_document(name):
            documents[name] = _digest(path)
        else:
            chunks[name] = path.stat().st_size
    if not documents.keys() & {"zarr.json", ".zgroup"}:
        # A process that is asleep for long is taken for dead, and its leftovers are removed.
        raise JobError(f"{store} was taken away while it was written; run again")
    with fresh_file(store / LISTING) as partial:
        partial.write_text(json.dumps({"chunks": chunks, "documents": documents}) + "\n")


def _is_document(name: str) -> bool:
    """Tell whether a file is metadata or coordinates: small, and hashed."""
    parts = name.split("/")
    return parts[-1] in METADATA or not PIXELS.intersection(parts)


def listing_of(place: Objects, beside: Mapping[str, bytes]) -> bytes:
    """Return the text of a listing of what lies in an object store, and of what is about to."""
    chunks, documents = {}, {name: _hash(data) for name, data in beside.items()}
    for name, size in sorted(place.all_names()):
        if _is_document(name):
            documents[name] = _hash(place.read(name))
        else:
            chunks[name] = size
    return (json.dumps({"chunks": chunks, "documents": documents}) + "\n").encode()


def read_listing(store: Path | Objects) -> Listing | None:
    """Return what a store was written with; None where it does not say."""
    try:
        there = store.read(LISTING) if isinstance(store, Objects) else _bytes(store / LISTING)
        document: dict[str, Any] = json.loads(there)
        return Listing(document["chunks"], document["documents"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_listing(store: Path | Objects, listing: Listing) -> list[str]:
    """Compare what is there with a listing: a line for each file that is missing or another."""
    wrong = []
    sizes = _sizes(store, listing)
    for name, size in listing.chunks.items():
        if name not in sizes:
            wrong.append(f"{name} is missing")
        elif sizes[name] != size:
            wrong.append(f"{name} has {sizes[name]} bytes, was written with {size}")
    for name, digest in listing.documents.items():
        try:
            data = store.read(name) if isinstance(store, Objects) else _bytes(store / name)
        except FileNotFoundError:
            wrong.append(f"{name} is missing")
        else:
            if _hash(data) != digest:
                wrong.append(f"{name} is not as it was written")
    return wrong


def _sizes(store: Path | Objects, listing: Listing) -> dict[str, int]:
    if isinstance(store, Objects):
        return dict(store.all_names())
    found = {}
    for name in listing.chunks:
        with contextlib.suppress(FileNotFoundError):
            found[name] = (store / name).stat().st_size
    return found


def _files(store: Path) -> Iterator[tuple[str, Path]]:
    for parent, _, names in os.walk(store):
        for name in names:
            path = Path(parent, name)
            if name != LISTING:
                yield path.relative_to(store).as_posix(), path


def _digest(path: Path) -> str:
    return _hash(path.read_bytes())


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

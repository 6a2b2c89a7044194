"""What may be replaced: only what is ours, and no place that must stay."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tamrf_xr.errors import OptionError, OutputExistsError
from tamrf_xr.paths import PathLike, is_url, local_path
from tamrf_xr.replacing import check_absent, remove_abandoned

MARKER, MANIFEST = "tamrf_cube_version", ".tamrf_job/job.json"
"""What a cube has among its attributes, and a job in its folder."""

LISTING = ".tamrf_contents.json"
"""File of a cube, written last: the shards that it has."""

_ALLOWED = {"zarr.json", ".zattrs", ".zgroup", ".zmetadata", ".tamrf_job", LISTING, ".DS_Store"}


def check_store(
    path: PathLike, what: str, *, overwrite: bool, inputs: Iterable[PathLike] = ()
) -> Path:
    """Refuse a store that must not be written, or not be replaced.

    Parameters
    ----------
    path
        Where it shall be.
    what
        What it is, for errors.
    overwrite
        Whether what is there may be replaced.
    inputs
        What the same call reads; URLs are passed over.

    Returns
    -------
    pathlib.Path
        The place, absolute, symbolic links resolved.

    Raises
    ------
    OptionError
        If it is empty, the working folder or one around it, the home folder, a mount point, or
        overlaps with an input.
    OutputExistsError
        If something is there that may not be replaced, or is no cube or job of ours.
    """
    return check_folder(path, what, overwrite=overwrite, inputs=inputs, ours=_why_not_a_store)


def check_folder(
    path: PathLike,
    what: str,
    *,
    overwrite: bool,
    ours: Callable[[Path], str | None],
    inputs: Iterable[PathLike] = (),
) -> Path:
    """As `check_store`; `ours` tells why a folder is none of its kind, or None."""
    target = check_place(path, what, inputs)
    remove_abandoned(target)
    check_absent(target, overwrite=overwrite)
    if target.exists() and (why := ours(target)):
        raise OutputExistsError(
            f"{target} exists and {why}: it is not replaced, whatever overwrite says; name another "
            f"{what}, or remove it yourself"
        )
    return target


def check_file(
    path: PathLike,
    what: str,
    *,
    overwrite: bool,
    inputs: Iterable[PathLike] = (),
    starts: tuple[bytes, ...] = (),
) -> Path:
    """Refuse a file that must not be written, or not be replaced.

    Parameters
    ----------
    path, what, overwrite, inputs
        As of `check_store`.
    starts
        The bytes that files of its kind start with: no other is replaced.

    Raises
    ------
    OptionError, OutputExistsError
        As `check_store`.
    """
    target = check_place(path, what, inputs)
    check_absent(target, overwrite=overwrite)
    if not target.exists():
        return target
    if not target.is_file() or not _begins(target, starts):
        found = "a folder" if target.is_dir() else "a file of another kind"
        raise OutputExistsError(
            f"{target} is {found}, no {what}: it is not replaced, whatever overwrite says; name "
            "another, or remove it yourself"
        )
    return target


def check_around(path: PathLike, what: str, *, inputs: Iterable[PathLike] = ()) -> Path:
    """Refuse a folder to write several outputs into that is, or lies in, an input.

    Raises
    ------
    OptionError
        If it does, or is a file.
    """
    target = local_path(path, what).resolve()
    if target.exists() and not target.is_dir():
        raise OptionError(f"the {what} {target} is a file; name a folder")
    for given in inputs:
        source = None if is_url(given) else local_path(given, "input").resolve()
        if source and source.exists() and _identities(source)[0] in _identities(target):
            raise OptionError(
                f"the {what} {target} is, or lies in, the input {source}; name another {what}: "
                "what is read is never written to"
            )
    return target


def _begins(path: Path, starts: tuple[bytes, ...]) -> bool:
    if not starts or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        return file.read(max(map(len, starts))).startswith(starts)


def check_place(path: PathLike, what: str, inputs: Iterable[PathLike] = ()) -> Path:
    """Refuse a place that nothing may be written over, whatever is there; see `check_store`.

    Raises
    ------
    OptionError
        If it must stay, or overlaps with an input.
    """
    target = local_path(path, what).resolve()
    if kept := _kept(target):
        raise OptionError(
            f"the {what} is {path}, {kept}: nothing is written over that; name another"
        )
    for given in inputs:
        if not is_url(given) and _overlap(target, source := local_path(given, "input").resolve()):
            raise OptionError(
                f"the {what} {target} and the input {source} are one, or one is inside the other; "
                f"name another {what}: what is read is never written to"
            )
    return target


def _kept(target: Path) -> str | None:
    """Tell why a place must stay, whatever is asked."""
    home = Path.home().resolve()
    for place, words in ((Path.cwd(), "the working folder"), (home, "the home folder")):
        if target == place or target in place.parents:
            return words if target == place else f"which holds {words} {place}"
    return "a mount point" if os.path.ismount(target) else None


def _overlap(one: Path, other: Path) -> bool:
    """Tell whether a place is, or lies in, another: bind mounts and hard links are seen through."""
    if one == other or one in other.parents or other in one.parents:
        return True
    ones, others = _identities(one), _identities(other)
    return (one.exists() and ones[0] in others) or (other.exists() and others[0] in ones)


def _identities(path: Path) -> list[tuple[int, int]]:
    """Return device and inode of a path, then of the folders around it, as far as they exist."""
    found = []
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            status = place.stat()
            found.append((status.st_dev, status.st_ino))
    return found


def is_ours(store: Path) -> bool:
    """Tell whether a folder is a cube or a job of ours, and nothing else."""
    return _why_not_a_store(store) is None


def _why_not_a_store(store: Path) -> str | None:
    if not store.is_dir():
        return "is a file"
    attrs, groups = _root_of(store)
    if MARKER not in attrs and "counts" not in _read_json(store / MANIFEST):
        what = "is no cube and no job of ours"
        if any((store / name / "reflectance").is_dir() for name in groups):
            # No guess is safe: others may lay out their data so, and lose them.
            what = "holds a cube that others, or an older version from a bare tree, may have saved"
        return f"{what} (no {MARKER} among its attributes)"
    foreign = sorted(
        entry.name
        for entry in store.iterdir()
        if not (entry.name in _ALLOWED or entry.name in groups or entry.name.startswith(".nfs"))
    )
    return f"also holds what is not ours ({', '.join(foreign[:3])})" if foreign else None


def is_ours_by(read: Callable[[str], bytes], names: Iterable[str]) -> bool:
    """As `is_ours`, of a place that is no folder.

    Parameters
    ----------
    read
        Returns what a name holds.
    names
        All names there.
    """
    root = _parsed(read, "zarr.json")
    attrs = root.get("attributes") or _parsed(read, ".zattrs")
    if MARKER not in attrs and "counts" not in _parsed(read, MANIFEST):
        return False
    nodes = (root.get("consolidated_metadata") or {}).get("metadata") or {}
    nodes = nodes or _parsed(read, ".zmetadata").get("metadata") or {}
    known = _ALLOWED | {name.split("/")[0] for name in nodes}
    return all(name.split("/")[0] in known for name in names)


def _parsed(read: Callable[[str], bytes], name: str) -> dict[str, Any]:
    try:
        found = json.loads(read(name))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _root_of(store: Path) -> tuple[dict[str, Any], set[str]]:
    """Return the attributes of a store's root, and the names that its metadata knows."""
    root = _read_json(store / "zarr.json")
    attrs = root.get("attributes") or _read_json(store / ".zattrs")
    nodes = (root.get("consolidated_metadata") or {}).get("metadata") or {}
    nodes = nodes or _read_json(store / ".zmetadata").get("metadata") or {}
    # What has no consolidated metadata says of each folder itself what it is.
    alone = {entry.name for entry in store.iterdir() if is_node(entry)} if not nodes else set()
    return attrs, {name.split("/")[0] for name in nodes} | alone


def is_node(folder: Path) -> bool:
    """Tell whether a folder is a group or an array of Zarr, of whatever version."""
    return any((folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

"""The one way by which anything that exists is replaced: only what is ours, only by what is whole.

The plan of a replacement:
1. `check_store` or `check_file`, before anything is read: places that must never go, inputs of the
   same call, and what does not carry our marker are refused.
2. The new one is written under a name of this process beside it (`partial_of`).
3. `put_in_place` exchanges the two in one step where the file system can; else the old one goes
   aside, the new one in. A run that is killed between leaves both, and the next one goes on.
4. The old one is removed, under a name that nothing reads. `remove_abandoned` cleans up after
   processes that died anywhere in this.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from tamrf_xr.errors import OptionError, OutputExistsError
from tamrf_xr.owners import beating, is_silent, own_tag, runs_tagged
from tamrf_xr.paths import PathLike, is_url, local_path

MARKER, MANIFEST = "tamrf_cube_version", ".tamrf_job/job.json"
"""What a cube has among its attributes, and a job in its folder."""

LISTING = ".tamrf_contents.json"
"""File of a cube, written last: the shards that it has."""

_ALLOWED = {"zarr.json", ".zattrs", ".zgroup", ".zmetadata", ".tamrf_job", LISTING, ".DS_Store"}
_AT_FDCWD, _EXCHANGE = -100, 2


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
    _check_absent(target, overwrite=overwrite)
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
    _check_absent(target, overwrite=overwrite)
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


def _check_absent(target: Path, *, overwrite: bool) -> None:
    if os.path.lexists(target) and not overwrite:
        raise OutputExistsError(
            f"{target} exists; pass overwrite=True (--overwrite) to replace it, or name another"
        )


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


# Putting in place


@contextlib.contextmanager
def fresh(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a name to write a folder under, which takes the name `target` when all went well.

    What is at `target` must have been checked.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target)
    partial = partial_of(target)
    remove(partial)
    partial.mkdir()
    try:
        with beating(partial):
            yield partial
        put_in_place(partial, target, overwrite=overwrite)
    finally:
        remove(partial)


@contextlib.contextmanager
def fresh_file(target: Path) -> Iterator[Path]:
    """Give a name to write a file under, which takes the name `target` when all went well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in _left(target, "partial"):
        _discard(left)
    partial = partial_of(target)
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def fresh_files(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """As `fresh_file`, where the writer puts files of its own beside (``image.png.aux.xml``)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target)
    folder = partial_of(target)
    remove(folder)
    folder.mkdir()
    try:
        with beating(folder):
            yield folder / target.name
        # The file itself last: what it needs is there when it is.
        made = sorted(folder.iterdir(), key=lambda path: path.name == target.name)
        for path in made:
            _check_absent(target.with_name(path.name), overwrite=overwrite)
        for path in made:
            path.replace(target.with_name(path.name))
    finally:
        remove(folder)


def partial_of(target: Path) -> Path:
    """Return the name under which this process writes something before it renames it."""
    return _beside(target, "partial")


def _beside(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}.{own_tag()}.{kind}")


def put_in_place(partial: Path, target: Path, *, overwrite: bool) -> None:
    """Give a whole folder its name; what has that name is replaced, and removed.

    Raises
    ------
    OutputExistsError
        If something has that name, and is not to be replaced.
    """
    if not (overwrite and os.path.lexists(target)):
        _check_absent(target, overwrite=False)
        partial.rename(target)
        sync_names(target.parent)
        return
    old = _beside(target, "old")
    if _exchange(partial, target):
        sync_names(target.parent)
        partial.rename(old)
    else:
        aside = _beside(target, "aside")
        target.rename(aside)
        partial.rename(target)
        sync_names(target.parent)
        aside.rename(old)
    remove(old)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system cannot."""
    call = _renameat2()
    if call is None:
        return False
    names = (os.fsencode(one), os.fsencode(other))
    return bool(call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0)


@cache
def _renameat2() -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def sync_names(folder: Path) -> None:
    """Sync the names in a folder to disk, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def remove(folder: Path) -> None:
    """Remove a folder that threads of a failed computation may still be writing to."""
    for wait in (0.0, 0.1, 0.3, 1.0, 3.0):
        time.sleep(wait)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def remove_abandoned(target: Path) -> None:
    """Go on where processes that were killed left the replacement of `target`, and clean up."""
    for aside in _left(target, "aside"):
        partial = aside.with_suffix(".partial")
        # Killed between its two renames: what it wrote was whole.
        if partial.exists() and not os.path.lexists(target):
            partial.rename(target)
        aside.rename(aside.with_suffix(".old"))
    for kind in ("old", "partial"):
        for folder in _left(target, kind):
            # Out of the way first: nothing reads, or goes on with, what is half removed.
            gone = folder.with_suffix(".old")
            folder.rename(gone)
            _discard(gone)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _left(target: Path, kind: str) -> list[Path]:
    """List what processes that are gone left beside a folder."""
    start, end = f".{target.name}.", f".{kind}"
    found = []
    for path in target.parent.iterdir() if target.parent.is_dir() else ():
        if path.name.startswith(start) and path.name.endswith(end):
            owner = path.name[len(start) : -len(end)]
            if _is_gone(path, owner):
                found.append(path)
    return found


def _is_gone(path: Path, owner: str) -> bool:
    if owner.count("-") != 3 or "." in owner:
        return _is_gone_of_old(owner)
    running = runs_tagged(owner)
    return is_silent(path) if running is None else not running


def _is_gone_of_old(owner: str) -> bool:
    """As `_is_gone`, of names that older versions gave: host and number."""
    host, _, pid = owner.rpartition(".")
    return host == socket.gethostname() and pid.isdecimal() and not psutil.pid_exists(int(pid))

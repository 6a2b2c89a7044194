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
import os
import shutil
import socket
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from tamrf_xr.errors import OutputExistsError
from tamrf_xr.owners import beating, is_silent, own_tag, runs_tagged

_AT_FDCWD, _EXCHANGE = -100, 2


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
            check_absent(target.with_name(path.name), overwrite=overwrite)
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
        check_absent(target, overwrite=False)
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


def check_absent(target: Path, *, overwrite: bool) -> None:
    """Refuse what is there, unless it is to be replaced.

    Raises
    ------
    OutputExistsError
        If it is.
    """
    if os.path.lexists(target) and not overwrite:
        raise OutputExistsError(
            f"{target} exists; pass overwrite=True (--overwrite) to replace it, or name another"
        )

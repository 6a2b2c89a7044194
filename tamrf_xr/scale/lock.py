"""One job at a time on a store, and no store locked for ever by a process that died.

The lock is a file that names its owner (`tamrf_xr.owners`). Whether the owner still runs is seen
in the table of processes where both count alike; under one kernel, by a lock that the kernel lets
go of when it dies; else by signs of life, and by watching before a silence is believed. A lock
whose owner is gone is taken over. Were an owner only paused, both would write the same bytes under
temporary names: no harm done.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tamrf_xr.errors import JobError
from tamrf_xr.interrupt import before_end
from tamrf_xr.owners import Owner, beating, is_silent, runs
from tamrf_xr.scale import disk

LOCK = "lock"

PATIENCE = 10.0
"""Seconds after which a folder that guards for milliseconds was left by a process that died."""

_HANDLES: dict[str, int | None] = {}
_KEPT: dict[str, Path] = {}
"""Per token of a lock of this process, the handle the kernel knows it by, and where it lies."""


def let_go_of_all() -> None:
    """Let go of what this process holds: for one that is about to end, whatever it is at."""
    for token in list(_KEPT):
        with contextlib.suppress(OSError, JobError):
            _let_go(token)


before_end(let_go_of_all)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock.

    Raises
    ------
    JobError
        If another process holds it.
    """
    me = Owner.me()
    acquire(path, me)
    with kept(path, me):
        yield


@contextlib.contextmanager
def kept(path: Path, me: Owner) -> Iterator[None]:
    """Show signs of life on a lock that is held, and let go of it at the end."""
    _KEPT[me.token] = path
    try:
        with beating(path):
            yield
    finally:
        _let_go(me.token)


def abandon(me: Owner) -> None:
    """Let go of a lock whose folder is removed before it was kept."""
    handle = _HANDLES.pop(me.token, None)
    if handle is not None:
        os.close(handle)


def _let_go(token: str) -> None:
    path, handle = _KEPT.pop(token, None), _HANDLES.pop(token, None)
    if path is None:
        return
    # A store that may not be written any more keeps the lock: its owner is gone all the same.
    with contextlib.suppress(OSError):
        if (owner := _read(path)) is not None and owner.token == token:
            path.unlink(missing_ok=True)
    if handle is not None:
        os.close(handle)


def acquire(path: Path, me: Owner) -> None:
    """Take a lock that is free or stale.

    Raises
    ------
    JobError
        If another process holds it.
    """
    with _guard(path):
        if (owner := owner_of(path)) is not None:
            raise JobError(
                f"another run is at work on {path.parent.parent}: {owner}; wait for it, stop it, "
                f"or name another store. If you are sure that it is gone, delete {path}"
            )
        _clean_up(path)
        mine = path.with_name(f"{path.name}.{me.token}")
        mine.write_text(json.dumps(asdict(me)))
        _HANDLES[me.token] = disk.claim(mine)
        try:
            _take(mine, path, me)
        except FileExistsError:
            raise JobError(f"another run has just started on {path.parent.parent}") from None
        finally:
            mine.unlink(missing_ok=True)


def _clean_up(path: Path) -> None:
    """Remove a lock whose owner is gone, and what it was about to do beside it."""
    stay = {f"{path.name}.{name}" for name in ("guard", "guard.d", "token")}
    for left in (path, *path.parent.glob(f"{path.name}.*")):
        if left.name not in stay:
            left.unlink(missing_ok=True)


def _take(mine: Path, path: Path, me: Owner) -> None:
    """Give a file the name of the lock, unless another machine was faster."""
    try:
        os.link(mine, path)
    except OSError as error:
        if error.errno not in disk.UNSUPPORTED:
            raise
        if path.exists():
            raise FileExistsError(path) from None
        mine.rename(path)
        if (owner := _read(path)) is None or owner.token != me.token:
            raise FileExistsError(path) from None


@contextlib.contextmanager
def _guard(path: Path) -> Iterator[None]:
    """Keep processes from taking over one stale lock at once."""
    file = path.with_name(f"{path.name}.guard")
    file.touch()
    handle = _wait_for(file)
    if handle is None:
        with _guarded_by_folder(path.with_name(f"{path.name}.guard.d")):
            yield
        return
    try:
        yield
    finally:
        os.close(handle)


def _wait_for(file: Path) -> int | None:
    while True:
        try:
            return disk.claim(file)
        except BlockingIOError:
            time.sleep(0.05)


@contextlib.contextmanager
def _guarded_by_folder(folder: Path) -> Iterator[None]:
    """Guard where there are no locks: a folder is made by one of any number of processes."""
    before, since = None, time.monotonic()
    while True:
        try:
            folder.mkdir()
            break
        except FileExistsError:
            time.sleep(0.05)
        now = _born(folder)
        if now != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            with contextlib.suppress(OSError):
                folder.rmdir()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _born(folder: Path) -> int | None:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return None


def owner_of(path: Path, *, watch: bool = True) -> Owner | None:
    """Return who holds a lock; None where it is free or stale.

    Parameters
    ----------
    path
        The lock.
    watch
        Take the time to watch an owner that seems silent; see `tamrf_xr.owners.is_silent`.
    """
    owner = _read(path)
    return owner if owner is not None and _alive(owner, path, watch=watch) else None


def _read(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise JobError(f"lock {path} is damaged ({error}); delete it if no job runs") from error


def _alive(owner: Owner, path: Path, *, watch: bool) -> bool:
    seen = runs(owner)
    if seen is None and owner.near:
        seen = _is_claimed(path)
    return seen if seen is not None else not is_silent(path, watch=watch)


def _is_claimed(path: Path) -> bool | None:
    """Tell whether the kernel still knows the owner; None where it does not keep such locks."""
    try:
        handle = disk.claim(path)
    except BlockingIOError:
        return True
    except OSError:
        return None
    if handle is not None:
        os.close(handle)
    return None if handle is None else False

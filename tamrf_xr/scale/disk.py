"""What a job asks of a file system: data and names on the disk, and what not every system has."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

UNSUPPORTED = frozenset(
    {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOLCK, errno.EPERM}
)
"""What systems say to a call that they do not have."""


def sync(path: Path) -> None:
    """Sync a file to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: str | Path, *, inside: int | None = None) -> None:
    """Sync the names in a folder to disk, where the file system does that; see `probe`.

    Parameters
    ----------
    folder
        The folder.
    inside
        Handle of a folder that `folder` is relative to.
    """
    handle = os.open(folder, os.O_RDONLY, dir_fd=inside)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Sync a folder and all in it to disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(Path(parent, name))
        sync_folder(parent)


def claim(path: Path) -> int | None:
    """Lock a file for as long as this process lives; None where the system has no such locks.

    Returns
    -------
    int or None
        The handle to close.

    Raises
    ------
    BlockingIOError
        If another process has locked it.
    """
    # Open for reading, or the file system could not be remounted read-only; NFS asks for more.
    for flags in (os.O_RDONLY, os.O_RDWR):
        handle = os.open(path, flags)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno == errno.EBADF and flags == os.O_RDONLY:
                continue
            if error.errno in UNSUPPORTED:
                return None
            raise
        return handle
    return None


def probe(folder: Path) -> list[str]:
    """Try what a job needs in a folder, and tell what is missing, and what follows from that."""
    lacking = []
    trial = folder / f"lock.probe.{uuid.uuid4().hex}"
    other = trial.with_name(f"{trial.name}.other")
    trial.touch()
    try:
        handle = claim(trial)
        if handle is not None:
            os.close(handle)
        else:
            lacking.append(
                "locks (flock): a run in another container or on another machine is known by its "
                "signs of life alone, and given up after 5 minutes without"
            )
        if not _works(lambda: os.link(trial, other)):
            lacking.append("hard links: the lock of the job is taken by a folder and a rename")
        if not _works(lambda: _fsync(folder)):
            lacking.append(
                "sync of folders: after a power cut, not a kill, tiles that are said to be done "
                "may be gone; run `tamrf-xr verify`"
            )
    finally:
        for path in (trial, other):
            path.unlink(missing_ok=True)
    return lacking


def tell_of_lacks(store: Path, folder: Path) -> None:
    """Warn of what the file system of a store does not have."""
    for lack in probe(folder):
        logger.warning("the file system of %s has no %s", store, lack)


def _works(call: Callable[[], object]) -> bool:
    try:
        call()
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True


def _fsync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

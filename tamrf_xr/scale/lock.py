"""One job at a time on a store, and no store locked for ever by a process that died.

The lock is a file that names its owner. It is stale where the owner ran on this host and is gone,
or ran elsewhere and has not touched the file for `SILENCE` seconds; a stale lock is taken over.
Were an owner only paused, both would write the same bytes under temporary names: no harm done.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from tamrf_xr.errors import JobError

BEAT, SILENCE = 20.0, 300.0
"""Seconds between two signs of life, and of silence after which an owner elsewhere is given up."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock."""

    host: str
    """Its machine."""

    pid: int
    """Its number there."""

    born: float
    """When it started, in seconds since 1970: numbers are used again."""

    since: str
    """When it took the lock."""

    token: str
    """Unique."""

    @classmethod
    def me(cls) -> Owner:
        """Return this process."""
        pid, now = os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
        return cls(socket.gethostname(), pid, _born(pid) or 0.0, now, uuid.uuid4().hex)

    def __str__(self) -> str:
        """Return words for a person."""
        return f"process {self.pid} on {self.host} since {self.since}"


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
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, stop), daemon=True, name="tamrf-lock")
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()
        if (owner := _read(path)) is not None and owner.token == me.token:
            path.unlink(missing_ok=True)


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(path)


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
        path.unlink(missing_ok=True)
        mine = path.with_name(f"{path.name}.{me.token}")
        mine.write_text(json.dumps(asdict(me)))
        try:
            os.link(mine, path)  # fails where another host was faster
        except FileExistsError:
            raise JobError(f"another run has just started on {path.parent.parent}") from None
        finally:
            mine.unlink()


@contextlib.contextmanager
def _guard(path: Path) -> Iterator[None]:
    """Keep processes of this host from taking over one stale lock at once."""
    with path.with_name(f"{path.name}.guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def owner_of(path: Path) -> Owner | None:
    """Return who holds a lock; None where it is free or stale."""
    owner = _read(path)
    return owner if owner is not None and _alive(owner, path) else None


def _read(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise JobError(f"lock {path} is damaged ({error}); delete it if no job runs") from error


def _alive(owner: Owner, path: Path) -> bool:
    if owner.host == socket.gethostname():
        born = _born(owner.pid)
        return born is not None and abs(born - owner.born) < 1
    return _silence(path) < SILENCE


def _born(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _silence(path: Path) -> float:
    """Return the seconds since the last sign of life, by the clock of the file system."""
    now = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    now.touch()
    try:
        return now.stat().st_mtime - path.stat().st_mtime
    finally:
        now.unlink()

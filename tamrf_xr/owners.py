"""Which process is which, and whether it still runs: across containers, clock steps and reboots.

A process is named by the boot of its machine, the namespace of its number, the number, and the
ticks from boot to its start, which no change of a clock moves. Of a process that this one cannot
see, signs of life decide: it touches a file every `BEAT` seconds.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psutil

BEAT, SILENCE = 5.0, 300.0
"""Seconds between two signs of life, and of silence after which an owner elsewhere is given up."""

WATCH = 3 * BEAT
"""Seconds for which one that seems silent is watched: a clock that was set makes silence too."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that holds something."""

    host: str
    """Its machine, for people to read."""

    pid: int
    """Its number there."""

    born: float
    """When it started, in seconds since 1970; of locks that older versions wrote."""

    since: str
    """When it took what it holds."""

    token: str
    """Unique."""

    boot: str = ""
    """The boot of its machine."""

    namespace: str = ""
    """Where its number counts: containers have one each."""

    ticks: int = 0
    """When it started, in clock ticks since the boot."""

    @classmethod
    def me(cls) -> Owner:
        """Return this process."""
        pid, now = os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
        born = 0.0 if boot() else psutil.Process().create_time()
        place = (boot(), namespace(), _ticks(pid) or 0)
        return cls(socket.gethostname(), pid, born, now, uuid.uuid4().hex, *place)

    def __str__(self) -> str:
        """Return words for a person."""
        return f"process {self.pid} on {self.host} since {self.since}"

    @property
    def tag(self) -> str:
        """A word for file names that tells this process from all others."""
        space = self.namespace.strip("pid:[]")
        return f"{self.boot[:8]}-{space}-{self.pid}-{self.ticks}"

    @property
    def near(self) -> bool:
        """Whether it ran under the kernel that runs this process."""
        return bool(self.boot) and self.boot == boot()


def runs(owner: Owner) -> bool | None:
    """Tell whether a process runs; None where that cannot be seen from here."""
    if not owner.boot:
        if owner.host != socket.gethostname():
            return None
        born = _born(owner.pid)
        return born is not None and abs(born - owner.born) < 1
    if not owner.near or owner.namespace != namespace() or not _sees_itself():
        return None
    return _ticks(owner.pid) == owner.ticks


def runs_tagged(tag: str) -> bool | None:
    """As `runs`, of the process that wrote a tag."""
    start, space, pid, ticks = tag.split("-")
    if (start, space) != tuple(own_tag().split("-")[:2]) or not start or not _sees_itself():
        return None
    return _ticks(int(pid)) == int(ticks)


def own_tag() -> str:
    """Return the `Owner.tag` of this process."""
    return _tag_of(os.getpid())


@cache
def _tag_of(_pid: int) -> str:
    return Owner.me().tag


@cache
def boot() -> str:
    """Return what names the boot of this machine; empty where it has no name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def namespace() -> str:
    """Return what names the numbers of processes that this one sees."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _sees_itself() -> bool:
    """Tell whether ``/proc`` counts as this process does."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _ticks(pid: int) -> int | None:
    """Return when a process started, in ticks since the boot; None where it is gone."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(fields[18])


def _born(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


@contextlib.contextmanager
def beating(path: Path) -> Iterator[None]:
    """Show signs of life on a file or folder, for the length of a context."""
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, stop), daemon=True, name="tamrf-heart")
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()


def _beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(path)


def is_silent(path: Path, *, watch: bool = True) -> bool:
    """Tell whether a file shows no signs of life: by its time, then by watching it.

    Parameters
    ----------
    path
        What its owner touches every `BEAT` seconds.
    watch
        Do not trust the clock alone: one that was set makes a silence of hours.
    """
    if _silence(path) < SILENCE:
        return False
    before, deadline = _touched(path), time.monotonic() + WATCH
    while watch and time.monotonic() < deadline:
        time.sleep(min(1.0, WATCH / 3))
        if _touched(path) != before:
            return False
    return True


def _silence(path: Path) -> float:
    """Return the seconds since the last sign of life, by the clock of the file system."""
    now = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        now.touch()
        return now.stat().st_mtime - path.stat().st_mtime
    except OSError:
        return 0.0  # gone meanwhile, or a file system that is only read
    finally:
        with contextlib.suppress(OSError):
            now.unlink()


def _touched(path: Path) -> int | None:
    # Opened, not only looked at: network file systems then ask the server.
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.fstat(handle).st_mtime_ns
    finally:
        os.close(handle)

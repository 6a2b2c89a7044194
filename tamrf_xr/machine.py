"""What of this machine a process may use: not what the machine has, in a container or a batch job.

Limits of cgroups are those of SLURM, Kubernetes, Docker and systemd: a process beyond its share of
memory is killed, whatever the machine has left.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
from dask.system import cpu_count

_OF_SELF: Path = Path("/proc/self/cgroup")
_MOUNTED: Path = Path("/sys/fs/cgroup")
_UNLIMITED: Final = 1 << 60
"""Version 1 says so with a number near 2 to the 63."""


def usable_cores() -> int:
    """Return the cores that this process may use: its affinity, and the quota of its cgroup."""
    return max(1, int(cpu_count() or 1))


def available_memory() -> int:
    """Return the bytes that this process may still take.

    Of the machine, and of every cgroup that it is in; files kept in memory count as free, since
    they are dropped for whoever needs it.
    """
    return max(0, min(psutil.virtual_memory().available, *_left()))


def memory_limit() -> int:
    """Return the bytes that this process may take in all: of its cgroups, or of the machine."""
    limits = (limit for folder, version in _groups() if (limit := _limit(folder, version)))
    return min(psutil.virtual_memory().total, *limits, _UNLIMITED)


def _left() -> Iterator[int]:
    yield _UNLIMITED
    for folder, version in _groups():
        if limit := _limit(folder, version):
            name = "memory.current" if version == 2 else "memory.usage_in_bytes"
            yield limit - (_number(folder / name) or 0) + _reclaimable(folder, version)


def _groups() -> Iterator[tuple[Path, int]]:
    """List the folders of the memory cgroups around this process, and of which version they are.

    A path that the machine names may not be there inside a container, whose own group is mounted
    as the root: folders around it are looked at too.
    """
    try:
        lines = _OF_SELF.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            root, version = _MOUNTED, 2
        elif "memory" in controllers.split(","):
            root, version = _MOUNTED / "memory", 1
        else:
            continue
        parts = Path(path.lstrip("/")).parts
        for depth in range(len(parts), -1, -1):
            yield root.joinpath(*parts[:depth]), version


def _limit(folder: Path, version: int) -> int | None:
    limit = _number(folder / ("memory.max" if version == 2 else "memory.limit_in_bytes"))
    return limit if limit is not None and limit < _UNLIMITED else None


def _reclaimable(folder: Path, version: int) -> int:
    prefix = "" if version == 2 else "total_"
    wanted = {f"{prefix}inactive_file", f"{prefix}active_file"}
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(value) for name, value in map(str.split, lines) if name in wanted)


def _number(path: Path) -> int | None:
    """Return what a file of a cgroup says; None where it is not there, or says ``max``."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None

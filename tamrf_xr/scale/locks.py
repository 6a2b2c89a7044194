"""The lock of a job, of whatever kind the place of its store has."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tamrf_xr.commits import Target
from tamrf_xr.owners import Owner
from tamrf_xr.places import FOLDER, Objects
from tamrf_xr.scale import lock, objectlock


def lock_on(target: Target) -> AbstractContextManager[None]:
    """Return a context that holds the lock of a target; its commits are Icechunk's own."""
    if isinstance(target, Path):
        return lock.held(target / FOLDER / lock.LOCK)
    return objectlock.held(target) if isinstance(target, Objects) else nullcontext()


def owner_at(target: Target) -> Owner | None:
    """Return who is at work on a target; None where nobody is, or nobody can tell."""
    if isinstance(target, Path):
        return lock.owner_of(target / FOLDER / lock.LOCK, watch=False)
    return objectlock.owner_of(target) if isinstance(target, Objects) else None

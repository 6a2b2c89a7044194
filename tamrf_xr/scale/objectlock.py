"""One job at a time on a store in an object store, which knows neither processes nor rename.

The lock is an object that names its owner. Where the service takes conditional PUTs, it is created
by ``If-None-Match``, and taken over from an owner that is gone by ``If-Match``: of any number that
try, one succeeds. Where it does not, each run writes a claim of its own and then lists them all: of
two that start at once at least one sees the other, and who sees another gives up. An owner shows
signs of life by writing its object again; the service's clock tells how long it has been silent.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from tamrf_xr.errors import JobError
from tamrf_xr.interrupt import before_end
from tamrf_xr.owners import SILENCE, Owner, runs
from tamrf_xr.places import FOLDER, Found, Objects
from tamrf_xr.scale.lock import LOCK

logger = logging.getLogger(__name__)

NAME = f"{FOLDER}/{LOCK}"
CLAIMS = f"{FOLDER}/claims"

BEAT = 30.0
"""Seconds between two signs of life: each is a PUT."""

_KEPT: dict[str, tuple[Objects, str]] = {}
"""Per token of a lock of this process, where it lies."""


def let_go_of_all() -> None:
    """Let go of what this process holds: for one that is about to end, whatever it is at."""
    for token in list(_KEPT):
        with contextlib.suppress(OSError, JobError):
            _let_go(token)


before_end(let_go_of_all)


@contextlib.contextmanager
def held(place: Objects) -> Iterator[None]:
    """Hold the lock of a place.

    Raises
    ------
    JobError
        If another process holds it.
    """
    me = Owner.me()
    name = _acquired(place, me)
    _KEPT[me.token] = place, name
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(place, name, me, stop), daemon=True)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()
        _let_go(me.token)


def _acquired(place: Objects, me: Owner) -> str:
    if is_conditional(place):
        _take(place, me)
        return NAME
    logger.warning(
        "%s has no conditional PUT (If-None-Match): runs that start at once are told apart by "
        "claims that each lists, and may all be refused",
        place,
    )
    return _claim(place, me)


def is_conditional(place: Objects) -> bool:
    """Tell, by trying, whether a service creates an object only where there is none."""
    name = f"{FOLDER}/{LOCK}.probe.{uuid.uuid4().hex}"
    try:
        return place.create(name, b"") and not place.create(name, b"")
    except NotImplementedError:
        return False
    finally:
        place.delete([name])


def _take(place: Objects, me: Owner) -> None:
    if place.create(NAME, _text(me)):
        return
    found = _look(place, NAME)
    if found is None:  # let go of meanwhile
        if place.create(NAME, _text(me)):
            return
        found = place.look(NAME)
    owner = _owner(place, NAME, found)
    if _alive(place, NAME, owner, found):
        raise _busy(place, owner, NAME)
    if not place.swap(NAME, _text(me), found.tag):
        raise JobError(f"another run has just started on {place}")


def _claim(place: Objects, me: Owner) -> str:
    mine = f"{CLAIMS}/{me.token}"
    place.write(mine, _text(me))
    try:
        for other in [f"{CLAIMS}/{name}" for name in place.names(CLAIMS)] + [NAME]:
            found = None if other == mine else _look(place, other)
            if found is None:
                continue
            owner = _owner(place, other, found)
            if _alive(place, other, owner, found):
                raise _busy(place, owner, other)
            place.delete([other])
    except BaseException:
        place.delete([mine])
        raise
    return mine


def _busy(place: Objects, owner: Owner, name: str) -> JobError:
    return JobError(
        f"another run is at work on {place}: {owner}; wait for it, stop it, or name another "
        f"store. If you are sure that it is gone, delete {place}/{name}"
    )


def owner_of(place: Objects) -> Owner | None:
    """Return who holds the lock of a place; None where it is free, or its owner is silent."""
    try:
        claims = [f"{CLAIMS}/{name}" for name in place.names(CLAIMS)]
    except (FileNotFoundError, OSError):  # a web server lists nothing
        claims = []
    for name in [NAME, *claims]:
        found = _look(place, name)
        if found is not None:
            owner = _owner(place, name, found)
            if _alive(place, name, owner, found, watch=False):
                return owner
    return None


def _look(place: Objects, name: str) -> Found | None:
    try:
        return place.look(name)
    except FileNotFoundError:
        return None


def _owner(place: Objects, name: str, found: Found) -> Owner:
    try:
        return Owner(**json.loads(found.data)["owner"])
    except (ValueError, TypeError, KeyError) as error:
        raise JobError(
            f"lock {place}/{name} is damaged ({error}); delete it if no job runs"
        ) from error


def _alive(place: Objects, name: str, owner: Owner, found: Found, *, watch: bool = True) -> bool:
    """Tell whether an owner runs: seen among the processes here, else by its signs of life."""
    seen = runs(owner)
    if seen is not None:
        return seen
    if (_now(place) - found.written).total_seconds() < SILENCE:
        return True
    if not watch:
        return False
    # A clock that was set makes silence too.
    deadline = time.monotonic() + 2 * BEAT
    while time.monotonic() < deadline:
        time.sleep(min(1.0, BEAT / 10))
        now = _look(place, name)
        if now is None or now.tag != found.tag:
            return now is not None
    return False


def _now(place: Objects) -> datetime:
    """Return the time by the clock of the service."""
    name = f"{FOLDER}/{LOCK}.probe.{uuid.uuid4().hex}"
    try:
        place.write(name, b"")
        return place.look(name).written
    except OSError:  # only read
        return datetime.now(UTC)
    finally:
        with contextlib.suppress(OSError):
            place.delete([name])


def _text(me: Owner, beats: int = 0) -> bytes:
    # Counted: the tag of an object may be a hash of its content.
    return json.dumps({"owner": asdict(me), "beats": beats}).encode()


def _beat(place: Objects, name: str, me: Owner, stop: threading.Event) -> None:
    beats = 0
    while not stop.wait(BEAT):
        beats += 1
        with contextlib.suppress(OSError, JobError):
            found = place.look(name)
            if _owner(place, name, found).token != me.token:
                return  # taken over: who did has the same to write
            if name == NAME:
                place.swap(name, _text(me, beats), found.tag)
            else:
                place.write(name, _text(me, beats))


def _let_go(token: str) -> None:
    place, name = _KEPT.pop(token, (None, ""))
    if place is None:
        return
    # A store that may not be written any more keeps the lock: its owner is gone all the same.
    with contextlib.suppress(OSError):
        found = _look(place, name)
        if found is not None and _owner(place, name, found).token == token:
            place.delete([name])

"""A job in an Icechunk repository: commits of tiles on a branch that no reader looks at.

Icechunk holds nodes of Zarr and nothing else, and every commit is a state of the whole: so what a
job keeps in a folder beside its store (`tamrf_xr.scale.ledger`) lies in the metadata of commits,
each of which says what changed of it. The branch of the job is where tiles go; ``main`` is moved to
it, and a tag made, when the last one is done: a reader sees the whole product or the one before.
One session of one process writes. Another run on the branch is refused by its own first commit, for
a commit names the one before it.
"""

from __future__ import annotations

import functools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from tamrf_xr.errors import OptionError, SourceNotFoundError, StoreError, StoreReplacedError
from tamrf_xr.paths import local_path
from tamrf_xr.places import FOLDER, ICECHUNK, Objects, StorageOptions, refusal

if TYPE_CHECKING:
    from zarr.abc.store import Store

BRANCH, MAIN = "tamrf-job", "main"

SECONDS, TILES = 30.0, 512
"""A commit is made after so long, or so many tiles: what a kill costs at most."""

_NOTES = "tamrf_notes"
"""Metadata of a commit: names of the ledger and their text, None of what was removed."""


Method = TypeVar("Method", bound=Callable[..., Any])


def _asks(method: Method) -> Method:
    """Let a method of `Commits` raise what icechunk raises as `_told` does."""

    @functools.wraps(method)
    def told(self: Commits, *given: Any) -> Any:
        with _told(self):
            return method(self, *given)

    return cast("Method", told)


class Commits:
    """The branch of a job in a repository: a `tamrf_xr.places.Place`."""

    def __init__(self, name: str, repository: Any) -> None:
        """Take the repository of icechunk, and what it is called."""
        self._name, self._repository = name, repository
        self._session: Any = None
        self._notes: dict[str, str] | None = None
        self._pending: dict[str, str | None] = {}
        self._turn = threading.Condition()
        self._writing, self._committing, self._lost = 0, False, False
        self._head, self._since = "", time.monotonic()

    def __str__(self) -> str:
        """Return its name."""
        return self._name

    # What a job asks of a place

    @_asks
    def read(self, name: str) -> bytes:
        """Return a note, or what Zarr holds."""
        if name.startswith(f"{FOLDER}/"):
            try:
                return self._known()[name].encode()
            except KeyError:
                raise FileNotFoundError(f"{self}/{name}") from None
        found = sync(self.zarr_store().get(name, default_buffer_prototype()))
        if found is None:
            raise FileNotFoundError(f"{self}/{name}")
        return found.to_bytes()

    def write(self, name: str, data: bytes | None) -> None:
        """Write a key of Zarr; it is safe with the next commit."""
        with _told(self, name), self._writer() as session:
            if data is None:
                sync(session.store.delete(name))
            else:
                buffer = default_buffer_prototype().buffer.from_bytes(data)
                sync(session.store.set(name, buffer))

    def note(self, name: str, data: bytes) -> None:
        """Note something; it is safe, with all that was written before, with the next commit."""
        with self._turn:
            self._known()[name] = self._pending[name] = data.decode()
            tiles = len(self._pending)
            due = time.monotonic() - self._since > SECONDS or tiles >= TILES
        if due:
            self.commit(f"{tiles} records")

    @_asks
    def size(self, name: str) -> int | None:
        """Return how many bytes a name holds."""
        if name.startswith(f"{FOLDER}/"):
            known = self._known()
            return len(known[name].encode()) if name in known else None
        try:
            return int(sync(self.zarr_store().getsize(name)))
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """List the notes of a folder."""
        notes = list(self._known())
        return [name.rpartition("/")[2] for name in notes if name.rpartition("/")[0] == folder]

    def delete(self, names: list[str]) -> None:
        """Remove notes, for good."""
        with self._turn:
            for name in names:
                if self._known().pop(name, None) is not None:
                    self._pending[name] = None
        self.commit("removed records")

    def zarr_store(self) -> Store:
        """Return the job's branch as zarr reads it, with what is not committed yet."""
        store: Store = self._open().store
        return store

    # Commits

    def commit(self, message: str) -> None:
        """Make what was written and noted one state.

        Raises
        ------
        StoreReplacedError
            If another run has committed since.
        """
        with self._turn:
            if self._lost:
                raise StoreReplacedError(self._why_lost())
            self._turn.wait_for(lambda: not self._committing)
            self._committing = True  # no tile begins to write
            try:
                self._turn.wait_for(lambda: not self._writing)
                self._commit(message)
            finally:
                self._committing = False
                self._turn.notify_all()

    def _commit(self, message: str) -> None:
        import icechunk

        if self._pending:
            metadata = {_NOTES: json.dumps(self._pending)}
            try:
                with _told(self, "a commit"):
                    self._head = str(_changed(self._open()).commit(message, metadata=metadata))
            except icechunk.ConflictError as error:
                self._lost = True  # with the session, and all that it wrote
                raise StoreReplacedError(self._why_lost()) from error
            self._session, self._pending, self._since = None, {}, time.monotonic()

    def committed(self, folder: str) -> list[str]:
        """List the notes of a folder that a commit holds: the others go with this process."""
        with self._turn:
            pending = {name.rpartition("/")[2] for name in self._pending}
            return [name for name in self.names(folder) if name not in pending]

    @_asks
    def publish(self, tag: str = "") -> None:
        """Make what the branch holds what readers see, and tag it: with a number, once mended."""
        head = self._repository.lookup_branch(BRANCH)
        if self._repository.lookup_branch(MAIN) != head:
            self._repository.reset_branch(MAIN, head)
        like = [name for name in self._repository.list_tags() if name.partition(".")[0] == tag]
        if tag and head not in map(self._repository.lookup_tag, like):
            self._repository.create_tag(f"{tag}.{len(like) + 1}" if like else tag, head)

    @_asks
    def seen(self) -> Store:
        """Return what readers see, as zarr reads it."""
        store: Store = self._repository.readonly_session(MAIN).store
        return store

    @property
    @_asks
    def begun(self) -> bool:
        """Whether a job has a branch here."""
        return BRANCH in self._repository.list_branches()

    @property
    @_asks
    def finished(self) -> bool:
        """Whether readers see anything."""
        first = str(self._repository.lookup_branch(MAIN))
        return len(list(self._repository.ancestry(snapshot_id=first))) > 1

    @_asks
    def begin(self) -> Store:
        """Give an empty branch to lay a product out on; what readers see stays."""
        first = [one.id for one in self._repository.ancestry(branch=MAIN)][-1]
        if self.begun:
            self._repository.reset_branch(BRANCH, first)
        else:
            self._repository.create_branch(BRANCH, first)
        self._session, self._notes, self._pending, self._head = None, None, {}, ""
        return self.zarr_store()

    @_asks
    def _open(self) -> Any:
        with self._turn:
            if self._lost:
                raise StoreReplacedError(self._why_lost())
            if self._session is None:
                self._session = self._repository.writable_session(BRANCH)
                head = str(self._session.snapshot_id)
                if self._head not in {"", head}:
                    self._lost = True
                    raise StoreReplacedError(self._why_lost())
                self._head = head
            return self._session

    @contextmanager
    def _writer(self) -> Iterator[Any]:
        """Give the session, and keep it from being committed meanwhile."""
        with self._turn:
            self._turn.wait_for(lambda: not self._committing)
            session = self._open()
            self._writing += 1
        try:
            yield session
        finally:
            with self._turn:
                self._writing -= 1
                self._turn.notify_all()

    def _why_lost(self) -> str:
        return (
            f"another run is at work on {self}, and has committed since this one began; stop one "
            "of them, and run again"
        )

    def _known(self) -> dict[str, str]:
        with self._turn:
            if self._lost:
                raise StoreReplacedError(self._why_lost())
            if self._notes is None:
                self._notes = self._told() if self.begun else {}
            return self._notes

    @_asks
    def _told(self) -> dict[str, str]:
        """Read what the commits of the branch say, the oldest first."""
        notes: dict[str, str] = {}
        chain = list(self._repository.ancestry(branch=BRANCH))
        self._head = self._head or str(chain[0].id)
        for one in reversed(chain):
            for name, text in json.loads(one.metadata.get(_NOTES, "{}")).items():
                if text is None:
                    notes.pop(name, None)
                else:
                    notes[name] = text
        return notes


Target = Path | Objects | Commits
"""Where something is written."""


@contextmanager
def _told(commits: Commits | str, what: str = "") -> Iterator[None]:
    """Raise what icechunk raises as the `OSError` that fits; a conflict stays what it is."""
    import icechunk

    try:
        yield
    except icechunk.ConflictError:
        raise
    except icechunk.IcechunkError as error:
        # It is drawn for a terminal: broken into lines, with a frame, and what led there.
        words = " ".join(str(error).partition("context:")[0].replace("|", " ").split())
        words, (_, arrow, cause) = words.removeprefix("x "), str(error).rpartition("-> ")
        system = _SYSTEM.search(words)
        number = int(system[1]) if system else refusal(cause)
        said = f"{words} ({cause.strip()})" if arrow and cause.strip() not in words else words
        raise StoreError(number, said, f"{commits}/{what}".rstrip("/")) from error


_SYSTEM = re.compile(r"\(os error (\d+)\)")
"""What the system said, in the words of Rust."""


def _changed(session: Any) -> Any:
    """Return a session that can be committed: icechunk 1 refuses one without a change."""
    if not session.has_uncommitted_changes:
        prototype = default_buffer_prototype()
        root = sync(session.store.get("zarr.json", prototype)).to_bytes()
        # The same document, a space longer or shorter: the same bytes would be no change.
        other = root[:-1] if root.endswith(b" ") else root + b" "
        sync(session.store.set("zarr.json", prototype.buffer.from_bytes(other)))
    return session


def repository_at(store: Any, what: str, options: StorageOptions, *, write: bool) -> Commits:
    """Open a repository.

    Parameters
    ----------
    store
        ``icechunk://PATH``, ``icechunk://s3://bucket/prefix``, or a repository of icechunk.
    what
        What is there, for errors.
    options
        Of ``icechunk.s3_storage``.
    write
        Whether to create one where there is none.

    Raises
    ------
    OptionError
        If icechunk is not installed, or the place is none that it knows.
    SourceNotFoundError
        If there is none to read.
    StoreError
        If it cannot be reached.
    """
    if not isinstance(store, str):
        return Commits(f"Icechunk repository {store.storage}", store)
    try:
        import icechunk
    except ImportError as error:
        raise OptionError(
            f"the {what} {store} needs icechunk: pip install 'tamrf-xr[cloud]'"
        ) from error
    storage = _storage(store, what, options)
    with _told(store):
        if write:
            return Commits(store, icechunk.Repository.open_or_create(storage))
        if not icechunk.Repository.exists(storage):
            raise SourceNotFoundError(f"no Icechunk repository at {store}; found nothing there")
        return Commits(store, icechunk.Repository.open(storage))


def _storage(url: str, what: str, options: StorageOptions) -> Any:
    import icechunk

    rest = url.partition("://")[2]
    if rest.startswith("s3://"):
        bucket, _, prefix = rest.removeprefix("s3://").partition("/")
        return _s3(url, what, bucket=bucket, prefix=prefix or None, options=dict(options or {}))
    if "://" in rest or not rest.strip("/"):
        raise OptionError(
            f"the {what} is {url}; expected {ICECHUNK}://PATH or {ICECHUNK}://s3://bucket/prefix, "
            "or a repository that icechunk opened"
        )
    return icechunk.local_filesystem_storage(str(local_path(rest, what).absolute()))


def _s3(url: str, what: str, *, bucket: str, prefix: str | None, options: dict[str, Any]) -> Any:
    import icechunk

    known = [name for name in signature(icechunk.s3_storage).parameters if name != "bucket"]
    if unknown := [name for name in options if name not in known]:
        raise OptionError(
            f"the {what} {url} cannot be opened with the options {', '.join(unknown)}; those of "
            f"icechunk.s3_storage are {', '.join(known)}"
        )
    return icechunk.s3_storage(bucket=bucket, prefix=prefix, **options)

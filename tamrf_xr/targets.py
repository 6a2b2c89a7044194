"""Where a store lies, from what a user named: a folder, an object store or a repository."""

from __future__ import annotations

from typing import Any

from tamrf_xr.commits import Commits, Target, repository_at
from tamrf_xr.errors import OptionError
from tamrf_xr.paths import local_path
from tamrf_xr.places import (
    ICECHUNK,
    Objects,
    StorageOptions,
    from_zarr,
    is_remote,
    objects,
    scheme_of,
)


def opened(store: Any, what: str, options: StorageOptions = None, *, write: bool = True) -> Target:
    """Open the place of a store.

    Parameters
    ----------
    store
        A path, a URL, a Zarr store object, or a repository of Icechunk.
    what
        What is there, for errors.
    options
        As of `tamrf_xr.open_cube`.
    write
        Whether it is to be written.

    Raises
    ------
    OptionError
        If the place is none, or cannot be written.
    """
    if isinstance(store, (Objects, Commits)):
        return store
    if not is_remote(store):
        return local_path(store, what)
    if is_icechunk(store):
        return repository_at(store, what, options, write=write)
    if isinstance(store, str) or hasattr(store, "__fspath__"):
        return objects(str(store), what, options, write=write)
    return from_zarr(store, what)


def seen(store: Any, what: str, options: StorageOptions = None) -> Target | None:
    """As `opened`, to read; None of what only zarr can read."""
    from zarr.abc.store import Store
    from zarr.storage import LocalStore, ObjectStore

    if isinstance(store, Store) and not isinstance(store, (LocalStore, ObjectStore)):
        return None
    return opened(store, what, options, write=False)


def check_travels(target: Target) -> None:
    """Refuse a place that one process alone can write, where several shall.

    Raises
    ------
    OptionError
        If it is Icechunk, or in memory.
    """
    if isinstance(target, Commits):
        raise OptionError(
            f"{target} is Icechunk, which one process writes; run without client= and cluster=, or "
            "write to a path or an object store and copy"
        )
    if isinstance(target, Objects) and scheme_of(target.url) == "memory":
        raise OptionError(
            f"{target} is in the memory of this process, which no worker sees; run without client= "
            "and cluster=, or name another store"
        )


def is_icechunk(store: Any) -> bool:
    """Tell whether a store is a repository of Icechunk, or a URL of one."""
    if isinstance(store, str):
        return scheme_of(store) == ICECHUNK
    return type(store).__module__.partition(".")[0] == ICECHUNK and hasattr(store, "ancestry")

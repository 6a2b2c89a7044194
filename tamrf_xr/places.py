"""Places that hold stores and are no folders: object stores by URL, and Zarr store objects.

An object store knows no folders and no rename. What it has, and what is used here: an object is
written whole by one PUT or not at all; where the service takes ``If-None-Match``, one of any number
of writers creates it; what was written is listed at once (S3, GCS and Azure promise that).
"""

from __future__ import annotations

import contextlib
import errno
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from tamrf_xr.errors import OptionError, StoreError
from tamrf_xr.paths import is_url

if TYPE_CHECKING:
    from zarr.abc.store import Store

WRITABLE = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "memory")
READABLE = (*WRITABLE, "http", "https")
"""Schemes of URLs."""

ICECHUNK = "icechunk"

FOLDER = ".tamrf_job"
"""Where a store keeps what it knows of its job."""

PATIENCE = {
    "max_retries": 4,
    "backoff": {
        "init_backoff": timedelta(seconds=0.2),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
    "retry_timeout": timedelta(seconds=60),
}
"""How often a request that fails is tried again (obstore's ``retry_config``)."""

_CODE = r'(?:<Code>|code: ")'
_REFUSALS = {
    errno.ENOSPC: r"non-2xx status code: 507\b|" + _CODE + "(?:InsufficientStorage|QuotaExceeded"
    r"|XMinioAdminBucketQuotaExceeded|XMinioStorageFull|EntityTooLarge)\b",
    errno.EACCES: _CODE + "(?:AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken"
    r"|InvalidToken)\b",
}
"""What services answer that have no room, or do not allow a request: a status, codes of S3, as
obstore and icechunk tell them."""

StorageOptions = Mapping[str, Any] | None


class Place(Protocol):
    """What a job asks of the place that holds its store; names are relative, parts joined by /."""

    def read(self, name: str) -> bytes:
        """Return what a name holds; `FileNotFoundError` where it holds nothing."""

    def write(self, name: str, data: bytes | None) -> None:
        """Write whole and for good, or not at all; None removes what an earlier run left there."""

    def note(self, name: str, data: bytes) -> None:
        """Write a small record whose name is what counts."""

    def size(self, name: str) -> int | None:
        """Return how many bytes a name holds; None where it holds nothing."""

    def names(self, folder: str) -> list[str]:
        """List the names in a folder, without those in folders of it; FileNotFoundError if none."""

    def delete(self, names: list[str]) -> None:
        """Remove names, where they are there, for good."""

    def zarr_store(self) -> Store:
        """Return the place as zarr reads it."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object, when it was looked at."""

    data: bytes
    tag: str
    """Changes with the content."""

    written: datetime
    """By the clock of the service."""


@dataclass(frozen=True, slots=True)
class Objects:
    """A place in an object store."""

    url: str
    store: Any = field(repr=False, compare=False)
    """Of obstore; names are relative to the URL."""

    def __str__(self) -> str:
        """Return the URL."""
        return self.url

    @property
    def lists(self) -> bool:
        """Whether the names there can be listed: web servers do not."""
        return scheme_of(self.url) not in {"http", "https"}

    def read(self, name: str) -> bytes:
        """Return an object."""
        return self.look(name).data

    def look(self, name: str) -> Found:
        """Return an object and what tells it from others of its name."""
        import obstore

        with _told(self, name):
            got = obstore.get(self.store, name)
            meta = got.meta
            return Found(bytes(got.bytes()), str(meta["e_tag"] or ""), meta["last_modified"])

    def write(self, name: str, data: bytes | None) -> None:
        """Write an object by one PUT."""
        import obstore

        if data is None:
            self.delete([name])
            return
        with _told(self, name):
            obstore.put(self.store, name, data, use_multipart=False)

    note = write

    def create(self, name: str, data: bytes) -> bool:
        """Write an object that is not there, by ``If-None-Match``.

        Raises
        ------
        NotImplementedError
            If the store has no such thing.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with _told(self, name):
            try:
                obstore.put(self.store, name, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def swap(self, name: str, data: bytes, tag: str) -> bool:
        """Write an object if it still has a tag, by ``If-Match``."""
        import obstore
        from obstore.exceptions import PreconditionError

        with _told(self, name):
            try:
                obstore.put(self.store, name, data, mode={"e_tag": tag}, use_multipart=False)
            except (PreconditionError, FileNotFoundError):
                return False
        return True

    def size(self, name: str) -> int | None:
        """Return the bytes of an object."""
        import obstore

        with _told(self, name):
            try:
                return int(obstore.head(self.store, name)["size"])
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        """List the objects of a folder."""
        import obstore

        with _told(self, folder):
            found = obstore.list_with_delimiter(self.store, folder or None)["objects"]
        return [str(meta["path"]).rpartition("/")[2] for meta in found]

    def all_names(self, folder: str = "") -> Iterator[tuple[str, int]]:
        """List every object and its bytes, in folders of folders too."""
        import obstore

        with _told(self, folder):
            for batch in obstore.list(self.store, folder or None):
                yield from ((str(meta["path"]), int(meta["size"])) for meta in batch)

    def delete(self, names: list[str]) -> None:
        """Remove objects, many by one request where the service has that."""
        import obstore

        with _told(self, names[0] if names else ""):
            try:
                obstore.delete(self.store, names)
            except FileNotFoundError:  # memory refuses what others pass over
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        obstore.delete(self.store, name)

    def zarr_store(self) -> Store:
        """Return the place as zarr reads it."""
        from zarr.storage import ObjectStore

        return ObjectStore(self.store)


_METADATA = "169.254.169.254"
"""Whom obstore asks for credentials where none are given: machines of clouds answer there."""


@contextmanager
def _told(place: Objects, name: str) -> Iterator[None]:
    """Raise what obstore raises as the `OSError` that fits, naming the object."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "nothing there", f"{place.url}/{name}") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        number, words = refusal(str(error)), _first_line(error)
        if number != errno.ENOSPC:  # some are full with a 403
            number, words = errno.EACCES, f"not allowed: {words}"
        raise StoreError(number, words, f"{place.url}/{name}") from error
    except exceptions.NotSupportedError as error:
        raise NotImplementedError(f"{place.url}: {_first_line(error)}") from error
    except exceptions.BaseError as error:
        if _METADATA in str(error):
            words = (
                "no credentials were found; give them in storage_options or the environment "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or skip_signature=True for what is "
                "open to all"
            )
            raise StoreError(errno.EACCES, words, f"{place.url}/{name}") from error
        raise StoreError(refusal(str(error)), _first_line(error), f"{place.url}/{name}") from error


def refusal(words: str) -> int:
    """Return the errno of what a service answered: ENOSPC, EACCES, or EIO for anything else.

    Its answer alone is looked at: names of objects and times it took may hold the same digits.
    """
    found = (number for number, said in _REFUSALS.items() if re.search(said, words))
    return next(found, errno.EIO)


def unreadable() -> tuple[type[Exception], ...]:
    """Return what readers raise of a store that is none, or cannot be reached."""
    known = (OSError, ValueError, KeyError, TypeError, ImportError)
    try:
        from obstore.exceptions import BaseError
    except ImportError:
        return known
    return (*known, BaseError)


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


_MEMORY: dict[str, Any] = {}
_MEMORY_LOCK = threading.Lock()
"""Stores in the memory of this process, by their URL."""


def is_remote(place: Any) -> bool:
    """Tell whether something is a URL of another scheme than ``file:``, or a store object."""
    if not isinstance(place, str) and not hasattr(place, "__fspath__"):
        return True
    text = str(place)
    return is_url(text) and not text.lower().startswith("file:")


def scheme_of(url: str) -> str:
    """Return the scheme of a URL, also of one that `pathlib.Path` cut to ``s3:/``."""
    return url.partition(":")[0].lower()


def objects(url: str, what: str, options: StorageOptions = None, *, write: bool) -> Objects:
    """Open a place in an object store.

    Parameters
    ----------
    url
        ``s3://bucket/path``, ``gs://``, ``az://``, ``memory://``; ``https://`` to read.
    what
        What is there, for errors.
    options
        Of obstore: keys of its configuration such as ``region`` and ``endpoint``, besides
        ``client_options`` and ``retry_config``. What is not given comes from the environment.
    write
        Whether it is to be written.

    Raises
    ------
    OptionError
        If the URL cannot be, or an option is unknown; or obstore is not installed.
    """
    scheme = scheme_of(url)
    known = WRITABLE if write else READABLE
    if scheme not in known or "://" not in url or not _is_whole(url):
        named = ", ".join(f"{one}://" for one in known)
        only = " (https:// is only read)" if write and scheme in {"http", "https"} else ""
        raise OptionError(
            f"the {what} is {url!r}{only}; name a path on a local or shared file system, or a URL "
            f"with bucket and name: {named}"
        )
    if scheme == "memory":
        return _in_memory(url)
    return Objects(url.rstrip("/"), _opened(url.rstrip("/"), what, dict(options or {})))


OF_THE_CLIENT = ("allow_http", "allow_invalid_certificates")
"""Options of the HTTP client that users look for among those of the store."""


def _is_whole(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.netloc) and (parts.scheme == "memory" or bool(parts.path.strip("/")))


def _in_memory(url: str) -> Objects:
    from obstore.store import MemoryStore

    name = url.rstrip("/")
    with _MEMORY_LOCK:
        return Objects(name, _MEMORY.setdefault(name, MemoryStore()))


def _opened(url: str, what: str, options: dict[str, Any]) -> Any:
    try:
        from obstore import store as stores
    except ImportError as error:
        raise OptionError(
            f"the {what} {url} needs obstore: pip install 'tamrf-xr[cloud]'"
        ) from error
    client = {n: options.pop(n) for n in OF_THE_CLIENT if n in options}
    client |= options.pop("client_options", None) or {}
    retries = options.pop("retry_config", None) or PATIENCE
    if url.startswith("http://") or str(options.get("endpoint", "")).startswith("http://"):
        client = {"allow_http": True, **client}
    try:
        make: Any = stores.from_url  # its types ask for a scheme that is known beforehand
        return make(url, config=options, client_options=client or None, retry_config=retries)
    except BaseException as error:
        # obstore's errors of configuration share no class but Exception; a panic of Rust has not
        # even that.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise OptionError(
            f"the {what} {url} cannot be opened with the options "
            f"{', '.join(options) or 'of the environment'}: {_first_line(error)}"
        ) from error


def within(one: str, other: str) -> bool:
    """Tell whether two URLs are one, or one lies in the other."""
    first, second = (f"{url.rstrip('/')}/" for url in (one, other))
    return first.startswith(second) or second.startswith(first)


def from_zarr(store: Any, what: str) -> Path | Objects:
    """Return the place of a Zarr store object: a folder or an object store.

    Raises
    ------
    OptionError
        If it is of another kind, which has no names that could be locked or listed.
    """
    from zarr.storage import LocalStore, ObjectStore

    if isinstance(store, LocalStore):
        return Path(store.root)
    if isinstance(store, ObjectStore):
        return Objects(str(store), store.store)
    raise OptionError(
        f"the {what} is a {type(store).__name__}, which is not written to; expected a path, a URL, "
        "zarr.storage.LocalStore or ObjectStore, or an Icechunk repository"
    )

"""Files of a Zenodo record: listed by its API, fetched by pooch, resumed, verified, kept.

A record never changes once it is published, so what was read of it once is not asked again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tamrf_xr.errors import DownloadError, OptionError, StoreFullError
from tamrf_xr.paths import cache_folder
from tamrf_xr.replacing import fresh_file

API, SITE = "https://zenodo.org/api/records", "https://zenodo.org/records"
MIRROR = "TAMRF_XR_ZENODO"
"""Variable of the environment that names another place of the API."""

TIMEOUT = 60
"""Seconds in which a server must say something."""

BLOCK = 2**16
TRIES = 3


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a record."""

    name: str
    """Its name there."""

    size: int
    """In bytes."""

    checksum: str
    """As pooch has it: ``"md5:..."``."""

    url: str
    """Where it is read."""


@dataclass(frozen=True, slots=True)
class Record:
    """What Zenodo says of a record."""

    number: int
    """In its address."""

    citation: str
    """Authors, year, title, DOI."""

    license: str
    """Its identifier; empty where none is stated."""

    files: tuple[RemoteFile, ...]
    """All of them."""

    def __str__(self) -> str:
        """Return what is to be known before it is used."""
        return f"{self.citation}\nlicence: {self.license or 'not stated'}; please cite it"


def read_record(number: int, *, manual: str) -> Record:
    """Read what a record holds; what was read before is not asked again.

    Parameters
    ----------
    number
        In its address.
    manual
        What to do by hand with its files, for errors.

    Raises
    ------
    DownloadError
        If there is no such record, it cannot be reached, or it is not as the API has it.
    """
    kept = cache_folder() / "zenodo" / f"{number}.json"
    if not kept.exists():
        text = _ask(number, manual)
        _parsed(json.loads(text), number)
        with _writable(kept.parent), fresh_file(kept) as partial:
            partial.write_text(text)
    return _parsed(json.loads(kept.read_text()), number)


def fetch(file: RemoteFile, folder: Path, *, manual: str, progress: bool) -> Path:
    """Fetch a file, unless it is there already; what came of it before is gone on with.

    Parameters
    ----------
    file
        Which.
    folder
        Where it shall be.
    manual
        What to do by hand, for errors.
    progress
        Show a bar.

    Returns
    -------
    pathlib.Path
        The file, whose checksum is that of the record.

    Raises
    ------
    DownloadError
        If it cannot be fetched, or is another one.
    StoreFullError
        If it does not fit.
    """
    import requests

    pooch = _pooch()
    with _writable(folder):
        _check_room(file, folder)
        try:
            return Path(
                pooch.retrieve(
                    file.url,
                    file.checksum,
                    fname=file.name,
                    path=folder,
                    downloader=_Resuming(file, folder, shown=progress),
                )
            )
        except ValueError as error:
            raise DownloadError(
                f"{file.url} did not give {file.name} as the record has it ({error}); try again: "
                "it is fetched anew"
            ) from error
        except requests.RequestException as error:
            raise DownloadError(_told(file.url, error, manual)) from error


def _pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise OptionError("files of others need pooch: pip install 'tamrf-xr[get]'") from error
    # Its lines tell of hashes and folders: the bar and the errors tell what matters.
    pooch.get_logger().setLevel(logging.WARNING)
    return pooch


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Make a folder, and tell in our words where that or what is done in it fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise DownloadError(
            f"{folder} cannot be written ({error}); name another folder, or another cache in "
            "TAMRF_XR_CACHE"
        ) from error


def _ask(number: int, manual: str) -> str:
    import requests

    _pooch()
    url = f"{os.environ.get(MIRROR, API).rstrip('/')}/{number}"
    try:
        answer = requests.get(url, timeout=TIMEOUT, headers={"Accept": "application/json"})
        answer.raise_for_status()
        answer.json()
    except requests.RequestException as error:
        raise DownloadError(_told(url, error, manual)) from error
    return str(answer.text)


def _told(url: str, error: Exception, manual: str) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    found = {404: "it is not there (404)", 410: "it was withdrawn (410)", 429: "too often (429)"}
    why = found.get(status or 0) or (f"it answers {status}" if status else _root(error))
    return f"{url} cannot be fetched: {why}; {manual}"


def _root(error: BaseException) -> str:
    """Return the words of what lies under the layers of an error of requests."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {error}"


def _parsed(told: Mapping[str, Any], number: int) -> Record:
    try:
        about = told["metadata"]
        files = tuple(_file(one, number) for one in told["files"])
        names = "; ".join(one["name"] for one in about["creators"])
        year = str(about.get("publication_date", ""))[:4]
        doi = told.get("doi") or about.get("doi") or f"10.5281/zenodo.{number}"
        citation = f"{names} ({year}). {about['title']}. Zenodo. https://doi.org/{doi}"
        return Record(number, citation, str((about.get("license") or {}).get("id", "")), files)
    except (KeyError, TypeError, AttributeError) as error:
        raise DownloadError(
            f"what Zenodo says of record {number} is not as its API was ({error!r}); look at "
            f"{SITE}/{number}"
        ) from error


def _file(told: Mapping[str, Any], number: int) -> RemoteFile:
    name = str(told.get("key") or told["filename"])
    if name != Path(name).name or name.startswith("."):
        raise DownloadError(f"record {number} has a file called {name!r}: it is not fetched")
    checksum = str(told["checksum"])
    kind = checksum if ":" in checksum else f"md5:{checksum}"
    url = (told.get("links") or {}).get("self") or f"{SITE}/{number}/files/{name}?download=1"
    return RemoteFile(
        name, int(told["size"] if "size" in told else told["filesize"]), kind, str(url)
    )


def _check_room(file: RemoteFile, folder: Path) -> None:
    there = sum(path.stat().st_size for path in (folder / file.name, _part(file, folder))
                if path.exists())  # fmt: skip
    free = shutil.disk_usage(folder).free
    if file.size - there > free:
        raise StoreFullError(
            f"{file.name} has {file.size / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free in "
            f"{folder}; make room, or name another folder"
        )


def _part(file: RemoteFile, folder: Path) -> Path:
    return folder / f".{file.name}.part"


class _Resuming:
    """Downloads for pooch: what came before the line broke is asked no more."""

    def __init__(self, file: RemoteFile, folder: Path, *, shown: bool) -> None:
        self._file, self._part, self._shown = file, _part(file, folder), shown

    def __call__(self, url: str, output: str, _pooch: Any) -> None:
        """Fetch to a file of our own, and hand that over whole."""
        import requests

        for left in reversed(range(TRIES)):
            try:
                self._rest(url)
                break
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ):
                if not left:
                    raise
        os.replace(self._part, output)

    def _rest(self, url: str) -> None:
        import requests

        there = self._part.stat().st_size if self._part.exists() else 0
        if there >= self._file.size > 0:
            if there == self._file.size:
                return
            there = 0
        asked = {"Range": f"bytes={there}-"} if there else {}
        with requests.get(url, headers=asked, stream=True, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            # A server that knows no ranges sends all.
            there = there if answer.status_code == requests.codes.partial_content else 0
            self._take(answer, there)

    def _take(self, answer: Any, there: int) -> None:
        import requests

        with (
            self._part.open("r+b" if there else "wb") as part,
            tqdm(total=self._file.size, initial=there, unit="B", unit_scale=True,
                 desc=self._file.name, disable=not self._shown) as bar,
        ):  # fmt: skip
            part.seek(there)
            for block in answer.iter_content(BLOCK):
                part.write(block)
                bar.update(len(block))
            if part.tell() < self._file.size:
                raise requests.ConnectionError(
                    f"the server sent {part.tell()} of {self._file.size} bytes"
                )

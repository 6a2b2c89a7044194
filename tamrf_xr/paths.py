"""Where a user's path leads on this machine: one reading for every place that takes one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tamrf_xr.errors import OptionError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""Two letters at least: ``C:/`` is a drive."""

PathLike = str | os.PathLike[str]


def local_path(path: PathLike, what: str) -> Path:
    """Read a path on a local or shared file system.

    Parameters
    ----------
    path
        A path, ``~`` and ``~user`` standing for home folders, or a URL ``file:///...``.
    what
        What is there or shall be, for errors: ``"store"``, ``"weights"``.

    Returns
    -------
    pathlib.Path
        Absolute where `path` is.

    Raises
    ------
    OptionError
        If it is empty, or a URL of another scheme.

    Examples
    --------
    >>> local_path("file:///data/my%20cube.zarr", "store").as_posix()
    '/data/my cube.zarr'
    """
    text = os.fspath(path) if hasattr(path, "__fspath__") else path
    if not isinstance(text, str):
        raise OptionError(f"the path of the {what} is {path!r:.80}; give it as text")
    if not text.strip():
        raise OptionError(f"the path of the {what} is empty; name a file or folder")
    if "\0" in text:
        raise OptionError(f"the path of the {what} holds a character that no path has: {text!r}")
    if text.lower().startswith("file:"):
        return _of_file_url(text, what)
    if is_url(text):
        raise OptionError(
            f"the {what} must be on a local or shared file system, got {text}; name a path, ~/path "
            f"or file:///path, and copy between it and {urlsplit(text).scheme}:// with the tools "
            "of that storage"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise OptionError(f"the path of the {what}, {text}, has no home folder: {error}") from error


def is_url(path: PathLike) -> bool:
    """Tell whether a path is a URL, ``file:`` and those that `pathlib.Path` cut to ``s3:/``.

    Examples
    --------
    >>> is_url("s3://bucket/cube.zarr"), is_url(Path("s3://bucket")), is_url("C:/cube.zarr")
    (True, True, False)
    """
    return "://" in os.fspath(path) or bool(_SCHEME.match(os.fspath(path)))


def readable(path: PathLike, what: str) -> str | Path:
    """Read where an input lies: as `local_path`, but URLs of other schemes stay as they are."""
    text = _text(path)
    remote = is_url(text) and not text.lower().startswith("file:")
    return text if remote else local_path(path, what)


def cache_folder() -> Path:
    """Return where copies are kept: ``$TAMRF_XR_CACHE``, else ``tamrf-xr`` of the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TAMRF_XR_CACHE") or Path(home) / "tamrf-xr")


def _text(path: Any) -> str:
    """Return a path as text; what is none, so that it can be told."""
    return str(os.fspath(path) if hasattr(path, "__fspath__") else path)


def _of_file_url(text: str, what: str) -> Path:
    # `Path("file:///data")` reads `file:/data`, which is a URL of the same file.
    parts = urlsplit(text)
    place = Path(unquote(parts.path))
    if parts.netloc not in {"", "localhost"} or not place.is_absolute():
        raise OptionError(
            f"the path of the {what} is {text}; expected file:///path, of this machine and absolute"
        )
    return place

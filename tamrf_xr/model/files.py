"""Files of models: found or refused, and written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tamrf_xr.errors import ModelError, SourceNotFoundError
from tamrf_xr.paths import local_path


def existing(source: str | os.PathLike[str], kind: str) -> Path:
    """Return the path of a file that is there.

    Raises
    ------
    ModelError
        If it is a folder.
    SourceNotFoundError
        If there is nothing.
    """
    path = local_path(source, kind)
    if path.is_dir():
        raise ModelError(f"the {kind} {path} is a folder; name the file inside it")
    if not path.is_file():
        raise SourceNotFoundError(f"the {kind} {path} does not exist (looked in {Path.cwd()})")
    return path


@contextlib.contextmanager
def staged(path: Path, data: bytes) -> Iterator[Path]:
    """Give a file with this content, on disk, beside `path`; to be renamed, else it goes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)

"""Archives that others packed: what is in them, and some of it taken out, safely and whole."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from tamrf_xr.errors import DownloadError

KINDS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


def is_archive(name: str) -> bool:
    """Tell whether a name is that of an archive that can be opened here."""
    return name.lower().endswith(KINDS)


def extract(archive: Path, folder: Path, wanted: Callable[[PurePosixPath], bool]) -> list[Path]:
    """Take files out of an archive.

    Parameters
    ----------
    archive
        The archive.
    folder
        Where to; made if it is not there. Nothing is written outside it.
    wanted
        Tells by its name in the archive whether a file is taken.

    Returns
    -------
    list of pathlib.Path
        The files, in the folder.

    Raises
    ------
    DownloadError
        If it cannot be read, or a name in it leads elsewhere.
    """
    try:
        if archive.name.lower().endswith(".zip"):
            return _from_zip(archive, folder, wanted)
        return _from_tar(archive, folder, wanted)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DownloadError(
            f"{archive} is no whole archive ({error}); remove it, and fetch it again"
        ) from error


def _from_zip(archive: Path, folder: Path, wanted: Callable[[PurePosixPath], bool]) -> list[Path]:
    made = []
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            name = PurePosixPath(member.filename)
            if not member.is_dir() and wanted(name):
                _check(name, archive)
                made.append(Path(file.extract(member, folder)))
    return made


def _from_tar(archive: Path, folder: Path, wanted: Callable[[PurePosixPath], bool]) -> list[Path]:
    made = []
    with tarfile.open(archive) as file:
        for member in file:
            name = PurePosixPath(member.name)
            if member.isfile() and wanted(name):
                _check(name, archive)
                file.extract(member, folder, filter="data")
                made.append(folder / name)
    return made


def _check(name: PurePosixPath, archive: Path) -> None:
    if name.is_absolute() or ".." in name.parts:
        raise DownloadError(f"{archive} holds {str(name)!r}, which leads elsewhere: not extracted")

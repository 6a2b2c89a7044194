"""The LS2S2 data of the authors, fetched from their record: archives taken apart as they come."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tamrf_xr.archives import extract, is_archive
from tamrf_xr.errors import OptionError
from tamrf_xr.paths import PathLike
from tamrf_xr.replaceable import check_around
from tamrf_xr.replacing import fresh_file
from tamrf_xr.zenodo import SITE, Record, RemoteFile, fetch, read_record

RECORD = 15471890
WHOLE_WORLD = "https://doi.org/10.6096/1029"
"""Where LS2S2MYWW is, the set of many years and the whole world; its server is not Zenodo."""

LEDGER = ".tamrf_get.json"
"""File of a folder: per file of the record that has been taken apart, its checksum and areas."""

MANUAL = (
    f"by hand: download the files from {SITE}/{RECORD} with a browser and unpack them, then "
    "`tamrf-xr ingest ls2s2 AREA area.zarr`"
)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of a record."""

    record: Record
    """Its citation, its licence."""

    files: tuple[str, ...]
    """Files of it that are there, taken apart where they are archives."""

    areas: tuple[Path, ...]
    """Folders of areas that are there: what `ingest ls2s2` reads."""


def get_ls2s2(
    folder: PathLike,
    *,
    areas: Sequence[str] = (),
    files: Sequence[str] = (),
    progress: bool = True,
) -> Fetched:
    """Fetch LS2S2, or some of its areas; what is there already is not fetched again.

    Parameters
    ----------
    folder
        Where to.
    areas
        Such as ``"31TCJ_12"``; by default all. Files whose names tell of one are fetched, and of
        archives just these areas are kept.
    files
        Names of files of the record, where they do not tell of areas; by default those that do, or
        all if no area is asked.
    progress
        Show a bar a file.

    Returns
    -------
    Fetched
        What is there now.

    Raises
    ------
    DownloadError
        If the record cannot be read, or a file not be fetched.
    OptionError
        If no file is, or tells, of what is asked.
    StoreFullError
        If a file does not fit.
    """
    place = check_around(folder, "folder of data")
    record = read_record(RECORD, manual=MANUAL)
    chosen = _choose(record, areas, files)
    ledger = _read_ledger(place)
    for file in chosen:
        done = ledger.get(file.name, {})
        if done.get("checksum") != file.checksum or not _covers(done.get("areas", []), areas):
            _take(file, place, areas, progress=progress)
            told = [] if not areas else sorted({*done.get("areas", []), *areas})
            ledger[file.name] = {"checksum": file.checksum, "areas": told}
            _write_ledger(place, ledger)
    _check_areas(place, areas)
    found = sorted({path.parent.parent for path in place.glob("**/*/index.csv")})
    return Fetched(record, tuple(file.name for file in chosen), tuple(found))


def _covers(before: Sequence[str], asked: Sequence[str]) -> bool:
    """Tell whether areas that were kept are all that are asked; none stands for all."""
    return not before or (bool(asked) and set(asked) <= set(before))


def _choose(record: Record, areas: Sequence[str], names: Sequence[str]) -> list[RemoteFile]:
    there = {file.name: file for file in record.files}
    listed = "; ".join(f"{name} ({file.size / 1e9:.3g} GB)" for name, file in there.items())
    if missing := [name for name in names if name not in there]:
        raise OptionError(f"record {record.number} has no {', '.join(missing)}; it has {listed}")
    if names:
        return [there[name] for name in names]
    told = {
        area: [file for file in record.files if area.lower() in file.name.lower()] for area in areas
    }
    if missing := [area for area, found in told.items() if not found]:
        raise OptionError(
            f"no file of record {record.number} is called after {', '.join(missing)}; it has "
            f"{listed}; name those to look in as files= (--file)"
        )
    wanted = {file.name for found in told.values() for file in found}
    return [file for file in record.files if not areas or file.name in wanted]


def _take(file: RemoteFile, place: Path, areas: Sequence[str], *, progress: bool) -> None:
    """Fetch a file; take an archive apart beside the folder, then move what it holds in."""
    path = fetch(file, place, manual=MANUAL, progress=progress)
    if not is_archive(file.name):
        return
    with tempfile.TemporaryDirectory(dir=place, prefix=".unpacking-") as aside:
        made = extract(path, Path(aside), lambda name: _is_of(name, areas, file.name))
        for one in made:
            target = place / one.relative_to(aside)
            target.parent.mkdir(parents=True, exist_ok=True)
            one.replace(target)
    if _is_whole(areas, file.name):
        path.unlink()  # else it is kept: it holds more than was asked


def _is_of(name: PurePosixPath, areas: Sequence[str], archive: str) -> bool:
    """Tell whether a file of an archive is of an area."""
    return _is_whole(areas, archive) or any(
        area.lower() == part.lower() for area in areas for part in name.parts
    )


def _is_whole(areas: Sequence[str], archive: str) -> bool:
    """Tell whether all of an archive is asked; one that is called after an area is all of it."""
    return not areas or any(area.lower() in archive.lower() for area in areas)


def _check_areas(place: Path, areas: Sequence[str]) -> None:
    names = {part.lower() for path in place.rglob("*") for part in path.relative_to(place).parts}
    if missing := [area for area in areas if not any(area.lower() in name for name in names)]:
        raise OptionError(
            f"what was fetched holds no {', '.join(missing)}; look at {SITE}/{RECORD} for the names"
        )


def _read_ledger(place: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads((place / LEDGER).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_ledger(place: Path, ledger: dict[str, dict[str, Any]]) -> None:
    with fresh_file(place / LEDGER) as partial:
        partial.write_text(json.dumps(ledger, indent=1) + "\n")

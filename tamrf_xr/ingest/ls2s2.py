"""LS2S2 folders, the published training and test set: one folder an area, one cube a folder."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path, PureWindowsPath
from typing import Any

import pandas as pd
import xarray as xr

from tamrf_xr.cube import Grid, build_cube, build_group, groups_of
from tamrf_xr.errors import IngestError, OptionError, SourceNotFoundError
from tamrf_xr.ingest.batch import IngestReport, ingest_many, name_of
from tamrf_xr.ingest.rasters import METHOD, Acquisitions, Header, lazy_planes, read_header
from tamrf_xr.nesting import TOLERANCE, nest
from tamrf_xr.paths import local_path
from tamrf_xr.sensors import SENSORS, Sensor
from tamrf_xr.store import SHARD

INDEX = "index.csv"
COLUMNS = ("acquisition_date", "valid", "bands", "mask")
"""Columns of an index that are read; others may be there."""

_TRUE, _FALSE = {"true", "1", "1.0"}, {"false", "0", "0.0"}


def from_ls2s2(folder: str | os.PathLike[str], *, chunks: int | None = SHARD) -> xr.DataTree:
    """Open an LS2S2 folder as a cube, lazily: headers are read and checked, pixels are not.

    Rows of an index whose ``valid`` is False are left out. Absolute paths count by their last two
    parts. The time of day of an acquisition is not known: it is midnight. The panchromatic index
    (``landsat/index_pan.csv``) is not read. Either sensor may be absent.

    Where both sensors are there, Sentinel-2 keeps its pixels and both are cut to the whole 30 m
    pixels that both cover. Landsat pixels that nest in those of Sentinel-2 are read as they are;
    others (another UTM zone, an origin off by a part of a 10 m pixel) are resampled, bands by
    cubic convolution, masks by the nearest pixel, and the group's attributes ``resampled``,
    ``source_crs`` and ``source_transform`` (a b c d e f, in file order) say so.

    Parameters
    ----------
    folder
        The folder of one area, with ``sentinel2/`` or ``landsat/`` or both.
    chunks
        10 m pixels across a dask block of one acquisition, a multiple of 3; None for one block an
        acquisition. The default is a shard of the store, so that saving reads shard by shard.

    Returns
    -------
    xarray.DataTree
        The cube. ``reflectance``: float32, stored / 10000; NaN in each band that is 0 or nodata;
        pixels under cloud keep their values. ``surface_temperature`` (Landsat): kelvin, with NaN
        of its own. ``valid``: False where the mask is > 0 or any reflectance band is 0 or nodata;
        it does not speak of temperature, which lacks in pixels whose reflectance is fine.

    Raises
    ------
    SourceNotFoundError
        If the folder, an index, or a file of an index is not there.
    IngestError
        If the content is not what the layout promises: no sensor, columns missing, no usable row,
        a date not understood, a wrong number of bands, no CRS, acquisitions on different grids.
    OptionError
        If `chunks` is not a multiple of 3.

    Examples
    --------
    >>> from_ls2s2("31TCJ_12")
    Traceback (most recent call last):
    tamrf_xr.errors.SourceNotFoundError: no LS2S2 folder at 31TCJ_12; found nothing there
    """
    root = local_path(folder, "folder")
    _check_folder(root)
    if chunks is not None and (chunks < 3 or chunks % 3):
        raise OptionError(f"chunks must be a multiple of 3 (10 m pixels) or None, got {chunks}")
    listed = _list_sensors(root)
    grids = {name: _check_files(SENSORS[name], rows) for name, rows in listed.items()}
    targets = nest(grids)
    name = name_of(root)
    groups = {
        sensor: _open_group(
            _acquisitions(sensor, rows, grids[sensor], targets[sensor]),
            rows,
            chunks=chunks,
            source=_source(name, sensor),
        )
        for sensor, rows in listed.items()
    }
    return build_cube(
        groups,
        title=f"{name}: {' and '.join(SENSORS[sensor].title for sensor in groups)} time series",
        history=f"tamrf-xr {version('tamrf-xr')}: from_ls2s2 of folder {name}",
    )


def ingest_ls2s2(
    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = True,
    workers: int | None = None,
    progress: bool = True,
) -> IngestReport:
    """Write LS2S2 folders as cubes in Zarr, one cube a folder, many at once.

    A cube is written under another name and renamed when it is whole, and is skipped when the same
    call is made again: only where it is whole, of this folder, and of the dates that the folder
    lists. A folder that fails does not stop the others.

    Parameters
    ----------
    folders
        One folder, or many.
    out
        The store, for one folder; for many, or if it is a folder already that is no store, the
        folder of the stores ``<name of the folder>.zarr``.
    overwrite
        Write cubes that are there anew.
    resume
        Skip cubes that are there; if False, and `overwrite` too, they are an error.
    workers
        Threads, over folders and within them; by default one a core, fewer where each would have
        less than 2 GiB of memory.
    progress
        Show a bar on standard error, in blocks of acquisitions.

    Returns
    -------
    IngestReport
        What was written, skipped and failed; ``ok`` is False if anything failed.

    Raises
    ------
    IngestError
        If no folder is named, or two folders would make one store.
    OutputExistsError
        If something is there and may be neither skipped nor replaced; nothing is written then.
    OptionError
        If `workers` is less than 1, or the place is one that must stay.

    Examples
    --------
    >>> ingest_ls2s2([], "cubes")
    Traceback (most recent call last):
    tamrf_xr.errors.IngestError: no folder to ingest: name at least one
    """
    return ingest_many(
        from_ls2s2,
        folders,
        out,
        compare=_difference,
        overwrite=overwrite,
        resume=resume,
        workers=workers,
        progress=progress,
    )


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise SourceNotFoundError(f"no LS2S2 folder at {root}; found {found} there")


def _source(name: str, sensor: str) -> str:
    """Return what a group says of the folder that it is made of."""
    return f"LS2S2 folder {name}, {sensor}/{INDEX}"


def _difference(folder: Path, cube: xr.DataTree) -> str:
    """Tell how a cube differs from a folder: by its name, sensors and dates."""
    _check_folder(folder)
    listed, groups = _list_sensors(folder), groups_of(cube)
    for sensor, group in groups.items():
        said = group.attrs.get("source")
        if said != _source(name_of(folder), sensor):
            return f"is of another source ({said or 'it does not say which'})"
    for sensor in listed.keys() | groups.keys():
        dates = [row.date for row in listed.get(sensor, ())]
        found = list(groups[sensor]["time"].to_index()) if sensor in groups else []
        if dates != found:
            return (
                f"holds {len(found)} acquisitions of {sensor}, not the {len(dates)} that the "
                "index lists"
            )
    return ""


@dataclass(frozen=True, slots=True)
class _Row:
    """A usable row of an index."""

    date: pd.Timestamp
    bands: Path
    mask: Path


def _list_sensors(root: Path) -> dict[str, list[_Row]]:
    present = [name for name in SENSORS if (root / name).is_dir()]
    if not present:
        found = ", ".join(sorted(path.name for path in root.iterdir())[:10]) or "nothing"
        raise IngestError(f"{root} holds neither {'/ nor '.join(SENSORS)}/; found {found}")
    return {name: _read_index(root / name) for name in present}


def _read_index(folder: Path) -> list[_Row]:
    path = folder / INDEX
    if not path.is_file():
        raise SourceNotFoundError(f"{folder.name}: no index at {path}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            found, lines = list(reader.fieldnames or []), list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise IngestError(f"{path} is no table of text: {error}; fetch it again") from error
    if missing := [name for name in COLUMNS if name not in found]:
        raise IngestError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(found) or 'nothing'}; "
            f"expected at least {', '.join(COLUMNS)}, separated by tabs"
        )
    rows = [_row(folder, number, line) for number, line in enumerate(lines, 2)]
    usable = sorted((row for row in rows if row is not None), key=lambda row: row.date)
    if not usable:
        raise IngestError(f"{path}: no usable row; found {len(lines)}, none with valid True")
    return usable


def _row(folder: Path, number: int, line: dict[str, Any]) -> _Row | None:
    where = f"{folder / INDEX}, line {number}"
    cells = {name: (line[name] or "").strip() for name in COLUMNS}
    said = cells["valid"].lower()
    if said in _FALSE:
        return None
    if said not in _TRUE:
        raise IngestError(f"{where}: valid is {cells['valid']!r}, expected True or False")
    if empty := [name for name in ("bands", "mask") if not cells[name]]:
        raise IngestError(f"{where}: no file named in column {' and '.join(empty)}")
    try:
        date = pd.Timestamp(datetime.fromisoformat(cells["acquisition_date"])).normalize()
    except ValueError as error:
        raise IngestError(
            f"{where}: acquisition_date {cells['acquisition_date']!r} is not a date; "
            "expected YYYY-MM-DD"
        ) from error
    bands, mask = (_locate(folder, cells[name], where) for name in ("bands", "mask"))
    return _Row(date, bands, mask)


def _locate(folder: Path, text: str, where: str) -> Path:
    """Return where a file of an index lies: inside the folder, for an index is others' words."""
    # Windows paths understand both separators; absolute ones come from the machine that wrote it.
    path = PureWindowsPath(text)
    parts = path.parts[-2:] if path.anchor else path.parts
    if ".." in parts or path.anchor in parts or "\0" in text:
        raise IngestError(
            f"{where}: {text!r} leads out of {folder}; expected a file inside it: correct the index"
        )
    return folder.joinpath(*parts)


def _check_files(sensor: Sensor, rows: Sequence[_Row]) -> Grid:
    """Check that every file is there and as it should be; return the grid of all."""
    files = [(row.date, path) for row in rows for path in (row.bands, row.mask)]
    absent = [(date, path) for date, path in files if not path.is_file()]
    if absent:
        date, path = absent[0]
        raise SourceNotFoundError(
            f"{sensor.name}: {len(absent)} of {len(files)} files in {INDEX} are not there; "
            f"the first is that of {date:%Y-%m-%d}: {path}"
        )
    headers = []
    for row in rows:
        bands, mask = read_header(row.bands), read_header(row.mask)
        _check_count(sensor, row, bands, expected=sensor.all_bands)
        _check_count(sensor, row, mask, expected=["mask"])
        headers += [bands, mask]
    return _one_grid(sensor, headers, [date for date, _ in files])


def _check_count(sensor: Sensor, row: _Row, header: Header, *, expected: Sequence[Any]) -> None:
    if header.bands != len(expected):
        names = ", ".join(getattr(band, "name", str(band)) for band in expected)
        raise IngestError(
            f"{sensor.name} {row.date:%Y-%m-%d}: {header.path} has {header.bands} bands, "
            f"expected {len(expected)}: {names}"
        )


def _one_grid(sensor: Sensor, headers: Sequence[Header], dates: Sequence[pd.Timestamp]) -> Grid:
    places = [_describe(header.grid) for header in headers]
    usual, count = Counter(places).most_common(1)[0]
    if count < len(places):
        odd = next(number for number, place in enumerate(places) if place != usual)
        raise IngestError(
            f"{sensor.name}: {len(places) - count} of {len(places)} files lie on another grid than "
            f"the rest, the first that of {dates[odd]:%Y-%m-%d}: {headers[odd].path} has "
            f"{places[odd]}, the rest {usual}"
        )
    grid = headers[places.index(usual)].grid
    if abs(grid.gsd - sensor.gsd) > TOLERANCE * sensor.gsd:
        raise IngestError(
            f"{sensor.name}: pixels of {grid.gsd:g} m in {headers[0].path}, expected {sensor.gsd:g}"
        )
    return grid


def _describe(grid: Grid) -> str:
    height, width = grid.shape
    return f"{grid.crs.to_string()}, {height} x {width} pixels, transform {_numbers(grid)}"


def _numbers(grid: Grid) -> str:
    return " ".join(f"{value:.12g}" for value in tuple(grid.transform)[:6])


def _acquisitions(sensor: str, rows: Iterable[_Row], source: Grid, target: Grid) -> Acquisitions:
    bands, masks = zip(*((row.bands, row.mask) for row in rows), strict=True)
    return Acquisitions(sensor, bands, masks, source=source, target=target)


def _open_group(
    files: Acquisitions, rows: Sequence[_Row], *, chunks: int | None, source: str
) -> xr.Dataset:
    sensor = SENSORS[files.sensor]
    planes = lazy_planes(files, chunks and chunks // sensor.ratio)
    count = len(sensor.bands)
    return build_group(
        sensor,
        planes[:, :count],
        times=[row.date for row in rows],
        grid=files.target,
        valid=planes[:, -1] > 0,
        surface_temperature=planes[:, count] if sensor.thermal else None,
        attrs={"source": source, **_provenance(files)},
    )


def _provenance(files: Acquisitions) -> dict[str, str]:
    done = {"processing": "stored / 10000, kelvin x 10 / 10; 0 and nodata are missing"}
    if files.nested:
        size = " x ".join(map(str, files.source.shape))
        whole = files.source.shape == files.target.shape
        return done if whole else done | {"cut": f"from {size} pixels"}
    return done | {
        "resampled": METHOD,
        "source_crs": files.source.crs.to_string(),
        "source_transform": _numbers(files.source),
    }

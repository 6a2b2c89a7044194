"""A product as COGs: a file a date and sensor, in parallel, resumable.

Each file carries a digest of what decides its pixels. A rerun takes a file of the same digest for
done, and refuses to replace any other unasked.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from tamrf_xr.cube import grid_of, groups_of
from tamrf_xr.encoding import FILL, SCALES
from tamrf_xr.errors import JobError, OptionError, OutputExistsError
from tamrf_xr.export.cog import Layer, Sheet, Strip, put_cog
from tamrf_xr.export.raster import TIFF
from tamrf_xr.export.selecting import Choice, Selection, choose
from tamrf_xr.indices import Index, find_indices
from tamrf_xr.listing import read_listing
from tamrf_xr.machine import usable_cores
from tamrf_xr.packed import pack
from tamrf_xr.paths import PathLike, readable
from tamrf_xr.places import StorageOptions
from tamrf_xr.replaceable import check_around, check_file
from tamrf_xr.scale.ledger import job_state
from tamrf_xr.sensors import SENSORS, THERMAL
from tamrf_xr.store import open_cube, raw_group

ROWS = 360
"""Rows of a strip: read, packed and written at once."""

DIGEST, ABOUT = "TAMRF_XR_DIGEST", "TAMRF_XR"
"""Tags of a file: what decides its pixels, and what it is."""

ORIGIN = ("method", "weights_sha256", "processing_level", "software", "parameters", "history")
"""Attributes of a product, and of its groups, that say where its pixels come from."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What became of the files."""

    written: tuple[Path, ...] = ()
    """Files written."""

    found: tuple[Path, ...] = ()
    """Files that were there, and are of this export."""

    failed: Mapping[Path, BaseException] = field(default_factory=dict)
    """Per file that is not there, why."""

    left_out: tuple[str, ...] = ()
    """What was asked of a sensor that lacks it: a line each."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file to be written."""

    path: Path
    sheet: Sheet
    read: Callable[[slice], NDArray[Any]]
    """Gives some rows of it, ``(band, y, x)`` as stored."""

    def strips(self) -> Iterator[Strip]:
        """Read it strip by strip."""
        rows = self.sheet.grid.shape[0]
        for first in range(0, rows, ROWS):
            yield first, self.read(slice(first, min(first + ROWS, rows)))


def export_cogs(
    store: PathLike,
    out: PathLike,
    what: Selection = Selection(),  # noqa: B008 (frozen)
    *,
    overwrite: bool = False,
    workers: int | None = None,
    progress: bool = True,
    storage_options: StorageOptions = None,
) -> ExportReport:
    """Write a product, or a cube, as COGs: ``OUT/sentinel2_20220601.tif`` and so on.

    Reflectance and temperature are int16 as in the store, with their scale, no data as -32768;
    indices go to ``..._indices.tif`` in float32, for some of them have no bounds. Acquisitions of a
    cube are written as they are, clouds included.

    Parameters
    ----------
    store
        Path or URL of a product or a cube.
    out
        Folder to write to. Files of this very export that are there are left; others are an error.
    what
        Dates, sensors, bands and indices; by default every date and band.
    overwrite
        Replace images of the same names.
    workers
        Files at once; by default as many as there are cores.
    progress
        Show a bar.
    storage_options
        As of `tamrf_xr.open_cube`.

    Returns
    -------
    ExportReport
        What was written, found, and failed.

    Raises
    ------
    OptionError
        If `what` names what is not there, `workers` is less than 1, or `out` is, or lies in, the
        store.
    DateError
        If a date cannot be read, or is not there.
    JobError
        If the product is not finished.
    OutputExistsError
        If a file is there that is not of this export; nothing is written then.
    """
    if workers is not None and workers < 1:
        raise OptionError(f"workers must be at least 1, got {workers}")
    cube, state = _opened(store, storage_options)
    folder = check_around(out, "folder of images", inputs=[store])
    plan = _Plan(cube, folder, state, tuple(what.indices))
    files, lacking = plan.files(choose(cube, what))
    found = {file.path for file in files if _is_there(file, overwrite=overwrite)}
    wanted = [file for file in files if file.path not in found]
    failed = _write(wanted, workers or usable_cores(), overwrite=overwrite, shown=progress)
    written = tuple(file.path for file in wanted if file.path not in failed)
    return ExportReport(written, tuple(sorted(found)), failed, tuple(lacking))


def _opened(store: PathLike, options: StorageOptions) -> tuple[xr.DataTree, str]:
    """Open a store; return it, and words that change when what it holds does."""
    cube, place = open_cube(store, storage_options=options), readable(store, "store")
    check_finished(store, options)
    raw = raw_group(store, options)
    state = json.dumps(raw.metadata.to_dict(), sort_keys=True, default=str)
    listing = read_listing(place) if isinstance(place, Path) else None
    return cube, state + (json.dumps(listing.chunks, sort_keys=True) if listing else "")


def check_finished(store: PathLike, options: StorageOptions = None) -> None:
    """Refuse a product with tiles still to be made: they would be written as no data."""
    state = job_state(store, storage_options=options)
    if state is not None and (state.done - state.damaged) < state.tiles:
        raise JobError(
            f"{store} is not finished ({state.done - state.damaged} of {state.tiles} tiles are "
            "there): run its job again, then export"
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What files there are to be."""

    cube: xr.DataTree
    folder: Path
    state: str
    names: tuple[str, ...]
    """Of indices."""

    def files(self, choices: Sequence[Choice]) -> tuple[list[_File], list[str]]:
        """Return all files, and what sensors lack."""
        files: list[_File] = []
        lacking: dict[str, list[str]] = {name: [] for name in self.names}
        for choice in choices:
            found = find_indices(self.names, choice.sensor, choice.present)
            for name, index in found.items():
                if isinstance(index, str):
                    lacking[name].append(f"{choice.sensor} is without {name}: {index}")
            own = [index for index in found.values() if isinstance(index, Index)]
            for position in choice.positions:
                files += self._of_date(choice, own, position)
        for name, told in lacking.items():
            if len(told) == len(choices):
                raise OptionError(f"index {name} cannot be computed: {'; '.join(told)}")
        _check_names(files)
        return files, [line for told in lacking.values() for line in told]

    def _of_date(self, choice: Choice, indices: list[Index], position: int) -> Iterator[_File]:
        group = groups_of(self.cube)[choice.sensor]
        image, time = group.isel(time=position), choice.times[position]
        words = {"sensor": choice.sensor, "time": time.isoformat(), **about_of(self.cube, group)}
        stem, grid = f"{choice.sensor}_{choice.stamp(time)}", grid_of(group)
        if choice.bands:
            layers = tuple(_layer(choice.sensor, name) for name in choice.bands)
            sheet = Sheet(grid, layers, "int16", FILL, _tags(words, layers, self.state))
            path = self.folder / f"{stem}.tif"
            yield _File(path, sheet, partial(_packed, image, choice.bands))
        if indices:
            layers = tuple(Layer(index.name) for index in indices)
            words |= {"indices": json.dumps({index.name: str(index) for index in indices})}
            sheet = Sheet(grid, layers, "float32", np.nan, _tags(words, layers, self.state))
            path = self.folder / f"{stem}_indices.tif"
            yield _File(path, sheet, partial(_computed, image, indices))


def _check_names(files: Sequence[_File]) -> None:
    names = Counter(file.path.name for file in files)
    if twice := [name for name, count in names.items() if count > 1]:
        raise OptionError(
            f"two images would both be {twice[0]}: the store has two of one time; merge them first"
        )


def about_of(cube: xr.DataTree, group: xr.Dataset) -> dict[str, str]:
    """Say where pixels come from, by what the store says of itself."""
    attrs = {**cube.attrs, **group.attrs}
    return {name: str(attrs[name]) for name in ORIGIN if attrs.get(name)}


def _layer(sensor: str, name: str) -> Layer:
    variable, unit = ("surface_temperature", "K") if name == THERMAL else ("reflectance", "1")
    band = next(band for band in SENSORS[sensor].all_bands if band.name == name)
    return Layer(name, SCALES[variable], unit, band.center_wavelength)


def _tags(words: Mapping[str, str], layers: Sequence[Layer], state: str) -> dict[str, str]:
    told = json.dumps(dict(words), sort_keys=True)
    decides = json.dumps([told, [layer.name for layer in layers], state])
    return {ABOUT: told, DIGEST: hashlib.sha256(decides.encode()).hexdigest()}


def _packed(image: xr.Dataset, bands: Sequence[str], rows: slice) -> NDArray[np.int16]:
    optical = [name for name in bands if name != THERMAL]
    asked = {"reflectance": optical, "surface_temperature": bands[len(optical) :]}
    return np.concatenate(
        [pack(_read(image, kind, names, rows), kind) for kind, names in asked.items() if names]
    )


def _read(
    image: xr.Dataset, variable: str, names: Sequence[str], rows: slice
) -> NDArray[np.float32]:
    """Return some rows, ``(band, y, x)``."""
    array = image[variable].isel(y=rows)
    if variable == "surface_temperature":
        return np.asarray(array.values, np.float32)[None]
    order = [str(name) for name in image["band"].values]
    wanted = [order.index(name) for name in names]
    return np.asarray(array.transpose("band", "y", "x").values, np.float32)[wanted]


def _computed(image: xr.Dataset, indices: Sequence[Index], rows: slice) -> NDArray[np.float32]:
    names = list(dict.fromkeys(band for index in indices for band in index.bands.values()))
    bands = dict(zip(names, _read(image, "reflectance", names, rows), strict=True))
    return np.stack([index.compute(bands) for index in indices])


def _is_there(file: _File, *, overwrite: bool) -> bool:
    """Tell whether a file is there already.

    Raises
    ------
    OutputExistsError
        If another one is.
    """
    if file.path.is_file() and _digest(file.path) == file.sheet.tags[DIGEST]:
        return True
    try:
        check_file(file.path, "image", overwrite=overwrite, starts=TIFF)
    except OutputExistsError as error:
        raise OutputExistsError(f"{error} (it is not of this export)") from error
    return False


def _digest(path: Path) -> str | None:
    try:
        with rasterio.open(path) as file:
            found: str | None = file.tags().get(DIGEST)
            return found
    except rasterio.RasterioIOError:
        return None


def _write(
    files: Sequence[_File], workers: int, *, overwrite: bool, shown: bool
) -> dict[Path, BaseException]:
    """Write files on threads; return why those that failed did."""
    failed: dict[Path, BaseException] = {}
    with (
        ThreadPoolExecutor(max(1, min(workers, len(files)))) as pool,
        tqdm(total=len(files), desc="export", unit="file", disable=not shown) as bar,
    ):
        futures = {
            file.path: pool.submit(
                put_cog, file.sheet, file.strips(), file.path, overwrite=overwrite
            )
            for file in files
        }
        try:
            for path, future in futures.items():
                if (error := future.exception()) is not None:
                    failed[path] = error
                bar.update()
        finally:
            # Of effect only if interrupted: what has not begun shall not.
            for future in futures.values():
                future.cancel()
    return failed


def read_about(path: Path) -> dict[str, str]:
    """Return what a file of an export says of itself; empty for any other file."""
    with rasterio.open(path) as file:
        told = file.tags().get(ABOUT)
    return {} if told is None else {str(k): str(v) for k, v in json.loads(told).items()}

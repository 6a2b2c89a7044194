"""Many folders to cubes in Zarr: at once, with progress, resumable, each on its own account."""

from __future__ import annotations

import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import dask
import dask.array as da
import xarray as xr
from tqdm import tqdm

from tamrf_xr.cube import groups_of
from tamrf_xr.errors import (
    CubeError,
    IngestError,
    OptionError,
    OutputExistsError,
    SourceNotFoundError,
)
from tamrf_xr.listing import check_listing, read_listing
from tamrf_xr.machine import available_memory, usable_cores
from tamrf_xr.paths import local_path
from tamrf_xr.replaceable import MANIFEST, check_around, check_store, is_node
from tamrf_xr.store import open_cube, save_cube

T = TypeVar("T")

Source = Callable[[Path], xr.DataTree]
"""Opens a folder as a cube, lazily."""

Compare = Callable[[Path, xr.DataTree], str]
"""Tells how a cube differs from what a folder holds; empty where it is the cube of it."""

PathLike = str | os.PathLike[str]

WORKER_MEMORY = 2 * 2**30
"""Bytes a thread may need: the blocks of a shard of 128 Sentinel-2 acquisitions, and the shard."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of the folders."""

    written: tuple[Path, ...] = ()
    """Stores written."""

    skipped: tuple[Path, ...] = ()
    """Stores that were there: whole, and of these folders."""

    failed: Mapping[Path, BaseException] = field(default_factory=dict)
    """Per folder, why it has no store."""

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed


def ingest_many(
    source: Source,
    folders: PathLike | Sequence[PathLike],
    out: PathLike,
    *,
    compare: Compare,
    overwrite: bool = False,
    resume: bool = True,
    workers: int | None = None,
    progress: bool = True,
) -> IngestReport:
    """Write the cube of each folder; see `tamrf_xr.ingest.ingest_ls2s2` for the options.

    Parameters
    ----------
    source
        Opens a folder as a cube, lazily.
    compare
        Tells how a cube that is there differs from what a folder holds.
    folders, out, overwrite, resume, workers, progress
        As of `ingest_ls2s2`.

    Returns
    -------
    IngestReport
        What was written, skipped and failed.

    Raises
    ------
    IngestError
        If no folder is named, or two folders would make one store.
    OutputExistsError
        If something is there and may be neither skipped nor replaced.
    OptionError
        If `workers` is less than 1, or the place is one that must stay.
    """
    threads = threads_of(workers)
    asked = _as_paths(folders)
    targets = _targets(asked, local_path(out, "store or folder of stores"))
    for path in targets.values():
        # All before any is read; those that are there are cubes, or refused.
        check_store(path, "store", overwrite=overwrite or resume, inputs=asked)
    there, unread = ({}, {}) if overwrite else _there(targets, compare)
    wanted = [folder for folder in targets if folder not in there | unread]
    lanes = max(1, min(threads, len(wanted)))
    with (
        dask.config.set(scheduler="threads", num_workers=max(1, threads // lanes)),
        ThreadPoolExecutor(lanes) as pool,
    ):
        cubes, unopened = _each(pool, source, wanted)
        with _Watch(sum(map(_count_blocks, cubes.values())), shown=progress) as watch:

            def write(folder: Path) -> None:
                save_cube(watch.over(cubes[folder]), targets[folder], overwrite=overwrite)

            written, unwritten = _each(pool, write, cubes)
    return IngestReport(
        written=tuple(targets[folder] for folder in written),
        skipped=tuple(there.values()),
        failed=unread | unopened | unwritten,
    )


def _there(
    targets: Mapping[Path, Path], compare: Compare
) -> tuple[dict[Path, Path], dict[Path, BaseException]]:
    """Return the stores that are there, and the folders that cannot be held against theirs."""
    there: dict[Path, Path] = {}
    unread: dict[Path, BaseException] = {}
    for folder, path in targets.items():
        if not path.exists():
            continue
        try:
            found = unlike(path, folder, compare)
        except (IngestError, SourceNotFoundError) as error:
            unread[folder] = error
            continue
        if found:
            raise OutputExistsError(
                f"{path} exists and {found}; expected the whole cube of {folder}: name another "
                "store, remove it, or pass overwrite=True (--overwrite) to replace it"
            )
        there[folder] = path
    return there, unread


def unlike(store: Path, folder: Path, compare: Compare) -> str:
    """Tell why a store of ours is not the whole cube of a source; empty if it is."""
    if (store / MANIFEST).exists():
        return "is the product of a job"
    try:
        cube = open_cube(store)
    except CubeError as error:
        return f"cannot be opened ({error})"
    listing = read_listing(store)
    if listing is None:
        return "keeps no list of its chunks that tells whether it is whole (plain to_zarr, or old)"
    if wrong := check_listing(store, listing):
        return f"is damaged ({wrong[0]})"
    return compare(folder, cube)


def threads_of(workers: int | None) -> int:
    """Return how many threads may work: one a core, fewer where memory is short, or as asked."""
    if workers is None:
        room = int(available_memory() // WORKER_MEMORY)
        return max(1, min(usable_cores(), room))
    if workers < 1:
        raise OptionError(f"workers must be at least 1, got {workers}")
    return workers


def _as_paths(folders: PathLike | Sequence[PathLike]) -> list[Path]:
    many = [folders] if isinstance(folders, (str, os.PathLike)) else folders
    paths = list(dict.fromkeys(local_path(folder, "folder") for folder in many))
    if not paths:
        raise IngestError("no folder to ingest: name at least one")
    return paths


def _targets(folders: Sequence[Path], out: Path) -> dict[Path, Path]:
    is_store = is_node(out)
    if len(folders) == 1 and (is_store or not out.is_dir()):
        return {folders[0]: out}
    if is_store:
        raise IngestError(
            f"{out} is a store, but {len(folders)} folders make {len(folders)} stores; "
            "name a folder for them"
        )
    check_around(out, "folder of stores", inputs=folders)
    names = {folder: name_of(folder) for folder in folders}
    for name, count in Counter(names.values()).items():
        if count > 1:
            raise IngestError(
                f"{count} folders are called {name} and would all become {out / name}.zarr; "
                "ingest them into different folders"
            )
    return {folder: out / f"{name}.zarr" for folder, name in names.items()}


def name_of(folder: Path) -> str:
    """Return what a folder is called; ``.`` by its name too."""
    return Path(os.path.abspath(folder)).name


def _each(
    pool: ThreadPoolExecutor, work: Callable[[Path], T], folders: Iterable[Path]
) -> tuple[dict[Path, T], dict[Path, BaseException]]:
    """Return results and failures, by folder."""
    futures = {folder: pool.submit(work, folder) for folder in folders}
    try:
        ended = {folder: future.exception() for folder, future in futures.items()}
    finally:
        # Of effect only if interrupted: what has not begun shall not.
        for future in futures.values():
            future.cancel()
    failures = {folder: error for folder, error in ended.items() if error is not None}
    results = {
        folder: future.result() for folder, future in futures.items() if folder not in failures
    }
    return results, failures


def _blocks(cube: xr.DataTree) -> dict[str, da.Array]:
    """Return what is counted: reflectance, per sensor, where it is lazy."""
    arrays = {name: group["reflectance"].data for name, group in groups_of(cube).items()}
    return {name: array for name, array in arrays.items() if isinstance(array, da.Array)}


def _count_blocks(cube: xr.DataTree) -> int:
    return sum(array.npartitions for array in _blocks(cube).values())


class _Watch:
    """Counts blocks as they are read, on a bar, and stops all when left early.

    dask's own callbacks are global to a process: they cannot tell folders in threads apart.
    """

    def __init__(self, total: int, *, shown: bool) -> None:
        self._bar = tqdm(total=total, desc="ingest", unit="block", disable=not shown)
        self._lock = threading.Lock()
        self._left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left = True
        self._bar.close()

    def over(self, cube: xr.DataTree) -> xr.DataTree:
        """Return the cube, whose blocks of reflectance are counted as they are computed."""
        groups = groups_of(cube)
        for name, array in _blocks(cube).items():
            variable = groups[name]["reflectance"]
            groups[name]["reflectance"] = variable.copy(data=self._counted(array))
        return xr.DataTree.from_dict({"/": cube.to_dataset(), **groups})

    def _counted(self, array: da.Array) -> da.Array:
        # Named by us: dask would try to pickle the bar to find a name.
        name = f"counted-{uuid.uuid4().hex}"
        counted: da.Array = da.map_blocks(
            self._tick, array, name=name, dtype=array.dtype, meta=array._meta
        )
        return counted

    def _tick(self, block: Any) -> Any:
        if self._left:
            raise IngestError("interrupted")
        with self._lock:
            self._bar.update()
        return block

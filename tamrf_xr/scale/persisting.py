"""A product computed once, into memory, with a bar of the tiles that are done."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from typing import Any

import dask
import xarray as xr
from dask.base import get_scheduler
from dask.callbacks import Callback

from tamrf_xr.errors import MemoryBudgetError
from tamrf_xr.machine import available_memory
from tamrf_xr.scale.lazy import fuse_lazily, is_tile
from tamrf_xr.scale.prepared import Job

SHARE = 0.8
"""Of the memory that is free, what a product may take."""


def fuse_in_memory(job: Job, *, progress: bool) -> xr.DataTree:
    """Compute a product and keep it as dask arrays of what is in memory.

    Parameters
    ----------
    job
        What is to be made.
    progress
        Show a bar: it moves when a tile is done.

    Returns
    -------
    xarray.DataTree
        As of `fuse_lazily`. With a ``dask.distributed`` client it lies with the workers.

    Raises
    ------
    MemoryBudgetError
        If the product does not fit the memory of this machine.
    DateError
        As `Job.tiled`.
    """
    from tqdm.auto import tqdm

    lazy = fuse_lazily(job)
    _check_fits(lazy)
    count = _tiles_of(lazy)
    what = f"fuse ({job.spec.method})"
    # Fused with the views of it, the task of a tile would not be told from them.
    whole = dask.config.set({"optimization.fuse.active": False})
    with tqdm(total=count, unit="tile", desc=what, disable=not progress) as bar, whole:
        with _counting(bar):
            product = lazy.persist()
        if _elsewhere():
            _follow_workers(product, bar)
    return product


def _check_fits(product: xr.DataTree) -> None:
    needed, free = product.nbytes, available_memory()
    if not _elsewhere() and needed > SHARE * free:
        raise MemoryBudgetError(
            f"the product takes {needed / 2**30:.3g} GiB and {free / 2**30:.3g} GiB are free: ask "
            "for fewer dates or bands, clip the cube, or write a store: tamrf_xr.run_job"
        )


def _elsewhere() -> bool:
    """Tell whether a client of dask.distributed computes, as dask itself does."""
    return inspect.ismethod(get_scheduler())


def _tiles_of(product: xr.DataTree) -> int:
    return max(len(a.chunksizes["y"]) * len(a.chunksizes["x"]) for a in _arrays(product))


def _arrays(product: xr.DataTree) -> Iterator[xr.DataArray]:
    return (v for node in product.subtree for v in node.data_vars.values() if v.chunks)


def _counting(bar: Any) -> Callback:
    """Count the tiles that the threads of this process have done."""

    def count(key: Any, *_: Any) -> None:
        if is_tile(key):
            bar.update()

    return Callback(posttask=count)


def _follow_workers(product: xr.DataTree, bar: Any) -> None:
    """Wait for workers; a tile is done when all that is taken of it is."""
    from distributed import as_completed, futures_of

    # A tree is no collection of dask: of it, no futures are found.
    futures = futures_of([array.data for array in _arrays(product)])
    parts = Counter(future.key[-2:] for future in futures)
    for future in as_completed(futures):
        if future.status == "error":
            future.result()  # raises
        parts[future.key[-2:]] -= 1
        if not parts[future.key[-2:]]:
            bar.update()

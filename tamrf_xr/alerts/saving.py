"""A map of alerts in a store: Zarr 2, which GDAL opens too; whole or not there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.cube import CUBE_VERSION, located
from tamrf_xr.geozarr import PLAIN_CODEC, for_gdal, georeferenced
from tamrf_xr.origins import places_of
from tamrf_xr.paths import PathLike
from tamrf_xr.replaceable import MARKER, check_store
from tamrf_xr.replacing import fresh

NO_DAY = -(2**31)
"""Stands for no date in a store, where dates are days since 1970."""


def save_alerts(
    found: xr.Dataset,
    store: PathLike,
    *,
    overwrite: bool = False,
    progress: AbstractContextManager[Any] | None = None,
) -> None:
    """Compute a map of alerts, and write it.

    Parameters
    ----------
    found
        The map, of `tamrf_xr.alerts.alerts`.
    store
        Path of the store, on a file system; written under another name, then renamed.
    overwrite
        Replace what is there, if it is ours.
    progress
        Context in which dask computes.

    Raises
    ------
    OutputExistsError
        If something is there that may not be replaced.
    OptionError
        If `store` is no place for one.
    """
    target = check_store(store, _WHAT, overwrite=overwrite)
    with fresh(target, overwrite=overwrite) as partial, progress or nullcontext():
        _storable(found).to_zarr(partial, mode="w", zarr_format=2, consolidated=True)


def check_alerts(cube: xr.DataTree, store: PathLike, *, overwrite: bool) -> None:
    """Raise as `save_alerts` does, and where `store` is what `cube` is read from."""
    check_store(store, _WHAT, overwrite=overwrite, inputs=places_of(cube))


_WHAT = "store of alerts"


def _storable(found: xr.Dataset) -> xr.Dataset:
    placed = for_gdal(georeferenced(located(found)))
    placed.attrs = {MARKER: CUBE_VERSION, **placed.attrs}
    for array in placed.data_vars.values():
        mapping = {"grid_mapping": array.attrs.pop("grid_mapping", "spatial_ref")}
        array.encoding = {"compressors": PLAIN_CODEC, **mapping}
        if array.dtype.kind == "M":
            days = {"units": "days since 1970-01-01", "dtype": "int32", "_FillValue": NO_DAY}
            array.encoding |= days
        elif array.dtype.kind == "f":
            array.encoding |= {"_FillValue": np.float32(np.nan)}
    return placed

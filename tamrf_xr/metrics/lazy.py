"""The metrics on DataArrays: by name of dimension, lazily where the data is lazy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["map_images"]


def map_images(
    metric: Callable[..., Any],
    *images: xr.DataArray,
    across: tuple[str, ...] = ("y", "x"),
    valid: xr.DataArray | None = None,
) -> xr.DataArray:
    """Apply a metric of this package to DataArrays, date by date.

    Parameters
    ----------
    metric
        Function of arrays whose last dimensions are `across`, such as `rmse`.
    *images
        What the metric takes, prediction first. Chunks along `across` are joined; other chunks,
        such as dates, are computed in parallel.
    across
        Dimensions the metric uses up: ``("band", "y", "x")`` for `sam`.
    valid
        True where usable; its dimensions may lack those before ``y`` and ``x``.

    Returns
    -------
    xarray.DataArray
        The other dimensions of `images`, float64; lazy where one of the inputs is.

    Examples
    --------
    >>> import xarray as xr
    >>> from tamrf_xr.metrics import rmse
    >>> image = xr.DataArray(np.ones((2, 3, 8, 8)), dims=("time", "band", "y", "x"))
    >>> map_images(rmse, image, image * 2).dims
    ('time', 'band')
    """
    import xarray as xr

    inputs = [*images] if valid is None else [*images, valid]
    mapped: xr.DataArray = xr.apply_ufunc(
        metric,
        *(_joined(array, across) for array in inputs),
        input_core_dims=[[name for name in across if name in array.dims] for array in inputs],
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    return mapped


def _joined(array: xr.DataArray, across: tuple[str, ...]) -> xr.DataArray:
    if array.chunks is None:
        return array
    return array.chunk({name: -1 for name in across if name in array.dims})

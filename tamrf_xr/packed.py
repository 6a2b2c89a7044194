"""int16 as a store holds it, and float32 as users see it: the conversions, and lazy reading.

A GPU fed with float32 waits for the CPU that makes it out of int16, and for twice the bytes. So
what `open_cube` gives reads as float32, and inside `integers` as the integers of the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.codecs import BloscCodec, Crc32cCodec

from tamrf_xr.encoding import FILL, SCALES, limit_of

Integers = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float32]

CODECS = (BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec())
"""Of pixels. Against zstd of level 1, on a simulated series: 4 % larger, decoded four times and
encoded three times as fast (benchmarks/io.py). The checksum (4 bytes a chunk) makes a damaged chunk
an error, where blosc gives other values for most flipped bits."""

TOKEN_CODECS = (BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec())
"""Of what a network made of pixels: larger, and read once where images are read again and again."""

_INTEGERS: ContextVar[bool] = ContextVar("integers", default=False)


def reads_integers() -> bool:
    """Tell whether this thread reads packed variables as int16; see `integers`."""
    return _INTEGERS.get()


@contextmanager
def integers() -> Iterator[None]:
    """Read packed variables of a store as int16 for the length of a context, in this thread."""
    token = _INTEGERS.set(True)
    try:
        yield
    finally:
        _INTEGERS.reset(token)


def pack(pixels: Floats, variable: str) -> Integers:
    """Pack as `tamrf_xr.save_cube` does: clipped to what int16 holds and rounded; no number: fill.

    Examples
    --------
    >>> pack(np.array([0.1234, np.nan, 99], np.float32), "reflectance").tolist()
    [1234, -32768, 32767]
    """
    scale = np.float32(SCALES[variable])
    limit = limit_of(variable)
    out = np.empty(pixels.shape, np.int16)
    for source, target in _images(pixels, out):
        units = np.clip(source, -limit, limit, out=np.empty_like(source))
        units /= scale
        np.rint(units, out=units)
        units[~np.isfinite(source)] = FILL
        target[...] = units
    return out


def unpack(stored: Integers, variable: str) -> Floats:
    """Return physical values, NaN where there is no data.

    Examples
    --------
    >>> unpack(np.array([1234, -32768], np.int16), "reflectance").round(4)
    array([0.1234,    nan], dtype=float32)
    """
    out = np.empty(stored.shape, np.float32)
    for source, target in _images(stored, out):
        unpack_into(source, target, variable)
    return out


def unpack_into(stored: Integers, out: Floats, variable: str) -> None:
    """Write physical values into `out`; as `unpack`, for what fits the cache."""
    np.multiply(stored, np.float32(SCALES[variable]), out=out, dtype=np.float32)
    missing = stored == FILL
    if missing.any():
        np.copyto(out, np.float32(np.nan), where=missing)


def _images(*arrays: npt.NDArray[Any]) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Walk arrays image by image: all steps of a conversion then run in the cache."""
    for index in np.ndindex(arrays[0].shape[:-2]):
        # The ellipsis makes a view of one value too, not a number.
        yield tuple(array[(*index, ...)] for array in arrays)


def is_packed(variable: xr.Variable, name: str) -> bool:
    """Tell whether a variable of a store is packed as `tamrf_xr.save_cube` packs."""
    attrs = variable.attrs
    return (
        variable.dtype == np.int16
        and np.float32(attrs.get("scale_factor", np.nan)) == np.float32(SCALES.get(name, 0))
        and attrs.get("_FillValue") == FILL
        and not attrs.get("add_offset")
    )


def unpack_lazily(variable: xr.Variable, name: str) -> xr.Variable:
    """Return a variable of float32, read when it is used; see `integers`."""
    attrs = {
        key: value
        for key, value in variable.attrs.items()
        if key not in {"scale_factor", "add_offset", "_FillValue"}
    }
    lazy = indexing.LazilyIndexedArray(Unpacked(variable, name))
    return xr.Variable(variable.dims, indexing.MemoryCachedArray(lazy), attrs)


def as_float32_lazily(variable: xr.Variable) -> xr.Variable:
    """Return a variable of a store as float32, read when it is used.

    xarray gives float64 for integers with an offset, and casts no array that it has not loaded.
    """
    if variable.chunks is not None or variable._in_memory:
        return variable.astype(np.float32)
    lazy = indexing.LazilyIndexedArray(_AsFloat32(variable))
    made = xr.Variable(variable.dims, indexing.MemoryCachedArray(lazy), variable.attrs)
    made.encoding = variable.encoding
    return made


class _AsFloat32(BackendArray):
    """A lazy variable of another type that reads as float32."""

    dtype = np.dtype(np.float32)

    def __init__(self, variable: xr.Variable) -> None:
        self._variable = variable
        self.shape = variable.shape

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        support = indexing.IndexingSupport.OUTER
        found = indexing.explicit_indexing_adapter(key, self.shape, support, self._read)
        return cast("npt.NDArray[Any]", found)

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        return np.asarray(self._variable[key].values, np.float32)


class Unpacked(BackendArray):
    """A packed variable of a store that reads as float32."""

    dtype = np.dtype(np.float32)

    def __init__(self, variable: xr.Variable, name: str) -> None:
        """Take a variable of int16, and its name."""
        self._variable, self.name = variable, name
        self.shape = variable.shape

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        support = indexing.IndexingSupport.OUTER
        found = indexing.explicit_indexing_adapter(key, self.shape, support, self._read)
        return cast("npt.NDArray[Any]", found)

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        stored = self._variable[key].values
        return stored if _INTEGERS.get() else unpack(stored, self.name)

"""Read what one tile needs of one sensor, from any array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any, Protocol

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.base import compute

from tamrf_xr import panchromatic
from tamrf_xr.cube import FILL, SCALES
from tamrf_xr.fuser import Mask, Packing, Pixels, Series, as_slice
from tamrf_xr.origins import Origin, origins_of
from tamrf_xr.packed import integers, reads_integers, unpack, unpack_into
from tamrf_xr.scale.mosaic import mosaic, present
from tamrf_xr.sensors import SENSORS, THERMAL
from tamrf_xr.shards import Files, Index, layout_of
from tamrf_xr.tiles import Window

Array = npt.NDArray[Any]
TOKENS = "tokens"
"""What a group of no sensor holds: see `tamrf_xr.scale.tokens`."""

READABLE = ("reflectance", "valid", "surface_temperature", panchromatic.NAME, TOKENS)
"""Variables of a group that a tile reads."""

LEADS = ("reflectance", "surface_temperature")
"""Variables whose first decides, beside the mask, which pixels are usable."""

Days = Sequence[Sequence[int]]
"""Per day, positions of its acquisitions."""


class Readable(Protocol):
    """An array ``(time, ..., y, x)`` of which acquisitions and a window can be read."""

    def read(self, times: slice | list[int], window: Window) -> Array:
        """Return ``(time, ..., y, x)`` in memory."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """An array in memory, or one that xarray reads lazily from a store: read straight."""

    variable: xr.Variable
    """``(time, ..., y, x)``."""

    def read(self, times: slice | list[int], window: Window) -> Array:
        """Read the window; no other chunk is touched."""
        if isinstance(times, list) and times and self._fills(times):
            first = min(times)
            span = self.read(slice(first, max(times) + 1), window)
            return span[[time - first for time in times]]
        along, *_, down, across = self.variable.dims
        place = {along: times, down: window.y, across: window.x}
        return np.asarray(self.variable.isel(place).values)

    def _fills(self, times: list[int]) -> bool:
        """Tell whether some time is in every chunk from the first to the last.

        Zarr takes five times as long for a list as for the slice that holds it.
        """
        chunk = self.variable.encoding.get("preferred_chunks", {}).get("time", len(self.variable))
        touched = {time // int(chunk) for time in times}
        return max(touched) - min(touched) < len(touched)


@dataclass(frozen=True, slots=True)
class Sharded:
    """An array of a store of ours on a file system: its chunks are read straight."""

    origin: Origin
    """Where it lies, and how what is read lies in it."""

    files: Files
    """Its files."""

    def read(self, times: slice | list[int], window: Window) -> Array:
        """Read the window: as stored inside `tamrf_xr.packed.integers`, else unpacked."""
        return self._read(times, window, None)

    @property
    def tells_usable(self) -> bool:
        """Whether all bands of a pixel come together."""
        layout = self.files.layout
        return bool(self.origin.packed) and layout.chunk[1:-2] == layout.shape[1:-2]

    def read_usable(self, times: slice | list[int], window: Window) -> tuple[Array, Mask]:
        """As `read`, and tell where all bands are there."""
        count = times.stop - times.start if isinstance(times, slice) else len(times)
        shape = (count, *(one.stop - one.start for one in (window.y, window.x)))
        usable = np.empty(shape, bool)
        return self._read(times, window, usable), usable

    def _read(self, times: slice | list[int], window: Window, usable: Mask | None) -> Array:
        origin = self.origin
        chosen = range(times.start, times.stop) if isinstance(times, slice) else times
        wanted = [*(slice(0, size) for size in origin.shape[1:-2]), window.y, window.x]
        first, *others = origin.start or (0,) * len(origin.shape)
        region = [slice(s.start + by, s.stop + by) for s, by in zip(wanted, others, strict=True)]
        unpacks = bool(origin.packed) and not reads_integers()
        shape = (len(chosen), *(one.stop - one.start for one in wanted))
        out = np.empty(shape, np.float32 if unpacks else self.files.layout.dtype)

        def put(values: Array, at: Index) -> None:
            if unpacks:
                unpack_into(values, out[at], origin.packed)
            else:
                out[at] = values
            if usable is not None:
                bands = tuple(range(1, values.ndim - 2))
                usable[(at[0], *at[-2:])] = (values != FILL).all(axis=bands)

        self.files.read([first + time for time in chosen], region, put)
        return out


@dataclass(frozen=True, slots=True)
class Pending:
    """A dask array of which a task computes just what it needs, in its own thread."""

    array: da.Array
    """``(time, ..., y, x)``."""

    def read(self, times: slice | list[int], window: Window) -> Array:
        """Compute the blocks that the window touches."""
        return np.asarray(self.wanted(times, window).compute(scheduler="synchronous"))

    def wanted(self, times: slice | list[int], window: Window) -> da.Array:
        """Return what is to be computed."""
        wanted: da.Array = self.array[..., window.y, window.x][times]
        return wanted


@dataclass(frozen=True, slots=True)
class Blocks:
    """The computed blocks of a dask array that a window touches, put together as asked."""

    blocks: Sequence[Array]
    """Blocks, in the order of `starts`."""

    starts: Sequence[tuple[int, ...]]
    """Index of each block's first element in the whole array."""

    shape: tuple[int, ...]
    """Shape of the whole array."""

    def read(self, times: slice | list[int], window: Window) -> Array:
        """Put the window together from the blocks."""
        middle = [slice(0, size) for size in self.shape[1:-2]]
        wanted = [slice(0, self.shape[0]), *middle, window.y, window.x]
        out = np.empty([s.stop - s.start for s in wanted], self.blocks[0].dtype)
        for block, start in zip(self.blocks, self.starts, strict=True):
            inside, place = [], []
            for size, first, want in zip(block.shape, start, wanted, strict=True):
                low, high = max(first, want.start), min(first + size, want.stop)
                inside.append(slice(low - first, high - first))
                place.append(slice(low - want.start, high - want.start))
            out[tuple(place)] = block[tuple(inside)]
        return out[times]


def blocks_touched(
    chunks: Sequence[Sequence[int]], window: Window
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """List the blocks of a dask array ``(time, ..., y, x)`` that a window touches.

    Returns
    -------
    list
        Pairs of block index and index of its first element.
    """
    axes = []
    for axis, sizes in enumerate(chunks):
        starts = [0, *accumulate(sizes)][:-1]
        wanted = {len(chunks) - 2: window.y, len(chunks) - 1: window.x}.get(axis)
        axes.append(
            [
                (index, start)
                for index, (start, size) in enumerate(zip(starts, sizes, strict=True))
                if size and _overlaps(start, size, wanted)
            ]
        )
    return [tuple(zip(*block, strict=True)) for block in product(*axes)]  # type: ignore[misc]


def _overlaps(start: int, size: int, wanted: slice | None) -> bool:
    return wanted is None or (start < wanted.stop and start + size > wanted.start)


@dataclass(frozen=True, slots=True)
class SensorSource:
    """The arrays of one sensor, as a cube holds them."""

    arrays: Mapping[str, Readable]
    """``reflectance``, and ``valid`` and ``surface_temperature`` where there are any."""

    order: tuple[tuple[str, int], ...]
    """Per band of reflectance, in the order of the series: its name, its position in the cube."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands of a series: those of reflectance, then temperature."""
        optical = tuple(name for name, _ in self.order) if "reflectance" in self.arrays else ()
        return (*optical, THERMAL) if "surface_temperature" in self.arrays else optical

    def series(self, window: Window, days: Days, *, packed: bool = False) -> Series:
        """Read what the sensor saw of a window.

        Parameters
        ----------
        window
            Pixels of the sensor's own grid.
        days
            Per day, positions of its acquisitions.
        packed
            Leave integers as they are stored, where all arrays are read from a store.

        Returns
        -------
        Series
            Per day one image: bands in the order of the table, then temperature. Several
            acquisitions of a day are merged, see `tamrf_xr.scale.mosaic`.
        """
        positions = [position for day in days for position in day]
        times = as_slice(positions)
        with integers() if packed else nullcontext():
            read, there = _read_all(self.arrays, times, window)
        if TOKENS in read:
            tokens = read[TOKENS]
            return Series(tokens, np.broadcast_to(True, (len(tokens), *tokens.shape[2:])), ())
        joined = self._join(read, there)
        mask = read["valid"].astype(bool, copy=False) if "valid" in read else None
        return mosaic(joined, [len(day) for day in days], mask=mask)

    def _floats(self, name: str, part: Array) -> Pixels:
        array = self.arrays[name]
        unpacked = isinstance(array, Sharded) and array.origin.packed and part.dtype == np.float32
        return part if unpacked else _as_float(part, name)  # of integers, nothing is endless

    def _join(self, read: Mapping[str, Array], there: Mask | None) -> Series:
        parts: dict[str, Array] = {}
        if "reflectance" in read:
            parts["reflectance"] = _in_order(
                read["reflectance"], [place for _, place in self.order]
            )
        if "surface_temperature" in read:
            parts["surface_temperature"] = read["surface_temperature"][:, None]
        if all(part.dtype == np.int16 for part in parts.values()):
            scales = [SCALES[name] for name, part in parts.items() for _ in range(part.shape[1])]
            packing = Packing(tuple(scales), FILL)
        else:
            packing = None
            parts = {name: self._floats(name, part) for name, part in parts.items()}
        usable = np.all(present(next(iter(parts.values()))), axis=1) if there is None else there
        if "valid" in read:
            usable = usable & read["valid"].astype(bool)
        together = [*parts.values()]
        pixels = together[0] if len(together) == 1 else np.concatenate(together, axis=1)
        sharp = read.get(panchromatic.NAME)
        if sharp is not None:
            sharp = _as_float(sharp, panchromatic.NAME)
        return Series(pixels, usable, self.bands, packing, sharp)


def _read_all(
    arrays: Mapping[str, Readable], times: slice | list[int], window: Window
) -> tuple[dict[str, Array], Mask | None]:
    """Read every array; tell where all bands of the first are there, if that costs no pass.

    Dask arrays are read at once, for reflectance and mask may come of the same blocks.
    """
    pending = {
        name: array.wanted(times, window_of(name, window))
        for name, array in arrays.items()
        if isinstance(array, Pending)
    }
    (computed,) = compute(pending, scheduler="synchronous")
    found = {name: np.asarray(values) for name, values in computed.items()}
    there: Mask | None = None
    for name, array in arrays.items():
        if name in LEADS and isinstance(array, Sharded) and array.tells_usable and not found:
            found[name], there = array.read_usable(times, window)
        elif name not in found:
            found[name] = array.read(times, window_of(name, window))
    return found, there


def window_of(variable: str, window: Window) -> Window:
    """Return a window of a group's grid in pixels of one of its variables."""
    if variable != panchromatic.NAME:
        return window
    ratio = panchromatic.RATIO
    rows, cols = (slice(s.start * ratio, s.stop * ratio) for s in (window.y, window.x))
    return Window(rows, cols)


def _as_float(part: Array, variable: str) -> Pixels:
    if part.dtype == np.int16:
        return unpack(part, variable)
    with np.errstate(over="ignore"):
        floats = part.astype(np.float32, copy=False)
    endless = np.isinf(floats)  # no data, for every method
    return np.where(endless, np.float32(np.nan), floats) if endless.any() else floats


def _in_order(bands: Array, order: list[int]) -> Array:
    return bands if order == list(range(len(order))) else bands[:, order]


def source_of(sensor: str, group: xr.Dataset) -> SensorSource:
    """Return what reads a group by itself, outside any graph.

    Parameters
    ----------
    sensor
        Name of the group.
    group
        Arrays in memory, lazy ones of a store, or dask arrays.
    """
    arrays = {name: readable(group[name].variable) for name in READABLE if name in group}
    return SensorSource(arrays, order_of(sensor, group))


def readable(variable: xr.Variable) -> Readable:
    """Return the fastest way to read a variable."""
    if variable.chunks:
        return Pending(variable.data)
    for origin in origins_of(variable):
        layout = layout_of(origin.array) if origin.plain and origin.start is not None else None
        if layout and (origin.packed or layout.dtype == variable.dtype):
            return Sharded(origin, Files(origin.folder, layout))
    return Stored(variable)


def order_of(sensor: str, group: xr.Dataset) -> tuple[tuple[str, int], ...]:
    """Return a group's bands in the order of the sensor table, with their positions in it."""
    if TOKENS in group:
        return ()
    held = group["band"].values.tolist() if "band" in group else []
    places = {name: place for place, name in enumerate(held)}
    return tuple((name, places[name]) for name in SENSORS[sensor].band_names if name in places)

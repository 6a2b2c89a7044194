"""Pixels of acquisitions that lie in raster files, as one lazy array on the grid of a cube.

The plan: one array of float32 planes (every band in physical units, then 1 where usable) with one
task a block of one acquisition, so that bands and mask are read once however many variables are
computed. A block that is made of whole pixels of the file is a window read; any other is read with
a margin and resampled, in memory rather than by a WarpedVRT: two values mean no data (0 and the
one of the header), and neither may leak into its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import rasterio
from dask.array.core import normalize_chunks
from pyproj import CRS
from rasterio.errors import RasterioError
from rasterio.windows import Window

from tamrf_xr.cube import SCALES, Grid
from tamrf_xr.errors import IngestError
from tamrf_xr.nesting import cut, whole_shift
from tamrf_xr.resample import MARGIN, covering, resample_planes
from tamrf_xr.sensors import SENSORS

Planes = npt.NDArray[np.float32]

NODATA = (0.0, -10000.0)
"""Stored values that mean no data, besides the one in the header of a file."""

METHOD = "cubic (bands), nearest (masks)"
"""How pixels are resampled, where they have to be."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a raster file says of itself."""

    path: Path
    """The file."""

    bands: int
    """How many it has."""

    grid: Grid
    """Where its pixels lie."""


def read_header(path: Path) -> Header:
    """Read where the pixels of a file lie; none of them.

    Raises
    ------
    IngestError
        If it cannot be read, has no projected CRS, or pixels that are not square and north up.
    """
    with _opened(path) as file:
        crs, transform = file.crs, file.transform
        bands, shape = file.count, (file.height, file.width)
    if crs is None or not crs.is_projected:
        raise IngestError(
            f"{path}: coordinate reference system {crs and crs.to_string()}; expected a projected "
            "one, such as EPSG:32631; write it with gdal_edit.py -a_srs"
        )
    if transform.b or transform.d or not np.isclose(transform.a, -transform.e):
        raise IngestError(f"{path}: pixels must be square and north up, found {transform[:6]}")
    code = crs.to_epsg()
    return Header(path, bands, Grid(CRS(code or crs.to_wkt()), transform, shape))


def _opened(path: Path) -> Any:
    try:
        # No other driver: a VRT named .tif would read whatever files and addresses it names.
        return rasterio.open(path, driver="GTiff")
    except RasterioError as error:
        raise IngestError(f"{path} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Acquisitions:
    """The files of one sensor, and where their pixels go."""

    sensor: str
    """Name in the sensor table; bands are in its order, the thermal one last."""

    bands: tuple[Path, ...]
    """Per acquisition, the file of its bands: reflectance x 10000, kelvin x 10."""

    masks: tuple[Path, ...]
    """Per acquisition, the file of its mask: unusable where > 0."""

    source: Grid
    """Grid of all these files."""

    target: Grid
    """Grid of the group in the cube."""

    @property
    def nested(self) -> bool:
        """Whether the target is made of whole pixels of the files."""
        return whole_shift(self.source, self.target) is not None

    def read(self, position: int, rows: slice, columns: slice) -> Planes:
        """Read a block of an acquisition.

        Parameters
        ----------
        position
            Of the acquisition.
        rows, columns
            Pixels of the target.

        Returns
        -------
        numpy.ndarray
            ``(band + 1, y, x)``: bands in physical units, NaN where there is no data; the last
            plane is 1 where the mask and every reflectance band say usable, else 0.

        Raises
        ------
        IngestError
            If a file cannot be read.
        """
        place = cut(self.target, rows, columns)
        shift = whole_shift(self.source, place)
        if shift is not None:
            return self._read(position, Window(shift[1], shift[0], *place.shape[::-1]))
        near = covering(self.source, place, margin=MARGIN)
        if near is None:
            return _nothing(len(SENSORS[self.sensor].all_bands) + 1, place.shape)
        source = cut(self.source, *near)
        return _warp(self._read(position, Window.from_slices(*near)), source, place)

    def _read(self, position: int, window: Window) -> Planes:
        stored, nodata = _read_window(self.bands[position], window)
        mask, _ = _read_window(self.masks[position], window)
        physical = _to_physical(stored, nodata, self.sensor)
        count = len(SENSORS[self.sensor].bands)
        usable = ~(mask[0] > 0) & np.isfinite(physical[:count]).all(axis=0)
        return np.concatenate([physical, usable[None]], dtype=np.float32)


def _read_window(path: Path, window: Window) -> tuple[npt.NDArray[Any], float | None]:
    with _opened(path) as file:
        try:
            return file.read(window=window), file.nodata
        except RasterioError as error:
            raise IngestError(f"{path}, {window}: pixels cannot be read: {error}") from error


def _to_physical(stored: npt.NDArray[Any], nodata: float | None, sensor: str) -> Planes:
    physical = stored.astype(np.float32)
    missing = np.logical_or.reduce([physical == value for value in (*NODATA, nodata)])
    count = len(SENSORS[sensor].bands)
    # LS2S2 stores both kinds in the units of a cube on disk.
    physical[:count] *= np.float32(SCALES["reflectance"])
    physical[count:] *= np.float32(SCALES["surface_temperature"])
    physical[missing] = np.nan
    return physical


def _nothing(planes: int, shape: tuple[int, int]) -> Planes:
    empty = np.full((planes, *shape), np.nan, np.float32)
    empty[-1] = 0
    return empty


def _warp(planes: Planes, source: Grid, place: Grid) -> Planes:
    out = _nothing(len(planes), place.shape)
    out[:-1] = resample_planes(planes[:-1], source=source, target=place, how="cubic")
    usable = resample_planes(planes[-1:], source=source, target=place, how="nearest")[0] == 1
    out[-1] = usable & np.isfinite(out[: len(SENSORS["landsat"].bands)]).all(axis=0)
    return out


def lazy_planes(files: Acquisitions, edge: int | None) -> da.Array:
    """Lay the planes of all acquisitions out as a dask array; no pixel is read.

    Parameters
    ----------
    files
        The files.
    edge
        Pixels of the target across a block, or None for one block an acquisition.

    Returns
    -------
    dask.array.Array
        ``(time, band + 1, y, x)`` float32, see `Acquisitions.read`.
    """
    planes = len(SENSORS[files.sensor].all_bands) + 1
    shape = (len(files.bands), planes, *files.target.shape)
    chunks = normalize_chunks((1, planes, edge or -1, edge or -1), shape)
    block = max(shape) if edge is None else edge
    lazy: da.Array = da.map_blocks(
        _read_block,
        files=files,
        edge=block,
        chunks=chunks,
        dtype=np.float32,
        meta=np.empty((0, 0, 0, 0), np.float32),
    )
    return lazy


def _read_block(*, files: Acquisitions, edge: int, block_id: tuple[int, ...]) -> Planes:
    position, _, row, column = block_id
    height, width = files.target.shape
    rows = slice(row * edge, min((row + 1) * edge, height))
    columns = slice(column * edge, min((column + 1) * edge, width))
    return files.read(position, rows, columns)[None]

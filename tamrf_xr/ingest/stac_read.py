"""Pixels of an asset on a grid of a cube: signed when read, read again where that helps.

The plan: odc-stac lays out the graph and puts scenes of a pass over each other; this is its reader.
A block that is made of whole pixels of the file is a window read; any other is read with a margin
and resampled by this package, for GDAL alone fills holes from their rims, and no interpolation may
take what stands for no data for a number. Whoever holds a graph for longer than a signature lasts
is safe: URLs are signed when a block is read, and anew when the server says no.
"""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt
import rasterio
from odc.loader import RasterLoadParams, RasterSource, RioDriver
from pyproj import CRS
from rasterio.errors import RasterioError
from rasterio.windows import Window

from tamrf_xr.cube import Grid
from tamrf_xr.errors import IngestError, OptionError
from tamrf_xr.nesting import cut, whole_shift
from tamrf_xr.resample import MARGIN, How, covering, resample_planes

log = logging.getLogger(__name__)

Pixels = npt.NDArray[Any]
Sign = Callable[[str], str]

_GONE = re.compile(
    r"response code: ?4(04|10)\b|no such file|(key|blob) does not exist|nosuchkey", re.IGNORECASE
)
"""What a server or GDAL says of what is not there: to ask again does not help."""


class _UnfitError(RasterioError):  # type: ignore[misc]
    """A file that can be read and is none of its product: to ask again does not help."""


_QUERY = re.compile(r"\?[^\s'\"#]*")
"""Of a URL: a signature."""

_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "0",  # tried again here, where the URL can be signed anew
    "GDAL_HTTP_CONNECTTIMEOUT": "30",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
}
_FIRST_WAIT = 0.5
"""Seconds before the second try; each wait is twice the last."""


@dataclass(frozen=True, slots=True)
class Access:
    """How assets are reached."""

    sign: Sign | str | None = None
    """Signs a URL: a function, or ``module.function``."""

    gdal: Mapping[str, str] = field(default_factory=dict)
    """Options of GDAL."""

    retries: int = 4
    """How often to try again."""

    def __post_init__(self) -> None:
        """Find what signs before a job begins, not in it."""
        if self.sign:
            _signer(self.sign)

    def signed(self, url: str) -> str:
        """Return a URL as it is to be read now."""
        return str(_signer(self.sign)(url)) if self.sign else url


def _signer(sign: Sign | str) -> Sign:
    if callable(sign):
        return sign
    module, _, name = sign.rpartition(".")
    try:
        found: Sign = getattr(import_module(module), name)
    except ImportError as error:
        raise OptionError(
            f"this catalogue signs its URLs: pip install 'tamrf-xr[stac]' ({error}), or pass "
            "patch_url="
        ) from error
    return found


def labelled(url: str, item: str, asset: str) -> str:
    """Return a URL that carries, behind ``#``, what it is of: all that odc-stac hands on is it."""
    return f"{url}#{quote(item)}&{quote(asset)}"


class Driver(RioDriver):
    """A reader driver of odc-stac."""

    def __init__(self, access: Access) -> None:
        super().__init__()
        self.access = access

    @contextmanager
    def restore_env(self, env: dict[str, Any], load_state: Any) -> Iterator[Any]:
        """Set GDAL up for reading on this thread."""
        with super().restore_env({**env, **_GDAL, **self.access.gdal}, load_state) as context:
            yield context

    def open(self, src: RasterSource, ctx: Any) -> Any:  # noqa: ARG002 (the protocol of odc)
        """Return the reader of a source; nothing is opened yet."""
        url, _, label = src.uri.rpartition("#")
        item, asset = map(unquote, label.split("&"))
        return Reader(url, item, asset, self.access)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one asset."""

    url: str
    """Not signed."""

    item: str
    """Of which it is."""

    asset: str
    """Its name there."""

    access: Access
    """How it is reached."""

    def read(
        self, cfg: RasterLoadParams, dst_geobox: Any, **_: Any
    ) -> tuple[tuple[slice, slice], Pixels]:
        """Read what the asset has of a block, on its grid; see `odc.loader`."""
        height, width = dst_geobox.shape
        place = Grid(CRS(str(dst_geobox.crs)), dst_geobox.affine, (height, width))
        kind = Kind(np.dtype(cfg.dtype), int(cfg.fill_value or 0), classes=cfg.nearest)
        pixels = self._tried(lambda url: read_pixels(url, place, kind))
        return (slice(0, height), slice(0, width)), pixels

    def _tried(self, read: Callable[[str], Pixels]) -> Pixels:
        wait = _FIRST_WAIT
        for attempt in range(self.access.retries + 1):
            try:
                return read(_afresh(self.access.signed(self.url), attempt))
            except (RasterioError, OSError) as error:  # of signing too
                said = _QUERY.sub("", f"{error} {error.__cause__ or ''}").strip()[:300]
                final = isinstance(error, _UnfitError) or _GONE.search(said)
                if attempt == self.access.retries or final:
                    raise self._failed(said, attempt + 1) from error
                what = f"item {self.item}, asset {self.asset}"
                log.warning("%s, again in %g s: %s", what, wait, said)
            time.sleep(wait)
            wait *= 2
        raise AssertionError("retries below 0")  # checked at the door

    def _failed(self, said: str, tries: int) -> IngestError:
        return IngestError(
            f"item {self.item}, asset {self.asset} cannot be read (tried {tries} times): "
            f"{_QUERY.sub('', self.url)}: {said}; run again to go on from here, or pass "
            f"skip=['{self.item}'] (--skip) to leave it out"
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """What the numbers of a file are."""

    dtype: np.dtype[Any]
    """Their type, of integers."""

    fill: int
    """Stands for no data."""

    classes: bool
    """Whether they are classes or bits, between which nothing lies."""


def read_pixels(url: str, place: Grid, kind: Kind) -> Pixels:
    """Read a file on a grid.

    Parameters
    ----------
    url
        Path or URL of a raster; its first band is read.
    place
        The grid.
    kind
        What its numbers must be.

    Returns
    -------
    numpy.ndarray
        ``(y, x)`` integers on `place`, the fill where the file has nothing.

    Raises
    ------
    rasterio.errors.RasterioError
        If it cannot be read, or is no such file.
    """
    with rasterio.open(url, sharing=False, driver=_driver_of(url)) as file:
        source = _checked(file, kind)
        if (shift := whole_shift(source, place)) is not None:
            return _pasted(file, shift, place.shape, kind)
        near = covering(source, place, margin=MARGIN)
        if near is None:
            return np.full(place.shape, kind.fill, kind.dtype)
        stored = _read(file, kind, *near)
    values = np.where(stored == kind.fill, np.nan, stored.astype(np.float32))
    how: How = "nearest" if kind.classes else "cubic"
    moved = resample_planes(values[None], source=cut(source, *near), target=place, how=how)[0]
    return _whole_numbers(moved, kind)


def _driver_of(url: str) -> str:
    """Return what reads a file; no other: a VRT would read whatever files and places it names."""
    place = url.partition("#")[0].partition("?")[0].lower()
    return "JP2OpenJPEG" if place.endswith((".jp2", ".j2k")) else "GTiff"


def _checked(file: Any, kind: Kind) -> Grid:
    """Return the grid of a file that is as it must be."""
    if not np.can_cast(file.dtypes[0], kind.dtype):
        raise _UnfitError(f"it holds {file.dtypes[0]}, expected {kind.dtype} of a product")
    if file.crs is None:
        raise _UnfitError("it has no coordinate reference system, expected one")
    return Grid(_crs(file.crs.to_wkt()), file.transform, (file.height, file.width))


def _read(file: Any, kind: Kind, rows: slice, columns: slice) -> Pixels:
    """Read a window; what the file itself calls no data is the fill."""
    pixels: Pixels = file.read(1, window=Window.from_slices(rows, columns))
    if not kind.classes and file.nodata is not None:
        pixels[pixels == file.nodata] = kind.fill
    return pixels.astype(kind.dtype, copy=False)


def _afresh(url: str, attempt: int) -> str:
    """Return a URL that GDAL has not failed to open: it remembers, and does not ask again.

    A fragment makes another URL of it, which servers never see; rasterio would cut it off.
    """
    again = attempt > 0 and url.startswith(("http://", "https://"))
    return f"/vsicurl/{url}#{attempt}" if again else url


@functools.lru_cache(64)
def _crs(wkt: str) -> CRS:
    crs = CRS(wkt)
    code = crs.to_epsg()
    return CRS(code) if code else crs


def _pasted(file: Any, shift: tuple[int, int], shape: tuple[int, int], kind: Kind) -> Pixels:
    """Read whole pixels; what lies beyond the file is the fill."""
    pixels = np.full(shape, kind.fill, kind.dtype)
    rows, columns = (
        slice(max(start, 0), min(start + size, there))
        for start, size, there in zip(shift, shape, (file.height, file.width), strict=True)
    )
    if rows.start < rows.stop and columns.start < columns.stop:
        into = tuple(
            slice(part.start - start, part.stop - start)
            for part, start in zip((rows, columns), shift, strict=True)
        )
        pixels[into] = _read(file, kind, rows, columns)
    return pixels


def _whole_numbers(values: npt.NDArray[np.float32], kind: Kind) -> Pixels:
    """Round; what overshoots beside bright edges stays a number, and never becomes no data."""
    limits, rounded = np.iinfo(kind.dtype), np.rint(values)
    if not kind.classes:
        rounded = np.clip(rounded, max(limits.min, kind.fill + 1), limits.max)
    return np.where(np.isnan(rounded), kind.fill, rounded).astype(kind.dtype)

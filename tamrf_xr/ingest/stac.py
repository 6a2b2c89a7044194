"""Cubes from STAC catalogues: from a place and a period to both sensors, lazily or in a store."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dask
import xarray as xr
from dask.diagnostics.progress import ProgressBar
from pyproj import CRS
from pyproj.exceptions import CRSError

from tamrf_xr.cube import groups_of
from tamrf_xr.errors import OptionError, OutputExistsError
from tamrf_xr.harmonize import as_cube
from tamrf_xr.ingest.batch import IngestReport, threads_of, unlike
from tamrf_xr.ingest.stac_area import read_area
from tamrf_xr.ingest.stac_catalogs import Catalog, get_catalog
from tamrf_xr.ingest.stac_keep import Kept, alone_in, fetch
from tamrf_xr.ingest.stac_numbers import lazily, names_of
from tamrf_xr.ingest.stac_plan import Found, Request, find, in_metres
from tamrf_xr.replaceable import check_store
from tamrf_xr.replacing import remove
from tamrf_xr.sensors import SENSORS
from tamrf_xr.store import SHARD, save_cube

CHUNK = 3 * SHARD
"""10 m pixels across a block: whole shards of a store, and about a block of a COG."""

RETRIES = 4
"""How often a search or a read is tried again."""

WORKERS = 16
"""Pieces fetched at once: they wait for the network more than they work."""


def from_stac(
    catalog: str | Catalog,
    *,
    bbox: Any = None,
    geometry: Any = None,
    aoi: Any = None,
    datetime: str | None = None,
    collections: str | Sequence[str] | None = None,
    crs: Any = None,
    max_cloud: float | None = None,
    patch_url: Callable[[str], str] | None = None,
    chunks: int = CHUNK,
    harmonized: bool | None = None,
    offset: Any = None,
    check: str = "off",
    skip: Sequence[str] = (),
    retries: int = RETRIES,
    landsat7: bool = False,
) -> xr.DataTree:
    """Open what a STAC catalogue has of a place and a period as a cube, lazily.

    The catalogue is searched; no pixel is read before it is computed. Scenes that one platform
    took within ten minutes are one date: where they overlap, the first that has a pixel gives it.
    Of items that are there twice (reprocessed), the newest counts. A band that an item lacks is
    NaN on that date, and a warning names it.

    Both sensors lie on one pair of grids, laid out in whole steps of 30 m from the origin of the
    CRS. Pixels of Sentinel-2 in that CRS are read as they are, its 20 m bands by cubic convolution.
    The archive of Landsat lies 15 m off: it is resampled, once, by cubic convolution, masks by the
    nearest pixel; so is what lies in another UTM zone. Landsat alone keeps its own pixels.

    Parameters
    ----------
    catalog
        ``"earth-search"``, ``"planetary-computer"``, ``"cdse"``, ``"usgs"``, ``"lpcloud"`` (HLS),
        or a row of `tamrf_xr.ingest.stac_catalogs`.
    bbox
        West, south, east, north in degrees.
    geometry
        GeoJSON in longitude and latitude; the cube covers the box around it.
    aoi
        A JSON file or its content: GeoJSON, or ``{name, aoi: [left, bottom, right, top], crs,
        start_date, end_date}``.
    datetime
        ``"2022-01-01/2022-12-31"``; may be left out where `aoi` has it.
    collections
        Ids, in place of those that the catalogue's row names.
    crs
        Of the cube; by default that of `aoi` where it is projected in metres, else the UTM zone
        that covers most of the place.
    max_cloud
        Percent of cloud that an item may have.
    patch_url
        Signs the URL of an asset each time a block is read, in place of the catalogue's own way;
        on a cluster it must be picklable.
    chunks
        10 m pixels across a dask block of one band and date, a multiple of 3.
    harmonized, offset, check
        As of `tamrf_xr.as_cube`. By default nothing is read, so that no pixel is questioned.
    skip
        Ids of items to leave out, such as one whose file is damaged.
    retries
        How often a search or a read is tried again; waits double from half a second.
    landsat7
        Take scenes of Landsat-7 too. A warning and the attribute ``landsat7`` name their dates:
        they lack B01, are not adjusted to OLI, and since June 2003 have gaps, which are no data.

    Returns
    -------
    xarray.DataTree
        The cube, dates in order.

    Raises
    ------
    IngestError
        If the catalogue cannot be reached or has nothing, or items are not what its row promises.
        When pixels are computed: naming the item and asset that cannot be read.
    CubeError
        If it cannot be told whether numbers hold the offset of baseline 04.00.
    OptionError, DateError, SourceNotFoundError
        If what is asked has no meaning.

    Examples
    --------
    >>> from_stac("earth-search", bbox=(1.2, 43.5, 1.4, 43.7), datetime="2022-12-31/2022-01-01")
    Traceback (most recent call last):
    tamrf_xr.errors.DateError: period 2022-12-31/2022-01-01 ends before it begins; ...
    """
    request = _request(
        catalog,
        bbox=bbox,
        geometry=geometry,
        aoi=aoi,
        datetime=datetime,
        collections=collections,
        crs=crs,
        max_cloud=max_cloud,
        patch_url=patch_url,
        skip=skip,
        retries=retries,
        landsat7=landsat7,
    )
    _check_chunks(chunks)
    found = find(request)
    tree = _tree(found, lazily(found, chunks))
    return as_cube(tree, harmonized=harmonized, offset=offset, check=check)


def ingest_stac(
    catalog: str | Catalog,
    out: str | os.PathLike[str],
    *,
    harmonized: bool | None = None,
    offset: Any = None,
    check: str = "sample",
    overwrite: bool = False,
    workers: int = WORKERS,
    progress: bool = True,
    **asked: Any,
) -> IngestReport:
    """Write what a STAC catalogue has of a place and a period as a cube in Zarr.

    The numbers are fetched in pieces, many at once, into a hidden folder beside the store, which
    is removed when the cube is whole: a run that was killed or failed goes on where it was. The
    cube is written under another name and renamed when it is whole. It needs about twice its room
    meanwhile. The same call made again fetches nothing, and leaves the cube as it is.

    Parameters
    ----------
    catalog
        As of `from_stac`.
    out
        The store.
    harmonized, offset, check
        As of `tamrf_xr.as_cube`.
    overwrite
        Replace a cube that is there, once the new one is whole.
    workers
        Pieces fetched at once.
    progress
        Show how fast numbers come, on standard error.
    **asked
        What `from_stac` takes else.

    Returns
    -------
    IngestReport
        The store, as written or as there.

    Raises
    ------
    OutputExistsError
        If something else is there.
    IngestError
        If an asset cannot be read, naming it and its item.
    JobError
        If another run fetches for the same store.
    OptionError, DateError, CubeError
        As `from_stac`.
    """
    threads = _count(workers, "workers", 1, 1000)
    target = check_store(out, "store", overwrite=True)
    found = find(_request(catalog, reading=(harmonized, offset), **asked))
    if target.exists() and not overwrite:
        if difference := unlike(target, target, partial(_difference, found)):
            raise OutputExistsError(
                f"{target} exists and {difference}; name another store, remove it, or pass "
                "overwrite=True (--overwrite) to replace it"
            )
        return IngestReport(skipped=(target,))
    folder = target.with_name(f".{target.name}.stac")
    with alone_in(folder):
        kept = {
            name: Kept(numbers, folder, CHUNK // SENSORS[name].ratio, names_of(found, name, CHUNK))
            for name, numbers in lazily(found, CHUNK).items()
        }
        fetch(kept, workers=threads, progress=progress)
        numbers = {name: one.opened(SHARD // SENSORS[name].ratio) for name, one in kept.items()}
        cube = as_cube(_tree(found, numbers), harmonized=harmonized, offset=offset, check=check)
        bar = ProgressBar(out=sys.stderr) if progress else None
        with dask.config.set(scheduler="threads", num_workers=threads_of(None)):
            save_cube(cube, target, overwrite=overwrite, progress=bar)
        remove(folder)
    return IngestReport(written=(target,))


def _request(
    catalog: str | Catalog,
    *,
    bbox: Any = None,
    geometry: Any = None,
    aoi: Any = None,
    datetime: str | None = None,
    collections: str | Sequence[str] | None = None,
    crs: Any = None,
    max_cloud: float | None = None,
    patch_url: Callable[[str], str] | None = None,
    skip: Sequence[str] = (),
    retries: int = RETRIES,
    landsat7: bool = False,
    reading: tuple[Any, ...] = (),
) -> Request:
    """Read what is asked; see `from_stac`."""
    return Request(
        get_catalog(catalog),
        read_area(bbox=bbox, geometry=geometry, aoi=aoi, datetime=datetime),
        _texts(collections) if collections is not None else None,
        crs=_projected(crs),
        max_cloud=max_cloud,
        patch_url=patch_url,
        skip=frozenset(_texts(skip)),
        reading=repr(reading),
        retries=_count(retries, "retries", 0, 20),
        landsat7=landsat7,
    )


def _texts(words: str | Sequence[str]) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else tuple(words)


def _tree(found: Found, numbers: Mapping[str, xr.Dataset]) -> xr.DataTree:
    """Return what the door takes."""
    request, area = found.request, found.request.area
    sensors = " and ".join(SENSORS[name].title for name in numbers)
    about = {
        "title": f"{area.name or 'STAC'}: {sensors} time series",
        "history": f"tamrf-xr {version('tamrf-xr')}: from_stac of {request.catalog.name}, "
        f"{', '.join(found.series)}, {area.period}",
    }
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=about), **numbers})


def _difference(found: Found, _: Path, cube: xr.DataTree) -> str:
    """Tell how a cube differs from what is asked for."""
    asked = {name: notes["request"] for name, notes in found.notes.items()}
    there = {name: group.attrs.get("request") for name, group in groups_of(cube).items()}
    return "" if asked == there else "is of other scenes or ground than the catalogue now gives"


def _projected(crs: Any) -> CRS | None:
    if crs is None:
        return None
    try:
        found = CRS(crs)
    except CRSError as error:
        raise OptionError(f"crs={crs!r:.80} is not understood: {error}") from error
    if not in_metres(found):
        raise OptionError(f"crs={found.to_string()} is not projected in metres; name a UTM zone")
    return found


def _count(value: Any, what: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise OptionError(
            f"{what} is {value!r:.40}; expected a whole number from {least} to {most}"
        )
    return value


def _check_chunks(chunks: Any) -> None:
    if _count(chunks, "chunks", 3, 10**6) % 3:
        raise OptionError(f"chunks is {chunks}; expected a multiple of 3 pixels of 10 m")

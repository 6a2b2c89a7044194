"""Which reader opens which layout of a store: ``python -m studies.readers`` prints the table.

A product of noise is written in each layout, opened by each reader that is installed, and held to
the truth: CRS, transform, and the pixels of one date and band. docs/stores.md has what it printed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import tamrf_xr
from benchmarks.scenes import noise_cube
from tamrf_xr.cube import grid_of
from tamrf_xr.geozarr import LAYOUTS
from tamrf_xr.grid import Grid

SENSOR, DATE, BAND = "sentinel2", 1, 2
Seen = tuple[Any, Any, Any]
"""CRS, transform and pixels; None for what a reader does not give."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is in the store."""

    grid: Grid
    pixels: np.ndarray[Any, Any]
    """Of one date and band, as stored."""


def by_gdal(store: Path) -> Seen:
    """Open the array as GDAL's classic raster: a band a date and band."""
    import rasterio

    with rasterio.open(f'ZARR:"{store}":/{SENSOR}/reflectance:{DATE}:{BAND}') as file:
        return file.crs, file.transform, file.read(1)


def by_rioxarray_raster(store: Path) -> Seen:
    """Open it through GDAL with rioxarray."""
    import rioxarray

    name = f'ZARR:"{store}":/{SENSOR}/reflectance:{DATE}:{BAND}'
    array: Any = rioxarray.open_rasterio(name)
    return array.rio.crs, array.rio.transform(), array.values[0]


def _by_xarray(store: Path) -> xr.DataArray:
    group = xr.open_dataset(
        store, engine="zarr", group=SENSOR, mask_and_scale=False, decode_coords="all"
    )
    array: xr.DataArray = group["reflectance"].isel(time=DATE, band=BAND)
    return array


def by_rioxarray(store: Path) -> Seen:
    """Open the group with xarray, and ask rioxarray where it lies."""
    import rioxarray  # noqa: F401  (the accessor)

    array = _by_xarray(store)
    return array.rio.crs, array.rio.transform(), array.values


def by_odc_geo(store: Path) -> Seen:
    """Open the group with xarray, and ask odc-geo where it lies."""
    import odc.geo.xr  # noqa: F401  (the accessor)

    array = _by_xarray(store)
    return array.odc.geobox.crs, array.odc.geobox.affine, array.values


def by_rio_tiler(store: Path) -> Seen:
    """Open the group with xarray, and read it as titiler-xarray does."""
    from rio_tiler.io.xarray import XarrayReader

    array = _by_xarray(store)
    with XarrayReader(array) as reader:
        image = reader.part(reader.bounds, dst_crs=reader.crs, bounds_crs=reader.crs)
        return reader.crs, reader.transform, image.array.data[0]


READERS: dict[str, tuple[str, Callable[[Path], Seen]]] = {
    "GDAL, of rasterio's wheel": ("rasterio", by_gdal),
    "rioxarray.open_rasterio": ("rioxarray", by_rioxarray_raster),
    "xarray and rioxarray": ("rioxarray", by_rioxarray),
    "xarray and odc-geo": ("odc-geo", by_odc_geo),
    "rio-tiler (of titiler-xarray)": ("rio-tiler", by_rio_tiler),
}
"""Per reader, the package that it needs."""


def verdict(seen: Seen, truth: Truth) -> str:
    """Say what is right."""
    crs, transform, pixels = seen
    wrong = []
    if crs is None or crs.to_epsg() != truth.grid.crs.to_epsg():
        wrong.append("CRS")
    if not np.allclose(tuple(transform)[:6], tuple(truth.grid.transform)[:6]):
        wrong.append("transform")
    if not np.array_equal(pixels, truth.pixels):
        wrong.append("pixels")
    return f"opens, {' and '.join(wrong)} wrong" if wrong else "right"


def attempt(read: Callable[[Path], Seen], store: Path, truth: Truth) -> str:
    """Open a store, and say how that went."""
    try:
        return verdict(read(store), truth)
    except ImportError:
        return "not installed, not run"
    except Exception as error:  # noqa: BLE001  (readers raise what they like; it is what is asked)
        return f"refuses: {str(error).splitlines()[0][:60]}"


def table(folder: Path) -> list[tuple[str, ...]]:
    """Return a row per reader: name, version, and a word per layout."""
    tamrf_xr.save_cube(noise_cube((24, 24), hr=3, lr=3), folder / "in.zarr")
    cube, stores = tamrf_xr.open_cube(folder / "in.zarr"), {}
    for layout in LAYOUTS:
        stores[layout] = folder / f"{layout}.zarr"
        tamrf_xr.run_job(
            cube,
            stores[layout],
            ["2022-03-01", "2022-06-01"],
            method="linear",
            tile=12,
            layout=layout,
            progress=False,
        )
    group = tamrf_xr.open_cube(stores["sharded"])[SENSOR].to_dataset()
    truth = Truth(grid_of(group), _by_xarray(stores["sharded"]).values)
    return [
        (name, _version(package), *(attempt(read, stores[one], truth) for one in LAYOUTS))
        for name, (package, read) in READERS.items()
    ]


def _version(package: str) -> str:
    try:
        found = version(package)
    except PackageNotFoundError:
        return ""
    if package != "rasterio":
        return found
    import rasterio

    return f"{found}, GDAL {rasterio.__gdal_version__}"


def main() -> list[tuple[str, ...]]:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        rows = table(Path(folder))
    heads = ("reader", "version", *(f'`layout="{layout}"`' for layout in LAYOUTS))
    for row in (heads, ("---",) * len(heads), *rows):
        print(f"| {' | '.join(row)} |")
    return rows


if __name__ == "__main__":
    main()

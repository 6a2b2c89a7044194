"""Sentinel-2 Level-2A products in EOPF Zarr, as a cube: a store a product and date.

The layout was read in public sources of 2025 and 2026 that list or read such stores
(EOPF-Sample-Service/xarray-eopf; listings of consolidated metadata); no real store was reached.
``measurements/reflectance/r10m`` and ``r20m`` hold a uint16 array a band, named in lower case, with
``scale_factor`` and ``add_offset`` among its attributes or in ``_eopf_attrs``, 0 for no data; the
scene classification is ``conditions/mask/l2a_classification/r20m/scl``; the root says date and CRS
in ``stac_discovery`` and ``other_metadata``. Stores that were made of these may hold floats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from pyproj import CRS
from pyproj.exceptions import CRSError

from tamrf_xr.errors import IngestError, SourceNotFoundError
from tamrf_xr.harmonize import as_cube
from tamrf_xr.places import StorageOptions, unreadable
from tamrf_xr.sensors import SENTINEL2
from tamrf_xr.targets import seen

_REFLECTANCE = "measurements/reflectance/r{:g}m"
_SCL = "conditions/mask/l2a_classification/r20m"

GROUPS = {band.name: _REFLECTANCE.format(band.gsd) for band in SENTINEL2.bands}
"""Where each band lies."""


@dataclass(frozen=True, slots=True)
class Product:
    """One product, opened; no pixel is read."""

    name: str
    """Its store."""

    time: pd.Timestamp
    """When it was sensed, in UTC."""

    crs: CRS
    """Of all its grids."""

    layers: Mapping[str, xr.DataArray]
    """Reflectance by band, NaN where there is no data; ``SCL``."""


def from_eopf(
    products: Any, *, check: str = "sample", storage_options: StorageOptions = None
) -> xr.DataTree:
    """Open Sentinel-2 Level-2A products in EOPF Zarr as a cube, lazily.

    Parameters
    ----------
    products
        Path or URL of one product, or several of one granule (MGRS tile).
    check
        As of `tamrf_xr.as_cube`.
    storage_options
        As of `tamrf_xr.open_cube`.

    Returns
    -------
    xarray.DataTree
        Sentinel-2 at 10 m: bands of 20 m by cubic convolution, ``valid`` by the scene
        classification. Reflectance is what scale and offset of each product say.

    Raises
    ------
    SourceNotFoundError
        If there is no such store.
    IngestError
        If a product lacks a group, a band, its scale, its date or its CRS; if two are of one
        time, or of granules that differ.
    """
    names = [products] if isinstance(products, str | Path) else list(products)
    if not names:
        raise IngestError("no product given; name at least one store of EOPF")
    opened = sorted((_opened(name, storage_options) for name in names), key=lambda one: one.time)
    _check_one_granule(opened)
    times = pd.DatetimeIndex([one.time for one in opened], name="time")
    layers = {name: _joined(opened, name, times) for name in (*GROUPS, "SCL")}
    cube = as_cube(sentinel2=layers, crs=opened[0].crs, scaling="physical", offset=0, check=check)
    cube.attrs |= {"title": "Sentinel-2 of EOPF Zarr", "history": "opened by tamrf_xr from_eopf"}
    return cube


def _opened(name: Any, options: StorageOptions) -> Product:
    place = seen(name, "EOPF product", options)
    if isinstance(place, Path) and not place.exists():
        raise SourceNotFoundError(f"no store at {place}; found nothing there")
    store = str(place) if isinstance(place, Path) else (place.zarr_store() if place else name)
    try:
        root = zarr.open_group(store, mode="r")
    except unreadable() as error:
        raise IngestError(f"{name} is no Zarr store: {error}") from error
    layers = {band: _reflectance(root, name, band) for band in GROUPS}
    layers["SCL"] = _array(root, name, _SCL, "scl").drop_attrs()
    return Product(str(name), _time(root, name), _crs(root, name), layers)


def _array(root: zarr.Group, name: Any, group: str, variable: str) -> xr.DataArray:
    how: dict[str, Any] = {"chunks": {}, "mask_and_scale": False, "consolidated": False}
    try:
        found: xr.DataArray = xr.open_zarr(root.store, group=group, **how)[variable]
    except (KeyError, FileNotFoundError) as error:
        raise IngestError(
            f"{name} has no {group}/{variable}; expected a Sentinel-2 Level-2A product in EOPF "
            f"Zarr; the root has {', '.join(sorted(root.group_keys())) or 'no group'}"
        ) from error
    return found.drop_vars([one for one in found.coords if one not in {"x", "y"}])


def _reflectance(root: zarr.Group, name: Any, band: str) -> xr.DataArray:
    """Return what scale and offset say; floats are reflectance already."""
    stored = _array(root, name, GROUPS[band], band.lower())
    said = {**stored.attrs.get("_eopf_attrs", {}), **stored.attrs}
    plain = stored.astype(np.float32).drop_attrs()
    if stored.dtype.kind == "f" and "scale_factor" not in said:
        return plain
    if "scale_factor" not in said or "add_offset" not in said:
        raise IngestError(
            f"{name}: {GROUPS[band]}/{band.lower()} is {stored.dtype} without scale_factor and "
            "add_offset: what its numbers mean is not known; open it with xarray, and use "
            "as_cube(sentinel2=..., offset=...), which takes both"
        )
    fill = said.get("_FillValue", said.get("fill_value", 0))
    scaled = plain * np.float32(said["scale_factor"]) + np.float32(said["add_offset"])
    return scaled.where(stored != fill)


def _properties(root: zarr.Group) -> dict[str, Any]:
    found: Any = root.attrs.asdict().get("stac_discovery", {})
    return dict(found.get("properties", {})) if isinstance(found, Mapping) else {}


def _time(root: zarr.Group, name: Any) -> pd.Timestamp:
    about = _properties(root)
    said = about.get("datetime") or about.get("start_datetime")
    try:
        return pd.Timestamp(pd.to_datetime(str(said), utc=True)).tz_localize(None)
    except ValueError as error:
        raise IngestError(
            f"{name} says {said!r:.40} where its date should be (stac_discovery, properties, "
            "datetime)"
        ) from error


def _crs(root: zarr.Group, name: Any) -> CRS:
    about, other = _properties(root), root.attrs.asdict().get("other_metadata", {})
    code = about.get("proj:code") or about.get("proj:epsg")
    code = code or (other.get("horizontal_CRS_code") if isinstance(other, Mapping) else None)
    try:
        return CRS.from_user_input(code)
    except CRSError as error:
        raise IngestError(
            f"{name} says {code!r:.40} where its CRS should be (proj:code or proj:epsg of "
            "stac_discovery, or horizontal_CRS_code of other_metadata)"
        ) from error


def _check_one_granule(products: Sequence[Product]) -> None:
    first = products[0]
    for before, one in pairwise(products):
        if one.time == before.time:
            raise IngestError(f"{before.name} and {one.name} are both of {one.time}; leave one out")
    for one in products[1:]:
        same = one.crs == first.crs and all(
            np.array_equal(one.layers[band][axis], first.layers[band][axis])
            for band in (*GROUPS, "SCL")
            for axis in ("y", "x")
        )
        if not same:
            raise IngestError(
                f"{one.name} lies elsewhere than {first.name}; make a cube of each granule"
            )


def _joined(products: Sequence[Product], name: str, times: pd.DatetimeIndex) -> xr.DataArray:
    layers = [one.layers[name] for one in products]
    joined: xr.DataArray = xr.concat(layers, dim="time", join="exact", coords="minimal",
                                     compat="override")  # fmt: skip
    return joined.assign_coords(time=times)

"""The true Landsat-8 and Sentinel-2 pair of Kortrijk (31UDS) as an LS2S2 folder.

What had to be chosen:
- Sentinel-2 bands of 20 m are repeated to 10 m (nearest): their values stay as they are.
- Landsat keeps its native 30 m grid, 5 m off the nearest nested one: the ingest brings it there.
- B01 of Landsat is not to be had: B02 is in its place. The folder's ``README.txt`` says so.
- Landsat above 20000 is no data. In int16 these are negative: -999 in pixels whose pixel_qa is 0
  (67, off the swath), and 14 pixels of dark blue at cloud edges.
- LST is there where the day has a temperature above the fill (149 K) and its own QA_PIXEL says
  neither fill, dilated cloud, cirrus, cloud nor shadow; else no data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from pyproj import CRS

from studies.ls2s2_folder import NODATA, Scenes, write_ls2s2
from studies.shared import shared
from tamrf_xr.cube import Grid
from tamrf_xr.sensors import LANDSAT, SENTINEL2

UNUSABLE_SCL = (0, 1, 2, 3, 7, 8, 9, 10)
CLEAR_SCL = (4, 5, 6, 7)
"""What the README of the pair counts as clear; class 7 is unusable in a cube all the same."""

README = """Landsat-8 and Sentinel-2 over 640 m near Kortrijk (Belgium), 2017-08 to 2018-11.
landsat: B01 is a copy of B02. sentinel2: bands of 20 m are repeated to 10 m.
"""


def write_real_pair(folder: Path) -> Path:
    """Write the pair, 118 Sentinel-2 and 26 Landsat acquisitions, and return the folder."""
    write_ls2s2(folder, sentinel2=sentinel2_scenes(), landsat=landsat_scenes())
    (folder / "README.txt").write_text(README)
    return folder


def open_pair(group: str) -> xr.Dataset:
    """Open a group of the pair (``s2_10m``, ``s2_20m``, ``landsat8``) as it is stored."""
    path = shared("real/pair_31UDS/ls2s2_31UDS_2017_2018.nc")
    return _loaded(path, group=group)


def clear_fraction() -> np.ndarray:
    """Share of each Sentinel-2 acquisition that is clear by `CLEAR_SCL`."""
    return np.isin(open_pair("s2_20m")["SCL"].values, CLEAR_SCL).mean(axis=(1, 2))


def sentinel2_scenes() -> Scenes:
    fine, coarse = open_pair("s2_10m"), open_pair("s2_20m")
    bands = [
        fine[name].values if name in fine else _twice(coarse[name].values)
        for name in SENTINEL2.band_names
    ]
    mask = np.isin(_twice(coarse["SCL"].values), UNUSABLE_SCL)
    return Scenes(_days(fine["time"]), _stored(np.stack(bands, 1)), mask, _grid(fine, 10.0))


def landsat_scenes() -> Scenes:
    seen = open_pair("landsat8")
    names = ("B02", *LANDSAT.band_names[1:])
    bands = _stored(np.stack([seen[name].values for name in names], 1))
    days = _days(seen["time"])
    stored = np.concatenate([bands, _temperature(days, bands.shape[-2:])[:, None]], 1)
    return Scenes(days, stored, _landsat_mask(seen["pixel_qa"].values), _grid(seen, 30.0))


def _landsat_mask(qa: np.ndarray) -> np.ndarray:
    """Collection 1: 0 and bit 0 fill, 3 cloud shadow, 5 cloud, 8 and 9 cirrus for sure."""
    fill = (qa == 0) | (qa & 1 > 0)
    return fill | (qa & (1 << 3 | 1 << 5) > 0) | (qa >> 8 & 3 == 3)


def _temperature(days: list[str], shape: tuple[int, int]) -> np.ndarray:
    """Kelvin x 10 on the native grid: of nine repeated 10 m pixels, the one at the centre."""
    path = "L8_L2-ST_10m_00002806639B424A_32631_2017-08-01_2018-11-30.nc"
    surface = _loaded(shared("real/pair_31UDS") / path)
    inside = np.s_[2::3], np.s_[2::3]
    kelvin = surface["ST-B10"].values[:, *inside][:, : shape[0], : shape[1]].astype(int)
    qa = surface["QA-PIXEL"].values[:, *inside][:, : shape[0], : shape[1]]
    fit = (kelvin > 149) & (qa & 0b11111 == 0)
    by_day = dict(zip(surface["timestamp"].values, np.where(fit, kelvin * 10, NODATA), strict=True))
    nothing = np.full(shape, NODATA)
    return np.stack([by_day.get(day, nothing) for day in days]).astype(np.int16)


def _stored(numbers: np.ndarray) -> np.ndarray:
    return np.where((numbers == 0) | (numbers > 20000), NODATA, numbers).astype(np.int16)


def _twice(values: np.ndarray) -> np.ndarray:
    return values.repeat(2, axis=-2).repeat(2, axis=-1)


def _days(time: xr.DataArray) -> list[str]:
    return np.datetime_as_string(time.values, unit="D").tolist()


def _grid(group: xr.Dataset, gsd: float) -> Grid:
    left, top = float(group["x"][0]) - gsd / 2, float(group["y"][0]) + gsd / 2
    shape = group.sizes["y"], group.sizes["x"]
    return Grid(CRS(32631), Affine(gsd, 0, left, 0, -gsd, top), shape)


def _loaded(path: Path, **options: Any) -> xr.Dataset:
    with xr.open_dataset(path, engine="h5netcdf", mask_and_scale=False, **options) as file:
        return file.load()

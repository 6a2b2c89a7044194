"""Real pixels as series, to hold simulated ones against.

The folder holds the files that ``shared/real/README.md`` of this project lists with their sources
and licences: Sentinel-2 and Landsat of 31UDS (WorldCereal), Sentinel-2 of 31UFS (WorldCereal),
of 29RKH (rio-tiler-pds), of 34SGH, 19 dates of openeo-gfmap, and monthly pixels (presto).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import xarray as xr

from studies.simulation_series import Series

LAND_SCL = (4, 5, 6)
SENTINEL2 = {
    "blue": "B02", "green": "B03", "red": "B04", "rededge1": "B05", "rededge2": "B06",
    "rededge3": "B07", "nir": "B08", "nir08": "B8A", "swir16": "B11", "swir22": "B12",
}  # fmt: skip
LANDSAT = {
    "blue": "B02", "green": "B03", "red": "B04", "nir": "B05", "swir16": "B06", "swir22": "B07",
}  # fmt: skip
FILL_KELVIN = 149


def real_series(folder: Path) -> dict[str, list[Series]]:
    """Read every series of the folder, by the name of its place."""
    return {
        "31UDS sentinel2": [_pair_sentinel2(folder)],
        "31UDS landsat": [_pair_landsat(folder)],
        "31UDS temperature": [_pair_temperature(folder)],
        "31UFS monthly": [_belgium(folder)],
        "34SGH L1C": [_peloponnese(folder)],
        "29RKH 100 m": [_morocco(folder)],
        "19 dates": [_visible(folder)],
        "pixels a (L1C)": [_pixels(folder, "a")],
        "pixels b (L1C)": [_pixels(folder, "b")],
    }


def _days(times: xr.DataArray) -> np.ndarray:
    return times.values.astype("M8[D]").astype(int)


def _twice(values: np.ndarray) -> np.ndarray:
    return values.repeat(2, axis=-2).repeat(2, axis=-1)


def _masked(values: dict[str, np.ndarray], clear: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.where(clear, image, np.nan) for name, image in values.items()}


def _pair_sentinel2(folder: Path) -> Series:
    with xr.open_datatree(folder / "pair_31UDS/ls2s2_31UDS_2017_2018.nc") as tree:
        fine, coarse = (tree[name].to_dataset().load() for name in ("s2_10m", "s2_20m"))
    clear = np.isin(_twice(coarse["SCL"].values), LAND_SCL)
    values = {
        name: fine[band].values if band in fine else _twice(coarse[band].values)
        for name, band in SENTINEL2.items()
    }
    return Series(_days(fine["time"]), _masked(values, clear), 1 - clear.mean(axis=(1, 2)))


def _pair_landsat(folder: Path) -> Series:
    with xr.open_datatree(folder / "pair_31UDS/ls2s2_31UDS_2017_2018.nc") as tree:
        seen = tree["landsat8"].to_dataset().load()
    quality = seen["pixel_qa"].values
    clear = (quality != 0) & (quality & (1 | 1 << 3 | 1 << 5) == 0) & (quality >> 8 & 3 != 3)
    values = {name: seen[band].values for name, band in LANDSAT.items()}
    return Series(_days(seen["time"]), _masked(values, clear), 1 - clear.mean(axis=(1, 2)))


def _pair_temperature(folder: Path) -> Series:
    name = "L8_L2-ST_10m_00002806639B424A_32631_2017-08-01_2018-11-30.nc"
    with xr.open_dataset(folder / "pair_31UDS" / name, mask_and_scale=False) as seen:
        # A nearest-neighbour copy at 10 m of 30 m.
        kelvin, quality = (seen[v].values[:, 1::3, 1::3] for v in ("ST-B10", "QA-PIXEL"))
        days = seen["timestamp"].values.astype("M8[D]").astype(int)
    clear = (kelvin > FILL_KELVIN) & (quality & 0b11111 == 0)
    return Series(days, {"temperature": np.where(clear, kelvin, np.nan)})


def _belgium(folder: Path) -> Series:
    with xr.open_dataset(folder / "s2_monthly_belgium_31UFS.nc", mask_and_scale=False) as seen:
        values = {
            name: seen[band.replace("B0", "B")].values
            for name, band in SENTINEL2.items()
            if band != "B8A"
        }
        days = _days(seen["t"])
    clear = np.all([(image > 0) & (image < 65535) for image in values.values()], axis=0)
    scaled = {name: image / 1e4 for name, image in values.items()}
    return Series(days, _masked(scaled, clear))


def _peloponnese(folder: Path) -> Series:
    dates = ("20160201", "20160302")
    images = [_read(folder / f"s2_l1c_pair_34SGH/{date}_RGBN.tif") for date in dates]
    days = np.array([f"{d[:4]}-{d[4:6]}-{d[6:]}" for d in dates], "M8[D]").astype(int)
    stack = np.stack(images) / 1e4
    names = ("red", "green", "blue", "nir")
    return Series(days, {name: stack[:, i] for i, name in enumerate(names)})


def _morocco(folder: Path) -> Series:
    place = folder / "s2_l2a_29RKH_20200219"
    values = {name: _read(place / f"{band}.tif")[:1] / 1e4 for name, band in SENTINEL2.items()}
    return Series(
        np.array(["2020-02-19"], "M8[D]").astype(int),
        {name: np.where(image > 0, image, np.nan) for name, image in values.items()},
    )


def _visible(folder: Path) -> Series:
    with xr.open_dataset(folder / "s2_l2a_rgb_19dates_2023.nc", mask_and_scale=False) as seen:
        values = {name: seen[f"S2-L2A-{SENTINEL2[name]}"].values for name in _VISIBLE}
        days = _days(seen["t"])
    inside = np.all([image < 65535 for image in values.values()], axis=(0, 1))
    scaled = {name: np.where(inside, image / 1e4, np.nan) for name, image in values.items()}
    # No mask comes with it. Clouds here are bright and grey beside land as it is in other dates.
    usual = np.nanmedian(scaled["blue"], axis=0)
    cloud = scaled["blue"] > usual + 0.06
    return Series(days, _masked(scaled, ~cloud), cloud[:, inside].mean(axis=1))


_VISIBLE = ("blue", "green", "red")


def _pixels(folder: Path, letter: str) -> Series:
    table = np.load(folder / f"s2_monthly_pixels_{letter}.npy")
    columns = dict(zip(SENTINEL2, (2, 3, 4, 5, 6, 7, 8, 9, 11, 12), strict=True))
    days = np.arange("2020-01", "2021-01", dtype="M8[M]").astype("M8[D]").astype(int) + 14
    values = {name: table[:, :, column].T[:, None] / 1e4 for name, column in columns.items()}
    return Series(days[: table.shape[1]], values)


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as image:
        return image.read().astype(np.float32)

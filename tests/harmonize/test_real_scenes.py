"""Real scenes, as files and as the libraries give them, against their pixels."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import rasterio
import rioxarray
import xarray as xr

from tamrf_xr.cube import grid_of
from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize import as_cube
from tamrf_xr.sensors import LANDSAT, SENTINEL2
from tests.harmonize.users_data import (
    band,
    group,
)
from tests.oracle import shared


@pytest.mark.real
def test_real_sentinel2_from_its_files():
    folder = shared("real/s2_l2a_29RKH_20200219")
    item = json.loads((folder / "item.json").read_text())["properties"]
    paths = {name: folder / f"{name}.tif" for name in (*SENTINEL2.band_names, "SCL")}
    asked = {"sentinel2": paths, "time": item["datetime"]}
    # Reduced to 100 m, which is no Sentinel-2 grid; deserts hold no dark pixels that would tell.
    with pytest.raises(CubeError, match=r"pixels of 100 m \(B02\), expected 10 m .*'nested'"):
        as_cube(**asked)
    with pytest.raises(CubeError, match=r"1 of 1 acquisitions .*2020-02-19.* offset=0"):
        as_cube(**asked, regrid="nested")
    cube = as_cube(**asked, regrid="nested", offset=0)
    found = cube["sentinel2"].to_dataset()
    assert found["reflectance"].shape == (1, 10, 10980, 10980)
    assert found["time"].values[0] == np.datetime64("2020-02-19T11:34:25.405")
    assert "B02 from 100 to 10 m (cubic)" in found.attrs["resampled"]
    assert "scl from 200 to 10 m (nearest)" in found.attrs["resampled"]
    window = found.isel(y=slice(900, 1100), x=slice(1900, 2100)).compute()
    with rasterio.open(paths["B08"]) as file:
        raw, bounds = file.read(1), file.bounds
    assert grid_of(found).bounds == tuple(bounds)
    # Cubic keeps the mean of a coarse pixel but for the curvature within it.
    blocks = window["reflectance"].sel(band="B08")[0].values.reshape(20, 10, 20, 10).mean((1, 3))
    np.testing.assert_allclose(blocks, raw[90:110, 190:210] * 1e-4, atol=0.02)
    assert abs(blocks.mean() - raw[90:110, 190:210].mean() * 1e-4) < 2e-4
    with rasterio.open(paths["SCL"]) as file:
        classes = file.read(1)[45:55, 95:105]
    expected = np.isin(classes, [4, 5, 6, 11]).repeat(20, 0).repeat(20, 1)
    np.testing.assert_array_equal(window["valid"][0], expected)


@pytest.mark.real
def test_real_landsat_series_from_its_numbers():
    folder = shared("real/landsat8_l2sp_3dates")
    labels = [f"SR_B{i}" for i in range(1, 8)]
    dates, scenes = [], []
    for path in sorted(folder.glob("dh_L8_*.tif")):
        dates.append(pd.Timestamp(path.stem.split("_")[2]))
        scenes.append(rioxarray.open_rasterio(path).assign_coords(band=labels))
    series = xr.concat(scenes, pd.DatetimeIndex(dates, name="time"))
    with pytest.raises(CubeError, match="scaling='dn'"):
        as_cube(series)
    found = group(series, "landsat", scaling="dn")
    metadata = json.loads(next(folder.glob("*20230418_*.json")).read_text())
    attributes = metadata["LANDSAT_METADATA_FILE"]["IMAGE_ATTRIBUTES"]
    assert str(found["time"].values[1])[:10] == attributes["DATE_ACQUIRED"]
    with rasterio.open(sorted(folder.glob("dh_L8_*.tif"))[1]) as file:
        np.testing.assert_allclose(found["reflectance"][1], file.read() * 2.75e-5 - 0.2, atol=1e-6)
        assert grid_of(found).transform == file.transform
        assert found.rio.crs.to_epsg() == file.crs.to_epsg() == 32643


@pytest.mark.real
def test_real_landsat_scene_as_odc_stac_gives_it():
    folder = shared("real/stac_items")
    stem = "LC08_L2SP_008059_20191201_"
    raw = {}
    for path in sorted(folder.glob(f"{stem}*.tif")):
        with rasterio.open(path) as file:
            raw[path.stem.removeprefix(stem)] = file.read(1)[None]
    # The scene was thinned to oblong pixels: stand its numbers on a grid of 30 m.
    common = dict(
        zip((f"SR_B{i}" for i in range(1, 8)), (b.common_name for b in LANDSAT.bands), strict=True)
    )
    times = np.array(["2019-12-01T15:00"], "M8[ns]")
    data = xr.Dataset(
        {
            common.get(name, "qa_pixel"): band(v, times=times, gsd=30.0, crs="EPSG:32618")
            for name, v in raw.items()
        }
    )
    for name in data:
        data[name].attrs["nodata"] = 1 if name == "qa_pixel" else 0
    found = as_cube(data.chunk(y=128))["landsat"].to_dataset().compute()
    red = raw["SR_B4"].astype(float)
    expected = np.where(red == 0, np.nan, red * 2.75e-5 - 0.2)
    np.testing.assert_allclose(found["reflectance"].sel(band="B04"), expected, atol=1e-6)
    np.testing.assert_array_equal(found["valid"], raw["QA_PIXEL"] & 0b11111 == 0)
    assert 0 < float(found["valid"].mean()) < 1
    clear = found["reflectance"].where(found["valid"])
    assert float(clear.median()) < float(found["reflectance"].median())

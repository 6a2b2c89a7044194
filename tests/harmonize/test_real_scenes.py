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
    assert "B02, B03, B04, B08 from 100 to 10 m (cubic)" in found.attrs["resampled"]
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


def _pair(group):
    path = shared("real/pair_31UDS") / "ls2s2_31UDS_2017_2018.nc"
    return xr.open_dataset(path, group=group, mask_and_scale=False)


def _correlations(cube, day):
    """Correlate the bands that both sensors have, on one day, at 30 m."""
    fine, coarse = (
        cube[name].to_dataset().sel(time=day).isel(time=0).compute()["reflectance"]
        for name in ("sentinel2", "landsat")
    )
    found = {}
    for one, other in (("B02", "B02"), ("B04", "B04"), ("B8A", "B05"), ("B11", "B06")):
        means = fine.sel(band=one).coarsen(y=3, x=3).mean().values.ravel()
        found[one] = np.corrcoef(means, coarse.sel(band=other).values.ravel())[0, 1]
    return found


@pytest.mark.real
def test_real_pair_on_its_native_grids():
    """Landsat lies 5 m off the 10 m pixels, its masks are those of Collection 1."""
    fine, coarse, landsat = _pair("s2_10m"), _pair("s2_20m"), _pair("landsat8")
    sentinel2 = {name: data[name] for data in (fine, coarse) for name in data}
    options = {"sentinel2": sentinel2, "landsat": landsat, "crs": 32631}
    with pytest.raises(CubeError, match=r"not nested .* 1.5, -1.5 pixels .*regrid='nested'"):
        as_cube(**options)
    cube = as_cube(**options, regrid="nested")
    assert cube["landsat"].attrs["resampled"].startswith("B02, B03, B04, B05, B06, B07 by 5, -5 m")
    assert cube["sentinel2"].attrs["processing"].endswith("offset -0.1 on 0 of 118 (pixels)")
    assert cube["sentinel2/reflectance"].shape == (118, 10, 57, 60)
    assert cube["landsat/reflectance"].shape == (26, 6, 19, 20)
    medians = cube["landsat/reflectance"].compute().median(("time", "y", "x"))
    np.testing.assert_allclose(medians, [0.0665, 0.0928, 0.1002, 0.3222, 0.2129, 0.1547], atol=5e-4)
    clear = cube["landsat/valid"].compute().mean(), cube["sentinel2/valid"].compute().mean()
    np.testing.assert_allclose(clear, [0.5205, 0.4011], atol=1e-3)
    found = _correlations(cube, "2018-08-02")
    np.testing.assert_allclose(list(found.values()), [0.93, 0.965, 0.978, 0.956], atol=5e-3)


@pytest.mark.real
def test_real_landsat_that_was_copied_to_10_m_goes_back_to_30():
    folder = shared("real/pair_31UDS")
    path = next(folder.glob("L8_SR_10m_*.nc"))
    landsat = xr.open_dataset(path, mask_and_scale=False)
    sentinel2 = _pair("s2_10m").assign(_pair("s2_10m"))
    options = {"sentinel2": sentinel2, "landsat": landsat, "crs": 32631}
    with pytest.raises(CubeError, match=r"/landsat: pixels of 10 m \(B02\), expected 30 m"):
        as_cube(**options)
    cube = as_cube(**options, regrid="nested")
    found = cube["landsat"].to_dataset()
    assert found["reflectance"].shape == (26, 6, 21, 21)
    assert "from 10 to 30 m (area mean)" in found.attrs["resampled"]
    assert found.attrs["ignored"] == "B10, B11"
    clear = found.sel(time="2018-08-02").isel(time=0).compute()
    raw = landsat["B04"].sel(timestamp="2018-08-02")[0, :63, :63].values * 1e-4
    expected = raw.reshape(21, 3, 21, 3).mean((1, 3))
    usable = clear["valid"].values
    assert usable.mean() > 0.9
    np.testing.assert_allclose(
        clear["reflectance"].sel(band="B04").values[usable], expected[usable], atol=5e-3
    )


@pytest.mark.real
def test_real_monthly_series_of_openeo():
    """Named `crs`, int16 with the fill 65535 among the attributes of the file, B2 for B02."""
    data = xr.open_dataset(shared("real/s2_monthly_belgium_31UFS.nc"))
    found = as_cube(sentinel2=data)["sentinel2"].to_dataset().compute()
    assert found["reflectance"].shape == (20, 9, 50, 48)
    assert found.rio.crs.to_epsg() == 32631
    missing = float(np.isnan(found["reflectance"]).mean())
    np.testing.assert_allclose(missing, 0.1004, atol=1e-4)
    np.testing.assert_allclose(
        found["reflectance"].median(("time", "y", "x")),
        [0.0675, 0.0976, 0.1121, 0.1478, 0.2341, 0.2546, 0.2677, 0.2076, 0.1569],
        atol=1e-4,
    )
    raw = xr.open_dataset(shared("real/s2_monthly_belgium_31UFS.nc"), mask_and_scale=False)
    xr.testing.assert_allclose(found["reflectance"], group(raw)["reflectance"].compute())


@pytest.mark.real
def test_real_acquisitions_of_openeo_in_another_projection():
    data = xr.open_dataset(shared("real/s2_l2a_rgb_19dates_2023.nc"))
    found = as_cube(sentinel2=data)["sentinel2"].to_dataset().compute()
    assert found["band"].values.tolist() == ["B02", "B03", "B04"]
    assert found.rio.crs.to_epsg() == 3035 or "LAEA" in str(found.rio.crs)
    assert found.attrs["processing"].endswith("offset -0.1 on 0 of 19 (pixels)")
    np.testing.assert_allclose(
        found["reflectance"].median(("time", "y", "x")), [0.0562, 0.0827, 0.1190], atol=5e-3
    )


@pytest.mark.real
def test_real_series_of_two_other_places():
    path = next(shared("real/tanzania_37MBS").glob("*.nc"))
    data = xr.open_dataset(path, mask_and_scale=False)
    with pytest.raises(CubeError, match=r"pixels of 20 m \(B05\), expected 10 m"):
        as_cube(sentinel2=data)
    found = group(data, regrid="nested", offset=0)
    assert found["reflectance"].shape == (136, 6, 64, 64)
    coarse = found["reflectance"].sel(band="B11").coarsen(y=2, x=2).mean().compute()
    np.testing.assert_allclose(coarse.mean(), data["B11"].mean() * 1e-4, atol=1e-3)
    path = next(shared("real/finland_34WFS").glob("5up.nc"))
    finland = xr.open_dataset(path)
    snow = group(finland)
    assert snow["reflectance"].dims == ("time", "band", "y", "x")
    expected = finland["band_data"].sel(band="B8A").transpose("time", "y", "x")[:, ::-1]
    np.testing.assert_allclose(snow["reflectance"].sel(band="B8A"), expected, atol=1e-6)


def _item(name):
    return json.loads((shared("real/stac_items") / name).read_text())


def _as_stackstac(item, assets, dn):
    """Stack assets of an item with the coordinates that stackstac makes of them."""
    bands = np.empty(len(assets), object)
    entries = [item["assets"][asset].get("raster:bands", [{}])[0] for asset in assets]
    bands[:] = entries
    data = band(np.full((len(assets), 6, 9), dn, "uint16"), times=np.arange(len(assets)))
    data = data.rename(time="band").assign_coords(band=list(assets)).expand_dims("time")
    stated = {
        key: value
        for key, value in item["properties"].items()
        if isinstance(value, (str, bool)) and key not in {"datetime", "created", "updated"}
    }
    when = pd.DatetimeIndex([item["properties"]["datetime"]]).tz_convert(None)
    return data.assign_coords(
        {"time": when, "id": ("time", [item["id"]]), "raster:bands": ("band", bands), **stated}
    )


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "assets", "reflectance"),
    [
        # Earth Search v1 states -0.1 for pixels of which it took the offset out.
        ("opd_s2_l2a_test_item.json", ("blue", "nir", "nir08"), 0.2),
        # Earth Search, Collection 1: the offset is in.
        ("odc-tools_S2B_T37MGP_20240710_L2A_C1.json", ("blue", "nir", "nir08"), 0.1),
        ("stactools-s2_S2A_T07HFE_20190212.json", ("blue", "nir", "nir08"), 0.2),
        # Planetary Computer, no raster fields, baseline 02.12.
        (
            "odc-stac_S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json",
            ("B02", "B8A"),
            0.2,
        ),
    ],
)
def test_real_items_tell_the_offset(name, assets, reflectance):
    data = _as_stackstac(_item(name), assets, 2000)
    found = as_cube(data)["sentinel2"].to_dataset()
    np.testing.assert_allclose(found["reflectance"], reflectance, atol=1e-6)


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        "stactools-landsat_LC08_L2SP_047027_20201204_02_T1.json",
        "stactools-landsat_LC09_L2SP_010065_20220129_02_T1.json",
    ],
)
def test_real_items_of_landsat_tell_scale_and_nodata(name):
    item = _item(name)
    data = _as_stackstac(item, ("blue", "nir08", "lwir11", "qa_pixel"), 14545)
    data = data.assign_coords(x=np.arange(9) * 30.0 + 500_015, y=5e6 - np.arange(6) * 30.0 - 15)
    data[:, 2], data[:, 3], data[:, 0, 0, 0] = 44000, 21824, 0
    found = as_cube(data)["landsat"].to_dataset()
    assert np.isnan(found["reflectance"][0, 0, 0, 0])
    np.testing.assert_allclose(found["reflectance"][0, 1], 14545 * 2.75e-5 - 0.2, atol=1e-6)
    kelvin = 44000 * 0.00341802 + 149
    np.testing.assert_allclose(found["surface_temperature"], kelvin, atol=1e-3)
    assert found["valid"].all()

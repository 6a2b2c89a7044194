"""One name stands for two wavelengths: platform, collection, wavelengths decide, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize import as_cube
from tests.harmonize.users_data import band, group, landsat_numbers, landsat_scene, numbers, scene

TM = ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7")


@pytest.mark.parametrize(
    "platform", ["landsat-5", "LANDSAT_7", "landsat-4", "LE07", "LT05_L2SP_1", "Landsat 7"]
)
def test_numbered_bands_of_older_landsats_are_read_by_wavelength(platform):
    data = landsat_scene(TM).assign_attrs(platform=platform)
    found = group(data, "landsat")
    assert found["band"].values.tolist() == ["B02", "B03", "B04", "B05", "B06", "B07"]
    nir = found["reflectance"].sel(band="B05")
    np.testing.assert_allclose(nir, data["SR_B4"] * 2.75e-5 - 0.2, atol=1e-6)
    assert found.attrs["producer"] == "Landsat-4, -5 or -7"


def test_older_landsats_have_a_temperature_of_another_number():
    data = landsat_scene((*TM, "LST")).rename(LST="ST_B6")
    found = group(data, "landsat")
    assert 280 < float(found["surface_temperature"].mean()) < 310


def test_numbered_bands_that_look_like_older_landsats_are_asked():
    with pytest.raises(CubeError, match=r"bands 1 2 3 4 5 7 without 6 .*platform='landsat-8'"):
        as_cube(landsat=landsat_scene(TM))
    found = group(landsat_scene(TM).assign_attrs(platform="landsat-8"), "landsat")
    assert found["band"].values.tolist() == ["B01", "B02", "B03", "B04", "B05", "B07"]


def test_a_mix_of_platforms_is_fine_by_common_name_and_refused_by_number():
    platforms = ("time", ["landsat-7", "landsat-8"])
    common = landsat_scene(("blue", "nir08")).assign_coords(platform=platforms)
    assert group(common, "landsat")["band"].values.tolist() == ["B02", "B05"]
    numbered = landsat_scene(("B2", "B5")).assign_coords(platform=platforms)
    with pytest.raises(CubeError, match=r"mix Landsat-4, -5 or -7 with .*common name"):
        as_cube(numbered)


def test_nir_of_force_is_the_narrow_one():
    names = ("BLUE", "GREEN", "RED", "REDEDGE1", "REDEDGE2", "REDEDGE3", "BROADNIR", "NIR")
    data = scene((*names, "SWIR1", "SWIR2")).astype("int16")
    for name in data:
        data[name].attrs["nodata"] = -9999
    found = group(data)
    assert found["band"].values.tolist()[6:] == ["B08", "B8A", "B11", "B12"]
    for mine, theirs in (("B08", "BROADNIR"), ("B8A", "NIR"), ("B12", "SWIR2")):
        np.testing.assert_allclose(
            found["reflectance"].sel(band=mine), data[theirs] * 1e-4, atol=1e-6
        )
    assert found.attrs["producer"] == "FORCE Sentinel-2"


def test_swir_2_of_dea_is_the_shorter_one():
    data = scene(("nbart_red", "nbart_nir_1", "nbart_nir_2", "nbart_swir_2", "nbart_swir_3"))
    found = group(data.astype("int16"))
    assert found["band"].values.tolist() == ["B04", "B08", "B8A", "B11", "B12"]


@pytest.mark.parametrize(
    "names",
    [
        ("nbart_band04", "nbart_band08", "nbart_band8a", "nbart_band11", "nbart_band12"),
        ("nbart_red", "nbart_common_nir", "nir_2", "nbart_common_swir_1", "nbart_common_swir_2"),
        ("red", "nir_1", "nir_2", "swir2", "swir_3"),
    ],
)
def test_aliases_of_dea_are_those_of_its_product_definition(names):
    data = scene(names).astype("int16")
    data = data.assign_attrs(product="ga_s2cm_ard_3", platform="sentinel-2c")
    assert group(data)["band"].values.tolist() == ["B04", "B08", "B8A", "B11", "B12"]


L30 = ("B02", "B03", "B04", "B05", "B06", "B07")


def hls(names, **attrs):
    return xr.Dataset(
        {n: band(numbers(i, dtype="int16"), gsd=30.0) for i, n in enumerate(names)}, attrs=attrs
    )


L30_TAGS = {
    "HLS_PROCESSING_TIME": "2024-05-01T13:24:46Z",
    "LANDSAT_PRODUCT_ID": "LC08_L1TP_069014_20240429_20240430_02_RT",
}
S30_TAGS = {
    "HLS_PROCESSING_TIME": "2022-11-29T07:10:51Z",
    "PROCESSING_BASELINE": "04.00",
    "PRODUCT_URI": "S2B_MSIL1C_20221127T214909_N0400_R143_T60FXK_20221127T223847.SAFE",
    "SPACECRAFT_NAME": "Sentinel-2B",
}


@pytest.mark.parametrize(
    "said",
    [
        {"collection": "hls2-l30"},
        {"collection": "HLSL30_2.0"},
        {"id": "NASA/HLS/HLSL30/v002"},
        {"product": "HLS.L30.T31UDS.2021"},
        L30_TAGS,
    ],
)
def test_thermal_bands_of_hls_l30_are_no_sign_of_sentinel2(said):
    data = hls((*L30, "B10", "B11"), **said).assign(
        Fmask=band(np.full((2, 6, 9), 64, "uint8"), gsd=30.0)
    )
    found = as_cube(data)["landsat"].to_dataset()
    assert found["band"].values.tolist() == list(L30)
    np.testing.assert_allclose(found["reflectance"][:, 3], data["B05"] * 1e-4, atol=1e-6)
    assert "B11 (temperature at the top of the atmosphere" in found.attrs["ignored"]
    assert found["valid"].all()


@pytest.mark.parametrize("names", [(*L30, "B10", "B11"), (*L30, "B11"), ("B04", "B05", "B11")])
def test_hls_without_its_collection_is_asked(names):
    with pytest.raises(CubeError, match="cannot tell the sensor"):
        as_cube(hls(names))


@pytest.mark.parametrize("said", [{"collection": "HLSS30.v2.0"}, S30_TAGS])
def test_hls_s30_at_30_m_says_what_it_is(said):
    data = hls(("B02", "B04", "B8A"), **said)
    with pytest.raises(CubeError, match=r"/sentinel2: pixels of 30 m .*regrid='nested'"):
        as_cube(data)
    cube = as_cube(data, regrid="nested")
    assert cube["sentinel2/reflectance"].shape == (2, 3, 18, 27)


@pytest.mark.parametrize(
    "name", ["S2-L2A-B04", "s2_b04", "sentinel2:B04", "B04_10m", "SENTINEL2_L2A_B04"]
)
def test_prefixes_of_producers_are_taken_off(name):
    found = group(scene(("B04",)).rename(B04=name))
    assert found["band"].values.tolist() == ["B04"]


@pytest.mark.parametrize("unit", [1, 1000])
def test_wavelengths_are_held_against_names(unit):
    stack = scene(("red", "nir")).to_array("band")
    right = stack.assign_coords(center_wavelength=("band", np.array([0.665, 0.842]) * unit))
    assert group(right)["band"].values.tolist() == ["B04", "B08"]
    esa = stack.assign_coords(center_wavelength=("band", np.array([0.6646, 0.8328]) * unit))
    assert group(esa)["band"].values.tolist() == ["B04", "B08"]
    narrow = stack.assign_coords(center_wavelength=("band", np.array([0.665, 0.865]) * unit))
    with pytest.raises(CubeError, match=r"B08 of Sentinel-2 lies at 0.842 um, the data say 0.865"):
        as_cube(sentinel2=narrow)


def test_wavelengths_of_older_landsats_are_noticed_without_a_platform():
    data = landsat_scene(("B4", "B5"))
    for name, length in (("B4", 0.84), ("B5", 1.65)):
        data[name].attrs["center_wavelength"] = length
    with pytest.raises(CubeError, match=r"B04 of Landsat-8/9 lies at 0.655 um, .* which is B05"):
        as_cube(landsat=data)


@pytest.mark.parametrize("length", [11.34, 11.45])
def test_wavelengths_of_older_thermal_bands_are_right(length):
    """Of Landsat-7 and of Landsat-5; 12 um is the second thermal band of Landsat-8."""
    data = landsat_scene((*TM, "LST")).rename(LST="lwir").assign_attrs(platform="landsat-5")
    data["lwir"].attrs["center_wavelength"] = length
    assert "surface_temperature" in group(data, "landsat")
    data["lwir"].attrs["center_wavelength"] = 12.0
    with pytest.raises(CubeError, match="which is thermal 2"):
        as_cube(landsat=data)


def test_descriptions_of_band_as_variable_name_the_bands():
    data = xr.Dataset({"band_1": band(landsat_numbers(), gsd=30.0)})
    data["band_1"].attrs["long_name"] = "SR_B5"
    assert group(data, "landsat")["band"].values.tolist() == ["B05"]


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("T31TCJ_20220105T105441_B02_10m", "B02"),
        ("T31TCJ_20220105T105441_B8A_20m", "B8A"),
        ("SENTINEL2A_20220105-105441-123_L2A_T31TCJ_C_V3-0_FRE_B4", "B04"),
        ("FRE_B2", "B02"),
    ],
)
def test_names_of_files_name_bands(name, band):
    assert group(scene(("B04",)).rename(B04=name))["band"].values.tolist() == [band]


def test_names_of_usgs_files_name_bands_and_masks():
    stem = "LC08_L2SP_199030_20220109_20220114_02_T1"
    names = {"SR_B4": f"{stem}_SR_B4", "ST_B10": f"{stem}_ST_B10", "QA_PIXEL": f"{stem}_QA_PIXEL"}
    bits = band(np.full((2, 6, 9), 21824, "uint16"), gsd=30.0)
    data = landsat_scene(("SR_B4", "ST_B10")).assign(QA_PIXEL=bits).rename(names)
    found = as_cube(data)["landsat"].to_dataset()
    assert found["band"].values.tolist() == ["B04"]
    assert "surface_temperature" in found
    assert found["valid"].all()


def test_one_band_of_a_stack_keeps_its_name():
    stack = scene(("B02", "B8A")).to_array("band")
    assert group(stack.sel(band="B8A"))["band"].values.tolist() == ["B8A"]

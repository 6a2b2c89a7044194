"""Held-out cases of what people load: right, or refused with words that help; never otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tamrf_xr import as_cube, open_cube
from tamrf_xr.errors import CubeError, DateError
from tamrf_xr.harmonize.opening import open_raw
from tests.door.layouts import (
    ITSELF,
    PC_BASELINES,
    REMOVED,
    SINCE_2022,
    cubo,
    per_date,
    s2_numbers,
    scl,
    stackstac_s2,
)
from tests.door.ramp import BASELINES, LEFT, TOP, Scene, crs_attrs

FOUR = ("B02", "B04", "B08", "B11")
FEW = ("B02", "B04", "B05", "B06")
SCENE = Scene()
GSD = {"sentinel2": 10.0, "landsat": 30.0}


def truth(sensor="sentinel2", names=FOUR, scene=SCENE):
    stack = scene.bands(sensor, names)
    return stack.assign_coords(spatial_ref=((), 0, crs_attrs(GSD[sensor])))


def variables(stack):
    return xr.Dataset({str(n): stack.sel(band=n, drop=True) for n in stack["band"].values})


def numbers(offsets, **coords):
    stack = s2_numbers(SCENE, offsets, names=FOUR)
    return stack.assign_coords(spatial_ref=((), 0, crs_attrs(10.0)), **coords)


def is_right(given, *, sensor="sentinel2", names=FOUR, **options):
    found = as_cube(**{sensor: given}, **options)[sensor]["reflectance"].values
    np.testing.assert_allclose(found, truth(sensor, names).values, atol=2e-4)


def as_reflectance(stack):
    """A Dataset that could be a group of a cube."""
    made = stack.astype("float32").to_dataset(name="reflectance")
    return made.transpose("time", "band", "y", "x")


GIVEN = {"stack": lambda stack: stack, "as it is": as_reflectance}


def baselines(values):
    return {"s2:processing_baseline": ("time", list(values))}


# Values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("factor", [100.0, 10_000.0])
def test_one_date_in_other_units_is_refused(given, factor):
    stack = truth()
    factors = xr.DataArray([1, 1, 1, factor], dims="time", coords={"time": stack["time"]})
    with pytest.raises(CubeError, match=r"on 2022-06-16 has a median.*one unit"):
        as_cube(sentinel2=given(stack * factors))


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("fill", [1e20, -3.4e38, 9.96921e36, 2.0**31, 0.0, -9999.0])
def test_undeclared_fill_of_floats_is_no_data(given, fill):
    is_right(given(truth().fillna(fill)))


@pytest.mark.parametrize("lazy", [False, True])
def test_an_impossible_number_that_many_pixels_share_is_asked_for(lazy):
    data = truth(scene=Scene(lazy=lazy)).fillna(9999.0)
    with pytest.raises(CubeError, match=r"is 9999.*_FillValue'\] = 9999"):
        as_cube(sentinel2=data)
    is_right(data.assign_attrs(_FillValue=9999.0))


def test_a_few_impossible_pixels_are_left_alone():
    data = truth().copy()
    data[0, 0, 3, 4] = 12.0
    assert as_cube(sentinel2=data)["sentinel2/reflectance"].max() == 12.0


@pytest.mark.parametrize("fill", [65535, 2**31 - 1])
def test_unsigned_fill_in_wide_integers_is_no_data(fill):
    is_right((truth() * 1e4).round().fillna(fill).astype("int32"), offset=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fill_of_floats_x_10000_is_no_data(dtype):
    is_right((truth() * 1e4).round().fillna(-9999).astype(dtype), scaling="ls2s2")


def test_integers_that_say_they_are_unsigned_are():
    stored = (truth() * 6e4).round().fillna(65535).astype("uint16").astype("int16")
    said = {"_Unsigned": "true", "_FillValue": -1, "scale_factor": 1 / 6e4}
    is_right(stored.assign_attrs(said))


def test_zero_kelvin_below_celsius_is_no_data():
    heat = SCENE.heat()
    data = variables(truth("landsat", FEW))
    data["ST_B10"] = (heat.fillna(0.0) - 273.15).assign_attrs(units="degC")
    found = as_cube(landsat=data)["landsat/surface_temperature"]
    np.testing.assert_allclose(found, heat, atol=1e-3)


@pytest.mark.parametrize(
    "change",
    [lambda a: a * 1e-4, lambda a: a - 0.1, lambda a: a.assign_coords(baselines(BASELINES)) + 0.1],
    ids=["scaled twice", "offset twice", "offset in"],
)
def test_a_group_that_is_typed_right_is_questioned_all_the_same(change):
    with pytest.raises(CubeError, match=r"twice|still|seems"):
        as_cube(sentinel2=as_reflectance(change(truth())))


def test_units_of_every_band_alike_are_one_unit():
    is_right((truth() * 100).assign_attrs(units=("%",) * 4))


@pytest.mark.parametrize(
    ("attrs", "match"),
    [({"scale_factor": 0.0}, "scale of 0"), ({"scale_factor": {"B02": 1e-4}}, "is no number")],
)
def test_scales_that_are_none_are_refused(attrs, match):
    with pytest.raises(CubeError, match=match):
        as_cube(sentinel2=numbers(REMOVED).assign_attrs(attrs))


@pytest.mark.parametrize(
    "attrs",
    [
        {"scale_factor": np.nan},
        {"bands": 4},
        {"transform": "| 10.00, 0.00, 499980.00|", "resolution": 10},
        {"transform": [10, 0], "resolution": 10},
        {"central_x": "a", "central_y": 1, "edge_size_m": 1, "resolution": "10m"},
    ],
)
def test_attributes_that_mean_nothing_do_no_harm(attrs):
    is_right(truth().assign_attrs(attrs))


# Offsets ------------------------------------------------------------------------------------------


def test_a_baseline_that_the_date_excludes_is_not_believed():
    """Attributes of a concatenation are those of its first part."""
    said = {"s2:processing_baseline": "03.00"}
    with pytest.raises(CubeError, match="offset="):
        as_cube(sentinel2=numbers(SINCE_2022).assign_attrs(said))
    is_right(numbers(REMOVED).assign_attrs(said))


def test_an_offset_in_the_file_against_its_baseline_is_asked_for():
    stated = numbers([-0.1] * 4, **baselines(["03.00"] * 4))
    stated = stated.assign_attrs(scale_factor=1e-4, add_offset=-0.1)
    with pytest.raises(CubeError, match=r"baseline 03.00, offset -0.1 in the data"):
        as_cube(sentinel2=stated)
    is_right(stated, offset=-0.1)


def test_baselines_may_be_written_as_in_product_names():
    is_right(numbers(SINCE_2022, **baselines(["N0300", "N0300", "N0400", "N0509"])))


def test_divided_numbers_that_hold_the_offset_are_asked_for():
    divided = numbers(SINCE_2022, **baselines(BASELINES))
    divided = divided.where(divided > 0) / 1e4
    with pytest.raises(CubeError, match="may be in still; pass offset="):
        as_cube(sentinel2=divided)
    is_right(divided, offset=SINCE_2022)
    is_right(divided + per_date(SINCE_2022))


def test_scaled_landsat_that_states_an_offset_is_asked_for_unless_dark_pixels_tell():
    said = {"scale_factor": 2.75e-5, "add_offset": -0.2}
    scaled = (truth("landsat", FEW) + 0.2).assign_attrs(said)
    with pytest.raises(CubeError, match="still to be added"):
        as_cube(landsat=scaled)
    is_right(scaled, sensor="landsat", names=FEW, offset={"landsat": -0.2})
    right = truth("landsat", FEW).assign_attrs(said)
    is_right(right, sensor="landsat", names=FEW)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"offset": "auto"}, "is no number"),
        ({"scaling": {"s2": "dn"}}, "names s2"),
        ({"time": {"sentinel-2": "2022-06-01"}}, "names sentinel-2"),
        ({"scaling": "ls2s2", "harmonized": False}, "harmonized= speaks of"),
    ],
)
def test_options_that_would_be_ignored_are_refused(options, match):
    with pytest.raises(CubeError, match=match):
        as_cube(sentinel2=numbers(REMOVED), **options)


@pytest.mark.parametrize("options", [{"harmonized": True}, {"offset": -0.2}])
def test_options_of_sentinel2_are_refused_for_landsat_alone(options):
    with pytest.raises(CubeError, match="which is not there"):
        as_cube(landsat=truth("landsat", FEW), **options)


# Names and places ---------------------------------------------------------------------------------


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_a_platform_of_the_other_sensor_is_refused(given):
    data = given(truth().assign_attrs(platform="landsat-8"))
    if isinstance(data, xr.Dataset):
        data = data.assign_attrs(platform="landsat-8")
    with pytest.raises(CubeError, match=r"landsat-8.*pass them as landsat="):
        as_cube(sentinel2=data)


def test_one_band_of_dea_is_known_by_its_prefix():
    data = variables(truth(names=("B02", "B11")))
    data = data.rename(B02="nbart_blue", B11="nbart_swir_2")
    is_right(data, names=("B02", "B11"))


@pytest.mark.parametrize("name", ["cs", "cs_cdf", "MSK_CLASSI_OPAQUE"])
def test_masks_of_earth_engine_are_not_dropped_without_a_word(name):
    data = variables(truth()).assign({name: truth().isel(band=0, drop=True) * 0})
    with pytest.raises(CubeError, match=name):
        as_cube(sentinel2=data)


def test_an_unknown_mask_beside_a_group_that_is_right_is_not_dropped():
    data = as_reflectance(truth()).assign(cloud_mask=truth().isel(band=0, drop=True) * 0)
    with pytest.raises(CubeError, match="cloud_mask"):
        as_cube(sentinel2=data)


@pytest.mark.parametrize("made", ["stackstac", "cubo"])
def test_corners_are_found_after_rows_were_sorted_and_cut(made):
    numbers = s2_numbers(SCENE, SINCE_2022)
    data = (
        stackstac_s2(numbers, scl(SCENE), ITSELF, PC_BASELINES)
        if made == "stackstac"
        else cubo(SCENE, corner=True).drop_vars("cubo:distance_from_center")
    )
    data = data.sortby("y").isel(x=slice(7, 40), y=slice(3, None))
    options = {} if made == "stackstac" else {"scaling": "dn"}
    found = as_cube(sentinel2=data, **options)["sentinel2"]
    assert float(found["x"][0]) == LEFT + 75
    assert float(found["y"][0]) == TOP - 5
    true = SCENE.bands("sentinel2").isel(x=slice(7, 40), y=slice(0, -3))
    np.testing.assert_allclose(found["reflectance"], true, atol=2e-4)


def test_a_date_beyond_nanoseconds_is_refused():
    times = np.array(["9999-01-01"] * 4)
    with pytest.raises(CubeError, match="no date of an acquisition"):
        as_cube(sentinel2=truth().drop_vars("time").assign_coords(time=times))


@pytest.mark.parametrize("text", ["hello", ""])
def test_a_file_that_is_no_raster_is_refused(text, tmp_path):
    (tmp_path / "B02.tif").write_text(text)
    with pytest.raises(CubeError, match="band 'B02': GDAL cannot open"):
        as_cube(sentinel2={"B02": tmp_path / "B02.tif"}, time="2021-06-01")


def test_rasters_go_to_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    image = as_cube(sentinel2=truth())["sentinel2/reflectance"].isel(time=0)
    image.tamrf.to_raster("~/image.tif")
    assert (tmp_path / "image.tif").exists()


@pytest.mark.parametrize("opened", [open_cube, open_raw])
def test_a_url_without_its_package_is_refused(opened, monkeypatch):
    def missing(*_args, **_options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(xr, "open_datatree", missing)
    with pytest.raises(CubeError, match="Install s3fs"):
        opened("s3://bucket/cube.zarr")


@pytest.mark.parametrize("date", ["9999-01-01", "1500-01-01"])
def test_query_dates_beyond_nanoseconds_are_refused(date):
    with pytest.raises(DateError, match="expected one from 1700 to 2250"):
        as_cube(sentinel2=truth()).tamrf.fuse(date, method="linear")


def test_landsat_numbers_of_16_bits_with_a_sign_are_asked_for():
    dn = ((truth("landsat", FEW) * 0.2 + 0.2) / 2.75e-5).round().fillna(0).astype("int16")
    with pytest.raises(CubeError, match="pass scaling='dn' or scaling='ls2s2'"):
        as_cube(landsat=dn)
    x10000 = (truth("landsat", FEW) * 1e4).round().fillna(-10000).astype("int16")
    is_right(x10000, sensor="landsat", names=FEW)


@pytest.mark.parametrize("raised", [0.0, 0.3])
@pytest.mark.parametrize("form", ["stated", "numbers", "floats"])
def test_a_baseline_that_hls_passes_on_means_no_offset(form, raised):
    """HLS S30 files name the baseline of the L1C that they were made of."""
    true = truth() + raised
    said = {"PROCESSING_BASELINE": "05.09", "_FillValue": -9999.0}
    stack = true if form == "floats" else (true * 1e4).round().fillna(-9999).astype("int16")
    said |= {"scale_factor": 1e-4, "add_offset": 0.0} if form == "stated" else {}
    data = variables(stack.assign_attrs(said)).assign_attrs(collection="HLSS30_2.0")
    found = as_cube(sentinel2=data)["sentinel2/reflectance"]
    np.testing.assert_allclose(found, true, atol=1e-4)


def test_signed_numbers_with_our_fill_follow_their_baseline():
    raised = (truth() - per_date(SINCE_2022)) * 1e4
    raised = raised.round().fillna(-10000).astype("int16").assign_attrs(_FillValue=-10000)
    is_right(raised.assign_coords(baselines(BASELINES)))


@pytest.mark.parametrize("lazy", [False, True])
def test_a_mask_of_words_is_refused(lazy):
    data = variables(truth())
    words = (
        xr.where(scl(SCENE) == 4, "clear", "cloud")
        .astype(object)
        .drop_vars("band", errors="ignore")
    )
    with pytest.raises(CubeError, match="no number"):
        as_cube(sentinel2=data.assign(valid=words.chunk() if lazy else words)).compute()

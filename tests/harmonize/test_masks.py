"""Quality layers become `valid`; NaN, fill and fractions do not count; unknown ones are named."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize import as_cube
from tamrf_xr.harmonize.masks import QUALITY_LAYERS, usable
from tests.harmonize.users_data import BEFORE, band, group, landsat_scene, numbers, scene

NAN = np.nan


@pytest.mark.parametrize(
    ("role", "values", "expected"),
    [
        ("scl", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [4, 5, 6, 11]),
        ("scl", [4.0, NAN, 5.5, np.inf, 6.0, -1.0], [4.0, 6.0]),
        ("qa_pixel", [0, 1, 2, 4, 8, 16, 32, 64, 21824, 22280, 23826], [32, 64, 21824]),
        ("qa_pixel", [21824.0, NAN, 21824.5, 1e12, -1.0, 0.0], [21824.0]),
        ("qa_radsat", [0, 1, 2, 2048], [0]),
        ("qa_radsat", [0.0, NAN, 0.5], [0.0]),
        ("pixel_qa", [0, 1, 2, 4, 8, 32, 322, 324, 328, 352, 834], [2, 4, 322, 324]),
        ("fmask", [0, 1, 2, 4, 8, 16, 32, 64, 192, 255], [0, 16, 32, 64, 192]),
        ("fmask", [64.0, NAN, 0.3], [64.0]),
        ("qa60", [0, 1024, 2048, 3072], [0]),
        ("qai", [0, 1, 2, 4, 6, 8, 16, 32, 512, -1], [0, 16, 32]),
        ("oa_fmask", [0, 1, 2, 3, 4, 5], [1, 4, 5]),
        ("valid", [0, 1, 2], [1, 2]),
        ("valid", [0.0, 1.0, NAN], [1.0]),
    ],
)
def test_classes_and_bits_are_read(role, values, expected):
    found = usable(xr.DataArray(np.array(values), dims="x"), role)
    assert np.array(values)[found.values].tolist() == expected
    assert found.dtype == bool
    lazy = usable(xr.DataArray(np.array(values), dims="x").chunk(), role)
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy, found)


def test_what_reindex_and_concat_make_of_bool_is_read():
    holes = xr.DataArray(np.array([True, NAN, False], object), dims="x")
    assert usable(holes, "valid").values.tolist() == [True, False, False]
    padded = xr.DataArray([True, False], dims="x", coords={"x": [0, 1]}).reindex(x=[0, 1, 2])
    assert usable(padded, "valid").values.tolist() == [True, False, False]


def test_declared_fill_is_not_usable():
    valid = np.ones((2, 6, 9), "uint8")
    valid[0, 0] = 255
    data = scene().assign(valid=band(valid))
    data["valid"].attrs["_FillValue"] = 255
    np.testing.assert_array_equal(group(data)["valid"], valid == 1)
    # QA_RADSAT of the Planetary Computer declares 0, which means that nothing is saturated.
    data = landsat_scene(("red",)).assign(QA_RADSAT=band(np.zeros((2, 6, 9), "uint16"), gsd=30.0))
    data["QA_RADSAT"].attrs["nodata"] = 0
    assert group(data, "landsat")["valid"].all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", ">i2", "int64", "float32", "float64"])
def test_masks_of_any_type_are_read(dtype):
    classes = np.resize(np.arange(12), (2, 6, 9)).astype(dtype)
    found = group(scene().assign(SCL=band(classes)))
    np.testing.assert_array_equal(found["valid"], np.isin(classes, [4, 5, 6, 11]))
    assert found["valid"].dtype == bool
    assert found.attrs["masks"] == "scl"


def test_masks_of_text_are_refused():
    data = scene().assign(SCL=band(np.full((2, 6, 9), "water")))
    with pytest.raises(CubeError, match="mask 'SCL' holds <U5, expected classes"):
        as_cube(data)


def test_qa_bits_are_read_together():
    bits = np.resize(2 ** np.arange(16), (2, 6, 9)).astype("uint16")
    saturated = np.zeros((2, 6, 9), "uint16")
    saturated[1, 5, 8] = 4
    data = landsat_scene(("red",)).assign(
        QA_PIXEL=band(bits, gsd=30.0), QA_RADSAT=band(saturated, gsd=30.0)
    )
    found = group(data, "landsat")
    np.testing.assert_array_equal(found["valid"], (bits >= 32) & (saturated == 0))


@pytest.mark.parametrize("name", ["QA-PIXEL", "qa_pixel", "OLI_QA_PIXEL"])
def test_masks_answer_to_other_names(name):
    bits = np.resize([21824, 22280], (2, 6, 9)).astype("uint16")
    found = group(landsat_scene(("red",)).assign({name: band(bits, gsd=30.0)}), "landsat")
    np.testing.assert_array_equal(found["valid"], bits == 21824)


def test_valid_counts_alone():
    valid = numbers(high=2, low=0).astype(bool)
    data = scene().assign(valid=band(valid), SCL=band(np.zeros((2, 6, 9), "uint8")))
    np.testing.assert_array_equal(group(data)["valid"], valid)


def test_mask_in_a_band_dimension_is_split_off():
    data = scene(("B02", "SCL", "B8A")).to_array("band")
    data[1] = 4
    found = group(data)
    assert found["valid"].all()
    assert found["band"].values.tolist() == ["B02", "B8A"]


@pytest.mark.parametrize("name", ["cloud_mask", "BQA", "Cloud", "MASK", "CLM", "s2_quality"])
def test_an_unknown_mask_that_is_the_only_one_is_refused(name):
    data = scene().assign({name: band(np.zeros((2, 6, 9), "uint8"))})
    with pytest.raises(CubeError, match=f"{name} look like masks .*'valid', True where usable"):
        as_cube(data)
    assert "valid" not in group(data.drop_vars(name))
    beside = group(data.assign(SCL=band(np.full((2, 6, 9), 4, "uint8"))))
    assert beside.attrs["ignored"] == name


def test_probabilities_and_angles_are_no_masks():
    data = scene().assign(MSK_CLDPRB=band(numbers()), SR_QA_AEROSOL=band(numbers()))
    assert group(data).attrs["ignored"] == "MSK_CLDPRB, SR_QA_AEROSOL"


def test_the_uncertainty_of_temperature_is_no_mask():
    data = landsat_scene(("SR_B4",)).assign(ST_QA=band(numbers(), gsd=30.0))
    assert group(data, "landsat").attrs["ignored"] == "ST_QA"


DEA_CLASSES = np.resize([0, 1, 2, 3, 4, 5], (2, 6, 9)).astype("uint8")


@pytest.mark.parametrize("name", ["oa_fmask", "fmask"])
@pytest.mark.parametrize("told", ["by names", "by product", "by nodata"])
def test_fmask_of_dea_holds_classes_by_either_of_its_names(name, told):
    """HLS calls its bits Fmask too."""
    data = scene(("nbart_red" if told == "by names" else "red",), times=BEFORE)
    data = data.assign({name: band(DEA_CLASSES, times=BEFORE)})
    if told == "by product":
        data = data.assign_attrs(product="ga_s2am_ard_3")
    if told == "by nodata":
        data[name].attrs["nodata"] = 0
    found = group(data, harmonized=None if told != "by nodata" else True)
    np.testing.assert_array_equal(found["valid"], np.isin(DEA_CLASSES, [1, 4, 5]))


def test_qa60_of_days_that_earth_engine_masked_out_is_not_believed():
    times = np.array(["2022-01-24", "2024-02-28"], "M8[ns]")
    data = scene(times=times).assign(QA60=band(np.zeros((2, 6, 9), "uint16"), times=times))
    with pytest.raises(CubeError, match=r"QA60 holds nothing on 1 of 2 .*2024-02-28.*load SCL"):
        as_cube(data)
    classes = np.resize([4, 9], (2, 6, 9)).astype("uint8")
    found = group(data.assign(SCL=band(classes, times=times)))
    np.testing.assert_array_equal(found["valid"], classes == 4)
    later = np.array(["2024-02-29", "2024-03-05"], "M8[ns]")
    assert group(data.assign_coords(time=later))["valid"].all()


def test_every_kind_of_mask_is_found_by_each_of_its_names():
    for layer in QUALITY_LAYERS:
        for name in layer.names:
            made = landsat_scene(("red",)) if layer.sensor == "landsat" else scene()
            gsd = 30.0 if layer.sensor == "landsat" else 10.0
            data = made.assign({name: band(np.zeros((2, 6, 9), "uint8"), gsd=gsd, times=BEFORE)})
            assert group(data, layer.sensor or "sentinel2").attrs["masks"] == layer.role

"""Numbers become reflectance and kelvin, quality layers become `valid`; nothing is guessed."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize import as_cube
from tests.harmonize.users_data import (
    AFTER,
    band,
    group,
    numbers,
    scene,
)


def test_landsat_numbers_become_reflectance_and_kelvin():
    data = scene(("red", "lwir11"))
    data["red"][0, 0, 0] = data["lwir11"][0, 0, 1] = 0
    found = group(data, "landsat")
    expected = np.where(data["red"] == 0, np.nan, data["red"] * 2.75e-5 - 0.2)
    np.testing.assert_allclose(found["reflectance"][:, 0], expected, atol=1e-6)
    expected = np.where(data["lwir11"] == 0, np.nan, data["lwir11"] * 0.00341802 + 149)
    np.testing.assert_allclose(found["surface_temperature"], expected, atol=1e-4)
    assert found["reflectance"].dtype == found["surface_temperature"].dtype == np.float32
    assert "x 2.75e-05 + -0.2" in found.attrs["processing"]


def test_old_sentinel2_has_no_offset():
    data = scene(("B04",))
    data["B04"][0, 0, 0] = 0
    found = group(data)
    assert np.isnan(found["reflectance"][0, 0, 0, 0])
    np.testing.assert_allclose(found["reflectance"][1, 0], data["B04"][1] * 1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("coords", "options", "offsets"),
    [
        ({}, {"harmonized": True}, (0, 0)),
        ({}, {"harmonized": False}, (-0.1, -0.1)),
        ({"s2:processing_baseline": "05.09"}, {}, (-0.1, -0.1)),
        ({"s2:processing_baseline": ("time", ["02.14", "04.00"])}, {}, (0, -0.1)),
        (
            {"s2:processing_baseline": ("time", ["02.14", "04.00"])},
            {"harmonized": False},
            (0, -0.1),
        ),
        ({"s2:processing_baseline": "05.09"}, {"harmonized": True}, (0, 0)),
        ({"earthsearch:boa_offset_applied": ("time", [True, False])}, {}, (0, -0.1)),
        (
            {
                "s2:processing_baseline": "05.09",
                "earthsearch:boa_offset_applied": ("time", [True, False]),
            },
            {},
            (0, -0.1),
        ),
    ],
)
def test_offset_follows_what_is_known(coords, options, offsets):
    data = scene(("B04",), times=AFTER).assign_coords(coords)
    found = group(data, **options)["reflectance"][:, 0]
    for one, raw, offset in zip(found, data["B04"], offsets, strict=True):
        np.testing.assert_allclose(one, raw * 1e-4 + offset, atol=1e-6)


def test_offset_of_assets_counts_unless_removed():
    data = scene(("B04", "B08"), times=AFTER).to_array("band")
    assets = np.empty(2, object)
    assets[:] = [{"scale": 1e-4, "offset": -0.1}] * 2
    data = data.assign_coords({"raster:bands": ("band", assets)})
    stated = group(data)["reflectance"]
    removed = group(data.assign_coords({"earthsearch:boa_offset_applied": True}))["reflectance"]
    np.testing.assert_allclose(removed - stated, 0.1, atol=1e-6)


def test_reprocessed_old_acquisitions_have_the_offset():
    data = scene(("B04",)).assign_attrs({"s2:processing_baseline": "05.00"})
    np.testing.assert_allclose(
        group(data)["reflectance"][:, 0], data["B04"] * 1e-4 - 0.1, atol=1e-6
    )


def test_unknown_offset_is_asked_never_guessed():
    times = np.array(["2021-06-01", "2022-03-01"], "M8[ns]")
    with pytest.raises(CubeError, match=r"1 of 2 acquisitions .*2022-03-01.*harmonized=True"):
        as_cube(scene(times=times))


def test_senseless_baseline_is_refused():
    with pytest.raises(CubeError, match="processing baseline not understood"):
        as_cube(scene().assign_coords({"s2:processing_baseline": "new"}))


def test_stated_scale_wins():
    data = scene(("B04",), times=AFTER)
    data["B04"].attrs = {"scale_factor": 2e-4, "add_offset": -0.05, "nodata": 301}
    data["B04"][0, 0, 0] = 301
    found = group(data)["reflectance"][:, 0]
    assert np.isnan(found[0, 0, 0])
    np.testing.assert_allclose(found[1], data["B04"][1] * 2e-4 - 0.05, atol=1e-6)


def test_int16_of_landsat_is_ls2s2():
    values = numbers(dtype="int16")
    values[0, 0, :2] = -10000, -32768
    kelvin = numbers(1, low=2700, high=3200, dtype="int16")
    found = group(xr.Dataset({"B04": band(values), "LST": band(kelvin)}), "landsat")
    assert np.isnan(found["reflectance"][0, 0, 0, :2]).all()
    np.testing.assert_allclose(found["reflectance"][1, 0], values[1] * 1e-4, atol=1e-6)
    np.testing.assert_allclose(found["surface_temperature"], kelvin * 0.1, atol=1e-4)


def test_int16_of_sentinel2_is_ls2s2_where_said():
    data = scene(("B04",), times=AFTER).astype("int16")
    with pytest.raises(CubeError, match="harmonized="):
        as_cube(sentinel2=data)
    said = group(data, scaling="ls2s2")
    np.testing.assert_allclose(said["reflectance"][:, 0], data["B04"] * 1e-4, atol=1e-6)
    data["B04"].attrs["_FillValue"] = -10000
    xr.testing.assert_equal(group(data), said)
    xr.testing.assert_equal(group(data, scaling={"sentinel2": "ls2s2"}), said)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_floats_are_reflectance_already(kind):
    data = scene(("B04",), times=AFTER).astype(kind) / 10000
    found = group(data)["reflectance"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], data["B04"], rtol=1e-6)


def test_declared_nodata_of_floats_is_missing():
    data = scene(("B04",)).astype("float32") / 10000
    data["B04"][0, 0, 0] = -9999
    data["B04"].attrs["_FillValue"] = -9999.0
    found = group(data)["reflectance"]
    assert int(np.isnan(found).sum()) == 1


@pytest.mark.parametrize("layout", ["variables", "cube"])
def test_floats_that_look_like_numbers_are_asked(layout):
    data = scene(("B04",)).astype("float32")
    if layout == "cube":
        data = xr.DataTree.from_dict(
            {
                "sentinel2": data.to_array("band")
                .to_dataset(name="reflectance")
                .transpose("time", "band", "y", "x")
            }
        )
        with pytest.raises(CubeError, match=r"/sentinel2: .*floats with median .*scaling='dn'"):
            as_cube(data)
        return
    with pytest.raises(CubeError, match=r"B04: floats with median .*scaling='dn'"):
        as_cube(sentinel2=data)
    found = group(data, scaling="dn")["reflectance"][:, 0]
    np.testing.assert_allclose(found, data["B04"] * 1e-4, atol=1e-6)


def test_temperature_that_is_not_kelvin_is_asked():
    data = scene(("B04", "LST")).astype("float32") * [1e-4]
    data["LST"] = band(np.full((2, 6, 9), 21.5))
    with pytest.raises(CubeError, match=r"LST: floats with median 21.5 are no temperature"):
        as_cube(data)


def test_unknown_scaling_and_types_are_refused():
    with pytest.raises(CubeError, match="scaling 'percent' is unknown; it may be dn, ls2s2"):
        as_cube(scene(), scaling="percent")
    with pytest.raises(CubeError, match="bands hold bool"):
        as_cube(scene().astype(bool))


def test_scl_is_read():
    classes = np.resize(np.arange(12, dtype="uint8"), (2, 6, 9))
    found = group(scene().assign(scl=band(classes)))
    np.testing.assert_array_equal(found["valid"], np.isin(classes, [4, 5, 6, 11]))
    assert found["valid"].dtype == bool
    assert found.attrs["masks"] == "scl"


def test_qa_bits_are_read():
    bits = np.resize(2 ** np.arange(16), (2, 6, 9)).astype("uint16")
    saturated = np.zeros((2, 6, 9), "uint16")
    saturated[1, 5, 8] = 4
    found = group(scene(("red",)).assign(QA_PIXEL=band(bits), QA_RADSAT=band(saturated)), "landsat")
    np.testing.assert_array_equal(found["valid"], (bits >= 32) & (saturated == 0))
    floats = group(
        scene(("red",)).assign(qa_pixel=band(np.where(bits == 64, np.nan, bits))), "landsat"
    )
    np.testing.assert_array_equal(floats["valid"], (bits >= 32) & (bits != 64))


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

"""Numbers become reflectance and kelvin, quality layers become `valid`; nothing is guessed."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import tamrf_xr
from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize import as_cube
from tests.harmonize.users_data import (
    AFTER,
    band,
    group,
    landsat_scene,
    numbers,
    scene,
)


def test_landsat_numbers_become_reflectance_and_kelvin():
    data = landsat_scene(("red", "lwir11"))
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
    data = xr.Dataset({"B04": band(values, gsd=30.0), "LST": band(kelvin, gsd=30.0)})
    found = group(data, "landsat")
    assert np.isnan(found["reflectance"][0, 0, 0, :2]).all()
    np.testing.assert_allclose(found["reflectance"][1, 0], values[1] * 1e-4, atol=1e-6)
    np.testing.assert_allclose(found["surface_temperature"], kelvin * 0.1, atol=1e-4)


def test_int16_of_sentinel2_is_ls2s2_where_said():
    data = scene(("B04",), times=AFTER, raised=1000).astype("int16")
    with pytest.raises(CubeError, match="harmonized="):
        as_cube(sentinel2=data)
    said = group(data, scaling="ls2s2")
    np.testing.assert_allclose(said["reflectance"][:, 0], data["B04"] * 1e-4, atol=1e-6)
    xr.testing.assert_equal(group(data, scaling={"sentinel2": "ls2s2"}), said)


@pytest.mark.parametrize("fill", [-10000, -32768])
def test_a_signed_fill_does_not_tell_whether_the_offset_is_in(fill):
    """LS2S2 and a cube have them, and so has whoever reprojects numbers of the product."""
    data = scene(("B04",), times=AFTER, raised=1000).astype("int16")
    data["B04"].attrs["_FillValue"] = fill
    with pytest.raises(CubeError, match="offset=0"):
        as_cube(sentinel2=data)
    data["B04"].attrs["scale_factor"] = 1e-4
    with pytest.raises(CubeError, match="offset=0"):
        as_cube(sentinel2=data)


def test_a_cube_read_without_decoding_needs_no_word(tmp_path):
    data = scene(("B04",), times=AFTER, raised=1000) / np.float32(10000)
    made = as_cube(sentinel2=data.astype("float32"))
    tamrf_xr.save_cube(made, tmp_path / "cube.zarr")
    raw = xr.open_datatree(tmp_path / "cube.zarr", engine="zarr", mask_and_scale=False)
    assert raw["sentinel2/reflectance"].dtype == np.int16
    found = as_cube(raw)["sentinel2/reflectance"]
    np.testing.assert_allclose(found, made["sentinel2/reflectance"], atol=1e-6)


def test_zero_of_signed_numbers_is_no_data_where_no_other_number_is():
    data = scene(("B04",), times=AFTER).astype("int16")
    data["B04"][0, 0, 0] = 0
    assert int(np.isnan(group(data, scaling="ls2s2")["reflectance"]).sum()) == 1
    data["B04"][0, 0, 1] = -9999
    found = group(data, scaling="ls2s2")["reflectance"]
    assert int(np.isnan(found).sum()) == 1
    assert found[0, 0, 0, 0] == 0


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
        with pytest.raises(CubeError, match=r"/sentinel2: .*floats give B04 a median .*'dn'"):
            as_cube(data)
        return
    with pytest.raises(CubeError, match=r"B04: floats give B04 a median .*scaling='dn'"):
        as_cube(sentinel2=data)
    found = group(data, scaling="dn")["reflectance"][:, 0]
    np.testing.assert_allclose(found, data["B04"] * 1e-4, atol=1e-6)


def test_temperature_that_is_not_kelvin_is_asked():
    data = scene(("B04", "LST"), gsd=30.0).astype("float32") * [1e-4]
    data["LST"] = band(np.full((2, 6, 9), 21.5), gsd=30.0)
    with pytest.raises(CubeError, match=r"LST: floats give LST a median 21.5, expected temp"):
        as_cube(data)


def test_unknown_scaling_and_types_are_refused():
    with pytest.raises(CubeError, match=r"scaling 'percent' is unknown; it may be dn, ls2s2, phys"):
        as_cube(scene(), scaling="percent")
    with pytest.raises(CubeError, match="bands hold bool"):
        as_cube(scene().astype(bool))


SCALED = (scene(("B02", "B8A")) * 1e-4).astype("float32")


def each(data, change):
    return xr.Dataset({name: change(data[name]) for name in data})


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("data", "options"),
    [
        (SCALED, {}),
        (each(SCALED, lambda a: (a * 100).assign_attrs(units="%")), {}),
        (each(SCALED, lambda a: (a * 100).assign_attrs(units="percent")), {}),
        (each(SCALED, lambda a: a.assign_attrs(units="1")), {}),
        (each(SCALED, lambda a: (a * 1e4).assign_attrs(units="1e-4")), {}),
        # xarray keeps attributes through arithmetic: these have been applied.
        (each(SCALED, lambda a: a.assign_attrs(scale_factor=1e-4)), {}),
        (each(SCALED, lambda a: a.assign_attrs(scale_factor=2.75e-5, add_offset=-0.2)), {}),
        (each(SCALED, lambda a: a.astype("float64").assign_attrs(scale_factor=1e-4)), {}),
        # rioxarray's masked=True leaves these to be applied.
        (each(SCALED, lambda a: (a * 1e4).assign_attrs(scale_factor=1e-4)), {"offset": 0}),
        (each(SCALED, lambda a: a * 1e4), {"scaling": "dn", "offset": 0}),
        (each(SCALED, lambda a: a * 1e4), {"scaling": "ls2s2"}),
        (each(SCALED, lambda a: a.assign_attrs(scale_factor=0.5)), {"scaling": "physical"}),
        (each(SCALED, lambda a: (a * 2).assign_attrs(scale_factor=0.5)), {"scaling": "stated"}),
    ],
)
def test_floats_are_read_by_unit_statement_and_value(data, options, lazy):
    data = data.chunk(time=1) if lazy else data
    found = group(data, **options)["reflectance"]
    for at, name in enumerate(data):
        np.testing.assert_allclose(found[:, at], SCALED[name], atol=2e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a * 1e4, "floats give B02 a median"),
        (lambda a: a * 100, "floats give B8?[0-9A]+ a median"),
        (
            lambda a: (a * 1e4).assign_attrs(units="DN"),
            "floats in units 'dn' are no reflectance yet",
        ),
        (lambda a: a.assign_attrs(units="W m-2 sr-1 um-1"), "units 'W m-2 .* none of reflectance"),
        (lambda a: a.assign_attrs(scale_factor=0.5), "values allow both"),
        (lambda a: a * 1e-4, "scaled twice"),
        (lambda a: (a * 1e4).assign_attrs(scale_factor=2.75e-5, add_offset=-0.2), "median"),
    ],
)
def test_floats_that_are_no_reflectance_are_refused(change, message, lazy):
    data = each(SCALED, change)
    data = data.chunk(time=1) if lazy else data
    with pytest.raises(CubeError, match=message):
        as_cube(sentinel2=data)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("form", ["dataset", "tree", "array"])
def test_what_looks_like_a_cube_is_questioned_too(form, lazy):
    stack = (SCALED * np.float32(1e4)).to_array("band").transpose("time", "band", "y", "x")
    stack = stack.chunk(time=1) if lazy else stack
    made = {"dataset": stack.to_dataset(name="reflectance"), "array": stack}
    made["tree"] = xr.DataTree.from_dict({"sentinel2": made["dataset"]})
    with pytest.raises(CubeError, match=r"/sentinel2: B02, B8A: floats give"):
        as_cube(made[form], sensor="sentinel2") if form == "array" else as_cube(
            made[form], **({} if form == "tree" else {"sensor": "sentinel2"})
        )


@pytest.mark.parametrize(
    ("given", "units", "kelvin"),
    [
        (298.15, "K", 298.15),
        (298.15, "", 298.15),
        (25.0, "degC", 298.15),
        (25.0, "Celsius", 298.15),
        (77.0, "degF", 298.15),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_units_of_temperature_are_obeyed(given, units, kelvin, lazy):
    data = landsat_scene(("red",)).assign(ST_B10=band(np.full((2, 6, 9), given), gsd=30.0))
    data["ST_B10"].attrs["units"] = units
    found = group(data.chunk() if lazy else data, "landsat")
    np.testing.assert_allclose(found["surface_temperature"], kelvin, atol=1e-3)


def test_celsius_without_a_unit_and_a_unit_that_lies_are_refused():
    data = landsat_scene(("red",)).assign(ST_B10=band(np.full((2, 6, 9), 25.0), gsd=30.0))
    for units in ("", "K"):
        data["ST_B10"].attrs["units"] = units
        with pytest.raises(CubeError, match=r"LST: floats.* give LST a median 25, expected temp"):
            as_cube(landsat=data.chunk())


def test_whole_kelvin_of_integers_is_told_by_its_values():
    data = landsat_scene(("red",)).assign(ST_B10=band(np.full((2, 6, 9), 295, "uint16"), gsd=30.0))
    assert (group(data, "landsat")["surface_temperature"] == 295).all()


@pytest.mark.parametrize("dtype", ["uint16", ">u2", "int32", ">i4", "uint32", "int64", "float64"])
def test_any_type_of_numbers_gives_the_same(dtype):
    data = scene(("B04",))
    data["B04"][0, 0, 0] = 0
    expected = group(data)
    options = {"scaling": "dn"} if dtype == "float64" else {}
    xr.testing.assert_allclose(group(data.astype(dtype), **options), expected)


@pytest.mark.parametrize("fill", [-9999, -999, -10000, -32768, 0, 65535])
@pytest.mark.parametrize("kind", ["integers", "floats", "scaled"])
def test_fills_that_nobody_declares_are_no_pixels(fill, kind):
    data = scene(("B02", "B8A"))
    if kind == "integers":
        data = data.astype("int16" if fill < 0 else "uint16")
    else:
        data = data.astype("float32")
    for name in data:
        data[name][0, :2] = fill
    scaled = kind == "scaled"
    found = group(
        data * np.float32(1e-4) if scaled else data, **({} if scaled else {"scaling": "dn"})
    )
    missing = np.isnan(found["reflectance"])
    assert missing[0, :, :2].all()
    assert not missing[0, :, 2:].any()
    assert not missing[1].any()


def test_infinity_is_no_pixel():
    data = SCALED.copy(deep=True)
    data["B02"][0, 0, 0] = np.inf
    data["B8A"][0, 0, 1] = -np.inf
    assert int(np.isnan(group(data)["reflectance"]).sum()) == 2


def test_reflectance_x_10000_that_passes_for_numbers_of_landsat_is_refused():
    data = scene(("B04", "B05"), gsd=30.0)
    with pytest.raises(CubeError, match=r"uint16 .*give B04 a median -0\.1.*scaling='ls2s2'"):
        as_cube(landsat=data)
    np.testing.assert_allclose(
        group(data, "landsat", scaling="ls2s2")["reflectance"][:, 0], data["B04"] * 1e-4, atol=1e-6
    )


def test_eight_bits_are_a_picture_not_reflectance():
    with pytest.raises(CubeError, match="bands hold uint8, expected floats or integers of 16 bits"):
        as_cube(sentinel2=scene().astype("uint8"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_of_landsat_tell_that_the_offset_was_added(dtype):
    """Bright ground, so that no dark pixel tells; xarray keeps the attributes of the integers."""
    dn = band(np.resize([14545, 17000, 20011], (2, 6, 9)).astype("uint16"), gsd=30.0)
    stated = {"scale_factor": 2.75e-5, "add_offset": -0.2}
    whole = (dn.astype(dtype) * 2.75e-5 - 0.2).astype(dtype).assign_attrs(stated)
    found = group(xr.Dataset({"B04": whole}), "landsat")
    np.testing.assert_allclose(found["reflectance"][:, 0], whole, atol=1e-6)
    scaled = (dn.astype(dtype) * 2.75e-5).astype(dtype).assign_attrs(stated)
    with pytest.raises(CubeError, match="may be still to be added"):
        as_cube(landsat=xr.Dataset({"B04": scaled}))

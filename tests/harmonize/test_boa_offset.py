"""The offset of Sentinel-2: read where it is said, held against pixels, asked where it is open."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize import as_cube
from tests.harmonize.users_data import AFTER, BEFORE, band, group, numbers, scene

IN, OUT = 1000, 0
"""What the offset adds to numbers."""


def bright(value=2000, *, times=AFTER, dtype="uint16"):
    """Pixels that tell nothing of the offset."""
    return xr.Dataset({"B04": band(np.full((2, 6, 9), value, dtype), times=times)})


@pytest.mark.parametrize(
    ("raised", "times", "coords", "options"),
    [
        (OUT, AFTER, {}, {"harmonized": True}),
        (IN, AFTER, {}, {"harmonized": False}),
        (IN, AFTER, {"s2:processing_baseline": "05.09"}, {}),
        (IN, AFTER, {"s2:processing_baseline": "05.09"}, {"harmonized": False}),
        (OUT, AFTER, {"s2:processing_baseline": "05.09"}, {"harmonized": True}),
        (OUT, BEFORE, {"s2:processing_baseline": "02.14"}, {}),
        (OUT, BEFORE, {"s2:processing_baseline": "02.14"}, {"harmonized": False}),
        # Collection 1 carries the offset for all years.
        (IN, BEFORE, {"s2:processing_baseline": "05.00"}, {}),
        (IN, BEFORE, {"s2:processing_baseline": 5.0}, {}),
        (IN, BEFORE, {"processing:version": "0500"}, {}),
        (IN, BEFORE, {"collection": "sentinel-2-c1-l2a"}, {}),
        (IN, BEFORE, {"s2:product_uri": "S2A_MSIL2A_20180601T_N0500_R022_T32TPS_X.SAFE"}, {}),
        # The catalogue took it out.
        (OUT, AFTER, {"earthsearch:boa_offset_applied": True}, {}),
        (
            OUT,
            AFTER,
            {"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"},
            {},
        ),
        (IN, AFTER, {"earthsearch:boa_offset_applied": False}, {}),
        (OUT, BEFORE, {"earthsearch:boa_offset_applied": False}, {}),
        (OUT, AFTER, {"collection": "COPERNICUS/S2_SR_HARMONIZED"}, {}),
        # Dark pixels show that it is not in.
        (OUT, AFTER, {}, {}),
        (OUT, BEFORE, {}, {}),
        (OUT, BEFORE, {}, {"harmonized": False}),
        # The caller's word in place of all others.
        (IN, BEFORE, {}, {"offset": -0.1}),
        (OUT, AFTER, {"s2:processing_baseline": "05.09"}, {"offset": 0}),
        (IN, AFTER, {}, {"offset": {"sentinel2": -0.1}}),
    ],
)
@pytest.mark.parametrize("where", ["coords", "attrs", "dataset"])
def test_offset_follows_what_is_known(raised, times, coords, options, where):
    data = scene(("B04", "B08"), times=times, raised=raised)
    if where == "coords":
        data = data.assign_coords(coords)
    elif where == "dataset":
        data = data.assign_attrs(coords)
    else:
        for name in data:
            data[name].attrs.update(coords)
    found = group(data, **options)["reflectance"][:, 0]
    truth = scene(("B04", "B08"), times=times)
    np.testing.assert_allclose(found, truth["B04"] * 1e-4, atol=1e-6)


def test_a_series_across_baselines_is_handled_date_by_date():
    data = scene(("B04",), times=AFTER)
    data["B04"][1] += 1000
    for coords in (
        {"s2:processing_baseline": ("time", ["02.14", "05.10"])},
        {"earthsearch:boa_offset_applied": ("time", [True, False])},
        {"s2:product_uri": ("time", ["A_N0214_R", "A_N0510_R"])},
    ):
        found = group(data.assign_coords(coords))["reflectance"][:, 0]
        np.testing.assert_allclose(found, scene(("B04",))["B04"] * 1e-4, atol=1e-6)
    said = group(data, offset=[0, -0.1])["reflectance"][:, 0]
    np.testing.assert_allclose(said, scene(("B04",))["B04"] * 1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "said",
    [
        {"s2:processing_baseline": "99.99"},
        {"s2:product_uri": "S2B_MSIL2A_20180421T100029_N9999_R122_T33TWM_20180421T100029"},
    ],
)
def test_baseline_99_99_of_a_users_sen2cor_does_not_tell(said):
    with pytest.raises(CubeError, match="carry no processing baseline"):
        as_cube(sentinel2=bright(times=BEFORE).assign_attrs(said))


def test_one_image_that_belies_its_catalogue_is_noticed_among_others():
    """Earth Search says of images that have the offset no longer that it is still in."""
    times = np.arange("2023-01-01", "2023-02-10", 2, "M8[D]").astype("M8[ns]")
    data = xr.Dataset({"B04": band(np.full((20, 6, 9), 2000, "uint16"), times=times)})
    data = data.assign_coords({"earthsearch:boa_offset_applied": False})
    np.testing.assert_allclose(group(data)["reflectance"], 0.1, atol=1e-6)
    data["B04"][7, :2] = 300
    with pytest.raises(CubeError, match=r"is said to be in the numbers .*33% of them"):
        as_cube(sentinel2=data)


@pytest.mark.parametrize("times", [BEFORE, AFTER])
def test_an_offset_that_nothing_tells_is_asked_for(times):
    with pytest.raises(CubeError, match=r"2 of 2 acquisitions .*harmonized=True.*offset=0"):
        as_cube(sentinel2=bright(times=times))


def test_only_the_acquisitions_that_stay_open_are_asked_for():
    times = np.array(["2021-06-01", "2022-03-01"], "M8[ns]")
    data = bright(times=times).assign_coords({"s2:processing_baseline": ("time", ["03.00", ""])})
    with pytest.raises(CubeError, match=r"1 of 2 acquisitions .*2022-03-01"):
        as_cube(sentinel2=data)


@pytest.mark.parametrize(
    "said",
    [
        {"s2:processing_baseline": "05.09"},
        {"collection": "sentinel-2-c1-l2a"},
        {"scale_factor": 1e-4, "add_offset": -0.1},
        {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]},
    ],
)
def test_statements_that_dark_pixels_belie_are_refused(said):
    data = scene(("B04",), times=AFTER)
    data["B04"].attrs.update(said)
    with pytest.raises(CubeError, match=r"(?s)10%|1[0-9]% of them lie below .*offset=0 if"):
        as_cube(sentinel2=data)


def test_an_offset_in_the_file_that_the_catalogue_took_out_is_refused():
    data = bright().assign_coords({"earthsearch:boa_offset_applied": True})
    data["B04"].attrs.update(scale_factor=1e-4, add_offset=-0.1)
    with pytest.raises(CubeError, match="says that it has been taken out: which is right"):
        as_cube(sentinel2=data)


def test_an_offset_in_the_catalogue_alone_is_not_believed():
    """Earth Search states -0.1 for pixels that have it no longer, and for those that have."""
    assets = np.array(None, object)
    assets[()] = {"scale": 1e-4, "offset": -0.1}
    data = bright().to_array("band").assign_coords({"raster:bands": ((), assets)})
    with pytest.raises(CubeError, match="carry no processing baseline"):
        as_cube(sentinel2=data)
    removed = data.assign_coords({"earthsearch:boa_offset_applied": True})
    np.testing.assert_allclose(group(removed)["reflectance"], 0.2, atol=1e-6)
    kept = data.assign_coords({"s2:processing_baseline": "05.10"})
    np.testing.assert_allclose(group(kept)["reflectance"], 0.1, atol=1e-6)


@pytest.mark.parametrize(
    "attrs", [{"scale_factor": 1e-4}, {"scale_factor": 1e-4, "add_offset": 0.0}]
)
def test_a_file_that_states_a_scale_alone_is_asked_and_heard(attrs):
    data = bright(3000)
    data["B04"].attrs.update(attrs, scale_factor=1e-4)
    with pytest.raises(CubeError, match="offset="):
        as_cube(sentinel2=data)
    np.testing.assert_allclose(group(data, harmonized=False)["reflectance"], 0.2, atol=1e-6)
    np.testing.assert_allclose(group(data, harmonized=True)["reflectance"], 0.3, atol=1e-6)


def test_int16_with_a_foreign_nodata_is_asked_and_heard():
    data = bright(3000, dtype="int16")
    data["B04"].attrs["nodata"] = -9999
    with pytest.raises(CubeError, match="offset="):
        as_cube(sentinel2=data)
    np.testing.assert_allclose(group(data, harmonized=False)["reflectance"], 0.2, atol=1e-6)


def test_reflectance_that_may_be_offset_twice_is_questioned():
    floats = (bright()["B04"] * 1e-4 - 0.1).to_dataset(name="B04").to_array("band")
    assets = np.array(None, object)
    assets[()] = {"scale": 1e-4, "offset": -0.1}
    stated = floats.assign_coords({"raster:bands": ((), assets)})
    removed = stated.assign_coords({"earthsearch:boa_offset_applied": True})
    with pytest.raises(CubeError, match="taken out of the pixels already"):
        as_cube(sentinel2=removed)
    with pytest.raises(CubeError, match="subtracted twice"):
        as_cube(sentinel2=stated)
    np.testing.assert_allclose(group(removed, offset=0.1)["reflectance"], 0.2, atol=1e-6)
    np.testing.assert_allclose(group(removed, offset=0)["reflectance"], 0.1, atol=1e-6)
    known = stated.assign_coords({"s2:processing_baseline": "05.10"})
    with pytest.raises(CubeError, match="may be in still"):
        as_cube(sentinel2=known)
    np.testing.assert_allclose(group(known, offset=0)["reflectance"], 0.1, atol=1e-6)
    dark = known - 0.05
    np.testing.assert_allclose(group(dark)["reflectance"], 0.05, atol=1e-6)
    negative = scene(("B04",)).astype("float32") * np.float32(1e-4) - np.float32(0.1)
    with pytest.raises(CubeError, match=r"of the reflectance lies below -0\.015"):
        as_cube(sentinel2=negative)


def test_words_that_have_no_meaning_are_refused():
    with pytest.raises(CubeError, match="processing baseline not understood"):
        as_cube(scene().assign_coords({"s2:processing_baseline": "new"}))
    with pytest.raises(CubeError, match="harmonized='yes' is neither True nor False"):
        as_cube(scene(), harmonized="yes")
    with pytest.raises(CubeError, match="not both"):
        as_cube(scene(), harmonized=True, offset=0)
    with pytest.raises(CubeError, match="offset=-1000 is no reflectance"):
        as_cube(scene(), offset=-1000)
    with pytest.raises(CubeError, match=r"offset= has shape \(3,\), expected one number, or 2"):
        as_cube(scene(), offset=[0, 0, 0])
    with pytest.raises(CubeError, match="harmonized= speaks of digital numbers, these are floats"):
        as_cube(scene().astype("float32") * np.float32(1e-4), harmonized=False)
    for true in (np.True_, 1):
        xr.testing.assert_identical(
            group(scene(), harmonized=true), group(scene(), harmonized=True)
        )


@given(
    st.lists(st.sampled_from(["02.14", "03.01", "04.00", "05.10"]), min_size=1, max_size=6),
    st.booleans(),
)
def test_any_mix_of_baselines_gives_the_same_reflectance(baselines, chunked):
    times = pd.date_range("2019-01-01", periods=len(baselines), freq="200D").values
    truth = numbers(shape=(len(baselines), 6, 9))
    raised = np.array([1000 if float(one) >= 4 else 0 for one in baselines], "uint16")
    data = xr.Dataset({"B04": band(truth + raised[:, None, None], times=times)})
    data = data.assign_coords({"s2:processing_baseline": ("time", baselines)})
    found = group(data.chunk(time=1) if chunked else data)
    np.testing.assert_allclose(found["reflectance"][:, 0], truth * 1e-4, atol=1e-6)

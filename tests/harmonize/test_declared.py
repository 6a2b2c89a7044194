"""Scale, offset, nodata and units are found wherever they stand; contradictions are refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.declared import declared

DN = xr.DataArray(np.zeros((1, 2, 2, 2), "uint16"), dims=("time", "band", "y", "x"))


def assets(*entries, dims=("band",)):
    if not dims:
        alone = np.empty((), object)
        alone[()] = entries[0]
        return (), alone
    made = np.empty(len(entries), object)
    made[:] = entries
    return dims, made


@pytest.mark.parametrize(
    ("array", "about", "expected"),
    [
        (DN, {}, (1.0, 0.0, "")),
        (DN.assign_attrs(scale_factor=1e-4), {}, (1e-4, 0.0, "attributes")),
        (DN.assign_attrs(scale_factor="0.0001"), {}, (1e-4, 0.0, "attributes")),
        (DN.assign_attrs(scale_factor=1.0, add_offset=0.0), {}, (1.0, 0.0, "")),
        (
            DN.assign_attrs(scales=(2e-4, 2e-4), offsets=(-0.1, -0.1)),
            {},
            (2e-4, -0.1, "attributes"),
        ),
        (DN.assign_attrs(scale=1e-4, offset=-0.1), {}, (1e-4, -0.1, "attributes")),
        (DN.assign_attrs(scale=10), {}, (1.0, 0.0, "")),
        (DN, {"scale_factor": 1e-4}, (1e-4, 0.0, "attributes of the dataset")),
        (DN, {"scale": 30}, (1.0, 0.0, "")),
        (
            DN.assign_attrs({"raster:bands": [{"scale": 1e-4, "offset": -0.1}]}),
            {},
            (1e-4, -0.1, "raster:bands"),
        ),
        (
            DN.assign_coords({"raster:bands": assets({"scale": 1e-4}, {"scale": 1e-4})}),
            {},
            (1e-4, 0.0, "raster:bands"),
        ),
        (
            DN.assign_coords({"raster:bands": assets([{"scale": 1e-4, "offset": 0}], dims=())}),
            {},
            (1e-4, 0.0, "raster:bands"),
        ),
    ],
)
def test_scale_and_offset_are_found(array, about, expected):
    found = declared(array, about)
    assert (found.scale, found.offset, found.scale_from) == expected


def test_one_value_a_band_goes_along_the_bands():
    found = declared(DN.assign_attrs(scales=(1e-4, 2e-4), offsets=(0, -0.1)), {})
    assert found.scale.dims == found.offset.dims == ("band",)
    assert found.scale.values.tolist() == [1e-4, 2e-4]
    with pytest.raises(CubeError, match="scales lists 3 values for 2 bands"):
        declared(DN.assign_attrs(scales=(1, 2, 3)), {})


@pytest.mark.parametrize(
    ("array", "about", "expected"),
    [
        (DN.assign_attrs(_FillValue=0), {}, (0.0,)),
        (DN.assign_attrs(nodata="-9999", missing_value=0), {}, (-9999.0, 0.0)),
        (DN.assign_attrs(nodatavals=(0, 0)), {}, (0.0,)),
        (DN.assign_attrs(nodata=np.nan), {}, ()),
        (DN, {"_FillValue": 65535}, (65535.0,)),
        (DN.astype("int16"), {"_FillValue": 65535}, (-1.0, 65535.0)),
        (DN.assign_coords({"raster:bands": assets({"nodata": 0}, {"nodata": 0})}), {}, (0.0,)),
    ],
)
def test_nodata_is_found_everywhere(array, about, expected):
    assert declared(array, about).nodata == expected


def test_encoding_counts_for_integers_and_names_no_scale_of_floats():
    raw, floats = DN.copy(), DN.astype("float32")
    for array in (raw, floats):
        array.encoding = {"scale_factor": 1e-4, "_FillValue": 0}
    assert declared(raw, {}).scale_from == "encoding"
    assert declared(floats, {}).scale_from == ""
    assert declared(floats, {}).nodata == (0.0,)


def test_places_that_contradict_each_other_are_refused():
    array = DN.assign_attrs(scale_factor=1e-4).assign_coords(
        {"raster:bands": assets({"scale": 2.75e-5, "offset": -0.2}, dims=())}
    )
    with pytest.raises(CubeError, match=r"attributes say x 0.0001 .*raster:bands say x 2.75e-05"):
        declared(array, {})
    agree = DN.assign_attrs(scale_factor=1e-4).assign_coords(
        {"raster:bands": assets({"scale": 1e-4, "offset": -0.1}, dims=())}
    )
    assert declared(agree, {}).scale == 1e-4


def test_what_is_no_number_is_refused():
    with pytest.raises(CubeError, match="scale_factor='tiny' is no number"):
        declared(DN.assign_attrs(scale_factor="tiny"), {})


def test_units_are_found():
    assert declared(DN.assign_attrs(units="%"), {}).units == "%"
    coords = {"raster:bands": assets({"unit": "kelvin", "scale": 0.1}, dims=())}
    assert declared(DN.assign_coords(coords), {}).units == "kelvin"

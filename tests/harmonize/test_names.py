"""Any names, orders and layouts of bands give the same cube; the sensor is told, or asked."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize import as_cube
from tamrf_xr.sensors import SENSORS, SENTINEL2
from tests.harmonize.users_data import (
    CRS,
    band,
    group,
    landsat_numbers,
    landsat_scene,
    numbers,
    scene,
    written,
)


@st.composite
def spellings(draw):
    """A way to write a Sentinel-2 dataset: order, names, dimensions, layout, direction."""
    names = {}
    for name in draw(st.permutations(SENTINEL2.band_names)):
        row = next(b for b in SENTINEL2.bands if b.name == name)
        alias = draw(st.sampled_from((row.name, row.common_name, *row.aliases)))
        names[name] = draw(st.sampled_from((alias, alias.upper(), alias.title())))
    dims = draw(st.permutations(("time", "band", "y", "x")))
    layout = draw(st.sampled_from(("dataset", "dataarray", "reflectance", "mapping")))
    return names, dims, layout, draw(st.booleans()), draw(st.booleans())


@given(spellings())
def test_any_names_and_orders_give_the_same_cube(spelling):
    names, dims, layout, south_up, chunked = spelling
    data = scene()
    expected = as_cube(sentinel2=data)
    data = data.isel(y=slice(None, None, -1)) if south_up else data
    data = data.chunk(y=3) if chunked else data
    cube = as_cube(sentinel2=written(data, names, dims, layout))
    assert (cube["sentinel2"]["reflectance"].chunks is not None) == chunked
    xr.testing.assert_identical(
        cube.to_dict()["/sentinel2"].compute(), expected["sentinel2"].to_dataset()
    )


@pytest.mark.parametrize(
    ("sensor", "names"),
    [
        (
            "sentinel2",
            [
                "blue",
                "green",
                "red",
                "rededge1",
                "rededge2",
                "rededge3",
                "nir",
                "nir08",
                "swir16",
                "swir22",
            ],
        ),
        ("sentinel2", ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]),
        ("sentinel2", ["b2", "b3", "b4", "b5", "b6", "b7", "b8", "b8a", "b11", "b12"]),
        (
            "sentinel2",
            [f"{b.name}_{b.gsd:g}m" for b in SENTINEL2.bands],
        ),
        ("landsat", ["coastal", "blue", "green", "red", "nir08", "swir16", "swir22", "lwir11"]),
        ("landsat", ["SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7", "ST_B10"]),
        ("landsat", ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "LST"]),
    ],
)
def test_catalogues_names_are_known(sensor, names):
    made = landsat_scene if sensor == "landsat" else scene
    found = group(made(names), sensor, time=None)
    assert tuple(found["band"].values) == SENSORS[sensor].band_names
    assert ("surface_temperature" in found) == (sensor == "landsat")


def test_a_band_keeps_its_numbers_under_any_alias():
    found = group(landsat_scene(("nir08", "red")), "landsat")
    assert found["band"].values.tolist() == ["B04", "B05"]
    np.testing.assert_allclose(
        found["reflectance"].sel(band="B05"), landsat_numbers(0) * 2.75e-5 - 0.2, atol=1e-6
    )


def test_other_variables_of_a_dataset_are_ignored_and_named():
    data = scene().assign(AOT=band(numbers(1)), B01=band(numbers(2)), angle=("band6", np.zeros(6)))
    found = group(data)
    assert found.attrs["ignored"] == "AOT, B01, angle"
    assert set(found.data_vars) == {"reflectance"}


def test_unknown_band_of_a_band_dimension_is_refused():
    stack = scene(("B02", "B09")).to_array("band")
    with pytest.raises(
        CubeError, match=r"/sentinel2: unknown bands B09; Sentinel-2 has B02 \(blue\)"
    ):
        as_cube(sentinel2=stack)


def test_unknown_band_of_a_mapping_is_refused():
    with pytest.raises(CubeError, match="unknown bands purple; Landsat-8/9 has B01"):
        as_cube(landsat={"blue": band(numbers()), "purple": band(numbers())})


def test_numbered_bands_are_refused_with_the_way_out():
    stack = scene().to_array("band").assign_coords(band=range(1, 11))
    with pytest.raises(CubeError, match=r"unknown bands 1, 2, .*assign_coords\(band="):
        as_cube(sentinel2=stack)


def test_descriptions_of_a_file_name_its_bands(tmp_path):
    path = tmp_path / "two.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=2,
        width=4,
        height=3,
        dtype="uint16",
        crs=CRS,
        transform=Affine(30, 0, 500_000, 0, -30, 5_000_010),
    ) as file:
        file.write(landsat_numbers(shape=(2, 3, 4)))
        file.descriptions = ("SR_B5", "SR_B4")
    found = group(rioxarray.open_rasterio(path), "landsat", time="2021-06-01")
    assert found["band"].values.tolist() == ["B04", "B05"]
    np.testing.assert_allclose(
        found["reflectance"][0, 1], landsat_numbers(shape=(2, 3, 4))[0] * 2.75e-5 - 0.2, atol=1e-6
    )


def test_a_band_under_two_names_is_refused():
    with pytest.raises(CubeError, match="B02 comes more than once"):
        as_cube(sentinel2=scene(("B02", "blue", "red")))


@pytest.mark.parametrize("source", [xr.Dataset({"AOT": band(numbers())}), {"SCL": band(numbers())}])
def test_no_band_is_refused(source):
    with pytest.raises(
        CubeError, match=r"no reflectance band: found (AOT|scl); Sentinel-2 has B02"
    ):
        as_cube(sentinel2=source)


def test_other_stacks_beside_reflectance_are_ignored():
    stack = scene().to_array("band").to_dataset(name="reflectance")
    found = group(stack.assign(uncertainty=stack["reflectance"]))
    assert found.attrs["ignored"] == "uncertainty"


@pytest.mark.parametrize(
    ("data", "sensor"),
    [
        (scene(), "sentinel2"),
        (scene(("B01", "B02", "B8A", "B09")), "sentinel2"),
        (scene(("blue", "red", "SCL")), "sentinel2"),
        (landsat_scene(("blue", "red", "qa_pixel")), "landsat"),
        (landsat_scene(("SR_B2", "SR_B3")), "landsat"),
        (landsat_scene(("blue", "lwir11")).to_array("band"), "landsat"),
        (landsat_scene(("blue", "red")).assign_attrs(platform="LANDSAT_8"), "landsat"),
        (
            scene(("blue", "red")).assign_coords(platform=("time", ["Sentinel-2A", "Sentinel-2B"])),
            "sentinel2",
        ),
        (dict(scene(("blue", "B8A"))), "sentinel2"),
    ],
)
def test_sensor_is_told(data, sensor):
    assert list(as_cube(data).children) == [sensor]


def test_sensor_that_cannot_be_told_is_asked():
    data = scene(("blue", "green", "red"))
    with pytest.raises(
        CubeError, match=r"cannot tell the sensor: blue, green, red.* sentinel2= or landsat="
    ):
        as_cube(data)
    with pytest.raises(CubeError, match="of two sensors"):
        as_cube(scene(("rededge1", "lwir11")))
    landsat = landsat_scene(("blue", "green", "red"))
    assert "landsat" in as_cube(landsat, sensor="landsat").children
    with pytest.raises(CubeError, match="unknown sensor 'modis'"):
        as_cube(data, sensor="modis")


@pytest.mark.parametrize("bad", ["cube.zarr", np.zeros(3), 5])
def test_what_is_no_data_is_refused(bad):
    with pytest.raises(CubeError, match="open_cube"):
        as_cube(bad)
    with pytest.raises(CubeError, match="open_cube"):
        as_cube(landsat=bad)


def test_nothing_or_twice_is_refused():
    with pytest.raises(CubeError, match="no data"):
        as_cube()
    with pytest.raises(CubeError, match=r"/sentinel2 is in data and in sentinel2="):
        as_cube(scene(), sentinel2=scene())


def test_sensors_in_a_tree_in_a_mapping_or_apart_are_one():
    s2, ls = scene(), landsat_scene(("red", "lwir11"))
    s2 = s2.isel(y=slice(0, 6), x=slice(0, 9))
    ls = ls.isel(y=slice(0, 2), x=slice(0, 3))
    cubes = [
        as_cube(sentinel2=s2, landsat=ls),
        as_cube({"landsat": ls, "sentinel2": s2}),
        as_cube(xr.DataTree.from_dict({"sentinel2": s2, "landsat": ls})),
        as_cube(s2, landsat=ls),
    ]
    for cube in cubes[1:]:
        xr.testing.assert_identical(cubes[0], cube)
    xr.testing.assert_identical(as_cube(xr.DataTree(s2)), as_cube(sentinel2=s2))

"""Where and when data lie is found, or asked; grids are brought together, never shifted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from affine import Affine

from tamrf_xr.cube import build_cube, clip, grid_of, groups_of
from tamrf_xr.errors import CubeError, DateError, SourceNotFoundError
from tamrf_xr.harmonize import as_cube
from tests.harmonize.users_data import (
    AFTER,
    BEFORE,
    CRS,
    band,
    group,
    landsat_scene,
    numbers,
    scene,
)
from tests.scenes import random_cube


def test_coarse_bands_come_to_the_finest_grid_as_reproject_match_brings_them():
    fine = band(numbers(shape=(2, 12, 18)))
    coarse = band(numbers(1, shape=(2, 6, 9)), gsd=20.0)
    classes = band(numbers(2, low=0, high=12, dtype="uint8", shape=(2, 6, 9)), gsd=20.0)
    source = {"B05": coarse, "B04": fine, "SCL": classes}
    found = group(source)
    assert found["reflectance"].shape == (2, 2, 12, 18)
    reference = (
        (coarse * np.float32(1e-4)).astype("float32").rio.write_crs(CRS).rio.write_nodata(np.nan)
    )
    reference = reference.rio.reproject_match(fine, resampling=rasterio.enums.Resampling.cubic)
    np.testing.assert_allclose(found["reflectance"].sel(band="B05"), reference, atol=1e-6)
    np.testing.assert_array_equal(
        found["valid"], np.isin(classes, [4, 5, 6, 11]).repeat(2, axis=1).repeat(2, axis=2)
    )
    assert found.attrs["resampled"] == "B05 from 20 to 10 m (cubic); scl from 20 to 10 m (nearest)"
    lazy = group({name: array.chunk() for name, array in source.items()})
    xr.testing.assert_identical(lazy.compute(), found)


def test_missing_pixels_of_one_date_do_not_spread_to_another():
    coarse = np.full((2, 6, 9), 1000, "uint16")
    coarse[0] = 0
    found = group({"B04": band(numbers(shape=(2, 12, 18))), "B05": band(coarse, gsd=20.0)})
    b05 = found["reflectance"].sel(band="B05")
    assert np.isnan(b05[0]).all()
    np.testing.assert_allclose(b05[1], 0.1, atol=1e-6)


def test_bands_in_two_crs_are_refused():
    source = {"B04": band(numbers()), "B05": band(numbers(), crs="EPSG:32632", gsd=20.0)}
    with pytest.raises(CubeError, match=r"B05 in EPSG:32632, B04 in EPSG:32631; .*reproject"):
        as_cube(sentinel2=source)


def test_landsat_anchored_at_pixel_centres_is_refused_not_shifted():
    with pytest.raises(CubeError, match="not nested in the /sentinel2 grid"):
        as_cube(
            sentinel2=scene(),
            landsat=landsat_scene(("red",), left=499_995.0, top=5_000_025.0),
        )


def test_sensors_in_two_crs_are_refused():
    with pytest.raises(CubeError, match="/sentinel2 is in EPSG:32631, /landsat in EPSG:32632"):
        as_cube(sentinel2=scene(), landsat=landsat_scene(("red",), crs="EPSG:32632"))


def test_nested_sensors_are_cut_to_common_ground():
    fine, coarse = scene(left=500_010.0), landsat_scene(("red",))
    cube = as_cube(sentinel2=fine, landsat=coarse)
    assert grid_of(cube["sentinel2"].to_dataset()).bounds == (
        500_030.0,
        4_999_950.0,
        500_090.0,
        5_000_010.0,
    )
    assert "cut to the ground" in cube.attrs["history"]
    apart = {"sentinel2": group(fine), "landsat": group(coarse, "landsat")}
    expected = build_cube(
        groups_of(clip(xr.DataTree.from_dict(apart))), history=cube.attrs["history"]
    )
    xr.testing.assert_identical(cube, expected)
    with pytest.raises(CubeError, match="nothing left"):
        as_cube(sentinel2=scene(left=600_000.0), landsat=coarse)


@pytest.mark.parametrize(
    "carry",
    [
        lambda d: d.assign_coords(epsg=32631),
        lambda d: d.assign_coords({"proj:epsg": ("time", [32631, 32631])}),
        lambda d: d.assign_coords({"proj:code": CRS}),
        lambda d: d.assign_attrs(crs="epsg:32631"),
        lambda d: d.rio.write_crs(CRS),
    ],
)
def test_crs_is_found_where_libraries_put_it(carry):
    found = group(carry(scene(crs=None)))
    assert found.rio.crs.to_epsg() == 32631


def test_crs_missing_or_contradictory_or_in_degrees_is_refused():
    with pytest.raises(CubeError, match=r"no coordinate reference system.*pass crs= to as_cube"):
        as_cube(scene(crs=None))
    with pytest.raises(CubeError, match="data are in EPSG:32631, but crs= says EPSG:32632"):
        as_cube(scene(), crs="EPSG:32632")
    with pytest.raises(CubeError, match="data are in EPSG:32631, but crs= says EPSG:32632"):
        as_cube(random_cube(), crs=32632)
    with pytest.raises(CubeError, match="'moon' not understood"):
        as_cube(scene(crs=None), crs="moon")
    with pytest.raises(CubeError, match="pixels in degrees"):
        as_cube(scene(crs="EPSG:4326"))
    with pytest.raises(CubeError, match="two coordinate reference systems: coordinate 'epsg'"):
        as_cube(scene(crs=None).assign_coords(epsg=("time", [32631, 32632])))
    assert group(scene(crs=None), crs=32631).rio.crs.to_epsg() == 32631


def test_other_names_of_dimensions_are_known():
    data = scene().rename(y="Y", x="X", time="t")
    xr.testing.assert_identical(as_cube(data), as_cube(scene()))


def test_strange_shapes_are_refused():
    with pytest.raises(CubeError, match="select one of depth"):
        as_cube(scene().expand_dims(depth=2))
    with pytest.raises(CubeError, match=r"\['x'\] are missing"):
        as_cube(scene().isel(x=0))
    with pytest.raises(CubeError, match="no coordinate 'x'"):
        as_cube(scene().drop_vars("x"))
    with pytest.raises(CubeError, match="'B02' names one band, but holds 3"):
        as_cube(xr.Dataset({"B02": scene(("B02",))["B02"].expand_dims(band=3)}), sensor="sentinel2")
    with pytest.raises(CubeError, match="not evenly spaced"):
        as_cube(scene().isel(x=[0, 1, 3]))


def test_corner_coordinates_of_stackstac_become_centres():
    transform = Affine(10, 0, 500_000, 0, -10, 5_000_010)
    data = scene().to_array("band").drop_vars("spatial_ref")
    corners = data.assign_coords(x=data["x"] - 5, y=data["y"] + 5, epsg=32631)
    corners.attrs = {
        "spec": object(),
        "crs": "epsg:32631",
        "transform": transform,
        "resolution": 10.0,
    }
    expected = group(data, crs=CRS)
    xr.testing.assert_equal(group(corners), expected)
    xr.testing.assert_equal(
        group(corners[:, :, 2:, 3:]),
        expected.isel(y=slice(2, None), x=slice(3, None)).rio.write_transform(),
    )
    centres = corners.assign_coords(x=data["x"], y=data["y"])
    xr.testing.assert_equal(group(centres), expected)


def test_bands_of_files_come_with_or_without_a_band_dimension():
    data = scene()
    numbered = {name: data[name].expand_dims(band=[1]) for name in data}
    squeezed = {name: array.isel(band=0) for name, array in numbered.items()}
    for source in (numbered, squeezed, xr.Dataset(numbered), xr.Dataset(squeezed)):
        xr.testing.assert_identical(as_cube(sentinel2=source), as_cube(data))


def test_times_become_utc_in_the_order_they_came():
    zoned = pd.DatetimeIndex(["2021-06-06 00:30", "2021-06-01 00:30"], tz="Europe/Paris")
    for times in (zoned, list(zoned), np.array(["2021-06-05T22:30", "2021-05-31T22:30"], object)):
        found = group(scene().assign_coords(time=times))
        assert found["time"].values.astype("M8[m]").astype(str).tolist() == [
            "2021-06-05T22:30",
            "2021-05-31T22:30",
        ]


def test_a_single_date_is_fine_given_its_time():
    single = scene().isel(time=0, drop=True)
    with pytest.raises(CubeError, match="/sentinel2: no 'time' coordinate; pass time="):
        as_cube(single)
    expected = as_cube(scene().isel(time=[0]))
    xr.testing.assert_identical(as_cube(single, time="2021-06-01T10:30Z"), expected)
    xr.testing.assert_identical(as_cube(single, time={"sentinel2": BEFORE[0]}), expected)
    xr.testing.assert_identical(as_cube(scene().isel(time=0)), expected)
    with pytest.raises(DateError, match="not understood"):
        as_cube(single, time="yesterday or so")


def test_times_that_are_none_are_refused():
    with pytest.raises(CubeError, match="2 times for 1 acquisitions"):
        as_cube(scene().isel(time=0, drop=True), time=BEFORE)
    with pytest.raises(CubeError, match="/sentinel2: no acquisition: 'time' has length 0"):
        as_cube(scene().isel(time=slice(0)))
    with pytest.raises(CubeError, match="'time' holds int64, expected dates"):
        as_cube(scene().assign_coords(time=[1, 2]))
    with pytest.raises(CubeError, match="NaT"):
        as_cube(scene().assign_coords(time=[BEFORE[0], np.datetime64("NaT")]))
    with pytest.raises(CubeError, match="not a date"):
        as_cube(scene().assign_coords(time=["monday", "tuesday"]))
    with pytest.raises(CubeError, match="at other times"):
        as_cube(sentinel2={"B02": band(numbers()), "B03": band(numbers(), times=AFTER)})


def test_an_empty_cube_is_refused():
    empty = random_cube().isel(time=slice(0))
    with pytest.raises(CubeError, match="/sentinel2: no acquisition"):
        as_cube(empty)


def test_paths_of_files_are_opened_lazily(tmp_path):
    data = scene(("B04", "B05"))
    for name in data:
        data[name][0].rio.to_raster(tmp_path / f"{name}.tif")
    paths = {"red": tmp_path / "B04.tif", "rededge1": str(tmp_path / "B05.tif")}
    found = group(paths, time="2021-06-01T10:30")
    assert found["reflectance"].chunks is not None
    xr.testing.assert_allclose(found.compute(), group(data.isel(time=[0])))


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"band 'red': no file at .*red.tif"):
        as_cube(sentinel2={"red": tmp_path / "red.tif"}, time="2021-06-01")
    with pytest.raises(CubeError, match="band 'red' is a ndarray, expected a DataArray or a path"):
        as_cube(sentinel2={"red": np.zeros((3, 4))}, time="2021-06-01")

"""What a cube is, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.cube import build_cube, build_group, clip, fine_grid, grid_of, groups_of, validate
from tamrf_xr.errors import CubeError
from tests.scenes import days, grid, random_cube


def sentinel2(shape=(36, 36), **place):
    return build_group(
        "sentinel2", np.zeros((1, 10, *shape), "f4"), times=days(1), grid=grid(shape, **place)
    )


def landsat(shape=(12, 12), **place):
    place = {"gsd": 30.0} | place
    return build_group(
        "landsat", np.zeros((1, 7, *shape), "f4"), times=days(1), grid=grid(shape, **place)
    )


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "groups found: none; expected one or more of sentinel2, landsat"),
        ({"modis": xr.Dataset()}, "groups found: modis"),
        ({"sentinel2": sentinel2().drop_vars("spatial_ref")}, "no coordinate reference system"),
        ({"sentinel2": sentinel2().rename(reflectance="data")}, "has no 'reflectance'"),
        (
            {"sentinel2": sentinel2().transpose("band", "time", "y", "x")},
            "as_cube puts them in order",
        ),
        ({"sentinel2": sentinel2().assign_coords(band=[*"abcdefghij"])}, "unknown bands a, b, c"),
        ({"sentinel2": sentinel2().isel(band=[0, 0])}, "each band once"),
        ({"sentinel2": sentinel2().isel(y=slice(None, None, -1))}, "north up"),
        ({"sentinel2": sentinel2().isel(x=[0, 1, 3])}, "not evenly spaced"),
        ({"sentinel2": sentinel2().isel(x=[0])}, "at least 2 are needed"),
        (
            {"sentinel2": sentinel2(), "landsat": landsat(epsg=32632)},
            "EPSG:32631, /landsat in EPSG:32632",
        ),
        (
            {"sentinel2": sentinel2(), "landsat": landsat(gsd=20.0)},
            "pixels of 20 m, expected 30 m for Landsat-8/9",
        ),
        (
            {"sentinel2": sentinel2(), "landsat": landsat(left=500_015.0)},
            r"not nested .* differ by 1.5, 0",
        ),
        ({"sentinel2": sentinel2(), "landsat": landsat(left=500_010.0)}, "not nested"),
        ({"sentinel2": sentinel2(), "landsat": landsat((11, 12))}, "cut both with tamrf_xr.clip"),
    ],
)
def test_what_is_no_cube_is_refused(groups, message):
    with pytest.raises(CubeError, match=message):
        validate(xr.DataTree.from_dict(groups))


def test_clip_cuts_both_sensors_to_whole_landsat_pixels():
    cube = random_cube((36, 45))
    left, bottom, right, top = fine_grid(cube).bounds
    cut = groups_of(clip(cube, (left + 31, bottom, right - 1, top - 70)))
    assert grid_of(cut["sentinel2"]).bounds == grid_of(cut["landsat"]).bounds
    assert grid_of(cut["landsat"]).bounds == (left + 60, bottom, right - 30, top - 90)
    whole = groups_of(cube)["sentinel2"]
    xr.testing.assert_equal(cut["sentinel2"]["reflectance"], whole["reflectance"][..., 9:, 6:-3])


def test_clip_brings_unequal_footprints_together():
    tree = xr.DataTree.from_dict({"sentinel2": sentinel2((37, 40)), "landsat": landsat((12, 14))})
    validate(clip(tree))
    with pytest.raises(CubeError, match="nothing left"):
        clip(tree, (0, 0, 10, 10))


def test_grids_survive_a_round_trip_through_coordinates():
    place = grid((7, 9), gsd=30.0)
    group = landsat((7, 9))
    assert grid_of(group) == place
    assert group.rio.transform() == place.transform
    assert place.zoom(3).bounds == place.bounds


def test_build_cube_validates():
    with pytest.raises(CubeError):
        build_cube({"sentinel2": sentinel2(), "landsat": landsat((3, 3))})


class Unlabelled(xr.indexes.PandasIndex):
    """An index whose slices of labels return a pixel on either side, as rasterix's 0.2.4 do."""

    def sel(self, labels, method=None, tolerance=None):
        found = super().sel(labels, method, tolerance)
        for dim, chosen in found.dim_indexers.items():
            if isinstance(chosen, slice):
                found.dim_indexers[dim] = slice(max(chosen.start - 1, 0), chosen.stop + 1)
        return found


@given(edges=st.tuples(*[st.floats(-20, 150)] * 2), tall=st.tuples(*[st.floats(-20, 150)] * 2))
def test_clip_does_not_depend_on_the_index(edges, tall):
    cube = random_cube((36, 45))
    left, bottom, right, top = fine_grid(cube).bounds
    bounds = (left + edges[0], bottom + tall[0], right - edges[1], top - tall[1])
    other = {}
    for name, group in groups_of(cube).items():
        bare = group.drop_indexes(["x", "y"])
        indexes = {axis: Unlabelled(group[axis], axis) for axis in ("y", "x")}
        other[name] = bare.assign_coords(
            xr.Coordinates({axis: bare[axis] for axis in indexes}, indexes)
        )
    one, same = clip(cube, bounds), clip(xr.DataTree.from_dict(other), bounds)
    for name, group in groups_of(one).items():
        inside = (bounds[0] - 29 < group["x"]) & (group["x"] < bounds[2])
        assert inside.all()
        by_label = groups_of(cube)[name].sel(x=group["x"], y=group["y"])
        np.testing.assert_array_equal(group["reflectance"], by_label["reflectance"])
        np.testing.assert_array_equal(group["reflectance"], same[name]["reflectance"])
        told = [float(value) for value in group["spatial_ref"].attrs["GeoTransform"].split()]
        assert told == list(grid_of(group).transform.to_gdal())

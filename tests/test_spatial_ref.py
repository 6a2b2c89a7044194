"""A CRS is found whatever its name and wherever it stands, and stands in spatial_ref after."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.crs
import xarray as xr
from affine import Affine
from pyproj import CRS

import tamrf_xr
from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError
from tamrf_xr.spatial_ref import find_crs, with_spatial_ref
from tests.scenes import random_cube

UTM = CRS(32631)


def image(**attrs) -> xr.Dataset:
    array = xr.DataArray(
        np.zeros((3, 4), "f4"),
        dims=("y", "x"),
        coords={"y": [25.0, 15.0, 5.0], "x": [5.0, 15.0, 25.0, 35.0]},
        attrs=attrs,
    )
    return array.to_dataset(name="reflectance")


def mapped(name="spatial_ref", *, crs=UTM) -> xr.Dataset:
    return image().rio.write_crs(crs, grid_mapping_name=name)


def as_variable(dataset, name="spatial_ref"):
    """As plain xarray opens a store: the mapping is a variable, its name an attribute."""
    made = dataset.reset_coords(name)
    for array in made.data_vars.values():
        array.attrs |= {
            key: array.encoding.pop(key) for key in ["grid_mapping"] if key in array.encoding
        }
    return made


def unnamed(dataset):
    """As a store written with encoding= reads: nothing names the mapping."""
    made = dataset.copy()
    made.encoding = {}
    for variable in made.variables.values():
        variable.encoding.pop("grid_mapping", None)
        variable.attrs.pop("grid_mapping", None)
    return made


def only(dataset, *names):
    """Leave some attributes of the grid mapping alone."""
    made = dataset.copy()
    attrs = made["spatial_ref"].attrs
    made["spatial_ref"].attrs = {name: attrs[name] for name in attrs if name in names}
    return made


def is_utm(crs) -> bool:
    # CF's parameters alone name no datum ensemble: alike, but not to the word.
    return crs.to_epsg(min_confidence=20) == 32631


CF_ALONE = {k: v for k, v in UTM.to_cf().items() if k not in {"crs_wkt", "spatial_ref"}}
PLACES = {
    "coordinate": mapped(),
    "coordinate of another name": mapped("transverse_mercator"),
    "crs": mapped("crs"),
    "variable": as_variable(mapped()),
    "variable crs": as_variable(mapped("crs"), "crs"),
    "unnamed variable": unnamed(as_variable(mapped())),
    "unnamed variable crs": unnamed(as_variable(mapped("crs"), "crs")),
    "crs_wkt alone": only(mapped(), "crs_wkt"),
    "GDAL's attribute alone": only(mapped(), "spatial_ref", "GeoTransform"),
    "CF without WKT": image(grid_mapping="utm").assign(utm=((), 0, CF_ALONE)),
    "named by the dataset": unnamed(mapped("crs")).assign_attrs(grid_mapping="crs"),
    "CF's long form": image(grid_mapping="crs: x y wgs84: lat lon")
    .assign(crs=((), b"", CF_ALONE))
    .assign_coords(wgs84=((), 0, CRS(4326).to_cf())),
    "one per time": mapped("crs").assign_coords(crs=("time", [0, 0], UTM.to_cf())),
    "proj:code": image().assign_attrs({"proj:code": "EPSG:32631"}),
    "attribute of the array": image(crs="EPSG:32631"),
    "+init": image(crs="+init=epsg:32631"),
    "attribute that is an object": image(crs=rasterio.crs.CRS.from_epsg(32631)),
    "projjson": image(**{"proj:projjson": UTM.to_json_dict()}),
    "epsg": image().assign_coords(epsg=32631),
    "proj:epsg along time": image().assign_coords({"proj:epsg": ("time", [32631.0, 32631.0])}),
    "text of an epsg": image().assign_coords({"proj:epsg": ("time", ["32631", None])}),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_crs_is_found_wherever_it_stands(place):
    given = PLACES[place]
    kept = given.copy(deep=True)
    assert is_utm(find_crs(given))
    made = with_spatial_ref(given)
    assert is_utm(CRS(made.rio.crs))
    assert is_utm(CRS(made["reflectance"].rio.crs))
    assert is_utm(find_crs(made["reflectance"]))
    assert "spatial_ref" in made.coords
    assert set(made.data_vars) == {"reflectance"}
    assert "grid_mapping" not in made["reflectance"].attrs
    xr.testing.assert_identical(given, kept)
    assert given["reflectance"].encoding == kept["reflectance"].encoding
    assert with_spatial_ref(made) is made


def test_what_is_proper_is_not_copied():
    given = mapped()
    assert with_spatial_ref(given) is given
    assert with_spatial_ref(image()).identical(image())
    assert find_crs(image()) is None


def test_the_group_around_may_say_it_for_all():
    outer = xr.Dataset(attrs={"proj:code": "EPSG:32631"})
    assert with_spatial_ref(image(), outer).rio.crs.to_epsg() == 32631


def test_the_transform_of_another_name_is_kept():
    given = mapped("crs").rio.write_transform(Affine(10, 0, 0, 0, -10, 30), grid_mapping_name="crs")
    told = with_spatial_ref(given)["spatial_ref"].attrs["GeoTransform"]
    assert told == given["crs"].attrs["GeoTransform"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            unnamed(mapped("crs")).assign_coords(other=((), 0, CRS(32632).to_cf())),
            "'crs' is EPSG:32631, 'other' is EPSG:32632; drop the one",
        ),
        (image(crs="EPSG:32631", epsg=32632), "two coordinate reference systems"),
        (image().assign_coords(epsg=("time", [32631, 32632])), "two coordinate reference systems"),
        (image(crs="somewhere"), "'somewhere' not understood"),
        (image(grid_mapping="a").assign(a=((), 0, {"grid_mapping_name": "b"})), "not understood"),
    ],
)
def test_what_contradicts_itself_is_refused(given, message):
    with pytest.raises(CubeError, match=message):
        find_crs(given)


@pytest.mark.parametrize("decode", ["all", True], ids=["all", "plain"])
@pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
def test_our_stores_opened_by_plain_xarray_are_cubes(tmp_path, decode, chunks):
    tamrf_xr.save_cube(random_cube(nan=0.1), tmp_path / "c.zarr")
    ours = tamrf_xr.open_cube(tmp_path / "c.zarr")
    plain = xr.open_datatree(
        tmp_path / "c.zarr", engine="zarr", chunks=chunks, decode_coords=decode
    )
    tamrf_xr.validate(plain)
    one, other = (tamrf_xr.fuse(c, "2022-01-20", method="linear") for c in (ours, plain))
    for name in groups_of(one):
        np.testing.assert_allclose(
            one[name]["reflectance"].values, other[name]["reflectance"].values, atol=1e-6
        )
    tamrf_xr.save_cube(plain, tmp_path / "again.zarr")
    for name, group in groups_of(tamrf_xr.open_cube(tmp_path / "again.zarr")).items():
        xr.testing.assert_identical(group.load(), groups_of(ours)[name].load())


def test_products_without_reflectance_are_saved_again(tmp_path):
    fused = random_cube().tamrf.fuse("2022-01-20", method="linear", bands={"landsat": ["LST"]})
    fused.to_zarr(tmp_path / "p.zarr")
    plain = xr.open_datatree(tmp_path / "p.zarr", engine="zarr")
    tamrf_xr.save_cube(plain, tmp_path / "again.zarr")
    again = tamrf_xr.open_cube(tmp_path / "again.zarr")["landsat/surface_temperature"]
    np.testing.assert_allclose(again, fused["landsat/surface_temperature"], atol=0.0501)

"""What came from any format, with any attributes and coordinates, can be stored again."""

from __future__ import annotations

import json

import dask.array as da
import numcodecs
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

import tamrf_xr
from tamrf_xr.cube import build_cube, build_group, groups_of
from tamrf_xr.storable import storable_attrs
from tests.scenes import grid, random_cube

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.datetimes()
    | st.dates()
    | st.complex_numbers()
    | st.sampled_from(
        [
            object(),
            print,
            Affine.identity(),
            CRS(32631),
            np.float32(1.5),
            np.int64(3),
            np.arange(3),
            np.array("2022", "M8[D]"),
            np.array([None, "a", {1}], object),
            pd.Timestamp("2022-06-01T10:00Z"),
            xr.DataArray([1]),
            {"msi", "oli"},
        ]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def cube_with(change):
    """A small cube of Sentinel-2 whose group is changed."""
    group = groups_of(random_cube((12, 12), nan=0.2))["sentinel2"]
    return build_cube({"sentinel2": change(group)})


def saved(cube, folder):
    store = folder / "saved.zarr"
    while store.exists():  # what is read is not written to
        store = store.with_name(f"again-{store.name}")
    tamrf_xr.save_cube(cube, store)
    return tamrf_xr.open_cube(store)


def assert_saved(cube, folder):
    back = saved(cube, folder)
    for name, group in groups_of(cube).items():
        read = groups_of(back)[name]
        np.testing.assert_allclose(read["reflectance"], group["reflectance"], atol=0.5001e-4)
        np.testing.assert_array_equal(read["time"], group["time"])
        assert read.rio.transform() == group.rio.transform(recalc=True)
    return back


@given(attrs=st.dictionaries(st.text(), values, max_size=4))
def test_any_attribute_becomes_json(attrs):
    stored = storable_attrs(attrs)
    assert json.loads(json.dumps(stored)).keys() == stored.keys()
    assert storable_attrs(stored).keys() == stored.keys()


@given(attrs=st.dictionaries(st.text(min_size=1), values, max_size=4))
def test_a_cube_of_any_attributes_is_saved(tmp_path_factory, attrs):
    def change(group):
        told = group.assign_attrs(attrs)
        for name in ("reflectance", "valid", "x", "time"):
            told[name].attrs |= attrs
        return told

    assert_saved(cube_with(change), tmp_path_factory.mktemp("any"))


@pytest.mark.parametrize("fill", [-9999, np.float32(-9999), np.float64(65535), [-9999.0]])
def test_a_declared_fill_is_no_data_and_no_traceback(tmp_path, fill):
    def change(group):
        filled = group["reflectance"].fillna(float(np.ravel(fill)[0]))
        attrs = {"_FillValue": fill, "scale_factor": 1e-4, "grid_mapping": "spatial_ref"}
        return group.assign(reflectance=filled.assign_attrs(attrs))

    back = saved(cube_with(change), tmp_path)["sentinel2/reflectance"]
    expected = cube_with(lambda group: group)["sentinel2/reflectance"]
    np.testing.assert_allclose(back, expected, atol=0.5001e-4)
    assert "scale_factor" not in back.attrs


def test_a_fill_that_is_a_reflectance_too_hides_no_value(tmp_path):
    dark = cube_with(
        lambda g: g.assign(reflectance=(g["reflectance"] * 0).assign_attrs(_FillValue=0))
    )
    assert_saved(dark, tmp_path)


EXTRA = {
    "objects_along_time": ("time", np.array(["S2A", None, {"a": 1}, np.nan], object)),
    "sets": ("time", np.array([{"msi"}, {"oli", "tirs"}, "x", 3], object)),
    "unicode": ("time", np.array(["S2A", "S2B", "S2A", "é"])),
    "bytes": ("time", np.array([b"S2A", b"S2B", b"S2A", b"x"])),
    "numbers": ("time", np.arange(4.0)),
    "flags": ("time", np.array([True, False, True, True])),
    "times": ("time", pd.date_range("2022", periods=4, freq="h").as_unit("ns")),
    "no_times": ("time", np.array(["2022", "NaT", "2022", "NaT"], "M8[ns]")),
    "durations": ("time", np.arange(4).astype("m8[s]")),
    "an_object": ((), np.array({"proj": [1, 2]}, dtype=object)),
    "a_text": ((), "EPSG:32631"),
    "per_band": ("band", np.array([{"name": i} for i in range(10)], object)),
    "per_pixel": (("y", "x"), np.zeros((12, 12))),
}


@pytest.mark.parametrize("extra", EXTRA)
def test_extra_coordinates_and_variables_are_saved(tmp_path, extra):
    for kind in ("assign_coords", "assign"):
        cube = cube_with(lambda group, kind=kind: getattr(group, kind)({extra: EXTRA[extra]}))
        read = assert_saved(cube, tmp_path)["sentinel2"][extra]
        dims, given_values = EXTRA[extra]
        assert read.dims == ((dims,) if isinstance(dims, str) else dims)
        if np.asarray(given_values).dtype.kind in "fbM":
            np.testing.assert_array_equal(read, np.asarray(given_values))
    assert_saved(saved(cube, tmp_path), tmp_path)


@pytest.mark.parametrize(
    "codecs",
    [
        {},
        {"compressors": (numcodecs.Zlib(1),), "filters": [numcodecs.Shuffle(4)]},
        {"compressors": None},
        {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": -32768},
        {"dtype": "uint16", "scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0},
    ],
    ids=["plain", "filters", "raw", "packed", "offset"],
)
@pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
def test_what_came_from_zarr_v2_is_saved_again(tmp_path, codecs, chunks):
    cube = cube_with(lambda group: group.assign(reflectance=group["reflectance"] + 0.01))
    cube.to_zarr(
        tmp_path / "v2.zarr", zarr_format=2, encoding={"/sentinel2": {"reflectance": codecs}}
    )
    opened = tamrf_xr.open_cube(tmp_path / "v2.zarr", chunks=chunks)
    assert opened["sentinel2/reflectance"].dtype == np.float32
    np.testing.assert_allclose(
        opened["sentinel2/reflectance"], cube["sentinel2/reflectance"], atol=0.5001e-4
    )
    assert_saved(opened, tmp_path)
    assert_saved(tamrf_xr.clip(opened), tmp_path)
    opened.to_zarr(tmp_path / "plain.zarr", zarr_format=3)


def test_what_came_from_netcdf_is_saved_again(tmp_path):
    cube = random_cube((12, 12), nan=0.2)
    for name, group in groups_of(cube).items():
        compressed = {
            "zlib": True,
            "shuffle": True,
            "chunksizes": (1, *group["reflectance"].shape[1:]),
        }
        group.to_netcdf(
            tmp_path / "c.nc",
            group=name,
            engine="h5netcdf",
            mode="a",
            encoding={"reflectance": compressed},
        )
    read = {
        name: xr.open_dataset(tmp_path / "c.nc", group=name, engine="h5netcdf", decode_coords="all")
        for name in groups_of(cube)
    }
    tree = xr.DataTree.from_dict(read)
    xr.testing.assert_equal(saved(tree, tmp_path).load(), saved(cube, tmp_path).load())


def bright(cube):
    """A cube that holds values which int16 does not, in its first columns."""
    beyond = {}
    for name, group in groups_of(cube).items():
        reflectance = group["reflectance"].copy(deep=True)
        reflectance[..., :1], reflectance[..., 1:2] = 5.0, -0.4
        beyond[name] = group.assign(reflectance=reflectance.where(group["reflectance"].notnull()))
    return build_cube(beyond)


def test_a_product_never_wraps(tmp_path):
    cube = bright(random_cube((12, 12), nan=0.1))
    fused = cube.tamrf.fuse("2022-01-14", method="linear")
    assert isinstance(fused["sentinel2/reflectance"].data, da.Array)
    made = fused["sentinel2/reflectance"].values
    assert np.nanmax(made) == 5
    fused.to_zarr(tmp_path / "f.zarr")
    for read in (
        tamrf_xr.open_cube(tmp_path / "f.zarr"),
        xr.open_datatree(tmp_path / "f.zarr", engine="zarr"),
    ):
        np.testing.assert_array_equal(read["sentinel2/reflectance"], made)
    tamrf_xr.save_cube(fused, tmp_path / "packed.zarr")
    packed = tamrf_xr.open_cube(tmp_path / "packed.zarr")["sentinel2/reflectance"]
    clipped = np.clip(made, -np.float32(3.2767), np.float32(3.2767))
    np.testing.assert_allclose(packed, clipped, atol=0.5001e-4)


def test_no_data_of_a_product_stays_no_data():
    empty = build_cube(
        {
            name: group.assign(reflectance=group["reflectance"] * np.float32(np.nan))
            for name, group in groups_of(random_cube((12, 12))).items()
        }
    )
    assert np.isnan(empty.tamrf.fuse("2022-01-14", method="linear")["sentinel2/reflectance"]).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a * 20,
        lambda a: a.where(a > 0.1) * 20,
        lambda a: (a * 20).clip(0, 9),
        lambda a: a.isel(time=[0]) + 5,
        lambda a: a.mean("time", keep_attrs=True).expand_dims("time") + 5,
    ],
)
@pytest.mark.parametrize("kind", ["as_cube", "opened", "fused"])
def test_arithmetic_leaves_by_to_zarr_as_it_is(tmp_path, change, kind):
    cube = random_cube((12, 12), sensors=("sentinel2",), nan=0.1)
    if kind == "opened":
        cube = saved(cube, tmp_path)
    if kind == "fused":
        cube = cube.tamrf.fuse(["2022-01-14", "2022-01-16"], method="linear")
    changed = change(cube["sentinel2/reflectance"])
    changed.to_dataset(name="a").to_zarr(tmp_path / "a.zarr")
    read = xr.open_zarr(tmp_path / "a.zarr")["a"]
    np.testing.assert_allclose(read, changed, rtol=1e-6)


def test_what_may_not_fit_is_written_as_floats(tmp_path):
    cube = bright(random_cube((12, 12)))
    cube.to_zarr(tmp_path / "c.zarr")
    read = tamrf_xr.open_cube(tmp_path / "c.zarr")
    np.testing.assert_array_equal(read["sentinel2/reflectance"], cube["sentinel2/reflectance"])
    read.to_zarr(tmp_path / "again.zarr")
    again = tamrf_xr.open_cube(tmp_path / "again.zarr")
    np.testing.assert_array_equal(again["sentinel2/reflectance"], cube["sentinel2/reflectance"])


@pytest.mark.parametrize("dtype", [None, "float32"])
@pytest.mark.parametrize("kind", ["as_cube", "opened", "fused"])
def test_gdal_reads_reflectance_from_a_raster(tmp_path, kind, dtype):
    cube = random_cube((12, 15), nan=0.2)
    if kind == "opened":
        cube = saved(cube, tmp_path)
    if kind == "fused":
        cube = bright(cube).tamrf.fuse("2022-01-14", method="linear")
    image = cube["sentinel2/reflectance"].isel(time=0, y=slice(3, None), x=slice(2, 9))
    for write in (image.tamrf.to_raster, image.rio.to_raster):
        write(tmp_path / "i.tif", dtype=dtype)
        with rasterio.open(tmp_path / "i.tif") as file:
            scale, offset = (np.array(v)[:, None, None] for v in (file.scales, file.offsets))
            read = file.read(masked=True) * scale + offset
            assert file.nodata is not None
            assert file.transform == image.rio.transform(recalc=True)
            assert file.crs.to_epsg() == 32631
            described = file.descriptions
        assert described[0] == ("B02" if write == image.tamrf.to_raster else "surface reflectance")
        np.testing.assert_array_equal(np.ma.getmaskarray(read), np.isnan(image.values))
        np.testing.assert_allclose(read.filled(np.nan), image.values, atol=0.5001e-4)


@pytest.mark.parametrize("pick", [{"band": "B04"}, {"band": ["B08", "B02"]}, {}])
def test_bands_of_a_raster_are_named_whichever_are_picked(tmp_path, pick):
    image = random_cube((12, 12))["sentinel2/reflectance"].isel(time=0).sel(pick)
    image.tamrf.to_raster(tmp_path / "i.tif")
    with rasterio.open(tmp_path / "i.tif") as file:
        assert list(file.descriptions) == np.ravel(image["band"]).tolist()
    ratio = image / image
    ratio.rio.to_raster(tmp_path / "ratio.tif")


def test_the_transform_is_that_of_what_is_saved(tmp_path):
    from tests.fuser_tests import paired_cube, with_sharp

    cube = with_sharp(paired_cube((36, 36)))
    windows = {
        "sentinel2": {"y": slice(9, None), "x": slice(30, None)},
        "landsat": {
            "y": slice(3, None),
            "x": slice(10, None),
            "y_15m": slice(6, None),
            "x_15m": slice(20, None),
        },
    }
    part = xr.DataTree.from_dict({n: g.isel(windows[n]) for n, g in groups_of(cube).items()})
    back = saved(part, tmp_path)
    for name, group in groups_of(back).items():
        left, _, _, top = group.rio.bounds()
        told = [float(v) for v in group["spatial_ref"].attrs["GeoTransform"].split()]
        assert (told[0], told[3]) == (left, top) == (500_300.0, told[3])
        assert name == "sentinel2" or group["spatial_ref_15m"].attrs["GeoTransform"].startswith(
            f"{left} 15.0"
        )


@pytest.mark.parametrize("name", ["sentinel2", "landsat"])
def test_gdal_reads_a_netcdf_of_a_group(tmp_path, name):
    with rasterio.Env() as env:
        if "netCDF" not in env.drivers():
            pytest.skip("this GDAL reads no netCDF")
    cube = random_cube((36, 36))
    part = xr.DataTree.from_dict(
        {
            n: g.isel(y=slice(90 // s, None), x=slice(60 // s, None))
            for (n, g), s in zip(groups_of(cube).items(), (10, 30), strict=True)
        }
    )
    group = groups_of(saved(part, tmp_path))[name]
    group.to_netcdf(tmp_path / "g.nc", engine="h5netcdf")
    with rasterio.open(f'NETCDF:"{tmp_path / "g.nc"}":reflectance') as file:
        assert file.transform == group.rio.transform(recalc=True)
        assert file.crs.to_epsg() == 32631
        assert file.count == group.sizes["time"] * group.sizes["band"]
        read = file.read(1, masked=True) * file.scales[0] + file.offsets[0]
    np.testing.assert_allclose(read, group["reflectance"][0, 0], atol=1e-6)


def stores(folder):
    """The same cube as every way leaves it."""
    cube = random_cube((12, 12))
    fused = cube.tamrf.fuse("2022-01-14", method="linear")
    tamrf_xr.run_job(cube, folder / "job.zarr", "2022-01-14", method="linear", progress=False)
    fused.to_zarr(folder / "plain.zarr")
    tamrf_xr.save_cube(fused, folder / "product.zarr")
    opened = {p: tamrf_xr.open_cube(folder / f"{p}.zarr") for p in ("job", "plain", "product")}
    return {
        "as_cube": tamrf_xr.as_cube(cube),
        "saved": saved(cube, folder),
        "fused": fused,
        **opened,
    }


def test_coordinates_are_the_same_whichever_way_they_came(tmp_path):
    found = {}
    for way, tree in stores(tmp_path).items():
        for name, group in groups_of(tree).items():
            told = {c: (str(a.dtype), dict(a.attrs)) for c, a in group.coords.items()}
            told["time encoding"] = {
                key: str(group["time"].encoding[key]) for key in ("units", "dtype", "calendar")
            }
            del told["spatial_ref"]
            found[way, name] = told
    for (way, name), told in found.items():
        assert told == found["as_cube", name] or way == "x", (way, name)
    told = found["as_cube", "landsat"]
    assert told["band"][0] == told["common_name"][0] == "object"
    assert told["x"][1] == {
        "axis": "X",
        "standard_name": "projection_x_coordinate",
        "long_name": "x coordinate of projection",
        "units": "m",
    }
    assert told["time encoding"]["units"] == "milliseconds since 1970-01-01"


def test_the_unit_of_axes_is_that_of_the_crs():
    feet = build_group(
        "sentinel2",
        np.zeros((1, 10, 2, 2), "f4"),
        times=["2022-01-01"],
        grid=grid((2, 2), epsg=2263),
    )
    assert feet["x"].attrs["units"] == "US_survey_foot"


@pytest.mark.parametrize("way", ["saved", "plain", "job"])
def test_what_is_appended_keeps_its_time_of_day(tmp_path, way):
    opened = stores(tmp_path)[way]
    group = groups_of(opened)["sentinel2"].isel(time=[0]).load()
    later = pd.DatetimeIndex(["2023-05-06T10:47:12"]).as_unit("ns")
    group.assign_coords(time=later).chunk().to_zarr(
        tmp_path / f"{way}.zarr", group="sentinel2", append_dim="time", consolidated=False
    )
    read = xr.open_zarr(tmp_path / f"{way}.zarr", group="sentinel2", consolidated=False)
    assert read["time"].values[-1] == later.values[0]
    np.testing.assert_allclose(read["reflectance"][-1], group["reflectance"][0], atol=1e-6)


@pytest.mark.parametrize("time", ["2022-06-01T10:47:12.024", "2022-06-01T10:47:12.024567891"])
def test_times_are_kept_to_the_last_digit(tmp_path, time):
    cube = cube_with(
        lambda g: g.isel(time=[0]).assign_coords(time=pd.DatetimeIndex([time]).as_unit("ns"))
    )
    assert saved(cube, tmp_path)["sentinel2/time"].values[0] == np.datetime64(time, "ns")


def test_old_stores_read_as_before(tmp_path):
    """Whole days in days since the first, text of fixed length, no attributes of axes."""
    cube = random_cube((12, 12), nan=0.2)
    old = {}
    for name, group in groups_of(cube).items():
        made = group.drop_encoding().assign_coords(band=group["band"].values.astype("U3"))
        for axis in ("y", "x", "time"):
            made[axis].attrs = {}
        made["time"].encoding = {"units": "days since 2022-01-03", "dtype": "int64"}
        for variable in made.data_vars.values():
            variable.encoding = {"grid_mapping": "spatial_ref"}
        old[name] = made
    xr.DataTree.from_dict(old).to_zarr(tmp_path / "old.zarr", zarr_format=2)
    read = tamrf_xr.open_cube(tmp_path / "old.zarr")
    for name, group in groups_of(cube).items():
        xr.testing.assert_equal(groups_of(read)[name].load(), group)
        assert read[name]["band"].dtype == object

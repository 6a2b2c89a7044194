"""Sentinel-1 in a cube: read in the unit that it is in, carried unchanged, and fused by nobody."""

from __future__ import annotations

import logging

import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr

import tamrf_xr
from tamrf_xr.cube import build_backscatter, build_cube, groups_of
from tamrf_xr.describe import describe
from tamrf_xr.errors import CubeError
from tests.scenes import days, grid, random_cube

SHAPE = (24, 30)


def power(seed=0, *, count=3, shape=SHAPE, mean=0.05, dtype=np.float32):
    """Speckle of 4 looks on land."""
    rng = np.random.default_rng(seed)
    return (mean * rng.gamma(4, 1 / 4, (count, *shape))).astype(dtype)


def layer(values, *, where=None, **attrs):
    """An array as odc-stac gives it."""
    place = where or grid(values.shape[1:])
    coords = {"time": days(len(values)), **place.coords()}
    array = xr.DataArray(values, dims=("time", "y", "x"), coords=coords, attrs=attrs)
    return array.rio.write_crs(place.crs)


def rtc(**attrs):
    """Planetary Computer's sentinel-1-rtc: linear gamma0, -32768 where there is nothing."""
    vv, vh = power(1), power(2, mean=0.012)
    vv[0, :3], vh[0, :3] = -32768, -32768
    return xr.Dataset({"vv": layer(vv, nodata=-32768, **attrs), "vh": layer(vh, nodata=-32768)})


def carrying(source=None, cube=None, **options):
    cube = random_cube(SHAPE) if cube is None else cube
    return tamrf_xr.as_cube(cube, sentinel1=rtc() if source is None else source, **options)


def decibels_of(cube):
    return cube["sentinel1/backscatter"].values


def expected(source, names=("vv", "vh")):
    """Computed otherwise: natural logarithms, in float64, pixel by pixel."""
    stack = np.stack([source[name].values.astype(np.float64) for name in names], axis=1)
    out = np.full(stack.shape, np.nan)
    there = stack > 0
    out[there] = 4.342944819032518 * np.log(stack[there])
    return out


def test_power_becomes_decibels_and_nodata_nan():
    source = rtc()
    group = carrying(source)["sentinel1"]
    assert group["band"].values.tolist() == ["VV", "VH"]
    found = group["backscatter"]
    assert found.dtype == np.float32
    assert found.attrs["units"] == "dB"
    np.testing.assert_allclose(found.values, expected(source), rtol=1e-5)
    assert np.isnan(found.values[0, :, :3]).all()
    assert np.isfinite(found.values[1:]).all()
    assert group.attrs["processing"] == "power (as the signs of values say)"


@pytest.mark.parametrize("declared", [{"units": "dB"}, {"units": "decibel"}, {}])
def test_decibels_are_taken_as_they_are(declared):
    values = 10 * np.log10(power(3))
    group = carrying(xr.Dataset({"VH": layer(values, **declared)}))["sentinel1"]
    np.testing.assert_array_equal(group["backscatter"].values[:, 0], values)


def test_order_names_masks_and_what_is_ignored():
    source = rtc()
    clear = np.ones(source["vv"].shape, bool)
    clear[1, 5] = False
    given = xr.Dataset(
        {
            "gamma0_VH": source["vh"],
            "Gamma0_VV": source["vv"],
            "valid": layer(clear),
            "angle": source["vv"],
        }
    )
    group = carrying(given)["sentinel1"]
    np.testing.assert_allclose(group["backscatter"].values, expected(source), rtol=1e-5)
    np.testing.assert_array_equal(group["valid"].values, clear)
    assert (group.attrs["ignored"], group.attrs["quantity"]) == ("angle", "gamma0")
    assert "not stated" in carrying()["sentinel1"].attrs["quantity"]
    rtc_said = carrying(rtc().assign_attrs(collection="sentinel-1-rtc"))
    assert rtc_said["sentinel1"].attrs["quantity"] == "gamma0"


def test_one_array_south_up_with_a_band_dimension_is_read_likewise():
    source = rtc()
    stack = source.to_dataarray("band")[:, :, ::-1].transpose("y", "band", "x", "time")
    assert decibels_of(carrying(stack)).tobytes() == decibels_of(carrying(source)).tobytes()


def test_files_by_name(tmp_path):
    values = power(5, count=1)
    place = grid(SHAPE)
    for name in ("vv", "vh"):
        profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "nodata": -32768}
        size = {"height": SHAPE[0], "width": SHAPE[1]}
        where = {"crs": place.crs.to_wkt(), "transform": place.transform}
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile, **size, **where) as file:
            file.write(values)
    files = {name: tmp_path / f"{name}.tif" for name in ("vv", "vh")}
    cube = tamrf_xr.as_cube(
        {**groups_of(random_cube(SHAPE)), "sentinel1": files}, time={"sentinel1": "2022-02-01"}
    )
    np.testing.assert_allclose(decibels_of(cube)[0, 1], 10 * np.log10(values[0]), rtol=1e-5)
    assert str(cube["sentinel1/time"].values[0])[:10] == "2022-02-01"


def test_lazy_stays_lazy_and_is_the_same():
    source = rtc()
    lazy = carrying(source.chunk(time=1, y=12, x=10))
    assert isinstance(lazy["sentinel1/backscatter"].data, da.Array)
    np.testing.assert_array_equal(decibels_of(lazy), decibels_of(carrying(source)))


GRD = np.random.default_rng(0).integers(30, 900, (3, *SHAPE))
WRONG = {
    "numbers of GRD": (layer(GRD.astype("uint16")), "uint16 without a scale; digital numbers"),
    "numbers as floats": (layer(GRD.astype("float32")), "median of .* digital numbers of GRD"),
    "power with negatives": (
        layer(np.where(power(6) > 0.08, -0.01, power(6)).astype("float32")),
        "too many for power",
    ),
    "power said, dB found": (layer(10 * np.log10(power(7)), units="1"), "negative values"),
    "dB said, power found": (layer(power(8), units="dB"), "read as dB"),
    "dB scaled by 100": (layer(1000 * np.log10(power(9))), "read as dB"),
    "filled with zeros": (
        layer(np.where(power(10) > 0.09, 0, 10 * np.log10(power(10))).astype("float32")),
        "exactly 0 dB",
    ),
    "amplitude said": (layer(np.sqrt(power(11)), units="amplitude"), "not understood"),
    "nothing to tell by": (layer(np.full((3, *SHAPE), np.nan, "float32")), "no unit is stated"),
    "power of nothing": (layer(power(12) * 1e-5), "median of"),
    "a date in another unit": (
        layer(np.concatenate([10 * np.log10(power(13)), power(14, count=1)]).astype("float32")),
        "on 2022-02-05 read as dB",
    ),
}


@pytest.mark.parametrize(("array", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_unit_does_not_pass(array, words):
    with pytest.raises(CubeError, match=f"/sentinel1: .*{words}"):
        carrying(xr.Dataset({"vv": array}))


def test_polarisations_of_two_units_are_refused():
    given = xr.Dataset({"vv": layer(power(1)), "vh": layer(10 * np.log10(power(2)))})
    with pytest.raises(CubeError, match="polarisations differ in unit: vv power, vh dB"):
        carrying(given)


def test_what_the_caller_says_is_held_against_values_and_statements():
    dark = xr.Dataset({"vv": layer(power(1))})
    carrying(dark, scaling={"sentinel1": "power"})
    for scaling, words in (("dB", "read as dB"), ("dn", "unknown; it may be power or dB")):
        with pytest.raises(CubeError, match=words):
            carrying(dark, scaling={"sentinel1": scaling})
    stated = xr.Dataset({"vv": layer(power(1), units="1")})
    with pytest.raises(CubeError, match="states units '1', scaling= says 'dB'"):
        carrying(stated, scaling={"sentinel1": "dB"})


def test_what_is_no_backscatter_is_refused():
    with pytest.raises(CubeError, match="polarisations found: none; beside them: hh"):
        carrying(xr.Dataset({"hh": layer(power(1))}))
    with pytest.raises(CubeError, match="in data and in sentinel1=; give it once"):
        tamrf_xr.as_cube(carrying(), sentinel1=rtc())
    with pytest.raises(CubeError, match="no data: give data"):
        tamrf_xr.as_cube(sentinel1=rtc())


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (grid(SHAPE, left=500_005.0), "corners lie 0.5, 0 pixels"),
        (grid(SHAPE, gsd=20.0), "pixels of 20 m"),
        (grid(SHAPE, epsg=32632), "is in EPSG:32632, the cube in EPSG:32631"),
        (grid(SHAPE, left=900_000.0), "nothing left"),
    ],
)
def test_other_pixels_are_refused(where, words):
    with pytest.raises(CubeError, match=words):
        carrying(xr.Dataset({"vv": layer(power(1), where=where)}))


def test_other_ground_is_cut_to_what_all_cover():
    wide = layer(power(1, shape=(40, 50)), where=grid((40, 50), left=499_940.0, top=5_000_040.0))
    cube = carrying(xr.Dataset({"vv": wide}), random_cube((36, 45)))
    sizes = cube["sentinel1"].sizes
    assert (sizes["y"], sizes["x"]) == (36, 42)  # whole pixels of Landsat
    assert cube["sentinel2"].sizes["x"] == 42
    at = cube["sentinel1/backscatter"].isel(y=0, x=0)
    np.testing.assert_array_equal(at["x"], cube["sentinel2/reflectance"].isel(x=0)["x"])
    np.testing.assert_allclose(at.values[:, 0], 10 * np.log10(wide.values[:, 3, 6]), rtol=1e-5)
    assert "sentinel1" in cube.attrs["history"]


@pytest.mark.parametrize("layout", ["sharded", "gdal"])
def test_saved_and_opened_within_half_a_step(tmp_path, layout):
    cube = carrying()
    tamrf_xr.save_cube(cube, tmp_path / "cube.zarr", layout=layout)
    stored = tamrf_xr.open_cube(tmp_path / "cube.zarr")
    found = stored["sentinel1/backscatter"]
    assert found.dtype == np.float32
    assert found.attrs["units"] == "dB"
    np.testing.assert_allclose(found.values, decibels_of(cube), atol=0.0051)
    assert stored["sentinel1"].attrs == cube["sentinel1"].attrs
    raw = xr.open_datatree(tmp_path / "cube.zarr", engine="zarr", mask_and_scale=False)
    packed = raw["sentinel1/backscatter"]
    assert packed.dtype == np.int16
    assert packed.attrs["scale_factor"] == 0.01
    for tree in (raw, xr.open_datatree(tmp_path / "cube.zarr", engine="zarr")):
        again = tamrf_xr.as_cube(tree)
        np.testing.assert_allclose(decibels_of(again), found.values, rtol=1e-6)
    assert tamrf_xr.as_cube(stored) is stored


def test_cut_described_and_checked():
    cube = carrying()
    bounds = (500_030.0, 4_999_800.0, 500_150.0, 4_999_950.0)
    small = tamrf_xr.clip(cube, bounds)
    np.testing.assert_array_equal(decibels_of(small), decibels_of(cube)[:, :, 6:21, 3:15])
    assert "/sentinel1: Sentinel-1, not fused" in describe(cube)
    assert "3 dates, 2022-01-03 to 2022-01-25\n  bands VV VH" in describe(cube)
    groups = groups_of(cube)
    place = grid((24, 27))
    narrow = build_backscatter(np.zeros((3, 2, 24, 27), "float32"), times=days(3), grid=place)
    with pytest.raises(CubeError, match="covers other ground"):
        build_cube(groups, beside={"sentinel1": narrow})
    units = cube["sentinel1"].to_dataset()
    units["backscatter"].attrs["units"] = "1"
    for wrong, words in (
        (units, "units '1', expected 'dB'"),
        (units.drop_vars("backscatter"), "has no 'backscatter'"),
        (units.transpose("band", "time", ...), "has dimensions"),
        (units.assign_coords(band=["VV", "HV"]), "unknown bands HV|units"),
    ):
        with pytest.raises(CubeError, match=words):
            build_cube(groups, beside={"sentinel1": wrong})


def test_nobody_fuses_it_and_the_product_says_so(tmp_path, caplog):
    optical = random_cube(SHAPE)
    cube = carrying(cube=optical)
    asked = {"method": "linear", "tile": 12}
    with caplog.at_level(logging.INFO, "tamrf_xr"):
        made = tamrf_xr.fuse(cube, "2022-01-20", provenance=True, **asked)
    assert "'linear' does not use /sentinel1" in caplog.text
    plain = tamrf_xr.fuse(optical, "2022-01-20", **asked)
    for name, group in groups_of(plain).items():
        assert made[name].attrs["not_used"] == "/sentinel1"
        assert "not_used" not in group.attrs
        for variable in ("reflectance", "surface_temperature"):
            if variable in group:
                np.testing.assert_array_equal(made[name][variable].values, group[variable].values)
    assert "not /sentinel1" in str(made["provenance"].attrs)
    tamrf_xr.run_job(cube, tmp_path / "job.zarr", "2022-01-20", progress=False, **asked)
    job = tamrf_xr.open_cube(tmp_path / "job.zarr")
    np.testing.assert_allclose(job["landsat/reflectance"], plain["landsat/reflectance"], atol=1e-4)
    assert "sentinel1" not in job.children


def test_a_cube_of_two_sensors_is_stored_as_before(tmp_path):
    """A group that is not there leaves no trace: those that are, are the same bytes."""
    optical = random_cube(SHAPE)
    for name, cube in (("two", optical), ("three", carrying(cube=optical))):
        tamrf_xr.save_cube(cube, tmp_path / name)
    for path in (tmp_path / "two").rglob("*"):
        inner = path.relative_to(tmp_path / "two")
        if path.is_file() and inner.parts[0] in optical.children:
            assert path.read_bytes() == (tmp_path / "three" / inner).read_bytes()
    assert not (tmp_path / "two/sentinel1").exists()

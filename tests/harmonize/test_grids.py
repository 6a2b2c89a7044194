"""Pixels lie on the sensor's own grid, are brought onto a nested pair where asked, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine

from tamrf_xr.cube import grid_of
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.harmonize import as_cube
from tests.harmonize.users_data import BEFORE, CRS, band, group

LEFT, TOP = 500_000.0, 5_000_010.0


def ramp(x, y):
    return 0.1 + 1e-4 * (x - LEFT) + 5e-5 * (TOP - y)


def place(count, gsd, *, left=LEFT, top=TOP):
    x = left + (np.arange(count) + 0.5) * gsd
    return x, top - (np.arange(count) + 0.5) * gsd


def scene(names, count, gsd, *, crs=CRS, north=0.0, **where):
    """Reflectance that depends on the place alone, in pixels of any size."""
    x, y = place(count, gsd, **where)
    pixels = ramp(x[None, :], y[:, None]).astype("float32")
    array = xr.DataArray(
        np.broadcast_to(pixels, (2, len(names), count, count)),
        dims=("time", "band", "y", "x"),
        coords={"time": BEFORE, "band": list(names), "y": y + north, "x": x},
    )
    return array.rio.write_crs(crs)


def assert_on_ramp(cube, *, rim=0, atol=1e-6):
    for name in cube.children:
        found = cube[name].to_dataset()
        expected = ramp(found["x"].values[None, :], found["y"].values[:, None])
        inner = (..., slice(rim, -rim or None), slice(rim, -rim or None))
        values = found["reflectance"].values[inner]
        np.testing.assert_allclose(
            values, np.broadcast_to(expected[inner[1:]], values.shape), atol=atol
        )


S2, LS = ("B04", "B08"), ("B04", "B05")


@pytest.mark.parametrize(
    ("sensor", "gsd", "message"),
    [
        ("landsat", 10.0, "pixels of 10 m .*, expected 30 m for Landsat-8/9.*regrid='nested'"),
        ("landsat", 15.0, "pixels of 15 m .*, expected 30 m"),
        ("sentinel2", 30.0, "pixels of 30 m .*, expected 10 m for Sentinel-2"),
        ("sentinel2", 20.0, "pixels of 20 m .*, expected 10 m"),
        ("sentinel2", 10.0047, r"pixels of 10\.0047 m .*, expected 10 m"),
    ],
)
def test_pixels_of_another_size_are_refused(sensor, gsd, message):
    names = S2 if sensor == "sentinel2" else LS
    with pytest.raises(CubeError, match=message):
        as_cube(**{sensor: scene(names, 12, gsd)})
    stack = scene(names, 12, gsd).to_dataset(name="reflectance")
    with pytest.raises(CubeError, match=message):
        as_cube(**{sensor: stack})


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("fine", "coarse", "atol"),
    [
        # odc-stac with like=, both at 10 m: the mean of the pixels within, exactly.
        (scene(S2, 63, 10.0), scene(LS, 63, 10.0), 1e-6),
        (scene(S2, 64, 10.0), scene(LS, 64, 10.0), 1e-6),
        # HLS, both at 30 m.
        (scene(S2, 21, 30.0), scene(LS, 21, 30.0), 1e-5),
        # Landsat's archive grid, 15 m and 5 m off.
        (scene(S2, 63, 10.0), scene(LS, 21, 30.0, left=LEFT - 15, top=TOP + 15), 1e-5),
        (scene(S2, 63, 10.0), scene(LS, 21, 30.0, left=LEFT + 5, top=TOP - 5), 1e-5),
        (scene(S2, 63, 10.0), scene(LS, 42, 15.0), 1e-6),
        # Landsat at 10 m, beside the pixels of Sentinel-2.
        (scene(S2, 63, 10.0), scene(LS, 63, 10.0, left=LEFT + 3, top=TOP - 3), 1e-5),
        # A grid that stackstac makes up where it knows no CRS.
        (scene(S2, 63, 10.0047), scene(LS, 21, 30.0), 1e-5),
        (scene(S2, 32, 20.0), scene(LS, 21, 30.0), 1e-5),
    ],
)
def test_any_grid_comes_to_a_nested_pair_in_phase(fine, coarse, atol, lazy):
    if lazy:
        fine, coarse = fine.chunk(time=1, x=17, y=9), coarse.chunk(time=1, x=11)
    cube = as_cube(sentinel2=fine, landsat=coarse, regrid="nested")
    grids = [grid_of(cube[name].to_dataset()) for name in ("sentinel2", "landsat")]
    assert [grid.gsd for grid in grids] == [10.0, 30.0]
    assert grids[0].bounds == grids[1].bounds
    assert min(grids[1].shape) >= 18
    assert (cube["landsat/reflectance"].chunks is not None) == lazy
    # Cubic convolution is exact on a ramp, but for the rim, where its kernel leaves the image.
    assert_on_ramp(cube, rim=3, atol=atol)


def test_what_nests_already_is_not_touched():
    fine, coarse = scene(S2, 63, 10.0), scene(LS, 21, 30.0)
    cube = as_cube(sentinel2=fine, landsat=coarse, regrid="nested")
    xr.testing.assert_identical(
        cube["landsat/reflectance"].variable,
        as_cube(landsat=coarse)["landsat/reflectance"].variable,
    )
    assert "resampled" not in cube["landsat"].attrs


def test_what_was_done_is_told():
    cube = as_cube(
        sentinel2=scene(S2, 63, 10.0),
        landsat=scene(LS, 21, 30.0, left=LEFT - 15, top=TOP + 15),
        regrid="nested",
    )
    assert cube["landsat"].attrs["resampled"] == "B04, B05 by -5, 5 m (cubic)"
    both = as_cube(sentinel2=scene(S2, 63, 10.0), landsat=scene(LS, 63, 10.0), regrid="nested")
    assert both["landsat"].attrs["resampled"] == "B04, B05 from 10 to 30 m (area mean)"


def test_a_coarse_pixel_is_the_mean_of_what_is_valid_within():
    pixels = np.full((2, 9, 9), 0.2, "float32")
    valid = np.ones((2, 9, 9), bool)
    pixels[0, :2, 0], valid[0, :2, 0] = 0.9, False  # two clouded pixels of nine
    pixels[0, :3, 3:6], valid[0, :3, 3:5] = 0.9, False  # six of nine
    pixels[0, 0, 6] = np.nan
    pixels[0, 3:6, 0:3] = np.nan
    pixels[1, :3, :3], valid[1, :3, :3] = 0.8, False  # all of them
    data = xr.Dataset({"B04": band(pixels), "valid": band(valid)})
    found = group(data, "landsat", regrid="nested")
    expected = np.full((2, 3, 3), 0.2)
    expected[0, 0, 1], expected[0, 1, 0], expected[1, 0, 0] = 0.9, np.nan, 0.8
    np.testing.assert_allclose(found["reflectance"][:, 0], expected, atol=1e-6)
    usable = np.ones((2, 3, 3), bool)
    usable[0, 0, 1] = usable[1, 0, 0] = False
    np.testing.assert_array_equal(found["valid"], usable)


def test_missing_pixels_grow_no_rim_and_are_not_filled():
    pixels = scene(LS, 21, 30.0, left=LEFT - 15, top=TOP + 15)
    holes = pixels.copy()
    holes[0, :, 8:12, 5:9] = np.nan
    options = {"sentinel2": scene(S2, 63, 10.0), "regrid": "nested"}
    found = as_cube(landsat=holes, **options)["landsat/reflectance"]
    whole = as_cube(landsat=pixels, **options)["landsat/reflectance"]
    missing = np.isnan(found[0, 0]).values
    assert missing.sum() == 16
    np.testing.assert_allclose(found[1], whole[1])
    near = ~missing
    np.testing.assert_allclose(found[0, 0].values[near], whole[0, 0].values[near], atol=0.01)


def test_northings_of_the_other_hemisphere_are_shifted_exactly():
    fine = scene(S2, 63, 10.0, crs="EPSG:32735")
    coarse = scene(LS, 21, 30.0, crs="EPSG:32635", north=-1e7)
    cube = as_cube(sentinel2=fine, landsat=coarse)
    assert_on_ramp(cube)
    assert cube["landsat"].attrs["moved"] == (
        "northings +10,000,000 m, from EPSG:32635 to EPSG:32735 (exact)"
    )
    other = as_cube(
        sentinel2=scene(S2, 63, 10.0, crs="EPSG:32635", north=-1e7),
        landsat=scene(LS, 21, 30.0, crs="EPSG:32735"),
    )
    assert other["landsat"].to_dataset().rio.crs.to_epsg() == 32635
    np.testing.assert_array_equal(
        other["landsat/reflectance"].values, cube["landsat/reflectance"].values
    )


def test_another_zone_is_reprojected_where_asked():
    fine = scene(S2, 63, 10.0)
    whole = scene(LS, 60, 30.0, left=LEFT - 600, top=TOP + 600).to_dataset("band")
    other = xr.Dataset({n: whole[n].rio.reproject("EPSG:32632", resolution=30) for n in LS})
    with pytest.raises(CubeError, match="EPSG:32631, /landsat in EPSG:32632"):
        as_cube(sentinel2=fine, landsat=other)
    cube = as_cube(sentinel2=fine, landsat=other, regrid="nested")
    assert cube["landsat"].attrs["resampled"] == "B04, B05 from EPSG:32632 (cubic)"
    # Twice resampled, the first time by the nearest pixel.
    assert_on_ramp(cube, rim=3, atol=3e-3)
    lazy = as_cube(sentinel2=fine, landsat=other.chunk(x=13, y=31), regrid="nested")
    np.testing.assert_allclose(lazy["landsat/reflectance"], cube["landsat/reflectance"], atol=1e-6)


def test_masks_go_where_bands_go():
    coarse = scene(LS, 21, 30.0, left=LEFT - 15, top=TOP + 15)
    x, y = place(21, 30.0, left=LEFT - 15, top=TOP + 15)
    clouded = (x[None, :] > LEFT + 300) & (y[:, None] < TOP - 300)
    bits = np.where(clouded, 22280, 21824).astype("uint16")
    data = coarse.to_dataset("band").assign(
        QA_PIXEL=coarse.isel(band=0, drop=True).copy(data=np.broadcast_to(bits, (2, 21, 21)))
    )
    found = as_cube(sentinel2=scene(S2, 63, 10.0), landsat=data, regrid="nested")["landsat"]
    usable = ~((found["x"] > LEFT + 310) & (found["y"] < TOP - 310))
    assert float((found["valid"][0] == usable).mean()) > 0.99


def test_corners_and_centres_are_told_apart():
    data = scene(S2, 12, 10.0)
    data = data.rio.write_transform(Affine(10, 0, LEFT, 0, -10, TOP))
    assert_on_ramp(as_cube(sentinel2=data))
    corners = data.assign_coords(x=data["x"] - 5, y=data["y"] + 5)
    with pytest.raises(CubeError, match="coordinate 'x' holds corners of pixels where Geo"):
        as_cube(sentinel2=corners)
    # What isel leaves of the transform is no contradiction.
    assert_on_ramp(as_cube(sentinel2=data.isel(x=slice(3, None), y=slice(2, None))))
    xy = corners.drop_vars("spatial_ref")
    xy.attrs = {
        "transform": Affine(10, 0, LEFT, 0, -10, TOP),
        "resolution_xy": (10.0, 10.0),
        "crs": "epsg:32631",
    }
    assert_on_ramp(as_cube(sentinel2=xy))
    assert_on_ramp(as_cube(sentinel2=xy.to_dataset(name="reflectance")))


@pytest.mark.parametrize("name", ["crs", "spatial_ref", "transverse_mercator", "grid"])
@pytest.mark.parametrize("form", ["coordinate", "variable"])
def test_a_crs_is_found_under_any_name(name, form):
    data = scene(S2, 12, 10.0).drop_vars("spatial_ref").to_dataset("band")
    data = data.rio.write_crs(CRS, grid_mapping_name=name)
    data = data.reset_coords(name) if form == "variable" else data
    assert_on_ramp(as_cube(sentinel2=data))


def test_an_old_way_to_write_a_crs_is_read():
    data = scene(S2, 12, 10.0).drop_vars("spatial_ref").assign_attrs(crs="+init=epsg:32631")
    assert as_cube(sentinel2=data)["sentinel2"].to_dataset().rio.crs.to_epsg() == 32631


def test_unknown_words_and_too_little_ground_are_refused():
    with pytest.raises(OptionError, match="regrid='snap' is unknown; it may be 'nested'"):
        as_cube(sentinel2=scene(S2, 12, 10.0), regrid="snap")
    with pytest.raises(OptionError, match="check='twice' is unknown; it may be sample, full, off"):
        as_cube(sentinel2=scene(S2, 12, 10.0), check="twice")
    with pytest.raises(CubeError, match="fewer than 2 x 2 of 30 m"):
        as_cube(landsat=scene(LS, 5, 10.0), regrid="nested")
    with pytest.raises(CubeError, match=r"regrid='nested': .* share no whole pixel"):
        as_cube(
            sentinel2=scene(S2, 12, 10.0),
            landsat=scene(LS, 12, 30.0, left=LEFT + 9000),
            regrid="nested",
        )

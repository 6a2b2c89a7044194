"""A pixel that is infinite is no data, for every method and in every store."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import tamrf_xr
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.fusion import fuse, run_job
from tamrf_xr.packed import pack
from tests.scenes import random_cube

DAY = "2022-01-14"
"""A conjunction, which some methods need."""


def holed(value, *, dtype=np.float32, lazy=False):
    """A cube with `value` in one pixel of a band of each sensor, and of the temperature."""
    groups = groups_of(random_cube((48, 48), hr=4, lr=4))
    groups["landsat"] = groups["landsat"].assign_coords(time=groups["sentinel2"]["time"].values)
    for name, variable, place in (
        ("sentinel2", "reflectance", (1, 2, 20, 20)),
        ("landsat", "reflectance", (1, 2, 5, 5)),
        ("landsat", "surface_temperature", (1, 9, 9)),
    ):
        array = groups[name][variable].astype(dtype)
        array.values[place] = value
        groups[name] = groups[name].assign({variable: array})
    if lazy:
        for name, group in groups.items():
            groups[name] = group.assign({v: group[v].chunk(y=16, x=16) for v in group.data_vars})
    return build_cube(groups)


def same(one: xr.DataTree, other: xr.DataTree) -> None:
    xr.testing.assert_identical(one.load(), other.load())


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("method", ["tamrf", "linear", "stair", "sen2like", "dms"])
def test_an_infinite_pixel_is_as_one_without_data(method, value):
    options = {"method": method}
    same(fuse(holed(value), DAY, **options), fuse(holed(np.nan), DAY, **options))


@pytest.mark.parametrize("lazy", [False, True])
def test_the_network_fills_around_an_infinite_pixel(lazy):
    fused = fuse(holed(np.inf, lazy=lazy), "2022-01-20", tile=48).load()
    for group in ("sentinel2", "landsat"):
        assert np.isfinite(fused[group]["reflectance"]).all()
    assert np.isfinite(fused["landsat/surface_temperature"]).all()


def test_what_float32_does_not_hold_is_no_data():
    same(
        fuse(holed(1e300, dtype=np.float64), "2022-01-20"),
        fuse(holed(np.nan, dtype=np.float64), "2022-01-20"),
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_stores_hold_no_data_where_a_pixel_is_infinite(tmp_path, lazy):
    tamrf_xr.save_cube(holed(np.inf, lazy=lazy), tmp_path / "a.zarr")
    opened = tamrf_xr.open_cube(tmp_path / "a.zarr")
    assert np.isnan(opened["sentinel2/reflectance"].values[1, 2, 20, 20])
    assert np.isnan(opened["landsat/surface_temperature"].values[1, 9, 9])
    run_job(opened, tmp_path / "b.zarr", "2022-01-20", progress=False)
    product = tamrf_xr.open_cube(tmp_path / "b.zarr")
    assert np.isfinite(product["sentinel2/reflectance"].values).all()


def test_packing_knows_no_infinity():
    packed = pack(np.array([np.inf, -np.inf, np.nan, 99], np.float32), "reflectance")
    assert packed.tolist() == [-32768, -32768, -32768, 32767]


@pytest.mark.parametrize("tile", [24, "auto"])
def test_chunks_may_differ_between_variables(tmp_path, tile):
    whole = random_cube()
    groups = groups_of(whole)
    ragged = groups["sentinel2"].assign(
        reflectance=groups["sentinel2"]["reflectance"].chunk(time=3, y=24, x=24),
        valid=groups["sentinel2"]["valid"].chunk(time=2),
    )
    cube = build_cube({**groups, "sentinel2": ragged})
    assert isinstance(cube["sentinel2/valid"].data, da.Array)
    options = {"method": "linear", "tile": tile}
    same(fuse(cube, "2022-01-20", **options), fuse(whole, "2022-01-20", **options))
    run_job(cube, tmp_path / "a.zarr", "2022-01-20", progress=False, **options)
    tamrf_xr.save_cube(cube, tmp_path / "b.zarr")
    assert tamrf_xr.open_cube(tmp_path / "b.zarr")["sentinel2"].sizes["time"] == 4

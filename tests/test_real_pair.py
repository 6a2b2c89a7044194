"""The true Landsat-8 and Sentinel-2 pair, from folders on disk to a product at any date."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.windows
import xarray as xr

import tamrf_xr
from studies.real_pair import clear_fraction, write_real_pair
from tamrf_xr.cli import main
from tamrf_xr.cube import build_cube, groups_of
from tests.oracle import shared

pytestmark = pytest.mark.real

# Leave-one-clear-date-out RMSE of linear interpolation that others measured (x 1e-4).
STATED = {"B04": 286, "B08": 608, "B8A": 543, "B11": 388}
DATES = [f"{year}-{month:02d}-15" for year, month in [(2017, 9), (2017, 11)]] + [
    f"2018-{month:02d}-15" for month in range(1, 11)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    shared("real/pair_31UDS")
    return write_real_pair(tmp_path_factory.mktemp("pair") / "31UDS")


@pytest.fixture(scope="module")
def pair(folder) -> Path:
    out = folder.parent / "pair.zarr"
    assert main(["ingest", "ls2s2", str(folder), str(out), "--quiet"]) == 0
    return out


def test_ingested_pixels_lie_where_rasterio_finds_them(pair, folder):
    group = groups_of(tamrf_xr.open_cube(pair))["sentinel2"]
    left, _, _, top = group.rio.bounds()
    for path in sorted((folder / "sentinel2").glob("*/sentinel2_bands_*.tif"))[::20]:
        image = group["reflectance"].sel(time=pd.Timestamp(path.parent.name))
        with rasterio.open(path) as source:
            assert group.rio.crs == source.crs
            row, column = source.index(left + 5, top - 5)
            window = rasterio.windows.Window(column, row, group.sizes["x"], group.sizes["y"])
            stored = source.read(window=window)
        seen = np.isfinite(image.values)
        np.testing.assert_allclose(image.values[seen], stored[seen] / 1e4, atol=1e-6)


def test_fusing_the_pair_keeps_place_and_dates(pair, tmp_path):
    cube = tamrf_xr.open_cube(pair)
    left, bottom, _, _ = cube["sentinel2"].to_dataset().rio.bounds()
    part = cube.tamrf.clip((left + 60, bottom + 60, left + 240, bottom + 240))
    tamrf_xr.save_cube(part, tmp_path / "part.zarr")
    words = ["fuse", str(tmp_path / "part.zarr"), str(tmp_path / "f.zarr"), "--dates", *DATES]
    weights = shared("oracle/full/checkpoint.ckpt")
    assert main([*words, "--model", str(weights), "--quiet"]) == 0
    given = groups_of(part)["sentinel2"]
    for group in groups_of(tamrf_xr.open_cube(tmp_path / "f.zarr")).values():
        assert group.rio.crs == given.rio.crs
        assert group.rio.transform() == given.rio.transform()
        assert group.rio.bounds() == given.rio.bounds()
        assert list(group["time"].to_index()) == list(pd.DatetimeIndex(DATES))
        assert all(np.isfinite(group[name]).all() for name in group.data_vars)
    assert "surface_temperature" in group


def test_sixteen_months_are_fused_window_by_window(pair):
    cube = tamrf_xr.open_cube(pair)
    weights = shared("oracle/full/checkpoint.ckpt")
    date = pd.Timestamp("2018-03-15")
    half = pd.Timedelta("182.5D")
    year = build_cube(
        {
            name: group.isel(
                time=np.flatnonzero(abs(group["time"].to_index().floor("D") - date) <= half)
            )
            for name, group in groups_of(cube).items()
        }
    )
    options = {"model": weights, "sensors": "sentinel2"}
    left, bottom, _, _ = cube["sentinel2"].to_dataset().rio.bounds()
    cube, year = (
        tree.tamrf.clip((left, bottom, left + 120, bottom + 120)) for tree in (cube, year)
    )
    windowed = cube.tamrf.fuse([date, "2018-09-15"], **options)["sentinel2/reflectance"]
    # The window starts 182.5 days before its centre: its first whole day is day 0.
    alone = year.tamrf.fuse(date, origin=date - pd.Timedelta("182D"), **options)
    np.testing.assert_allclose(windowed[0], alone["sentinel2/reflectance"][0], atol=2e-6)


def test_linear_interpolation_is_as_good_as_measured_elsewhere(pair):
    """The rule of those who measured: every pixel of clear dates, a mean over the inner dates."""
    group = groups_of(tamrf_xr.open_cube(pair))["sentinel2"].drop_vars("valid")
    clear = group.isel(time=np.flatnonzero(clear_fraction() > 0.95)).load()
    assert clear.sizes["time"] == 41
    rmse = []
    for position in range(1, 40):
        others = clear.isel(time=[other for other in range(41) if other != position])
        cube = xr.DataTree.from_dict({"sentinel2": others})
        date = clear["time"].values[position]
        made = cube.tamrf.fuse(date, method="linear", window=None)["sentinel2/reflectance"][0]
        error = (made - clear["reflectance"].isel(time=position)).drop_vars("time")
        rmse.append(np.sqrt((error**2).mean(["y", "x"])))
    mean = 1e4 * xr.concat(rmse, "date").mean("date")
    for band, stated in STATED.items():
        found = float(mean.sel(band=band))
        print(f"{band}: RMSE {found:.1f}e-4, stated {stated}e-4")
        assert found == pytest.approx(stated, rel=0.15)

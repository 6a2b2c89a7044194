"""What every source must keep: a conformance class that its tests inherit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

from tamrf_xr.cube import SCALES, grid_of, groups_of, validate
from tamrf_xr.store import open_cube, save_cube


@dataclass(frozen=True)
class Case:
    """A source, and what is known of it."""

    open: Callable[[], xr.DataTree]
    rasters: Mapping[str, Path]
    """Per sensor, a raster on the very grid that its group must have."""
    unusable: Mapping[str, np.ndarray]
    """Per sensor (time, y, x): True where the source says unusable."""
    times: Mapping[str, list[str]]
    """Per sensor, its acquisitions in order."""


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """Names of the raster files of which pixels are read."""
    seen: list[str] = []
    read = rasterio.io.DatasetReader.read

    def counted(self, *arguments, **options):
        seen.append(Path(self.name).name)
        return read(self, *arguments, **options)

    monkeypatch.setattr(rasterio.io.DatasetReader, "read", counted)
    return seen


class IngestTests:
    """Inherit, and give a fixture `case`."""

    @pytest.fixture
    def case(self, tmp_path) -> Case:
        raise NotImplementedError

    def test_it_is_a_cube(self, case):
        cube = case.open()
        validate(cube)
        assert set(cube.children) == set(case.rasters)
        assert cube.attrs["title"]
        assert cube.attrs["history"]

    def test_nothing_is_read_before_it_is_computed(self, case, reads):
        cube = case.open()
        assert reads == []
        for group in groups_of(cube).values():
            for array in group.data_vars.values():
                assert dask.is_dask_collection(array.data)
        next(iter(groups_of(cube).values()))["valid"].compute()
        assert reads

    def test_pixels_lie_where_rasterio_says(self, case):
        for name, group in groups_of(case.open()).items():
            with rasterio.open(case.rasters[name]) as file:
                assert group.rio.crs == file.crs
                assert group.rio.transform() == file.transform
                assert grid_of(group).shape == (file.height, file.width)
                assert (float(group["x"][2]), float(group["y"][1])) == file.xy(1, 2)

    def test_times_are_those_of_the_source(self, case):
        for name, group in groups_of(case.open()).items():
            assert group["time"].to_index().equals(pd.DatetimeIndex(case.times[name], name="time"))

    def test_valid_is_true_where_usable(self, case):
        for name, group in groups_of(case.open()).items():
            assert group["valid"].dtype == bool
            np.testing.assert_array_equal(group["valid"], ~case.unusable[name])

    def test_it_is_stored_to_the_last_digit(self, case, tmp_path):
        cube = case.open()
        save_cube(cube, tmp_path / "stored.zarr")
        again = groups_of(open_cube(tmp_path / "stored.zarr"))
        for name, group in groups_of(cube).items():
            for variable, array in group.compute().data_vars.items():
                other = again[name][variable]
                assert other.dtype == array.dtype
                assert grid_of(again[name]) == grid_of(group)
                scale = SCALES.get(variable, 1)
                # Resampled values lie between integers; those that were read are equal.
                apart = as_stored(other, scale) - array.values.astype(float) / scale
                np.testing.assert_array_equal(np.isnan(apart), np.isnan(array.values))
                assert np.nanmax(np.abs(apart)) < 0.502


def as_stored(array: xr.DataArray, scale: float) -> np.ndarray:
    """Integers as they lie in the source; NaN stays."""
    return np.rint(array.values.astype(float) / scale)

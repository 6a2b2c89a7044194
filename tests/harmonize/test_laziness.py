"""What is right passes unread, what is lazy stays lazy, and no argument is changed."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize import as_cube
from tamrf_xr.harmonize.values import MOST
from tamrf_xr.sensors import LANDSAT
from tamrf_xr.store import open_cube, save_cube
from tests.harmonize.users_data import (
    band,
    group,
    numbers,
    scene,
    uncomputable,
    unread,
    written,
)
from tests.scenes import random_cube


def test_a_cube_passes_through_untouched():
    cube = random_cube()
    assert as_cube(cube) is cube


def test_an_unread_cube_passes_through_unread(tmp_path):
    save_cube(random_cube(), tmp_path / "cube.zarr")
    cube = open_cube(tmp_path / "cube.zarr")
    same = as_cube(cube)
    assert same is cube
    assert not same["landsat"]["reflectance"].variable._in_memory


@pytest.mark.parametrize("change", ["alone", "south_up", "names", "order", "dims", "subset"])
def test_what_needs_no_computation_is_not_read(change):
    whole = groups_of(random_cube())["landsat"]
    lazy = whole.assign({name: unread(whole[name].variable) for name in whole.data_vars})
    changed = {
        "alone": lambda d: d,
        "south_up": lambda d: d.isel(y=slice(None, None, -1)),
        "names": lambda d: d.assign_coords(band=[b.common_name for b in LANDSAT.bands]),
        "order": lambda d: d.isel(band=[3, 1, 0, 6]),
        "dims": lambda d: d.transpose("x", "band", "time", "y"),
        "subset": lambda d: d.drop_vars("valid"),
    }[change](lazy)
    found = group(changed, "landsat", check="off")
    assert not found["reflectance"].variable._in_memory
    if change == "alone":
        assert found["reflectance"].chunks is None


def test_files_that_must_be_scaled_become_dask_unread():
    template = band(numbers())
    data = xr.Dataset({"blue": template.copy(data=unread(template.variable)._data)})
    assert not data["blue"].variable._in_memory
    found = group(data, check="off", offset=0)
    assert found["reflectance"].chunks is not None


@pytest.mark.parametrize("layout", ["dataset", "stack", "nested"])
def test_dask_stays_dask_and_is_not_computed(layout):
    fine = band(uncomputable((2, 6, 9)))
    data = xr.Dataset({"blue": fine, "B8A": fine, "SCL": band(uncomputable((2, 6, 9), "uint8"))})
    coarse = band(uncomputable((2, 3, 5)), gsd=20.0)
    source = {
        "dataset": data,
        "stack": data.drop_vars("SCL").to_array("band"),
        "nested": {"blue": fine, "B8A": coarse, "SCL": coarse},
    }[layout]
    with pytest.raises(CubeError, match="not looked at"):
        group(source, check="off")
    found = group(source, check="off", offset=0)
    assert found["reflectance"].chunks is not None
    with pytest.raises(AssertionError, match="computed"):
        found["reflectance"].compute()


@pytest.mark.parametrize("times", [3, 40])
def test_a_look_reads_few_blocks_each_once(times):
    computed = []

    def count(block, block_info=None):
        if block_info and block.size:
            computed.append((block_info[0]["array-location"][0][0], block.shape))
        return block

    pixels = da.from_array(numbers(shape=(times, 60, 90)), chunks=(1, 20, 30))
    pixels = pixels.map_blocks(count, dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))
    days = np.datetime64("2021-01-01", "ns") + 5 * np.arange(times) * np.timedelta64(1, "D")
    data = xr.Dataset({name: band(pixels, times=days) for name in ("B02", "B8A")})
    found = group(data)
    assert len(computed) <= 2 * MOST
    assert len({at for at, _ in computed}) == min(times, MOST)
    computed.clear()
    group(data, check="full")
    assert len(computed) == 2 * times * 9
    assert found["reflectance"].chunks is not None


@pytest.mark.parametrize("layout", ["dataset", "reflectance", "dataarray", "mapping"])
def test_argument_is_not_modified(layout):
    data = scene().assign_attrs(note="mine").isel(y=slice(None, None, -1))
    source = written(data, {n: n.lower() for n in data}, ("x", "time", "band", "y"), layout)
    before = (
        {k: v.copy(deep=True) for k, v in source.items()}
        if layout == "mapping"
        else source.copy(deep=True)
    )
    as_cube(sentinel2=source, harmonized=False)
    if layout == "mapping":
        for name, array in before.items():
            xr.testing.assert_identical(source[name], array)
    else:
        xr.testing.assert_identical(source, before)


def test_a_float_cube_with_names_to_mend_is_not_written_into():
    cube = random_cube(sensors=("landsat",))
    data = groups_of(cube)["landsat"].assign_coords(band=[b.common_name for b in LANDSAT.bands])
    encoding = dict(data["reflectance"].encoding)
    found = group(data, "landsat")
    assert data["reflectance"].encoding == encoding
    assert "blue" in data["band"]
    np.testing.assert_array_equal(found["reflectance"], cube["landsat"]["reflectance"])


def test_what_comes_out_can_be_stored(tmp_path):
    data = scene().assign(SCL=band(numbers(low=0, high=12, dtype="uint8")))
    data["B02"].attrs.update(_FillValue=0, scale_factor=1e-4, add_offset=0.0)
    data.attrs.update(spec=object(), crs="epsg:32631")
    cube = as_cube(data)
    save_cube(cube, tmp_path / "cube.zarr")
    stored = open_cube(tmp_path / "cube.zarr")["sentinel2"]
    np.testing.assert_allclose(stored["reflectance"], cube["sentinel2"]["reflectance"], atol=6e-5)
    np.testing.assert_array_equal(stored["valid"], cube["sentinel2"]["valid"])

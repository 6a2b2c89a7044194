"""Cubes on disk: exact, georeferenced, whole or not at all."""

from __future__ import annotations

import socket

import dask.array as da
import numpy as np
import pytest
import rasterio.transform
import xarray as xr
import zarr

import tamrf_xr
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import CubeError, OptionError, OutputExistsError, SourceNotFoundError
from tamrf_xr.replaceable import LISTING
from tamrf_xr.scale.damage import verify
from tests.scenes import random_cube


def test_what_is_saved_is_what_is_read(tmp_path):
    cube = random_cube(nan=0.2)
    tamrf_xr.save_cube(cube, tmp_path / "c.zarr")
    back = tamrf_xr.open_cube(tmp_path / "c.zarr")
    for name, group in groups_of(cube).items():
        read = groups_of(back)[name]
        assert read["reflectance"].dtype == np.float32
        np.testing.assert_allclose(read["reflectance"], group["reflectance"], atol=0.5001e-4)
        np.testing.assert_array_equal(read["valid"], group["valid"])
        assert read.rio.crs == group.rio.crs
        assert read.rio.transform() == group.rio.transform()
        xr.testing.assert_equal(read["time"], group["time"])
        assert list(read["band"].values) == list(group["band"].values)
    kelvin = abs(back["landsat/surface_temperature"] - cube["landsat/surface_temperature"])
    assert float(kelvin.max()) <= 0.0501


def test_saving_what_was_opened_changes_nothing(tmp_path):
    tamrf_xr.save_cube(random_cube(nan=0.2), tmp_path / "a.zarr")
    tamrf_xr.save_cube(tamrf_xr.open_cube(tmp_path / "a.zarr"), tmp_path / "b.zarr")
    one, other = (zarr.open_group(tmp_path / name) for name in ("a.zarr", "b.zarr"))
    for path in ("sentinel2/reflectance", "landsat/surface_temperature", "sentinel2/valid"):
        np.testing.assert_array_equal(one[path][:], other[path][:])


def test_plain_xarray_reads_it(tmp_path):
    cube = random_cube(nan=0.2)
    tamrf_xr.save_cube(cube, tmp_path / "c.zarr")
    plain = xr.open_datatree(tmp_path / "c.zarr", engine="zarr", chunks=None)
    stored = plain["sentinel2/reflectance"]
    np.testing.assert_allclose(stored, cube["sentinel2/reflectance"], atol=0.5001e-4)
    assert np.isnan(stored).any()


def test_chunks_that_are_missing_are_nodata_not_zero(tmp_path):
    tamrf_xr.save_cube(random_cube(), tmp_path / "c.zarr")
    assert zarr.open_group(tmp_path / "c.zarr")["sentinel2/reflectance"].fill_value == -32768


def test_values_beyond_int16_are_clipped_not_wrapped(tmp_path):
    cube = random_cube()
    bright = {n: g.assign(reflectance=g["reflectance"] + 9) for n, g in groups_of(cube).items()}
    tamrf_xr.save_cube(build_cube(bright), tmp_path / "c.zarr")
    read = tamrf_xr.open_cube(tmp_path / "c.zarr")["sentinel2/reflectance"]
    np.testing.assert_allclose(read, 3.2767, atol=1e-6)


def test_opening_reads_no_pixel(tmp_path):
    tamrf_xr.save_cube(random_cube(), tmp_path / "c.zarr")
    for shard in (tmp_path / "c.zarr/sentinel2/reflectance/c").rglob("*"):
        if shard.is_file():
            shard.write_bytes(b"broken")
    cube = tamrf_xr.open_cube(tmp_path / "c.zarr")
    assert "reflectance" in repr(cube)
    with pytest.raises(Exception, match=r".+"):
        cube["sentinel2/reflectance"].load()


def test_existing_output_is_refused_and_left_alone(tmp_path):
    tamrf_xr.save_cube(random_cube(), tmp_path / "c.zarr")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputExistsError, match=r"c.zarr exists; pass overwrite=True"):
        tamrf_xr.save_cube(random_cube(seed=1), tmp_path / "c.zarr")
    assert sorted(tmp_path.rglob("*")) == before
    tamrf_xr.save_cube(random_cube(seed=1), tmp_path / "c.zarr", overwrite=True)


def test_failure_leaves_nothing_and_loses_nothing(tmp_path):
    def fail(block):
        raise OSError("disk on fire")

    good = random_cube()
    tamrf_xr.save_cube(good, tmp_path / "c.zarr")
    group = groups_of(good)["sentinel2"]
    lost = group["reflectance"].chunk().copy()
    lost.data = da.map_blocks(fail, lost.data, meta=np.empty((0,) * 4, "f4"))
    broken = build_cube({"sentinel2": group.assign(reflectance=lost)})
    with pytest.raises(OSError, match="disk on fire"):
        tamrf_xr.save_cube(broken, tmp_path / "c.zarr", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["c.zarr"]
    assert "landsat" in tamrf_xr.open_cube(tmp_path / "c.zarr").children


def test_what_a_killed_process_left_is_removed(tmp_path):
    here, there = socket.gethostname(), "elsewhere"
    for host in (here, there):
        (tmp_path / f".c.zarr.{host}.999999999.partial").mkdir()
    cube = random_cube()
    tamrf_xr.save_cube(cube, tmp_path / "c.zarr")
    left = f".c.zarr.{there}.999999999.partial"
    assert {path.name for path in tmp_path.iterdir()} == {left, "c.zarr"}
    (tmp_path / f".job.zarr.{here}.999999999.partial").mkdir()
    tamrf_xr.run_job(cube, tmp_path / "job.zarr", "2022-01-10", method="linear", progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {left, "c.zarr", "job.zarr"}


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(SourceNotFoundError, match="no store at"):
        tamrf_xr.open_cube(tmp_path / "nowhere.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(CubeError, match="not a Zarr store that holds a cube"):
        tamrf_xr.open_cube(tmp_path / "empty.zarr")
    xr.Dataset({"a": 1}).to_zarr(tmp_path / "other.zarr", zarr_format=3)
    with pytest.raises(CubeError, match="groups found: none"):
        tamrf_xr.open_cube(tmp_path / "other.zarr")


def test_product_written_by_plain_xarray_keeps_its_place(tmp_path):
    fused = random_cube().tamrf.fuse("2022-01-20", method="linear")
    fused.to_zarr(tmp_path / "f.zarr")
    read = tamrf_xr.open_cube(tmp_path / "f.zarr")
    for name, group in groups_of(read).items():
        left, _, _, top = group.rio.bounds()
        assert (left, top) == rasterio.transform.xy(group.rio.transform(), 0, 0, offset="ul")
        assert group.rio.crs.to_epsg() == 32631
        made = groups_of(fused)[name]["reflectance"].compute()
        np.testing.assert_allclose(group["reflectance"], made, atol=0.5001e-4)


def test_chunks_are_as_asked(tmp_path):
    cube = random_cube((72, 72))
    tamrf_xr.save_cube(cube, tmp_path / "small.zarr", chunk=36)
    tamrf_xr.save_cube(cube, tmp_path / "usual.zarr")
    opened = [tamrf_xr.open_cube(tmp_path / name) for name in ("small.zarr", "usual.zarr")]
    xr.testing.assert_identical(*opened)
    stored = zarr.open_group(tmp_path / "small.zarr", mode="r")
    for group, across in (("sentinel2", 36), ("landsat", 12)):
        assert stored[f"{group}/reflectance"].chunks[-2:] == (across, across)
    with pytest.raises(OptionError, match="chunk is 35"):
        tamrf_xr.save_cube(cube, tmp_path / "refused.zarr", chunk=35)
    assert not (tmp_path / "refused.zarr").exists()


def test_every_flipped_bit_of_a_cube_is_told(tmp_path):
    """As an error where it is read, or by `verify`; here of every kind of file."""
    path, draw = tmp_path / "c.zarr", np.random.default_rng(5)
    tamrf_xr.save_cube(random_cube((24, 24), hr=3, lr=3), path)
    whole = tamrf_xr.open_cube(path).load()
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != LISTING)
    for file in files:
        sound = file.read_bytes()
        data = bytearray(sound)
        data[draw.integers(len(data))] ^= 1 << int(draw.integers(8))
        file.write_bytes(data)
        try:
            told = not verify(path, deep=True).ok
        except CubeError:
            told = True
        assert told, f"{file} is damaged, and nothing says so"
        if file.name != "zarr.json":
            with pytest.raises(Exception, match=r".+"):
                xr.testing.assert_identical(tamrf_xr.open_cube(path).load(), whole)
        file.write_bytes(sound)
    assert verify(path, deep=True).ok

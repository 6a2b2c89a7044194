"""`tamrf-xr info --door` shows what the door understands of anyone's files."""

from __future__ import annotations

import numpy as np
import pytest

from tamrf_xr.cli import main
from tests.harmonize.users_data import band, landsat_scene, scene


def shown(capsys, *words):
    code = main(["info", "--door", *map(str, words)])
    out = capsys.readouterr()
    return code, out.out + out.err


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_a_file_is_understood(tmp_path, capsys, kind):
    data = scene().assign(SCL=band(np.full((2, 6, 9), 4, "uint8")))
    path = tmp_path / f"data.{kind}"
    data.to_netcdf(path, engine="h5netcdf") if kind == "nc" else data.to_zarr(path)
    code, told = shown(capsys, path)
    assert code == 0
    assert "B8A (uint16) -> B8A" in told
    assert "offset by pixels" in told


def test_groups_of_sensors_are_understood_together(tmp_path, capsys):
    fine = scene().isel(y=slice(0, 6), x=slice(0, 9))
    fine.to_netcdf(tmp_path / "a.nc", group="sentinel2", engine="h5netcdf")
    coarse = landsat_scene(("red",)).isel(y=slice(0, 2), x=slice(0, 3))
    coarse.to_netcdf(tmp_path / "a.nc", group="landsat", mode="a", engine="h5netcdf")
    code, told = shown(capsys, tmp_path / "a.nc")
    assert code == 0
    assert "/sentinel2" in told
    assert "/landsat" in told


def test_a_raster_is_understood_given_its_date(tmp_path, capsys):
    image = landsat_scene(("SR_B4", "SR_B5")).isel(time=0, drop=True).to_array("band")
    image = image.assign_attrs(long_name=("SR_B4", "SR_B5"))
    image.drop_vars("band").rio.write_crs(32631).rio.to_raster(tmp_path / "a.tif")
    code, told = shown(capsys, tmp_path / "a.tif")
    assert code == 1
    assert "no 'time' coordinate" in told
    code, told = shown(capsys, tmp_path / "a.tif", "--time", "2021-06-01", "--sensor", "landsat")
    assert code == 0
    assert "SR_B4, SR_B5 (uint16) -> B04 B05" in told


def test_what_is_refused_says_so(tmp_path, capsys):
    scene(gsd=20.0).to_zarr(tmp_path / "a.zarr")
    code, told = shown(capsys, tmp_path / "a.zarr")
    assert code == 1
    assert "expected 10 m" in told
    assert shown(capsys, tmp_path / "a.zarr", "--regrid", "nested")[0] == 0
    assert "no data at" in shown(capsys, tmp_path / "none.zarr")[1]
    (tmp_path / "text.nc").write_text("no netCDF")
    assert "cannot be read as Zarr, netCDF" in shown(capsys, tmp_path / "text.nc")[1]

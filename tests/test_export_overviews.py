"""Overviews: means of what is there, resumable, as GDAL and xarray read them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import grid_of
from tamrf_xr.errors import JobError, OptionError, OutputExistsError
from tamrf_xr.export import overviews
from tamrf_xr.export.overviews import export_overviews, overview
from tamrf_xr.scale.damage import verify
from tests.scenes import random_cube

FACTORS = (2, 4, 8)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Four blocks, the last of which are cut; sides that no factor divides."""
    path = tmp_path_factory.mktemp("cube") / "cube.zarr"
    tamrf_xr.save_cube(random_cube((375, 399), hr=2, lr=2, nan=0.6), path)
    return path


@pytest.fixture(scope="module")
def made(store) -> Path:
    out = store.with_name("overviews.zarr")
    levels = export_overviews(store, out, progress=False, workers=2)
    assert (levels.blocks, levels.found) == (8, 0)
    assert [path.name for path in store.parent.iterdir() if path.name.startswith(".")] == []
    return out


def files_of(store):
    return {p.relative_to(store): p.read_bytes() for p in store.rglob("*") if p.is_file()}


def expected(values, factor, of):
    """Squares one by one."""
    rows, columns = (-(-size // factor) for size in values.shape[-2:])
    found = np.empty((*values.shape[:-2], rows, columns), values.dtype)
    for row, column in np.ndindex(rows, columns):
        y, x = (slice(at * factor, (at + 1) * factor) for at in (row, column))
        found[..., row, column] = of(values[..., y, x].reshape(*values.shape[:-2], -1))
    return found


def mean(square):
    there = np.isfinite(square)
    total = np.where(there, square, 0).sum(-1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return (total / there.sum(-1)).astype(np.float32)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("sensor", ["sentinel2", "landsat"])
def test_a_level_is_the_mean_of_pixels_with_a_value_and_most_of_valid(sensor, factor, store, made):
    cube = tamrf_xr.open_cube(store)
    group = cube[sensor].to_dataset()
    lazily = overview(tamrf_xr.open_cube(store, chunks={}), factor)[sensor].to_dataset()
    assert all(array.chunks for array in lazily.data_vars.values() if array.ndim > 2)
    stored = xr.open_datatree(made, engine="zarr", decode_coords="all")[f"{factor}/{sensor}"]
    right = expected(group["reflectance"].values, factor, mean)
    assert factor > 2 or np.isnan(right).any()
    np.testing.assert_allclose(lazily["reflectance"].values, right, rtol=1e-6)
    np.testing.assert_allclose(stored["reflectance"].values, right, atol=0.5001e-4)
    most = expected(
        group["valid"].values, factor, lambda square: 2 * square.sum(-1) >= square.shape[-1]
    )
    for level in (lazily, stored):
        np.testing.assert_array_equal(level["valid"].values.astype(bool), most)
        np.testing.assert_array_equal(level["time"].values, group["time"].values)
    assert stored["valid"].attrs["flag_meanings"] == "not_usable usable"


@pytest.mark.parametrize("factor", FACTORS)
def test_gdal_reads_levels_where_they_lie(factor, store, made):
    grid = grid_of(tamrf_xr.open_cube(store)["sentinel2"].to_dataset())
    level = overview(tamrf_xr.open_cube(store), factor)["sentinel2/reflectance"].values
    with rasterio.open(f'ZARR:"{made}":/{factor}/sentinel2/reflectance:1:2') as file:
        assert file.crs == grid.crs
        assert file.transform == grid.transform @ grid.transform.scale(factor)
        read = file.read(1, masked=True).astype(np.float32).filled(np.nan)
        values = read * np.float32(file.scales[0])
    np.testing.assert_allclose(values, level[1, 2], atol=0.5001e-4)


def test_levels_are_named_as_the_convention_has_it(made):
    about = json.loads((made / ".zattrs").read_text())["multiscales"]
    assert [level["asset"] for level in about["layout"]] == ["2", "4", "8"]
    assert [level["transform"]["scale"] for level in about["layout"]] == [[1, 1], [2, 2], [4, 4]]
    for level in about["layout"]:
        assert (made / level["asset"] / "sentinel2" / "reflectance" / ".zarray").exists()
    assert verify(made, deep=True).ok


def test_killed_and_run_again_does_what_is_left_and_gives_the_same_bytes(
    store, made, tmp_path, monkeypatch, capsys
):
    out, whole, written = tmp_path / "out.zarr", overviews._write_block, []

    def dies(group, factors, root, block):
        if len(written) == 3:
            raise KeyboardInterrupt
        whole(group, factors, root, block)
        written.append(block)

    monkeypatch.setattr(overviews, "_write_block", dies)
    with pytest.raises(KeyboardInterrupt):
        export_overviews(store, out, progress=False, workers=1)
    assert not out.exists()
    monkeypatch.undo()
    assert main(["export", "overviews", str(store), str(out), "--quiet"]) == 0
    assert "5 blocks written, 3 there" in capsys.readouterr().out
    assert files_of(out) == files_of(made)
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_what_cannot_be_is_refused_and_nothing_left(store, made, tmp_path):
    for factors in ((), (1,), (7,), (4, 2), (2, 2)):
        with pytest.raises(OptionError, match="divide 120"):
            export_overviews(store, tmp_path / "o.zarr", factors=factors, progress=False)
    with pytest.raises(OptionError, match=r"is, or lies in|inside"):
        export_overviews(store, store / "o.zarr", progress=False)
    with pytest.raises(OutputExistsError, match="overwrite"):
        export_overviews(store, made, progress=False)
    assert not list(tmp_path.iterdir())


def test_product_with_tiles_to_be_made_is_refused(tmp_path):
    cube = random_cube((36, 45))
    tamrf_xr.run_job(
        cube, tmp_path / "f.zarr", "2022-01-10", method="linear", tile=12, progress=False
    )
    shutil.rmtree(tmp_path / "f.zarr" / ".tamrf_job" / "done")
    (tmp_path / "f.zarr" / ".tamrf_job" / "done").mkdir()
    with pytest.raises(JobError, match="is not finished"):
        export_overviews(tmp_path / "f.zarr", tmp_path / "o.zarr", progress=False)

"""Latent cubes: what is decoded is what is fused, however it is cut, stored or interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.model.checkpoint import load_model, save_model
from tests.jobs.run import contents
from tests.scenes import random_cube

ROOT = Path(__file__).parents[2]
SMALL = Path(__file__).parents[1] / "data" / "oracle_small"
DATES = ["2022-01-08", "2022-02-21T10:00", "2022-01-03"]
PATHS = ("sentinel2/reflectance", "landsat/reflectance", "landsat/surface_temperature")
TOKENS = "latent/tokens"
BOUNDS = {"float32": 1e-6, "bfloat16": 3e-4, "int8": 2e-3}
"""Largest difference of reflectance that each may cost."""


@pytest.fixture(scope="module")
def small():
    return load_model(SMALL / "checkpoint.ckpt", SMALL / "config_composed.yaml")


@pytest.fixture(scope="module")
def cube():
    return random_cube((36, 45), nan=0.05)


def apart(one: xr.DataTree, other: xr.DataTree) -> float:
    """Largest difference of any band; temperature in 1000 K, as the network has it."""
    units = (1.0, 1.0, 1e-3)
    one, other = one.compute(), other.compute()  # each tile once, not once a variable
    return max(
        float(np.abs(one[path].values - other[path].values).max()) * unit
        for path, unit in zip(PATHS, units, strict=True)
    )


@pytest.mark.parametrize("border", ["zeros", "mirror"])
@pytest.mark.parametrize("dtype", BOUNDS)
def test_decoded_is_fused(small, cube, border, dtype):
    fused = cube.tamrf.fuse(DATES, model=small, method_options={"border": border}).compute()
    latent = cube.tamrf.encode(model=small, border=border, dtype=dtype, tile=24)
    decoded = latent.tamrf.decode(DATES, model=small, tile=15).compute()
    assert apart(decoded, fused) <= BOUNDS[dtype]
    assert (apart(decoded, fused) > 1e-6) == (dtype != "float32")
    for name in ("sentinel2", "landsat"):
        for coordinate in ("time", "y", "x", "band"):
            np.testing.assert_array_equal(
                decoded[f"{name}/{coordinate}"], fused[f"{name}/{coordinate}"]
            )


def test_the_default_network_loses_little_in_int8(cube):
    fused = cube.tamrf.fuse(DATES).compute()
    # What was measured is kept in steps of 0.005, or with 8 bits, and 0.75 of it counts at most.
    for dtype, bound in (("int8", 0.004), ("bfloat16", 0.001)):
        decoded = cube.tamrf.encode(dtype=dtype).tamrf.decode(DATES)
        assert apart(decoded, fused) < bound


@pytest.mark.parametrize("border", ["zeros", "mirror"])
def test_any_tile_gives_the_same_integers(small, cube, border):
    whole, *others = (
        cube.tamrf.encode(model=small, border=border, tile=tile)[TOKENS].values
        for tile in (1000, 24, 38, 7)  # 38: the last tiles lie beyond the scene where mirrored
    )
    margin = 4 if border == "mirror" else 0
    assert whole.shape == (7, small.config.width, 36 + margin, 45 + margin)
    for other in others:  # BLAS rounds by the shape of a product: a number may fall beside a step
        steps = np.abs(other.astype(int) - whole)
        assert steps.max() <= 1
        assert (steps > 0).mean() < 1e-4


def test_any_tile_decodes_the_same(small, cube):
    latent = cube.tamrf.encode(model=small, border="mirror").compute()
    whole, *others = (latent.tamrf.decode(DATES, model=small, tile=tile) for tile in (1000, 12, 13))
    for other in others:
        assert apart(other, whole) < 1e-6


def test_only_bands_asked_are_decoded(small, cube):
    latent = cube.tamrf.encode(model=small).compute()
    every = latent.tamrf.decode(DATES, model=small)
    some = latent.tamrf.decode(
        DATES, model=small, bands={"sentinel2": ["red"], "landsat": ["lwir"]}
    )
    assert set(some["landsat"].data_vars) == {"surface_temperature"}
    red = every["sentinel2/reflectance"].sel(band=["B04"])
    np.testing.assert_allclose(some["sentinel2/reflectance"], red, atol=1e-6)
    ndvi = latent.tamrf.decode(DATES, model=small, indices="NDVI")
    assert set(ndvi["sentinel2"].data_vars) == {"NDVI"}


def test_a_store_is_what_is_lazy_and_carries_what_it_is(small, cube, tmp_path):
    tamrf_xr.save_cube(cube, tmp_path / "cube.zarr")
    given = tamrf_xr.open_cube(tmp_path / "cube.zarr")
    path = tmp_path / "small.safetensors"
    save_model(small, path, metadata={"training": {"data": {}}})
    how = {"model": path, "tile": 24, "dtype": "bfloat16"}
    summary = tamrf_xr.encode_job(given, tmp_path / "latent.zarr", progress=False, **how)
    assert (summary.done, summary.failed) == (6, ())  # 40 x 49 pixels
    stored, lazy = tamrf_xr.open_latent(tmp_path / "latent.zarr"), given.tamrf.encode(**how)
    np.testing.assert_array_equal(stored[TOKENS], lazy[TOKENS])
    about = stored["latent"].attrs
    assert (about["border"], about["numbers"], about["margin"]) == ("mirror", "bfloat16", 2)
    assert about["origin"] == "2022-01-01"
    assert len(about["weights_sha256"]) == 64
    assert stored.attrs["input"] == str(tmp_path / "cube.zarr")
    left, bottom, right, top = groups_of(cube)["sentinel2"].rio.bounds()
    found = stored["latent"].to_dataset().rio.bounds()
    np.testing.assert_allclose(found, (left - 20, bottom - 20, right + 20, top + 20))
    assert stored["latent"].to_dataset().rio.crs == groups_of(cube)["sentinel2"].rio.crs
    # The weights are found under the name that the latent has of them.
    fused = given.tamrf.fuse(DATES, model=path)
    assert apart(stored.tamrf.decode(DATES), fused) <= BOUNDS["bfloat16"]


def test_chunks_of_dask_decode_the_same(small, cube, tmp_path):
    tamrf_xr.encode_job(cube, tmp_path / "latent.zarr", model=small, tile=24, progress=False)
    plain, chunked = (
        tamrf_xr.open_latent(tmp_path / "latent.zarr", chunks=chunks).tamrf.decode(
            DATES, model=small, tile=15
        )
        for chunks in (None, {})
    )
    assert apart(plain, chunked) == 0


KILLED = """
import os, signal, sys
import tamrf_xr
from tamrf_xr.methods.tokens import TokenEncoder

encode, calls = TokenEncoder.__call__, []

def killed(*arguments):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(*arguments)

TokenEncoder.__call__ = killed
cube, out, model = sys.argv[1:]
tamrf_xr.encode_job(
    tamrf_xr.open_cube(cube), out, model=model, tile=24, progress=False, workers=1
)
"""


def test_killed_a_rerun_does_the_rest_and_gives_the_same_bytes(small, cube, tmp_path):
    scene, weights = tmp_path / "cube.zarr", tmp_path / "small.safetensors"
    tamrf_xr.save_cube(cube, scene)
    save_model(small, weights)
    how = {"model": weights, "tile": 24, "progress": False, "workers": 1}
    given = tamrf_xr.open_cube(scene)
    tamrf_xr.encode_job(given, tmp_path / "whole.zarr", **how)
    words = [sys.executable, "-c", KILLED, scene, tmp_path / "out.zarr", weights]
    assert subprocess.run(words, check=False, cwd=ROOT).returncode == -signal.SIGKILL
    half = tamrf_xr.open_latent(tmp_path / "out.zarr").tamrf.decode(DATES[:1])
    missing = np.isnan(half[PATHS[0]].values).all(axis=(0, 1))
    assert 0 < missing.sum() < missing.size
    summary = tamrf_xr.encode_job(given, tmp_path / "out.zarr", **how)
    assert (summary.found, summary.done) == (2, 2)
    assert contents(tmp_path / "out.zarr") == contents(tmp_path / "whole.zarr")


def test_tiles_that_are_not_done_are_no_data_and_nothing_else_is(small, cube, tmp_path):
    for dtype in BOUNDS:
        store = tmp_path / f"{dtype}.zarr"
        how = {"model": small, "dtype": dtype, "border": "zeros", "tile": 18, "progress": False}
        tamrf_xr.encode_job(cube, store, **how)
        whole = tamrf_xr.open_latent(store).tamrf.decode(DATES, model=small).compute()
        (store / "latent/tokens/c/0/0/0/0").unlink()
        part = tamrf_xr.open_latent(store).tamrf.decode(DATES, model=small, tile=30).compute()
        for path in PATHS:
            expected = whole[path].values.copy()
            expected[..., :20, :20] = np.nan  # the decoder looks two pixels far
            np.testing.assert_allclose(part[path].values, expected, atol=1e-3)


def test_jobs_decode_into_products_and_resume(small, cube, tmp_path):
    latent = cube.tamrf.encode(model=small).compute()
    how = {"model": small, "tile": 15, "progress": False}
    first = tamrf_xr.decode_job(latent, tmp_path / "fused.zarr", DATES, **how)
    again = tamrf_xr.decode_job(latent, tmp_path / "fused.zarr", DATES, **how)
    assert (first.done, again.found, again.done) == (9, 9, 0)
    product = tamrf_xr.open_cube(tmp_path / "fused.zarr")
    assert apart(product, latent.tamrf.decode(DATES, model=small)) < 6e-5
    assert product["sentinel2"].attrs["decoded_from"] == "a latent cube in int8"


def test_days_are_counted_as_for_the_cube(small):
    """Two images of a day, near midnight; query dates with a time of day."""
    cube = random_cube((24, 24), hr=4, lr=3)
    times = {
        "sentinel2": ["2022-03-01T23:50", "2022-03-02T00:03", "2022-03-20T10:30", "2022-05-01"],
        "landsat": ["2022-03-02T00:01", "2022-04-07T10:00", "2022-07-01T09:59"],
    }
    groups = groups_of(cube)
    cube = build_cube(
        {n: g.assign_coords(time=pd.DatetimeIndex(times[n])) for n, g in groups.items()}
    )
    asked = ["2022-03-02", "2022-03-02T00:03", "2022-06-11T23:59", "2022-09-20"]
    for how, count in (
        ({}, 6),
        ({"origin": "2021-11-03", "window": pd.Timedelta(days=300)}, 6),
        ({"window": 400, "same_day": "10min"}, 7),
    ):
        latent = cube.tamrf.encode(model=small, dtype="float32", **how)
        assert latent["latent"].sizes["acquisition"] == count
        decoded = latent.tamrf.decode(asked, model=small)
        assert apart(decoded, cube.tamrf.fuse(asked, model=small, **how)) < 1e-6


@pytest.mark.parametrize("sensor", ["sentinel2", "landsat"])
def test_one_sensor_alone(small, sensor):
    cube = random_cube((24, 24), sensors=(sensor,))
    latent = cube.tamrf.encode(model=small, dtype="float32", tile=15)
    decoded = latent.tamrf.decode(DATES, model=small)
    assert apart(decoded, cube.tamrf.fuse(DATES, model=small)) < 1e-6


def test_the_command_line_does_both(cube, tmp_path, capsys):
    tamrf_xr.save_cube(cube, tmp_path / "cube.zarr")
    words = [str(tmp_path / f"{name}.zarr") for name in ("cube", "latent", "fused")]
    assert main(["encode", *words[:2], "--quiet", "--tile", "24", "--border", "zeros"]) == 0
    assert main(["decode", *words[1:], "--dates", "2022-01-08", "--bands", "red", "--quiet"]) == 0
    assert "tiles done" in capsys.readouterr().out
    product = tamrf_xr.open_cube(words[2])
    assert product["sentinel2/band"].values.tolist() == ["B04"]
    assert main(["decode", words[0], words[2], "--dates", "2022-01-08"]) == 1
    assert "not a latent cube: found /landsat, /sentinel2" in capsys.readouterr().err

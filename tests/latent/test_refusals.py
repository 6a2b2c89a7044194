"""What a latent cube refuses, and what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import (
    CubeError,
    DateError,
    JobError,
    LatentError,
    MethodError,
    ModelError,
    OptionError,
)
from tamrf_xr.model.checkpoint import load_model
from tamrf_xr.model.network import Tamrf
from tamrf_xr.sensors import SENSORS
from tests.scenes import random_cube

SMALL = Path(__file__).parents[1] / "data" / "oracle_small"
DATE = "2022-01-08"


@pytest.fixture(scope="module")
def small():
    return load_model(SMALL / "checkpoint.ckpt", SMALL / "config_composed.yaml")


@pytest.fixture(scope="module")
def cube():
    return random_cube((24, 24))


@pytest.fixture(scope="module")
def latent(cube, small):
    return cube.tamrf.encode(model=small).compute()


def test_other_weights(latent, small):
    with pytest.raises(ModelError, match=r"encoded with weights in memory .* no other network"):
        latent.tamrf.decode(DATE, model="default")
    with pytest.raises(ModelError, match=r"neither the default ones .* pass model="):
        latent.tamrf.decode(DATE)
    assert latent.tamrf.decode(DATE, model=small)


def test_info_tells_what_a_latent_holds_and_what_is_neither(cube, small, tmp_path, capsys):
    tamrf_xr.encode_job(cube, tmp_path / "latent.zarr", model=small, progress=False)
    assert main(["info", str(tmp_path / "latent.zarr")]) == 0
    told = capsys.readouterr().out
    sizes = tamrf_xr.open_latent(tmp_path / "latent.zarr")["latent/tokens"].sizes
    assert f"{sizes['acquisition']} tokens a pixel of {sizes['channel']} channels, int8" in told
    for name, group in groups_of(cube).items():
        assert f"{group.sizes['time']} of {SENSORS[name].title}" in told
    assert "job: 1 of 1 tiles done, complete" in told
    xr.Dataset({"a": 1}).to_zarr(tmp_path / "other.zarr", zarr_format=3)
    assert main(["info", str(tmp_path / "other.zarr")]) != 0
    assert "expected one or more of sentinel2, landsat" in capsys.readouterr().err


def test_what_is_no_latent(cube, latent, tmp_path):
    for other in (cube, xr.DataTree()):
        with pytest.raises(LatentError, match=r"not a latent cube: found .* expected"):
            other.tamrf.decode(DATE)
    with pytest.raises(LatentError, match="not a latent cube: a Dataset"):
        tamrf_xr.decode(xr.Dataset(), DATE)
    newer = latent.copy()
    newer.attrs = {**latent.attrs, "tamrf_latent_version": "2"}
    with pytest.raises(LatentError, match="version '2', and this package reads 1"):
        newer.tamrf.decode(DATE)
    lacking = latent.copy()
    lacking["latent"].attrs = {n: v for n, v in latent["latent"].attrs.items() if n != "margin"}
    with pytest.raises(LatentError, match=r"lacks or contradicts .*margin"):
        lacking.tamrf.decode(DATE)
    tamrf_xr.save_cube(cube, tmp_path / "cube.zarr")
    with pytest.raises(LatentError, match=r"cube.zarr: not a latent cube"):
        tamrf_xr.open_latent(tmp_path / "cube.zarr")
    with pytest.raises(CubeError):
        latent.tamrf.fuse(DATE)


def test_a_part_of_a_latent(latent, small):
    for part in ({"y": slice(3, None)}, {"acquisition": [0, 1]}):
        tree = xr.DataTree.from_dict(
            {"/": latent.to_dataset(), "/latent": latent["latent"].to_dataset().isel(part)}
        )
        with pytest.raises(LatentError, match="Decode the whole, lazily"):
            tree.tamrf.decode(DATE, model=small)
    group = latent["latent"].to_dataset()
    floats = xr.DataTree.from_dict(
        {"/": latent.to_dataset(), "/latent": group.assign(tokens=group.tokens.astype("f4"))}
    )
    with pytest.raises(LatentError, match="kept as int8 are int8, found float32"):
        floats.tamrf.decode(DATE, model=small)


def test_no_acquisition(cube):
    empty = build_cube({n: g.isel(time=slice(0)) for n, g in groups_of(cube).items()})
    with pytest.raises(CubeError, match="no acquisition: 'time' has length 0"):
        empty.tamrf.encode()


def test_more_than_a_window_holds(cube, small):
    long = build_cube(
        {
            n: g.assign_coords(time=pd.date_range("2020-01-01", "2022-12-30", g.sizes["time"]))
            for n, g in groups_of(cube).items()
        }
    )
    with pytest.raises(DateError, match=r"span 1094 days, .* Select the times of one year"):
        long.tamrf.encode(model=small)
    fused = long.tamrf.fuse(DATE, model=small, window=None)
    decoded = long.tamrf.encode(model=small, window=None, dtype="float32").tamrf.decode(
        DATE, model=small
    )
    pixels = "sentinel2/reflectance"
    np.testing.assert_allclose(decoded[pixels], fused[pixels], atol=1e-6)


def test_dates_that_fuse_refuses(cube, latent, small):
    for tree in (cube, latent):
        make = tree.tamrf.fuse if tree is cube else tree.tamrf.decode
        with pytest.raises(DateError, match=r"no acquisition within 182.5 days of query date 2024"):
            make("2024-01-01", model=small)


def test_names_that_are_not_there(cube, latent, small):
    with pytest.raises(MethodError, match="unknown band 'B99'"):
        latent.tamrf.decode(DATE, model=small, bands="B99")
    with pytest.raises(OptionError, match="dtype is 'int4'; expected one of int8"):
        cube.tamrf.encode(dtype="int4")
    with pytest.raises(OptionError, match="border must be one of"):
        cube.tamrf.encode(border="wrap")
    with pytest.raises(TypeError, match="unexpected option 'causal'"):
        latent.tamrf.decode(DATE, causal=True)


def test_integers_of_a_network_that_bounds_no_token(cube, small):
    bare = Tamrf(replace(small.config, num_layers=0))
    with pytest.raises(ModelError, match=r"LayerNorm .*num_layers=0.*'bfloat16'"):
        cube.tamrf.encode(model=bare)
    decoded = cube.tamrf.encode(model=bare, dtype="float32").tamrf.decode(DATE, model=bare)
    pixels = "sentinel2/reflectance"
    np.testing.assert_allclose(
        decoded[pixels], cube.tamrf.fuse(DATE, model=bare)[pixels], atol=1e-6
    )


def test_a_store_of_other_options_is_not_gone_on_with(cube, small, tmp_path):
    how = {"model": small, "progress": False}
    tamrf_xr.encode_job(cube, tmp_path / "latent.zarr", **how)
    with pytest.raises(JobError, match="latent"):
        tamrf_xr.encode_job(cube, tmp_path / "latent.zarr", dtype="bfloat16", **how)


def test_latents_and_what_is_decoded_are_not_updated(cube, small, latent, tmp_path):
    tamrf_xr.save_cube(cube, tmp_path / "cube.zarr")
    given = tamrf_xr.open_cube(tmp_path / "cube.zarr")
    how = {"model": small, "progress": False}
    tamrf_xr.encode_job(given, tmp_path / "latent.zarr", **how)
    tamrf_xr.decode_job(latent, tmp_path / "fused.zarr", DATE, **how)
    for name in ("latent", "fused"):
        with pytest.raises(JobError, match="new acquisitions enter all of it; encode the cube"):
            tamrf_xr.update(tmp_path / f"{name}.zarr", given, model=small, progress=False)

"""Adaptation: learns a cube, leaves its inputs alone, says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.network import Tamrf
from tamrf_xr.training.adapt import Adaptation
from tamrf_xr.training.recipes import recipe
from tests.scenes import random_cube

SMALL = NetworkConfig(
    latent=8, growth=4, positional=8, sensor_token=0, num_layers=1, num_heads=2, decoder_heads=2
)


@pytest.fixture
def model():
    return Tamrf(SMALL, generator=torch.Generator().manual_seed(0)).eval()


@pytest.fixture
def cube():
    """A cube that does not change: what there is to know can be known."""
    groups = groups_of(random_cube((48, 60), hr=12, lr=8))
    for group in groups.values():
        group["reflectance"][:] = 0.2 + 0.1 * group["reflectance"].values[0]
    return build_cube(groups)


def error(model, cube):
    name = sorted(groups_of(cube))[-1]  # Sentinel-2, where there is any
    fused = cube.tamrf.fuse(cube[name]["time"].values, model=model)[name]["reflectance"].values
    seen = cube[name]["reflectance"].values
    ratio = fused.shape[-1] // seen.shape[-1]
    return float(np.nanmean((fused[..., ratio // 2 :: ratio, ratio // 2 :: ratio] - seen) ** 2))


@pytest.mark.parametrize("sensors", [("landsat", "sentinel2"), ("sentinel2",), ("landsat",)])
def test_an_adapted_network_knows_its_cube_better(model, cube, sensors):
    cube = build_cube({name: groups_of(cube)[name] for name in sensors})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    adapted = cube.tamrf.adapt(model=model, steps=30, lr=5e-3, progress=False)
    assert error(adapted, cube) < 0.5 * error(model, cube)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert not adapted.training


def test_the_command_writes_weights_that_fuse(model, cube, tmp_path):
    tamrf_xr.save_cube(cube, tmp_path / "c.zarr")
    tamrf_xr.save_model(model, tmp_path / "w.safetensors")
    words = ["adapt", tmp_path / "c.zarr", tmp_path / "mine.safetensors"]
    words += ["--model", tmp_path / "w.safetensors", "--steps", 2]
    assert main([str(word) for word in words]) == 0
    cube.tamrf.fuse("2022-02-01", model=tmp_path / "mine.safetensors")
    assert main([str(word) for word in words]) != 0  # it is there already


def test_what_cannot_be_adapted_to_is_refused(model, cube):
    with pytest.raises(CubeError, match="expected at least 240 m"):
        random_cube((18, 18)).tamrf.adapt(model=model, progress=False)
    with pytest.raises(CubeError, match="has 6 dates of each sensor"):
        random_cube((48, 48), lr=2).tamrf.adapt(model=model, progress=False)
    with pytest.raises(OptionError, match="patch_m is 150"):
        cube.tamrf.adapt(model=model, patch_m=150, progress=False)
    with pytest.raises(OptionError, match="expected more than 0"):
        cube.tamrf.adapt(model=model, lr=0.0, progress=False)


def test_what_may_be_asked_defaults_to_the_recipe():
    how, base = Adaptation(), recipe("adapt")
    asked = (how.steps, how.batch, how.lr, how.patch_m, how.dates, how.seed, how.device)
    optim, data, run = base.optim, base.data, base.run
    assert asked == (
        *(optim.steps, optim.batch, optim.lr),
        *(data.patch_m, data.dates, run.seed, run.device),
    )

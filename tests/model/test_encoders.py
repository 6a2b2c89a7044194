"""Other encoders of single dates: shapes, halos that are exact and no wider, files, tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tamrf_xr.errors import ModelError
from tamrf_xr.model.checkpoint import load_model, model_bytes, model_from_bytes, save_model
from tamrf_xr.model.config import ENCODERS, NetworkConfig
from tamrf_xr.model.encoders import KINDS
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf
from tamrf_xr.training.recipes import RECIPES, recipe
from tests.scenes import random_cube

BLOCKS = {"linear": 0, "mlp": 2, "unet": 3, "carn": 2, "esrgan": 1}
TINY = NetworkConfig(
    latent=8, growth=4, positional=8, sensor_token=0, num_layers=1, num_heads=2, decoder_heads=2,
    feedforward=16, decoder_feedforward=16,
)  # fmt: skip
EVERY = pytest.mark.parametrize("kind", ENCODERS)


def network(kind: str, **sizes: int) -> Tamrf:
    config = replace(TINY, encoder=kind, num_blocks=BLOCKS[kind], **sizes)
    return Tamrf(config, generator=torch.Generator().manual_seed(0)).eval()


def test_every_encoder_has_its_reach_and_its_recipe():
    assert {"esrgan", *KINDS} == set(ENCODERS)
    for kind in KINDS:
        made = recipe(f"encoder_{kind}").model
        assert made.encoder == kind
        assert sum(p.numel() for p in Tamrf(made).parameters()) > 0
    assert sum(name.startswith("encoder_") for name in RECIPES) == len(KINDS)


@EVERY
def test_a_pixel_sees_as_far_as_the_halo_says_and_no_farther(kind):
    """By the gradient of one feature: zero beyond the reach, not at it."""
    model, size = network(kind).double(), 61
    x = torch.rand(1, 10, size, size, dtype=torch.float64, requires_grad=True)
    features = model.hr_encoder(x)
    assert features.shape == (1, 8, size, size)
    features[0, :, size // 2, size // 2].sum().backward()
    seen = x.grad.abs().sum((0, 1)).nonzero() - size // 2
    assert seen.abs().max() == model.config.encoder_reach


@EVERY
def test_the_engine_is_the_network(kind):
    model = network(kind)
    draw = torch.Generator().manual_seed(1)
    lr, hr = torch.rand(2, 8, 8, 7, generator=draw), torch.rand(3, 10, 24, 21, generator=draw)
    lr_days, hr_days, asked = (torch.arange(float(n)) * 9 for n in (2, 3, 4))
    with torch.inference_mode():
        expected = model.destandardise(
            model(lr[None], lr_days[None], hr[None], hr_days[None], query_days=asked[None])
        )[0]
    found = Engine(model).predict(lr, lr_days, hr, hr_days, query_days=asked)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@EVERY
def test_any_tile_gives_the_same(kind):
    cube = random_cube((42, 36), hr=3, lr=2)
    model = network(kind)
    whole, tiled = (cube.tamrf.fuse("2022-01-20", model=model, tile=t) for t in ("auto", 12))
    for path in ("sentinel2/reflectance", "landsat/reflectance"):
        np.testing.assert_allclose(tiled[path].values, whole[path].values, atol=2e-5)


@EVERY
def test_files_keep_what_encodes(kind, tmp_path):
    model = network(kind)
    save_model(model, tmp_path / "w.safetensors")
    for read in (load_model(tmp_path / "w.safetensors"), model_from_bytes(model_bytes(model))):
        assert read.config == model.config
        for name, value in model.state_dict().items():
            torch.testing.assert_close(read.state_dict()[name], value, rtol=0, atol=0)


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ModelError, match="has no blocks; set num_blocks=0"):
        replace(TINY, encoder="linear")
    with pytest.raises(ModelError, match="encoder must be one of esrgan, carn, unet, mlp, linear"):
        replace(TINY, encoder="resnet")

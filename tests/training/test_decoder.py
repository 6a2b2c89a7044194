"""A decoder fitted on behind heads of reflectance: of what, and what of it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import tamrf_xr
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.model.checkpoint import metadata_of
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.levels import reflectance_head
from tamrf_xr.model.network import Tamrf
from tamrf_xr.simulate import draw_config, simulate, write_scenes
from tamrf_xr.training.config import DataConfig
from tamrf_xr.training.data import Patch, Patches
from tamrf_xr.training.decoder import (
    FITTED,
    Fit,
    Judged,
    _block,
    _errors,
    _off,
    _optical,
    _wanted,
    fit_decoder,
)
from tamrf_xr.training.decoder import main as fit
from tamrf_xr.training.sites import sites_of
from tamrf_xr.training.stack import standardised

TINY = NetworkConfig(
    latent=8, growth=4, positional=8, sensor_token=4, num_layers=1, num_heads=2, decoder_heads=2,
    feedforward=16, decoder_feedforward=16,
)  # fmt: skip
DATA = DataConfig(patch_m=240, stride_m=60, dates=30, validation_share=0.3)
QUICK = Fit(samples=6, checked=4, dates=30, side=5, queries=4, steps=12, batch=3, lr=3e-3)
SCENE = {"size_px": 36, "year": 2022, "sentinel2_revisit_days": 20, "landsat_revisit_days": 16}


@pytest.fixture(scope="module")
def model() -> Tamrf:
    model = Tamrf(TINY, generator=torch.Generator().manual_seed(3)).eval()
    torch.manual_seed(4)  # noqa: TID251
    for name in ("levels_lr", "levels_hr"):
        setattr(model, name, reflectance_head(TINY, name).eval())
    torch.nn.init.normal_(model.levels_hr.slopes, std=0.3)
    return model


@pytest.fixture(scope="module")
def scenes():
    return [simulate(draw_config(seed, **SCENE)) for seed in range(2)]


def test_the_decoder_alone_is_fitted_and_is_nearer_where_it_was_not_fitted(model, scenes):
    cubes, unclouded = ([one.cube for one in scenes], [s.unclouded() for s in scenes])
    kept = {name: values.clone() for name, values in model.state_dict().items()}
    state = torch.get_rng_state()
    fitted, (before, after) = fit_decoder(model, cubes, QUICK, unclouded=unclouded, data=DATA)
    assert torch.equal(torch.get_rng_state(), state)
    assert after < 0.95 * before
    for name, values in fitted.state_dict().items():
        assert torch.equal(model.state_dict()[name], kept[name])
        assert torch.equal(values, kept[name]) != name.startswith(FITTED), name
    again, _ = fit_decoder(model, cubes, QUICK, unclouded=unclouded, data=DATA)
    for name, values in fitted.state_dict().items():
        assert torch.equal(again.state_dict()[name], values), name


def test_what_is_judged_is_what_the_network_makes_drawn_to_its_days(model, scenes):
    """Inside a block, where no pixel that was left out has a part."""
    cubes = [scenes[0].cube], [scenes[0].unclouded()]
    sites, _ = sites_of(cubes[0], DATA)
    samples = [Patches(trees, sites, DATA, seed=2)[0] for trees in cubes]
    how = replace(QUICK, side=7)
    block = _block(model, samples, how, torch.Generator().manual_seed(0))
    y, x = torch.randint(2, (2,), generator=torch.Generator().manual_seed(0)).tolist()
    seen = standardised([samples[0]], model)
    given = {name: patch.at(patch.given.nonzero()[:, 0]) for name, patch in seen.items()}
    for stream, asked in block.asked.items():
        with torch.no_grad():
            bands = model(
                given["lr"].pixels[None], given["lr"].days[None],
                given["hr"].pixels[None], given["hr"].days[None], query_days=asked.days[None],
            )[0]  # fmt: skip
            errors = _errors(model, stream, block.decoded(model, asked.days), asked)
        mine = slice(3 * y + 3, 3 * y + 18), slice(3 * x + 3, 3 * x + 18)
        wanted = asked.wanted.float()
        if stream == "lr":
            made = torch.nn.functional.avg_pool2d(bands[:, :8, *mine], 3)
            wanted = (made - wanted[..., 1:-1, 1:-1])[:, :7]
            errors = errors[:, :7]
        else:
            made = bands[:, 8:, *mine]
            wanted = made - wanted[..., 3:-3, 3:-3]
            fine = [0, 1, 2, 6]  # bands of 10 m, which are compared as they are
            wanted, errors = wanted[:, fine], errors[:, fine]
        torch.testing.assert_close(errors, wanted, atol=0.02, rtol=0, equal_nan=True)  # float16


def test_what_is_wanted_is_what_a_clear_acquisition_shows():
    seen, true = torch.zeros(3, 1, 1, 4), torch.full((3, 1, 1, 4), 2.0)
    seen[..., :2] = 2.05  # clear pixels are brighter than the land by 0.05
    seen[..., 2] = 9.0  # clouds
    seen[..., 3] = torch.nan
    valid = torch.tensor([True, True, False, True]).expand(3, 1, 4)
    days, given = torch.arange(3.0), torch.tensor([True, False, False])
    found = _wanted(
        Patch(seen, valid, days, given), Patch(true, torch.ones_like(valid), days, given)
    )[:, 0, 0]
    nan = torch.nan
    wanted = torch.tensor([[2.05, 2.05, nan, nan], [2.05] * 4, [2.05] * 4])
    torch.testing.assert_close(found, wanted, equal_nan=True)


def test_fits_that_are_judged_in_different_ways_are_averaged(model, scenes):
    cubes, unclouded = [scenes[0].cube], [scenes[0].unclouded()]

    def out1(*judged):
        how = replace(QUICK, steps=2, judged=judged)
        fitted, _ = fit_decoder(model, cubes, how, unclouded=unclouded, data=DATA)
        return fitted.out1.weight.detach()

    ways = [Judged(), Judged(clouds=False), Judged(power=0.0)]
    alone = [out1(way) for way in ways]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(alone[one], alone[other])
    torch.testing.assert_close(out1(*ways[:2]), (alone[0] + alone[1]) / 2)


def test_what_cannot_be_fitted_is_named(model, scenes):
    cubes, unclouded = [scenes[0].cube], [scenes[0].unclouded()]
    bare = Tamrf(TINY)
    with pytest.raises(OptionError, match=r"no heads of reflectance, .* fit them first"):
        fit_decoder(bare, cubes, QUICK, unclouded=unclouded, data=DATA)
    with pytest.raises(OptionError, match="no unclouded is given"):
        fit_decoder(model, cubes, QUICK, unclouded=[], data=DATA)
    with pytest.raises(CubeError, match="cube 0 and what is given"):
        fit_decoder(model, cubes, QUICK, unclouded=[scenes[1].unclouded()], data=DATA)
    with pytest.raises(OptionError, match="8 coarse pixels across, not 9"):
        fit_decoder(model, cubes, replace(QUICK, side=9), unclouded=unclouded, data=DATA)
    assert len(_optical(bare)) == 0
    with pytest.raises(CubeError, match="nothing is held back where errors are told"):
        _off(model, [])


def test_fitting_by_command_keeps_what_is_known_of_the_weights(model, tmp_path):
    write_scenes(tmp_path / "scenes", range(2), unclouded=True, **SCENE)
    weights = tamrf_xr.save_model(
        model, tmp_path / "m.safetensors", metadata={"training": {"seed": 7}}
    )
    out = tmp_path / "out.safetensors"
    words = [str(weights), str(tmp_path / "scenes" / "*.zarr"), str(out)]
    fit([*words, "--samples", "3", "--steps", "2"])
    told = metadata_of(out.read_bytes())
    assert told["training"] == {"seed": 7}
    assert {name: told["decoder"][name] for name in ("samples", "steps", "cubes")} == {
        "samples": 3, "steps": 2, "cubes": 2,
    }  # fmt: skip
    assert tamrf_xr.load_model(out).levels_hr is not None
    with pytest.raises(tamrf_xr.TamrfError, match=r"out\.safetensors"):
        fit([*words, "--samples", "3", "--steps", "2"])

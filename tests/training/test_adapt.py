"""Adaptation: learns a cube, leaves its inputs alone, says what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from dask.callbacks import Callback

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.model import checkpoint
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.network import Tamrf
from tamrf_xr.training import adapt, data
from tamrf_xr.training.adapt import Adaptation
from tamrf_xr.training.judging import Judge, ratio
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
    adapted = cube.tamrf.adapt(model=model, steps=20, lr=7e-3, simulated=0.0, progress=False)
    assert error(adapted, cube) < 0.5 * error(model, cube)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert not adapted.training


def test_the_command_writes_weights_that_fuse(model, cube, tmp_path, capsys):
    tamrf_xr.save_cube(cube, tmp_path / "c.zarr")
    tamrf_xr.save_model(model, tmp_path / "w.safetensors")
    words = ["adapt", tmp_path / "c.zarr", tmp_path / "mine.safetensors"]
    words += ["--model", tmp_path / "w.safetensors", "--steps", 2, "--simulated", 0.0]
    assert main([str(word) for word in words]) == 0
    told = json.loads(
        checkpoint.metadata_of((tmp_path / "mine.safetensors").read_bytes())["adaptation"]
    )
    assert f"kept back: {told['errors_to_before']:.3f} of those before" in capsys.readouterr().out
    assert told["best_step"] in (1, 2)
    cube.tamrf.fuse("2022-02-01", model=tmp_path / "mine.safetensors")
    assert main([str(word) for word in words]) != 0  # it is there already


def test_what_brings_nothing_is_not_returned(model, cube, caplog):
    """At a rate that breaks a network, the one that it started from, to the bit; and it is said."""
    adapted = cube.tamrf.adapt(model=model, steps=4, lr=5.0, simulated=0.0, progress=False)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(adapted.state_dict()[name], value, rtol=0, atol=0)
    assert "brought nothing on the dates kept from it" in caplog.text
    unjudged = {"simulated": 0.0, "held_back": 0.0, "progress": False}
    broken = cube.tamrf.adapt(model=model, steps=2, lr=5.0, **unjudged)
    assert not torch.equal(broken.query_latent, model.query_latent)


def test_only_what_is_behind_the_encoders_changes(model, cube):
    how = {"steps": 2, "lr": 5e-3, "simulated": 0.0, "held_back": 0.0, "progress": False}
    adapted = cube.tamrf.adapt(model=model, layers="decoder", **how)
    before, after = (dict(one.named_parameters()) for one in (model, adapted))
    same = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert same == {name for name in before if "_encoder." in name or not before[name].numel()}
    assert all(parameter.requires_grad for parameter in adapted.parameters())


def test_a_judge_knows_what_training_does_not(model):
    """Its dates are not in what is trained on, and its errors are those of the product."""
    cube = random_cube((60, 48), hr=12, lr=8)
    judge = Judge([cube], 0.2, 24)
    [rest] = judge.train_on([cube])
    fine = groups_of(cube)["sentinel2"]
    every, given = (
        pd.DatetimeIndex(one["time"].values) for one in (fine.time, rest["sentinel2"].time)
    )
    held = every.difference(given)
    assert len(held) == 3
    corners = [(0, 0), (0, 24), (24, 0), (24, 24)]
    squares, seen = np.zeros(10), 0
    for y, x in corners:
        part = {}
        for name, group in groups_of(rest).items():
            ratio_of = 3 if name == "landsat" else 1
            rows, cols = (slice(at // ratio_of, (at + 24) // ratio_of) for at in (y, x))
            part[name] = group.isel(y=rows, x=cols)
        made = build_cube(part).tamrf.fuse(held, model=model)["sentinel2/reflectance"].values
        truth = fine.sel(time=held).isel(y=slice(y, y + 24), x=slice(x, x + 24))
        valid = truth["valid"].values[:, None]
        squares += np.where(valid, (made - truth["reflectance"].values) ** 2, 0).sum((0, 2, 3))
        seen += valid.sum()
    errors = judge.errors(model)
    expected = dict(zip(fine["band"].values.tolist(), np.sqrt(squares / seen), strict=True))
    for band, value in expected.items():
        assert errors["sentinel2", band] == pytest.approx(value, rel=1e-4)
    assert ("landsat", "surface_temperature") in errors
    assert ratio(errors, errors) == 1


def test_simulated_land_is_among_the_samples(model, cube, monkeypatch):
    """Beside those of the cube."""
    drawn = []
    read = data.Patches.__getitem__

    def told(self, number):
        drawn.append(self._sites[self._drawn(np.random.default_rng((0, number)))].part.cube)
        return read(self, number)

    monkeypatch.setattr(data.Patches, "__getitem__", told)
    monkeypatch.setattr(adapt, "SCENES", 1)
    how = {"steps": 2, "batch": 6, "patch_m": 240, "held_back": 0.0, "progress": False}
    cube.tamrf.adapt(model=model, simulated=0.5, **how)
    assert set(drawn) == {0, 1}


def test_what_cannot_be_adapted_to_is_refused(model, cube):
    with pytest.raises(CubeError, match="expected at least 240 m"):
        random_cube((18, 18)).tamrf.adapt(model=model, progress=False)
    with pytest.raises(CubeError, match="has 6 dates of each sensor"):
        random_cube((48, 48), lr=2).tamrf.adapt(model=model, progress=False)
    maskless = {name: group.drop_vars("valid") for name, group in groups_of(cube).items()}
    with pytest.raises(CubeError, match="has no 'valid'"):
        build_cube(maskless).tamrf.adapt(model=model, progress=False)
    with pytest.raises(OptionError, match="patch_m is 150"):
        cube.tamrf.adapt(model=model, patch_m=150, progress=False)
    with pytest.raises(OptionError, match=r"held_back is 0.7; expected at least 0, at most 0.5"):
        cube.tamrf.adapt(model=model, held_back=0.7, progress=False)
    with pytest.raises(OptionError, match="layers is 'last'; choose one of all, decoder"):
        cube.tamrf.adapt(model=model, layers="last", progress=False)
    clouded = {
        name: group.assign(valid=group["valid"] & False) for name, group in groups_of(cube).items()
    }
    with pytest.raises(CubeError, match=r"0 clear dates can be kept back .*held_back=0"):
        build_cube(clouded).tamrf.adapt(model=model, progress=False)
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


def test_a_judge_runs_a_network_once_for_all_bands_of_a_sensor(model):
    runs = []

    class Counted(Callback):
        def _start(self, dsk):
            runs.append(len(dsk))

    judge = Judge([random_cube((24, 24), hr=12, lr=8)], 0.2, 24)
    with Counted():
        errors = judge.errors(model)
    assert len(errors) == 18
    assert len(runs) == 2

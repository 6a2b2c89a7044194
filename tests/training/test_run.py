"""Runs: learn, stop, resume and share their work, and end the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tamrf_xr
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import JobError, ModelError, OptionError, SourceNotFoundError
from tamrf_xr.model.network import Tamrf
from tamrf_xr.train import main
from tamrf_xr.training import run as run_module
from tamrf_xr.training import trainer as trainer_module
from tamrf_xr.training.config import OptimConfig
from tamrf_xr.training.data import Sample
from tamrf_xr.training.losses import loss_tools, spare_border
from tamrf_xr.training.recipes import RECIPES, recipe
from tamrf_xr.training.run import (
    BEST,
    LAST,
    Stopped,
    build,
    own_device,
    ranked,
    step_bar,
    train,
    try_out,
)
from tamrf_xr.training.setting import override
from tamrf_xr.training.trainer import Trainer, World, learning_rate
from tests.scenes import random_cube

TINY = [
    "model.latent=8",
    "model.growth=4",
    "model.positional=8",
    "model.sensor_token=0",
    "model.num_layers=1",
    "data.patch_m=240",
    "data.dates=8",
    "data.threads=2",
    "data.validation_share=0.2",
    "optim.steps=6",
    "optim.batch=2",
    "optim.dropout=0.1",
    "optim.warmup=2",
    "run.validate_every=3",
    "run.validation_samples=2",
    "loss.perceptual=smooth_l1",
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "scene.zarr"
    tamrf_xr.save_cube(random_cube((96, 120), hr=14, lr=9, nan=0.05), path)
    return path


@pytest.fixture(scope="module")
def config(scene):
    return override(recipe("quick"), [*TINY, f"data={scene}"])


def logged(folder, kind="train"):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if key not in {"kind", "time"}}
        for line in lines
        if line["kind"] == kind
    ]


def weights(path):
    return tamrf_xr.load_model(path).state_dict()


def assert_same_weights(one, other, **tolerance):
    one, other = weights(one), weights(other)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, **tolerance)


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "whole"
    train(config, folder, progress=False)
    return folder


def test_a_run_leaves_weights_a_log_and_its_configuration(undisturbed, config):
    assert [line["step"] for line in logged(undisturbed)] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in logged(undisturbed, "validation")] == [0, 3, 6]
    kept = ranked(undisturbed)
    assert len(kept) == config.run.keep == 1
    told = json.loads(kept[0].with_suffix(".json").read_text())["metadata"]
    best = min(line["total"] for line in logged(undisturbed, "validation")[1:])
    assert told["validation_loss"] == best
    assert told["training"]["optim"]["steps"] == 6
    cube = tamrf_xr.open_cube(config.data.cubes[0])
    fused = cube.tamrf.fuse("2022-02-01", model=kept[0], bands={"sentinel2": ["B04"]})
    assert np.isfinite(fused["sentinel2/reflectance"].values).all()


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_run_that_was_interrupted_ends_the_same(config, undisturbed, tmp_path, stop, monkeypatch):
    step = Trainer._step

    def interrupted(self, samples):
        losses = step(self, samples)
        if self.step == stop:
            signal.raise_signal(signal.SIGUSR1)
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        with pytest.raises(Stopped, match=f"stopped at step {stop} of 6; run again"):
            train(config, tmp_path / "run", progress=False)
    with (tmp_path / "run" / "log.jsonl").open("a") as log:  # as if it had gone on and been killed
        log.write(json.dumps({"kind": "train", "step": stop + 1}) + '\n{"kind": "tra')
    train(config, tmp_path / "run", progress=False)
    assert logged(tmp_path / "run") == logged(undisturbed)  # to the last bit
    assert logged(tmp_path / "run", "validation") == logged(undisturbed, "validation")
    for path in (undisturbed / BEST).glob("*.safetensors"):
        assert_same_weights(path, tmp_path / "run" / BEST / path.name, rtol=0, atol=0)


def test_a_run_of_stacks_that_was_interrupted_ends_the_same(config, tmp_path, monkeypatch):
    """Dropout is drawn a stack, not a sample: otherwise than one by one, but the same each time."""
    config = override(config, ["run.stack=2", "optim.batch=3", "optim.steps=4"])
    train(config, tmp_path / "whole", progress=False)
    step = Trainer._step

    def interrupted(self, samples):
        losses = step(self, samples)
        if self.step == 2:
            signal.raise_signal(signal.SIGUSR1)
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        with pytest.raises(Stopped):
            train(config, tmp_path / "run", progress=False)
    train(config, tmp_path / "run", progress=False)
    assert logged(tmp_path / "run") == logged(tmp_path / "whole")
    for path in (tmp_path / "whole" / BEST).glob("*.safetensors"):
        assert_same_weights(path, tmp_path / "run" / BEST / path.name, rtol=0, atol=0)
    with pytest.raises(JobError, match=r"run\.stack \(2 there, 1 asked\)"):
        train(override(config, ["run.stack=1"]), tmp_path / "run", progress=False)


@pytest.mark.slow
def test_two_processes_are_one(config, undisturbed, tmp_path):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *("-m", "tamrf_xr.train", "--config-name", "quick", f"--output={tmp_path / 'run'}"),
        *TINY,
        f"data={config.data.cubes[0]}",
    ]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300)
    for ours, alone in zip(logged(tmp_path / "run"), logged(undisturbed), strict=True):
        assert ours == pytest.approx(alone, rel=2e-4, abs=1e-6)
    for path in (undisturbed / BEST).glob("*.safetensors"):
        assert_same_weights(path, tmp_path / "run" / BEST / path.name, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_the_command_with_a_checkpoint(config, tmp_path, sign):
    command = [
        *(sys.executable, "-m", "tamrf_xr.train", "--config-name", "quick", *TINY),
        *(f"data={config.data.cubes[0]}", f"output={tmp_path / 'run'}", "optim.steps=100000"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        log, deadline = tmp_path / "run" / "log.jsonl", time.monotonic() + 120
        while not (log.exists() and log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(sign)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "run again to go on" in said
    reached = torch.load(tmp_path / "run" / LAST, weights_only=True)["step"]
    assert reached == logged(tmp_path / "run")[-1]["step"]


def test_series_of_any_length_go_together(config):
    """A batch gives the mean of what its samples give alone, whatever their dates."""
    cubes = [tamrf_xr.open_cube(config.data.cubes[0])]
    trainer = Trainer(config, cubes, build(config, cubes, torch.device("cpu")), World())
    one, two = trainer.patches[0], trainer.patches[1]
    short = two.patches["landsat"].at(torch.tensor([0, 1]))
    two = Sample(two.number, {**two.patches, "landsat": short}, two.strategy)
    alone = [float(trainer.loss(trainer.model.eval(), sample)[0].detach()) for sample in (one, two)]
    calm = replace(config, optim=replace(config.optim, dropout=0.0))
    together = Trainer(calm, cubes, build(calm, cubes, torch.device("cpu")), World())
    assert together._step([one, two])["total"] == pytest.approx(sum(alone) / 2, rel=1e-5)


def test_the_border_that_is_spared_has_no_part_in_the_loss(config, monkeypatch):
    words = ["data.patch_m=720", "loss.margin=27", "optim.dropout=0.0"]
    config = override(config, words)
    cubes = [tamrf_xr.open_cube(config.data.cubes[0])]

    def told():
        trainer = Trainer(config, cubes, build(config, cubes, torch.device("cpu")), World())
        total, partials = trainer.loss(trainer.model.train(), trainer.patches[0])
        total.backward()
        return partials, {name: value.grad for name, value in trainer.model.named_parameters()}

    assert spare_border(config.loss, loss_tools(Tamrf(config.model), config.loss)) == 15
    spared = told()
    monkeypatch.setattr(trainer_module, "spare_border", lambda *_: 0)
    for one, other in zip(spared, told(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("ablation")])
def test_every_ablation_takes_two_steps(scene, name):
    words = [f"data={scene}", "data.patch_m=570", "data.dates=4", "run.device=cpu"]
    asked = override(recipe(name), words)
    if asked.loss.perceptual == "lpips":  # its weights are the user's
        asked = override(asked, ["loss.perceptual=smooth_l1"])
    said = try_out(asked)
    assert "step 2" in said
    assert "parameters" in said


def test_learning_rate_is_that_of_the_paper():
    optim = OptimConfig()
    assert learning_rate(0, optim) == pytest.approx(1e-4 / 3)
    assert learning_rate(2018, optim) == pytest.approx(1e-4)
    assert learning_rate(2018 + 40_360 - 1, optim) == pytest.approx(2e-5, rel=1e-3)
    assert learning_rate(2018 + 40_360, optim) == pytest.approx(1e-4)
    assert learning_rate(2018 + 3 * 40_360, optim) == pytest.approx(1e-4)
    once = OptimConfig(steps=1000, warmup=0, period=0, floor=0.0)
    assert learning_rate(1000, once) == pytest.approx(0.0, abs=1e-12)


def test_a_folder_of_another_run_is_refused(config, undisturbed, tmp_path):
    other = override(config, ["optim.lr=0.5", "loss.beta=0.2"])
    with pytest.raises(JobError, match=r"loss\.beta \(0\.1 there, 0\.2 asked\), optim\.lr"):
        train(other, undisturbed, progress=False)
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(JobError, match="holds no run"):
        train(config, tmp_path, progress=False)


def test_bad_requests_leave_nothing_behind(config, tmp_path, capsys):
    assert main(["data=nowhere/*.zarr", f"output={tmp_path / 'run'}"]) == 2
    assert "no cube matches nowhere/*.zarr" in capsys.readouterr().err
    assert main([f"output={tmp_path / 'run'}"]) == 2
    assert "set data=CUBES" in capsys.readouterr().err
    assert main(["experiment=none"]) == 2
    assert "ablation_mae" in capsys.readouterr().err
    with pytest.raises(SourceNotFoundError, match="no cube matches"):
        train(override(config, ["data=none.zarr"]), tmp_path / "run", progress=False)
    with pytest.raises(OptionError, match="device must be auto, cpu, cuda or cuda:N"):
        train(override(config, ["run.device=nonesuch"]), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_statistics_of_the_data_standardise_it(config):
    asked = override(config, ["data.statistics=data"])
    cubes = [tamrf_xr.open_cube(config.data.cubes[0])]
    group = cubes[0]["sentinel2"].to_dataset()
    turned = build_cube(
        {**groups_of(cubes[0]), "sentinel2": group.isel(band=slice(None, None, -1))}
    )
    model = build(asked, [turned], torch.device("cpu"))  # by name, whatever the order
    seen = group["reflectance"].where(group["valid"]).transpose("band", ...).values
    np.testing.assert_allclose(model.hr_mean, np.nanmean(seen, axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(model.hr_std, np.nanstd(seen, axis=(1, 2, 3)), rtol=1e-5)


def test_batches_are_shared_evenly(config):
    cubes = [tamrf_xr.open_cube(config.data.cubes[0])]
    model = build(config, cubes, torch.device("cpu"))
    with pytest.raises(OptionError, match=r"optim\.batch is 2, to be shared by 4 processes"):
        Trainer(config, cubes, model, World(0, 4))


def test_a_step_without_finite_gradients_changes_nothing(config, monkeypatch):
    cubes = [tamrf_xr.open_cube(config.data.cubes[0])]
    trainer = Trainer(config, cubes, build(config, cubes, torch.device("cpu")), World())
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    total = lambda model, _: (model.query_latent.sum() * torch.nan, {})  # noqa: E731
    monkeypatch.setattr(trainer, "loss", total)
    trainer._step([trainer.patches[0]])
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_checkpoint_that_cannot_be_gone_on_with_is_refused(config, undisturbed, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    state = torch.load(folder / LAST, weights_only=True)
    state["model"].pop("query_latent")
    torch.save(state, folder / LAST)
    with pytest.raises(ModelError, match=r"last\.pt cannot be read.*query_latent.*start anew"):
        train(config, folder, progress=False)
    (folder / LAST).write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match=r"last\.pt cannot be read"):
        train(config, folder, progress=False)


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(run_module, "resolve_device", torch.device)  # no GPU need be there
    monkeypatch.setenv("LOCAL_RANK", "3")
    expected = {"cuda": "cuda:3", "cuda:1": "cuda:1", "cpu": "cpu"}
    assert {name: str(own_device(name)) for name in expected} == expected


def test_the_bar_names_validation_and_keeps_it_out_of_the_rate(monkeypatch, capsys):
    now = [1_000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr("tamrf_xr.training.run.time", SimpleNamespace(time=lambda: now[0]))
    run = SimpleNamespace(step=0, config=SimpleNamespace(optim=SimpleNamespace(steps=8)))
    with step_bar(run, shown=True) as bar:
        for _ in range(2):
            with bar.meanwhile("validating"):
                now[0] += 98
            assert "validating: " in capsys.readouterr().err
            for _ in range(4):
                now[0] += 2
                bar.show({"total": 1.0})
    last = capsys.readouterr().err.rstrip().split("\r")[-1]
    assert "validating" not in last
    assert "8/8 [00:16<00:00,  2.00s/step, loss 1.0000]" in last


def test_a_bar_that_is_not_shown_shows_nothing(capsys):
    run = SimpleNamespace(step=0, config=SimpleNamespace(optim=SimpleNamespace(steps=1)))
    with step_bar(run, shown=False) as bar:
        with bar.meanwhile("validating"):
            pass
        bar.show({"total": 1.0})
    assert capsys.readouterr().err == ""

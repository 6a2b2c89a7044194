"""Configurations: overrides, files, recipes, and what is said of mistakes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import Annotated, get_origin, get_type_hints

import pytest

from tamrf_xr.errors import OptionError
from tamrf_xr.training.config import TrainConfig
from tamrf_xr.training.recipes import RECIPES, recipe
from tamrf_xr.training.setting import as_tree, override, read_config, write_config


def test_overrides_reach_every_section():
    config = override(
        TrainConfig(),
        [
            "data=cubes/*.zarr,more/a.zarr",
            "model.num_layers=2",
            "optim.lr=3e-4",
            "loss.perceptual=off",
            "masking.strategies=random",
            "run.start=null",
            "run.tensorboard=true",
        ],
    )
    assert config.data.cubes == ("cubes/*.zarr", "more/a.zarr")
    assert (config.model.num_layers, config.optim.lr) == (2, 3e-4)
    assert config.loss.perceptual == "off"
    assert config.masking.strategies == "random"
    assert config.run.tensorboard


def test_a_file_holds_what_it_was_written_from(tmp_path):
    config = override(recipe("quick"), ["data=a.zarr", "loss.triplet_weight=0.25"])
    write_config(config, tmp_path / "c.yaml")
    assert read_config(tmp_path / "c.yaml", TrainConfig()) == config


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.layers=2", r"no 'model.layers'; model has: .*num_layers"),
        ("modle.num_layers=2", r"the configuration has: model, .*did you mean model\?"),
        ("model.num_layers=two", "expected int"),
        ("model.num_layers=1.5", "expected int"),
        ("optim.lr=fast", "expected float"),
        ("run.tensorboard=1", "expected bool"),
        ("loss.perceptual=vgg", "choose one of lpips, smooth_l1, off"),
        ("model=small", "model is a section"),
        ("optim.lr", "write NAME=VALUE"),
        ("data.patch_m=100", "multiple of 30"),
        ("data.patch_m=300", "above twice the margin"),
        ("loss.margin=10", "multiple of 3"),
        ("optim.steps=0", "at least 1"),
        ("loss.beta=-1", "loss.beta is -1"),
        ("optim.lr=[1", "optim.lr='\\[1' is no YAML value"),
    ],
)
def test_mistakes_are_told_with_the_way_out(word, message):
    with pytest.raises(OptionError, match=message):
        override(TrainConfig(), [word])


def test_a_section_is_not_set_whole_and_in_part():
    with pytest.raises(OptionError, match=r"model is set to 'small' and model.num_layers too"):
        override(TrainConfig(), ["model=small", "model.num_layers=2"])


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(OptionError, match="cannot read"):
        read_config(tmp_path / "none.yaml", TrainConfig())
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(OptionError, match="must hold sections"):
        read_config(tmp_path / "list.yaml", TrainConfig())


def test_unknown_recipe_lists_those_that_exist():
    with pytest.raises(OptionError, match="ablation_mae"):
        recipe("ablation_mea")


@pytest.mark.parametrize(
    ("name", "differs"),
    [
        ("ablation_baseline_s2t3", {"model.num_blocks": 2}),
        ("ablation_baseline_s3t3", {"model.num_blocks": 3}),
        ("ablation_baseline_s1t2", {"model.num_layers": 2}),
        ("ablation_baseline_s1t1", {"model.num_layers": 1}),
        ("ablation_lpips", {"loss.perceptual": "off"}),
        ("ablation_contrastive", {"loss.triplet_weight": 0.0}),
        ("ablation_mae", {"masking.strategies": "random"}),
        ("ablation_sensor_tokens", {"model.sensor_token": 0}),
    ],
)
def test_an_ablation_changes_one_thing(name, differs):
    words = [f"{key}={value}" for key, value in differs.items()]
    assert recipe(name) == override(recipe("published"), words)
    assert name in RECIPES


@pytest.mark.parametrize(
    "word",
    [
        "optim.period=-5",
        "optim.average=2",
        "optim.lr=.inf",
        "optim.lr=.nan",
        "optim.dropout=1",
        "data.threads=0",
        "data.validation_share=1",
        "loss.beta=0",
        f"optim.steps={'9' * 400}",
    ],
)
def test_numbers_out_of_bounds_are_refused_by_name(word):
    name = word.partition("=")[0]
    with pytest.raises(OptionError, match=rf"^{name} is .*; expected .*, at most"):
        override(TrainConfig(), [word])


def test_every_number_of_a_run_has_bounds():
    for section in (getattr(TrainConfig(), name) for name in ("loss", "data", "optim", "run")):
        kinds = get_type_hints(type(section), include_extras=True)
        for item in fields(section):
            number = type(getattr(section, item.name)) in {int, float}
            assert number == (get_origin(kinds[item.name]) is Annotated), item.name


def test_the_defaults_are_those_of_the_paper():
    """Michel and Inglada, RSE 2025, and the code they published."""
    paper = {
        "data.patch_m": 1650, "data.dates": 50, "data.min_dates": 6, "loss.margin": 27,
        "loss.masked_weight": 0.5, "loss.min_valid": 0.5, "loss.triplet_days": 20.0,
        "loss.triplet_margin": 1e-5, "loss.perceptual": "lpips", "loss.decorrelation_weight": 0.0,
        "masking.strategies": "all", "optim.lr": 1e-4, "optim.warmup": 2018, "optim.period": 40_360,
        "optim.clip": 0.1, "optim.dropout": 0.1, "optim.average": 0.0, "model.latent": 64,
        "model.num_layers": 3, "model.num_blocks": 1,
    }  # fmt: skip
    tree = as_tree(recipe("published"))
    for name, value in paper.items():
        section, key = name.split(".")
        assert tree[section][key] == value, name


def test_a_configuration_is_read_without_torch():
    code = "import sys, tamrf_xr.training.recipes; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_bounds_hold_the_recipes():
    for name in RECIPES:
        recipe(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim:\n  lr: 1\n  lr: 2\n", "the key 'lr' is there twice, in lines 2 and 3"),
        ("optim: 2022-13-45\n", "a value that cannot be"),
        ("optim: &a [*a]\n", "refers to itself"),
        ("optim:\n  speed: 1\n", "there is no 'optim.speed'"),
    ],
)
def test_files_that_are_not_plain_are_refused(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(OptionError, match=message):
        read_config(tmp_path / "a.yaml", TrainConfig())

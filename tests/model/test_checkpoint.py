"""Checkpoints: what is read is what was written, and every bad one says what is wrong."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from networks import SMALL, network, series, shared
from safetensors.torch import save_file
from torch import Tensor

from tamrf_xr.errors import ModelError, OutputExistsError, SourceNotFoundError
from tamrf_xr.model import checkpoint as checkpoint_module
from tamrf_xr.model.checkpoint import (
    content_hash,
    load_model,
    model_bytes,
    model_from_bytes,
    save_model,
)
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.published import lookup

CKPT, YAML = SMALL / "checkpoint.ckpt", SMALL / "config_composed.yaml"
E = "the_modules.encoder."


def _predict(model: Tamrf) -> Tensor:
    batch = [part[None] for part in series(model.config, (2, 2), (3, 3))]
    with torch.inference_mode():
        out: Tensor = model(*batch, query_days=torch.tensor([[7.0]]))
    return out


def _state() -> dict[str, Tensor]:
    return dict(torch.load(CKPT, weights_only=True)["state_dict"])


def _config() -> dict[str, Any]:
    return copy.deepcopy(yaml.safe_load(YAML.read_text()))


def _ckpt(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save({"state_dict": state, "epoch": 1}, path)
    return path


def test_sizes_are_read_off_the_shapes(small: Tamrf) -> None:
    assert small.config == NetworkConfig(
        latent=16, growth=8, positional=16, sensor_token=4, num_heads=2, decoder_heads=2,
        num_layers=2, feedforward=48
    )  # fmt: skip
    assert not small.training
    assert small.hr_encoder.blocks[0].scale.item() == pytest.approx(0.171684, abs=1e-6)


def test_heads_are_four_without_a_config() -> None:
    model = load_model(CKPT)
    assert (model.config.num_heads, model.config.decoder_heads) == (4, 4)


def test_published_full_checkpoint_has_the_default_sizes() -> None:
    path = shared("oracle/full/checkpoint.ckpt")
    assert load_model(path, path.with_name("config_composed.yaml")).config == NetworkConfig()


@pytest.mark.parametrize("infix", ["._orig_mod", ""])
def test_compiled_infix_and_foreign_keys_are_tolerated(
    tmp_path: Path, small: Tamrf, infix: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = {
        key.replace("_encoder.", f"_encoder{infix}.").replace("decoder.", f"decoder{infix}."): value
        for key, value in _state().items()
    }
    state["cca_loss.lpips.bias"] = torch.zeros(3)
    with caplog.at_level(logging.DEBUG, "tamrf_xr.model.published"):
        model = load_model(_ckpt(tmp_path / "a.ckpt", state), YAML)
    assert "ignored 1 foreign keys" in caplog.text
    assert "cca_loss.lpips.bias" in caplog.text
    assert torch.equal(_predict(model), _predict(small))


def test_config_may_be_a_mapping_with_interpolations(small: Tamrf) -> None:
    config = _config()
    config["sizes"] = {"heads": 2}
    config["training_module"]["training_module"]["encoder"]["nb_heads"] = "${sizes.heads}"
    config["training_module"]["training_module"]["decoder"]["nb_layers"] = "${oc.env:LAYERS}"
    assert load_model(CKPT, config).config == small.config


def test_heads_that_cannot_be_resolved_are_four_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = _config()
    for part in ("encoder", "decoder"):
        config["training_module"]["training_module"][part]["nb_heads"] = "${oc.env:HEADS}"
    assert load_model(CKPT, config).config.num_heads == 4
    assert "encoder.nb_heads is not stated by the config" in caplog.text


def test_lookup_follows_interpolations_and_stops_at_circles() -> None:
    config = {"a": {"b": "${c}"}, "c": {"d": 3}, "x": "${y}", "y": "${x}", "mixed": "n${c.d}"}
    assert lookup(config, "a.b.d") == 3
    assert lookup(config, "x") is None
    assert lookup(config, "mixed") is None
    assert lookup(config, "a.nothing.d") is None


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ("hr_encoder.model.model.latent_size", 32, "latent_size: the checkpoint has 16, .* 32"),
        ("positional_encoding.model.nb_features", 8, "nb_features: the checkpoint has 16"),
        ("training_module.training_module.encoder.nb_layers", 3, "nb_layers: .* has 2"),
        ("training_module.training_module.decoder.nb_heads", 5, "decoder_heads=5 does not divide"),
        ("training_module.training_module.encoder.nb_heads", "two", "must be an integer"),
        ("training_module.nb_latent_features", 64, "encoder.token_size: the checkpoint has 16"),
        ("lr_encoder.model.model.upsampling_factor", 2, "hr_lr_resolution_ratio"),
        (
            "training_module.parameters.standardization.hr_mean",
            [0.5] * 10,
            "standardization.hr_mean: the checkpoint has .* the config says",
        ),
    ],
)
def test_contradictions_with_the_config_are_refused(path: str, value: object, match: str) -> None:
    config = _config()
    *parents, last = path.split(".")
    node = config
    for key in parents:
        node = node[key]
    node[last] = value
    with pytest.raises(ModelError, match=match):
        load_model(CKPT, config)


def _drop(key: str) -> Callable[[dict[str, Tensor]], None]:
    return lambda state: state.pop(key)  # type: ignore[return-value]


def _put(key: str, *shape: int) -> Callable[[dict[str, Tensor]], None]:
    return lambda state: state.__setitem__(key, torch.zeros(shape))


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (_drop("hr_mean"), "lacks hr_mean"),
        (_drop("the_modules.decoder.imputer.default_token"), "lacks query_latent"),
        (_drop(E + "hr_encoder.model.encoder.blocks.0.weight"), "lacks hr_encoder.first.weight"),
        (_drop(E + "hr_sensor_token"), r"lr_token has shape \(4,\), expected \(0,\)"),
        (_put(E + "lr_sensor_token", 5), r"lr_token has shape \(5,\), expected \(4,\)"),
        (_put("lr_std", 7), r"lr_std has shape \(7,\), expected \(8,\)"),
        (_put("the_modules.decoder.attention.linear1.weight"), "expected at least 1 dimensions"),
        (
            _put("the_modules.decoder.decoder.model.decoder.2.weight", 17, 36, 3, 3),
            r"out2.weight has shape \(17, 36, 3, 3\), expected \(18, 36, 3, 3\)",
        ),
        (
            _put(E + "hr_encoder.model.encoder.blocks.0.weight", 64, 10, 3, 3),
            "NetworkConfig.positional must be an integer of at least 1",
        ),
    ],
)
def test_damaged_state_is_refused(
    tmp_path: Path, damage: Callable[[dict[str, Tensor]], None], match: str
) -> None:
    state = _state()
    damage(state)
    with pytest.raises(ModelError, match=match):
        load_model(_ckpt(tmp_path / "damaged.ckpt", state), YAML)


def test_missing_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"checkpoint .*none.ckpt does not exist"):
        load_model(tmp_path / "none.ckpt")
    with pytest.raises(SourceNotFoundError, match=r"config .*none.yaml does not exist"):
        load_model(CKPT, tmp_path / "none.yaml")
    with pytest.raises(SourceNotFoundError, match=r"file .* does not exist"):
        content_hash(tmp_path / "none")
    with pytest.raises(ModelError, match="is a folder"):
        load_model(tmp_path)


@pytest.mark.parametrize("kept", [0, 10, 5000, 600_000])
def test_truncated_files_are_refused(tmp_path: Path, small: Tamrf, kept: int) -> None:
    ckpt, ours = tmp_path / "cut.ckpt", tmp_path / "cut.safetensors"
    ckpt.write_bytes(CKPT.read_bytes()[:kept])
    ours.write_bytes(model_bytes(small)[:kept])
    with pytest.raises(ModelError, match=r"cannot be read as a PyTorch checkpoint"):
        load_model(ckpt)
    with pytest.raises(ModelError, match="is not a whole safetensors file"):
        load_model(ours)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    path.write_text("not a checkpoint, but long enough to look at\n" * 40)
    with pytest.raises(ModelError, match="corrupt, cut short or of another kind"):
        load_model(path)
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match=r"expected .* 'state_dict', found \['weights'\]"):
        load_model(path)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(ModelError, match="found list"):
        load_model(path)
    torch.save({"state_dict": {}, "callback": Path("x")}, path)
    with pytest.raises(ModelError, match="weights alone"):
        load_model(path)


def test_other_configs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: [1, 2")
    with pytest.raises(ModelError, match="is not YAML"):
        load_model(CKPT, path)
    path.write_text("- 1\n")
    with pytest.raises(ModelError, match="holds a list, expected a mapping"):
        load_model(CKPT, path)


def test_safetensors_of_others_are_refused(tmp_path: Path, small: Tamrf) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="no 'tamrf_xr' entry in its header"):
        load_model(path)
    header = {"format": 99, "config": {}}
    save_file({"a": torch.zeros(1)}, path, metadata={"tamrf_xr": json.dumps(header)})
    with pytest.raises(ModelError, match="format 99, this version reads 1"):
        load_model(path)
    header = {"format": 1, "config": {"latent": 4, "colour": 1}}
    save_file({"a": torch.zeros(1)}, path, metadata={"tamrf_xr": json.dumps(header)})
    with pytest.raises(ModelError, match=r"unknown \['colour'\]"):
        load_model(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"tamrf_xr": "{"})
    with pytest.raises(ModelError, match="header is damaged"):
        load_model(path)


def test_save_then_load_is_bit_identical(tmp_path: Path, small: Tamrf) -> None:
    path = save_model(small, tmp_path / "small.safetensors", metadata={"source": "oracle"})
    again = load_model(path)
    assert again.config == small.config
    expected = small.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in again.state_dict().items())
    assert torch.equal(_predict(again), _predict(small))
    beside = json.loads(path.with_suffix(".json").read_text())
    assert beside["config"]["latent"] == 16
    assert beside["metadata"] == {"source": "oracle"}
    assert beside["sha256"] == content_hash(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.json", "small.safetensors"]


def test_bytes_round_trip_and_are_reproducible(small: Tamrf) -> None:
    data = model_bytes(small)
    assert model_bytes(model_from_bytes(data)) == data
    assert content_hash(data) == content_hash(model_bytes(small))
    assert torch.equal(_predict(model_from_bytes(data)), _predict(small))
    with pytest.raises(ModelError, match="a model of 100 bytes is not a whole"):
        model_from_bytes(data[:100])


@pytest.mark.parametrize("token", [0, 4])
def test_networks_of_other_sizes_round_trip(token: int) -> None:
    config = NetworkConfig(
        hr_bands=2, lr_bands=1, latent=4, growth=3, num_blocks=0, positional=4,
        sensor_token=token, num_layers=0, ratio=2
    )  # fmt: skip
    model = network(config)
    again = model_from_bytes(model_bytes(model))
    assert again.config == config
    assert torch.equal(_predict(again), _predict(model))


def test_checkpoint_without_sensor_tokens(tmp_path: Path) -> None:
    """The published ablation S = 0: tokens absent, or empty."""
    state = _state()
    for key in [key for key in state if key.endswith("sensor_token")]:
        del state[key]
    model = load_model(_ckpt(tmp_path / "none.ckpt", state))
    assert (model.config.sensor_token, model.config.positional) == (0, 20)


def test_existing_output_is_kept_unless_asked(tmp_path: Path, small: Tamrf) -> None:
    path = save_model(small, tmp_path / "a.safetensors")
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="pass overwrite=True"):
        save_model(small, path)
    save_model(network(small.config), path, overwrite=True)
    assert path.read_bytes() != before


def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, small: Tamrf, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_model(small, tmp_path / "a.safetensors")
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint_module.os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        save_model(network(small.config), path, overwrite=True)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.safetensors"]


def test_bad_targets_are_refused(tmp_path: Path, small: Tamrf) -> None:
    with pytest.raises(ModelError, match=r"must end in \.safetensors"):
        save_model(small, tmp_path / "a.pt")
    with pytest.raises(SourceNotFoundError, match=r"folder .* does not exist"):
        save_model(small, tmp_path / "none" / "a.safetensors")
    with pytest.raises(ModelError, match="metadata of a model must be JSON"):
        save_model(small, tmp_path / "a.safetensors", metadata={"x": np.zeros(1)})
    assert not list(tmp_path.iterdir())

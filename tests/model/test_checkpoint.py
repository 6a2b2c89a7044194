"""Checkpoints: what is read is what was written, and every bad one says what is wrong."""

from __future__ import annotations

import copy
import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from networks import SMALL, network, series, shared
from safetensors.torch import save, save_file
from torch import Tensor

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.errors import ModelError, OutputExistsError, SourceNotFoundError
from tamrf_xr.model import files
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

    monkeypatch.setattr(files.os, "fsync", full)
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


BLOCKS = "encoder.model.encoder.blocks."


def _deeper(state: dict[str, Tensor], sensor: str) -> None:
    """Give one encoder a second block, with weights of its own."""
    prefix = f"{E}{sensor}_{BLOCKS}"
    for name in ("weight", "bias"):
        state[f"{prefix}3.{name}"] = state.pop(f"{prefix}2.{name}")
    for key in [key for key in state if key.startswith(f"{prefix}1.")]:
        state[key.replace(f"{prefix}1.", f"{prefix}2.")] = state[key] * 0.9


def _set(config: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *parents, last = path.split(".")
    node = config
    for key in parents:
        node = node[key]
    node[last] = value
    return config


@pytest.mark.parametrize(("sensor", "depths"), [("hr", (2, 1)), ("lr", (1, 2))])
def test_encoders_may_differ_in_depth(tmp_path: Path, sensor: str, depths: tuple[int, int]) -> None:
    state = _state()
    _deeper(state, sensor)
    path = _ckpt(tmp_path / "deeper.ckpt", state)
    config = _set(_config(), f"{sensor}_encoder.model.model.num_basic_blocks", 2)
    model = load_model(path, config)
    assert (model.config.num_blocks, model.config.lr_blocks) == depths
    encoder = model.get_submodule(f"{sensor}_encoder")
    key = f"{E}{sensor}_{BLOCKS}2.module.block_0.module.module.4.conv.weight"
    assert torch.equal(encoder.blocks[1].dense[0].convs[4].weight, state[key])
    again = model_from_bytes(model_bytes(model))
    assert again.config == model.config
    assert torch.equal(_predict(again), _predict(model))
    with pytest.raises(ModelError, match=rf"{sensor}_encoder.*num_basic_blocks: .* has 2"):
        load_model(path, _config())


def test_equal_depths_are_written_as_before(small: Tamrf) -> None:
    assert b"lr_num_blocks" not in model_bytes(small)


DENSE = f"{E}hr_{BLOCKS}1.module.block_"


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        (f"{DENSE}0.module.module.5.conv.weight", (8, 56, 3, 3)),
        (f"{DENSE}3.module.module.0.conv.weight", (8, 16, 3, 3)),
        (f"{DENSE}0.norm.weight", (16,)),
        (f"{E}lr_encoder.model.upsampling.1.block.0.weight", (16, 16, 3, 3)),
        (f"{E}hr_encoder.model.upsampling.0.block.0.weight", (64, 16, 3, 3)),
        ("the_modules.decoder.attention.attention.bias_k", (1, 1, 36)),
        ("the_modules.decoder.attention.norm3.weight", (36,)),
        ("the_modules.decoder.decoder.model.decoder.4.weight", (18, 18, 3, 3)),
        (f"{E}transformer_encoder.transformer_encoder.norm.weight", (36,)),
        (f"{E}temporal_positional_encoder.weight", (365, 16)),
    ],
)
def test_weights_that_are_not_computed_with_are_refused(
    tmp_path: Path, key: str, shape: tuple[int, ...]
) -> None:
    state = _state() | {key: torch.zeros(shape)}
    with pytest.raises(ModelError, match=f"has {re.escape(key)}, which this network does not"):
        load_model(_ckpt(tmp_path / "more.ckpt", state), YAML)


def test_keys_that_are_one_without_infix_are_refused(tmp_path: Path) -> None:
    state = _state() | {"the_modules.decoder._orig_mod.query_sensor_token": torch.ones(4)}
    with pytest.raises(ModelError, match="query_sensor_token twice"):
        load_model(_ckpt(tmp_path / "twice.ckpt", state))


ENCODER = "training_module.training_module.encoder"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("positional_encoding.model.div", 1000),
        ("positional_encoding.model.mode", "ADD"),
        ("positional_encoding.model.offset", 10),
        ("positional_encoding.model._target_", "tamrfsits.x.LearnablePositionalEncoder"),
        ("positional_encoding.model.learnable", True),
        ("lr_encoder.model.model.upsampling_mode", "pixel_shuffle"),
        ("hr_encoder.model.model.upsampling_factor", 2),
        ("lr_encoder.model.model._target_", "tamrfsits.core.unet.UNetEncoder"),
        ("hr_encoder.model.model.kernel_size", 5),
        ("decoder.model.model._target_", "tamrfsits.core.other.Decoder"),
        (f"{ENCODER}.norm_first", True),
        (f"{ENCODER}._target_", "tamrfsits.components.transformer.OtherEncoder"),
        (f"{ENCODER}.hr_encoder", {"_target_": "tamrfsits.x.Unet", "model": None}),
        ("training_module.training_module.decoder.nb_layers", 2),
    ],
)
def test_configs_of_what_is_not_computed_are_refused(path: str, value: object) -> None:
    with pytest.raises(ModelError, match=f"its config has {re.escape(path)}"):
        load_model(CKPT, _set(_config(), path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("positional_encoding.model.offset", 0),
        ("positional_encoding.model.div", 365),
        (f"{ENCODER}.dropout", 0.2),
        (f"{ENCODER}.norm_first", False),
        (f"{ENCODER}.activation", None),
        ("hr_encoder.model.model.upsampling_mode", "bicubic"),
        ("training_module.training_module.decoder.nb_layers", 1),
    ],
)
def test_configs_that_change_nothing_are_read(path: str, value: object, small: Tamrf) -> None:
    assert load_model(CKPT, _set(_config(), path, value)).config == small.config


TOKEN = "the_modules.decoder.query_sensor_token"


@pytest.mark.parametrize(
    ("key", "values", "match"),
    [
        (TOKEN, torch.tensor([0, float("nan"), 0, 0]), "1 of 4 values that are not finite"),
        (TOKEN, torch.tensor([0, 0, 0, -float("inf")]), "the first -inf"),
        (TOKEN, torch.tensor([0, 0, 0, 1e300], dtype=torch.float64), r"the first 1e\+300"),
        (TOKEN, torch.zeros(4, dtype=torch.int8), "query_token is int8; expected floating"),
        (TOKEN, torch.zeros(4, dtype=torch.complex64), "query_token is complex64"),
        (TOKEN, torch.zeros(4, dtype=torch.bool), "query_token is bool"),
        ("hr_std", torch.tensor([0.1] * 9 + [0.0]), "hr_std is .*expected values above 0"),
        ("lr_std", torch.tensor([-0.1] * 8), "lr_std is .*expected values above 0"),
        ("hr_mean", torch.full((10,), float("nan")), "hr_mean holds 10 of 10"),
    ],
)
def test_weights_that_give_no_numbers_are_refused(
    tmp_path: Path, key: str, values: Tensor, match: str
) -> None:
    state = _state() | {key: values}
    path = _ckpt(tmp_path / "bad.ckpt", state)
    with pytest.raises(ModelError, match=match):
        load_model(path)
    out = tmp_path / "out.safetensors"
    assert main(["weights", "convert", str(path), str(out)]) == 1
    assert not out.exists()


def test_a_scalar_that_is_not_finite_is_refused(tmp_path: Path, small: Tamrf) -> None:
    with torch.no_grad():
        model = copy.deepcopy(small)
        model.hr_encoder.blocks[0].scale.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"hr_encoder.blocks.0.scale holds 1 of 1"):
        load_model(save_model(model, tmp_path / "a.safetensors"))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_is_read(tmp_path: Path, kind: torch.dtype) -> None:
    state = {key: value.to(kind) for key, value in _state().items()}
    model = load_model(_ckpt(tmp_path / "half.ckpt", state))
    assert model.query_token.dtype == torch.float32


def test_the_sha256_beside_a_file_is_compared(tmp_path: Path, small: Tamrf) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(CKPT.read_bytes())
    listed = tmp_path / "a.ckpt.sha256"
    for line in (f"{content_hash(path)}  a.ckpt\n", content_hash(path).upper()):
        listed.write_text(line)
        load_model(path, YAML)
    listed.write_text("0" * 64 + "  a.ckpt\n")
    with pytest.raises(ModelError, match=r"SHA-256 .* expected 0000000000000000\.\.\. by .*sha256"):
        load_model(path, YAML)
    listed.write_text("nothing\n")
    with pytest.raises(ModelError, match="holds no SHA-256 of a"):
        load_model(path, YAML)


def test_the_sha256_of_our_own_json_is_compared(tmp_path: Path, small: Tamrf) -> None:
    path = save_model(small, tmp_path / "a.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"SHA-256 .* by .*a\.json: it was changed or damaged"):
        load_model(path)
    path.with_suffix(".json").write_text("not ours")
    load_model(path)


@pytest.mark.parametrize("moment", ["weights", "copy"])
def test_killed_between_its_two_files_a_save_leaves_what_loads(
    tmp_path: Path, small: Tamrf, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_model(small, tmp_path / "a.safetensors")
    ends = {"weights": ".safetensors", "copy": ".json"}[moment]
    real = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if str(target).endswith(ends):
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_model(network(small.config), path, overwrite=True)
    monkeypatch.undo()
    load_model(path)


def test_a_header_of_ten_million_layers_is_refused_at_once(small: Tamrf) -> None:
    state = {key: value.contiguous() for key, value in small.state_dict().items()}
    for name, value, match in (
        ("num_layers", 10**7, "must be at most 256"),
        ("num_layers", 200, "its header says num_layers=200, its tensors are of 2"),
        ("lr_num_blocks", 40, "its header says lr_num_blocks=40, its tensors are of 1"),
        ("latent", 10**9, "must be at most"),
    ):
        sizes = {k: v for k, v in asdict(small.config).items() if v is not None} | {name: value}
        header = json.dumps({"format": 1, "config": sizes, "metadata": {}})
        with pytest.raises(ModelError, match=match):
            model_from_bytes(save(state, metadata={"tamrf_xr": header}))


def test_nobody_is_told_to_run_the_code_of_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "code.ckpt"
    torch.save({"state_dict": {}, "callback": Path("x")}, path)
    with pytest.raises(ModelError, match=r"it holds .*Path, which is code and not weights") as told:
        load_model(path)
    assert "weights_only" not in str(told.value)
    assert "likely succeed" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\n" + "".join(
            f"c{i}: &c{i} [{', '.join([f'*c{i - 1}' if i else '*b'] * 9)}]\n" for i in range(9)
        ), "aliases stand for more"),
        ("a: 1\na: 2\n", "the key 'a' is there twice"),
        ("a: 2022-13-45\n", "a value that cannot be"),
        ("[" * 3000, "is not YAML"),
        ("a: &a {b: *a}\n", "refers to itself"),
    ],
)  # fmt: skip
def test_yaml_that_harms_is_refused(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ModelError, match=match):
        load_model(CKPT, path)


def test_the_weights_that_ship_are_loaded_by_name():
    path = Path(tamrf_xr.__file__).parent / "weights" / "default.safetensors"
    named, there = load_model("default").state_dict(), load_model(path).state_dict()
    assert named.keys() == there.keys()
    assert all(torch.equal(value, there[name]) for name, value in named.items())

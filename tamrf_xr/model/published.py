"""The layout of published checkpoints and of the composed YAML of their runs."""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from tamrf_xr.errors import ModelError
from tamrf_xr.model import composed
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.scrutiny import UNREADABLE, why_unreadable

_log = logging.getLogger(__name__)

_DENSE: Final = r"module\.block_(\d+)"
_RENAMES: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(hr|lr)_(?:mean|std|mtf|resolution)", r"\g<0>"),
        (r"the_modules\.encoder\.(hr|lr)_sensor_token", r"\1_token"),
        (
            r"the_modules\.encoder\.(hr|lr)_encoder\.model\.upsampling\.0\.block\.0\.(\w+)",
            r"\1_encoder.up.\2",
        ),
        (
            r"the_modules\.encoder\.transformer_encoder\.transformer_encoder\.layers\.(.+)",
            r"layers.\1",
        ),
        (r"the_modules\.decoder\.imputer\.default_token", "query_latent"),
        (r"the_modules\.decoder\.query_sensor_token", "query_token"),
        (r"the_modules\.decoder\.attention\.(attention\..+)", r"decoder.\1"),
        (r"the_modules\.decoder\.attention\.((?:norm|linear)[12]\.\w+)", r"decoder.\1"),
        (r"the_modules\.decoder\.decoder\.model\.decoder\.0\.(\w+)", r"out1.\1"),
        (r"the_modules\.decoder\.decoder\.model\.decoder\.2\.(\w+)", r"out2.\1"),
    )
)
_BLOCK: Final = re.compile(
    r"the_modules\.encoder\.(hr|lr)_encoder\.model\.encoder\.blocks\.(\d+)\.(.+)"
)
_INSIDE_BLOCK: Final = (
    (re.compile(r"scale"), "scale"),
    (re.compile(_DENSE + r"\.scale"), r"dense.\1.scale"),
    (re.compile(_DENSE + r"\.module\.module\.(\d+)\.conv\.(\w+)"), r"dense.\1.convs.\2.\3"),
)

_CHECKS: Final = {
    "datamodule.nb_hr_channels": "hr_bands",
    "datamodule.nb_lr_channels": "lr_bands",
    "datamodule.hr_lr_resolution_ratio": "ratio",
    "hr_encoder.model.model.in_nb_bands": "hr_bands",
    "hr_encoder.model.model.latent_size": "latent",
    "hr_encoder.model.model.growth_channels": "growth",
    "hr_encoder.model.model.num_basic_blocks": "num_blocks",
    "lr_encoder.model.model.in_nb_bands": "lr_bands",
    "lr_encoder.model.model.latent_size": "latent",
    "lr_encoder.model.model.growth_channels": "growth",
    "lr_encoder.model.model.num_basic_blocks": "lr_blocks",
    "lr_encoder.model.model.upsampling_factor": "ratio",
    "positional_encoding.model.nb_features": "positional",
    "decoder.model.model.latent_size": "width",
    "decoder.model.model.out_nb_bands": "bands",
    "training_module.training_module.encoder.token_size": "latent",
    "training_module.training_module.encoder.nb_heads": "num_heads",
    "training_module.training_module.encoder.nb_layers": "num_layers",
    "training_module.training_module.encoder.dim_feedforward": "feedforward",
    "training_module.training_module.encoder.sensor_token_size": "sensor_token",
    "training_module.training_module.decoder.token_size": "latent",
    "training_module.training_module.decoder.nb_heads": "decoder_heads",
    "training_module.training_module.decoder.sensor_token_size": "sensor_token",
}
"""Where the composed YAML states what the shapes of the checkpoint also tell."""

_STATISTICS: Final = {
    f"training_module.parameters.{group}.{name}": name
    for group, kind in (("standardization", ("mean", "std")), ("mtfs", ("resolution",)))
    for name in (f"{sensor}_{k}" for sensor in ("hr", "lr") for k in kind)
}

_OURS: Final = ("the_modules.encoder.", "the_modules.decoder.")
_SHOWN: Final = 5

_HEADS: Final = {
    "num_heads": "training_module.training_module.encoder.nb_heads",
    "decoder_heads": "training_module.training_module.decoder.nb_heads",
}
_RATIO: Final = "lr_encoder.model.model.upsampling_factor"
_DEFAULT_HEADS: Final = 4


def rename(state: Iterable[str], *, where: str) -> dict[str, str]:
    """Find the weights of `Tamrf` among the keys of a published checkpoint.

    Parameters
    ----------
    state
        Keys of its ``state_dict``; a ``._orig_mod`` infix may stand anywhere.
    where
        The checkpoint, for messages.

    Returns
    -------
    dict of str to str
        Per name in the network, the key. Keys of something else (losses) are left out, with a
        debug log.

    Raises
    ------
    ModelError
        If a key of the encoder or the decoder is of something that this network does not
        compute, or two keys are the same but for ``._orig_mod``.
    """
    clean: dict[str, str] = {}
    for key in state:
        plain = key.replace("._orig_mod", "").removeprefix("_orig_mod.")
        if plain in clean:
            raise ModelError(
                f"{where} has {plain} twice, as {clean[plain]} and {key}; remove one of them"
            )
        clean[plain] = key
    last = _last_blocks(clean)
    named = {name: key for key in clean if (name := _name_of(key, last)) is not None}
    foreign = sorted(set(clean) - set(named.values()))
    refuse_foreign([key for key in foreign if key.startswith(_OURS)], where=where)
    if foreign:
        _log.debug("ignored %d foreign keys of the checkpoint: %s", len(foreign), foreign)
    return {name: clean[key] for name, key in named.items()}


def refuse_foreign(keys: Sequence[str], *, where: str) -> None:
    """Refuse keys of parts that the network does not have: without them it would be another.

    Raises
    ------
    ModelError
        If there are any.
    """
    if keys:
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        raise ModelError(
            f"{where} has {', '.join(sorted(keys)[:_SHOWN])}{more}, which this network does not "
            "compute: its results would be wrong without; it is of another network"
        )


def unstated(config: Mapping[str, Any] | None) -> dict[str, int]:
    """Return the fields of `NetworkConfig` that no shape tells: heads, and the ratio if stated.

    Parameters
    ----------
    config
        Composed YAML of the run; None for the published defaults.

    Returns
    -------
    dict of str to int
        4 heads where the YAML does not say (or says it by an interpolation of something absent).
    """
    if config is None:
        return dict.fromkeys(_HEADS, _DEFAULT_HEADS)
    found = {field: lookup(config, path) for field, path in _HEADS.items()}
    for field, value in found.items():
        if value is None:
            _log.warning("%s is not stated by the config: taken as 4", _HEADS[field])
    sizes = {k: _DEFAULT_HEADS if v is None else _integer(v, _HEADS[k]) for k, v in found.items()}
    ratio = lookup(config, _RATIO)
    return sizes if ratio is None else sizes | {"ratio": _integer(ratio, _RATIO)}


def cross_check(
    config: Mapping[str, Any], network: NetworkConfig, state: Mapping[str, Tensor], *, where: str
) -> None:
    """Refuse a checkpoint whose shapes or statistics contradict the YAML of its run.

    Parameters
    ----------
    config
        Composed YAML of the run; values that are absent or unresolved are not checked.
    network
        Sizes read off the checkpoint.
    state
        Its weights, under the names of `Tamrf`.
    where
        The checkpoint, for the message.

    Raises
    ------
    ModelError
        Naming the key, what the checkpoint has, what the configuration has, and the way out.
    """
    vacuous = {"growth"} if not (network.num_blocks or network.lr_blocks) else set()
    vacuous |= {"feedforward"} if not network.num_layers else set()
    for path, field in _CHECKS.items():
        stated, found = lookup(config, path), getattr(network, field)
        if field in vacuous:
            continue
        if stated is not None and stated != found:
            raise _contradiction(where, path, found, stated)
    for path, name in _STATISTICS.items():
        stated, values = lookup(config, path), state[name].tolist()
        if isinstance(stated, list) and not _close(stated, values):
            raise _contradiction(where, path, values, stated)


def without_statistics(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration that says nothing of the statistics of bands."""
    training = config.get("training_module")
    parameters = training.get("parameters") if isinstance(training, Mapping) else None
    if not isinstance(training, Mapping) or not isinstance(parameters, Mapping):
        return config
    kept = {name: value for name, value in parameters.items() if name != "standardization"}
    return {**config, "training_module": {**training, "parameters": kept}}


def tell_of_statistics(
    config: Mapping[str, Any], state: Mapping[str, Tensor], *, where: str
) -> None:
    """Warn where a configuration states other statistics than the checkpoint that is used."""
    for path, name in _STATISTICS.items():
        stated, values = lookup(config, path), state[name].tolist()
        if isinstance(stated, list) and not _close(stated, values):
            _log.warning(
                "%s: its %s is used, %s; the config says %s, of another version of the code",
                *(where, name, [round(value, 4) for value in values], stated),
            )


def check_computed(config: Mapping[str, Any], *, where: str) -> None:
    """Refuse a YAML that tells of a network which is not computed here; see `composed`.

    Raises
    ------
    ModelError
        Naming the key, its value, and what is computed.
    """
    composed.check_computed(lambda path: lookup(config, path), where=where)


def lookup(config: Mapping[str, Any], path: str, *, depth: int = 8) -> Any:
    """Return the value at a dotted path, following ``${...}``; None if absent or unresolvable."""
    node: Any = config
    for key in path.split("."):
        node = _resolve(config, node, depth)
        if not isinstance(node, Mapping):
            return None
        node = node.get(key)
    return _resolve(config, node, depth)


def _resolve(config: Mapping[str, Any], node: Any, depth: int) -> Any:
    if not isinstance(node, str) or "${" not in node:
        return node
    whole = re.fullmatch(r"\$\{([\w.]+)\}", node)
    if whole is None or not depth:  # a resolver, a mixture of text, or a circle
        return None
    return lookup(config, whole[1], depth=depth - 1)


def _integer(value: Any, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ModelError(f"the config's {path} must be an integer, got {value!r}; correct the YAML")
    return value


def _close(a: list[Any], b: list[float]) -> bool:
    if len(a) != len(b):
        return False
    return all(
        isinstance(x, int | float) and math.isclose(x, y, rel_tol=1e-4, abs_tol=1e-7)
        for x, y in zip(a, b, strict=True)
    )


def _contradiction(where: str, path: str, found: object, expected: object) -> ModelError:
    return ModelError(
        f"{where} contradicts its config at {path}: the checkpoint has {found}, the config says "
        f"{expected}; give the config of the same run, or none"
    )


def _last_blocks(keys: Mapping[str, str]) -> dict[str, int]:
    """Return, per sensor, the index of the last entry of its encoder: a plain convolution."""
    matches = [match for key in keys if (match := _BLOCK.fullmatch(key))]
    return {s: max(int(m[2]) for m in matches if m[1] == s) for s in {m[1] for m in matches}}


def _name_of(key: str, last: Mapping[str, int]) -> str | None:
    block = _BLOCK.fullmatch(key)
    if block is not None:
        return _block_name(block[1], int(block[2]), block[3], last=last[block[1]])
    for pattern, replacement in _RENAMES:
        match = pattern.fullmatch(key)
        if match:
            return match.expand(replacement)
    return None


def _block_name(sensor: str, index: int, inside: str, *, last: int) -> str | None:
    if inside in {"weight", "bias"}:
        part = {0: "first", last: "last"}.get(index)
        return part and f"{sensor}_encoder.{part}.{inside}"
    for pattern, replacement in _INSIDE_BLOCK:
        match = pattern.fullmatch(inside)
        if match:
            return f"{sensor}_encoder.blocks.{index - 1}.{match.expand(replacement)}"
    return None


def read_state(data: bytes, *, where: str) -> dict[str, Tensor]:
    """Read the tensors of a Lightning checkpoint, by name.

    Raises
    ------
    ModelError
        If it is none, or is damaged.
    """
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ModelError(
            f"{where} ({len(data)} bytes) cannot be read as a PyTorch checkpoint of weights "
            f"alone: {why_unreadable(error)}; it is corrupt, cut short or of another kind: fetch "
            "it again, or save its state_dict alone"
        ) from None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ModelError(
            f"{where} is no Lightning checkpoint: expected a dictionary with the key 'state_dict', "
            f"found {found}"
        )
    return {str(key): value for key, value in state.items() if isinstance(value, Tensor)}

"""What the composed YAML of a published run may say of its network, for us to compute it.

A key that is not in these tables may change the function; so it is refused, unless its value
switches something off. Sizes are checked against the checkpoint elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from tamrf_xr.errors import ModelError

_SIZES: Final[frozenset[Any]] = frozenset()
"""Of a key that states a size: any value, checked against the tensors."""

Allowed = Mapping[str, frozenset[Any]]
Lookup = Callable[[str], Any]

_DATEWISE: Final[Allowed] = {"_target_": frozenset({"DateWiseSITSModule"}), "model": _SIZES}
_SPATIAL: Final[Allowed] = {
    "_target_": frozenset({"ESRSpatialEncoder"}),
    "in_nb_bands": _SIZES,
    "latent_size": _SIZES,
    "num_basic_blocks": _SIZES,
    "growth_channels": _SIZES,
    "residual_scaling": _SIZES,  # where training began: the checkpoint has the values
    "upsampling_factor": _SIZES,
    "upsampling_base": _SIZES,
    "upsampling_mode": _SIZES,
}
_SECTIONS: Final[Mapping[str, Allowed]] = {
    "hr_encoder.model": _DATEWISE,
    "lr_encoder.model": _DATEWISE,
    "decoder.model": _DATEWISE,
    "hr_encoder.model.model": {**_SPATIAL, "upsampling_factor": frozenset({1})},
    "lr_encoder.model.model": {**_SPATIAL, "upsampling_mode": frozenset({"bicubic"})},
    "decoder.model.model": {
        "_target_": frozenset({"ESRSpatialDecoder"}),
        "latent_size": _SIZES,
        "out_nb_bands": _SIZES,
    },
    "positional_encoding.model": {
        "_target_": frozenset({"FixedPositionalEncoder"}),
        "nb_features": _SIZES,
        "mode": frozenset({"CONCAT"}),
        "div": frozenset({365}),
        "offset": frozenset({0}),
    },
    "training_module.training_module.encoder": {
        "_target_": frozenset({"TemporalEncoder"}),
        "hr_encoder": _SIZES,
        "lr_encoder": _SIZES,
        "temporal_positional_encoder": _SIZES,
        "token_size": _SIZES,
        "nb_heads": _SIZES,
        "nb_layers": _SIZES,
        "dim_feedforward": _SIZES,
        "sensor_token_size": _SIZES,
    },
    "training_module.training_module.decoder": {
        "_target_": frozenset({"TemporalDecoder"}),
        "decoder": _SIZES,
        "temporal_positional_encoder": _SIZES,
        "token_size": _SIZES,
        "nb_heads": _SIZES,
        "nb_layers": frozenset({1}),
        "dim_feedforward": _SIZES,
        "sensor_token_size": _SIZES,
    },
}
_REFERENCES: Final = {
    "training_module.training_module.encoder.hr_encoder": "hr_encoder.model",
    "training_module.training_module.encoder.lr_encoder": "lr_encoder.model",
    "training_module.training_module.encoder.temporal_positional_encoder": (
        "positional_encoding.model"
    ),
    "training_module.training_module.decoder.decoder": "decoder.model",
    "training_module.training_module.decoder.temporal_positional_encoder": (
        "positional_encoding.model"
    ),
}
"""Parts that the network names by ``${...}``, or that a YAML may hold in place."""

_HARMLESS: Final = re.compile(r".*dropout.*")
"""Acts in training alone."""


def check_computed(lookup: Lookup, *, where: str) -> None:
    """Refuse a configuration of a network that is not the one computed here.

    Parameters
    ----------
    lookup
        Gives the value at a dotted path of the YAML, interpolations followed; None if there is
        none, or it cannot be told.
    where
        The checkpoint, for messages.

    Raises
    ------
    ModelError
        Naming the key, its value, and what is computed.
    """
    for path, allowed in _sections():
        section = lookup(path)
        for key in section if isinstance(section, Mapping) else ():
            _check(f"{path}.{key}", lookup(f"{path}.{key}"), allowed.get(str(key)), where)
    for sensor in ("hr", "lr"):
        _check_upsampling(lookup, f"{sensor}_encoder.model.model", where)


def _sections() -> Iterator[tuple[str, Allowed]]:
    yield from _SECTIONS.items()
    for place, part in _REFERENCES.items():
        for path, allowed in _SECTIONS.items():
            if path == part or path.startswith(part + "."):
                yield place + path.removeprefix(part), allowed


def _check(path: str, value: Any, allowed: frozenset[Any] | None, where: str) -> None:
    key = path.rpartition(".")[2]
    if value is None:
        return
    if allowed is None:
        if value is not False and not _HARMLESS.fullmatch(key):
            raise ModelError(
                f"{where}: its config has {path}: {value!r:.80}, which this network does not know; "
                "if it changes nothing in the network, remove it from the YAML"
            )
        return
    told = value.rpartition(".")[2] if key == "_target_" and isinstance(value, str) else value
    if allowed and not _among(told, allowed):
        raise ModelError(
            f"{where}: its config has {path}: {value!r:.80}; computed here is "
            f"{', '.join(map(str, allowed))} alone: it is of another network"
        )


def _among(value: Any, allowed: frozenset[Any]) -> bool:
    return not isinstance(value, bool | list | Mapping) and value in allowed


def _check_upsampling(lookup: Lookup, path: str, where: str) -> None:
    """Refuse upsampling in several steps, each with a convolution of its own."""
    factor, base = (lookup(f"{path}.upsampling_{name}") for name in ("factor", "base"))
    if isinstance(base, int) and isinstance(factor, int) and factor > base:
        raise ModelError(
            f"{where}: its config has {path}.upsampling_base: {base!r} and a factor of {factor!r}: "
            "computed here is one step, base and factor the same; it is of another network"
        )

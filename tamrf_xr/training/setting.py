"""How a training run is set: YAML files and dotted overrides, merged into its sections."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from tamrf_xr.errors import OptionError
from tamrf_xr.paths import local_path
from tamrf_xr.plain_yaml import load_yaml, one_line
from tamrf_xr.replacing import fresh_file
from tamrf_xr.training.config import TrainConfig

Section = TypeVar("Section")


def override(config: TrainConfig, words: Sequence[str]) -> TrainConfig:
    """Return a configuration with some values replaced.

    Parameters
    ----------
    config
        Where the other values come from.
    words
        Such as ``"optim.lr=3e-4"`` or ``"data=cubes/*.zarr"``, which stands for ``data.cubes``.

    Raises
    ------
    OptionError
        If a name does not exist (those that do are listed) or a value has the wrong type.
    """
    tree: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise OptionError(f"{word!r} sets nothing; write NAME=VALUE, such as optim.lr=1e-4")
        *sections, key = ("data.cubes" if name == "data" else name).split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
            if not isinstance(branch, dict):
                raise OptionError(f"{section} is set to {branch!r} and {name} too; keep one")
        branch[key] = text.split(",") if key == "cubes" else _value(name, text)
    return merge(config, tree)


def _value(name: str, text: str) -> Any:
    try:
        return load_yaml(text)
    except yaml.YAMLError as error:
        raise OptionError(f"{name}={text!r:.80} is no YAML value ({one_line(error)})") from error


def read_config(path: str | Path, base: TrainConfig) -> TrainConfig:
    """Return `base` with the values that a YAML file names.

    Raises
    ------
    OptionError
        If the file is not there, is no mapping, or names what does not exist.
    """
    try:
        tree = load_yaml(local_path(path, "configuration").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise OptionError(f"cannot read the configuration {path}: {one_line(error)}") from error
    if not isinstance(tree, Mapping):
        kind = type(tree).__name__
        raise OptionError(f"{path} must hold sections ({', '.join(_names(base))}), got a {kind}")
    return merge(base, tree)


def merge(config: Section, tree: Mapping[str, Any], *, where: str = "") -> Section:
    """Return a (nested) dataclass with values replaced; see `override`."""
    types_of = typing.get_type_hints(type(config))
    values = {}
    for key, value in tree.items():
        name = f"{where}{key}"
        if key not in types_of:
            raise OptionError(_unknown(name, str(key), _names(config), where))
        current = getattr(config, key)
        if not is_dataclass(current):
            values[key] = _typed(name, value, types_of[key])
        elif isinstance(value, Mapping):
            values[key] = merge(current, value, where=f"{name}.")
        else:
            inner = ", ".join(f"{name}.{inner}" for inner in _names(current))
            raise OptionError(f"{name} is a section: set one of its values ({inner})")
    return replace(config, **values)  # type: ignore[type-var]


def as_tree(config: TrainConfig) -> dict[str, Any]:
    """Return a configuration as plain values, for YAML and JSON."""
    tree = dataclasses.asdict(config)
    del tree["model"]["streams"], tree["model"]["sar_bands"]  # no other stream is trained
    tree["data"] |= {name: list(tree["data"][name]) for name in ("cubes", "mix", "leave_out")}
    return tree


def write_config(config: TrainConfig, path: Path) -> None:
    """Write a configuration as YAML, whole or not at all."""
    with fresh_file(path) as partial:
        partial.write_text(yaml.safe_dump(as_tree(config), sort_keys=False))


def _names(config: Any) -> list[str]:
    return [item.name for item in fields(config)]


def _unknown(name: str, key: str, names: Sequence[str], where: str) -> str:
    near = difflib.get_close_matches(key, names, n=1)
    guess = f"; did you mean {where}{near[0]}?" if near else ""
    section = where.rstrip(".") or "the configuration"
    return f"there is no {name!r}; {section} has: {', '.join(names)}{guess}"


def _typed(name: str, value: Any, wanted: Any) -> Any:
    origin, kinds = get_origin(wanted), get_args(wanted)
    if origin in {Union, types.UnionType}:
        return None if value is None else _typed(name, value, kinds[0])
    if origin is Literal:
        # YAML reads a bare off, as in loss.perceptual=off, as False.
        return "off" if value is False and "off" in kinds else value
    if origin is tuple:
        if not isinstance(value, str | list | tuple):
            raise OptionError(f"{name} is {value!r:.80}; expected one or more, as a list")
        parts = [value] if isinstance(value, str) else value
        return tuple(_typed(name, part, kinds[0]) for part in parts)
    value = _number(value) if wanted is float else value
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise OptionError(f"{name} is {value!r:.80}; expected {wanted.__name__}")
    return value


def _number(value: Any) -> Any:
    # YAML 1.1 reads 1e-4 as text.
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return value

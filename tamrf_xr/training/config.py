"""What a training run is made of: typed sections, YAML files, overrides by dotted name."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from tamrf_xr.errors import OptionError
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.paths import local_path
from tamrf_xr.plain_yaml import load_yaml, one_line
from tamrf_xr.replacing import fresh_file
from tamrf_xr.training.bounds import check_bounds
from tamrf_xr.training.views import LossConfig

Section = TypeVar("Section")
Strategies = Literal["all", "random"]


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which patches of which cubes, and which of their dates."""

    cubes: tuple[str, ...] = ()
    """Stores of cubes; ``*`` and ``?`` match names."""

    patch_m: int = 1650
    """Edge of a patch in metres: a multiple of 30."""

    stride_m: int = 0
    """Metres between the corners of neighbouring patches; 0: `patch_m`, so that none overlap."""

    dates: int = 50
    """Most dates of one sample, of both sensors together, drawn at random."""

    min_dates: int = 6
    """A sensor with fewer dates in a slice of `slice_days` makes it unfit."""

    slice_days: int = 365
    """Length of the series that a sample is drawn from."""

    shift_days: int = 0
    """All dates of a sample are moved by up to so many days, at random: what a network learns of
    few cubes then hangs on no single day."""

    turn: bool = False
    """Turn and mirror patches at random: what it learns of few cubes hangs on no single place."""

    validation_share: float = 0.05
    """Share of the patches kept for validation."""

    threads: int = 4
    """Threads that read ahead of the steps."""

    statistics: Literal["published", "data"] = "published"
    """Mean and deviation of the bands: those of the published network, or of the cubes."""


@dataclass(frozen=True, slots=True)
class MaskingConfig:
    """Which dates are held back."""

    strategies: Strategies = "all"
    """``"all"``: the 16 slots of the paper; ``"random"``: RANDOM alone (its ablation)."""


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """Adam, its rate step by step, and how long."""

    steps: int = 1_000_000
    """Steps of the run."""

    batch: int = 1
    """Patch pairs of a step, over all devices."""

    lr: float = 1e-4
    """Highest learning rate."""

    warmup: int = 2018
    """Steps of the linear rise from a third of `lr`."""

    period: int = 40_360
    """Steps of the first cosine; each next one takes twice as many. 0: one cosine to the end."""

    floor: float = 2e-5
    """Learning rate at the end of a cosine."""

    clip: float = 0.1
    """Gradients are clipped to this norm."""

    dropout: float = 0.1
    """Of the transformer and the decoder."""

    average: float = 0.0
    """Decay per step of the moving average of the weights that is validated and kept; 0: none."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Where a run computes, and what it leaves behind."""

    seed: int = 0
    """Of weights, samples and dropout."""

    device: str = "auto"
    """``"auto"``, ``"cpu"``, ``"cuda"``."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Autocast: ``"auto"`` is bfloat16 on a GPU and float32 on a CPU."""

    validate_every: int = 2018
    """Steps between validations; a checkpoint is written at each."""

    validation_samples: int = 64
    """Samples of a validation, the same each time."""

    keep: int = 5
    """Best checkpoints kept, by validation loss."""

    tensorboard: bool = False
    """Write TensorBoard events beside ``log.jsonl``."""

    start: str | None = None
    """Weights to start from; their sizes replace those of `model`."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training run; the defaults are the paper's.

    Examples
    --------
    >>> override(TrainConfig(), ["model.num_layers=2", "loss.perceptual=off"]).model.num_layers
    2
    """

    model: NetworkConfig = field(default_factory=NetworkConfig)
    """Sizes of the network."""

    loss: LossConfig = field(default_factory=LossConfig)
    """What is minimised."""

    data: DataConfig = field(default_factory=DataConfig)
    """What it is trained on."""

    masking: MaskingConfig = field(default_factory=MaskingConfig)
    """What is held back."""

    optim: OptimConfig = field(default_factory=OptimConfig)
    """How."""

    run: RunConfig = field(default_factory=RunConfig)
    """Where."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_bounds(self)
        patch, margin = self.data.patch_m, self.loss.margin
        if patch % 30 or patch // 10 <= 2 * margin:
            raise OptionError(
                f"data.patch_m is {patch}; expected a multiple of 30 m above twice the margin of "
                f"the losses (loss.margin = {margin} pixels of 10 m)"
            )
        if margin % 3:
            raise OptionError(f"loss.margin is {margin}; expected a multiple of 3 pixels")
        if self.data.stride_m % 30:
            raise OptionError(f"data.stride_m is {self.data.stride_m}; expected a multiple of 30 m")


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
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise OptionError(f"{section} is set to {place!r} and {name} too; keep one of them")
        place[key] = _value(name, text) if key != "cubes" else text.split(",")
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
        found = load_yaml(local_path(path, "configuration").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise OptionError(f"cannot read the configuration {path}: {one_line(error)}") from error
    if not isinstance(found, Mapping):
        kind = type(found).__name__
        raise OptionError(f"{path} must hold sections ({', '.join(_names(base))}), got a {kind}")
    return merge(base, found)


def merge(config: Section, tree: Mapping[str, Any], *, where: str = "") -> Section:
    """Return a (nested) dataclass with values replaced; see `override`."""
    types_of = typing.get_type_hints(type(config))
    values = {}
    for key, value in tree.items():
        name = f"{where}{key}"
        if key not in types_of:
            raise OptionError(_unknown(name, str(key), _names(config), where))
        current = getattr(config, key)
        if is_dataclass(current):
            if not isinstance(value, Mapping):
                raise OptionError(
                    f"{name} is a section: set one of its values "
                    f"({', '.join(f'{name}.{inner}' for inner in _names(current))})"
                )
            values[key] = merge(current, value, where=f"{name}.")
        else:
            values[key] = _typed(name, value, types_of[key])
    return replace(config, **values)  # type: ignore[type-var]


def as_tree(config: TrainConfig) -> dict[str, Any]:
    """Return a configuration as plain values, for YAML and JSON."""
    tree = dataclasses.asdict(config)
    tree["data"]["cubes"] = list(config.data.cubes)
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
    origin = get_origin(wanted)
    if origin in {Union, types.UnionType}:
        if value is None:
            return None
        wanted = next(kind for kind in get_args(wanted) if kind is not type(None))
        return _typed(name, value, wanted)
    if origin is Literal:
        # YAML reads a bare off, as in loss.perceptual=off, as False.
        value = "off" if value is False and "off" in get_args(wanted) else value
        if value not in get_args(wanted):
            raise OptionError(f"{name} is {value!r}; choose one of {', '.join(get_args(wanted))}")
        return value
    if origin is tuple:
        return tuple(_typed(name, part, get_args(wanted)[0]) for part in _parts(name, value))
    if wanted is float:
        value = _number(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise OptionError(f"{name} is {value!r:.80}; expected {wanted.__name__}")
    return value


def _parts(name: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, str | list | tuple):
        raise OptionError(f"{name} is {value!r:.80}; expected one or more, as a list")
    return [value] if isinstance(value, str) else value


def _number(value: Any) -> Any:
    # YAML 1.1 reads 1e-4 as text.
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return value

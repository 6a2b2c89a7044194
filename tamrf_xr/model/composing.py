"""The configuration of a published run as its folder has it: composed, or Hydra's defaults list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from tamrf_xr.errors import ModelError
from tamrf_xr.model.files import existing
from tamrf_xr.paths import PathLike, local_path
from tamrf_xr.plain_yaml import load_yaml, one_line

ConfigSource = Mapping[str, Any] | PathLike | None
"""Composed YAML: a mapping, a path of a file or a folder, or none."""

NAMES = ("config.yaml", ".hydra/config.yaml", "hydra_config/config.yaml", "train.yaml")
"""Where the configuration of a folder may be, in this order."""


def read_config(config: ConfigSource) -> tuple[Mapping[str, Any] | None, bool]:
    """Read the configuration of a run.

    Parameters
    ----------
    config
        A mapping; a composed YAML file; a folder with ``config.yaml``, which is composed, or has
        Hydra's ``defaults`` list of other files in the folder; None.

    Returns
    -------
    stated, folder
        What it says, and whether it came from a folder.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    ModelError
        If it cannot be read or composed.
    """
    if config is None or isinstance(config, Mapping):
        return config, False
    path = local_path(config, "config")
    folder = path.is_dir()
    file = _file_in(path) if folder else existing(config, "config")
    found = _mapping(file)
    return _composed(file) if "defaults" in found else found, folder


def _file_in(folder: Path) -> Path:
    for name in NAMES:
        if (folder / name).is_file():
            return folder / name
    there = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
    raise ModelError(
        f"the config {folder} is a folder without {', '.join(NAMES)}; found {there}; name the file "
        "with the composed YAML of the run"
    )


def _mapping(file: Path) -> Mapping[str, Any]:
    try:
        content = load_yaml(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"the config {file} is not YAML: {one_line(error)}") from error
    if not isinstance(content, Mapping):
        raise ModelError(
            f"the config {file} holds a {type(content).__name__}, expected a mapping; "
            "give the composed YAML of the run"
        )
    return content


def _composed(file: Path) -> Mapping[str, Any]:
    """Have Hydra follow a defaults list; values that name others by ``${...}`` stay as they are."""
    try:
        from hydra import compose, initialize_config_dir
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
    except ImportError as error:
        raise ModelError(
            f"the config {file} has a defaults list, which Hydra composes: "
            "pip install 'tamrf-xr[get]', or give the composed YAML of the run"
        ) from error
    try:
        with initialize_config_dir(str(file.parent.absolute()), version_base=None):
            composed = compose(file.stem)
        return cast("Mapping[str, Any]", OmegaConf.to_container(composed, resolve=False))
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ModelError(f"the config {file} cannot be composed: {one_line(error)}") from error

"""Read published checkpoints and our own, write our own, ship a model as bytes.

Our own file is one ``.safetensors``, whose header carries the configuration as JSON, so that it
is whole by itself; ``save_model`` puts a readable copy of that JSON beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load as _load_safetensors
from safetensors.torch import save as _save_safetensors
from torch import Tensor

from tamrf_xr.errors import ModelError, OutputExistsError, SourceNotFoundError
from tamrf_xr.model import levels, published, uncertainty
from tamrf_xr.model.composing import ConfigSource, read_config
from tamrf_xr.model.config import OPTICAL, SAR, NetworkConfig
from tamrf_xr.model.files import existing, staged
from tamrf_xr.model.named import named_weights
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.scrutiny import (
    UNREADABLE,
    check_digest,
    check_statistics,
    check_values,
)
from tamrf_xr.paths import local_path
from tamrf_xr.replaceable import check_file

_HEADER: Final = "tamrf_xr"
_FORMAT: Final = 1
_SHOWN: Final = 5


def load_model(source: str | os.PathLike[str], config: ConfigSource = None) -> Tamrf:
    """Load a network, ready for inference.

    Parameters
    ----------
    source
        A published Lightning checkpoint (``.ckpt``), our own ``.safetensors``; ``"default"``: the
        weights that ship; or ``"published"``: the network of the authors, fetched from Zenodo when
        first asked for.
    config
        Composed YAML of the published run, as a path or a mapping, or the folder as published
        (``config.yaml`` in it, composed or with Hydra's defaults list): it gives the number of
        heads, and everything else it states is held against the checkpoint. Without it, 4 heads.
        Statistics of the bands are those of the checkpoint.

    Returns
    -------
    Tamrf
        In evaluation mode, float32, on the CPU.

    Raises
    ------
    SourceNotFoundError
        If `source` or the file of `config` does not exist.
    DownloadError
        If the published network is not there, and cannot be fetched.
    ModelError
        If a file cannot be read, lacks keys, holds what this network does not compute or values
        that are not finite, has shapes that contradict each other, contradicts `config`, or is
        not that of the SHA-256 beside it (``NAME.sha256``, or the JSON of `save_model`).
    """
    path = named_weights(source) or existing(source, "checkpoint")
    stated, folder = read_config(config)
    data = path.read_bytes()
    check_digest(path, lambda: content_hash(data))
    if stated is None or not folder:
        return _from_file(path, data, stated)
    # A folder may be of another version of the code, with other statistics of the data.
    model = _from_file(path, data, published.without_statistics(stated))
    published.tell_of_statistics(stated, model.state_dict(), where=str(path))
    return model


def save_model(
    model: Tamrf,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a network as ``.safetensors``, and its configuration beside it as ``.json``.

    Each file is written under a temporary name, then renamed: a reader never sees half of one.

    Parameters
    ----------
    model
        The network.
    path
        The file to write; it must end in ``.safetensors``.
    overwrite
        Replace what is there.
    metadata
        Anything worth keeping (training configuration, source), as JSON.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ModelError
        If the name does not end in ``.safetensors``, or `metadata` is not JSON.
    OutputExistsError
        If it exists and `overwrite` is False.
    SourceNotFoundError
        If its folder does not exist.
    """
    path = check_model_path(path, overwrite=overwrite)
    data = model_bytes(model, metadata=metadata)
    told = _header(model.config, metadata) | {"sha256": content_hash(data)}
    beside = path.with_suffix(".json")
    text = (json.dumps(told, indent=2) + "\n").encode()
    with staged(path, data) as weights, staged(beside, text) as copy:
        beside.unlink(missing_ok=True)  # never the SHA-256 of one beside the other
        weights.replace(path)
        copy.replace(beside)
    return path


def check_model_path(
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> Path:
    """Refuse a place that `save_model` cannot write: for those who work long before they save.

    Parameters
    ----------
    path, overwrite
        As of `save_model`.
    inputs
        What the same call reads.

    Raises
    ------
    ModelError, OutputExistsError, SourceNotFoundError
        As `save_model` does.
    OptionError
        If it is an input, or a place that must stay.
    """
    path, read = local_path(path, "model"), list(inputs)
    if path.suffix != ".safetensors":
        raise ModelError(f"cannot save a model as {path}: the name must end in .safetensors")
    path = check_file(path, "model", overwrite=overwrite, inputs=read)
    beside = check_file(path.with_suffix(".json"), "model", overwrite=True, inputs=read)
    for written, known in ((path, b'"__metadata__"'), (beside, b'"sha256"')):
        if written.exists() and known not in written.read_bytes():
            raise OutputExistsError(
                f"{written} exists and is of no model: it is not replaced, whatever overwrite "
                "says; choose another name"
            )
    if not path.parent.is_dir():
        raise SourceNotFoundError(f"the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputExistsError(f"the folder {path.parent} may not be written; choose another")
    return path


def model_bytes(model: Tamrf, *, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Return a network as the bytes of a ``.safetensors`` file; same weights, same bytes.

    Raises
    ------
    ModelError
        If `metadata` is not JSON.
    """
    try:
        header = json.dumps(_header(model.config, metadata), sort_keys=True)
    except TypeError as error:
        raise ModelError(f"the metadata of a model must be JSON: {error}") from error
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    return _save_safetensors(state, metadata={_HEADER: header})


def model_from_bytes(data: bytes) -> Tamrf:
    """Rebuild the network of `model_bytes`, in evaluation mode.

    Raises
    ------
    ModelError
        If the bytes are not those of a whole model.
    """
    return _from_safetensors(data, where=f"a model of {len(data)} bytes", stated=None)


def metadata_of(data: bytes) -> dict[str, Any]:
    """Return what `save_model` was given to keep with a model of ours."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length]).get("__metadata__", {}).get(_HEADER, "{}")
    return json.loads(header).get("metadata") or {}


def trained_here(data: bytes) -> bool:
    """Tell whether a model of ours says that this package trained it."""
    return "training" in metadata_of(data)


def content_hash(source: bytes | str | os.PathLike[str]) -> str:
    """Return the SHA-256 of bytes, or of the file at a path, in hexadecimal.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.

    Examples
    --------
    >>> content_hash(b"")[:8]
    'e3b0c442'
    """
    data = source if isinstance(source, bytes) else existing(source, "file").read_bytes()
    return hashlib.sha256(data).hexdigest()


def _from_file(path: Path, data: bytes, stated: Mapping[str, Any] | None) -> Tamrf:
    read = _from_safetensors if path.suffix == ".safetensors" else _from_published
    return read(data, where=str(path), stated=stated)


def _from_published(data: bytes, *, where: str, stated: Mapping[str, Any] | None) -> Tamrf:
    found = published.read_state(data, where=where)
    names = published.rename(found, where=where)
    state = {name: found[key] for name, key in names.items()}
    published.check_computed(stated or {}, where=where)
    sizes = _sizes_from_shapes(state, where) | published.unstated(stated)
    model = _build(NetworkConfig(**sizes), state, where, called=names)
    if stated is not None:
        published.cross_check(stated, model.config, state, where=where)
    return model


def _from_safetensors(data: bytes, *, where: str, stated: Mapping[str, Any] | None) -> Tamrf:
    try:
        state = _load_safetensors(data)
    except UNREADABLE as error:
        raise ModelError(
            f"{where} is not a whole safetensors file: {error}; fetch or write it again"
        ) from error
    config = _header_config(data, where)
    _check_header(config, _sizes_from_shapes(state, where), where)
    model = _build(config, state, where)
    if stated is not None:
        published.check_computed(stated, where=where)
        published.cross_check(stated, model.config, state, where=where)
    return model


def _header(config: NetworkConfig, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    sizes = {
        name: value
        for name, value in asdict(config).items()
        if value is not None and (name, value) != ("encoder", NetworkConfig().encoder)
    }
    if config.streams == OPTICAL:  # as files were before there was another stream
        del sizes["streams"], sizes["sar_bands"]
    return {"format": _FORMAT, "config": sizes, "metadata": dict(metadata or {})}


def _header_config(data: bytes, where: str) -> NetworkConfig:
    length = int.from_bytes(data[:8], "little")
    text = json.loads(data[8 : 8 + length]).get("__metadata__", {}).get(_HEADER)
    if text is None:
        raise ModelError(
            f"{where} has no '{_HEADER}' entry in its header, so it is no model of ours; "
            "write models with save_model"
        )
    try:
        header = json.loads(text)
        found, sizes = header["format"], header["config"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelError(
            f"{where}: the '{_HEADER}' entry of its header is damaged ({error}); write it again"
        ) from error
    if found != _FORMAT:
        raise ModelError(f"{where} has format {found}, this version reads {_FORMAT}; update it")
    if not isinstance(sizes, dict):
        raise ModelError(f"{where}: its config is {sizes!r:.80}, expected sizes by name")
    known = {item.name for item in fields(NetworkConfig)}
    # Written where they differ alone.
    lacking = known - set(sizes) - {"lr_num_blocks", "encoder", "streams", "sar_bands"}
    if lacking or set(sizes) - known:
        raise ModelError(
            f"{where}: its config lacks {sorted(lacking)} and has unknown "
            f"{sorted(set(sizes) - known)}; write it again with save_model"
        )
    if isinstance(streams := sizes.get("streams"), list):
        sizes["streams"] = tuple(map(str, streams))
    return NetworkConfig(**sizes)


def _check_header(config: NetworkConfig, found: Mapping[str, Any], where: str) -> None:
    """Compare sizes stated with those of the tensors, before a network of them is built."""
    stated = asdict(config) | {"lr_num_blocks": config.lr_blocks}
    measured = {"lr_num_blocks": found["num_blocks"], **found}
    del measured["ratio"]  # tensors tell no more than that there is an upsampling
    for name, value in measured.items():
        if stated[name] != value:
            raise ModelError(
                f"{where}: its header says {name}={stated[name]}, its tensors are of {value}; "
                "it is damaged: write it again with save_model"
            )


def _sizes_from_shapes(state: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    def shape(key: str, axis: int) -> int:
        if key not in state:
            raise _missing(where, [key])
        if state[key].dim() <= axis:
            raise ModelError(
                f"{where}: {key} has shape {tuple(state[key].shape)}, expected at least "
                f"{axis + 1} dimensions; the checkpoint is of another network"
            )
        return state[key].shape[axis]

    layers = _count(state, "layers.")
    blocks, lr_blocks = (_count(state, f"{sensor}_encoder.blocks.") for sensor in ("hr", "lr"))
    latent = shape("hr_encoder.first.weight", 0)
    token = shape("hr_token", 0) if "hr_token" in state else 0
    sizes: dict[str, Any] = {
        "hr_bands": shape("hr_encoder.first.weight", 1),
        "lr_bands": shape("lr_encoder.first.weight", 1),
        "latent": latent,
        "num_blocks": blocks,
        "sensor_token": token,
        "positional": shape("decoder.attention.out_proj.weight", 0) - latent - token,
        "num_layers": layers,
        "decoder_feedforward": shape("decoder.linear1.weight", 0),
        "ratio": NetworkConfig().ratio if "lr_encoder.up.weight" in state else 1,
    }
    if f"{SAR}_encoder.first.weight" in state:
        sizes["streams"] = (*OPTICAL, SAR)
        sizes["sar_bands"] = shape(f"{SAR}_encoder.first.weight", 1)
    if layers:
        sizes["feedforward"] = shape("layers.0.linear1.weight", 0)
    if lr_blocks != blocks:
        sizes["lr_num_blocks"] = lr_blocks
    dense = "_encoder.blocks.0.dense."
    if any(dense in key for key in state):
        deep = "hr" if any(key.startswith(f"hr{dense}") for key in state) else "lr"
        sizes["growth"] = shape(f"{deep}{dense}0.convs.0.weight", 0)
    return sizes


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})


def _build(
    config: NetworkConfig,
    state: dict[str, Tensor],
    where: str,
    called: Mapping[str, str] | None = None,
) -> Tamrf:
    with torch.device("meta"):
        model = Tamrf(config)
        model.errors = uncertainty.head_of(state, config.width, config.bands, where=where)
        for name, head in levels.heads_of(state, config, where=where).items():
            setattr(model, name, head)
    expected = model.state_dict()
    for token in (*(f"{stream}_token" for stream in config.streams), "query_token"):
        if not config.sensor_token:
            state.setdefault(token, torch.empty(0))
    missing = sorted(set(expected) - set(state))
    if missing:
        raise _missing(where, missing)
    for key, like in expected.items():
        if state[key].shape != like.shape:
            raise ModelError(
                f"{where}: {key} has shape {tuple(state[key].shape)}, expected "
                f"{tuple(like.shape)} from the other weights; the checkpoint is damaged or of "
                "another network"
            )
    foreign = [(called or {}).get(key, key) for key in state if key not in expected]
    published.refuse_foreign(foreign, where=where)
    check_values(state, where=where)
    check_statistics(state, where=where)
    model.load_state_dict({key: state[key].float() for key in expected}, assign=True)
    return model.eval()


def _missing(where: str, keys: list[str]) -> ModelError:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ModelError(
        f"{where} lacks {', '.join(keys[:_SHOWN])}{more}: it is no whole TAMRF checkpoint; "
        "give a published .ckpt, or a .safetensors written by save_model"
    )

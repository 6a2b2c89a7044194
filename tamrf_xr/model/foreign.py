"""Weights that others wrote: read as tensors and nothing else, whatever the file wants to run.

A file that PyTorch wrote is a pickle, which may name any function of any package. Here it can
name two that rebuild tensors; whatever else it names becomes an `_Inert`, which only remembers
what was stored in it. So a whole module that its authors pickled gives its parameters without
their code being there, and a file made to do harm does nothing.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from tamrf_xr.errors import ModelError
from tamrf_xr.model.checkpoint import content_hash
from tamrf_xr.model.files import staged
from tamrf_xr.model.scrutiny import UNREADABLE, check_digest, why_unreadable
from tamrf_xr.paths import cache_folder

STATES: Final = ("model_state_dict", "state_dict")
"""Keys under which a checkpoint keeps its weights, beside those of its optimiser."""

WRAPPERS: Final = ("module.", "model.")
"""What wrappers put in front of every name."""

ORDER: Final = "order"
"""Entry of the metadata of a safetensors file: names in their first order, which some need."""

_DTYPES: Final = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
}
_NUMPY: Final = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
_SHOWN: Final = 3


def read_tensors(path: str) -> dict[str, Tensor]:
    """Read the tensors of a file, and run nothing that it names.

    Parameters
    ----------
    path
        ``.safetensors``; or what ``torch.save`` wrote: a state dict, a checkpoint that holds one,
        a whole module; TorchScript, whose inlined constants are then read; or a pickle of numpy
        arrays.

    Returns
    -------
    dict
        By name, in the order stored; on the CPU. Names of parameters are those of a state dict,
        constants are numbered.

    Raises
    ------
    ModelError
        If the file cannot be read so, holds no tensor, or is not that of the SHA-256 beside it.
    """
    check_digest(Path(path), lambda: content_hash(path))
    try:
        tensors = dict(_tensors(_weights_of(_content(Path(path)))))
    except UNREADABLE as error:
        raise ModelError(
            f"{path} cannot be read as weights: {why_unreadable(error)}; it is corrupt, cut "
            "short or of another kind: fetch it again, or save its state_dict alone"
        ) from None
    if not tensors:
        raise ModelError(f"{path} holds no weights; give a state dict, or a checkpoint with one")
    return _unwrapped(tensors)


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write the tensors of a file as safetensors, which remember their order.

    Parameters
    ----------
    source
        What `read_tensors` reads.
    target
        The file to write, ``.safetensors``; replaced if it is there.
    """
    tensors = read_tensors(str(source))
    held = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    place = Path(target)
    place.parent.mkdir(parents=True, exist_ok=True)
    with staged(place, save(held, {ORDER: json.dumps(list(held))})) as temporary:
        temporary.replace(place)


def settled(path: str) -> str:
    """Return a safetensors file of what a file holds: itself, or a copy that is made once.

    Copies lie in ``$TAMRF_XR_CACHE``, else in ``tamrf-xr`` of the user's cache, by content.

    Raises
    ------
    ModelError
        As `read_tensors`, or if there is no place for the copy.
    """
    if path.endswith(".safetensors"):
        return path
    check_digest(Path(path), lambda: content_hash(path))
    copy = cache_folder() / f"{content_hash(path)}.safetensors"
    try:
        if not copy.is_file():
            convert(path, copy)
    except OSError as error:
        raise ModelError(
            f"{path} is read once and kept as {copy}, which cannot be written ({error}); name a "
            "folder for such copies in TAMRF_XR_CACHE"
        ) from error
    return str(copy)


def some(names: list[str]) -> str:
    """Return a few of many names."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return _of_safetensors(path)
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            content = _Tensors(file).load()
        if isinstance(content, int):  # the number with which PyTorch began before 1.6
            return torch.load(path, map_location="cpu", weights_only=True)
        return content
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        # TorchScript keeps weights that were inlined apart from its modules.
        kind = "constants" if any(name.endswith("/constants.pkl") for name in names) else "data"
        pickled = next((name for name in names if name.endswith(f"/{kind}.pkl")), None)
        if pickled is None:
            raise ValueError(f"a ZIP file without data.pkl, but with {some(names)}")
        data = io.BytesIO(archive.read(pickled))
        return _Tensors(data, archive, pickled.removesuffix(".pkl")).load()


def _of_safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        order = json.loads((file.metadata() or {}).get(ORDER, "null"))
    tensors = load_file(path)
    return {name: tensors[name] for name in order} if order else tensors


class _Inert:
    """Stands for whatever a file names: runs nothing, remembers its attributes."""

    def __new__(cls, *_args: Any, **_options: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_options: Any) -> None:
        self.state: dict[Any, Any] = {}

    def __call__(self, *_args: Any, **_options: Any) -> _Inert:
        return _Inert()

    def __setstate__(self, state: Any) -> None:
        # An object with slots stores a pair.
        parts = state if isinstance(state, tuple) else (state,)
        self.state = {k: v for part in parts if isinstance(part, dict) for k, v in part.items()}

    def __setitem__(self, key: Any, value: Any) -> None:
        self.state[key] = value

    def append(self, value: Any) -> None:
        """Take an item of a list of a foreign class."""

    def extend(self, values: Any) -> None:
        """Take items of such a list."""


class _Tensors(pickle.Unpickler):
    """Unpickles tensors and numpy arrays, and nothing that could run."""

    def __init__(
        self, file: BinaryIO, archive: zipfile.ZipFile | None = None, folder: str = ""
    ) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        """Return one of a handful of names; for all others, what does nothing."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _DTYPES:
            return name
        if module in _NUMPY and name in {"_reconstruct", "ndarray", "dtype"}:
            return _array if name == "_reconstruct" else getattr(np, name)
        if module == "torch._utils":
            if name == "_rebuild_tensor_v2":
                return _rebuild
            if name == "_rebuild_parameter":
                return _parameter
        return _Inert

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the elements of one storage."""
        if self._archive is None:
            raise pickle.UnpicklingError("storages outside an archive")
        _, kind, key, *_ = pid
        dtype = getattr(torch, _DTYPES[kind])
        data = bytearray(self._archive.read(f"{self._folder}/{key}"))
        return torch.frombuffer(data, dtype=dtype)


def _rebuild(storage: Tensor, offset: int, size: Any, stride: Any, *_rest: Any) -> Tensor:
    return storage.as_strided(size, stride, offset).clone()


def _array(*arguments: Any) -> Any:
    """Stand for numpy's function, whose module numpy 2 moved."""
    return np.ndarray.__new__(*arguments)


def _parameter(data: Tensor, *_rest: Any) -> Tensor:
    return data


def _weights_of(content: Any) -> Any:
    """Return the part of a checkpoint that is weights."""
    if isinstance(content, dict):
        for name in STATES:
            if name in content:
                return content[name]
    return content


def _tensors(thing: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """List tensors under the names that a state dict gives them."""
    if isinstance(thing, np.ndarray):
        thing = torch.as_tensor(np.array(thing))
    if isinstance(thing, torch.Tensor):
        yield prefix.rstrip("."), thing
        return
    if isinstance(thing, _Inert):
        inside: Mapping[Any, Any] = {
            name: value
            for kind in ("_parameters", "_buffers", "_modules")
            for name, value in dict(thing.state.get(kind) or {}).items()
        }
    elif isinstance(thing, tuple | list):
        inside = dict(enumerate(thing))
    else:
        inside = thing if isinstance(thing, Mapping) else {}
    for name, value in inside.items():
        yield from _tensors(value, f"{prefix}{name}.")


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): value for name, value in tensors.items()}
    return tensors

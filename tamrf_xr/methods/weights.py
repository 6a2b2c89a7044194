"""Weights that users bring: read as tensors and nothing else, whatever the file wants to run.

A file that PyTorch wrote is a pickle, which may name any function of any package. Here it can
name two that rebuild tensors; whatever else it names becomes an `_Inert`, which only remembers
what was stored in it. So a whole module that its authors pickled gives its parameters without
their code being there, and a file made to do harm does nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamrf_xr.errors import ModelError, OptionError, SourceNotFoundError
from tamrf_xr.paths import local_path

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

STATES = ("model_state_dict", "state_dict")
"""Keys under which a checkpoint keeps its weights, beside those of its optimiser."""

WRAPPERS = ("module.", "model.")
"""What wrappers put in front of every name."""

DEVICE = re.compile(r"auto|cpu|mps|xpu|cuda(:\d{1,3})?", re.ASCII)
"""Devices that may be asked."""

_DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Source:
    """Where the weights of a method come from, for messages."""

    method: str
    """Name of the method."""

    published: str
    """Where its authors publish them."""

    def path(self, weights: Any) -> str:
        """Return the path of a file that is there.

        Raises
        ------
        ModelError
            If no path is given.
        SourceNotFoundError
            If there is no such file.
        """
        if not isinstance(weights, str | os.PathLike) or not str(weights):
            raise ModelError(
                f"method {self.method!r} needs weights, and no path of a file is given: none ship "
                f"with the package; {self._way_out()}"
            )
        path = local_path(weights, "weights")
        if not path.is_file():
            raise SourceNotFoundError(
                f"the weights of method {self.method!r} are not at {path}; {self._way_out()}"
            )
        return str(path.resolve())

    def _way_out(self) -> str:
        return (
            f"they are published at {self.published}; pass method_options={{'weights': PATH}} "
            "(--option weights=PATH)"
        )


def digest_of(*paths: str) -> str:
    """Return the SHA-256 of files, one after the other, in hexadecimal."""
    total = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            while block := file.read(2**20):
                total.update(block)
    return total.hexdigest()


def check_unchanged(paths: tuple[str, ...], expected: str) -> None:
    """Check that files are those that were planned with.

    Raises
    ------
    ModelError
        If their content has another hash.
    """
    if (found := digest_of(*paths)) != expected:
        raise ModelError(
            f"{', '.join(paths)} changed since the product was planned: sha256 {found[:12]}..., "
            f"expected {expected[:12]}...; plan it anew"
        )


def check_precision(method: str, precision: str) -> None:
    """Check that nothing but float32 is asked.

    Raises
    ------
    OptionError
        If it is.
    """
    if precision not in ("auto", "float32"):
        raise OptionError(
            f"method {method!r} computes in float32 alone, got precision={precision!r}; "
            "leave it out"
        )


def find_device(asked: str) -> str:
    """Return the device asked, or for ``"auto"`` a GPU where there is one.

    Raises
    ------
    OptionError
        If it is none.
    """
    if not DEVICE.fullmatch(str(asked)):
        raise OptionError(
            f"device must be auto, cpu, cuda or cuda:N (such as cuda:1), got {asked!r}"
        )
    import torch

    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(asked: str, *, here: bool) -> None:
    """Refuse a device that is none, or is not there.

    Parameters
    ----------
    asked
        As users write it.
    here
        Whether this machine computes: what workers elsewhere have cannot be known.

    Raises
    ------
    OptionError
        Naming it.
    """
    import torch

    if asked == "auto":
        return
    try:
        device = torch.device(asked)
        if here:
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:  # the second: torch without CUDA
        raise OptionError(
            f"device is {asked!r}, which is not there ({str(error).splitlines()[0]}); "
            "expected auto, cpu, cuda or cuda:N"
        ) from error


def read_tensors(path: str) -> dict[str, Tensor]:
    """Read the tensors of a file, and run nothing that it names.

    Parameters
    ----------
    path
        ``.safetensors``; or what ``torch.save`` wrote: a state dict, a checkpoint that holds one,
        a whole module; or TorchScript, whose inlined constants are then read.

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
    from tamrf_xr.model.scrutiny import UNREADABLE, check_digest, why_unreadable

    check_digest(Path(path), lambda: digest_of(path))
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


def load(network: Callable[[], Module], tensors: Mapping[str, Tensor], *, where: str) -> Module:
    """Build a network around tensors.

    Parameters
    ----------
    network
        Builds it.
    tensors
        Its state dict.
    where
        What to name in messages.

    Returns
    -------
    torch.nn.Module
        In evaluation mode, float32, on the CPU.

    Raises
    ------
    ModelError
        If tensors are missing, of other shapes, not finite, or belong to nothing: which.
    """
    import torch

    from tamrf_xr.model.scrutiny import check_values

    with torch.device("meta"):
        built = network()
    expected = built.state_dict()
    if missing := [name for name in expected if name not in tensors]:
        raise ModelError(f"{where} lacks {_some(missing)}: it is of another network")
    if foreign := [name for name in tensors if name not in expected]:
        raise ModelError(f"{where} has {_some(foreign)} too: it is of another network")
    for name, like in expected.items():
        if tensors[name].shape != like.shape:
            raise ModelError(
                f"{where}: {name} has shape {tuple(tensors[name].shape)}, expected "
                f"{tuple(like.shape)}: it is of another network"
            )
    check_values({name: tensors[name] for name in expected}, where=where)
    built.load_state_dict({name: tensors[name].float() for name in expected}, assign=True)
    return built.eval().requires_grad_(False)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if not zipfile.is_zipfile(path):  # as PyTorch wrote before 1.6
        import torch

        return torch.load(path, map_location="cpu", weights_only=True)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        # TorchScript keeps weights that were inlined apart from its modules.
        kind = "constants" if any(name.endswith("/constants.pkl") for name in names) else "data"
        pickled = next((name for name in names if name.endswith(f"/{kind}.pkl")), None)
        if pickled is None:
            raise ValueError(f"a ZIP file without data.pkl, but with {_some(names)}")
        return _Tensors(archive, pickled).load()


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
    """Unpickles tensors of an archive, and nothing that could run."""

    def __init__(self, archive: zipfile.ZipFile, pickled: str) -> None:
        super().__init__(io.BytesIO(archive.read(pickled)))
        self._archive, self._folder = archive, pickled.removesuffix(".pkl")

    def find_class(self, module: str, name: str) -> Any:
        """Return one of a handful of names; for all others, what does nothing."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _DTYPES:
            return name
        if module == "torch._utils":
            if name == "_rebuild_tensor_v2":
                return _rebuild
            if name == "_rebuild_parameter":
                return _parameter
        return _Inert

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the elements of one storage."""
        import torch

        _, kind, key, *_ = pid
        dtype = getattr(torch, _DTYPES[kind])
        data = bytearray(self._archive.read(f"{self._folder}/{key}"))
        return torch.frombuffer(data, dtype=dtype)


def _rebuild(storage: Tensor, offset: int, size: Any, stride: Any, *_rest: Any) -> Tensor:
    return storage.as_strided(size, stride, offset).clone()


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
    import torch

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

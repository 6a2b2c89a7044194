"""Refuse weights that cannot be computed with, and files that are not those they were."""

from __future__ import annotations

import json
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from torch import Tensor

from tamrf_xr.errors import ModelError
from tamrf_xr.model.config import BandStatistics

UNREADABLE: Final = (
    pickle.UnpicklingError,
    SafetensorError,
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,  # RecursionError too
    TypeError,
    ValueError,
)
"""What PyTorch, pickle and safetensors raise on files that hold no weights: text of one letter too
many is an IndexError."""

_KINDS: Final = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_LONGEST_LIST: Final = 1_000_000
_LONGEST_REASON: Final = 200


def check_values(state: Mapping[str, Tensor], *, where: str) -> None:
    """Check that every weight is a number that float32 holds.

    Parameters
    ----------
    state
        Weights by name.
    where
        The file, for the message.

    Raises
    ------
    ModelError
        Naming the tensor, what was found and what is expected: floating point, dense, and finite.
    """
    for name, values in state.items():
        if values.dtype not in _KINDS:
            raise ModelError(
                f"{where}: {name} is {_said(values.dtype)}; expected floating point (float32, "
                "float16, bfloat16 or float64): it is quantised or of another network"
            )
        if values.layout != torch.strided:
            raise ModelError(f"{where}: {name} is {values.layout}; expected a dense tensor")
        wrong = ~values.float().isfinite()
        if count := int(wrong.sum()):
            first = values[wrong][0].item() if values.dim() else values.item()
            raise ModelError(
                f"{where}: {name} holds {count} of {values.numel()} values that are not finite in "
                f"float32, the first {first}; expected numbers: the training diverged or the file "
                "is damaged; give an earlier checkpoint, or fetch it again"
            )


def check_statistics(state: Mapping[str, Tensor], *, where: str) -> None:
    """Check that deviations, MTF values and resolutions of bands are above 0.

    Raises
    ------
    ModelError
        Naming the tensor and its values.
    """
    for name in (*BandStatistics.names(), "sar_std"):
        if not name.endswith("mean") and name in state and bool((state[name] <= 0).any()):
            raise ModelError(
                f"{where}: {name} is {[round(v, 6) for v in state[name].tolist()]}; expected "
                "values above 0: the file is damaged"
            )


def check_digest(path: Path, measure: Callable[[], str]) -> None:
    """Compare a file with the SHA-256 that lies beside it, where one does.

    Parameters
    ----------
    path
        The file. ``NAME.sha256``, as ``sha256sum`` writes it, and the ``.json`` of `save_model`
        are looked for beside it.
    measure
        Gives the SHA-256 of the file; called where there is something to compare it with.

    Raises
    ------
    ModelError
        If they differ, or the file beside it holds no SHA-256.
    """
    found = ""
    for beside, expected in _stated(path):
        found = found or measure()
        if found != expected.lower():
            raise ModelError(
                f"{path} has the SHA-256 {found[:16]}..., expected {expected[:16].lower()}... by "
                f"{beside}: it was changed or damaged since; fetch it again, or remove {beside} "
                "if the change was meant"
            )


def why_unreadable(error: BaseException) -> str:
    """Return what PyTorch found, without its advice to load the file by running its code."""
    text = " ".join(str(error).split())
    if asked := re.search(
        r"(?:Unsupported global: GLOBAL|Trying to instantiate a class) (\S+)", text
    ):
        return f"it holds {asked[1]}, which is code and not weights"
    if "weights_only" in text or "Weights only" in text:
        return "it holds more than weights"
    return text[:_LONGEST_REASON] or type(error).__name__


def _stated(path: Path) -> Iterable[tuple[Path, str]]:
    listed = path.with_name(path.name + ".sha256")
    if listed.is_file():
        yield listed, _listed(listed, path.name)
    ours = path.with_suffix(".json")
    if path.suffix == ".safetensors" and ours.is_file():
        try:
            content = json.loads(ours.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            return  # a readable copy, which nothing else reads
        if isinstance(content, dict) and isinstance(digest := content.get("sha256"), str):
            yield ours, digest


def _listed(path: Path, name: str) -> str:
    if path.stat().st_size > _LONGEST_LIST:
        raise ModelError(f"{path} is too long for a list of checksums; write it with sha256sum")
    lines = [line.split() for line in path.read_text("utf-8", errors="replace").splitlines()]
    of_name = [line[0] for line in lines if line and line[1:] in ([], [name], [f"*{name}"])]
    of_any = [line[0] for line in lines if line] if len(lines) == 1 else of_name
    digests = [word for word in of_name or of_any if _SHA256.fullmatch(word)]
    if not digests:
        raise ModelError(
            f"{path} holds no SHA-256 of {name}; write it with: sha256sum {name} > {path.name}"
        )
    return digests[0]


def _said(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")

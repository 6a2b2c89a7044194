"""What the kernels of the published network take on a card that need not be here.

``TRITON_INTERPRET=0 python -m benchmarks.compiled 90`` compiles for compute capability 9.0 (80:
A100, 89: L4, 90: H100, 100: B200) and prints a row for each: shared memory (bytes), registers of
a thread, bytes that did not fit them, and whether tensor cores are used.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from benchmarks.harness import Row
from tamrf_xr.model.attend import Ending, Finish, PixelModel
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.fused import FusedDecoder, FusedEncoder, fused_ending
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.precision import DTYPES
from tamrf_xr.model.stages import dense_encoders, placed, scaling


def main(arguments: list[str] | None = None) -> list[Row]:
    """Compile, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capability", type=int)
    parser.add_argument("--precision", default="bfloat16", choices=list(DTYPES))
    options = parser.parse_args(arguments)
    with _compiling(options.capability) as rows:
        _launch_all(options.precision)
    for row in rows:
        print(*row.values())
    return rows


class _Absent:
    """The driver of a card that is not here."""

    def __init__(self, capability: int) -> None:
        self._capability = capability

    def get_current_target(self) -> Any:
        return GPUTarget("cuda", self._capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _: int = 0) -> int:
        return 0


@contextmanager
def _compiling(capability: int) -> Iterator[list[Row]]:
    """Compile every kernel that is launched, and launch none."""
    rows: dict[str, Row] = {}
    run = JITFunction.run

    def compiled(self: Any, *args: Any, grid: Any, **kwargs: Any) -> None:
        kernel = run(self, *args, grid=grid, **kwargs | {"warmup": True})
        rows.setdefault(kernel.hash, _row(kernel))

    driver.set_active(
        _Absent(capability)
    )  # until the process ends: there may be none to go back to
    found: list[Row] = []
    with mock.patch.object(JITFunction, "run", compiled):
        yield found
    found.extend(rows.values())


def _row(kernel: Any) -> Row:
    code = kernel.asm["ptx"]
    target = re.search(r"^\.target (\S+)", code, re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(code)
        told = subprocess.run(
            [_assembler(kernel.metadata.target.arch), "-v", f"--gpu-name={target and target[1]}",
             source, "-o", source.with_suffix(".o")],
            check=True, capture_output=True, text=True,
        ).stderr  # fmt: skip
    registers, spilled = re.search(r"(\d+) registers", told), re.search(r"(\d+) bytes spill", told)
    return {
        "kernel": kernel.name,
        "shared": kernel.metadata.shared,
        "registers": int(registers[1]) if registers else 0,
        "spilled": int(spilled[1]) if spilled else 0,
        "tensor_cores": "wgmma" in code or "mma.sync" in code,
    }


def _assembler(capability: int) -> str:
    tools = triton.knobs.nvidia
    return str((tools.ptxas if capability < 100 else tools.ptxas_blackwell).path)


def _launch_all(precision: str) -> None:
    """Go through the stages of the published network, on a few pixels."""
    place = placed(torch.device("cpu"), DTYPES[precision], None)
    rounding = "tf32" if precision == "tf32" else "ieee"
    config = NetworkConfig()
    model = Tamrf(config)
    for stream, encoder in dense_encoders(model).items():
        bands = getattr(config, f"{stream}_bands")
        FusedEncoder(encoder, place, rounding)(torch.zeros(1, bands, 5, 7))
    convs = model.out1, model.out2
    out = torch.zeros(1, config.bands, 5, 7)
    attended = torch.zeros(1, 5, 7, config.width, dtype=place.dtype)
    FusedDecoder(convs, scaling(model), place, rounding)(attended, out, None)

    def launched(ending: Ending) -> Finish:
        found = torch.zeros(70, ending.out.shape[0], dtype=place.dtype)
        finish = fused_ending(ending, rounding)
        finish(found.new_zeros(70, config.width), found)
        return finish

    PixelModel(model, place, head_multiple=8).with_endings(launched)


if __name__ == "__main__":
    main()

"""What this machine gives the package, whether it computes right here, and what would be faster.

``python -m tamrf_xr.doctor`` prints the answers of the self-test as they are kept beside the
weights: to be run again when the default weights change.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from pyproj import CRS

from tamrf_xr.cube import Grid, build_cube, build_group, groups_of
from tamrf_xr.errors import TamrfError
from tamrf_xr.fusion import fuse
from tamrf_xr.machine import available_memory, memory_limit, usable_cores
from tamrf_xr.sensors import SENSORS

PACKAGES: Final = ("tamrf-xr", "torch", "xarray", "dask", "zarr", "rasterio", "numpy")
EXTRAS: Final = {
    "distributed": "cluster",
    "pystac-client": "stac",
    "pystac": "export",
    "panel": "viewer",
    "scikit-learn": "evaluation",
}
"""A package of each extra, and the extra."""

TOLERANCE: Final = {"reflectance": 2e-4, "surface_temperature": 0.1}
"""Largest difference from the stored answers: twice a product's step, its unit."""

_EDGE, _DATES = 48, ("2022-06-05", "2022-07-11")
_GIB: Final = 1 << 30
_STORED: Final = "weights/self_test.json"


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found."""

    facts: dict[str, str]
    """Name and value, in the order to be told."""

    faults: tuple[str, ...]
    """What is wrong."""

    advice: tuple[str, ...]
    """What would make it faster, or what is missing."""

    def __str__(self) -> str:
        """Return it as lines."""
        width = max(map(len, self.facts))
        lines = [f"{name:<{width}}  {value}" for name, value in self.facts.items()]
        lines += [f"WRONG: {fault}" for fault in self.faults]
        return "\n".join([*lines, *(f"advice: {one}" for one in self.advice)])


def examine(device: str = "auto") -> Examination:
    """Look at this machine, and fuse a small made-up cube whose answer is known.

    Parameters
    ----------
    device
        Where the self-test computes, as of `tamrf_xr.fuse`; in float32.
    """
    facts = {name: version(name) for name in PACKAGES}
    facts["python"] = platform.python_version()
    facts |= dict(_hardware())
    start = time.perf_counter()
    try:
        worst = _differences(device)
        faults = [
            f"the self-test is off by {worst[name]:.2g} in {name}: allowed is {most:g}; do not "
            "use what this machine computes, and tell us what stands above"
            for name, most in TOLERANCE.items()
            if not worst[name] <= most
        ]
        told = ", ".join(f"{name} within {worst[name]:.1g}" for name in TOLERANCE)
    except (TamrfError, RuntimeError) as error:
        faults, told = [f"the self-test failed: {error}"], "failed"
    facts["self-test"] = f"{told}, in {time.perf_counter() - start:.1f} s"
    return Examination(facts, tuple(faults), tuple(_advice()))


def _hardware() -> Iterator[tuple[str, str]]:
    import torch

    from tamrf_xr.model.precision import bfloat16_speed

    yield "cores", f"{usable_cores()} (of this process)"
    memory = f"{available_memory() / _GIB:.1f} GiB free of {memory_limit() / _GIB:.1f}"
    yield "memory", memory
    yield "disk", f"{shutil.disk_usage(Path.cwd()).free / _GIB:.0f} GiB free in {Path.cwd()}"
    flags = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in _cpu_flags()]
    yield "cpu", f"{' '.join(flags) or platform.machine()}"
    yield "bfloat16", f"{bfloat16_speed():.2f} times the speed of float32 on this CPU"
    if not torch.cuda.is_available():
        yield "gpu", f"none (torch built for {torch.version.cuda or 'CPUs alone'})"
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        size = f"{card.total_memory / _GIB:.0f} GiB"
        yield f"cuda:{index}", f"{card.name}, {size}, compute capability {card.major}.{card.minor}"


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _advice() -> Iterator[str]:
    import torch

    if shutil.which("nvidia-smi") and not torch.cuda.is_available():
        yield (
            "this machine has NVIDIA's driver, but torch does not use it: install a CUDA build of "
            "torch that fits the driver (pytorch.org/get-started)"
        )
    if available_memory() < 4 * _GIB:
        yield "under 4 GiB are free: tiles will be small, their halos cost more than their cores"
    if missing := sorted({extra for name, extra in EXTRAS.items() if not _is_there(name)}):
        yield f"not installed: pip install 'tamrf-xr[{','.join(missing)}]'"


def _is_there(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def answers(device: str = "auto") -> dict[str, list[float]]:
    """Fuse the made-up cube with the default weights; give some pixels of each variable."""
    product = fuse(_made_up(), _DATES, device=device, precision="float32")
    found = {}
    for name, group in groups_of(product.compute(scheduler="synchronous")).items():
        for variable in TOLERANCE.keys() & group.keys():
            pixels = group[variable].values[..., 4::20, 4::20]
            found[f"{name}/{variable}"] = pixels.ravel().tolist()
    return dict(sorted(found.items()))


def _made_up() -> xr.DataTree:
    """Make a cube of waves in space and time, without a random number: the same everywhere."""
    return build_cube({name: _waves(name) for name in SENSORS})


def _waves(sensor: str) -> xr.Dataset:
    gsd = SENSORS[sensor].gsd
    size = int(_EDGE * 10 // gsd)
    t, band, y, x = np.meshgrid(
        np.arange(5), np.arange(len(SENSORS[sensor].bands)), *[np.arange(size) * gsd] * 2,
        indexing="ij",
    )  # fmt: skip
    waves = np.sin(x / 70 + t) * np.cos(y / 50 + band)
    heat = {"surface_temperature": (295 + 8 * waves[:, 0]).astype(np.float32)}
    return build_group(
        sensor,
        (0.2 + 0.15 * waves).astype(np.float32),
        times=pd.date_range("2022-06-01T10:30", periods=5, freq="11D"),
        grid=Grid(CRS(32631), Affine(gsd, 0, 500_000, 0, -gsd, 4_800_000), (size, size)),
        valid=np.ones((5, size, size), bool),
        **(heat if SENSORS[sensor].thermal else {}),
    )


def _differences(device: str) -> dict[str, float]:
    stored = json.loads((files("tamrf_xr") / _STORED).read_text())
    found = answers(device)
    worst = dict.fromkeys(TOLERANCE, 0.0)
    for path, values in stored.items():
        apart = np.abs(np.subtract(found[path], values)).max()
        variable = path.split("/")[1]
        worst[variable] = float(np.maximum(worst[variable], apart))  # NaN stays
    return worst


if __name__ == "__main__":
    print(json.dumps({path: np.round(each, 6).tolist() for path, each in answers("cpu").items()}))  # noqa: T201

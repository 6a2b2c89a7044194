"""What machine a result was measured on, and where results are kept."""

from __future__ import annotations

import datetime
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("torch", "numpy", "xarray", "zarr", "dask")


def machine() -> dict[str, Any]:
    """Describe this machine and the versions that matter."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in found.items()}
    flags = fields.get("flags", "").split()
    return {
        "cpu": fields.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "flags": [flag for flag in flags if flag.startswith(("amx", "avx512_bf16", "avx512f"))],
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def keep(name: str, figures: dict[str, Any], *, folder: Path = RESULTS) -> Path:
    """Write a result under its name and today's date, and return where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{datetime.datetime.now(datetime.UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps({"machine": machine(), **figures}, indent=2) + "\n")
    return path

"""The harness of every benchmark: how it is asked, measured side by side, and kept.

- `parse`: the command line, with a size for a test beside each size that is measured.
- `apart`: a part in a process of its own, with this checkout of the package or another one.
- `in_turns`: several ways in turn, of each the least: what else the machine does only adds.
- `compared`: a part of this checkout and of another one, in turns, and their ratio.
- `finish`: figures and the machine they are of, kept under today's date.

Why not asv: docs/decisions/010-benchmarks.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
RESULTS = HERE / "benchmarks" / "results"
PACKAGES = ("torch", "triton", "numpy", "xarray", "zarr", "dask")
TURNS = 3

Row = dict[str, Any]


def parse(
    about: str | None, arguments: list[str] | None, **sizes: tuple[Any, Any]
) -> argparse.Namespace:
    """Read a command line: every size has a value to measure and one for ``--tiny``."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, (full, _) in sizes.items():
        several = isinstance(full, tuple)
        kind = type(full[0] if several else full)
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, nargs="+" if several else None,
            help=f"default: {full}",
        )  # fmt: skip
    parser.add_argument("--tiny", action="store_true", help="a test-sized run, kept nowhere")
    parser.add_argument("--results", type=Path, help="keep figures in this folder")
    parser.add_argument("--against", type=Path, help="another checkout, where it is compared")
    options = parser.parse_args(arguments)
    for name, (full, tiny) in sizes.items():
        if getattr(options, name) is None:
            setattr(options, name, tiny if options.tiny else full)
    return options


def apart(part: Callable[..., Any], *arguments: Any, checkout: Path = HERE) -> Any:
    """Call a function of a benchmark in a process of its own; all goes as JSON, paths as text."""
    module = sys.modules[part.__module__].__spec__
    if module is None:
        raise RuntimeError(f"{part.__module__} is no module; run it as python -m benchmarks.NAME")
    place = str(checkout.resolve())
    words = [place, module.name, part.__name__, json.dumps(arguments, default=str)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([place, str(HERE)])}
    answer = subprocess.run(
        [sys.executable, "-P", __file__, *words],
        check=True, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    return json.loads(answer.stdout.splitlines()[-1])


def _answer(checkout: str, module: str, part: str, arguments: str) -> None:
    """Be that process: benchmarks of this checkout, the package of the other one."""
    sys.path.insert(0, str(HERE))
    import_module("benchmarks")
    sys.path[0] = checkout
    there = import_module("tamrf_xr").__file__ or ""
    if Path(checkout) not in Path(there).resolve().parents:  # else it is compared with itself
        raise SystemExit(f"no package in {checkout}: found that of {there}; name a checkout")
    print(json.dumps(getattr(import_module(module), part)(*json.loads(arguments))))


def in_turns(ways: Mapping[str, Callable[[], Row]], *, turns: int = TURNS) -> dict[str, Row]:
    """Run each way some times, there and back again; of every number, return the least."""
    rows: dict[str, Row] = {name: {} for name in ways}
    for turn in range(turns):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            row = ways[name]()
            rows[name] |= {
                key: min(value, rows[name].get(key, value)) for key, value in row.items()
            }
    return rows


def compared(
    part: Callable[..., Row], *arguments: Any, against: Path | None, turns: int = TURNS
) -> dict[str, Row]:
    """Measure a part of this checkout, and of another one if there is one, and tell the ratio."""
    checkouts = {"this": HERE} | ({"other": against} if against else {})
    ways = {
        name: partial(apart, part, *arguments, checkout=place) for name, place in checkouts.items()
    }
    rows = in_turns(ways, turns=turns)
    if against:
        this, other = rows["this"], rows["other"]
        numbers = [key for key, value in this.items() if not isinstance(value, str)]
        rows["other / this"] = {key: other[key] / this[key] for key in numbers}
    return rows


def show(rows: Mapping[str, Row]) -> None:
    """Print rows of numbers."""
    for name, row in rows.items():
        print(name, {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})


def finish(name: str, figures: Row, options: argparse.Namespace, *, folder: Path = RESULTS) -> Row:
    """Keep figures, unless it was a run for a test that names no folder; return them."""
    if options.results or not options.tiny:
        keep(name, figures, folder=options.results or folder)
    return figures


def keep(name: str, figures: Row, *, folder: Path = RESULTS) -> Path:
    """Write a result under its name and today's date, and return where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{datetime.datetime.now(datetime.UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps({"machine": machine(), **figures}, indent=2, default=str) + "\n")
    return path


def machine() -> Row:
    """Describe this machine and the versions that matter."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in pairs}
    flags = fields.get("flags", "").split()
    return {
        "cpu": fields.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "flags": [flag for flag in flags if flag.startswith(("amx", "avx512_bf16", "avx512f"))],
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    _answer(*sys.argv[1:])

"""Ways to install the package, each in an environment of its own, and what works there then.

    make install-check
    python -m studies.install --pythons python3.11 --torch torch==2.13.0 --extras stac all

The package is installed as a user does, `pip install .`, after the PyTorch that ``--torch`` names;
of that environment each extra gets a copy, so that it has what it names itself and nothing else.
Commands of the extra then run on a simulated scene.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CLI = ("-m", "tamrf_xr.cli")
DATES = ("--dates", "2022-06-01", "--quiet")
CORE = (
    (*CLI, "simulate", "scene.zarr", "--size", "60", "--quiet"),
    (*CLI, "fuse", "scene.zarr", "fused.zarr", *DATES),
    (*CLI, "quicklook", "scene.zarr", "fused.zarr", "picture.png"),
    (*CLI, "info", "fused.zarr"),
)
TRAIN = ("data=scene.zarr", "optim.steps=2", "run.validate_every=2", "run.tensorboard=true")
STEP = ("-m", "tamrf_xr.train", "--config-name", "quick", *TRAIN, "--output", "run")
EXTRAS: dict[str, tuple[tuple[str, ...], ...]] = {
    "stac": (("-c", "import odc.stac, planetary_computer, pystac_client, tamrf_xr.ingest"),),
    "export": (
        (*CLI, "export", "cog", "fused.zarr", "cogs", "--indices", "NDVI"),
        (*CLI, "export", "stac", "cogs", "catalogue"),
    ),
    "viewer": (("-c", "import tamrf_xr as t; t.open_cube('fused.zarr').tamrf.view()"),),
    "evaluation": (
        (*CLI, "evaluate", "scene.zarr", "--task", "gap-filling", "--methods", "naive",
         "--margin", "6", "--out", "report"),
    ),
    "cluster": (
        (*CLI, "fuse", "scene.zarr", "local.zarr", *DATES, "--method", "linear",
         "--cluster", "local", "--workers", "1"),
    ),
    "train": (STEP,),
    "get": (("-c", "import hydra, pooch, requests, tamrf_xr.zenodo"), (*CLI, "get", "--help")),
    "cloud": (
        (*CLI, "fuse", "scene.zarr", "icechunk://ice", *DATES, "--method", "linear"),
        (*CLI, "info", "icechunk://ice"),
    ),
}  # fmt: skip
EXTRAS["all"] = tuple(command for commands in EXTRAS.values() for command in commands)


@dataclass(frozen=True, slots=True)
class Tried:
    """One way, and how it went."""

    python: str
    """Version of the interpreter."""

    torch: str
    """Version of PyTorch that came."""

    extra: str
    """Extra; empty for none."""

    megabytes: int
    """Of the whole environment on disk."""

    failed: str
    """Last line of what failed; empty where all went well."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all that is asked, tell, and return 1 if something failed."""
    options = _parse(arguments)
    rows: list[Tried] = []
    for python in options.pythons:
        for row in tried(python, options):
            rows.append(row)
            if options.results:  # at once: what is tried takes its time
                keep([asdict(one) for one in rows], options.results)
    return 1 if any(row.failed for row in rows) else 0


def keep(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Write rows beside those of other interpreters that the file has."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    mine = {row["python"] for row in rows}
    kept = sorted([*rows, *(row for row in old if row["python"] not in mine)], key=_order)
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _order(row: Mapping[str, object]) -> tuple[str, str]:
    return str(row["python"]), str(row["extra"])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = [name for name in ("python3.11", "python3.12", "python3.13") if _runs(name)]
    parser.add_argument("--pythons", nargs="+", default=here, help="default: those that are here")
    parser.add_argument("--torch", type=shlex.split, default="torch", help="words for pip, in one")
    parser.add_argument("--extras", nargs="*", default=list(EXTRAS), choices=list(EXTRAS))
    parser.add_argument("--results", type=Path, help="keep what came of it in this file")
    return parser.parse_args(arguments)


def _runs(python: str) -> bool:
    found = shutil.which(python)
    quiet = subprocess.DEVNULL
    return found is not None and not subprocess.call([found, "-V"], stdout=quiet, stderr=quiet)


def tried(python: str, options: argparse.Namespace) -> Iterator[Tried]:
    """Yield what came of each way with one interpreter, and tell it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = folder / "base"
        told = steps(folder, [[python, "-m", "venv", str(base)]])
        told = (
            told or _installed(base, folder, options.torch) or _installed(base, folder, [str(ROOT)])
        )
        yield _row(base, "", told or _worked(base, folder, CORE))
        for extra in options.extras if not told else ():
            copy = folder / extra
            shutil.copytree(base, copy, symlinks=True)
            told_extra = _installed(copy, folder, [f"{ROOT}[{extra}]"])
            yield _row(copy, extra, told_extra or _worked(copy, folder, EXTRAS[extra]))
            shutil.rmtree(copy)


def _installed(environment: Path, folder: Path, words: Sequence[str]) -> str:
    pip = [str(environment / "bin/python"), "-m", "pip", "install", "--quiet"]
    return steps(folder, [[*pip, *words]])


def _worked(environment: Path, folder: Path, commands: Sequence[Sequence[str]]) -> str:
    for made in ("cogs", "catalogue", "report", "local.zarr", "run", "ice"):
        shutil.rmtree(folder / made, ignore_errors=True)
    return steps(folder, [[str(environment / "bin/python"), *words] for words in commands])


def steps(folder: Path, commands: Sequence[Sequence[str]]) -> str:
    """Run until one fails; return its last words."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for words in commands:
        done = subprocess.run(
            words, cwd=folder, env=clean, capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines() or [f"{done.returncode}"]
            return f"{' '.join(words[1:4])}: {last[-1]}"
    return ""


def _row(environment: Path, extra: str, failed: str) -> Tried:
    ask = "import sys, torch; print(sys.version.split()[0], torch.__version__)"
    words = [str(environment / "bin/python"), "-c", ask]
    versions = subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()
    python, torch = versions or ("", "")
    size = sum(p.lstat().st_size for p in environment.rglob("*") if not p.is_symlink())
    row = Tried(python, torch, extra, round(size / 1e6), failed)
    print(f"Python {python}, torch {torch}, [{extra}]: {row.megabytes} MB, {failed or 'works'}")
    sys.stdout.flush()
    return row


if __name__ == "__main__":
    sys.exit(main())

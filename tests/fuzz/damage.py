"""Flip bits of a product at random, one at a time: ``python -m tests.fuzz.damage [N] [SEED]``.

Whatever the bit, reading the product is an error or gives the values that it had; where values
cannot be read, ``verify --deep`` says so too.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import tamrf_xr
from tamrf_xr.scale.damage import verify
from tests.fuzz import calls
from tests.scenes import random_cube


def main(words: list[str] | None = None) -> int:
    """Flip bits, print what came of them; 1 if any went unseen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=300)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    options = parser.parse_args(words)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        scene, out = Path(folder) / "scene.zarr", Path(folder) / "out.zarr"
        tamrf_xr.save_cube(random_cube((60, 60)), scene)
        calls.job(str(scene), str(out), over=False)
        found = _flip(out, options.count, random.Random(options.seed))
    print(f"{options.count} bits flipped: {dict(found)}")
    return 1 if found["silent"] or found["not verified"] else 0


def _flip(out: Path, count: int, draw: random.Random) -> Counter[str]:
    files = sorted(path for path in out.rglob("c/**/*") if path.is_file())
    ledger, aside = out / ".tamrf_job", out.with_name("ledger")
    shutil.copytree(ledger, aside)
    expected, found = _values(out), Counter[str]()
    for _ in range(count):
        path = draw.choice(files)
        kept = path.read_bytes()
        bit = draw.randrange(8 * len(kept))
        damaged = bytearray(kept)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        found[_outcome(out, expected)] += 1
        path.write_bytes(kept)
        # Verifying takes damaged tiles out of it.
        shutil.copytree(aside, ledger, dirs_exist_ok=True)
    return found


def _outcome(out: Path, expected: dict[str, Any]) -> str:
    try:
        same = all(np.array_equal(_values(out)[k], v, equal_nan=True) for k, v in expected.items())
    except Exception:  # noqa: BLE001  (whatever the codec raises, it is seen)
        verdict = verify(out, deep=True)
        return "error" if verdict.damaged or verdict.files else "not verified"
    return "harmless" if same else "silent"


def _values(out: Path) -> dict[str, Any]:
    cube = tamrf_xr.open_cube(out)
    groups = {name: node.to_dataset() for name, node in cube.children.items()}
    return {
        f"{n}/{v}": g[v].values
        for n, g in groups.items()
        for v in (*g.data_vars, *g.coords)
        if g[v].dtype.kind in "fiuM"
    }


if __name__ == "__main__":
    sys.exit(main())

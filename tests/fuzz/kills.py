"""Kill processes at random moments, and compare bytes: ``python -m tests.fuzz.kills [N] [SEED]``.

Each moment takes one of: a job, a cube that is saved, a job or a cube that replaces another, two
writers of one job. The process gets SIGKILL, what it left is looked at, and the same call runs
again: the store must be what an undisturbed run makes, bit for bit, with nothing beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tamrf_xr
from studies.ls2s2_folder import write_ls2s2
from tamrf_xr.replaceable import is_ours
from tamrf_xr.replacing import remove_abandoned
from tamrf_xr.scale.damage import verify
from tamrf_xr.scale.ledger import lock_of, read_done
from tests.fuzz import calls
from tests.jobs.run import contents
from tests.ls2s2_folder import coarse, scenes
from tests.scenes import grid, random_cube

WAYS = (
    "job", "save", "job over", "save over", "two writers", "ingest", "ingest over", "two ingests",
)  # fmt: skip
CALLS = {"job": calls.job, "save": calls.save, "ingest": calls.ingest}
KINDS = {"two writers": "job", "two ingests": "ingest"}
"""What is called, where the name of a way does not say so."""

# Forked from a server that has imported all: a process takes no seconds to start.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.fuzz.calls"])


def start(kind: str, scene: Path, out: Path, *, over: bool) -> Any:
    """Start a call in a process of its own."""
    process = FORKS.Process(target=CALLS[kind], args=(str(scene), str(out), over))
    process.start()
    return process


def run(kind: str, scene: Path, out: Path, *, over: bool = False) -> float:
    """Run a call undisturbed; return the seconds that it took."""
    begun = time.monotonic()
    process = start(kind, scene, out, over=over)
    process.join()
    if process.exitcode:
        raise AssertionError(f"{kind} ends with {process.exitcode}")
    return time.monotonic() - begun


def whole(out: Path, way: str) -> bool:
    """Tell whether a cube is whole: what a job left half-done is a job, and says so."""
    return is_ours(out) and (way.startswith("job") or verify(out).ok)


class Fuzz:
    """Scenes, undisturbed results, and one kill after the other."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        """Make what is needed; two scenes, so that what replaces differs."""
        self.folder, self.draw = folder, draw
        self.sources: dict[str, list[Path]] = {way: [] for way in CALLS}
        self.right, self.took = {}, {}
        for seed in (0, 1):
            scene, area = folder / f"scene{seed}.zarr", folder / f"area{seed}"
            tamrf_xr.save_cube(random_cube((60, 60), nan=0.1, seed=seed), scene)
            pair = {"sentinel2": grid((60, 60)), "landsat": coarse((20, 20))}
            write_ls2s2(area, **{name: scenes(name, at, seed=seed) for name, at in pair.items()})
            for way in CALLS:
                self.sources[way].append(area if way == "ingest" else scene)
                out = folder / f"right-{way}-{seed}.zarr"
                self.took[way] = run(way, self.sources[way][seed], out)
                self.right[way, seed] = contents(out)

    def once(self, number: int) -> None:
        """Kill one call, look, and run it again."""
        way = WAYS[number % len(WAYS)]
        kind, over = KINDS.get(way, way.split(" ")[0]), way.endswith("over")
        place = self.folder / f"kill{number}"
        place.mkdir()
        out, (before, source) = place / "out.zarr", self.sources[kind]
        if over:
            run(kind, before, out)
        processes = [start(kind, source, out, over=over)]
        if way == "two writers":
            processes += self._second(out)
        if way == "two ingests":
            processes.append(start(kind, source, out, over=False))
        time.sleep(self.draw.uniform(0, 1.1 * self.took[kind]))
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        self._look(out, kind, over=over, way=way)
        self._again(out, kind, over=over)
        assert self._is(out, kind, seed=1), f"{way}: not the bytes of an undisturbed run"
        left = [path.name for path in place.iterdir()]
        assert left == ["out.zarr"], f"{way}: left behind {left}"

    def _again(self, out: Path, kind: str, *, over: bool) -> None:
        """Run a call again, as who has seen what is left would."""
        source = self.sources[kind][1]
        if kind == "ingest":
            run(kind, source, out, over=over)  # it tells itself what is there
            return
        remove_abandoned(out)
        # A job that was replaced is gone on with; a cube, or a job of before, is replaced again.
        done = out.exists() and self._is(out, kind, seed=1)
        if not (done and kind == "save"):
            run(kind, source, out, over=over and not self._resumes(out, kind))

    def _second(self, out: Path) -> list[Any]:
        """Let a second writer in, by deleting the lock."""
        deadline = time.monotonic() + 30
        while not lock_of(out).exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        with contextlib.suppress(FileNotFoundError):
            lock_of(out).unlink()
        return [start("job", self.sources["job"][1], out, over=False)]

    def _is(self, out: Path, kind: str, *, seed: int) -> bool:
        return contents(out) == self.right[kind, seed]

    def _resumes(self, out: Path, kind: str) -> bool:
        source = str(self.sources[kind][1])
        return kind == "job" and tamrf_xr.open_cube(out).attrs.get("input") == source

    def _look(self, out: Path, kind: str, *, over: bool, way: str) -> None:
        if not out.exists():
            assert not over, f"{way}: neither the old nor the new one is there"
            return
        assert whole(out, kind), f"{way}: what is there is not whole"
        if kind != "job":
            assert any(self._is(out, kind, seed=seed) for seed in (0, 1)), f"{way}: mixed"
            return
        seed = int(self._resumes(out, kind))
        right, made = self.right[kind, seed], contents(out)
        for row, column in read_done(out):
            for name in right:
                if name.endswith(f"/{row}/{column}") and "/c/0/" in name:
                    assert made.get(name) == right[name], f"{way}: {name} is done, and is not"


def main(arguments: list[str] | None = None) -> int:
    """Kill as often as asked; print what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=100)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder), random.Random(options.seed))
        for number in range(options.kills):
            fuzz.once(number)
    print(f"{options.kills} kills: every store whole, bit-identical, and nothing left")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Kill jobs on S3 and Icechunk: ``python -m tests.fuzz.store_kills [N] [SEED]``.

As `tests.fuzz.kills` of folders, on moto and a repository on this machine: a job, or two, since the
lock was deleted once the store was laid out, get SIGKILL at a random moment; no tile is recorded
whose shards are not those of an undisturbed job in a folder, and the same call again makes all.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tamrf_xr
from tamrf_xr.places import FOLDER
from tamrf_xr.scale import objectlock
from tamrf_xr.scale.ledger import read_done
from tamrf_xr.targets import opened
from tests import s3
from tests.fuzz import calls
from tests.fuzz.kills import FORKS
from tests.jobs.run import contents
from tests.scenes import random_cube
from tests.test_job import wait_for

WAYS = ("s3", "icechunk", "two on s3")


class Fuzz:
    """A scene, what is right, and one kill after the other."""

    def __init__(self, folder: Path, endpoint: str, draw: random.Random) -> None:
        """Make what is needed."""
        self.folder, self.draw, self.options = folder, draw, s3.options(endpoint)
        self.scene = folder / "scene.zarr"
        tamrf_xr.save_cube(random_cube((60, 60), nan=0.1), self.scene)
        calls.job(str(self.scene), str(folder / "right.zarr"), False)
        files = contents(folder / "right.zarr")
        self.right = {name: data for name, data in files.items() if self._is_of_tile(name)}

    def _is_of_tile(self, name: str) -> bool:
        return "/reflectance/c/" in name or "/surface_temperature/c/" in name

    def once(self, number: int) -> None:
        """Kill one call, look, and run it again."""
        way = WAYS[number % len(WAYS)]
        url = f"s3://bucket/{number}"
        options = self.options
        if way == "icechunk":
            url, options = f"icechunk://{self.folder}/{number}", {}
        processes = [self._start(url, options)]
        begun = "zarr.json" if way.startswith("two") else objectlock.NAME
        wait_for(lambda: self._is_there(url, options, begun))
        if way == "two on s3":
            opened(url, "store", options).delete([objectlock.NAME])
            processes.append(self._start(url, options))
        time.sleep(self.draw.uniform(0, 1.0))
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        self._look(url, options, whole=False)
        again = self._start(url, options)
        again.join()
        assert again.exitcode == 0, f"{way}: the call again ends with {again.exitcode}"
        self._look(url, options, whole=True)

    def _start(self, url: str, options: dict[str, str]) -> Any:
        arguments = (str(self.scene), url, False, options)
        process = FORKS.Process(target=calls.job, args=arguments)
        process.start()
        return process

    def _is_there(self, url: str, options: dict[str, str], name: str) -> bool:
        """Tell whether a job has begun: a process that only starts is no moment to kill."""
        if url.startswith("icechunk"):
            return Path(url.removeprefix("icechunk://")).exists()
        return opened(url, "store", options).size(name) is not None

    def _look(self, url: str, options: dict[str, str], *, whole: bool) -> None:
        """Compare the tiles that are recorded with what is right."""
        place = opened(url, "store", options)
        try:
            done = read_done(place)
        except OSError:
            done = set()
        ends = {f"/{row}/{column}" for row, column in done}
        for name, data in self.right.items():
            if whole or any(name.endswith(end) for end in ends):
                assert place.read(name) == data, f"{url}/{name} is done, and is not"
        if whole:
            assert len(done) == len({tuple(name.split("/")[-2:]) for name in self.right})
            left = [] if url.startswith("icechunk") else [name for name, _ in place.all_names()]
            locks = [n for n in left if n.startswith(f"{FOLDER}/lock") and "token" not in n]
            assert not locks, f"{url}: left behind {locks}"


def main(arguments: list[str] | None = None) -> int:
    """Kill as often as asked; print what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=60)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, s3.server(Path(name)) as endpoint:
        fuzz = Fuzz(Path(name), endpoint, random.Random(options.seed))
        for number in range(options.kills):
            fuzz.once(number)
    print(f"{options.kills} kills on S3 and Icechunk: what is recorded is right, the rest is made")
    return 0


if __name__ == "__main__":
    sys.exit(main())

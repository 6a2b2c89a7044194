"""Replace a folder again and again, killed at each step: ``python -m tests.steps FOLDER HOW``.

Prints what is left after each kill, and after the next run, as JSON. One process forks for each
step, as importing the package takes a second.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from tamrf_xr import replaceable, replacing


def make(folder: Path, text: str) -> None:
    """A store of two files."""
    folder.mkdir(exist_ok=True)
    attrs = {"tamrf_cube_version": 1, "text": text}
    (folder / "zarr.json").write_text(json.dumps({"attributes": attrs, "node_type": "group"}))
    (folder / "sentinel2").mkdir()
    (folder / "sentinel2" / "zarr.json").write_text(text)


def read(folder: Path) -> str:
    """What a whole store says; else what is wrong."""
    if not folder.exists():
        return "nothing"
    try:
        root = json.loads((folder / "zarr.json").read_text())["attributes"]["text"]
        inner = (folder / "sentinel2" / "zarr.json").read_text()
    except OSError as error:
        return f"broken: {error}"
    return root if root == inner else "mixed"


def write(target: Path, text: str) -> None:
    """What every door does."""
    replaceable.check_store(target, "store", overwrite=True)
    with replacing.fresh(target, overwrite=True) as partial:
        make(partial, text)


def killed_at(step: int, target: Path) -> bool:
    """Write in a process that is killed before its `step`th change of names; True if it was."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(call):
            def wrapped(*args, **options):
                nonlocal count
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **options)

            return wrapped

        for where, name in ((Path, "rename"), (os, "rmdir"), (os, "unlink"), (Path, "mkdir")):
            setattr(where, name, counted(getattr(where, name)))
        replacing._exchange = counted(replacing._exchange)
        write(target, "new")
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main(folder: str, how: str) -> None:
    if how == "aside":
        replacing._exchange = lambda *_: False
    found = []
    for step in range(1, 40):
        place = Path(folder, str(step))
        place.mkdir()
        target = place / "out.zarr"
        make(target, "old")
        if not killed_at(step, target):
            break
        after = read(target)
        replacing.remove_abandoned(target)
        mended, left = read(target), sorted(path.name for path in place.iterdir())
        # What is deleted by hand does not come back.
        shutil.rmtree(target)
        replacing.remove_abandoned(target)
        deleted = read(target)
        write(target, "newer")
        found.append((after, mended, left, deleted, read(target), len(list(place.iterdir()))))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

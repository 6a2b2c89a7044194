"""A product laid out where there are no folders: made in one here, and sent, its root last.

A store without its root is none to any reader: a layout that was cut off is seen by nobody, and the
next run makes it anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tamrf_xr.commits import Commits, Target
from tamrf_xr.errors import StoreError
from tamrf_xr.places import FOLDER, Objects
from tamrf_xr.replaceable import LISTING, MANIFEST
from tamrf_xr.scale.progress import JobSummary
from tamrf_xr.taking import ROOTS, clear


def lay_out_at(target: Objects | Commits, lay: Callable[[Path], None], *, overwrite: bool) -> None:
    """Lay a store out in a folder here, then send it.

    Parameters
    ----------
    target
        Where to; locked, where it can be.
    lay
        Lays it out in a folder.
    overwrite
        Remove what is there. Where nothing can be renamed, it is gone before the new one is whole.

    Raises
    ------
    JobError
        If another run has laid it out meanwhile.
    """
    if isinstance(target, Objects):
        clear(target, overwrite=overwrite)
    elif isinstance(target, Commits):
        target.begin()
    with tempfile.TemporaryDirectory(prefix="tamrf-layout-") as folder:
        lay(Path(folder))
        _send(Path(folder), target)
    if isinstance(target, Commits):
        target.commit("laid out")


def _send(folder: Path, target: Objects | Commits) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    for name in sorted(names, key=_nodes_first if isinstance(target, Commits) else _root_last):
        data = names[name].read_bytes()
        if name.startswith(f"{FOLDER}/"):
            target.note(name, data)
        elif not (isinstance(target, Commits) and name == LISTING):  # it holds only Zarr
            target.write(name, data)


def _root_last(name: str) -> tuple[bool, str]:
    return name in ROOTS, name


def _nodes_first(name: str) -> tuple[bool, int, str]:
    """Sort so that a group is there before its arrays, and an array before its chunks."""
    return not name.endswith("zarr.json"), name.count("/"), name


@contextlib.contextmanager
def flushed(target: Target) -> Iterator[None]:
    """Commit what is left at the end, however that comes."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(StoreError):  # told is what ended the run
            _flush(target)
        raise
    _flush(target)


def _flush(target: Target) -> None:
    if isinstance(target, Commits):
        target.commit("the last tiles of a run")


def publish(target: Target, summary: JobSummary) -> None:
    """Show a product in a repository to readers, and tag it, once it is whole."""
    whole = summary.done + summary.found == summary.tiles
    if isinstance(target, Commits) and whole:
        digest = hashlib.sha256(target.read(MANIFEST)).hexdigest()
        target.publish(f"fused-{digest[:12]}")

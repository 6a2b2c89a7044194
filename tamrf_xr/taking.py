"""What may be written where there are no folders: nothing that is read, nothing that is not ours.

The counterpart of `tamrf_xr.replacing`, for places where nothing can be renamed: a store there is
what has a root, which is written last and removed first.
"""

from __future__ import annotations

import logging
from pathlib import Path

import xarray as xr

from tamrf_xr.commits import Commits, Target
from tamrf_xr.errors import JobError, OptionError, OutputExistsError
from tamrf_xr.places import FOLDER, Objects, Place, within
from tamrf_xr.replaceable import MANIFEST, MARKER, is_ours_by

logger = logging.getLogger(__name__)

ROOTS = ("zarr.json", ".zgroup")


def exists(target: Target) -> bool:
    """Tell whether there is anything at a target; a layout that was cut off is nothing."""
    if isinstance(target, Path):
        return target.exists()
    if isinstance(target, Commits):
        return target.begun and target.size(MANIFEST) is not None
    if any(target.size(root) is not None for root in ROOTS):
        return True
    return bool(_others(target))


def _others(place: Place) -> list[str]:
    """List what lies there, unless it is what a layout that was cut off leaves."""
    if not isinstance(place, Objects):
        return []
    names = [name for name, _ in place.all_names()]
    begun = any(name.startswith(f"{FOLDER}/lock") for name in names)
    return [] if begun else [name for name in names if not name.startswith(f"{FOLDER}/")]


def check_target(target: Objects | Commits, cube: xr.DataTree, *, overwrite: bool) -> None:
    """Refuse a place that is read by the same call, or whose content may not be replaced.

    Raises
    ------
    OptionError
        If it is, holds or lies in the input.
    OutputExistsError
        If it holds what is no cube and no job of ours.
    """
    source = str(cube.encoding.get("source") or "")
    if isinstance(target, Objects) and "://" in source and within(source, target.url):
        raise OptionError(
            f"the store {target} and the input {source} are one, or one is inside the other; name "
            "another store: what is read is never written to"
        )
    if not overwrite or not isinstance(target, Objects) or not exists(target):
        return
    if not is_ours_by(target.read, [name for name, _ in target.all_names()]):
        raise OutputExistsError(
            f"{target} exists and is no cube and no job of ours (no {MARKER} among its attributes, "
            "or other things beside it): it is not replaced, whatever overwrite says; name another "
            "store, or remove it yourself"
        )


def clear(place: Objects, *, overwrite: bool) -> None:
    """Remove what is there but locks: a layout that was cut off, or what may be replaced.

    Raises
    ------
    JobError
        If a store is there that may not be replaced.
    """
    names = [name for name, _ in place.all_names() if not name.startswith(f"{FOLDER}/lock")]
    names = [name for name in names if not name.startswith(f"{FOLDER}/claims/")]
    roots = [name for name in names if name in ROOTS]
    if roots and not overwrite:
        raise JobError(f"another run has just laid {place} out; run again to join")
    if roots:
        logger.warning("%s is removed: object stores exchange nothing in one step", place)
    place.delete(roots)  # first: what has no root is no store
    place.delete([name for name in names if name not in roots])

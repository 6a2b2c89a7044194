"""What a cube carries beside the groups that are fused, taken along through the door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.cube import carried_of, clip, groups_of, validate
from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.asked import Asked
from tamrf_xr.harmonize.backscatter import SCALINGS, read_backscatter
from tamrf_xr.harmonize.passing import UNREAD
from tamrf_xr.schema import check_carried, check_phase, grid_of
from tamrf_xr.sensors import FINE_GSD, SENTINEL1

NAME = SENTINEL1.name


def taken_apart(data: Any, sentinel1: Any) -> tuple[Any, Any]:
    """Return what is fused, and what is carried beside it or None.

    Raises
    ------
    CubeError
        If Sentinel-1 is given twice.
    """
    within = None
    if isinstance(data, xr.DataTree):
        within = carried_of(data).get(NAME)
    elif isinstance(data, Mapping) and not isinstance(data, xr.Dataset) and NAME in data:
        within = data[NAME]
        data = {name: source for name, source in data.items() if name != NAME} or None
    if within is not None and sentinel1 is not None:
        raise CubeError(f"/{NAME} is in data and in {NAME}=; give it once")
    return data, within if sentinel1 is None else sentinel1


def may_pass(tree: xr.DataTree, asked: Asked) -> bool:
    """Tell whether what a tree carries is right already: that of a cube of ours, or nothing."""
    carried = carried_of(tree)
    if not carried:
        return True
    return "tamrf_cube_version" in tree.attrs and _is_proper(carried[NAME], tree, asked)


def _is_proper(group: xr.Dataset, tree: xr.DataTree, asked: Asked) -> bool:
    if _scaling(asked) is not None or asked.check == "full":
        return False
    try:
        check_carried({NAME: group}, groups_of(tree))
    except CubeError:
        return False
    array = group["backscatter"]
    return array.dtype == np.float32 and not {*UNREAD} & array.attrs.keys()


def with_carried(cube: xr.DataTree, source: Any, asked: Asked) -> tuple[xr.DataTree, str]:
    """Let a cube carry Sentinel-1; both are cut to the ground that all of them cover.

    Parameters
    ----------
    cube
        The cube.
    source
        What the user has of Sentinel-1.
    asked
        Options of the door: ``crs``, ``time``, ``check``, and ``scaling`` as a mapping.

    Returns
    -------
    cube : xarray.DataTree
        The cube.
    understood : str
        What was understood, in words.

    Raises
    ------
    CubeError
        If it cannot be read without guessing, or does not lie on the pixels of the cube.
    """
    try:
        group, understood = read_backscatter(
            source, asked.place(NAME), scaling=_scaling(asked), check=asked.check
        )
    except CubeError as error:
        raise CubeError(f"/{NAME}: {error}") from error
    groups = groups_of(cube)
    check_phase(NAME, grid_of(group), groups)
    root, apart = cube.to_dataset(), _covers_other_ground(group, groups)
    if apart:
        told = f"{root.attrs.get('history', '')}\ncut to the ground that /{NAME} covers too".strip()
        root = root.assign_attrs(history=told)
    tree = xr.DataTree.from_dict({"/": root, **groups, NAME: group})
    if apart:
        return clip(tree), understood
    validate(tree)
    return tree, understood


def _covers_other_ground(group: xr.Dataset, groups: Mapping[str, xr.Dataset]) -> bool:
    own, ground = (grid_of(one).bounds for one in (group, next(iter(groups.values()))))
    return not np.allclose(own, ground, rtol=0, atol=1e-3 * FINE_GSD)


def _scaling(asked: Asked) -> str | None:
    """Return what is said of Sentinel-1; a word for all sensors is of reflectance."""
    said = asked.scaling.get(NAME) if isinstance(asked.scaling, Mapping) else None
    if said is not None and said not in SCALINGS:
        raise CubeError(
            f"/{NAME}: scaling {said!r} is unknown; it may be {' or '.join(SCALINGS)}, or None"
        )
    return said

"""Co-register a cube: its shifts found, or given, and corrected."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from tamrf_xr.coregistration.blocks import usable
from tamrf_xr.coregistration.correcting import corrected, shifts_of
from tamrf_xr.coregistration.finding import shifts as find
from tamrf_xr.coregistration.table import in_words
from tamrf_xr.cube import beside_of, build_cube, grids_of, groups_of, validate
from tamrf_xr.errors import CubeError, OptionError

OPTIONS = frozenset({"block", "bands", "most_px"})
"""Those of finding shifts."""

COLUMNS = ("time", "block_y", "block_x", "dx", "dy", "trusted", "overall_dx", "overall_dy")
"""Of a table of shifts, that are used."""

ATTRIBUTE = "coregistration"
"""Of a group that was corrected, in words."""


def coregister(
    cube: xr.DataTree,
    *,
    shifts: xr.DataTree | None = None,
    mask: bool = False,
    **finding: Any,
) -> xr.DataTree:
    """Bring the acquisitions of a cube onto each other.

    Shifts are found now (`shifts`), images are corrected lazily: each once, by a windowed sinc
    (Lanczos, 3 lobes), bilinearly between the centres of blocks. Blocks that are not trusted take
    the shift of their acquisition; acquisitions without one, and those that lie off by less than
    0.05 pixels, stay as they are. Missing pixels stay missing; valid ones are made of valid ones;
    ``valid`` moves along. Grids, CRS and times do not change.

    Parameters
    ----------
    cube
        The cube.
    shifts
        A table of `shifts`, looked at or changed; by default it is made.
    mask
        Mark acquisitions whose shift is not known as not usable, instead of leaving them.
    **finding
        ``block``, ``bands``, ``most_px``: as of `tamrf_xr.coregistration.shifts`.

    Returns
    -------
    xarray.DataTree
        The cube, lazy. The attribute ``coregistration`` of its groups says what was done.

    Raises
    ------
    CubeError
        If the cube was co-registered already, or `shifts` is of another cube; and as `shifts`.
    OptionError
        If an option has no meaning, or `shifts` come with options of finding them.
    """
    validate(cube)
    groups = groups_of(cube)
    _check_first(groups)
    _check_options(shifts, mask, finding)
    table = find(cube, **finding) if shifts is None else shifts
    grids = grids_of(groups)
    made = {}
    for name, group in groups.items():
        rows = _rows(table, name, group)
        straight = corrected(group, shifts_of(rows, grids[name].gsd))
        straight = _masked(straight, rows) if mask else straight
        made[name] = straight.assign_attrs({ATTRIBUTE: _told(table, name, mask=mask)})
    tree = build_cube(made, beside=beside_of(cube))
    tree.attrs = dict(cube.attrs)
    return tree


def _check_first(groups: dict[str, xr.Dataset]) -> None:
    for name, group in groups.items():
        if ATTRIBUTE in group.attrs:
            raise CubeError(
                f"/{name} is co-registered already ({group.attrs[ATTRIBUTE]}); a second time "
                "would blur it again: start from the cube that it was made from"
            )


def _check_options(shifts: Any, mask: Any, finding: dict[str, Any]) -> None:
    if shifts is not None and not isinstance(shifts, xr.DataTree):
        raise OptionError(
            f"shifts is a {type(shifts).__name__}; expected a table of cube.tamrf.shifts()"
        )
    if shifts is not None and finding:
        raise OptionError(
            f"{', '.join(finding)} is of finding shifts, and these are given; leave out one of both"
        )
    if not isinstance(mask, bool):
        raise OptionError(f"mask is {mask!r:.40}; expected True or False")
    if unknown := set(finding) - OPTIONS:
        raise OptionError(
            f"unknown options {', '.join(sorted(unknown))}; {', '.join(sorted(OPTIONS))}"
        )


def _rows(table: xr.DataTree, name: str, group: xr.Dataset) -> xr.Dataset:
    """Return the table of a sensor, checked to be of its acquisitions."""
    if name not in table.children:
        raise CubeError(f"the table of shifts has no /{name}; make it with cube.tamrf.shifts()")
    rows = table[name].to_dataset()
    if missing := [one for one in COLUMNS if one not in rows]:
        raise CubeError(
            f"the table of shifts has no {', '.join(missing)} in /{name}; make it with "
            "cube.tamrf.shifts()"
        )
    if not np.array_equal(rows["time"].values, group["time"].values):
        raise CubeError(
            f"the table of shifts has {rows.sizes['time']} acquisitions of {name}, the cube "
            f"{group.sizes['time']}, or of other times; make it of this cube, with "
            "cube.tamrf.shifts()"
        )
    return rows


def _masked(group: xr.Dataset, rows: xr.Dataset) -> xr.Dataset:
    """Mark what is not known as not usable."""
    known = xr.DataArray(np.isfinite(rows["overall_dx"].values), dims="time")
    valid = usable(group["valid"]) if "valid" in group else _there(group)
    return group.assign(valid=(valid & known).transpose("time", "y", "x"))


def _there(group: xr.Dataset) -> xr.DataArray:
    """Return where every band is there."""
    if "reflectance" in group:
        return group["reflectance"].notnull().all("band")
    return group["surface_temperature"].notnull()


def _told(table: xr.DataTree, name: str, *, mask: bool) -> str:
    done = "masked" if mask else "left as they are"
    return (
        f"tamrf_xr {version('tamrf-xr')}: least squares on gradients against medians of the "
        f"series, blocks of {table.attrs.get('block_m', float('nan')):g} m; "
        f"{in_words(table, name)}; others {done}; resampled once (Lanczos 3)"
    )

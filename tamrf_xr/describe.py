"""Tell in a few lines what a cube holds."""

from __future__ import annotations

import xarray as xr

from tamrf_xr.cube import Grid, beside_of, carried_of, grid_of, groups_of
from tamrf_xr.panchromatic import NAME
from tamrf_xr.sensors import CARRIED, SENSORS
from tamrf_xr.storable import ABOUT


def describe(cube: xr.DataTree) -> str:
    """Describe a cube or a product; reads nothing but coordinates.

    Parameters
    ----------
    cube
        The cube.

    Returns
    -------
    str
        A few lines: per sensor its grid, acquisitions and bands; then the attributes.
    """
    lines = [cube.attrs.get("title", "")]
    for name, group in groups_of(cube).items():
        lines += [f"/{name}: {SENSORS[name].title}", *_describe_group(group)]
    for name, group in carried_of(cube).items():
        lines += [f"/{name}: {CARRIED[name].title}, not fused", *_describe_group(group)]
    others = {name: group for name, group in beside_of(cube).items() if name not in CARRIED}
    for name, group in others.items():
        lines.append(f"/{name}: {', '.join(map(str, group.data_vars))}")
    lines += [f"{key}: {value}" for key, value in cube.attrs.items() if key != "title" and value]
    return "\n".join(lines)


def describe_latent(latent: xr.DataTree) -> str:
    """Describe a latent cube; reads nothing but coordinates.

    Parameters
    ----------
    latent
        From `tamrf_xr.open_latent`.

    Returns
    -------
    str
        A few lines: its grid, acquisitions and tokens; then the attributes.
    """
    group = latent["latent"].to_dataset()
    by, times = group["acquired_by"].values, group["acquired"].to_index()
    counts = ", ".join(f"{(by == n).sum()} of {SENSORS[n].title}" for n in SENSORS if n in by)
    sizes, shown = group["tokens"].sizes, {**group.attrs, **latent.attrs}
    tokens = f"{sizes['acquisition']} tokens a pixel of {sizes['channel']} channels"
    lines = [
        shown.pop("title", ""),
        "/latent: what `tamrf-xr decode` makes any date of",
        f"  {_describe_grid(grid_of(group))}, {group.attrs['margin']} of them beyond each edge",
        f"  {counts}, {times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}",
        f"  {tokens}, {shown.pop('numbers')}",
    ]
    told = {key: value for key, value in shown.items() if ":" not in key and value}
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in told.items())])


def _describe_group(group: xr.Dataset) -> list[str]:
    days = group["time"].to_index()
    bands = [*map(str, group["band"].values)] if "band" in group else []
    bands += ["LST (surface_temperature)"] if "surface_temperature" in group else []
    known = {*ABOUT, NAME}
    made = [str(n) for n, array in group.data_vars.items() if n not in known and array.ndim > 2]
    attrs = [f"  {key}: {value}" for key, value in group.attrs.items() if key != "sensor"]
    return [
        f"  {_describe_grid(grid_of(group))}",
        f"  {len(days)} dates, {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}"
        if len(days)
        else "  no dates",
        f"  bands {' '.join(bands)}" + ("; with valid mask" if "valid" in group else ""),
        *([f"  made of them: {' '.join(made)}"] if made else []),
        *attrs,
    ]


def _describe_grid(grid: Grid) -> str:
    code = grid.crs.to_epsg()
    bounds = ", ".join(f"{value:.10g}" for value in grid.bounds)
    return (
        f"{grid.shape[0]} x {grid.shape[1]} pixels of {grid.gsd:g} m, "
        f"{f'EPSG:{code}' if code else grid.crs.name}, bounds {bounds}"
    )

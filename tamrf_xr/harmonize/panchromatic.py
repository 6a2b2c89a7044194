"""Give a cube the panchromatic band of Landsat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from tamrf_xr.cube import groups_of, packing, validate
from tamrf_xr.days import count_days
from tamrf_xr.errors import CubeError
from tamrf_xr.panchromatic import AXES, NAME, check_nested, locate


def with_panchromatic(cube: xr.DataTree, band: xr.DataArray) -> xr.DataTree:
    """Return a cube with the panchromatic band of Landsat, which some methods need.

    Parameters
    ----------
    cube
        A cube that has ``/landsat``.
    band
        ``(time, y, x)``: reflectance at the top of the atmosphere, 0..1, NaN where there is no
        data, at 15 m, each pixel of 30 m holding 2 x 2 of its own. Days that the cube does not
        have are left out; on days that it lacks the band is no data.

    Returns
    -------
    xarray.DataTree
        The cube, ``/landsat`` with the variable ``panchromatic(time, y_15m, x_15m)``.

    Raises
    ------
    CubeError
        If there is no ``/landsat``, dimensions are missing, the band does not nest, has a day
        twice, or none of the cube's days.

    Notes
    -----
    The networks that take this band were taught with ``DN * REFLECTANCE_MULT_BAND_8 +
    REFLECTANCE_ADD_BAND_8`` of Level 1, without division by the sine of the sun's elevation.

    Landsat delivers the band on a grid whose corner lies 7.5 m off that of its 30 m bands:
    resample it onto ``grid_of(cube["landsat"].to_dataset()).zoom(2)``.
    """
    validate(cube)
    groups = groups_of(cube)
    if "landsat" not in groups:
        raise CubeError("the panchromatic band belongs to /landsat, which this cube does not have")
    if missing := {"time", "y", "x"} - set(map(str, band.dims)):
        raise CubeError(
            f"the panchromatic band lacks {', '.join(sorted(missing))}: it has dimensions "
            f"{band.dims}, expected time, y, x"
        )
    groups["landsat"] = _with_band(groups["landsat"], band.transpose("time", "y", "x"))
    return xr.DataTree.from_dict({"/": cube.to_dataset(), **groups}, name=cube.name)


def _with_band(group: xr.Dataset, band: xr.DataArray) -> xr.Dataset:
    located = _on_days_of(group, band).rename(AXES).reset_coords(drop=True)
    for axis, name in AXES.items():
        about = {"axis": axis.upper(), "standard_name": f"projection_{axis}_coordinate"}
        located[name] = located[name].assign_attrs(about, units="m")
    located.attrs = {"long_name": "panchromatic reflectance at the top of the atmosphere"}
    located.encoding = packing(NAME)
    made = group.assign({NAME: located})
    check_nested(made)
    return locate(made)


def _on_days_of(group: xr.Dataset, band: xr.DataArray) -> xr.DataArray:
    """Put images in the order of the group's acquisitions, NaN where there is none."""
    times = {"band": band["time"], "landsat": group["time"]}
    counted = count_days({name: pd.DatetimeIndex(one.values) for name, one in times.items()})
    days, wanted = counted["band"], counted["landsat"]
    if days.has_duplicates:
        raise CubeError(
            f"the panchromatic band has {days[days.duplicated()][0]:%Y-%m-%d} twice; give one "
            "image a day"
        )
    places = days.get_indexer(wanted)
    if (places < 0).all():
        raise CubeError(
            f"the panchromatic band ({len(days)} days) has none of the {len(wanted)} days of "
            "/landsat; give it the dates of the cube's acquisitions"
        )
    images = band.isel(time=np.maximum(places, 0)).assign_coords(time=group["time"].values)
    there = xr.DataArray(places >= 0, dims="time", coords={"time": group["time"].values})
    return images.astype(np.float32).where(there)

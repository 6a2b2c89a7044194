"""Tell the sensors apart: by platform or collection, else by names that only one has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.masks import mask_sensor
from tamrf_xr.harmonize.producers import looks_like_hls, sensors_said, signs_in, words_of
from tamrf_xr.harmonize.variables import names_in
from tamrf_xr.sensors import SENSORS, get_sensor


def sources_of(data: Any, sensor: str | None) -> dict[str, Any]:
    """Return what each sensor has."""
    if isinstance(data, xr.DataTree):
        if groups := groups_of(data):
            return dict(groups)
        if data.children and not data.data_vars:
            raise CubeError(
                f"a DataTree of {', '.join(data.children)}: expected groups sentinel2 and landsat, "
                "or one of them; give each sensor's group as sentinel2= or landsat="
            )
        data = data.to_dataset()
    elif isinstance(data, Mapping) and data and data.keys() <= SENSORS.keys():
        return {str(name): source for name, source in data.items()}
    if sensor is not None:
        return {get_sensor(sensor).name: data}
    return {recognised(data): data}


def recognised(data: Any) -> str:
    """Return the sensor that data come from; refuse what leaves it open."""
    if not isinstance(data, (xr.DataArray, Mapping)):
        raise CubeError(
            f"a {type(data).__name__} is no data of a sensor; give a DataTree, a Dataset, a "
            "DataArray, or a mapping (stores open with tamrf_xr.open_cube)"
        )
    names = names_in(data)
    found = sensors_said(words_of(data)) or _signs(names)
    if len(found) != 1:
        what = "of no sensor alone" if not found else "of two sensors"
        raise CubeError(
            f"cannot tell the sensor: {', '.join(names) or 'no names'} are {what}; pass the data "
            "as sentinel2= or landsat=, or name the sensor with sensor="
        )
    return found.pop()


def _signs(names: Sequence[str]) -> set[str]:
    """Return the sensors that names of bands and masks point to."""
    found = signs_in(names)
    if looks_like_hls(names) and not {"b8a", "b08"} & {name.lower() for name in names}:
        return set()
    return found | {owner for name in names if (owner := mask_sensor(name))}

"""What the caller of `tamrf_xr.as_cube` asks, per sensor."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tamrf_xr.errors import CubeError
from tamrf_xr.harmonize.layers import Place
from tamrf_xr.harmonize.numbers import Said
from tamrf_xr.sensors import CARRIED, SENSORS


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `as_cube`."""

    crs: Any = None
    time: Any = None
    harmonized: Any = None
    offset: Any = None
    scaling: Any = None
    regrid: str | None = None
    check: str = "sample"

    def check_for(self, sensors: Collection[str]) -> None:
        """Refuse what would be ignored: options of no sensor, or of one that is not there.

        Raises
        ------
        CubeError
            Naming the option, and how to give it.
        """
        for name in ("time", "offset", "scaling"):
            option = getattr(self, name)
            known = SENSORS if name == "offset" else {**SENSORS, **CARRIED}
            if isinstance(option, Mapping) and (
                strange := sorted(option.keys() - known.keys(), key=str)
            ):
                raise CubeError(
                    f"{name}= names {', '.join(map(str, strange))}; the sensors are "
                    f"{', '.join(known)}: rename the keys"
                )
        if "sentinel2" in sensors:
            return
        if self.harmonized is not None:
            raise CubeError("harmonized= speaks of Sentinel-2, which is not there: drop it")
        if self.offset is not None and not isinstance(self.offset, Mapping):
            raise CubeError(
                f"offset={self.offset!r} is for Sentinel-2, which is not there: give "
                "offset={'landsat': ...}, or drop it"
            )

    def place(self, name: str) -> Place:
        """Return what is said of where and when a sensor's data lie."""
        return Place(self.crs, for_sensor(self.time, name))

    def said(self, name: str) -> Said:
        """Return what is said of the numbers of a sensor."""
        harmonized = _yes_or_no(self.harmonized) if name == "sentinel2" else None
        offset = for_sensor(self.offset, name)
        if not isinstance(self.offset, Mapping) and name != "sentinel2":
            offset = None
        return Said(for_sensor(self.scaling, name), harmonized, offset)

    def says_something(self, name: str) -> bool:
        """Tell whether numbers are not to be taken as they are."""
        return self.said(name) != Said()


def for_sensor(option: Any, name: str) -> Any:
    """Return the part of an option that is for one sensor."""
    return option.get(name) if isinstance(option, Mapping) else option


def _yes_or_no(value: Any) -> bool | None:
    if value is None or isinstance(value, (bool, np.bool_)) or value in (0, 1):
        return None if value is None else bool(value)
    raise CubeError(f"harmonized={value!r} is neither True nor False nor None")

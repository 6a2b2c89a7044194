"""What comes out of a job: the arrays of a product, and the cube that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dask.array as da
import xarray as xr

from tamrf_xr.cube import build_cube, build_group
from tamrf_xr.fuser import FuserSpec, Pixels
from tamrf_xr.scale.prepared import Job
from tamrf_xr.sensors import SENSORS


@dataclass(frozen=True, slots=True)
class Part:
    """One array of a product, and which of a fuser's bands it holds."""

    sensor: str
    """Group."""

    variable: str
    """``reflectance`` or ``surface_temperature``."""

    first: int
    """Position of its first band among the fuser's."""

    count: int | None = None
    """How many bands; None for one without an axis of its own."""

    @property
    def path(self) -> str:
        """Where it lies in a store."""
        return f"{self.sensor}/{self.variable}"

    @property
    def middle(self) -> tuple[int, ...]:
        """Sizes of the axes between time and space."""
        return () if self.count is None else (self.count,)

    def of(self, fused: Mapping[str, Pixels]) -> Pixels:
        """Take it from what a fuser gives, ``(query, band, y, x)`` per sensor."""
        bands = self.first if self.count is None else slice(self.first, self.first + self.count)
        return fused[self.sensor][:, bands]


def parts_of(spec: FuserSpec) -> tuple[Part, ...]:
    """List the arrays of a method's product."""
    parts = []
    for sensor, bands in spec.makes:
        thermal = SENSORS[sensor].thermal
        has_thermal = thermal is not None and thermal.name in bands
        reflectance = len(bands) - has_thermal
        if reflectance:
            parts.append(Part(sensor, "reflectance", 0, reflectance))
        if has_thermal:
            parts.append(Part(sensor, "surface_temperature", reflectance))
    return tuple(parts)


def build_product(job: Job, arrays: Mapping[Part, da.Array]) -> xr.DataTree:
    """Put the arrays of a product together as a cube.

    Parameters
    ----------
    job
        What it is made of.
    arrays
        Per part, ``(query, ..., y, x)`` on the fine grid.

    Returns
    -------
    xarray.DataTree
        The product.
    """
    spec, attrs = job.spec, job.cube.attrs
    groups = {}
    for sensor, bands in spec.makes:
        variables = {
            part.variable: array for part, array in arrays.items() if part.sensor == sensor
        }
        groups[sensor] = build_group(
            sensor,
            variables.get("reflectance"),
            times=job.queries,
            grid=job.fine,
            bands=tuple(band for band in bands if band in SENSORS[sensor].band_names),
            surface_temperature=variables.get("surface_temperature"),
            attrs={
                "processing_level": "fused",
                "method": spec.method,
                **dict(spec.provenance),
                **job.timing.told(),
            },
        )
    title = attrs.get("title", "")
    history = f"{attrs.get('history', '')}\nfused by tamrf_xr, method {spec.method}".strip()
    return build_cube(groups, title=f"{title}, fused".strip(", "), history=history)

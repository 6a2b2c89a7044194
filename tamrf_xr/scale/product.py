"""What comes out of a job: the arrays of a product, and the cube that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from tamrf_xr.cube import band_coords, build_cube, build_group, located_group
from tamrf_xr.encoding import FILL, SCALES, floating, packing
from tamrf_xr.packed import pack
from tamrf_xr.scale import observed, tokens
from tamrf_xr.scale.layers import Fused, variables_of
from tamrf_xr.scale.prepared import Job
from tamrf_xr.scale.reading import TOKENS
from tamrf_xr.scale.tilework import FuseJob
from tamrf_xr.sensors import SENSORS, THERMAL

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """How a kind of value lies in a store."""

    dtype: str
    """Integers; or floats, of tokens alone."""

    fill: float
    """Stands for no data."""

    scale: float | None = None
    """Physical units per stored unit; None for integers that stand for themselves."""


STORED: Mapping[str, Stored] = {
    "reflectance": Stored("int16", FILL, SCALES["reflectance"]),
    "surface_temperature": Stored("int16", FILL, SCALES["surface_temperature"]),
    "reflectance_std": Stored("int16", FILL, SCALES["reflectance"]),
    "surface_temperature_std": Stored("int16", FILL, 0.01),
    # Some indices have no bounds.
    "index": Stored("int32", -(2**31), 1e-4),
    "days": Stored("int16", observed.NOTHING),
    "count": Stored("int16", observed.NOTHING),
    "source": Stored("uint8", observed.NO_VALUE),
    "int8": Stored("int8", tokens.NOTHING["int8"]),
    "bfloat16": Stored("int16", tokens.NOTHING["bfloat16"]),
    "float32": Stored("float32", tokens.NOTHING["float32"]),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One array of a product, and which of what a tile makes it holds."""

    sensor: str
    """Group."""

    variable: str
    """Its name in the group."""

    kind: str
    """Of its values: a key of `STORED`."""

    middle: tuple[int, ...] = ()
    """Sizes of the axes between time and space."""

    first: int | None = None
    """Position of its first band among the fuser's; None where the tile makes it by name."""

    @property
    def path(self) -> str:
        """Where it lies in a store."""
        return f"{self.sensor}/{self.variable}"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its values in memory."""
        stored = STORED[self.kind]
        return np.dtype(stored.dtype if stored.scale is None else "float32")

    @property
    def encoding(self) -> dict[str, Any]:
        """How xarray encodes it."""
        if self.kind in SCALES:
            return packing(self.kind)
        stored = STORED[self.kind]
        if self.variable == TOKENS:  # without _FillValue: xarray would read floats
            return {"dtype": stored.dtype, "fill_value": stored.fill, "grid_mapping": "spatial_ref"}
        scaled = {} if stored.scale is None else {"scale_factor": stored.scale}
        filled = {"_FillValue": stored.fill, "fill_value": stored.fill}
        return {**floating(self.variable), "dtype": stored.dtype, **filled, **scaled}

    def of(self, fused: Fused) -> Array:
        """Take it from what a tile gives; see `tamrf_xr.scale.layers.Fused`."""
        if self.first is None:
            return fused[self.path]
        bands = slice(self.first, self.first + self.middle[0]) if self.middle else self.first
        return fused[self.sensor][:, bands]

    def packed(self, values: Array) -> Array:
        """Return values as they are stored: clipped and rounded; no number is the fill."""
        stored = STORED[self.kind]
        if stored.scale is None:
            return values
        if self.kind in SCALES:
            return pack(values, self.kind)
        units = np.clip(values / stored.scale, -self.limit / stored.scale, None)
        units = np.rint(np.minimum(units, self.limit / stored.scale))
        return np.where(np.isfinite(values), units, stored.fill).astype(stored.dtype)

    @property
    def limit(self) -> float:
        """Return the largest value that is held."""
        stored = STORED[self.kind]
        if stored.dtype == "float32":
            return float("inf")
        most = np.iinfo(stored.dtype).max
        return float(np.float32(most) * np.float32(stored.scale or 1.0))


def parts_of(job: FuseJob) -> tuple[Part, ...]:
    """List the arrays of a product, in the order of its groups."""
    layers, spec = job.made.layers, job.spec
    if layers.latent is not None:
        form = layers.latent
        return (Part(tokens.GROUP, TOKENS, form.kind, (len(form.channels),), 0),)
    kept, parts = layers.kept(spec), []
    for group, variable, kind in variables_of(layers, spec):
        thermal = SENSORS[group].thermal
        count = len(kept[group]) - (thermal is not None and thermal.name in kept[group])
        middle = (count,) if kind.startswith("reflectance") else ()
        of_fuser = kind in SCALES and not layers.statistics
        first = (0 if middle else count) if of_fuser else None
        parts.append(Part(group, variable, kind, middle, first))
    return (*parts, *_parts_observed(len(job.dates.reads))) if layers.provenance else tuple(parts)


def _parts_observed(given: int) -> tuple[Part, ...]:
    """List the arrays of where pixels come from, of so many sensors."""
    group, sensors = observed.GROUP, given + 1
    return (
        Part(group, "days_to_observation", "days", (len(observed.SIDES), sensors)),
        Part(group, "observations_in_window", "count", (sensors,)),
        Part(group, "source", "source"),
    )


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
    if job.layers.latent is not None:
        return tokens.build_latent(job, job.layers.latent, next(iter(arrays.values())))
    spec, attrs = job.spec, job.cube.attrs
    kept = job.layers.kept(spec)
    groups = {
        sensor: _group(job, sensor, bands, {p: a for p, a in arrays.items() if p.sensor == sensor})
        for sensor, bands in kept.items()
        if any(part.sensor == sensor for part in arrays)
    }
    title = attrs.get("title", "")
    history = f"{attrs.get('history', '')}\nfused by tamrf_xr, method {spec.method}".strip()
    beside = {p: array for p, array in arrays.items() if p.sensor == observed.GROUP}
    return build_cube(
        groups,
        title=f"{title}, fused".strip(", "),
        history=history,
        beside={observed.GROUP: _provenance(job, beside)} if beside else {},
    )


def _group(
    job: Job, sensor: str, bands: tuple[str, ...], arrays: Mapping[Part, da.Array]
) -> xr.Dataset:
    """Build the group of a sensor; what a cube has no name for is described here."""
    known = {part.variable: array for part, array in arrays.items() if part.first is not None}
    optical = tuple(band for band in bands if band in SENSORS[sensor].band_names)
    group = build_group(
        sensor,
        known.get("reflectance"),
        times=job.times_made,
        grid=job.fine,
        bands=optical,
        surface_temperature=known.get("surface_temperature"),
        attrs={
            "processing_level": "fused",
            "method": job.spec.method,
            **dict(job.spec.provenance),
            **job.timing.told(),
        },
    )
    others = {p: array for p, array in arrays.items() if p.first is None}
    if any(part.middle for part in others):
        group = group.assign_coords(band_coords(SENSORS[sensor], optical))
    return group.assign({p.variable: _described(job, p, array) for p, array in others.items()})


def _described(job: Job, part: Part, array: da.Array) -> xr.DataArray:
    """Return an index, or a statistic of what a period holds."""
    dims = ("time", *(("band",) if part.middle else ()), "y", "x")
    name, _, statistic = part.variable.rpartition("_") if job.layers.statistics else (
        part.variable, "", ""
    )  # fmt: skip
    indices = {one.name: one for one in dict(job.layers.indices).get(part.sensor, ())}
    attrs: dict[str, Any] = {"units": "K" if name.startswith("surface_temperature") else "1"}
    attrs |= _of_errors(job, part)
    if name in indices:
        attrs |= {"long_name": indices[name].title, "formula": str(indices[name])}
    if statistic:
        how = f"time: {statistic} (of the query dates of a {job.layers.period})"
        attrs["cell_methods"] = how
    made = xr.DataArray(array, dims=dims, attrs=attrs)
    made.encoding = floating(part.variable)
    return made


def _of_errors(job: Job, part: Part) -> dict[str, Any]:
    """Say what deviations are, and how wide intervals of them; nothing of another variable."""
    if not part.kind.endswith("_std"):
        return {}
    made, kept = job.spec.bands[part.sensor], job.layers.kept(job.spec)[part.sensor]
    thermal = part.kind.startswith("surface_temperature")
    places = [made.index(band) for band in kept if (band == THERMAL) == thermal]
    widths = {
        f"half_width_{share:.0%}".rstrip("%"): [round(dict(own)[part.sensor][i], 4) for i in places]
        for share, own in job.spec.half_widths
    }
    return {
        "long_name": "standard deviation of the error, to a clear observation not given",
        "comment": "half_width_N: half the interval that covers N % of them, in deviations",
        **widths,
    }


def _provenance(job: Job, arrays: Mapping[Part, da.Array]) -> xr.Dataset:
    """Build the group of where pixels come from."""
    names = [name for name in SENSORS if name in job.groups]
    frame = located_group(job.times_made, job.fine)
    frame = frame.assign_coords(
        side=np.array(observed.SIDES, object), sensor=np.array([*names, observed.ANY], object)
    )
    dims = {2: ("time", "side", "sensor", "y", "x"), 1: ("time", "sensor", "y", "x")}
    made = {
        part.variable: xr.DataArray(
            array,
            dims=dims.get(len(part.middle), ("time", "y", "x")),
            attrs={**_ABOUT[part.variable], "_FillValue": array.dtype.type(STORED[part.kind].fill)},
        )
        for part, array in arrays.items()
    }
    group = frame.assign(made).assign_attrs(
        processing_level="fused",
        method=job.spec.method,
        observed="usable by the masks of the cube, with data in every band of the sensor",
        method_used=job.spec.uses,
        **job.timing.told(),
    )
    for name in made:
        group[name].encoding = floating(name)
    return group


_ABOUT: Mapping[str, dict[str, Any]] = {
    "days_to_observation": {
        "long_name": "days to the nearest usable observation on or before, and on or after",
        "units": "days",
    },
    "observations_in_window": {
        "long_name": "usable observations that the date may see",
        "units": "1",
    },
    "source": {
        "long_name": "what was observed on the day",
        "flag_values": np.arange(len(observed.SOURCES), dtype=np.uint8),
        "flag_meanings": " ".join(observed.SOURCES),
    },
}

"""What no producer delivers but some user has: combinations of conventions, drawn."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tamrf_xr.errors import TamrfError
from tamrf_xr.sensors import SENSORS
from tests.door.door_tests import assert_is_the_ramp, outcome
from tests.door.layouts import (
    C2_REFLECTANCE,
    Layout,
    coded,
    each,
    marked,
    per_date,
    qa_pixel,
    scl,
)
from tests.door.ramp import EPSG, TIMES, Scene, crs_attrs

SCENE = Scene()
# In CI the same each time: what others draw by chance is theirs to report.
drawn_often = settings(max_examples=40, derandomize=bool(os.environ.get("CI")))


@dataclass(frozen=True)
class Packing:
    """How reflectance became numbers: `scale * number + offset`."""

    name: str
    scale: float
    offsets: tuple[float, float, float, float]


PACKINGS = {
    "sentinel2": (
        Packing("offset removed", 1e-4, (0.0,) * 4),
        Packing("offset in since 2022", 1e-4, (0.0, 0.0, -0.1, -0.1)),
        Packing("offset in always", 1e-4, (-0.1,) * 4),
        Packing("reflectance x 10000", 1e-4, (0.0,) * 4),
    ),
    "landsat": (
        Packing("Collection 2", C2_REFLECTANCE[0], (C2_REFLECTANCE[1],) * 4),
        Packing("reflectance x 10000", 1e-4, (0.0,) * 4),
    ),
}
BASELINES = {
    "offset removed": ("02.14", "03.00", "04.00", "05.09"),
    "offset in since 2022": ("02.14", "03.00", "04.00", "05.09"),
    "offset in always": ("05.00", "05.00", "05.09", "05.10"),
}
"""What the catalogue says; where the offset is removed, it says so beside it."""

DTYPES = ("uint16", ">u2", "int16", ">i2", "int32", ">i4", "float32", "float64")
NODATA = {"u": (0, 65535), "i": (0, -9999, -999, -32768, -10000), "f": (np.nan, -9999.0)}


@dataclass(frozen=True)
class Drawn:
    """One combination."""

    sensor: str
    bands: tuple[str, ...]
    """As they lie, in any order."""

    names: str
    """"own", "common", "lower" or "upper"."""

    container: str
    """"variables", "stack", "cube" (a variable called reflectance) or "mapping"."""

    dims: tuple[str, ...]
    packing: Packing
    applied: bool
    """The numbers are reflectance already."""

    dtype: str
    nodata: float
    stated: str
    """Where scale, offset and nodata stand: "nowhere", "attrs", "encoding", "dataset", "lists"."""

    baseline: str
    """Where the processing baseline stands: "nowhere", "time", "attrs"."""

    mask: bool
    south_up: bool
    chunks: tuple[int, int] | None


@st.composite
def combinations(draw) -> Drawn:
    sensor = draw(st.sampled_from(list(SENSORS)))
    applied = draw(st.booleans())
    dtype = draw(st.sampled_from(DTYPES[-2:] if applied else DTYPES))
    packing = draw(st.sampled_from(PACKINGS[sensor]))
    dtype = fitting(dtype, packing)
    bands = draw(
        st.lists(st.sampled_from(SENSORS[sensor].band_names), min_size=1, max_size=4, unique=True)
    )
    places = ["nowhere", "attrs", "encoding", "dataset", "lists"]
    one_scale = len(set(packing.offsets)) == 1
    return Drawn(
        sensor=sensor,
        bands=tuple(bands),
        names=draw(st.sampled_from(["own", "common", "lower", "upper"])),
        container=draw(st.sampled_from(["variables", "stack", "cube", "mapping"])),
        dims=tuple(draw(st.permutations(["time", "band", "y", "x"]))),
        packing=packing,
        applied=applied,
        dtype=dtype,
        nodata=draw(st.sampled_from(NODATA[np.dtype(dtype).kind])),
        stated=draw(st.sampled_from(places)) if one_scale else "nowhere",
        baseline=draw(st.sampled_from(["nowhere", "time", "attrs"])),
        mask=draw(st.booleans()),
        south_up=draw(st.booleans()),
        chunks=draw(st.none() | st.tuples(st.integers(1, 4), st.integers(7, 40))),
    )


def fitting(dtype: str, packing: Packing) -> str:
    """Clouds of Collection 2 are numbers above 32767."""
    narrow = packing.name == "Collection 2" and np.dtype(dtype) in {np.dtype("i2"), np.dtype(">i2")}
    return dtype.replace("int16", "int32").replace("i2", "i4") if narrow else dtype


def numbers_of(drawn: Drawn) -> xr.DataArray:
    true = SCENE.bands(drawn.sensor, drawn.bands)
    if drawn.applied:
        made = true
    else:
        made = coded(
            true, drawn.packing.scale, per_date(drawn.packing.offsets, drawn.sensor), dtype="f8"
        )
    made = made.astype(drawn.dtype) if np.isnan(drawn.nodata) else made.fillna(drawn.nodata)
    return made.astype(drawn.dtype)


def statements(drawn: Drawn) -> dict[str, Any]:
    offset = drawn.packing.offsets[0]
    found: dict[str, Any] = {"scale_factor": drawn.packing.scale, "add_offset": offset}
    if not np.isnan(drawn.nodata):
        found["_FillValue"] = drawn.nodata
    return found


def labelled(drawn: Drawn) -> list[str]:
    row = SENSORS[drawn.sensor]
    bands = [next(b for b in row.bands if b.name == name) for name in drawn.bands]
    if drawn.names == "common":
        return [band.common_name for band in bands]
    change = {"own": str, "lower": str.lower, "upper": str.upper}[drawn.names]
    return [change(band.name) for band in bands]


def data_of(drawn: Drawn) -> Any:
    """Build what the user has."""
    stack = with_statements(drawn, numbers_of(drawn).assign_coords(band=labelled(drawn)))
    gsd = SENSORS[drawn.sensor].gsd
    stack = stack.assign_coords(spatial_ref=((), 0, crs_attrs(gsd)), **baseline_coords(drawn))
    stack.encoding["grid_mapping"] = "spatial_ref"
    if drawn.south_up:
        stack = stack.isel(y=slice(None, None, -1))
    if drawn.chunks:
        stack = stack.chunk(time=drawn.chunks[0], y=drawn.chunks[1], x=drawn.chunks[1])
    return contained(drawn, stack)


def with_statements(drawn: Drawn, stack: xr.DataArray) -> xr.DataArray:
    said = statements(drawn)
    if drawn.stated == "attrs":
        stack.attrs.update(said)
    elif drawn.stated == "encoding":
        said = said if drawn.applied else {k: v for k, v in said.items() if k == "_FillValue"}
        stack.encoding.update(said)
    elif drawn.stated == "lists":
        count = stack.sizes["band"]
        lists = {"scale_factor": "scales", "add_offset": "offsets", "_FillValue": "nodatavals"}
        stack.attrs.update({lists[key]: (value,) * count for key, value in said.items()})
    return stack


def baseline_coords(drawn: Drawn) -> dict[str, Any]:
    if drawn.packing.name not in BASELINES or drawn.baseline != "time":
        return {}
    said = {"s2:processing_baseline": ("time", list(BASELINES[drawn.packing.name]))}
    if drawn.packing.name == "offset removed":
        said["earthsearch:boa_offset_applied"] = ("time", [False, False, True, True])
    return said


def dataset_attrs(drawn: Drawn) -> dict[str, Any]:
    attrs = statements(drawn) if drawn.stated == "dataset" else {}
    if drawn.baseline == "attrs" and drawn.packing.name == "offset in always":
        attrs["s2:processing_baseline"] = "05.10"
    return attrs


def contained(drawn: Drawn, stack: xr.DataArray) -> Any:
    stack = stack.transpose(*drawn.dims)
    if drawn.container == "stack":
        return stack.assign_attrs(dataset_attrs(drawn) | stack.attrs)
    if drawn.container == "cube":
        made = stack.to_dataset(name="reflectance")
        return with_mask(drawn, made.assign_attrs(dataset_attrs(drawn)))
    lists = ("scales", "offsets", "nodatavals")
    arrays = {}
    for one in each(stack):
        attrs = {k: v[:1] if k in lists else v for k, v in one.attrs.items()}
        plain = one.drop_vars("band").copy()
        plain.attrs = attrs
        plain.encoding = dict(stack.encoding)
        arrays[str(one["band"].values)] = plain
    if drawn.container == "mapping":
        return arrays
    return with_mask(drawn, xr.Dataset(arrays).assign_attrs(dataset_attrs(drawn)))


def with_mask(drawn: Drawn, made: xr.Dataset) -> xr.Dataset:
    if not drawn.mask:
        return made
    clouds = scl(SCENE) if drawn.sensor == "sentinel2" else qa_pixel(SCENE)
    return made.assign({"SCL" if drawn.sensor == "sentinel2" else "QA_PIXEL": clouds})


def expectation(drawn: Drawn) -> Layout:
    order = SENSORS[drawn.sensor].band_names
    masked = drawn.mask and drawn.container in {"variables", "cube"}
    return Layout(
        "drawn", drawn.sensor, lambda _: None, "drawn",
        bands=sorted(drawn.bands, key=order.index), masked=masked,
    )  # fmt: skip


def check(drawn: Drawn, options: Mapping[str, Any]) -> Any:
    layout = expectation(drawn)
    found = outcome(layout, data_of(drawn), options)
    if not isinstance(found, TamrfError):
        assert_is_the_ramp(layout, found, SCENE)
    return found


@drawn_often
@given(drawn=combinations())
def test_any_combination_is_right_or_the_error_says_what_to_pass(drawn):
    check(drawn, {})


@drawn_often
@given(drawn=combinations())
def test_what_the_caller_says_is_right_or_refused(drawn):
    """Scale and offset said: never another thing, whatever the data state."""
    if drawn.applied:
        check(drawn, {"scaling": "physical"})
    elif drawn.sensor == "sentinel2":
        check(drawn, {"scaling": "dn", "offset": drawn.packing.offsets})
    elif drawn.packing.name == "Collection 2":
        check(drawn, {"scaling": "dn"})
    else:
        check(drawn, {"scaling": "ls2s2"})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("container", ["variables", "stack"])
def test_what_is_stated_in_attrs_must_come_in(dtype, container):
    """Numbers of any type that state scale, offset and nodata are the plainest of all."""
    nodata = {"u": 65535, "i": -999, "f": -9999.0}[np.dtype(dtype).kind]
    for sensor, packings in PACKINGS.items():
        drawn = Drawn(
            sensor=sensor,
            bands=SENSORS[sensor].band_names[:3],
            names="own",
            container=container,
            dims=("time", "band", "y", "x"),
            packing=packings[0],
            applied=False,
            dtype=fitting(dtype, packings[0]),
            nodata=nodata,
            stated="attrs",
            baseline="time",
            mask=False,
            south_up=True,
            chunks=None,
        )
        options = {"scaling": "stated"} if np.dtype(dtype).kind == "f" else {}
        found = check(drawn, options)
        assert not isinstance(found, TamrfError), f"{sensor} {dtype}: refused: {found}"


@pytest.mark.parametrize(
    ("units", "factor", "add"), [("%", 100.0, 0.0), ("1", 1.0, 0.0), ("percent", 100.0, 0.0)]
)
@pytest.mark.parametrize("lazy", [False, True])
def test_units_are_obeyed_or_the_error_says_what_to_pass(units, factor, add, lazy):
    scene = Scene(lazy=lazy)
    stack = scene.bands("landsat") * factor + add
    stack = stack.assign_coords(spatial_ref=((), 0, crs_attrs(30.0))).assign_attrs(units=units)
    layout = Layout("units", "landsat", lambda _: None, "CF units", masked=False)
    found = outcome(layout, stack, {})
    if units != "percent":
        assert not isinstance(found, TamrfError), f"refused: {found}"
    if not isinstance(found, TamrfError):
        assert_is_the_ramp(layout, found, scene)


@pytest.mark.parametrize(("units", "below"), [("K", 0.0), ("degC", 273.15), ("celsius", 273.15)])
@pytest.mark.parametrize("lazy", [False, True])
def test_units_of_temperature_are_obeyed(units, below, lazy):
    scene = Scene(lazy=lazy)
    optics, heat = scene.bands("landsat"), scene.heat() - below
    data = xr.Dataset({name: optics.sel(band=name, drop=True) for name in optics["band"].values})
    data["ST_B10"] = heat.assign_attrs(units=units)
    data = data.drop_vars("band", errors="ignore")
    layout = Layout(
        "kelvin", "landsat", lambda _: None, "CF units", heat=True, masked=False,
        always={"crs": EPSG},
    )  # fmt: skip
    found = outcome(layout, data, {})
    assert not isinstance(found, TamrfError), f"refused: {found}"
    assert_is_the_ramp(layout, found, scene)


MASKS = {
    "Fmask": ("landsat", {"clear": 0, "cloud": 2, "fill": 255}),
    "QA60": ("sentinel2", {"clear": 0, "cloud": 1024, "fill": 0, "dtype": "uint16"}),
    "cloudmask": ("landsat", {"clear": 0, "cloud": 1, "fill": 0}),
    "quality": ("sentinel2", {"clear": 0, "cloud": 1, "fill": 0}),
}


@pytest.mark.parametrize("mask", MASKS)
def test_masks_are_read_or_named_never_dropped(mask):
    """It counts, or an error or a warning names it."""
    sensor, values = MASKS[mask]
    bands = ("B02", "B05")
    data = xr.Dataset({n: SCENE.bands(sensor, (n,)).isel(band=0, drop=True) for n in bands})
    data[mask] = marked(SCENE.clouds(sensor), **values)
    layout = Layout("mask", sensor, lambda _: None, "drawn", bands=bands, always={"crs": EPSG})
    with warnings.catch_warnings(record=True, action="always") as told:
        found = outcome(layout, data, {})
    if isinstance(found, TamrfError) or told:
        assert mask in f"{found} {[str(warning.message) for warning in told]}"
    else:
        assert_is_the_ramp(layout, found, SCENE)


def test_times_of_both_sensors_straddle_the_baseline():
    for times in TIMES.values():
        assert (times < "2022-01-25").sum() == 2

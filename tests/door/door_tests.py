"""What the door must keep for every layout: the cube equals the ramp, or an error helps."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from pyproj import CRS
from scipy.ndimage import binary_erosion

from tamrf_xr import TamrfError, as_cube, open_cube, save_cube
from tamrf_xr.cube import groups_of
from tests.door.layouts import Layout
from tests.door.ramp import EPSG, Scene

REFLECTANCE, KELVIN = 2e-4, 0.1
"""Apart from the truth at most: half a step of every product, and what float32 adds."""

HELPFUL = re.compile(r"\w+=|rename|give |select |leave them out|pass ")
"""An error names what to pass or to do."""

SHARE = 0.25
"""Of the blocks of lazy data, at most so many may be computed at the door."""

_EDGE = 6
"""Pixels of 10 m beside an edge where resampling may differ from the truth."""


def outcome(layout: Layout, source: Any, options: Mapping[str, Any], *, named: bool = True):
    """Return the cube in memory, or the error of ours; anything else is raised."""
    given = {layout.sensor: source} if named else {"data": source}
    try:
        return as_cube(**given, **{**layout.always, **options}).compute()
    except TamrfError as error:
        refusal = error
    assert HELPFUL.search(str(refusal)), f"does not say what to pass: {refusal}"
    return refusal


def assert_right_or_refused(layout: Layout, found: Any, scene: Scene) -> None:
    if not isinstance(found, TamrfError):
        assert_is_the_ramp(layout, found, scene)


def assert_right(layout: Layout, found: Any, scene: Scene) -> None:
    assert not isinstance(found, TamrfError), f"refused: {found}"
    assert_is_the_ramp(layout, found, scene)


def assert_is_the_ramp(layout: Layout, cube: xr.DataTree, scene: Scene) -> None:
    """Compare a cube with what was on the ground."""
    groups = groups_of(cube)
    assert set(groups) == {layout.sensor}
    group = groups[layout.sensor]
    assert_lies_where_it_lay(layout, group, scene)
    scene = replace(scene, lazy=False)
    true = scene.bands(layout.sensor, layout.expected_bands)
    usable = seen_and_clear(layout, scene)
    assert_values("reflectance", group["reflectance"], true, REFLECTANCE, layout, usable)
    assert_usable(layout, group, usable)
    assert_heat(layout, group, scene, usable)


def assert_lies_where_it_lay(layout: Layout, group: xr.Dataset, scene: Scene) -> None:
    assert group.rio.crs == CRS(EPSG)
    for name, centres in scene.grid(10.0 if layout.sensor == "sentinel2" else 30.0).items():
        np.testing.assert_allclose(group[name], centres, atol=1e-6, err_msg=f"{name} of pixels")
    assert tuple(group["band"].values.tolist()) == layout.expected_bands
    apart = np.abs(group["time"].values - layout.times.values)
    assert apart.max() < np.timedelta64(1, "s"), f"times {group['time'].values}"


def seen_and_clear(layout: Layout, scene: Scene) -> np.ndarray:
    clouds = scene.clouds(layout.sensor).values
    return clouds == 0 if layout.masked else np.isfinite(clouds)


def assert_values(what, found, true, tolerance, layout: Layout, usable: np.ndarray) -> None:
    found, true = found.values, true.values
    assert found.dtype == np.float32
    where = np.isfinite(true)
    if layout.loose:
        tolerance, where = 3e-3, where & np.expand_dims(inside(usable), 1)
    else:
        np.testing.assert_array_equal(np.isfinite(found), where, f"{what}: where there is data")
    np.testing.assert_allclose(found[where], true[where], atol=tolerance, rtol=0, err_msg=what)


def assert_usable(layout: Layout, group: xr.Dataset, usable: np.ndarray) -> None:
    found = np.isfinite(group["reflectance"].values).all(axis=1)
    if "valid" in group:
        assert group["valid"].dtype == bool
        found &= group["valid"].values
    if layout.loose:
        assert found[inside(usable)].all()
        assert not found[inside(~usable)].any()
    else:
        np.testing.assert_array_equal(found, usable, "usable: valid and finite")


def assert_heat(layout: Layout, group: xr.Dataset, scene: Scene, usable: np.ndarray) -> None:
    there = "surface_temperature" in group
    assert layout.heat is None or there == layout.heat
    if there:
        found, true = group["surface_temperature"], scene.heat()
        assert_values("kelvin", found, true, KELVIN, layout, usable)


def inside(mask: np.ndarray) -> np.ndarray:
    """Return what lies apart from edges, of the mask and of the scene."""
    return np.stack([binary_erosion(one, np.ones((3, 3)), iterations=_EDGE) for one in mask])


def arrays_of(source: Any) -> dict[str, xr.DataArray]:
    if isinstance(source, xr.DataArray):
        return {"array": source}
    return {str(name): source[name] for name in source}


def thin(layout: Layout, source: Any) -> tuple[Layout, Any]:
    """Keep four bands, both near infrared, and what is beside them: each costs graph and time."""
    bands = layout.expected_bands
    first = len(bands)
    kept = sorted({0, 2, first - 4, first - 3})
    if isinstance(source, xr.DataArray):
        few = without_bands(source, [*kept, *range(first, source.sizes["band"])])
    else:
        names = [*source]
        chosen = [names[at] for at in kept] + names[first:]
        few = {n: source[n] for n in chosen} if isinstance(source, dict) else source[chosen]
    return replace(layout, bands=[bands[at] for at in kept]), few


def without_bands(stack: xr.DataArray, kept: list[int]) -> xr.DataArray:
    count, few = stack.sizes["band"], stack.isel(band=kept)
    few.attrs = {
        key: tuple(value[at] for at in kept)
        if isinstance(value, tuple) and len(value) == count
        else value
        for key, value in stack.attrs.items()
    }
    few.encoding = dict(stack.encoding)
    return few


def presented(layout: Layout, scene: Scene) -> tuple[Layout, Any]:
    """Every band in memory; of lazy data a few."""
    source = layout.build(scene)
    return thin(layout, source) if scene.lazy else (layout, source)


def cube_of(layout: Layout, source: Any) -> xr.DataTree | None:
    """Return the cube, or None where nothing can be passed to make it."""
    try:
        return as_cube(**{layout.sensor: source}, **{**layout.always, **layout.options})
    except TamrfError:
        if layout.hopeless:
            return None
        raise


class DoorTests:
    """Inherit, and give a fixture `layout`."""

    @pytest.fixture
    def layout(self) -> Layout:
        raise NotImplementedError

    @pytest.fixture(params=["loaded", "lazy"])
    def scene(self, request) -> Scene:
        return Scene(lazy=request.param == "lazy")

    def test_it_comes_in_right_or_the_error_says_what_to_pass(self, layout, scene):
        layout, source = presented(layout, scene)
        found = outcome(layout, source, {})
        if layout.refused:
            assert isinstance(found, TamrfError), "must be refused"
        if isinstance(found, TamrfError):
            expected = layout.refused or layout.may_refuse
            assert expected, f"must come in, but was refused: {found}"
            assert re.search(expected, str(found)), f"expected {expected!r} in: {found}"
        else:
            assert_is_the_ramp(layout, found, scene)

    def test_with_what_the_error_asks_for_it_comes_in_right(self, layout):
        if not layout.options:
            return  # The test above demands as much.
        scene = Scene(lazy=True)
        layout, source = thin(layout, layout.build(scene))
        found = outcome(layout, source, layout.options)
        check = assert_right_or_refused if layout.hopeless else assert_right
        check(layout, found, scene)

    def test_the_sensor_is_told_right_or_asked_for(self, layout):
        scene = Scene()
        layout, source = thin(layout, layout.build(scene))
        found = outcome(layout, source, layout.options, named=False)
        assert_right_or_refused(layout, found, scene)

    @pytest.mark.parametrize(("kind", "decoded"), [("zarr", True), ("netcdf", False)])
    def test_through_a_file_it_is_right_or_refused(self, layout, kind, decoded, tmp_path):
        scene = Scene()
        layout, source = thin(layout, layout.build(scene))
        stored = storable(source)
        opened = through_file(stored, tmp_path / f"data.{kind}", kind, decoded=decoded)
        assert_right_or_refused(layout, outcome(layout, opened, {}), scene)

    def test_arguments_are_not_modified(self, layout):
        layout, source = thin(layout, layout.build(Scene()))
        before = {name: array.copy(deep=True) for name, array in arrays_of(source).items()}
        outcome(layout, source, layout.options)
        after = arrays_of(source)
        assert after.keys() == before.keys()
        for name, array in before.items():
            xr.testing.assert_identical(after[name], array)
            assert after[name].encoding == array.encoding

    def test_lazy_data_are_not_computed_whole(self, layout):
        scene = Scene(size=120, lazy=True)
        layout, source = thin(layout, layout.build(scene))
        cube = cube_of(layout, source)
        if cube is None:
            return
        assert dask.is_dask_collection(groups_of(cube)[layout.sensor]["reflectance"].data)
        assert scene.counter.computed <= SHARE * scene.counter.blocks, scene.counter

    def test_the_cube_is_stored_and_opened_equal(self, layout, tmp_path):
        layout, source = thin(layout, layout.build(Scene()))
        cube = cube_of(layout, source)
        if cube is None:
            return
        save_cube(cube, tmp_path / "cube.zarr")
        again = groups_of(open_cube(tmp_path / "cube.zarr"))[layout.sensor]
        group = groups_of(cube)[layout.sensor]
        np.testing.assert_allclose(again["reflectance"], group["reflectance"], atol=5.1e-5)
        for name in group.coords.keys() - {"spatial_ref"}:
            np.testing.assert_array_equal(again[name].values, group[name].values)
        assert again.rio.crs == group.rio.crs
        if "valid" in group:
            np.testing.assert_array_equal(again["valid"], group["valid"])
        if "surface_temperature" in group:
            kelvin = "surface_temperature"
            np.testing.assert_allclose(again[kelvin], group[kelvin], atol=0.051)


# Files --------------------------------------------------------------------------------------------


def storable(source: Any) -> xr.Dataset | dict[str, xr.Dataset]:
    """Return the data without what no format stores, as users drop it."""
    if isinstance(source, dict):
        return {name: storable(array.to_dataset(name=name)) for name, array in source.items()}
    if isinstance(source, xr.DataArray):
        source = source.to_dataset(name="data")
    made = source.drop_vars([n for n, c in source.coords.items() if c.dtype == object])
    made = made.assign_attrs()
    for name, array in made.variables.items():
        if array.dtype.kind == "S":  # which Zarr warns of
            made[name] = array.copy(data=np.zeros(array.shape, np.int32))
    for array in [made, *made.variables.values()]:
        attrs = {
            k: [*map(float, v)] if isinstance(v, Affine) else v for k, v in array.attrs.items()
        }
        array.attrs = {k: v for k, v in attrs.items() if _is_plain(v)}
    for name in made.data_vars:
        made[name].encoding = {"grid_mapping": g} if (g := _mapping_of(made, name)) else {}
    return made


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return len({type(v) for v in value}) == 1 and all(_is_plain(v) for v in value)
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _mapping_of(data: xr.Dataset, name: Any) -> str | None:
    if "grid_mapping" in data[name].attrs:
        return None
    return data[name].encoding.get("grid_mapping")


def through_file(stored: Any, path: Path, kind: str, *, decoded: bool) -> Any:
    """Write, open lazily as users do, and give what they would hand over."""
    if isinstance(stored, dict):
        return {
            name: through_file(one, path / f"{name}.{kind}", kind, decoded=decoded)[name]
            for name, one in stored.items()
        }
    path.parent.mkdir(exist_ok=True, parents=True)
    options = {"mask_and_scale": decoded, "decode_coords": "all"}
    if kind == "zarr":
        with warnings.catch_warnings(action="ignore"):  # of the type of strings
            stored.to_zarr(path, consolidated=False)
        opened = xr.open_zarr(path, consolidated=False, **options)
    else:
        stored.to_netcdf(path, engine="h5netcdf")
        opened = xr.open_dataset(path, engine="h5netcdf", chunks={}, **options)
    return opened["data"] if "data" in opened.data_vars else opened

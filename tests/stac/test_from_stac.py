"""From a catalogue to a cube: whatever its layout, the scene is what was on the ground."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import cloudpickle
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import xarray as xr
from scipy.ndimage import binary_erosion

from tamrf_xr.cube import grid_of, groups_of, validate
from tamrf_xr.errors import SourceWarning
from tamrf_xr.harmonize.masks import QUALITY_LAYERS
from tamrf_xr.ingest.stac import from_stac
from tamrf_xr.ingest.stac_catalogs import CATALOGS, KELVIN
from tamrf_xr.ingest.stac_scenes import scene_of
from tamrf_xr.sensors import SENSORS
from tests.door.layouts import C2_REFLECTANCE
from tests.door.ramp import EPSG, EXTENT, LEFT, TIMES, TOP, Scene, reflectance, temperature
from tests.ingest_tests import Case, IngestTests, reads
from tests.oracle import shared
from tests.stac.conftest import both, row
from tests.stac.ramp_catalog import (
    AOI,
    LAYOUTS,
    Shown,
    add_ramp,
    asset,
    lonlat,
    numbers_of,
    real_item,
    write_cog,
)  # fmt: skip
from tests.stac.server import Api, footprint

__all__ = ["reads"]  # a fixture

DAY_ONE = pd.Timestamp("2021-06-01")
EXACT = 2e-4
"""As of the door's tests: half a step of every product, and what float32 adds."""


class TestStac(IngestTests):
    """Earth Search, both sensors."""

    @pytest.fixture
    def case(self, api) -> Case:
        both(api)
        usable = {name: Scene().clouds(name).values == 0 for name in SENSORS}
        folder = api.folder / "earth-search"
        return Case(
            open=lambda: from_stac(row(api), aoi=AOI),
            rasters={
                "sentinel2": folder / "sentinel-2-c1-l2a/0/B02.tif",
                "landsat": folder / "landsat-c2-l2/0/B02.tif",
            },
            unusable={name: ~there for name, there in usable.items()},
            times={name: list(TIMES[name]) for name in SENSORS},
        )

    def test_nothing_is_asked_of_a_file_before_it_is_computed(self, case, api):
        case.open()
        assert api.asked["/search"] >= 1
        assert api.reads == {}


def assert_is_the_ramp(
    cube: xr.DataTree,
    sensors: set[str],
    *,
    heat: bool = True,
    seams: bool = False,
    coarse: bool = False,
) -> None:
    """Equal, where files are on the grid; those of 20 m apart from edges of clouds and seams."""
    groups = groups_of(cube.compute())
    assert set(groups) == sensors
    for name, group in groups.items():
        assert group.rio.crs.to_epsg() == EPSG
        for axis, centres in Scene().grid(SENSORS[name].gsd).items():
            np.testing.assert_allclose(group[axis], centres, atol=1e-6)
        assert group["time"].to_index().equals(TIMES[name].rename("time"))
        assert_values(name, group, seams=seams, coarse=coarse and name == "sentinel2")
    if heat:
        kelvin = groups["landsat"]["surface_temperature"].values
        np.testing.assert_allclose(kelvin, Scene().heat().values, atol=2e-3)


def assert_values(
    name: str, group: xr.Dataset, *, seams: bool = False, coarse: bool = False
) -> None:
    true, clouds = Scene().bands(name).values, Scene().clouds(name).values
    found = group["reflectance"].values
    np.testing.assert_array_equal(np.isnan(found), np.isnan(true))
    np.testing.assert_array_equal(group["valid"], clouds == 0)
    even = np.stack([flat(one) for one in clouds])
    if seams:
        for third in (20, 40):
            even[..., third - 4 : third + 4] = False
    for at, band in enumerate(SENSORS[name].bands):
        where = np.isfinite(true[:, at])
        if coarse or band.gsd > SENSORS[name].gsd:
            where &= even
        np.testing.assert_allclose(
            found[:, at][where], true[:, at][where], atol=EXACT, rtol=0, err_msg=band.name
        )


def flat(clouds: np.ndarray) -> np.ndarray:
    """Return where nothing within 40 m is of another kind."""
    around = np.ones((9, 9))
    kinds = [binary_erosion(clouds == kind, around) for kind in (0, 1)]
    return np.logical_or(*kinds)


PAIRS = {
    "earth-search, Collection 1": ("earth-search-c1", "earth-search-landsat"),
    "earth-search, v1": ("earth-search-v1", "earth-search-landsat"),
    "planetary-computer": ("planetary-computer", "planetary-computer-landsat"),
    "cdse": ("cdse",),
    "usgs": ("usgs", "usgs-st"),
    "lpcloud": ("hls-s30", "hls-l30"),
}


def opened(api: Api, layouts: tuple[str, ...], **options) -> xr.DataTree:
    shown = [LAYOUTS[name] for name in layouts]
    names = [one.collection for one in shown]
    return from_stac(row(api, shown[0].catalog), aoi=AOI, collections=names, **options)


@pytest.mark.parametrize("layouts", PAIRS.values(), ids=PAIRS)
def test_every_catalogue_gives_the_scene(api, layouts):
    for name in layouts:
        add_ramp(api, LAYOUTS[name])
    sensors = {LAYOUTS[name].sensor for name in layouts}
    # Alone, Landsat keeps its archive's grid: that of the ramp is asked for with Sentinel-2.
    options = {"crs": EPSG}
    cube = opened(api, layouts, **options)
    if sensors == {"landsat"}:
        assert_on_the_archive_grid(cube)
        assert "surface_temperature" in cube["landsat"]
    else:
        there = KELVIN in {band for name in layouts for band in LAYOUTS[name].assets}
        assert_is_the_ramp(cube, sensors, heat=there, coarse=layouts[0] == "hls-s30")


def assert_on_the_archive_grid(cube: xr.DataTree) -> None:
    group = groups_of(cube)["landsat"]
    left, _, _, top = grid_of(group).bounds
    assert left % 30 == top % 30 == 15
    optics = group["reflectance"].sel(band="B05").values[0]
    x, y = np.meshgrid(group["x"], group["y"])
    true = reflectance(x, y, wavelength=0.865, days=0)
    inside = np.isfinite(optics) & (optics < 0.5)
    rim = binary_erosion(inside, np.ones((5, 5)))
    assert rim.any()
    np.testing.assert_allclose(optics[rim], true[rim], atol=EXACT)
    if "surface_temperature" in group:
        kelvin = group["surface_temperature"].values[0]
        np.testing.assert_allclose(kelvin[rim], temperature(x, y, days=0)[rim], atol=2e-2)


@pytest.mark.parametrize("name", [name for name, shown in LAYOUTS.items() if shown.real])
def test_real_items_are_understood(api, name):
    """A real item of the layout, moved to the ramp, with all that it says else."""
    folder, shown = shared("real/stac_items"), LAYOUTS[name]
    real = real_item(folder, shown)
    lacking = {band for band, key in shown.assets.items() if key not in real["assets"]}
    assert not lacking
    add_ramp(api, shown, base=real)
    group = groups_of(opened(api, (name,), crs=EPSG).compute())[shown.sensor]
    if shown.sensor == "sentinel2":
        assert_values("sentinel2", group)
    else:
        assert_on_the_archive_grid(xr.DataTree.from_dict({"landsat": group}))


def test_thirteen_real_items_are_scenes():
    folder = shared("real/stac_items")
    collection = real_item(folder, replace(LAYOUTS["cdse"], real=(
        "odc-stac_site2-2020_jun_jul-35MNM.geojson"
    )))  # fmt: skip
    catalog = CATALOGS["planetary-computer"]
    scenes = [
        scene_of(i, catalog, catalog.series["sentinel-2-l2a"]) for i in collection["features"]
    ]
    assert len({scene.twin for scene in scenes}) == len(scenes) == 13
    assert {scene.twin[1] for scene in scenes} == {"35MNM"}
    assert all(set(scene.assets) == {*SENSORS["sentinel2"].band_names, "SCL"} for scene in scenes)


def test_the_location_that_can_be_read_is_preferred():
    item = real_item(shared("real/stac_items"), LAYOUTS["usgs"])
    catalog = CATALOGS["usgs"]
    scene = scene_of(item, catalog, catalog.series["landsat-c2l2-sr"])
    assert all(href.startswith("s3://usgs-landsat/") for href in scene.assets.values())


def test_rows_name_bands_and_masks_that_are_known():
    roles = {layer.names[0] for layer in QUALITY_LAYERS}
    for catalog in CATALOGS.values():
        for series in catalog.series.values():
            bands = {*SENSORS[series.sensor].band_names, KELVIN}
            assert {name.lower() for name in set(series.assets) - bands} <= roles
            assert all(series.holds(n).classes == (n not in bands) for n in series.assets)
            assert set(series.scales) == set(series.assets) & bands
            assert series.source
        assert set(catalog.defaults) <= set(catalog.series)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("by_get", [False, True])
def test_every_page_is_read(api, relative, by_get):
    both(api)
    api.page, api.relative, api.by_get = 1, relative, by_get
    cube = from_stac(row(api), aoi=AOI)
    assert {name: group.sizes["time"] for name, group in groups_of(cube).items()} == {
        "sentinel2": 4, "landsat": 4,
    }  # fmt: skip
    assert api.asked["/search"] == 8


def test_any_chunking_gives_the_same_bits_sent_elsewhere_too(api):
    both(api)
    whole, parts = (from_stac(row(api), aoi=AOI, chunks=size) for size in (1080, 39))
    sent = cloudpickle.loads(cloudpickle.dumps(parts)).compute()
    for name, group in groups_of(whole.compute()).items():
        assert group.identical(groups_of(sent)[name])


def test_places_are_told_in_many_ways(api):
    both(api)
    west, south, east, north = lonlat([LEFT, TOP - EXTENT, LEFT + EXTENT, TOP], margin=0)
    place = footprint(west, south, east, north)
    days = {"datetime": "2021-01-01/2022-12-31"}
    feature = {"type": "Feature", "geometry": place, "properties": {}}
    cubes = [
        from_stac(row(api), bbox=(west, south, east, north), **days),
        from_stac(row(api), geometry=place, **days),
        from_stac(row(api), aoi={"type": "FeatureCollection", "features": [feature]}, **days),
        from_stac(row(api), aoi={"aoi": [west, south, east, north], **AOI_DAYS}),
    ]
    asked = pyproj.Transformer.from_crs(4326, EPSG, always_xy=True)
    for cube in cubes:
        validate(cube)
        left, bottom, right, top = grid_of(groups_of(cube)["landsat"]).bounds
        assert all(edge % 30 == 0 for edge in (left, bottom, right, top))
        x, y = asked.transform(west, south)
        # A box in degrees leans: its corner lies within the box around it.
        assert left - 0.5 <= x < left + 60
        assert bottom - 0.5 <= y < bottom + 60


AOI_DAYS = {"start_date": "2021-01-01", "end_date": "2022-12-31"}


# What catalogues hold -----------------------------------------------------------------------------


def test_of_items_that_are_there_twice_the_newest_counts(api):
    items = both(api)
    old = copy.deepcopy(items[1])
    old["id"] += "_old"
    old["properties"] |= {"s2:processing_baseline": "02.14", "updated": "2021-07-01T00:00:00Z"}
    for one in old["assets"].values():
        one["href"] = api.href("of-the-old-one.tif")
    landsat = copy.deepcopy(items[4])
    landsat["id"] = landsat["id"].replace("20230101_02_T1", "20210610_02_RT")
    landsat["properties"]["landsat:collection_category"] = "RT"
    for one in landsat["assets"].values():
        one["href"] = api.href("of-the-old-one.tif")
    api.items += [old, landsat]
    cube = from_stac(row(api), aoi=AOI)
    assert_is_the_ramp(cube, {"sentinel2", "landsat"})
    assert cube["sentinel2"].attrs["items"] == "4 used, 1 older copies left out"
    assert "/files/of-the-old-one.tif" not in api.reads


def cut_in_two(api: Api, item: dict, shown: Shown, at: int, *, seconds: float, tile: dict) -> None:
    """Show a date by two scenes that overlap: each lacks a part of the ground."""
    other = copy.deepcopy(item)
    other["id"] += "_other"
    time = pd.Timestamp(item["properties"]["datetime"]) + pd.Timedelta(seconds=seconds)
    other["properties"] |= {"datetime": time.isoformat(), **tile}
    for band, array in numbers_of(shown, Scene()).items():
        gsd, third = float(array["x"][1] - array["x"][0]), array.sizes["x"] // 3
        fill = CATALOGS[shown.catalog].series[shown.collection].holds(band).fill
        parts = {"left": (0, 2 * third), "right": (third, array.sizes["x"])}
        for side, (first, last) in parts.items():
            values = array.values[at].copy()
            values[:, :first] = values[:, last:] = fill
            name = f"cut/{shown.collection}/{side}/{band}.tif"
            write_cog(api.folder / name, values, gsd=gsd)
            target = item if side == "left" else other
            target["assets"][shown.assets[band]] = asset(api.href(name), shown, band, at)
    api.items.append(other)


def test_granules_of_one_pass_are_one_date(api):
    items, shown = both(api), LAYOUTS["earth-search-c1"]
    tile = {"grid:code": "MGRS-31TDJ", "s2:mgrs_tile": "31TDJ", "s2:product_uri": "x_T31TDJ_x"}
    cut_in_two(api, items[2], shown, 2, seconds=14, tile=tile)
    assert_is_the_ramp(from_stac(row(api), aoi=AOI), {"sentinel2", "landsat"}, seams=True)


def test_rows_of_one_path_are_one_date(api):
    items, shown = both(api), LAYOUTS["earth-search-landsat"]
    cut_in_two(api, items[5], shown, 1, seconds=24, tile={"landsat:wrs_row": "031"})
    assert_is_the_ramp(from_stac(row(api), aoi=AOI), {"sentinel2", "landsat"})


def test_the_next_orbit_is_another_date(api):
    items = both(api)
    later = copy.deepcopy(items[0])
    time = pd.Timestamp(later["properties"]["datetime"]) + pd.Timedelta(minutes=98)
    later["id"] += "_later"
    later["properties"] |= {
        "datetime": time.isoformat(), "s2:datastrip_id": f"S2A_DS_S{time:%Y%m%dT%H%M%S}_N05.00",
    }  # fmt: skip
    api.items.append(later)
    assert from_stac(row(api), aoi=AOI)["sentinel2"].sizes["time"] == 5


def test_baselines_mixed_in_a_pass_are_two_dates_each_with_its_offset(api):
    """The same ground, once with the offset in its numbers and once without."""
    shown = LAYOUTS["planetary-computer"]
    items = add_ramp(api, shown)
    late = numbers_of(replace(shown, offsets=(-0.1,) * 4), Scene())
    other = copy.deepcopy(items[1])
    other["id"] += "_other"
    other["properties"] |= {"s2:processing_baseline": "05.00", "s2:mgrs_tile": "31TDJ"}
    other["properties"]["s2:product_uri"] = "x_N0500_T31TDJ_x"
    for band in SENSORS["sentinel2"].band_names:
        name = f"late/{band}.tif"
        gsd = float(late[band]["x"][1] - late[band]["x"][0])
        write_cog(api.folder / name, late[band].values[1], gsd=gsd)
        other["assets"][band]["href"] = api.href(name)
    api.items.append(other)
    found = opened(api, ("planetary-computer",))["sentinel2"]["reflectance"].compute()
    same = found.isel(time=(found["time"] == TIMES["sentinel2"][1]).values)
    assert same.sizes["time"] == 2
    np.testing.assert_allclose(same[0], same[1], atol=1e-6)
    true = Scene().bands("sentinel2", ("B02",)).values[1, 0]
    np.testing.assert_allclose(same[0, 0], true, atol=EXACT)


def test_items_of_which_some_say_their_baseline_are_dates_apart(api):
    """One pass, of which one scene does not say: they cannot share an offset that is not known."""
    items = add_ramp(api, LAYOUTS["earth-search-v1"])
    other = copy.deepcopy(items[2])
    other["id"] += "_other"
    for name in ("s2:processing_baseline", "s2:product_uri"):
        del other["properties"][name]
    other["properties"] |= {"grid:code": "MGRS-31TDJ", "s2:mgrs_tile": "31TDJ"}
    api.items.append(other)
    assert opened(api, ("earth-search-v1",))["sentinel2"].sizes["time"] == 5


def test_a_band_that_an_item_lacks_is_nan_on_that_date_and_told(api):
    items = both(api)
    del items[5]["assets"]["lwir11"]
    del items[2]["assets"]["swir16"]
    with pytest.warns(SourceWarning) as told:
        cube = from_stac(row(api), aoi=AOI).compute()
    said = " ".join(str(one.message) for one in told)
    assert f"B11 of {items[2]['id']}" in said
    assert f"ST_B10 of {items[5]['id']}" in said
    kelvin = cube["landsat/surface_temperature"].values
    assert np.isnan(kelvin).all(axis=(1, 2)).tolist() == [False, True, False, False]
    lost = np.isnan(cube["sentinel2/reflectance"].sel(band="B11").values).all(axis=(1, 2))
    assert lost.tolist() == [False, False, True, False]
    assert cube["landsat"].attrs["missing"] == f"ST_B10 of {items[5]['id']}"
    assert np.isfinite(cube["landsat/reflectance"].values[1]).any()


def test_max_cloud_leaves_items_out(api):
    both(api)
    cube = from_stac(row(api), aoi=AOI, max_cloud=10)
    assert {n: g.sizes["time"] for n, g in groups_of(cube).items()} == {
        "sentinel2": 2,
        "landsat": 2,
    }


def test_landsat_7_is_not_taken_for_landsat_8(api):
    items = both(api)
    items[4]["properties"]["platform"] = "landsat-7"
    assert from_stac(row(api), aoi=AOI)["landsat"].sizes["time"] == 3


@pytest.mark.filterwarnings("ignore::tamrf_xr.errors.SourceWarning")
def test_landsat_7_where_asked_has_gaps_and_no_coastal_band_and_is_told(api):
    """A stripe of no data, as without the scan line corrector."""
    items = add_ramp(api, LAYOUTS["earth-search-landsat"])
    assets = items[1]["assets"]
    items[1]["properties"]["platform"] = "landsat-7"
    del assets["coastal"]
    assets["lwir"] = assets.pop("lwir11")
    whole = from_stac(row(api), aoi=AOI, landsat7=True)["landsat"].to_dataset().compute()
    for name in ("blue", "green", "red", "nir08", "swir16", "swir22", "qa_pixel"):
        assets[name]["href"] = _striped(api, assets[name]["href"], fill=int(name == "qa_pixel"))
    with pytest.warns(SourceWarning) as told:
        cube = from_stac(row(api), aoi=AOI, landsat7=True)
    group = cube["landsat"].to_dataset().compute()
    assert "1 of 4 dates are of Landsat-7" in group.attrs["landsat7"]
    assert "1 of them with gaps" in group.attrs["landsat7"]
    assert any("of Landsat-7" in str(warning.message) for warning in told)
    assert group["reflectance"][1].sel(band="B01").isnull().all()
    assert np.isfinite(group["surface_temperature"][1]).any()
    image, before = (one.isel(time=1) for one in (group, whole))
    assert not image["valid"][8:11].any()
    for name in ("B02", "B07"):
        made, right = (one["reflectance"].sel(band=name) for one in (image, before))
        assert made[8:11].isnull().all()
        # Cubic convolution reaches two pixels: beside the gap it has less to go by.
        for rows in (slice(6), slice(13, None)):
            np.testing.assert_array_equal(made[rows], right[rows])
            np.testing.assert_array_equal(image["valid"][rows], before["valid"][rows])
    for other in (0, 2, 3):
        xr.testing.assert_identical(group["reflectance"][other], whole["reflectance"][other])


def _striped(api, href, *, fill):
    """Take rows out of a file; return where that one is."""
    path = api.folder / href.partition("/files/")[2]
    with rasterio.open(path) as file:
        profile, pixels = file.profile, file.read()
    pixels[:, 8:11] = fill
    with rasterio.open(path.with_suffix(".gaps.tif"), "w", **profile) as file:
        file.write(pixels)
    return href.replace(".tif", ".gaps.tif")


# Grids --------------------------------------------------------------------------------------------


def shown_elsewhere(api: Api, item: dict, shown: Shown, at: int, *, epsg: int, gsd=None) -> None:
    """Write the ramp of a date, without clouds, on a grid of another CRS or phase."""
    to_ramp = pyproj.Transformer.from_crs(epsg, EPSG, always_xy=True)
    from_ramp = pyproj.Transformer.from_crs(EPSG, epsg, always_xy=True)
    corners = [(LEFT - 300, TOP + 300), (LEFT + 900, TOP + 300), (LEFT - 300, TOP - 900)]
    x, y = from_ramp.transform(*np.transpose(corners))
    for band, array in numbers_of(shown, Scene()).items():
        size = float(array["x"][1] - array["x"][0])
        phase = 15.0 if shown.sensor == "landsat" else 0.0
        left = math.floor(min(x) / size) * size - phase
        top = math.ceil(max(y) / size) * size + phase
        count = math.ceil(1500 / size)
        centres = (np.arange(count) + 0.5) * size
        xx, yy = np.meshgrid(left + centres, top - centres)
        values = numbers_at(shown, band, at, *to_ramp.transform(xx, yy))
        name = f"{epsg}/{shown.collection}/{band}.tif"
        write_cog(api.folder / name, values.astype(array.dtype), gsd=size, epsg=epsg,
                  corner=(left, top))  # fmt: skip
        item["assets"][shown.assets[band]]["href"] = api.href(name)
    item["properties"]["proj:epsg"] = epsg


def numbers_at(shown: Shown, band: str, at: int, x, y) -> np.ndarray:
    rows = {one.name: one for one in SENSORS[shown.sensor].bands}
    if band not in rows:
        return np.full(x.shape, {"SCL": 4, "QA_PIXEL": 21824}.get(band, 0))
    days = (TIMES[shown.sensor][at] - DAY_ONE) / pd.Timedelta(days=1)
    true = reflectance(x, y, wavelength=rows[band].center_wavelength, days=days)
    landsat = shown.sensor == "landsat"
    scale, offset = C2_REFLECTANCE if landsat else (1e-4, shown.offsets[at])
    return np.rint((true - offset) / scale)


@pytest.mark.parametrize("epsg", [32632, 32731])
def test_another_zone_is_brought_to_that_of_most_ground(api, epsg, caplog):
    caplog.set_level("INFO", "tamrf_xr")
    items = both(api)
    shown_elsewhere(api, items[1], LAYOUTS["earth-search-c1"], 1, epsg=epsg)
    cube = from_stac(row(api), bbox=lonlat([LEFT, TOP - EXTENT, LEFT + EXTENT, TOP], margin=0),
                     datetime="2021-01-01/2022-12-31")  # fmt: skip
    assert f"EPSG:{epsg}" in caplog.text
    group = groups_of(cube)["sentinel2"]
    assert group.rio.crs.to_epsg() == EPSG
    assert f"EPSG:{epsg}" in group.attrs["source_crs"]
    assert_reads_the_ramp(group, 1)


def test_landsat_of_the_archive_nests_in_sentinel2(api):
    """Half a pixel off, as every scene of Collection 2 lies."""
    items = both(api)
    shown_elsewhere(api, items[6], LAYOUTS["earth-search-landsat"], 2, epsg=EPSG)
    cube = from_stac(row(api), aoi=AOI)
    validate(cube)
    fine, coarse = (grid_of(groups_of(cube)[name]) for name in ("sentinel2", "landsat"))
    assert coarse.zoom(3) == fine
    assert_reads_the_ramp(groups_of(cube)["landsat"], 2)


def assert_reads_the_ramp(group: xr.Dataset, at: int) -> None:
    """Within the ramp, where it is even: its ends are ridges."""
    found = group.isel(time=at).compute()
    x, y = np.meshgrid(group["x"], group["y"])
    inner = (abs(x - LEFT - EXTENT / 2) < 210) & (abs(y - TOP + EXTENT / 2) < 210)
    days = (pd.Timestamp(found["time"].values) - DAY_ONE) / pd.Timedelta(days=1)
    for band in group["band"].values:
        wavelength = float(found["center_wavelength"].sel(band=band))
        true = reflectance(x, y, wavelength=wavelength, days=days)
        values = found["reflectance"].sel(band=band).values
        np.testing.assert_allclose(values[inner], true[inner], atol=EXACT, err_msg=band)
    assert found["valid"].values[inner].all()

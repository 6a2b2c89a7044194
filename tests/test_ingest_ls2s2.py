"""LS2S2 folders become cubes: right pixels, right ground, lazily, and errors that help."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace

import dask
import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.warp
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer

import tamrf_xr
from studies.ls2s2_folder import NODATA, Scenes, write_ls2s2, write_raster
from studies.real_pair import clear_fraction, open_pair, write_real_pair
from tamrf_xr import nesting
from tamrf_xr.cube import grid_of, groups_of
from tamrf_xr.errors import IngestError, OptionError, OutputExistsError, SourceNotFoundError
from tamrf_xr.ingest import from_ls2s2, ingest_ls2s2, rasters
from tamrf_xr.ingest.batch import _Watch
from tamrf_xr.sensors import SENTINEL2
from tamrf_xr.store import open_cube, save_cube
from tests.ingest_tests import Case, IngestTests, as_stored, reads  # noqa: F401
from tests.ls2s2_folder import DATES, both, coarse, scenes
from tests.oracle import shared
from tests.scenes import grid


def unusable(made: Scenes, bands) -> np.ndarray:
    return (made.masks > 0) | np.isin(made.stored[:, :bands], [0, NODATA]).any(axis=1)


def case_of(folder, **sensors) -> Case:
    write_ls2s2(folder, **sensors)
    return Case(
        open=lambda: from_ls2s2(folder),
        rasters={name: first_file(folder, name) for name in sensors},
        unusable={
            name: unusable(made, {"sentinel2": 10, "landsat": 7}[name])
            for name, made in sensors.items()
        },
        times={name: DATES[name] for name in sensors},
    )


def first_file(folder, sensor, what="bands"):
    return sorted((folder / sensor).rglob(f"*_{what}_*.tif"))[0]


class TestBothSensors(IngestTests):
    @pytest.fixture
    def case(self, tmp_path):
        fine, rough = grid((36, 45)), coarse((12, 15))
        pair = {"sentinel2": scenes("sentinel2", fine), "landsat": scenes("landsat", rough)}
        return case_of(tmp_path / "area", **pair)


class TestSentinel2Alone(IngestTests):
    @pytest.fixture
    def case(self, tmp_path):
        return case_of(tmp_path / "area", sentinel2=scenes("sentinel2", grid((31, 40))))


class TestLandsatAlone(IngestTests):
    @pytest.fixture
    def case(self, tmp_path):
        return case_of(tmp_path / "area", landsat=scenes("landsat", coarse((11, 14))))


class TestShiftedPair(IngestTests):
    """Landsat 5 m off, Sentinel-2 not a multiple of 3: both end on the nested grid."""

    @pytest.fixture
    def case(self, tmp_path):
        fine, rough = grid((38, 47)), coarse((12, 15), left=500_015.0, top=4_999_995.0)
        made = {"sentinel2": scenes("sentinel2", fine), "landsat": scenes("landsat", rough)}
        nested = coarse((11, 14), left=500_020.0, top=4_999_990.0)
        case = case_of(tmp_path / "area", **made)
        places = {"sentinel2": nested.zoom(3), "landsat": nested}
        for name, place in places.items():
            path = tmp_path / "expected" / f"{name}.tif"
            write_raster(path, np.zeros((1, *place.shape), np.uint8), place)
            case.rasters[name] = path
        # Sentinel-2 is cut; nearest Landsat pixels are those whose corner is 5 m away, and a pixel
        # that lacks bands lacks them still.
        case.unusable["sentinel2"] = case.unusable["sentinel2"][:, 2:35, 2:44]
        case.unusable["landsat"] = case.unusable["landsat"][:, :11, :14]
        return case


# ---- pixels


def test_zero_and_nodata_are_missing_and_clouds_keep_their_values(tmp_path):
    fine, rough = scenes("sentinel2", grid((6, 6)), nodata=0), scenes("landsat", coarse((2, 2)))
    fine.stored[:], fine.masks[:] = 1234, 0
    fine.stored[0, 3, 0, 0], fine.stored[0, 5, 0, 1], fine.stored[0, :, 0, 2] = 0, NODATA, -20
    fine.masks[0, 0, 3] = 2
    rough.stored[:], rough.masks[:] = 500, 0
    rough.stored[:, 7] = 2951
    rough.stored[0, 7, 0, 0], rough.stored[0, 7, 0, 1], rough.stored[0, 2, 1, 0] = 0, NODATA, 0
    cube = from_ls2s2(write_ls2s2(tmp_path, sentinel2=fine, landsat=rough)).compute()
    seen = cube["sentinel2"].isel(time=0)
    assert seen["reflectance"].dtype == np.float32
    assert seen["valid"][0].values.tolist() == [False, False, True, False, True, True]
    holes = np.isnan(seen["reflectance"].values)
    assert np.argwhere(holes).tolist() == [[3, 0, 0], [5, 0, 1]]
    assert float(seen["reflectance"][0, 0, 3]) == pytest.approx(0.1234)
    assert float(seen["reflectance"][0, 0, 2]) == pytest.approx(-0.002)
    land = cube["landsat"].isel(time=0)
    # Temperature has NaN of its own: `valid` speaks of reflectance.
    assert np.isnan(land["surface_temperature"].values).tolist() == [[True, True], [False, False]]
    assert land["valid"].values.tolist() == [[True, True], [False, True]]
    assert float(land["surface_temperature"][1, 0]) == pytest.approx(295.1)
    assert list(land["reflectance"].dims) == ["band", "y", "x"]
    assert land["band"].values.tolist() == ["B01", "B02", "B03", "B04", "B05", "B06", "B07"]


def test_nodata_of_the_header_is_missing_too(tmp_path):
    made = replace(scenes("sentinel2", grid((6, 6)), nodata=0), nodata=777)
    made.stored[0, 0, 0, 0] = 777
    cube = from_ls2s2(write_ls2s2(tmp_path, sentinel2=made))
    assert bool(np.isnan(cube["sentinel2/reflectance"][0, 0, 0, 0]))


def test_bands_and_mask_are_read_once_for_all_variables(tmp_path, reads):  # noqa: F811
    cube = from_ls2s2(both(tmp_path), chunks=None)
    dask.compute(*[array.data for g in groups_of(cube).values() for array in g.values()])
    assert len(reads) == len(set(reads)) == 2 * (3 + 2)


def test_a_block_reads_its_window_of_its_acquisition_only(tmp_path, monkeypatch):
    cube = from_ls2s2(both(tmp_path), chunks=9)
    windows = []
    read = rasterio.io.DatasetReader.read

    def seen(self, *arguments, window, **options):
        windows.append((self.name, window.height, window.width))
        return read(self, *arguments, window=window, **options)

    monkeypatch.setattr(rasterio.io.DatasetReader, "read", seen)
    cube["sentinel2/reflectance"][1, :, 10:12, 20:22].compute()
    assert len(windows) == 2
    assert all("20220110" in name and size == [9, 9] for name, *size in windows)


@given(
    chunk=st.integers(4, 14),
    shift=st.tuples(*[st.sampled_from([0.0, 5.0, 10.0, 15.0, 22.5])] * 2),
    zone=st.sampled_from([32631, 32630]),
)
def test_any_block_size_equals_whole_files(tmp_path_factory, chunk, shift, zone):
    folder = tmp_path_factory.mktemp("area")
    fine, rough = (
        grid((36, 45)),
        coarse((13, 16), left=499_985 + shift[0], top=5_000_025 - shift[1]),
    )
    if zone != 32631:
        rough = turned(fine, zone)
    both(folder, fine, rough)
    whole = from_ls2s2(folder, chunks=None).compute()
    blocks = from_ls2s2(folder, chunks=3 * chunk).compute()
    # Where zones differ, PROJ's rounding moves pixels by 1e-5 of their size, and noise shows it.
    tolerance = {"reflectance": 2e-5, "surface_temperature": 2e-2, "valid": 0}
    for name, group in groups_of(whole).items():
        for variable, array in group.data_vars.items():
            np.testing.assert_allclose(
                blocks[name][variable], array, rtol=0, atol=tolerance[variable]
            )


def turned(fine, zone):
    """A Landsat grid in another UTM zone that covers `fine` and more."""
    left, bottom, right, top = rasterio.warp.transform_bounds(fine.crs, CRS(zone), *fine.bounds)
    shape = int((top - bottom) / 30) + 9, int((right - left) / 30) + 9
    return coarse(shape, left=left - 127.0, top=top + 131.0, epsg=zone)


def test_exact_read_equals_resampling(tmp_path, monkeypatch):
    folder = both(tmp_path, grid((36, 45)), coarse((12, 15), left=500_010.0, top=4_999_980.0))
    exact = from_ls2s2(folder, chunks=15).compute()
    assert "resampled" not in exact["landsat"].attrs
    monkeypatch.setattr(rasters, "whole_shift", lambda source, target: None)
    general = from_ls2s2(folder, chunks=15).compute()
    assert general["landsat"].attrs["resampled"] == "cubic (bands), nearest (masks)"
    for name, group in groups_of(exact).items():
        for variable, array in group.data_vars.items():
            np.testing.assert_allclose(general[name][variable], array, rtol=0, atol=1e-6)


# ---- ground


def test_landsat_that_nests_is_cut_by_whole_pixels_and_kept_as_it_is(tmp_path):
    # Landsat begins 10 m east of Sentinel-2: it nests, in another phase.
    fine, rough = grid((64, 64)), coarse((30, 30), left=500_010.0 - 60, top=5_000_010.0 + 90)
    folder = both(tmp_path, fine, rough)
    cube = from_ls2s2(folder)
    assert grid_of(cube["landsat"].to_dataset()).bounds == (500_010, 4_999_380, 500_640, 5_000_010)
    assert grid_of(cube["sentinel2"].to_dataset()).shape == (63, 63)
    assert cube["sentinel2"].attrs["cut"] == "from 64 x 64 pixels"
    with rasterio.open(first_file(folder, "landsat")) as file:
        stored = file.read()[:7, 3:24, 2:23]
    found = as_stored(cube["landsat/reflectance"][0], 1e-4)
    np.testing.assert_array_equal(found, np.where(np.isin(stored, [0, NODATA]), np.nan, stored))


def ramp(easting, northing):
    """Stored reflectance that is linear over the ground: cubic convolution keeps it."""
    return 3000 + (easting - 500_000) + 2 * (northing - 4_999_500)


@pytest.mark.parametrize("zone", [32631, 32630])
def test_resampled_landsat_shows_the_same_ground(tmp_path, zone):
    fine = grid((60, 60))
    moved = coarse((24, 24), left=500_015 - 90.0, top=5_000_010 + 84.0)
    rough = moved if zone == 32631 else turned(fine, zone)
    x, y = np.meshgrid(rough.coords()["x"], rough.coords()["y"])
    easting, northing = Transformer.from_crs(rough.crs, fine.crs, always_xy=True).transform(x, y)
    land = scenes("landsat", rough, nodata=0)
    land.stored[:], land.masks[:] = np.rint(ramp(easting, northing)), 0
    cube = from_ls2s2(
        write_ls2s2(tmp_path, sentinel2=scenes("sentinel2", fine), landsat=land), chunks=18
    )
    group = cube["landsat"].to_dataset()
    assert group.attrs["source_crs"] == f"EPSG:{zone}"
    assert [float(v) for v in group.attrs["source_transform"].split()] == pytest.approx(
        list(rough.transform)[:6]
    )
    expected = ramp(*np.meshgrid(group["x"], group["y"])) * 1e-4
    assert group["valid"].values.all()
    # Half a stored unit of rounding, and what cubic convolution makes of it.
    np.testing.assert_allclose(group["reflectance"][0, 4], expected, rtol=0, atol=1.0e-4)


def test_resampling_lets_no_nodata_into_its_neighbours(tmp_path):
    fine, rough = grid((60, 60)), coarse((22, 22), left=499_995.0, top=5_000_025.0)
    land = scenes("landsat", rough, nodata=0)
    land.stored[:], land.masks[:] = 2000, 0
    land.stored[:, :, 8:10, 8:10] = 0
    land.stored[:, 3, 15, 15] = NODATA
    land.stored[:, 7, 3, 3] = NODATA
    folder = write_ls2s2(tmp_path, sentinel2=scenes("sentinel2", fine), landsat=land)
    group = from_ls2s2(folder)["landsat"].to_dataset().compute()
    for variable, value in (("reflectance", 0.2), ("surface_temperature", 200.0)):
        found = group[variable].values
        np.testing.assert_allclose(found[np.isfinite(found)], value, rtol=1e-5)
    missing = np.isnan(group["reflectance"].values[0])
    assert missing[0].sum() == 4
    assert missing[3].sum() == 5
    assert np.isnan(group["surface_temperature"].values[0]).sum() == 5
    np.testing.assert_array_equal(~group["valid"].values[0], missing.any(axis=0))


def test_ground_outside_landsat_is_missing(tmp_path):
    """Another zone turns the grid: corners of the common box lie outside the files."""
    fine = grid((120, 120))
    left, *_, top = rasterio.warp.transform_bounds(fine.crs, CRS(32630), *fine.bounds)
    rough = coarse((38, 38), left=left, top=top, epsg=32630)
    group = from_ls2s2(both(tmp_path, fine, rough), chunks=15)["landsat"].to_dataset().compute()
    outside = np.isnan(group["reflectance"].values).all(axis=(0, 1))
    assert outside.any()
    assert not group["valid"].values[:, outside].any()


# ---- index


def test_rows_not_valid_are_skipped_and_dates_sorted(tmp_path):
    made = scenes("sentinel2", grid((6, 6)))
    dates = ["2022-03-01", "2022-01-05", "2022-01-05"]
    made = replace(made, dates=dates, valid=["True", "False", "1"])
    folder = write_ls2s2(tmp_path, sentinel2=made)
    shutil.rmtree(folder / "sentinel2" / "20220105")
    group = from_ls2s2(folder)["sentinel2"].to_dataset()
    assert group["time"].to_index().tolist() == [
        pd.Timestamp("2022-01-05"),
        pd.Timestamp("2022-03-01"),
    ]
    first = np.where(np.isin(made.stored[2], [0, NODATA]), np.nan, made.stored[2])
    np.testing.assert_array_equal(as_stored(group["reflectance"][0], 1e-4), first)


@pytest.mark.parametrize("start", ["/home/someone/data/", "D:\\data\\31TCJ_12\\"])
def test_of_absolute_paths_the_last_two_parts_count(tmp_path, start):
    assert from_ls2s2(both(tmp_path, absolute=start))["landsat"].sizes["time"] == 2


def test_the_panchromatic_index_is_not_read(tmp_path):
    folder = both(tmp_path)
    (folder / "landsat" / "index_pan.csv").write_text("not an index")
    assert "B08" not in from_ls2s2(folder)["landsat"]["band"].values


def test_provenance(tmp_path):
    cube = from_ls2s2(both(tmp_path / "31TCJ_12"))
    assert cube.attrs["title"] == "31TCJ_12: Sentinel-2 and Landsat-8/9 time series"
    assert cube.attrs["history"].startswith("tamrf-xr ")
    assert cube["landsat"].attrs["source"] == "LS2S2 folder 31TCJ_12, landsat/index.csv"


def test_it_can_be_sent_to_workers(tmp_path):
    cube = from_ls2s2(both(tmp_path))
    again = pickle.loads(pickle.dumps(cube["landsat/reflectance"].data))
    np.testing.assert_array_equal(again.compute(), cube["landsat/reflectance"])
    assert again.name == from_ls2s2(tmp_path)["landsat/reflectance"].data.name


# ---- what is wrong


def edit(folder, change, sensor="landsat"):
    index = folder / sensor / "index.csv"
    index.write_text(change(index.read_text()))


def swap(old, new):
    return lambda folder: edit(folder, lambda text: text.replace(old, new))


def remove_two(folder):
    for path in sorted((folder / "landsat").rglob("*.tif"))[1:3]:
        path.unlink()


def rewrite(sensor="landsat", *, what="bands", change=lambda values: values, place=lambda g: g):
    def spoil(folder):
        path = sorted((folder / sensor).rglob(f"*_{what}_*.tif"))[1]
        with rasterio.open(path) as file:
            values = change(file.read())
        old = coarse((12, 15)) if sensor == "landsat" else grid((36, 45))
        path.unlink()
        write_raster(path, values, place(old), nodata=NODATA if what == "bands" else None)

    return spoil


def shifted(old):
    return coarse(old.shape, left=old.transform.c + 30)


def degrees(old):
    return replace(old, crs=CRS(4326))


def virtual(path):
    """Put a VRT in the place of a raster: it names another file, which GDAL would read."""
    beside = path.with_name("elsewhere.tif")
    path.rename(beside)
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{band}"><SimpleSource><SourceFilename>{beside}'
        f"</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in range(1, 9)
    )
    path.write_text(f'<VRTDataset rasterXSize="15" rasterYSize="12">{bands}</VRTDataset>')


WRONG = {
    "no sensor": (
        lambda folder: [shutil.rmtree(folder / name) for name in ("landsat", "sentinel2")],
        IngestError,
        r"holds neither sentinel2/ nor landsat/; found nothing",
    ),
    "no index": (
        lambda folder: (folder / "landsat" / "index.csv").unlink(),
        SourceNotFoundError,
        r"landsat: no index at .*index\.csv",
    ),
    "empty index": (
        lambda folder: edit(folder, lambda text: ""),
        IngestError,
        r"no column acquisition_date, valid, bands, mask; found nothing",
    ),
    "columns": (
        swap("\tmask\t", "\tmasque\t"),
        IngestError,
        r"no column mask; found .*bands, masque, .*expected at least acquisition_date, valid",
    ),
    "separator": (swap("\t", ","), IngestError, r"no column .*separated by tabs"),
    "no usable row": (swap("True", "False"), IngestError, r"no usable row; found 2, none with"),
    "valid": (swap("True", "maybe"), IngestError, r"line 2: valid is 'maybe', expected True or"),
    "date": (swap("2022-02-10", "10 Feb"), IngestError, r"line 3: .* '10 Feb' is not a date"),
    "no file named": (
        swap("20220109/landsat_mask_20220109.tif", ""),
        IngestError,
        r"line 2: no file named in column mask",
    ),
    "short line": (
        lambda folder: edit(folder, lambda text: text + "2\tx\t2022-04-01\tTrue\n"),
        IngestError,
        r"line 4: no file named in column bands and mask",
    ),
    "files": (
        remove_two,
        SourceNotFoundError,
        r"landsat: 2 of 4 files .* the first is that of 2022-01-09: .*landsat_mask_20220109\.tif",
    ),
    "band count": (
        rewrite(change=lambda values: values[:7]),
        IngestError,
        r"landsat 2022-02-10: .*tif has 7 bands, expected 8: B01, B02, .*LST",
    ),
    "mask bands": (
        rewrite(what="mask", change=lambda values: values.repeat(2, 0)),
        IngestError,
        r"has 2 bands, expected 1: mask",
    ),
    "odd grid": (
        rewrite(place=shifted),
        IngestError,
        r"landsat: 1 of 4 files lie on another grid .* 2022-02-10: .*500030.*the rest EPSG:32631",
    ),
    "odd size": (
        rewrite("sentinel2", what="mask", change=lambda values: values[:, :-1]),
        IngestError,
        r"sentinel2: 1 of 6 files .* 2022-01-10: .*35 x 45 pixels.* the rest .*36 x 45 pixels",
    ),
    "degrees": (
        rewrite(place=degrees),
        IngestError,
        r"coordinate reference system EPSG:4326; expected a projected one",
    ),
    "climbs out": (
        swap("20220109/landsat_mask", "../../../20220109/landsat_mask"),
        IngestError,
        r"line 2: .* leads out of .*landsat; expected a file inside it",
    ),
    "absolute and out": (
        swap("20220109/landsat_mask_20220109.tif", "/data/../passwords"),
        IngestError,
        r"line 2: .* leads out of",
    ),
    "the root": (
        swap("20220109/landsat_mask_20220109.tif", "/passwords"),
        IngestError,
        r"line 2: .* leads out of",
    ),
    "a virtual raster": (
        lambda folder: virtual(first_file(folder, "landsat")),
        IngestError,
        r"landsat_bands_20220109\.tif cannot be read: .*not recognized",
    ),
    "binary index": (
        lambda folder: (folder / "landsat" / "index.csv").write_bytes(bytes(range(256))),
        IngestError,
        r"index\.csv is no table of text",
    ),
    "truncated": (
        lambda folder: first_file(folder, "landsat").write_bytes(b"II*"),
        IngestError,
        r"landsat_bands_20220109\.tif cannot be read",
    ),
}


@pytest.mark.parametrize(("spoil", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told_before_anything_is_written(tmp_path, spoil, error, message):
    folder = both(tmp_path / "area")
    spoil(folder)
    with pytest.raises(error, match=message):
        from_ls2s2(folder)
    report = ingest_ls2s2(folder, tmp_path / "out.zarr", progress=False)
    assert not report.ok
    assert [type(why) for why in report.failed.values()] == [error]
    assert [path.name for path in tmp_path.iterdir()] == ["area"]


def test_no_folder():
    with pytest.raises(SourceNotFoundError, match="no LS2S2 folder at not/there"):
        from_ls2s2("not/there")


def test_no_crs(tmp_path):
    folder = both(tmp_path)
    path = first_file(folder, "landsat")
    with rasterio.open(path) as file:
        values, transform = file.read(), file.transform
    profile = {"driver": "GTiff", "count": 8, "height": 12, "width": 15, "dtype": "int16"}
    with rasterio.open(path, "w", transform=transform, **profile) as file:
        file.write(values)
    with pytest.raises(IngestError, match=r"coordinate reference system None; .*gdal_edit"):
        from_ls2s2(folder)


def test_wrong_pixel_size(tmp_path):
    with pytest.raises(IngestError, match=r"landsat: pixels of 10 m in .*, expected 30"):
        from_ls2s2(both(tmp_path, grid((36, 45)), grid((12, 15))))


def test_sensors_apart(tmp_path):
    with pytest.raises(IngestError, match="share no whole pixel of 30 m: bounds"):
        from_ls2s2(both(tmp_path, grid((36, 45)), coarse((12, 15), left=600_000.0)))


@pytest.mark.parametrize("chunks", [0, 100, -3])
def test_chunks_are_multiples_of_three(tmp_path, chunks):
    with pytest.raises(OptionError, match="multiple of 3"):
        from_ls2s2(tmp_path, chunks=chunks)


def test_a_file_that_breaks_after_opening_is_named(tmp_path):
    folder = both(tmp_path)
    cube = from_ls2s2(folder)
    path = first_file(folder, "landsat")
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(IngestError, match=r"landsat_bands_20220109\.tif.* cannot be read"):
        cube["landsat/reflectance"].compute()


# ---- many folders


def many(tmp_path, names):
    return [both(tmp_path / "in" / name, grid((18, 18)), coarse((6, 6))) for name in names]


def test_many_folders_at_once_then_resumed(tmp_path, reads):  # noqa: F811
    folders, out = many(tmp_path, "abc"), tmp_path / "cubes"
    broken = folders[1] / "landsat" / "index.csv"
    index = broken.read_text()
    broken.write_text(index.replace("True", "perhaps"))
    report = ingest_ls2s2(folders, out, workers=3, progress=False)
    assert {path.name for path in report.written} == {"a.zarr", "c.zarr"}
    assert list(report.failed) == [folders[1]]
    assert "perhaps" in str(report.failed[folders[1]])
    assert sorted(path.name for path in out.iterdir()) == ["a.zarr", "c.zarr"]
    broken.write_text(index)
    reads.clear()
    again = ingest_ls2s2(folders, out, workers=3, progress=False)
    assert again.ok
    assert [path.name for path in again.written] == ["b.zarr"]
    assert {path.name for path in again.skipped} == {"a.zarr", "c.zarr"}
    assert len(reads) == 2 * (3 + 2)
    assert not ingest_ls2s2(folders, out, progress=False).written
    for folder in folders:
        stored, source = open_cube(out / f"{folder.name}.zarr"), from_ls2s2(folder)
        for name, group in groups_of(source).items():
            np.testing.assert_array_equal(stored[name]["valid"], group["valid"])
            assert stored[name]["reflectance"].attrs == group["reflectance"].attrs
        assert stored.attrs == source.attrs


def test_a_cube_that_is_there_is_kept_replaced_or_an_error(tmp_path):
    folder, out = both(tmp_path / "area"), tmp_path / "area.zarr"
    assert ingest_ls2s2(folder, out, progress=False).written == (out,)
    assert ingest_ls2s2([folder], out, progress=False).skipped == (out,)
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        ingest_ls2s2(folder, out, resume=False, progress=False)
    shutil.rmtree(folder / "landsat")
    assert ingest_ls2s2(folder, out, overwrite=True, progress=False).written == (out,)
    assert list(open_cube(out).children) == ["sentinel2"]


def file(out, folder):
    out.write_text("precious")


def clipped(out, folder):
    cube = from_ls2s2(folder)
    save_cube(xr.DataTree.from_dict({"/": cube.to_dataset(), "landsat": cube["landsat"]}), out)


def another(out, folder):
    ingest_ls2s2(both(folder.with_name("other")), out, progress=False)


def fewer(out, folder):
    ingest_ls2s2(folder, out, progress=False)
    index = folder / "sentinel2" / "index.csv"
    index.write_text(index.read_text().replace("True", "False", 1))


def damaged(out, folder):
    ingest_ls2s2(folder, out, progress=False)
    next(path for path in (out / "landsat/reflectance/c").rglob("*") if path.is_file()).unlink()


def plain(out, folder):
    from_ls2s2(folder).to_zarr(out)


def product(out, folder):
    cube = from_ls2s2(folder)
    tamrf_xr.run_job(cube, out, "2022-01-10", method="linear", progress=False)


def unreadable(out, folder):
    ingest_ls2s2(folder, out, progress=False)
    (out / "landsat/reflectance/zarr.json").write_text("{")


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (file, "and is a file"),
        (clipped, "holds 0 acquisitions of sentinel2, not the 3 that the index lists"),
        (another, r"is of another source \(LS2S2 folder other, sentinel2/index.csv\)"),
        (fewer, "holds 3 acquisitions of sentinel2, not the 2 that the index lists"),
        (damaged, r"is damaged \(landsat/reflectance/c/0/0/0/0 is missing\)"),
        (plain, "keeps no list of its chunks"),
        (product, "is the product of a job"),
        (unreadable, "is damaged|cannot be opened"),
    ],
)
def test_what_is_there_counts_only_if_it_is_the_whole_cube_of_the_folder(tmp_path, make, found):
    folders, out = many(tmp_path, "ab"), tmp_path / "cubes" / "a.zarr"
    out.parent.mkdir()
    make(out, folders[0])
    before = snapshot(out.parent)
    with pytest.raises(OutputExistsError, match=f"a.zarr exists.*{found}.*name another store"):
        ingest_ls2s2(folders, out.parent, progress=False)
    assert snapshot(out.parent) == before
    if make is file:
        return
    assert ingest_ls2s2(folders[0], out, overwrite=True, progress=False).written == (out,)
    assert ingest_ls2s2(folders, out.parent, progress=False).skipped == (out,)


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_is_gone_is_not_there_though_its_cube_is(tmp_path):
    folders, out = many(tmp_path, "ab"), tmp_path / "cubes"
    ingest_ls2s2(folders, out, progress=False)
    shutil.rmtree(folders[0])
    report = ingest_ls2s2(folders, out, progress=False)
    assert report.skipped == (out / "b.zarr",)
    assert "no LS2S2 folder" in str(report.failed[folders[0]])


def test_places_that_are_no_folder_of_stores_are_refused_by_name(tmp_path):
    folders, out = many(tmp_path, "ab"), tmp_path / "existing.txt"
    out.write_text("precious")
    with pytest.raises(OptionError, match=r"existing.txt is a file; name a folder"):
        ingest_ls2s2(folders, out, progress=False)
    of_others = tmp_path / "v2.zarr"
    of_others.mkdir()
    (of_others / ".zgroup").write_text("{}")
    for asked in (folders, folders[:1]):
        with pytest.raises((IngestError, OutputExistsError), match=r"v2.zarr (is a store|exists)"):
            ingest_ls2s2(asked, of_others, progress=False)
    assert [path.name for path in of_others.iterdir()] == [".zgroup"]


def test_one_folder_goes_into_a_folder_that_is_there(tmp_path):
    folder, out = both(tmp_path / "area"), tmp_path / "cubes"
    out.mkdir()
    assert ingest_ls2s2(folder, out, progress=False).written == (out / "area.zarr",)


def test_a_write_that_fails_leaves_nothing_and_stops_no_other(tmp_path):
    folders, out = many(tmp_path, "ab"), tmp_path / "cubes"
    path = first_file(folders[0], "sentinel2")
    path.write_bytes(path.read_bytes()[:500])
    report = ingest_ls2s2(folders, out, workers=1, progress=False)
    assert "sentinel2_bands_20220105.tif" in str(report.failed[folders[0]])
    assert [path.name for path in out.iterdir()] == ["b.zarr"]


def test_progress_counts_every_block(tmp_path, capsys):
    ingest_ls2s2(many(tmp_path, "ab"), tmp_path / "cubes", workers=2)
    assert f"{2 * (3 + 2)}/{2 * (3 + 2)}" in capsys.readouterr().err
    ingest_ls2s2(many(tmp_path, "cd"), tmp_path / "cubes", progress=False)
    assert capsys.readouterr().err == ""


def test_an_interrupt_stops_at_the_next_block(tmp_path):
    watch = _Watch(5, shown=False)
    cube = watch.over(from_ls2s2(both(tmp_path)))
    with pytest.raises(KeyboardInterrupt), watch:
        raise KeyboardInterrupt
    with pytest.raises(IngestError, match="interrupted"):
        cube["landsat/reflectance"].compute()


def test_folders_and_stores_must_be_named_apart(tmp_path):
    folders = [both(tmp_path / parent / "area") for parent in "ab"]
    with pytest.raises(IngestError, match=r"2 folders are called area .*cubes.area\.zarr"):
        ingest_ls2s2(folders, tmp_path / "cubes")
    with pytest.raises(IngestError, match="no folder to ingest"):
        ingest_ls2s2([], tmp_path / "cubes")
    with pytest.raises(OptionError, match="workers must be at least 1"):
        ingest_ls2s2(folders[:1], tmp_path / "cubes", workers=0)
    out = tmp_path / "one.zarr"
    ingest_ls2s2(folders[0], out, progress=False)
    with pytest.raises(IngestError, match="is a store, but 2 folders make 2 stores"):
        ingest_ls2s2([folders[0], tmp_path / "other"], out)


# ---- the true pair


@pytest.fixture(scope="module")
def real_folder(tmp_path_factory):
    shared("real/pair_31UDS")
    return write_real_pair(tmp_path_factory.mktemp("real") / "31UDS")


@pytest.fixture(scope="module")
def real_cube(real_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("cubes") / "31UDS.zarr"
    assert ingest_ls2s2(real_folder, out, progress=False).ok
    return open_cube(out).load()


@pytest.mark.real
def test_real_pair_lies_where_its_files_say(real_cube, real_folder):
    fine, land = (real_cube[name].to_dataset() for name in ("sentinel2", "landsat"))
    with rasterio.open(first_file(real_folder, "sentinel2")) as file:
        assert fine.rio.crs == file.crs
        row, column = file.index(float(fine["x"][0]), float(fine["y"][0]))
        assert file.xy(row, column) == (float(fine["x"][0]), float(fine["y"][0]))
        assert file.tags().get("AREA_OR_POINT") == "Area"
    with rasterio.open(first_file(real_folder, "landsat")) as file:
        native = file.transform
    assert grid_of(fine).shape == (57, 60)
    assert grid_of(land).shape == (19, 20)
    # The nearest nested grid is 5 m away in x and y, and the attributes say what was done.
    assert (native.c, native.f) == (501375, 5629665)
    assert grid_of(land).bounds[0] - native.c == 5
    assert native.f - grid_of(land).bounds[3] == 5
    assert land.attrs["resampled"] == "cubic (bands), nearest (masks)"
    assert land.attrs["source_transform"] == "30 0 501375 0 -30 5629665"


@pytest.mark.real
def test_real_pair_has_the_dates_and_values_of_its_source(real_cube):
    source, mask = open_pair("s2_10m"), open_pair("s2_20m")["SCL"]
    fine, land = real_cube["sentinel2"], real_cube["landsat"]
    days = source["time"].values.astype("M8[D]")
    np.testing.assert_array_equal(fine["time"].values, days.astype("M8[ns]"))
    landsat_days = open_pair("landsat8")["time"].values.astype("M8[D]")
    np.testing.assert_array_equal(land["time"].values, landsat_days.astype("M8[ns]"))
    assert len(np.unique(landsat_days)) == 24
    # Row 2 and column 2 of the files are the first of the cube.
    inside = np.s_[:, 2:59, 2:62]
    np.testing.assert_array_equal(
        as_stored(fine["reflectance"].sel(band="B08"), 1e-4), source["B08"].values[inside]
    )
    usable = np.isin(mask.values, [4, 5, 6, 11]).repeat(2, 1).repeat(2, 2)[inside]
    np.testing.assert_array_equal(fine["valid"].values, usable)
    kelvin = land["surface_temperature"].values
    assert 250 < np.nanmin(kelvin) < np.nanmax(kelvin) < 330
    assert np.isnan(kelvin[~land["valid"].values]).mean() > 0.9


@pytest.mark.real
def test_real_pair_sees_the_same_ground_on_the_same_day(real_cube):
    """On 2018-08-02 both passed under a clear sky."""
    day = {"time": "2018-08-02"}
    fine, land = real_cube["sentinel2"].sel(day), real_cube["landsat"].sel(day)
    assert bool(land["valid"].all())
    pairs = {"B02": "B02", "B03": "B03", "B04": "B04", "B05": "B8A", "B06": "B11", "B07": "B12"}
    for one, other in pairs.items():
        blocks = fine["reflectance"].sel(band=other).values.reshape(19, 3, 20, 3).mean((1, 3))
        seen = land["reflectance"].sel(band=one).values
        r = np.corrcoef(blocks.ravel(), seen.ravel())[0, 1]
        print(f"landsat {one}, sentinel2 {other}: r {r:.3f}")
        assert r > 0.9


MEASURED = {"B04": 286, "B08": 608, "B8A": 543, "B11": 388}
"""RMSE x 10000, from the README of the real data."""


@pytest.mark.real
def test_real_pair_interpolates_as_measured(real_cube, real_folder):
    """The rule of the README: all pixels of dates over 95 % clear, the mean of each date's RMSE.

    To the digit on the 64 x 64 pixels of Sentinel-2; near it on the 57 x 60 shared with Landsat.
    """
    clear = clear_fraction() > 0.95
    assert clear.sum() == 41
    alone = real_folder.parent / "alone" / "31UDS"
    shutil.copytree(real_folder / "sentinel2", alone / "sentinel2")
    for cube, tolerance in ((from_ls2s2(alone), 0.5), (real_cube, 20)):
        group = cube["sentinel2"].isel(time=np.flatnonzero(clear)).to_dataset()
        days = group["time"].values.astype("M8[D]").astype(float)
        for band, expected in MEASURED.items():
            errors = left_out_errors(group["reflectance"].sel(band=band).values, days)
            rmse = 1e4 * np.sqrt(np.mean(errors**2, axis=(1, 2))).mean()
            print(f"{group.sizes['y']} px, {band}: leave-one-date-out RMSE {rmse:.1f}")
            assert rmse == pytest.approx(expected, abs=tolerance)


def left_out_errors(seen, days):
    """Each inner date, interpolated between the dates before and after it, minus what was seen."""
    weight = (days[1:-1] - days[:-2]) / (days[2:] - days[:-2])
    return seen[:-2] + weight[:, None, None] * (seen[2:] - seen[:-2]) - seen[1:-1]


def test_bands_of_the_folder_are_those_of_the_table(tmp_path):
    cube = from_ls2s2(both(tmp_path))
    assert tuple(cube["sentinel2"]["band"].values) == SENTINEL2.band_names
    assert nesting.whole_shift(grid((6, 6)), coarse((2, 2))) is None

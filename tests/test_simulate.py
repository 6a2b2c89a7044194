"""Simulated scenes: repeatable, true to their truth, and like real ones where it matters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from tamrf_xr.cube import grid_of, groups_of, validate
from tamrf_xr.errors import DateError, OptionError, OutputExistsError
from tamrf_xr.fusion import fuse
from tamrf_xr.sensors import LANDSAT, SENSORS, SENTINEL2
from tamrf_xr.simulate import SceneConfig, simulate, write_scene
from tamrf_xr.simulate.atmosphere import draw_sky
from tamrf_xr.simulate.fields import fractal, stream
from tamrf_xr.simulate.landscape import COVER_NAMES
from tamrf_xr.simulate.sensing import degrade, move
from tamrf_xr.simulate.spectra import BANDS, MATERIALS, material_spectra
from tamrf_xr.simulate.weather import sun
from tamrf_xr.store import open_cube
from tests.simulate.configs import CALM, QUIET, TINY

EDGE = {"sentinel2": 6, "landsat": 4}
"""Pixels at the edge whose blur reaches beyond the truth; nearly all of the kernels' weight."""


@pytest.fixture(scope="module")
def scene():
    return simulate(SceneConfig(size_px=96, seed=1))


@pytest.fixture(scope="module")
def year(scene):
    return scene.truth("2022-01-10/2022-12-30/15D")


def stacked(group) -> np.ndarray:
    """Every band of a group, the temperature last: (time, band, y, x)."""
    bands = [group["reflectance"].values]
    if "surface_temperature" in group:
        bands.append(group["surface_temperature"].values[:, None])
    return np.concatenate(bands, axis=1)


def residuals(scene, sensor) -> tuple[np.ndarray, np.ndarray]:
    """Observed minus degraded truth, and the degraded truth: (time, band, y, x), edges cut."""
    group = scene.cube[sensor].to_dataset()
    truth = stacked(scene.truth(group["time"])[sensor].to_dataset())
    expected = np.stack([degrade(image, sensor) for image in truth])
    inner = slice(EDGE[sensor], -EDGE[sensor])
    observed = stacked(group)
    return (observed - expected)[..., inner, inner], expected[..., inner, inner]


def test_same_configuration_gives_same_bytes():
    first, second = simulate(TINY), simulate(TINY)
    for name, group in groups_of(first.cube).items():
        for variable, array in group.data_vars.items():
            assert array.values.tobytes() == second.cube[name][variable].values.tobytes()
    xr.testing.assert_identical(first.truth("2022-06-01"), second.truth("2022-06-01"))


def test_another_seed_gives_another_scene():
    ours, other = simulate(TINY).ground, simulate(replace(TINY, seed=9)).ground
    assert not np.array_equal(ours.image("sentinel2", 100.0), other.image("sentinel2", 100.0))


def test_an_acquisition_does_not_depend_on_the_others():
    few = simulate(replace(TINY, landsat_revisit_days=120)).cube["sentinel2"].to_dataset()
    xr.testing.assert_identical(simulate(TINY).cube["sentinel2"].to_dataset(), few)


def test_truth_does_not_depend_on_the_order_of_dates(scene):
    dates = ["2022-08-01", "2022-02-01", "2022-05-01"]
    forward, backward = scene.truth(dates), scene.truth(dates[::-1])
    for name in SENSORS:
        ours = forward[name]["reflectance"].values
        np.testing.assert_array_equal(ours, backward[name]["reflectance"].values[::-1])


def test_is_a_cube_of_a_year_of_both_sensors(scene):
    validate(scene.cube)
    groups = groups_of(scene.cube)
    assert groups["sentinel2"]["reflectance"].shape == (73, 10, 96, 96)
    assert groups["landsat"]["surface_temperature"].shape[1:] == (32, 32)
    assert groups["landsat"].sizes["time"] in {45, 46}
    for sensor in (SENTINEL2, LANDSAT):
        group = groups[sensor.name]
        assert tuple(group["band"].values) == sensor.band_names
        assert group["reflectance"].dtype == np.float32
        assert group["valid"].dtype == bool
        assert grid_of(group).crs.to_epsg() == 32631
        assert set(group["time"].dt.year.values) == {2022}
    assert set(np.diff(groups["sentinel2"]["time"].values)) == {np.timedelta64(5, "D")}
    assert set(np.diff(groups["landsat"]["time"].values)) == {np.timedelta64(8, "D")}
    assert "simulated" in scene.cube.attrs["title"].lower()
    assert "seed 1" in scene.cube.attrs["history"]


def test_truth_has_the_schema_of_fuse():
    tiny = simulate(replace(TINY, sentinel2_revisit_days=30, landsat_revisit_days=30))
    dates = ["2022-09-01", "2022-03-01"]
    truth, fused = tiny.truth(dates), fuse(tiny.cube, dates, method="linear")
    for name, group in groups_of(fused).items():
        ours = truth[name].to_dataset()
        assert {v: a.dims for v, a in ours.items()} == {v: a.dims for v, a in group.items()}
        assert ours.sizes == group.sizes
        for coordinate in group.coords:
            xr.testing.assert_equal(ours[coordinate], group[coordinate])
        assert ours.attrs["processing_level"] == group.attrs["processing_level"]
        assert not any(array.isnull().any() for array in ours.values())


@pytest.mark.parametrize("sensor", SENSORS)
def test_sensors_without_noise_see_the_truth_degraded(sensor):
    difference, _ = residuals(simulate(QUIET), sensor)
    reflective = difference[:, : len(SENSORS[sensor].bands)]
    # The tail of the kernels at the edge of the cropped truth, where it reflects: under 0.1 %.
    assert np.abs(reflective).max() < 2e-3
    if SENSORS[sensor].thermal:
        # 90 m reach further than the edge that was cut.
        assert np.abs(difference[:, -1, 5:-5, 5:-5]).max() < 0.05


@pytest.mark.parametrize("sensor", SENSORS)
def test_clear_pixels_agree_with_the_truth_within_the_noise(sensor):
    config = CALM
    difference, expected = residuals(simulate(config), sensor)
    count = len(SENSORS[sensor].bands)
    variance = config.noise_reflectance**2 + config.offset_reflectance**2
    relative = config.noise_relative**2 + 1.09 * config.gain_relative**2
    sigma = np.sqrt(variance + relative * expected[:, :count] ** 2)
    # Few dates share a gain and an offset each: the ratio is 1 only roughly.
    assert 0.3 < np.sqrt(np.mean((difference[:, :count] / sigma) ** 2)) < 1.6
    if SENSORS[sensor].thermal:
        assert 0.2 < difference[:, -1].std() < 2


def test_clear_pixels_agree_with_the_truth_under_clouds(scene):
    for sensor, clear in scene.clear.items():
        difference, _ = residuals(scene, sensor)
        inner = slice(EDGE[sensor], -EDGE[sensor])
        kept = clear.values[:, inner, inner]
        red = [band.common_name for band in SENSORS[sensor].bands].index("red")
        error = difference[:, red]
        # The shift of a date moves the edges of roofs by more than the noise: hence no mean.
        median, most = np.percentile(np.abs(error[kept]), [50, 90])
        assert median < 0.008
        assert most < 0.025
        assert np.sqrt(np.nanmean(error[~kept] ** 2)) > 0.1


@pytest.mark.parametrize("sensor", SENSORS)
def test_without_its_sky_a_series_is_the_truth_as_a_sensor_sees_it(scene, sensor):
    seen, unclouded = scene.cube[sensor].to_dataset(), scene.unclouded()[sensor].to_dataset()
    xr.testing.assert_equal(seen.coords.to_dataset(), unclouded.coords.to_dataset())
    np.testing.assert_array_equal(unclouded["valid"], scene.clear[sensor])
    inner = slice(EDGE[sensor], -EDGE[sensor])
    _, expected = residuals(scene, sensor)
    difference = stacked(unclouded)[..., inner, inner] - expected
    # The tail of the kernels at the edge of the cropped truth, as above.
    assert np.abs(difference[:, : len(SENSORS[sensor].bands)]).max() < 2e-3


def test_masks_are_mostly_right_but_not_perfect(scene):
    for sensor, clear in scene.clear.items():
        group = scene.cube[sensor]
        there = np.isfinite(group["reflectance"].values[:, 0])
        said, true = ~group["valid"].values[there], ~clear.values[there]
        hits = (said & true).sum()
        assert 0.85 < hits / said.sum() < 1
        assert 0.85 < hits / true.sum() < 1


def test_masks_without_errors_are_the_truth():
    calm = simulate(replace(TINY, mask_errors=0.0, seed=4))
    clear, valid = calm.clear["sentinel2"].values, calm.cube["sentinel2"]["valid"].values
    np.testing.assert_array_equal(clear, valid)


def test_clear_and_overcast_dates_are_common_and_broken_ones_there():
    covers = [
        draw_sky(SceneConfig(seed=seed), "sentinel2", day, (60, 60)).spoils.mean()
        for seed in range(3)
        for day in range(0, 365, 8)
    ]
    clear, broken, overcast = np.histogram(covers, [0, 0.1, 0.9, 1.0])[0] / len(covers)
    assert clear > 0.2
    assert overcast > 0.2
    assert broken > 0.1


def test_cloudiness_sets_the_mean_cover():
    means = [
        np.mean(
            [draw_sky(config, "landsat", day, (45, 45)).opacity.mean() for day in range(0, 360, 9)]
        )
        for config in (SceneConfig(cloudiness=c) for c in (0.0, 0.3, 0.8, 1.0))
    ]
    assert means[0] == 0
    assert means == sorted(means)
    assert means[-1] == pytest.approx(1, abs=0.01)


def test_clouds_are_in_the_images_bright_and_cold(scene):
    group, clear = scene.cube["landsat"], scene.clear["landsat"].values
    blue, infrared = (group["reflectance"].sel(band=band).values for band in ("B02", "B06"))
    cloudy = (blue > 0.35) & (infrared > 0.25)  # snow is dark in the infrared
    assert 0.2 < cloudy.mean() < 0.8
    warmth = group["surface_temperature"].values
    # Bright roofs are the rest.
    assert (cloudy & clear).sum() < 0.02 * cloudy.sum()
    assert np.median(warmth[cloudy]) < np.median(warmth[clear]) - 5


def test_shadows_fall_away_from_the_morning_sun():
    zenith, azimuth = sun(172)
    assert 0 < np.degrees(zenith) < 35
    assert 100 < np.degrees(azimuth) < 180
    assert sun(355)[0] > zenith


def test_gaps_are_missing_and_not_valid():
    gaps = simulate(replace(TINY, partial_swath=1.0))
    for group in groups_of(gaps.cube).values():
        missing = np.isnan(group["reflectance"].values).any(axis=1)
        assert missing.any()
        assert not (group["valid"].values & missing).any()
        assert (np.isnan(group["reflectance"].values).all(axis=1) == missing).all()


def test_green_comes_in_spring_and_goes(scene):
    grown = {"broadleaf": 0.2, "arable": 0.05}
    ndvi = {day: _ndvi(scene, day) for day in (20, 165)}
    for name, rise in grown.items():
        where = _pixels_of(scene, name)
        if where.sum() > 20:
            assert ndvi[165][where].mean() > ndvi[20][where].mean() + rise
    water = _pixels_of(scene, "river") | _pixels_of(scene, "lake")
    assert (ndvi[165][water] < 0.2).all()


def _ndvi(scene, day):
    image = scene.ground.image("sentinel2", float(day))
    red, nir = image[2], image[6]
    return (nir - red) / (nir + red)


def _pixels_of(scene, name):
    parcels = scene.ground.land.covers == COVER_NAMES.index(name)
    share = scene.ground.land.mixing @ parcels.astype(np.float32)
    return share.reshape(scene.ground.land.shape) > 0.99


def test_there_are_fields_harvested_and_fields_still_green_in_july(year):
    july = year["sentinel2"]["reflectance"].sel(time="2022-07-24")
    red, nir = (july.sel(band=band).values for band in ("B04", "B08"))
    low, high = np.percentile((nir - red) / (nir + red), [10, 90])
    assert low < 0.35
    assert high > 0.6


def test_reflectance_and_temperature_are_physical(year):
    for name in SENSORS:
        values = year[name]["reflectance"].values
        assert values.min() > 0
        assert values.max() < 1.2
    warmth = year["landsat"]["surface_temperature"]
    assert float(warmth.min()) > 258
    assert float(warmth.max()) < 330
    monthly = warmth.groupby("time.month").mean(...)
    assert float(monthly.sel(month=7)) > float(monthly.sel(month=1)) + 12


def test_bare_ground_is_hotter_than_forest_in_summer(scene):
    warmth = scene.ground.image("landsat", 190.0)[-1]
    ndvi = _ndvi(scene, 190)
    assert warmth[ndvi < 0.25].mean() > warmth[ndvi > 0.75].mean() + 2


def test_sensors_agree_where_their_bands_do(year):
    s2, landsat = (year[name]["reflectance"] for name in ("sentinel2", "landsat"))
    for ours, theirs in (("B04", "B04"), ("B8A", "B05"), ("B11", "B06")):
        a, b = s2.sel(band=ours).values.ravel(), landsat.sel(band=theirs).values.ravel()
        assert np.corrcoef(a, b)[0, 1] > 0.98
        assert not np.array_equal(a, b)


def test_every_material_has_a_spectrum_in_every_band():
    table = material_spectra()
    assert table.shape == (len(MATERIALS), len(BANDS)) == (17, 17)
    assert (table > 0).all()
    assert (table < 1).all()


def test_water_moved_by_whole_pixels_is_rolled():
    field = fractal(np.random.default_rng(0), (24, 24), slope=3, longest=12)[None]
    moved = move(field, (2.0, -1.0))
    np.testing.assert_allclose(moved[0, 4:-4, 4:-4], np.roll(field, (2, -1), (1, 2))[0, 4:-4, 4:-4])


def test_streams_of_two_purposes_differ():
    assert stream(0, "rain", 1).random() != stream(0, "snow", 1).random()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_px": 100}, "multiple of 3"),
        ({"size_px": 27}, "at least 30"),
        ({"seed": -1}, "seed is -1"),
        ({"cloudiness": 1.5}, "cloudiness is 1.5"),
        ({"cloudiness": float("nan")}, "cloudiness is nan"),
        ({"noise_kelvin": -0.1}, "noise_kelvin"),
        ({"landsat_revisit_days": 0}, "landsat_revisit_days"),
        ({"year": 20}, "year is 20"),
        ({"years": 0}, "years is 0"),
        ({"lost_dates": 1.5}, "lost_dates is 1.5"),
        ({"top": 8e6}, "72 degrees north"),
    ],
)
def test_nonsense_is_refused(change, message):
    with pytest.raises(OptionError, match=message):
        SceneConfig(**change)


def test_truth_outside_the_year_is_refused(scene):
    with pytest.raises(DateError, match="the scene is of 2022"):
        scene.truth("2023-01-01")


def test_written_scene_reads_back(tmp_path):
    stores = [tmp_path / f"{name}.zarr" for name in ("scene", "truth", "unclouded")]
    write_scene(TINY, *stores[:2], truth_dates="2022-06-01", unclouded_zarr=stores[2])
    scene = simulate(TINY)
    for written, made in (
        (open_cube(tmp_path / "scene.zarr"), scene.cube),
        (open_cube(tmp_path / "truth.zarr"), scene.truth("2022-06-01")),
        (open_cube(tmp_path / "unclouded.zarr"), scene.unclouded()),
    ):
        for name, group in groups_of(made).items():
            read = written[name]["reflectance"].values
            np.testing.assert_allclose(read, group["reflectance"].values, atol=6e-5)
    assert open_cube(tmp_path / "scene.zarr").attrs["history"] == scene.cube.attrs["history"]


def test_writing_refuses_before_it_simulates(tmp_path):
    (tmp_path / "truth.zarr").mkdir()
    with pytest.raises(OutputExistsError, match=r"truth\.zarr exists"):
        write_scene(SceneConfig(), tmp_path / "scene.zarr", tmp_path / "truth.zarr")
    with pytest.raises(OutputExistsError, match=r"truth\.zarr exists"):
        write_scene(SceneConfig(), tmp_path / "scene.zarr", unclouded_zarr=tmp_path / "truth.zarr")
    with pytest.raises(DateError, match="the scene is of 2022"):
        write_scene(SceneConfig(), tmp_path / "scene.zarr", truth_dates="1999-01-01")
    assert not (tmp_path / "scene.zarr").exists()

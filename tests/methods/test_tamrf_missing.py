"""Bands that a cube, a date or a pixel lacks: regressed on those that are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import MethodError, OptionError
from tamrf_xr.methods.standardising import NOISE, filled, spectra_of
from tamrf_xr.model.checkpoint import load_model
from tamrf_xr.sensors import LANDSAT, SENTINEL2
from tamrf_xr.simulate import SceneConfig, simulate
from tests.scenes import random_cube

SMALL = Path(__file__).parents[1] / "data" / "oracle_small"
DATES = ["2022-01-08", "2022-01-21"]
VISIBLE = ("B02", "B03", "B04")
REGRESSION = {"missing": "regression"}


@pytest.fixture(scope="module")
def small():
    return load_model(SMALL / "checkpoint.ckpt", SMALL / "config_composed.yaml")


def lacking(cube: xr.DataTree, sensor: str, *bands: str) -> xr.DataTree:
    """The cube without some bands of a sensor."""
    groups = groups_of(cube)
    group = groups[sensor].drop_vars("surface_temperature" if "LST" in bands else [])
    kept = [band for band in group["band"].values.tolist() if band not in bands]
    return build_cube({**groups, sensor: group.sel(band=kept)})


def hidden(cube: xr.DataTree, sensor: str, *bands: str) -> xr.DataTree:
    """The cube with some bands of a sensor NaN."""
    groups = groups_of(cube)
    group = groups[sensor]
    seen = group["reflectance"].where(~group["band"].isin(bands))
    if "LST" in bands:
        group = group.assign(surface_temperature=group["surface_temperature"] * np.nan)
    return build_cube({**groups, sensor: group.assign(reflectance=seen)})


@pytest.mark.parametrize("sensor", ["sentinel2", "landsat"])
def test_it_is_the_conditional_mean(small, sensor):
    """Held against the other formula there is for it, by the inverse of the covariance."""
    spectra = spectra_of(small, sensor)
    rng = np.random.default_rng(0)
    bands, size = len(spectra.mean), (2, 3, 4)
    missing = rng.random((size[0], bands, *size[1:])) < 0.4
    missing[:, :, 0, 0], missing[:, :, 0, 1] = True, False
    images = rng.normal(size=missing.shape).astype(np.float32)
    found = filled(torch.tensor(images), torch.tensor(missing), spectra).numpy()
    np.testing.assert_array_equal(found[~missing], images[~missing])
    assert (found[:, :, 0, 0] == 0).all()
    for at in np.argwhere(~missing.all(axis=1)):
        pixel = (at[0], slice(None), *at[1:])
        out = missing[pixel]
        precision = np.linalg.inv(spectra.covariance + NOISE * np.diag(~out))
        departing = images[pixel][~out] - spectra.mean[~out]
        means = precision[np.ix_(out, ~out)] @ departing
        expected = spectra.mean[out] - np.linalg.solve(precision[np.ix_(out, out)], means)
        np.testing.assert_allclose(found[pixel][out], expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "absent",
    [
        {"sentinel2": VISIBLE},
        {"sentinel2": ("B05", "B06", "B07", "B8A", "B11", "B12")},
        {"landsat": ("B01",)},
        {"landsat": ("LST",)},
    ],
    ids=["no visible", "10 m alone", "no coastal", "no thermal"],
)
def test_a_cube_without_bands_is_one_that_never_saw_them(small, absent):
    """Bit for bit; all 18 bands are made, whatever the tiling, and the product tells."""
    cube = random_cube((24, 24), nan=0.1)
    options = {"model": small, "method_options": REGRESSION}
    [(sensor, bands)] = absent.items()
    found = lacking(cube, sensor, *bands).tamrf.fuse(DATES, **options)
    expected = hidden(cube, sensor, *bands).tamrf.fuse(DATES, **options)
    tiled = lacking(cube, sensor, *bands).tamrf.fuse(DATES, tile=12, **options)
    assert list(found["sentinel2"]["band"].values) == list(SENTINEL2.band_names)
    for path in ("sentinel2/reflectance", "landsat/reflectance", "landsat/surface_temperature"):
        made = found[path].values
        assert np.isfinite(made).all()
        np.testing.assert_array_equal(made, expected[path].values)
        np.testing.assert_allclose(tiled[path].values, made, atol=2e-6, rtol=2e-6)
    told = found["landsat"].attrs
    assert told["bands_not_given"] == f"{sensor}: {' '.join(bands)}"
    assert told["missing"] == "regression"
    assert "bands_not_given" not in expected["landsat"].attrs


def test_a_scene_without_temperature_is_filled_by_itself(small):
    """One date's band missing, others whole: as when the regressed values had been given."""
    cube = random_cube((24, 24))
    groups = groups_of(cube)
    group = groups["landsat"].load()
    spectra, names = spectra_of(small, "landsat"), [band.name for band in LANDSAT.all_bands]
    constant, slopes = spectra.regression(range(7), [names.index("LST")])
    mean, std = (small.get_buffer(f"lr_{kind}").double().numpy() for kind in ("mean", "std"))
    seen = (group["reflectance"].transpose("time", "y", "x", "band").values - mean[:7]) / std[:7]
    regressed = ((seen @ slopes + constant)[..., 0] * std[7] + mean[7]) * 1e3
    first = group["time"] == group["time"][0]
    thermal = group["surface_temperature"]
    without = build_cube(
        {**groups, "landsat": group.assign(surface_temperature=thermal.where(~first))}
    )
    by_hand = thermal.copy(data=np.where(first.values[:, None, None], regressed, thermal.values))
    given = build_cube({**groups, "landsat": group.assign(surface_temperature=by_hand)})
    options = {"model": small, "method_options": REGRESSION}
    found, expected = (one.tamrf.fuse(DATES, **options) for one in (without, given))
    published = without.tamrf.fuse(DATES, model=small)
    path = "landsat/surface_temperature"
    np.testing.assert_allclose(found[path].values, expected[path].values, atol=5e-3)
    assert np.abs(published[path].values - expected[path].values).max() > 0.05


def test_the_default_weights_do_without_the_visible_bands():
    """On a day left out, other bands come out nearly as well; as the mean of each, far worse."""
    scene = simulate(SceneConfig(size_px=30, seed=5, sentinel2_revisit_days=15))
    group = groups_of(scene.cube)["sentinel2"]
    day = group["time"].values[len(group["time"]) // 2]
    given = build_cube({"sentinel2": group.sel(time=group["time"] != day)})
    truth = scene.truth([day])["sentinel2/reflectance"].drop_sel(band=list(VISIBLE))

    def error(cube: xr.DataTree, missing: str) -> float:
        made = cube.tamrf.fuse([day], sensors="sentinel2", method_options={"missing": missing})
        wanted = made["sentinel2/reflectance"].sel(band=truth["band"].values)
        return float(np.sqrt(((wanted.values - truth.values) ** 2).mean()))

    whole = error(given, "regression")
    regressed = error(lacking(given, "sentinel2", *VISIBLE), "regression")
    mean = error(hidden(given, "sentinel2", *VISIBLE), "mean")
    assert regressed < 1.25 * whole
    assert mean > 1.25 * regressed


def test_published_weights_want_every_band_unless_told(small):
    cube = lacking(random_cube((18, 18)), "sentinel2", "B11", "B12")
    way_out = r"B11, B12 are missing .*missing='regression'.*method='linear'"
    with pytest.raises(MethodError, match=way_out):
        cube.tamrf.fuse(DATES, model=small)
    assert np.isfinite(
        cube.tamrf.fuse(DATES, model=small, method_options=REGRESSION).sentinel2.reflectance
    ).all()


def test_no_other_filling(small):
    with pytest.raises(OptionError, match="missing must be one of auto, mean, regression"):
        random_cube((18, 18)).tamrf.fuse(DATES, model=small, method_options={"missing": "zero"})

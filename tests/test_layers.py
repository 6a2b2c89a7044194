"""What products hold beside bands: where pixels come from, indices, statistics."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import CubeError, JobError, OptionError
from tamrf_xr.indices import find_indices
from tamrf_xr.model.engine import Engine
from tamrf_xr.scale.ledger import forget, read_manifest
from tests.jobs.run import contents
from tests.scenes import random_cube

DATES = ("2022-01-14", "2022-01-20", "2022-02-19", "2022-01-01")
RATIO = {"sentinel2": 1, "landsat": 3}


def brute_force(cube, dates, *, half=None):
    """Per query date and pixel, in loops: days before and after, counts, source."""
    groups = groups_of(cube)
    y, x = groups["sentinel2"].sizes["y"], groups["sentinel2"].sizes["x"]
    days = np.full((len(dates), 2, 3, y, x), -1)
    counts = np.zeros((len(dates), 3, y, x), int)
    source = np.zeros((len(dates), y, x), int)
    for q, date in enumerate(pd.DatetimeIndex(dates)):
        for place, (name, group) in enumerate(groups.items()):
            usable = group["valid"].values & np.isfinite(group["reflectance"].values).all(axis=1)
            if name == "landsat":
                usable = usable.repeat(3, 1).repeat(3, 2)
            for time, image in zip(pd.DatetimeIndex(group["time"].values), usable, strict=True):
                away = (time - date).days
                if half is not None and abs(away) > half:
                    continue
                counts[q, place] += image
                counts[q, 2] += image
                source[q] |= (image & (away == 0)) * (place + 1)
                for side, there in ((0, away <= 0), (1, away >= 0)):
                    for sensor in (place, 2) if there else ():
                        found = days[q, side, sensor]
                        nearer = image & ((found == -1) | (found > abs(away)))
                        found[nearer] = abs(away)
    return days, counts, source


@settings(max_examples=8)
@given(tile=st.integers(7, 40), seed=st.integers(0, 5), window=st.sampled_from([None, 30]))
def test_provenance_is_what_loops_over_pixels_find_whatever_the_tile(tile, seed, window):
    cube = random_cube((18, 27), hr=5, lr=4, seed=seed, nan=0.2)
    product = cube.tamrf.fuse(
        DATES, method="linear", provenance=True, window=window, tile=tile, bands=["B04"]
    )
    made = product["provenance"]
    expected = brute_force(cube, DATES, half=None if window is None else window / 2)
    for name, values in zip(
        ("days_to_observation", "observations_in_window", "source"), expected, strict=True
    ):
        found = made[name].values
        if name == "source":
            bands = [product[sensor]["reflectance"].values for sensor in RATIO]
            gone = ~np.isfinite(bands).any(axis=(0, 2))
            assert not gone.all()
            assert (found[gone] == 255).all()
            found, values = found[~gone], values[~gone]
        np.testing.assert_array_equal(found, values)
    assert made["sensor"].values.tolist() == ["sentinel2", "landsat", "any"]


def test_provenance_says_what_the_method_used_and_carries_cf_flags():
    cube = random_cube((12, 15))
    linear = cube.tamrf.fuse(DATES[:1], method="linear", provenance=True)["provenance"]
    network = cube.tamrf.fuse(DATES[:1], provenance=True)["provenance"]
    assert linear.attrs["method_used"] == "usable observations alone"
    assert "clouds as they are: the network has no mask" in network.attrs["method_used"]
    flags = linear["source"].attrs
    assert len(flags["flag_meanings"].split()) == len(flags["flag_values"]) == 4
    assert flags["flag_values"].dtype == linear["source"].dtype == np.uint8
    assert linear["days_to_observation"].dtype == np.int16


def test_causal_provenance_knows_no_observation_after():
    made = random_cube((12, 15), hr=6).tamrf.fuse(
        ["2022-02-01"], method="linear", provenance=True, causal=True
    )
    after = made["provenance/days_to_observation"].sel(side="after")
    assert (after == -1).all()
    assert (
        made["provenance/days_to_observation"].sel(side="before", sensor="any") >= 0
    ).mean() > 0.9


def test_provenance_of_a_cube_without_masks_is_refused():
    bare = build_cube(
        {name: group.drop_vars("valid") for name, group in groups_of(random_cube((12, 15))).items()}
    )
    with pytest.raises(CubeError, match="/sentinel2 has no mask 'valid': clouds would count"):
        bare.tamrf.fuse(DATES[0], method="linear", provenance=True)


def test_a_product_with_layers_is_saved_opened_and_cut(tmp_path):
    cube = random_cube((18, 27), nan=0.3)
    lazy = cube.tamrf.fuse(DATES, method="linear", provenance=True, indices=["NDVI"], bands=["B03"])
    lazy.tamrf.save(tmp_path / "saved.zarr")
    how = {"method": "linear", "provenance": True, "indices": "ndvi", "bands": ["B03"]}
    tamrf_xr.run_job(cube, tmp_path / "job.zarr", DATES, progress=False, tile=12, **how)
    for name in ("saved", "job"):
        opened = tamrf_xr.open_cube(tmp_path / f"{name}.zarr")
        for path in (
            "provenance/source", "provenance/days_to_observation", "sentinel2/NDVI",
            "landsat/NDVI", "sentinel2/reflectance", "provenance/observations_in_window",
        ):  # fmt: skip
            found, expected = opened[path], lazy[path]
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found.values, expected.values, atol=6e-5)
            assert found.attrs.get("_FillValue") == expected.attrs.get("_FillValue")
        left, _, _, top = opened["sentinel2"].to_dataset().rio.bounds()
        cut = opened.tamrf.clip((left + 30, top - 90, left + 150, top))
        assert dict(cut["provenance"].sizes) == {
            "time": 4, "side": 2, "sensor": 3, "y": 9, "x": 12,
        }  # fmt: skip
        expected = lazy["provenance/source"].values[:, :9, 3:15]
        np.testing.assert_array_equal(cut["provenance/source"].values, expected)


def test_a_job_with_layers_resumes_to_the_same_bytes_and_damage_is_found(tmp_path):
    tamrf_xr.save_cube(random_cube((18, 27), nan=0.3), tmp_path / "scene.zarr")
    cube, how = tamrf_xr.open_cube(tmp_path / "scene.zarr"), {"method": "linear", "tile": 12}
    asked = {"provenance": True, "indices": ["NDVI"], "progress": False} | how
    tamrf_xr.run_job(cube, tmp_path / "out.zarr", DATES, **asked)
    whole = contents(tmp_path / "out.zarr")
    forget(tmp_path / "out.zarr", [(0, 1)])
    assert tamrf_xr.run_job(cube, tmp_path / "out.zarr", DATES, **asked).done == 1
    assert contents(tmp_path / "out.zarr") == whole
    (shard,) = [
        name for name in whole if name.startswith("provenance/days") and "c/0/0/0/1/0" in name
    ]
    damaged = bytearray(whole[shard])
    damaged[100] ^= 1
    (tmp_path / "out.zarr" / shard).write_bytes(damaged)
    verdict = tamrf_xr.scale.damage.verify(tmp_path / "out.zarr", deep=True)
    assert list(verdict.damaged) == [(1, 0)]
    tamrf_xr.run_job(cube, tmp_path / "out.zarr", DATES, **asked)
    assert contents(tmp_path / "out.zarr") == whole
    with pytest.raises(JobError, match="provenance: found yes, asked nothing"):
        tamrf_xr.run_job(cube, tmp_path / "out.zarr", DATES, **how)
    tamrf_xr.run_job(cube, tmp_path / "plain.zarr", DATES, progress=False, **how)
    keys = {"provenance", "statistics", "causal", "NDVI of sentinel2", "kept of sentinel2"}
    assert not keys & read_manifest(tmp_path / "plain.zarr").asked.keys()


def test_indices_are_those_of_the_bands_and_only_these_are_decoded(monkeypatch):
    cube = random_cube((12, 15))
    whole = cube.tamrf.fuse(DATES[:2]).compute()
    decoded = []
    reconstruct = Engine.reconstruct

    def spying(self, *given, channels=None):
        decoded.append(list(channels))
        return reconstruct(self, *given, channels=channels)

    monkeypatch.setattr(Engine, "reconstruct", spying)
    made = cube.tamrf.fuse(DATES[:2], indices=["NDVI", "NDWI"]).compute()
    assert decoded == [[8 + 1, 8 + 2, 8 + 6, 2, 3, 4]]
    for sensor in ("sentinel2", "landsat"):
        assert set(made[sensor].data_vars) == {"NDVI", "NDWI"}
        given = whole[sensor]["reflectance"]
        bands = given["band"].values.tolist()
        values = dict(zip(bands, np.moveaxis(given.values, 1, 0), strict=True))
        for name, index in find_indices(["NDVI", "NDWI"], sensor, bands).items():
            found, expected = made[sensor][name], index.compute(values)
            np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
            assert found.attrs["formula"] == str(index)


def test_indices_of_one_sensor_or_with_bands(tmp_path):
    cube = random_cube((12, 15))
    made = cube.tamrf.fuse(DATES[0], method="linear", indices={"sentinel2": "NDVI"})
    assert list(made.children) == ["sentinel2"]
    both = cube.tamrf.fuse(DATES[0], method="linear", indices=["NDREI"], bands=["B8A", "lwir"])
    assert set(both["sentinel2"].data_vars) == {"reflectance", "NDREI"}
    assert both["sentinel2"]["band"].values.tolist() == ["B8A"]
    assert set(both["landsat"].data_vars) == {"surface_temperature"}
    kept = cube.tamrf.fuse(DATES[0], method="linear", bands=["B8A"], sensors="sentinel2")
    np.testing.assert_array_equal(
        both["sentinel2"]["reflectance"].values, kept["sentinel2"]["reflectance"].values
    )


@pytest.mark.parametrize("period", ["month", "dekad"])
@pytest.mark.parametrize("tile", [1000, 7])
def test_statistics_are_those_of_the_dates_of_each_period(period, tile):
    cube, dates = random_cube((12, 15), hr=3, lr=3, nan=0.5), "2022-01-03/2022-03-05/4D"
    images = cube.tamrf.fuse(dates, method="linear", indices=["NDVI"], bands=["B04", "LST"])
    made = cube.tamrf.fuse(
        dates, method="linear", indices=["NDVI"], bands=["B04", "LST"], period=period, tile=tile,
        statistics=["median", "p10", "p90", "max", "min"],
    )  # fmt: skip
    times = pd.DatetimeIndex(images["sentinel2"]["time"].values)
    begins = {
        "month": np.ones(len(times), int),
        "dekad": np.minimum((times.day - 1) // 10, 2) * 10 + 1,
    }
    starts = pd.DatetimeIndex(
        [t.replace(day=int(d)) for t, d in zip(times, begins[period], strict=True)]
    )
    assert pd.DatetimeIndex(made["landsat"]["time"].values).equals(starts.unique())
    shares = {"median": 0.5, "p10": 0.1, "p90": 0.9, "max": 1, "min": 0}
    for path in (
        "sentinel2/NDVI",
        "landsat/NDVI",
        "landsat/surface_temperature",
        "sentinel2/reflectance",
    ):
        values = images[path].values.astype(np.float64)
        for statistic, share in shares.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of pixels without any value
                expected = [
                    np.nanquantile(values[starts == start], share, axis=0)
                    for start in starts.unique()
                ]
            found = made[f"{path}_{statistic}"]
            np.testing.assert_allclose(found.values, np.stack(expected), rtol=1e-6)
            assert found.attrs["cell_methods"].startswith(f"time: {statistic}")


def test_statistics_in_a_job_are_those_of_fuse(tmp_path, capsys):
    tamrf_xr.save_cube(random_cube((12, 15)), tmp_path / "scene.zarr")
    words = ["fuse", str(tmp_path / "scene.zarr"), str(tmp_path / "out.zarr"), "--quiet"]
    words += ["--method", "linear", "--dates", "2022-01-03/2022-02-20/4D", "--indices", "NDVI"]
    assert main([*words, "--statistics", "median", "p10", "--period", "dekad", "--tile", "9"]) == 0
    made = tamrf_xr.open_cube(tmp_path / "out.zarr")
    cube = tamrf_xr.open_cube(tmp_path / "scene.zarr")
    lazy = cube.tamrf.fuse(
        "2022-01-03/2022-02-20/4D", method="linear", indices=["NDVI"],
        statistics=["median", "p10"], period="dekad",
    )  # fmt: skip
    for sensor in ("sentinel2", "landsat"):
        assert set(made[sensor].data_vars) == {"NDVI_median", "NDVI_p10"}
        for name in made[sensor].data_vars:
            found, expected = made[sensor][name], lazy[sensor][name]
            assert found.dtype == np.float32
            np.testing.assert_allclose(found.values, expected.values, atol=6e-5)
    assert main([*words, "--statistics", "median", "--provenance"]) == 1
    assert "in two products" in capsys.readouterr().err
    for words in (["info"], ["verify", "--deep"]):
        assert main([words[0], str(tmp_path / "out.zarr"), *words[1:]]) == 0


def test_an_index_without_bounds_is_stored_as_it_is(tmp_path):
    """Simple ratio: tens, which int16 of 1e-4 would clip at 3.2767."""
    groups = groups_of(random_cube((12, 15), sensors=("sentinel2",)))
    bands = groups["sentinel2"]["band"]
    dark = groups["sentinel2"]["reflectance"] * (1 - 0.99 * (bands == "B04"))
    cube = build_cube({"sentinel2": groups["sentinel2"].assign(reflectance=dark)})
    how = {"method": "linear", "indices": ["SR"]}
    lazy = cube.tamrf.fuse(DATES[0], **how)["sentinel2/SR"].values
    summary = tamrf_xr.run_job(cube, tmp_path / "out.zarr", DATES[0], progress=False, **how)
    made = tamrf_xr.open_cube(tmp_path / "out.zarr")["sentinel2/SR"].values
    assert np.nanmax(lazy) > 100
    assert not summary.clipped
    np.testing.assert_allclose(made, lazy, atol=6e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"indices": ["NDVO"]}, "unknown index 'NDVO'"),
        ({"indices": []}, "indices is \\[\\]; expected a name"),
        ({"indices": {}}, "indices name none"),
        ({"indices": {"mars": ["NDVI"]}}, "cannot make sensor mars"),
        ({"indices": {"landsat": ["NDREI"]}}, "index NDREI cannot be made .* landsat: Landsat"),
        ({"indices": ["NDVI"], "sensors": "mars"}, "cannot make sensor mars"),
        ({"statistics": ["mean of all"]}, "unknown statistic 'mean of all'; there are min, median"),
        ({"statistics": ["p0"]}, "unknown statistic 'p0'"),
        ({"statistics": ["max", "max"]}, "name one twice"),
        ({"statistics": []}, "expected a name, or a list of at least one"),
        ({"statistics": ["max"], "period": "week"}, "the periods are month, dekad"),
        ({"provenance": "yes"}, "provenance must be True or False"),
    ],
)
def test_what_is_no_layer_is_refused_by_name(options, message):
    with pytest.raises(tamrf_xr.errors.TamrfError, match=message):
        random_cube((12, 15)).tamrf.fuse(DATES[0], method="linear", **options)


def test_options_contradict_each_other_before_anything_is_written(tmp_path):
    with pytest.raises(OptionError, match="provenance is per query date"):
        tamrf_xr.run_job(
            random_cube((12, 15)), tmp_path / "out.zarr", DATES, method="linear",
            provenance=True, statistics=["max"],
        )  # fmt: skip
    assert not list(tmp_path.iterdir())

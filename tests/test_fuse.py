"""The main job with the network: right to the last digit, whatever the tiles."""

from __future__ import annotations

import pickle
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import tamrf_xr
from tamrf_xr.cube import build_cube, build_group, groups_of
from tamrf_xr.errors import CubeError, DateError, MethodError, ModelError, OptionError
from tamrf_xr.fuser import Relieving
from tamrf_xr.fusion import bands_of
from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.methods.tamrf import TamrfFuser, _engine
from tamrf_xr.model.checkpoint import load_model
from tamrf_xr.model.engine import Engine
from tamrf_xr.store import lay_out
from tests.oracle import shared
from tests.scenes import days, grid, random_cube, rechunked

SMALL = Path(__file__).parent / "data" / "oracle_small"
ORACLE_TOLERANCE = 1e-4  # the project's promise in float32; what is measured is below 1e-6
SEAM_TOLERANCE = 2e-6
YEAR = pd.Timestamp("2022-01-01")


@pytest.fixture(scope="module")
def small():
    return load_model(SMALL / "checkpoint.ckpt", SMALL / "config_composed.yaml")


def at(doys) -> pd.DatetimeIndex:
    return YEAR + pd.to_timedelta(np.asarray(doys), "D")


def oracle_sensor(stored, doys, place) -> xr.DataArray:
    """What a user has: int16 with a band dimension, coordinates and a CRS."""
    bands = {10: "B02 B03 B04 B05 B06 B07 B08 B8A B11 B12", 8: "B01 B02 B03 B04 B05 B06 B07 LST"}
    coords = {"time": at(doys), "band": bands[stored.shape[1]].split(), **place.coords()}
    return xr.DataArray(stored, coords, ("time", "band", "y", "x")).rio.write_crs(place.crs)


ORACLE_CASES = [
    *((name, case) for name in ("small", "full") for case in ("both", "lr_only", "hr_only")),
    *(("extended", case) for case in ("both", "lronly", "hronly")),
]


def load_case(name: str):
    """Return model, stored series and query days, per sensor."""
    if name == "extended":
        z = np.load(shared("oracle/extended/oracle_forward.npz"))
        model = load_model(shared("oracle/extended/reference_checkpoint.ckpt"))
        series = {"lr": (z["lr_data"][0], z["lr_doy"]), "hr": (z["hr_data"][0], z["hr_doy"])}
        return model, series, {"lr": z["q_lr"], "hr": z["q_hr"]}, z
    folder = SMALL if name == "small" else shared("oracle/full")
    z = np.load(folder / "forward.npz")
    model = load_model(folder / "checkpoint.ckpt", folder / "config_composed.yaml")
    series = {s: (z[f"in_{s}"][0], z[f"in_{s}_doy"][0]) for s in ("lr", "hr")}
    return model, series, dict.fromkeys(("lr", "hr"), z["query_doy"][0]), z


@pytest.mark.parametrize(("name", "case"), ORACLE_CASES)
@pytest.mark.parametrize("tile", ["auto", 23])
def test_fuse_agrees_with_the_published_implementation(name, case, tile):
    model, series, queries, z = load_case(name)
    height, width = series["hr"][0].shape[-2:]
    given = {}
    if "hr" in case or case == "both":
        given["sentinel2"] = oracle_sensor(*series["hr"], grid((height, width)))
    if "lr" in case or case == "both":
        coarse = grid((height // 3, width // 3), gsd=30.0)
        given["landsat"] = oracle_sensor(*series["lr"], coarse)
    cube = tamrf_xr.as_cube(**given, scaling="ls2s2")
    infix = "" if name == "extended" else "out_"
    worst = 0.0
    for stream, sensor in (("lr", "landsat"), ("hr", "sentinel2")):
        fused = cube.tamrf.fuse(
            at(queries[stream]),
            model=model,
            origin="2022-01-01",
            window=None,
            sensors=sensor,
            tile=tile,
            device="cpu",
        )
        group = groups_of(fused)[sensor].load()  # its variables at once
        made = group["reflectance"].values
        if sensor == "landsat":
            thermal = group["surface_temperature"].values[:, None] / 1000
            made = np.concatenate([made, thermal], axis=1)
        worst = max(worst, np.abs(made - z[f"{case}_{infix}{stream}"][0]).max())
    print(f"{name} {case} tile {tile}: max abs difference {worst:.2g}")
    assert worst <= ORACLE_TOLERANCE


@given(
    shape=st.tuples(st.integers(4, 14), st.integers(4, 14)),
    tile=st.integers(5, 45),
    chunk=st.integers(9, 40),
    sensors=st.sampled_from([("sentinel2", "landsat"), ("sentinel2",), ("landsat",)]),
    counts=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 99),
)
def test_any_tiling_and_chunking_equals_the_whole_image(
    small, shape, tile, chunk, sensors, counts, seed
):
    hr, lr, queries = counts
    cube = random_cube(
        (3 * shape[0], 3 * shape[1]), hr=hr, lr=lr, seed=seed, sensors=sensors, nan=0.05
    )
    asked = days(queries, start="2022-01-08", step=7)
    options = {"model": small, "device": "cpu"}
    whole = cube.tamrf.fuse(asked, tile=10_000, **options).load()  # variables at once
    chunked = rechunked(cube, time=1 + seed % 3, band=4, y=chunk, x=chunk + 6)
    tiled = chunked.tamrf.fuse(asked, tile=tile, **options).load()
    for name, group in groups_of(whole).items():
        other = groups_of(tiled)[name]
        difference = np.abs(group["reflectance"].values - other["reflectance"].values).max()
        assert difference <= SEAM_TOLERANCE
        if name == "landsat":
            kelvin = np.abs(group["surface_temperature"] - other["surface_temperature"])
            assert float(kelvin.max()) / 1000 <= SEAM_TOLERANCE


def test_any_number_of_dates_answers_each_as_if_alone(small):
    cube = random_cube((18, 18))
    asked = days(5, start="2021-12-30", step=9)
    together = cube.tamrf.fuse(asked, model=small, origin="2022-01-01")
    for position, date in enumerate(asked):
        alone = cube.tamrf.fuse(str(date.date()), model=small, origin="2022-01-01")
        np.testing.assert_allclose(
            together["sentinel2/reflectance"].values[position],
            alone["sentinel2/reflectance"].values[0],
            atol=SEAM_TOLERANCE,
        )


def test_a_long_cube_is_fused_window_by_window(small):
    near = random_cube((18, 18), hr=3, lr=2)
    far = {
        n: g.assign_coords(time=g["time"] + np.timedelta64(700, "D"))
        for n, g in groups_of(near).items()
    }
    long = tamrf_xr.as_cube(
        xr.DataTree.from_dict(
            {
                n: xr.concat([g, far[n]], "time", data_vars="minimal")
                for n, g in groups_of(near).items()
            }
        )
    )
    date = pd.Timestamp("2022-01-15")
    alone = near.tamrf.fuse(date, model=small, origin=date - pd.Timedelta("100D"))
    fused = long.tamrf.fuse([date, date + pd.Timedelta("700D")], model=small, window="200D")
    for query in (0, 1):
        np.testing.assert_allclose(
            fused["sentinel2/reflectance"].values[query],
            alone["sentinel2/reflectance"].values[0],
            atol=SEAM_TOLERANCE,
        )


def test_fewer_bands_are_the_same_numbers(small):
    cube = random_cube((18, 18))
    asked = days(2)
    every = cube.tamrf.fuse(asked, model=small)
    some = cube.tamrf.fuse(
        asked, model=small, bands={"sentinel2": ["nir", "B04"], "landsat": ["LST"]}
    )
    assert list(some["sentinel2"]["band"].values) == ["B04", "B08"]
    assert "reflectance" not in some["landsat"]
    chosen = groups_of(every)["sentinel2"]["reflectance"].sel(band=["B04", "B08"])
    np.testing.assert_allclose(some["sentinel2/reflectance"].values, chosen.values, atol=1e-6)
    np.testing.assert_allclose(
        some["landsat/surface_temperature"].values,
        every["landsat/surface_temperature"].values,
        rtol=1e-6,
    )


def test_nodata_is_the_mean_of_the_band(small):
    cube = random_cube((18, 18), seed=3)
    group = groups_of(cube)["sentinel2"]
    hole = xr.zeros_like(group["valid"])
    hole[0, 3:9, 3:9] = True
    mean = xr.DataArray(
        small.get_buffer("hr_mean").numpy(), dims="band", coords={"band": group["band"]}
    )
    landsat = groups_of(cube)["landsat"]

    def fused(reflectance):
        changed = group.assign(reflectance=reflectance.transpose(*group["reflectance"].dims))
        tree = xr.DataTree.from_dict({"sentinel2": changed, "landsat": landsat})
        return tree.tamrf.fuse(days(2), model=small)["sentinel2/reflectance"].values

    holed, filled = group["reflectance"].where(~hole), group["reflectance"].where(~hole, mean)
    np.testing.assert_allclose(fused(holed), fused(filled), atol=SEAM_TOLERANCE)
    assert np.isfinite(fused(holed)).all()


def test_a_store_gives_the_bytes_that_memory_gives(small, tmp_path):
    tamrf_xr.save_cube(random_cube((18, 18), nan=0.2), tmp_path / "scene.zarr")
    stored = tamrf_xr.open_cube(tmp_path / "scene.zarr")  # integers reach the network
    loaded = build_cube({name: group.compute() for name, group in groups_of(stored).items()})
    one, other = (cube.tamrf.fuse(days(2), model=small) for cube in (stored, loaded))
    for name, group in groups_of(one).items():
        xr.testing.assert_identical(group.compute(), groups_of(other)[name].compute())


def test_inputs_are_left_as_they_were(small):
    cube = random_cube((18, 18), nan=0.1)
    before = {n: g.copy(deep=True) for n, g in groups_of(cube).items()}
    cube.tamrf.fuse(days(2), model=small).load()
    for name, group in groups_of(cube).items():
        xr.testing.assert_identical(group, before[name])


def test_one_sensor_dataset_fuses_too(small):
    group = groups_of(random_cube((18, 18)))["sentinel2"]
    fused = group.tamrf.fuse("2022-01-10", model=small)
    assert list(groups_of(fused)) == ["sentinel2", "landsat"]


def test_weights_travel_as_path_or_once_as_bytes(small, tmp_path):
    cube = random_cube((90, 90))
    path = tmp_path / "w.safetensors"
    tamrf_xr.save_model(small, path)
    sizes = {}
    for kind, model in (("path", str(path)), ("memory", small)):
        fused = cube.tamrf.fuse(days(2), model=model, tile=10)
        sizes[kind] = len(pickle.dumps(fused["sentinel2/reflectance"].data.__dask_graph__()))
    weights = path.stat().st_size
    assert sizes["memory"] - sizes["path"] < 1.1 * weights


def test_out_of_gpu_memory_is_retried_in_smaller_blocks(small, monkeypatch):
    """Simulated on the CPU: the engine says what CUDA would say."""
    asked = []
    whole = Engine.reconstruct

    def short_of_memory(self, *args, **options):
        asked.append(self.pixels)
        if self.pixels is None or self.pixels > enough:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, *args, **options)

    cube = random_cube((18, 18))
    expected = cube.tamrf.fuse(days(2), model=small)["sentinel2/reflectance"].values
    monkeypatch.setattr(Engine, "reconstruct", short_of_memory)
    _engine.cache_clear()
    enough = 4096
    fused = cube.tamrf.fuse(days(2), model=small, tile=17)
    np.testing.assert_allclose(fused["sentinel2/reflectance"], expected, atol=SEAM_TOLERANCE)
    assert asked[:3] == [None, 8192, 4096]
    enough = 0
    with pytest.raises(tamrf_xr.TamrfError, match=r"1024 pixels; pass a smaller tile"):
        cube.tamrf.fuse(days(2), model=small, tile=16).load()
    _engine.cache_clear()


def test_a_fuser_that_makes_do_with_less_changes_no_other(small):
    spec = plan_method("tamrf", Request(bands_of(random_cube()), model=small, device="cpu"))
    one, other = (TamrfFuser(dict(spec.makes), **dict(spec.options)) for _ in range(2))
    assert isinstance(one, Relieving)
    assert one.relieve(torch.OutOfMemoryError())
    assert (one._engine.pixels, other._engine.pixels) == (8192, None)
    assert not one.relieve(ValueError())


def test_weights_that_changed_after_planning_are_refused(small, tmp_path):
    path = tmp_path / "w.safetensors"
    tamrf_xr.save_model(small, path)
    fused = random_cube((18, 18)).tamrf.fuse(days(2), model=path)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(tamrf_xr.TamrfError, match="has changed since the product was planned"):
        fused.load()


def empty_tile_year(path: Path) -> Path:
    """Lay out a full Sentinel-2 tile-year, 60 + 45 dates, without a single chunk."""
    fine = grid((10980, 10980))

    def blank(*shape):
        return da.zeros(shape, dtype="f4", chunks=(-1,) * (len(shape) - 2) + (360, 360))

    cube = build_cube(
        {
            "sentinel2": build_group(
                "sentinel2", blank(60, 10, *fine.shape), times=days(60, step=6), grid=fine
            ),
            "landsat": build_group(
                "landsat",
                blank(45, 7, 3660, 3660),
                times=days(45, step=8),
                grid=grid((3660, 3660), gsd=30.0),
                surface_temperature=blank(45, 3660, 3660),
            ),
        }
    )
    lay_out(cube, path)
    return path


def test_a_tile_year_is_laid_out_without_reading_it(small, tmp_path):
    store = empty_tile_year(tmp_path / "year.zarr")
    fused = tamrf_xr.open_cube(store).tamrf.fuse("2022-01-08/2022-12-31/15D", model=small)
    array = fused["sentinel2/reflectance"]
    assert array.shape == (24, 10, 10980, 10980)
    assert len(pickle.dumps(array.data.__dask_graph__())) < 20e6


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"query_dates": "soon"}, DateError, "not understood"),
        ({"query_dates": []}, DateError, "at least one"),
        (
            {"query_dates": "2029-01-01"},
            DateError,
            "no acquisition within 182.5 days of query date 2029",
        ),
        (
            {"method": "magic"},
            MethodError,
            "unknown method 'magic'; the methods are: tamrf, linear",
        ),
        ({"sensors": "modis"}, MethodError, "cannot make sensor modis"),
        ({"bands": "B99"}, MethodError, "unknown band 'B99'"),
        ({"model": "nowhere.ckpt"}, tamrf_xr.TamrfError, "nowhere.ckpt"),
        ({"model": 3}, ModelError, "a path, a loaded model, 'default' or 'published'"),
        ({"precision": "float8"}, OptionError, "float32, tf32, bfloat16"),
        ({"device": "gpu0"}, OptionError, "auto, cpu, cuda or cuda:N"),
        ({"tile": "big"}, OptionError, "tile must be 'auto' or a number"),
        ({"window": "long"}, DateError, "not a duration"),
        ({"method_options": {"speed": 2}}, OptionError, "has no option speed"),
    ],
)
def test_bad_options_say_what_is_wrong(small, options, error, message):
    asked = {"query_dates": "2022-01-10", "model": small} | options
    with pytest.raises(error, match=message):
        random_cube((18, 18)).tamrf.fuse(asked.pop("query_dates"), **asked)


def test_default_weights_ship_and_give_reflectance():
    cube = random_cube((24, 24))
    fused = cube.tamrf.fuse("2022-01-20", tile=12)
    red = fused["sentinel2/reflectance"].sel(band="B04").values
    assert np.isfinite(red).all()
    assert 0 < red.mean() < 1
    assert 250 < float(fused["landsat/surface_temperature"].mean()) < 330


def test_missing_bands_are_named(small):
    group = groups_of(random_cube((18, 18)))["sentinel2"].isel(band=slice(0, 8))
    with pytest.raises(
        MethodError, match=r"needs every band of /sentinel2, and B11, B12 are missing"
    ):
        xr.DataTree.from_dict({"sentinel2": group}).tamrf.fuse("2022-01-10", model=small)


def test_options_reach_the_method():
    cube = random_cube((18, 18), hr=4, lr=4)
    cube["landsat"] = groups_of(cube)["landsat"].assign_coords(
        time=cube["sentinel2"]["time"].values
    )
    asked = {"query_dates": cube["sentinel2"]["time"].values[1:3], "method": "stair"}
    one, other = (
        cube.tamrf.fuse(**asked, method_options={"variant": variant})[
            "sentinel2/reflectance"
        ].values
        for variant in ("evaluated", "paper")
    )
    assert not np.array_equal(one, other, equal_nan=True)


def test_empty_sensor_is_refused(small):
    groups = groups_of(random_cube((18, 18)))
    groups["landsat"] = groups["landsat"].isel(time=slice(0, 0))
    with pytest.raises(CubeError, match=r"/landsat.* no acquisition"):
        xr.DataTree.from_dict(groups).tamrf.fuse("2022-01-10", model=small)


def test_product_is_not_fused_again(small):
    fused = random_cube((18, 18)).tamrf.fuse("2022-01-10", model=small)
    with pytest.raises(CubeError, match="product of fuse already"):
        fused.tamrf.fuse("2022-01-10", model=small)


def test_import_loads_no_torch():
    import subprocess
    import sys

    code = "import sys, tamrf_xr; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("asked", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize("speed", [0.5, 1.6])
def test_precision_of_a_product_is_what_was_computed_in(asked, speed, monkeypatch):
    monkeypatch.setattr("tamrf_xr.model.precision.bfloat16_speed", lambda: speed)
    spec = plan_method("tamrf", Request(bands_of(random_cube()), device="cpu", precision=asked))
    expected = "bfloat16" if speed > 1 and asked == "bfloat16" else "float32"
    assert dict(spec.provenance)["precision"] == expected
    fuser = TamrfFuser(dict(spec.makes), **dict(spec.options))
    assert fuser._engine.dtype == getattr(torch, expected)


def test_a_product_on_workers_with_a_gpu_is_planned_without_one():
    spec = plan_method("tamrf", Request(bands_of(random_cube()), device="cuda"))
    assert dict(spec.provenance)["precision"] == "bfloat16"


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "cuda:-1", 1, "meta"])
def test_a_device_that_is_none_is_refused(device):
    with pytest.raises(OptionError, match="device must be auto, cpu, cuda or cuda:N"):
        tamrf_xr.fuse(random_cube(), "2022-01-20", device=device)

"""The lazy layer: any tiling or chunking gives the same answer as none."""

from __future__ import annotations

import pickle

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import MemoryBudgetError, TileError
from tamrf_xr.fuser import Cost
from tamrf_xr.scale.prepared import Timing
from tests.laid import fuse_lazily
from tests.numpy_fusers import blur_spec
from tests.scenes import random_cube, rechunked

QUERIES = pd.DatetimeIndex(["2022-01-20", "2022-01-01", "2022-02-02"])


def values(tree):
    return {
        f"{name}/{variable}": array.values
        for name, group in groups_of(tree).items()
        for variable, array in group.data_vars.items()
    }


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-6, err_msg=name)


@given(
    tile=st.integers(8, 50),
    chunks=st.fixed_dictionaries(
        {
            "time": st.integers(1, 5),
            "band": st.integers(4, 10),
            "y": st.integers(9, 40),
            "x": st.integers(9, 50),
        }
    ),
    sensors=st.sampled_from([("sentinel2", "landsat"), ("sentinel2",), ("landsat",)]),
)
def test_any_tiling_and_chunking_equals_the_whole(tile, chunks, sensors):
    cube = random_cube((36, 45), sensors=sensors, nan=0.1)
    whole = values(fuse_lazily(cube, blur_spec(), QUERIES, tile=1000))
    assert_same(values(fuse_lazily(cube, blur_spec(), QUERIES, tile=tile)), whole)
    assert_same(
        values(fuse_lazily(rechunked(cube, **chunks), blur_spec(), QUERIES, tile=tile)), whole
    )


def test_query_dates_come_out_in_the_order_asked():
    fused = fuse_lazily(random_cube(), blur_spec(), QUERIES)
    assert list(fused["sentinel2"]["time"].values) == list(QUERIES.values)
    alone = fuse_lazily(random_cube(), blur_spec(), QUERIES[1:2])
    np.testing.assert_array_equal(
        fused["landsat/surface_temperature"].values[1],
        alone["landsat/surface_temperature"].values[0],
    )


def test_windows_see_only_their_acquisitions():
    cube = random_cube(hr=4, lr=3)
    later = {
        n: g.assign_coords(time=g["time"] + np.timedelta64(800, "D"))
        for n, g in groups_of(cube).items()
    }
    long = build_cube({n: xr.concat([g, later[n]], "time") for n, g in groups_of(cube).items()})
    origin = QUERIES[0] - pd.Timedelta("100D")
    timing = Timing(window="200D")
    alone = fuse_lazily(cube, blur_spec(), QUERIES[:1], timing=Timing(origin=origin))
    fused = fuse_lazily(
        long, blur_spec(), QUERIES[:1].append(QUERIES[:1] + pd.Timedelta("800D")), timing=timing
    )
    for query in (0, 1):
        np.testing.assert_allclose(
            fused["sentinel2/reflectance"].values[query], alone["sentinel2/reflectance"].values[0]
        )


def test_acquisitions_of_one_day_are_mosaicked_valid_pixels_first():
    cube = random_cube(hr=2, lr=1)
    group = groups_of(cube)["sentinel2"]
    twice = xr.concat([group, group.assign(reflectance=group["reflectance"] + 1)], "time")
    seen = np.random.default_rng(1).random(group["valid"].shape) < 0.5
    twice["valid"] = (("time", "y", "x"), np.concatenate([seen, ~seen]))
    merged = group.assign(
        reflectance=group["reflectance"] + np.where(seen, 0, 1)[:, None].astype(np.float32)
    )
    landsat = groups_of(cube)["landsat"]
    one = fuse_lazily(build_cube({"sentinel2": twice, "landsat": landsat}), blur_spec(), QUERIES)
    other = fuse_lazily(build_cube({"sentinel2": merged, "landsat": landsat}), blur_spec(), QUERIES)
    assert_same(values(one), values(other))


def test_nothing_is_computed_before_it_is_asked():
    def refuse(block):
        raise AssertionError("computed")

    cube = rechunked(random_cube(), time=2, band=10, y=18, x=18)
    trapped = build_cube(
        {
            name: group.assign(
                reflectance=group["reflectance"].copy(
                    data=group["reflectance"].data.map_blocks(refuse, meta=np.empty((0,) * 4, "f4"))
                )
            )
            for name, group in groups_of(cube).items()
        }
    )
    fused = fuse_lazily(trapped, blur_spec(), QUERIES)
    with pytest.raises(AssertionError, match="computed"):
        fused.load()


def test_both_sensors_come_from_one_task_a_tile():
    calls = []
    spec = blur_spec(factory="tests.test_lazy:counting", options=(("log", "calls"),))
    counting.calls = calls
    fused = fuse_lazily(random_cube(), spec, QUERIES, tile=15)
    dask.compute(*groups_of(fused).values())
    assert len(calls) == 3 * 3


def counting(makes, log):
    from tests.numpy_fusers import Blur

    class Counting(Blur):
        def __call__(self, *args):
            counting.calls.append(1)
            return super().__call__(*args)

    return Counting(makes)


def test_graph_is_small_and_pickles():
    cube = random_cube((300, 300), hr=2, lr=2)
    fused = fuse_lazily(rechunked(cube, time=2, band=10, y=60, x=60), blur_spec(), QUERIES, tile=6)
    graph = fused["sentinel2/reflectance"].data.__dask_graph__()
    tiles = {name: layer for name, layer in graph.layers.items() if name.startswith("fuse")}
    assert len(pickle.dumps(tiles)) < 2_000 * 2500


def test_failure_names_the_tile():
    spec = blur_spec(factory="tests.test_lazy:failing")
    fused = fuse_lazily(random_cube(), spec, QUERIES, tile=30)
    with pytest.raises(TileError, match=r"tile \(\d, \d\) \(rows .* columns .*broken"):
        fused.load()


def failing(makes):
    def fail(*_):
        raise ValueError("broken")

    return fail


def test_too_little_memory_says_what_is_needed():
    spec = blur_spec(cost=Cost(fixed=2.0**60))
    with pytest.raises(MemoryBudgetError, match=r"needs .* GiB .* more memory"):
        fuse_lazily(random_cube(), spec, QUERIES)
    with pytest.raises(MemoryBudgetError, match='pass a smaller tile, or tile="auto"'):
        fuse_lazily(random_cube(), spec, QUERIES, tile=10)


def test_planner_takes_smaller_tiles_where_dates_are_many():
    spec = blur_spec(cost=Cost(per_query=200_000.0))
    wide = random_cube((600, 600), hr=1, lr=1)
    few, many = (fuse_lazily(wide, spec, QUERIES[:n]) for n in (1, 3))
    side = [f["sentinel2/reflectance"].chunks[2][0] for f in (few, many)]
    assert side[1] < side[0]


def test_product_keeps_crs_and_transform():
    cube = random_cube()
    fused = fuse_lazily(cube, blur_spec(), QUERIES)
    for group in groups_of(fused).values():
        assert group.rio.crs == groups_of(cube)["sentinel2"].rio.crs
        assert group.rio.transform() == groups_of(cube)["sentinel2"].rio.transform()


def test_landsat_alone_comes_out_on_the_fine_grid():
    cube = random_cube(sensors=("landsat",))
    fused = fuse_lazily(cube, blur_spec(), QUERIES)
    assert fused["landsat/reflectance"].shape == (3, 1, 36, 45)
    assert groups_of(fused)["landsat"].rio.bounds() == groups_of(cube)["landsat"].rio.bounds()

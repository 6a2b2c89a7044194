"""What every method must hold to; a method's test class inherits it."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamrf_xr import with_panchromatic
from tamrf_xr.cube import build_cube, build_group, grid_of, groups_of
from tamrf_xr.dates import plan_dates
from tamrf_xr.errors import MethodError
from tamrf_xr.fuser import Crop, Episode, Series
from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.sensors import SENSORS
from tests.laid import fuse_lazily
from tests.scenes import grid

ORIGIN = pd.Timestamp(2022, 3, 1)
DAYS = {"sentinel2": (0, 5, 12, 20, 30, 44), "landsat": (5, 13, 20, 28, 44)}
"""Three conjunctions: 5, 20 and 44."""

QUERIES = (13, 20, 17, 28, 44)
"""Days of Landsat, of a conjunction, of nothing."""

inherited = settings(
    max_examples=5,
    suppress_health_check=[
        *settings.default.suppress_health_check,
        HealthCheck.differing_executors,
    ],
)


def dates(days) -> pd.DatetimeIndex:
    return ORIGIN + pd.to_timedelta(np.atleast_1d(days), unit="D")


def paired_cube(shape=(36, 45), *, days=DAYS, seed=0, clear=0.8):
    """A cube of noise with conjunctions; `clear` of its pixels are valid."""
    rng = np.random.default_rng(seed)
    groups = {}
    for name, passes in days.items():
        ratio, bands = SENSORS[name].ratio, len(SENSORS[name].bands)
        size = (len(passes), shape[0] // ratio, shape[1] // ratio)
        thermal = 280 + 30 * rng.random(size, dtype=np.float32) if name == "landsat" else None
        groups[name] = build_group(
            name,
            rng.random((size[0], bands, *size[1:]), dtype=np.float32) * 0.5,
            times=dates(passes),
            grid=grid(size[1:], gsd=10.0 * ratio),
            valid=rng.random(size) < clear,
            surface_temperature=thermal,
        )
    return build_cube(groups)


def bands_of(cube) -> dict[str, tuple[str, ...]]:
    return {
        name: (*group["band"].values.tolist(), *(["LST"] * ("surface_temperature" in group)))
        for name, group in groups_of(cube).items()
    }


def series_of(cube) -> dict[str, Series]:
    """What a tile that is the whole cube reads; arrays that nobody may write."""
    series, bands = {}, bands_of(cube)
    for name, group in groups_of(cube).items():
        parts = [group["reflectance"].values]
        if "surface_temperature" in group:
            parts.append(group["surface_temperature"].values[:, None])
        pixels = np.concatenate(parts, axis=1).astype(np.float32)
        valid = group["valid"].values & np.isfinite(parts[0]).all(axis=1)
        pixels.setflags(write=False)
        valid.setflags(write=False)
        sharp = group["panchromatic"].values if "panchromatic" in group else None
        series[name] = Series(pixels, valid, bands[name], panchromatic=sharp)
    return series


def with_sharp(cube, *, seed=7):
    """The cube with a panchromatic band of noise on every date of Landsat."""
    group = groups_of(cube)["landsat"]
    finer = grid_of(group).zoom(2)
    pixels = np.random.default_rng(seed).random((group.sizes["time"], *finer.shape)) * 0.5
    coords = {"time": group["time"].values, **finer.coords()}
    band = xr.DataArray(pixels.astype(np.float32), coords=coords, dims=("time", "y", "x"))
    return with_panchromatic(cube, band)


def whole_of(series) -> Crop:
    name, seen = next(iter(series.items()))
    y, x = (size * SENSORS[name].ratio for size in seen.valid.shape[1:])
    return Crop(slice(0, y), slice(0, x), dict.fromkeys(series, (0, 0)))


def run(spec, cube, asked, *, series=None):
    """Fuse a whole cube at days counted from `ORIGIN`, without dask."""
    series = series or series_of(cube)
    times = {n: pd.DatetimeIndex(g["time"].values) for n, g in groups_of(cube).items()}
    plan = plan_dates(times, dates(asked), origin=ORIGIN, window=None)
    return spec.fuser()(series, plan.episodes, whole_of(series))


class FuserTests:
    """Inherit, name the method, and override what it cannot hold to, with the reason."""

    method: str
    options: tuple[tuple[str, object], ...] = ()
    smallest_tile = 7
    seamless = True
    """Whether any tiling equals the whole."""

    def cube(self, shape=(36, 45), **changes):
        return paired_cube(shape, **changes)

    def spec(self, cube):
        return plan_method(self.method, Request(bands_of(cube), options=dict(self.options)))

    def test_spec_is_small_hashable_and_picklable(self):
        spec = self.spec(self.cube())
        data = pickle.dumps(spec)
        assert len(data) < 4000
        assert hash(pickle.loads(data)) == hash(spec)
        assert pickle.loads(data) == spec
        assert spec == self.spec(self.cube())

    @inherited
    @given(tile=st.integers(7, 40), seed=st.integers(0, 3))
    def test_any_tiling_equals_the_whole(self, tile, seed):
        if not self.seamless:
            pytest.skip("the method says why")
        cube = self.cube(seed=seed)
        spec = self.spec(cube)
        whole = fuse_lazily(cube, spec, dates(QUERIES[:2]), tile=1000)
        tiled = fuse_lazily(cube, spec, dates(QUERIES[:2]), tile=max(tile, self.smallest_tile))
        whole.load(), tiled.load()  # their variables at once
        for name, group in groups_of(whole).items():
            for variable, array in group.data_vars.items():
                np.testing.assert_allclose(
                    tiled[name][variable].values, array.values, rtol=1e-5, atol=2e-6
                )

    def test_lazy_equals_direct_and_shapes_are_right(self):
        cube = self.cube()
        spec = self.spec(cube)
        made = run(spec, cube, QUERIES)
        fused = fuse_lazily(cube, spec, dates(QUERIES), tile=1000).load()
        assert tuple((name, len(bands)) for name, bands in spec.makes) == tuple(
            (name, pixels.shape[1]) for name, pixels in made.items()
        )
        for name, pixels in made.items():
            assert pixels.dtype == np.float32
            lazy = [v.values for v in fused[name].data_vars.values()]
            lazy = [v[:, None] if v.ndim == 3 else v for v in lazy]
            np.testing.assert_array_equal(np.concatenate(lazy, axis=1), pixels)

    def test_inputs_are_untouched(self):
        cube = self.cube()
        series = series_of(cube)
        before = {name: (s.pixels.copy(), s.valid.copy()) for name, s in series.items()}
        run(self.spec(cube), cube, QUERIES, series=series)
        for name, (pixels, valid) in before.items():
            np.testing.assert_array_equal(series[name].pixels, pixels)
            np.testing.assert_array_equal(series[name].valid, valid)

    @pytest.mark.parametrize("asked", [(-40,), (300,), (13, 13), (0, 5, 9, 20, 31, 49), (44, 5)])
    def test_any_dates_and_any_number_of_them(self, asked):
        cube = self.cube((18, 18))
        spec = self.spec(cube)
        together = run(spec, cube, asked)
        for position, day in enumerate(asked):
            alone = run(spec, cube, [day])
            for name, pixels in alone.items():
                np.testing.assert_allclose(together[name][position], pixels[0], rtol=1e-6)

    def test_what_an_episode_does_not_see_has_no_effect(self):
        """What makes a method causal: see `tamrf_xr.causal`."""
        cube = self.cube()
        spec, series = self.spec(cube), series_of(cube)
        seen = {name: tuple(range(len(days) - 1)) for name, days in DAYS.items()}
        days = {name: tuple(map(float, passes[:-1])) for name, passes in DAYS.items()}
        episode = Episode(seen, days, (0, 1), (20.0, 28.0))
        alone = {name: one.at(seen[name]) for name, one in series.items()}
        spiked = {}
        for name, one in series.items():
            pixels, valid = one.pixels.copy(), one.valid.copy()
            pixels[-1], valid[-1] = 1 - pixels[-1] / 2, True
            spiked[name] = replace(one, pixels=pixels, valid=valid)
        made = [spec.fuser()(given, [episode], whole_of(series)) for given in (alone, spiked)]
        for name, pixels in made[0].items():
            assert np.isfinite(pixels).any()
            np.testing.assert_allclose(made[1][name], pixels, rtol=1e-5, atol=2e-6)

    def test_something_comes_out(self):
        cube = self.cube()
        made = run(self.spec(cube), cube, QUERIES)
        assert all(np.isfinite(pixels[1]).mean() > 0.3 for pixels in made.values())

    @pytest.mark.parametrize("gone", list(DAYS))
    def test_one_sensor_missing_works_or_says_so(self, gone):
        cube = self.cube(days={name: d for name, d in DAYS.items() if name != gone})
        made, refused = self.attempt(lambda: run(self.spec(cube), cube, QUERIES))
        if refused:
            assert f"needs /{gone}" in refused
        else:
            assert made
            assert all(len(pixels) == len(QUERIES) for pixels in made.values())

    @staticmethod
    def attempt(work):
        """What came out, or why it was refused."""
        try:
            return work(), ""
        except MethodError as error:
            return {}, str(error)

    @pytest.mark.parametrize("empty", list(DAYS))
    def test_a_sensor_without_acquisitions_in_the_window_works_or_says_so(self, empty):
        cube = self.cube()
        series = series_of(cube)
        nothing = series[empty].at([])
        seen = {n: () if n == empty else tuple(range(len(d))) for n, d in DAYS.items()}
        days = {n: () if n == empty else tuple(map(float, d)) for n, d in DAYS.items()}
        episode = Episode(seen, days, (0, 1), (13.0, 20.0))
        given = {**series, empty: nothing}
        made, refused = self.attempt(
            lambda: self.spec(cube).fuser()(given, [episode], whole_of(series))
        )
        if refused:
            assert self.method in refused
        else:
            assert made
            assert all(len(pixels) == 2 for pixels in made.values())

    def test_nan_stays_where_it_is(self):
        """NaN in a corner, on every date: gone there, and nothing changes beyond the halo."""
        cube = self.cube()
        spec, series = self.spec(cube), series_of(cube)
        holed = {}
        for name, seen in series.items():
            hole = (..., slice(0, 18 // SENSORS[name].ratio), slice(0, 18 // SENSORS[name].ratio))
            pixels, valid = seen.pixels.copy(), seen.valid.copy()
            pixels[hole], valid[hole] = np.nan, False
            holed[name] = replace(seen, pixels=pixels, valid=valid)
        before = run(spec, cube, QUERIES, series=series)
        after = run(spec, cube, QUERIES, series=holed)
        reach = 18 + max(
            SENSORS[name].ratio * halo for name, halo in spec.halo or (("landsat", 0),)
        )
        for name, pixels in after.items():
            assert np.isnan(pixels[..., :12, :12]).all()
            if self.seamless:
                np.testing.assert_array_equal(pixels[..., reach:, :], before[name][..., reach:, :])

    def test_nothing_but_nan_gives_nan(self):
        cube = self.cube()
        void = {
            name: replace(
                seen, pixels=np.full_like(seen.pixels, np.nan), valid=np.zeros_like(seen.valid)
            )
            for name, seen in series_of(cube).items()
        }
        made = run(self.spec(cube), cube, QUERIES, series=void)
        assert all(np.isnan(pixels).all() for pixels in made.values())

    def test_bands_can_be_chosen(self):
        cube = self.cube()
        spec = self.spec(cube)
        name, bands = spec.makes[0]
        request = Request(
            bands_of(cube), sensors=(name,), bands={name: bands[-1:]}, options=dict(self.options)
        )
        one = plan_method(self.method, request)
        assert one.makes == ((name, bands[-1:]),)
        np.testing.assert_array_equal(
            run(one, cube, QUERIES)[name][:, 0], run(spec, cube, QUERIES)[name][:, -1]
        )

    def test_unknown_option_lists_those_that_exist(self):
        request = Request(bands_of(self.cube()), options={"wings": 2})
        with pytest.raises(ValueError, match=f"{self.method!r} has no option wings"):
            plan_method(self.method, request)


def without(series: dict[str, Series], name: str, positions) -> dict[str, Series]:
    """Series where some acquisitions of a sensor are invalid throughout."""
    valid = series[name].valid.copy()
    valid[list(positions)] = False
    return {**series, name: replace(series[name], valid=valid)}

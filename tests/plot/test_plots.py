"""Plots: what is drawn is what the data hold; what is read is what is drawn."""

from __future__ import annotations

import builtins

import dask
import dask.array as da
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.dates import num2date

import tamrf_xr
from tamrf_xr.cube import build_cube, build_group, groups_of
from tamrf_xr.errors import CubeError, DateError, OptionError
from tests.scenes import days, grid, random_cube, rechunked

QUERIES = ["2022-01-10", "2022-01-20", "2022-02-01"]


@pytest.fixture(autouse=True)
def _figures_are_closed():
    with mpl.rc_context({"backend": "agg"}):
        yield
    mpl.pyplot.close("all")


@pytest.fixture(scope="module")
def cube():
    return random_cube(nan=0.1)


@pytest.fixture(scope="module")
def fused(cube):
    return tamrf_xr.fuse(cube, QUERIES, method="linear").load()


def drawn(ax):
    return np.asarray(ax.images[0].get_array())


def lines(ax):
    return {
        line.get_label(): (
            pd.DatetimeIndex(num2date(line.get_xdata(orig=False))).tz_localize(None).round("s"),
            line.get_ydata(),
        )
        for line in ax.get_lines()
    }


def middle(cube, row=14, column=20):
    """A point off the centre of a Sentinel-2 pixel, in that pixel."""
    group = cube["sentinel2"]
    return float(group["x"][column]) + 3, float(group["y"][row]) - 4


def test_thumbnails_are_the_reflectance_stretched_and_clipped(cube):
    axes = cube.tamrf.plot.dates(stretch=(0.1, 0.3))
    assert axes.shape == (2, 4)
    for line, name in zip(axes, ("sentinel2", "landsat"), strict=True):
        group = cube[name].isel(time=1).sel(band=["B04", "B03", "B02"])
        values = group["reflectance"].transpose("y", "x", "band").values
        known = np.isfinite(values).all(-1)
        np.testing.assert_array_equal(drawn(line[1])[..., 3], known)
        expected = np.clip((values - 0.1) / 0.2, 0, 1)
        np.testing.assert_allclose(drawn(line[1])[..., :3][known], expected[known], atol=1e-6)
        assert drawn(line[1]).max() <= 1
        time, share = pd.Timestamp(group["time"].values), (group["valid"].values & known).mean()
        assert line[1].get_title() == f"{time:%Y-%m-%d}, {share:.0%} clear"
    assert axes[0, 0].get_ylabel() == "Sentinel-2"
    assert not axes[1, 3].images  # Landsat has three


def test_all_thumbnails_have_one_stretch(cube):
    bright = groups_of(cube)
    bright["landsat"] = bright["landsat"].assign(reflectance=bright["landsat"]["reflectance"] * 0)
    axes = build_cube(bright).tamrf.plot.dates()
    assert drawn(axes[1, 0])[..., :3].max() == 0
    assert drawn(axes[0, 0])[..., :3].max() == 1


def test_dates_asked_are_those_drawn_and_others_are_refused(cube):
    first, second = cube["sentinel2"].time.values[[0, 2]]
    axes = cube.tamrf.plot.dates([first, second], sensor="sentinel2")
    assert [ax.get_title()[:10] for ax in axes[0]] == ["2022-01-03", "2022-01-25"]
    with pytest.raises(DateError, match=r"no sentinel2 or landsat on 2022-03-30; nearest are 2022"):
        cube.tamrf.plot.dates("2022-03-30")
    landsat = cube["landsat"].time.values[0]
    both = cube.tamrf.plot.dates([first, landsat])
    assert [bool(ax.images) for ax in both.ravel()] == [True, False, False, True]
    assert both[0, 1].texts[0].get_text() == "none"


def test_of_two_acquisitions_of_a_day_the_one_of_the_time_asked_is_drawn():
    times = pd.DatetimeIndex(["2022-01-03T10:00", "2022-01-03T10:30"])
    values = np.full((2, 10, 12, 12), 0.1, np.float32)
    values[1] = 0.2
    tree = build_cube({"sentinel2": build_group("sentinel2", values, times=times,
                                                grid=grid((12, 12)))})  # fmt: skip
    for asked, colour in (("2022-01-03T10:30", 0.5), ("2022-01-03", 0.25)):
        axes = tree.tamrf.plot.dates(asked, stretch=(0, 0.4))
        assert drawn(axes[0, 0])[0, 0, 0] == pytest.approx(colour)


@pytest.mark.parametrize("sensor", ["sentinel2", "landsat"])
def test_one_sensor_is_enough(sensor):
    cube = random_cube(sensors=(sensor,))
    fused = tamrf_xr.fuse(cube, QUERIES, method="linear", sensors=sensor)
    left, bottom, right, top = 500_000, 4_999_650, 500_450, 5_000_010
    point = (left + right) / 2, (bottom + top) / 2
    assert fused.tamrf.plot.dates().shape[0] == 1
    assert len(lines(fused.tamrf.plot.series(*point, observations=cube))) >= 4
    assert len(cube.tamrf.plot.calendar().get_lines()) == 1
    assert len(fused.tamrf.plot.compare(fused)) == 3
    assert len(cube.tamrf.quicklook(fused, columns=2).axes) >= 4


def test_temperature_is_drawn_in_kelvin(fused):
    axes = fused.tamrf.plot.dates(bands="LST")
    np.testing.assert_array_equal(
        drawn(axes[0, 2]), fused["landsat"]["surface_temperature"].isel(time=2)
    )
    warmth = build_cube({"landsat": groups_of(fused)["landsat"].drop_dims("band")})
    np.testing.assert_array_equal(drawn(warmth.tamrf.plot.dates()[0, 2]), drawn(axes[0, 2]))


def test_a_series_is_the_values_of_the_pixel_usable_and_not(cube, fused):
    x, y = middle(cube)
    found = lines(fused.tamrf.plot.series(x, y, bands=["red"], observations=cube))
    for name, row, column, title in (
        ("sentinel2", 14, 20, "Sentinel-2"), ("landsat", 4, 6, "Landsat-8/9")
    ):  # fmt: skip
        pixel = cube[name].sel(band="B04").isel(y=row, x=column)
        clear = pixel["valid"].values & np.isfinite(pixel["reflectance"].values)
        times, values = found[f"{title} B04 (red)"]
        np.testing.assert_array_equal(values, pixel["reflectance"].values[clear])
        assert (times == pd.DatetimeIndex(pixel.time.values[clear])).all()
        made = fused[name]["reflectance"].sel(band="B04").isel(y=14, x=20)
        np.testing.assert_array_equal(found[f"{title} B04 (red) fused"][1], made)
    crosses = next(values for label, values in found.items() if label.startswith("not usable"))
    expected = [
        cube[name]["reflectance"].sel(band="B04").isel(y=row, x=column)
        .where(~cube[name]["valid"].isel(y=row, x=column)).dropna("time").values
        for name, row, column in (("sentinel2", 14, 20), ("landsat", 4, 6))
    ]  # fmt: skip
    np.testing.assert_array_equal(crosses[1], np.concatenate(expected))


def test_clouds_do_not_set_the_scale_and_are_counted():
    values = np.full((3, 10, 12, 12), [[[[0.05]]], [[[0.9]]], [[[0.07]]]], np.float32)
    valid = np.array([True, False, True])[:, None, None] & np.ones((3, 12, 12), bool)
    group = build_group("sentinel2", values, times=days(3), grid=grid((12, 12)), valid=valid)
    tree = build_cube({"sentinel2": group})
    ax = tree.tamrf.plot.series(500_005, 5_000_005, bands="B04")
    assert ax.get_ylim()[1] < 0.1
    assert "not usable (1, 1 beyond the axis)" in lines(ax)


@pytest.mark.parametrize(("attrs", "factor"), [({}, 1.28), ({"half_width_80": [1.5] * 9 + [2]}, 2)])
def test_the_band_is_the_80_percent_interval(fused, attrs, factor):
    group = groups_of(fused)["sentinel2"]
    spread = xr.full_like(group["reflectance"], 0.03).assign_attrs(attrs)
    tree = build_cube({"sentinel2": group.assign(reflectance_std=spread)})
    ax = tree.tamrf.plot.series(*middle(fused), bands="B12")
    corners = ax.collections[0].get_paths()[0].vertices[:, 1]
    values = group["reflectance"].sel(band="B12").isel(y=14, x=20).values
    assert corners.max() == pytest.approx(values.max() + factor * 0.03, abs=1e-5)
    assert corners.min() == pytest.approx(values.min() - factor * 0.03, abs=1e-5)


def test_half_widths_of_bands_in_another_order_are_not_believed(fused):
    group = groups_of(fused)["sentinel2"]
    spread = xr.full_like(group["reflectance"], 0.03).assign_attrs(half_width_80=[9.0] * 10)
    turned = group.assign(reflectance_std=spread).isel(band=slice(None, None, -1))
    ax = build_cube({"sentinel2": turned}).tamrf.plot.series(*middle(fused), bands="B12")
    corners = ax.collections[0].get_paths()[0].vertices[:, 1]
    values = group["reflectance"].sel(band="B12").isel(y=14, x=20).values
    assert corners.max() == pytest.approx(values.max() + 1.28 * 0.03, abs=1e-5)


def test_the_calendar_is_the_share_of_valid(cube):
    found = list(lines(cube.tamrf.plot.calendar()).values())
    for (times, percent), name in zip(found, ("sentinel2", "landsat"), strict=True):
        np.testing.assert_allclose(percent, 100 * cube[name]["valid"].mean(("y", "x")))
        assert (times == cube[name].indexes["time"]).all()


def test_without_masks_the_calendar_is_the_share_with_a_value(cube):
    bare = build_cube({"sentinel2": groups_of(cube)["sentinel2"].drop_vars("valid")})
    (_, percent), = lines(bare.tamrf.plot.calendar()).values()  # fmt: skip
    known = np.isfinite(cube["sentinel2"]["reflectance"].values[:, 0])
    np.testing.assert_allclose(percent, 100 * known.mean((1, 2)))


def test_a_difference_is_the_other_minus_this_where_both_are_usable(cube):
    groups = groups_of(cube)
    shift = np.array([0.1] * 9 + [5.0], np.float32)[:, None, None]
    other = build_cube({"sentinel2": groups["sentinel2"].assign(
        reflectance=groups["sentinel2"]["reflectance"] + shift)})  # fmt: skip
    axes = cube.tamrf.plot.compare(other, date=cube["sentinel2"].time.values[1])
    assert axes[0].get_title() == "this, 2022-01-14"
    error = np.ma.filled(drawn_masked(axes[2]), np.nan)
    group = groups["sentinel2"].isel(time=1)
    usable = group["valid"].values & np.isfinite(group["reflectance"].values[0])
    np.testing.assert_array_equal(np.isfinite(error), usable)
    np.testing.assert_allclose(error[usable], 0.1, atol=1e-6)
    assert not np.array_equal(drawn(axes[0]), drawn(axes[1]))


def drawn_masked(ax):
    return ax.images[0].get_array()


def test_what_cannot_be_compared_is_refused(cube, fused):
    with pytest.raises(DateError, match="no day of /sentinel2 in both: this has 2022-01-10"):
        fused.tamrf.plot.compare(cube)
    with pytest.raises(DateError, match="the other has no sentinel2 on 2022-01-10"):
        fused.tamrf.plot.compare(cube, date="2022-01-10")
    with pytest.raises(CubeError, match=r"no sensor of both .*10 m, \(36, 45\).*30 m, \(12, 15\)"):
        fused.tamrf.plot.compare(cube, sensor="landsat")
    with pytest.raises(DateError, match="expected one"):
        fused.tamrf.plot.compare(cube, date=QUERIES)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda p: p.series(0, 0), CubeError, r"lies outside of /sentinel2, which covers x 500000"),
        (lambda p: p.series(float("nan"), 0), CubeError, "lies outside"),
        (lambda p: p.series(5e5, 5e6, bands="purple"), CubeError, "/landsat: B01, .*LST"),
        (lambda p: p.series(5e5, 5e6, bands=["red", "LST"]), OptionError, "kelvin"),
        (lambda p: p.series(5e5, 5e6, bands=[]), OptionError, "expected bands"),
        (lambda p: p.series(5e5, 5e6, sensor="modis"), CubeError, "no 'modis'"),
        (lambda p: p.dates(sensor="modis"), CubeError, "the tree has sentinel2, landsat"),
        (lambda p: p.dates(bands="red"), OptionError, "three names"),
        (lambda p: p.dates(bands=["a", "b", "c"]), CubeError, "no band 'a'"),
        (lambda p: p.dates(columns=0), OptionError, "columns"),
        (lambda p: p.dates(stretch=(1, 0)), OptionError, "stretch"),
        (lambda p: p.dates(bands="LST", sensor="sentinel2"), CubeError, "nothing to draw"),
        (lambda p: p.dates("soon"), DateError, "soon"),
    ],
)
def test_what_cannot_be_drawn_is_told(cube, call, error, says):
    with pytest.raises(error, match=says):
        call(cube.tamrf.plot)
    assert not mpl.pyplot.get_fignums()


def test_products_have_no_calendar_and_no_product_of_theirs(fused):
    with pytest.raises(CubeError, match="is a product, which has no acquisitions"):
        fused.tamrf.plot.calendar()
    with pytest.raises(CubeError, match="call quicklook on the cube"):
        fused.tamrf.quicklook(fused)
    labels = [text.get_text() for text in fused.tamrf.quicklook().texts]
    assert labels[0] == "Sentinel-2\nfused"


def test_without_matplotlib_plots_say_what_to_install(cube, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (
        cube.tamrf.plot.dates,
        cube.tamrf.plot.calendar,
        cube.tamrf.quicklook,
        lambda: cube.tamrf.plot.series(500_005, 5_000_005),
    ):
        with pytest.raises(OptionError, match="pip install matplotlib"):
            call()


def test_what_is_given_is_drawn_on_and_returned(cube):
    _, (one, two) = mpl.pyplot.subplots(2)
    assert cube.tamrf.plot.series(500_005, 5_000_005, ax=one) is one
    assert cube.tamrf.plot.calendar(ax=two) is two
    assert len(mpl.pyplot.get_fignums()) == 1


def counted(cube, seen):
    """The cube, telling in `seen` which blocks are computed: of a date, halves along y."""

    def look(block, name, block_info):
        seen.append((name, block_info[0]["chunk-location"]))
        return block

    def told(name, array):
        meta = np.empty((0,) * array.ndim, array.dtype)
        return array.copy(data=array.data.map_blocks(look, name, dtype=array.dtype, meta=meta))

    chunked = groups_of(rechunked(cube, time=1, band=-1, y=18, x=45))
    return build_cube(
        {
            sensor: group.assign(
                {name: told(f"{sensor}/{name}", array) for name, array in group.items()}
            )
            for sensor, group in chunked.items()
        }
    )


def test_a_plot_reads_the_dates_and_pixels_that_it_draws(cube):
    seen: list = []
    lazy = counted(cube, seen)
    with dask.config.set(scheduler="synchronous"):
        lazy.tamrf.plot.dates(cube["sentinel2"].time.values[1], sensor="sentinel2")
        assert {(name, where[0]) for name, where in seen} == {
            ("sentinel2/reflectance", 1), ("sentinel2/valid", 1)
        }  # fmt: skip
        seen.clear()
        lazy.tamrf.plot.series(*middle(cube), sensor="sentinel2")
        assert {where[-2] for _, where in seen} == {0}  # the upper half
        assert len(seen) == len(set(seen)) == 2 * 4
        seen.clear()
        lazy.tamrf.plot.calendar()
        assert {name for name, _ in seen} == {"sentinel2/valid", "landsat/valid"}
        assert len(seen) == len(set(seen))
    assert isinstance(lazy["sentinel2"]["reflectance"].data, da.Array)

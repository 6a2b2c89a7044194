"""Quicklooks: the right panels, readable, never blank; whole on disk or not at all."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

from tamrf_xr.cube import build_cube, build_group, groups_of
from tamrf_xr.errors import CubeError, DateError, OptionError, OutputExistsError
from tamrf_xr.export import quicklook as module
from tamrf_xr.export.panels import PANEL_PX
from tamrf_xr.export.quicklook import quicklook
from tamrf_xr.simulate import SceneConfig, simulate
from tests.scenes import days, grid, random_cube

DATES = ["2022-03-01", "2022-06-01", "2022-09-01"]


@pytest.fixture(scope="module")
def scene():
    return simulate(SceneConfig(size_px=60, sentinel2_revisit_days=30, landsat_revisit_days=40))


@pytest.fixture(scope="module")
def truth(scene):
    return scene.truth(DATES)


def panels(figure):
    return [axes for axes in figure.axes if axes.images]


def titles(figure):
    return [axes.get_title() for axes in panels(figure)]


def test_inputs_above_products_dates_across(scene, truth):
    figure = quicklook(scene.cube, truth)
    assert len(panels(figure)) == 5 * len(DATES)
    assert titles(figure)[6:9] == DATES
    labels = [text.get_text() for text in figure.texts]
    assert labels == [
        "Sentinel-2\ninput",
        "Landsat-8/9\ninput",
        "Sentinel-2\nfused",
        "Landsat-8/9\nfused",
        "Temperature\nfused",
    ]
    tops = [axes.get_position().y0 for axes in panels(figure)[:: len(DATES)]]
    assert tops == sorted(tops, reverse=True)


def test_inputs_are_the_acquisitions_nearest_to_the_dates(scene, truth):
    figure = quicklook(scene.cube, truth)
    times = pd.DatetimeIndex(scene.cube["sentinel2"]["time"].values)
    nearest = [times[np.abs(times - pd.Timestamp(date)).argmin()] for date in DATES]
    assert titles(figure)[:3] == [f"{time:%Y-%m-%d}" for time in nearest]


def test_png_has_the_size_of_the_figure_and_is_not_blank(tmp_path, scene):
    dates = "2022-01-01/2022-12-01/60D"
    figure = quicklook(scene.cube, scene.truth(dates), tmp_path / "new" / "look.png")
    with Image.open(tmp_path / "new" / "look.png") as image:
        assert image.width in {1599, 1600}
        assert image.size == tuple(int(v) for v in figure.get_size_inches() * figure.dpi + 1e-6)
        pixels = np.asarray(image.convert("RGB"), float)
    assert pixels.std() > 20
    # Little is left over: white is margin, titles and overcast.
    assert (pixels.min(axis=-1) == 255).mean() < 0.5
    for axes in panels(figure)[12:]:
        assert np.asarray(axes.images[0].get_array()).std() > 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["look.png"]


def test_panels_do_not_overlap_and_stay_inside(scene, truth):
    boxes = [axes.get_position() for axes in quicklook(scene.cube, truth).axes]
    assert all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= 1 and b.y1 <= 1 for b in boxes)
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_either_tree_alone_is_drawn(scene, truth):
    assert len(panels(quicklook(None, truth))) == 3 * len(DATES)
    assert len(panels(quicklook(scene.cube))) == 3 * 6
    assert len(panels(quicklook(scene.cube, columns=2))) == 3 * 2
    with pytest.raises(CubeError, match="nothing to draw"):
        quicklook(None)


@pytest.mark.parametrize(("sensor", "rows"), [("sentinel2", 1), ("landsat", 2)])
def test_one_sensor_is_enough(sensor, rows):
    cube = random_cube(sensors=(sensor,))
    assert len(panels(quicklook(cube, dates="2022-01-10"))) == rows


def test_few_dates_give_a_narrow_figure():
    cube = random_cube(hr=1, lr=1, sensors=("sentinel2",))
    figure = quicklook(cube)
    assert len(panels(figure)) == 1
    assert figure.get_size_inches()[0] < 5


def test_a_product_of_temperature_alone_is_drawn():
    warmth = np.full((2, 12, 12), 290, np.float32)
    where = {"times": days(2), "grid": grid((12, 12)), "attrs": {"processing_level": "fused"}}
    group = build_group("landsat", None, surface_temperature=warmth, **where)
    assert len(panels(quicklook(None, build_cube({"landsat": group})))) == 2


def test_missing_pixels_are_light_grey(tmp_path):
    cube = random_cube((36, 36), hr=1, sensors=("sentinel2",))
    group = groups_of(cube)["sentinel2"]
    blank = build_cube({"sentinel2": group.assign(reflectance=group["reflectance"] * np.nan)})
    quicklook(blank, path=tmp_path / "look.png")
    with Image.open(tmp_path / "look.png") as image:
        middle = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    assert middle == (217, 217, 217)


def test_clear_pixels_alone_set_the_stretch():
    values = np.full((1, 10, 20, 20), 0.1, np.float32)
    values[..., :10] = 0.9
    values[..., 10:15] = 0.2
    valid = np.ones((1, 20, 20), bool)
    valid[..., :10] = False
    group = build_group("sentinel2", values, times=days(1), grid=grid((20, 20)), valid=valid)
    figure = quicklook(build_cube({"sentinel2": group}))
    colours = np.asarray(panels(figure)[0].images[0].get_array())
    assert colours[0, 12, 0] == pytest.approx(1, abs=0.01)
    assert colours[0, 17, 0] == pytest.approx(0, abs=0.01)
    fixed = quicklook(build_cube({"sentinel2": group}), stretch=(0.0, 0.4))
    assert np.asarray(panels(fixed)[0].images[0].get_array())[0, 12, 0] == pytest.approx(0.5)


def test_a_day_of_snow_leaves_the_other_days_visible():
    ramp = np.linspace(0.02, 0.2, 400, dtype=np.float32).reshape(20, 20)
    values = np.broadcast_to(ramp, (3, 10, 20, 20)).copy()
    values[1] = 0.85
    group = build_group("sentinel2", values, times=days(3), grid=grid((20, 20)))
    shown = panels(quicklook(build_cube({"sentinel2": group})))
    assert np.asarray(shown[0].images[0].get_array())[..., 0].mean() == pytest.approx(0.5, abs=0.03)


def test_big_scenes_are_thinned_and_only_dates_shown_are_read():
    size, read = 900, []

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"][0])
        return np.full(block_info[None]["chunk-shape"], 0.2, np.float32)

    pixels = da.map_blocks(
        block, chunks=((1,) * 8, (10,), (450, 450), (450, 450)), dtype=np.float32, meta=np.empty(0)
    )
    group = build_group("sentinel2", pixels, times=days(8), grid=grid((size, size)))
    read.clear()
    figure = quicklook(build_cube({"sentinel2": group}), dates=["2022-01-03", "2022-03-10"])
    shapes = [np.asarray(axes.images[0].get_array()).shape for axes in panels(figure)]
    assert all(max(shape[:2]) <= PANEL_PX for shape in shapes)
    assert set(read) == {0, 6}


def test_bands_go_by_name_or_common_name(scene):
    by_name = quicklook(scene.cube, bands=("B04", "B03", "B02"), columns=1)
    by_common = quicklook(scene.cube, columns=1)
    for ours, theirs in zip(panels(by_name), panels(by_common), strict=True):
        np.testing.assert_array_equal(ours.images[0].get_array(), theirs.images[0].get_array())


def test_missing_band_is_named_with_those_there_are():
    cube = random_cube(sensors=("sentinel2",))
    group = groups_of(cube)["sentinel2"].sel(band=["B03", "B08"])
    with pytest.raises(CubeError, match=r"no band 'red'.*B03 \(green\), B08 \(nir\)"):
        quicklook(build_cube({"sentinel2": group}))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"columns": 0}, OptionError, "columns is 0"),
        ({"bands": ("red",)}, OptionError, "three names"),
        ({"bands": "red"}, OptionError, "three names"),
        ({"stretch": (0.3, 0.3)}, OptionError, "stretch"),
        ({"dates": "today-ish"}, DateError, "not understood"),
    ],
)
def test_nonsense_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        quicklook(random_cube(), **options)


def test_tree_without_dates_is_refused():
    empty = build_cube({"sentinel2": groups_of(random_cube())["sentinel2"].isel(time=[])})
    with pytest.raises(CubeError, match="no date"):
        quicklook(empty)
    with pytest.raises(CubeError, match="no group has a date"):
        quicklook(empty, dates="2022-01-01")


def test_existing_file_is_kept_unless_overwritten(tmp_path):
    path = tmp_path / "look.png"
    path.write_bytes(b"mine")
    for overwrite in (False, True):  # it is no picture
        with pytest.raises(OutputExistsError, match=r"exists|of another kind, no picture"):
            quicklook(random_cube(), path=path, overwrite=overwrite)
        assert path.read_bytes() == b"mine"
    path.unlink()
    quicklook(random_cube(), path=path, columns=1)
    with pytest.raises(OutputExistsError, match="exists"):
        quicklook(random_cube(), path=path)
    quicklook(random_cube(), path=path, columns=1, overwrite=True)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(figure, partial, **options):
        partial.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(module.Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        quicklook(random_cube(), path=tmp_path / "look.png", columns=1)
    assert not list(tmp_path.iterdir())


def test_inputs_are_untouched(scene):
    before = scene.cube.copy(deep=True)
    quicklook(scene.cube, columns=2)
    xr.testing.assert_identical(scene.cube, before)

"""The viewer: what it draws and charts is what the store holds; it asks nothing of the internet."""

from __future__ import annotations

import re
import socket
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.errors import CubeError, OptionError
from tamrf_xr.view import serve, source_of
from tamrf_xr.view.app import Viewer
from tamrf_xr.view.images import MOST_PX, Stretch, find_stretch, layers_of, read_window, to_rgba
from tamrf_xr.view.series import NDVI, quantities, read_series
from tests.scenes import random_cube

DATES = ["2022-01-10", "2022-02-01"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    tamrf_xr.save_cube(random_cube((60, 90), nan=0.1), folder / "cube.zarr")
    cube = tamrf_xr.open_cube(folder / "cube.zarr")
    tamrf_xr.run_job(cube, folder / "fused.zarr", DATES, method="linear", progress=False)
    return folder


@pytest.fixture
def fused(made):
    return tamrf_xr.open_cube(made / "fused.zarr")


@pytest.fixture
def cube(made):
    return tamrf_xr.open_cube(made / "cube.zarr")


def test_what_can_be_looked_at_is_listed_by_title(fused, cube):
    layers = layers_of(fused, cube)
    assert list(layers) == [
        *("Sentinel-2 fused", "Landsat-8/9 fused", "Sentinel-2 observed", "Landsat-8/9 observed")
    ]
    hr, lr = layers["Sentinel-2 fused"].combinations(), layers["Landsat-8/9 fused"].combinations()
    assert hr["true colour"] == ("B04", "B03", "B02")
    assert hr["false colour infrared"] == ("B8A", "B04", "B03")
    assert lr["false colour infrared"] == ("B05", "B04", "B03")
    assert hr["B08 (nir)"] == ("B08",)
    assert "temperature" in lr
    assert "temperature" not in hr
    with pytest.raises(CubeError, match="nothing to look at"):
        layers_of(cube.isel(time=slice(0, 0)))


def test_a_window_is_the_pixels_that_it_covers(cube):
    layer = layers_of(cube)["Landsat-8/9 observed"]
    left, _, _, top = layer.bounds
    asked = (left + 95, top - 310, left + 305, top - 35)
    pixels, valid, bounds = read_window(layer, 1, ("B04", "B02"), asked)
    group = cube["landsat"].isel(time=1, y=slice(1, 11), x=slice(3, 11))
    np.testing.assert_array_equal(pixels, group["reflectance"].sel(band=["B04", "B02"]))
    np.testing.assert_array_equal(valid, group["valid"])
    assert bounds == (left + 90, top - 330, left + 330, top - 30)
    pixels, _, _ = read_window(layer, 1, (), asked)
    np.testing.assert_array_equal(pixels[0], group["surface_temperature"])
    pixels, valid, _ = read_window(layer, 1, (), (0, 0, 10, 10))
    assert valid.size == pixels.size == 0


def test_a_wide_window_is_thinned_and_lies_where_it_is(cube, monkeypatch):
    monkeypatch.setattr("tamrf_xr.view.images.MOST_PX", 40)
    layer = layers_of(cube)["Sentinel-2 observed"]
    pixels, _, bounds = read_window(layer, 0, ("B04",), layer.bounds)
    every = cube["sentinel2"].isel(time=0, y=slice(None, None, 2), x=slice(None, None, 3))
    np.testing.assert_array_equal(pixels[0], every["reflectance"].sel(band="B04"))
    assert bounds == layer.bounds
    assert MOST_PX > 40


def test_of_a_large_scene_the_middle_is_shown_first(cube, monkeypatch):
    monkeypatch.setattr("tamrf_xr.view.images.FIRST_PX", 30)
    viewer = Viewer(cube)
    left, bottom, right, top = viewer.after.current.bounds
    assert viewer.after.window == (left + 300, bottom + 150, right - 300, top - 150)
    assert drawn(viewer.after).shape == (30, 30)
    np.testing.assert_array_equal(drawn(viewer.after), expected(viewer.after, 0))
    assert (viewer.ranges[0].start, viewer.ranges[1].end) == (left + 300, top - 150)


def test_colours_follow_the_stretch_and_no_data_is_seen_through():
    pixels = np.array([[[0.0, 0.1], [0.2, np.nan]]] * 3, np.float32)
    valid = np.array([[True, True], [False, True]])
    stretch = Stretch((0.0, 0.0, 0.1), (0.2, 0.1, 0.2))
    seen = to_rgba(pixels, valid, stretch, dim=False).view(np.uint8).reshape(2, 2, 4)[::-1]
    assert seen[0, 0].tolist() == [0, 0, 0, 255]
    assert seen[0, 1].tolist() == [128, 255, 0, 255]
    assert seen[1, 0].tolist() == [255, 255, 255, 255]
    assert seen[1, 1, 3] == 0
    dimmed = to_rgba(pixels, valid, stretch, dim=True).view(np.uint8).reshape(2, 2, 4)[::-1]
    assert dimmed[1, 0].tolist() == [89, 89, 89, 255]
    np.testing.assert_array_equal(dimmed[0], seen[0])
    grey = to_rgba(pixels[:1], valid, Stretch((0.0,), (0.2,)), dim=False).view(np.uint8)
    assert grey.reshape(2, 2, 4)[::-1][0, 1].tolist() == [128, 128, 128, 255]


def test_the_stretch_is_of_usable_pixels(cube):
    bright = cube.copy(deep=True)
    group = bright["sentinel2"].to_dataset().load()
    group["reflectance"] = group["reflectance"].where(group["valid"], 9.0)
    bright["sentinel2"] = group
    layer = layers_of(bright)["Sentinel-2 observed"]
    found = find_stretch(layer, ("B08",))
    assert 0 <= found.low[0] < 0.02
    assert 0.48 < found.high[0] <= 0.5
    visible = find_stretch(layer, ("B04", "B03", "B02"))
    assert len(set(visible.high)) == 1
    assert len(set(find_stretch(layer, ("B12", "B08", "B02")).high)) == 3


@pytest.mark.parametrize("title", ["Sentinel-2 observed", "Landsat-8/9 observed"])
def test_a_series_is_that_of_the_pixel(cube, title):
    layer = layers_of(cube)[title]
    x, y = 500_000 + 455.0, 5_000_010 - 215.0
    row, column = (21, 45) if layer.sensor == "sentinel2" else (7, 15)
    pixel = cube[layer.sensor].isel(y=row, x=column)
    near, red = ("B08" if layer.sensor == "sentinel2" else "B05"), "B04"
    bands = {name: pixel["reflectance"].sel(band=name).values for name in (near, red)}
    for quantity, expected in (
        ("red", bands[red]),
        (NDVI, (bands[near] - bands[red]) / (bands[near] + bands[red])),
    ):
        series = read_series(layer, quantity, x, y)
        known = np.isfinite(expected)
        np.testing.assert_allclose(series.values, expected[known], rtol=1e-6)
        np.testing.assert_array_equal(series.valid, pixel["valid"].values[known])
        np.testing.assert_array_equal(series.times, pixel["time"].values[known])
    assert read_series(layer, "red", 0, 0) is None
    assert read_series(layer, "nothing", x, y) is None
    assert ("LST" in quantities(layer)) == (layer.sensor == "landsat")


def drawn(side):
    (image,) = side.source.data["image"]
    return np.ascontiguousarray(image[::-1])


def expected(side, position):
    layer, key = side.current, side.bands.value
    bands = layer.combinations()[key]
    pixels, valid, _ = read_window(layer, position, bands, side.window)
    stretch = side._find_stretch(layer.sensor, bands)
    return np.ascontiguousarray(to_rgba(pixels, valid, stretch, dim=side.dim.value)[::-1])


def test_sliders_layers_and_bands_change_what_is_drawn(fused, cube):
    viewer = Viewer(fused, cube)
    before, after = viewer.before, viewer.after
    assert (before.layer.value, after.layer.value) == ("Sentinel-2 observed", "Sentinel-2 fused")
    first = drawn(after)
    after.date.value = 1
    np.testing.assert_array_equal(drawn(after), expected(after, 1))
    assert (drawn(after) != first).any()
    # The other side goes along, and the marks in the chart too.
    assert before.date.value == before.current.nearest("2022-02-01")
    assert viewer.marks[True].location == after.time
    assert viewer.marks[False].location == before.time
    viewer.linked.value = False
    before.date.value = 0
    assert after.date.value == 1
    after.bands.value = "short-wave infrared"
    np.testing.assert_array_equal(drawn(after), expected(after, 1))
    before.layer.value = "Landsat-8/9 observed"
    assert before.date.value == before.current.nearest(cube["sentinel2"]["time"].values[0])
    before.bands.value = "temperature"
    before.dim.value = True
    np.testing.assert_array_equal(drawn(before), expected(before, before.date.value))
    assert before.figure.title.text.startswith("Landsat-8/9 observed, 2022-01-")
    before.layer.value = "Sentinel-2 observed"
    assert before.bands.value == "true colour"


def test_a_click_charts_observations_by_their_validity(fused, cube):
    viewer = Viewer(fused, cube)
    viewer.on_tap(SimpleNamespace(x=500_000 + 455.0, y=5_000_010 - 215.0))
    viewer.quantity.value = "red"
    pixel = cube["sentinel2"].isel(y=21, x=45)
    red, valid = pixel["reflectance"].sel(band="B04").values, pixel["valid"].values
    for kind, chosen in (("usable", valid), ("unusable", ~valid)):
        data = viewer.lines["Sentinel-2 observed"][kind].data
        kept = chosen & np.isfinite(red)
        np.testing.assert_array_equal(data["value"], red[kept])
        np.testing.assert_array_equal(data["time"], pixel["time"].values[kept])
    product = fused["sentinel2"].isel(y=21, x=45)["reflectance"].sel(band="B04").values
    line = viewer.lines["Sentinel-2 fused"]["line"].data["value"]
    np.testing.assert_array_equal(line, product[np.isfinite(product)])
    assert "x 500455, y 4999795 (45.1" in viewer.chart.title.text
    viewer.on_tap(SimpleNamespace(x=0.0, y=0.0))
    assert not len(viewer.lines["Sentinel-2 fused"]["line"].data["value"])


def test_zooming_reads_what_is_looked_at(fused, cube):
    viewer = Viewer(fused, cube)
    left, _, _, top = viewer.after.current.bounds
    viewer.on_ranges(SimpleNamespace(x0=left + 100, x1=left + 200, y0=top - 200, y1=top - 50))
    for side in (viewer.before, viewer.after):
        assert drawn(side).shape == (15, 10)
        np.testing.assert_array_equal(drawn(side), expected(side, side.date.value))
    viewer.on_ranges(SimpleNamespace(x0=0, x1=1, y0=0, y1=1))
    assert viewer.after.source.data["image"] == []


def test_the_cube_of_a_product_is_found_where_it_says(fused, made):
    assert source_of(fused).attrs == tamrf_xr.open_cube(made / "cube.zarr").attrs
    fused.attrs["input"] = str(made / "nowhere.zarr")
    assert source_of(fused) is None
    fused.attrs["input"] = str(made)
    assert source_of(fused) is None


def test_a_notebook_gets_the_page(fused):
    page = fused.tamrf.view()
    assert page.get_root() is not None


@pytest.mark.parametrize("sensor", ["landsat", "sentinel2"])
def test_one_sensor_the_temperature_alone_and_images_of_one_second_can_be_looked_at(sensor):
    one = random_cube((30, 30), sensors=(sensor,))
    viewer = Viewer(one)
    np.testing.assert_array_equal(drawn(viewer.after), expected(viewer.after, 0))
    group = one[sensor].to_dataset()
    times = group["time"].values.copy()
    times[1] = times[0] + np.timedelta64(5, "ms")
    one[sensor] = group.assign_coords(time=times)
    twins = Viewer(one)
    twins.after.date.value = 1
    np.testing.assert_array_equal(drawn(twins.after), expected(twins.after, 1))
    if sensor == "landsat":
        one[sensor] = group.drop_vars("reflectance").drop_dims("band")
        heat = Viewer(one)
        assert heat.after.bands.value == "temperature"
        assert heat.quantity.options == ["LST"]
        np.testing.assert_array_equal(drawn(heat.after), expected(heat.after, 0))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_server_gives_the_page_and_all_scripts_itself(fused):
    port = free_port()
    server = serve(fused, port=port, threaded=True)
    try:
        text = ""
        for _ in range(100):
            try:
                text = (
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read().decode()
                )
                break
            except OSError:
                server.join(0.1)
        scripts = re.findall(r'(?:src|href)="([^"]+)"', text)
        assert len(scripts) > 3
        assert not [one for one in scripts if one.startswith(("http", "//"))]
    finally:
        server.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OptionError, match="cannot be had"):
            serve(fused, port=taken.getsockname()[1])


def test_the_command_refuses_before_it_serves(made, capsys):
    assert main(["view", str(made / "fused.zarr"), "--port", "0"]) == 1
    assert "expected 1 to 65535" in capsys.readouterr().err
    assert main(["view", str(made / "nowhere.zarr")]) == 1
    assert "no store at" in capsys.readouterr().err

"""The page of a report: what it holds, and that it works in a browser without a network."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from tamrf_xr.cube import build_cube, build_group
from tamrf_xr.evaluation import Scoring, evaluate
from tamrf_xr.evaluation.pictures import (
    LARGEST,
    Painter,
    encode,
    paint_difference,
    painter_of,
    views_of,
)
from tamrf_xr.fuser import Scene
from tests.evaluation.browser import HOME, RIGHT, chromium
from tests.scenes import days, grid, random_cube

NAIVE = "naive"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A report of two cubes and two runs, a failure among them, written once."""
    folder = tmp_path_factory.mktemp("report")
    evaluate(
        {"north <1>": random_cube((24, 27), hr=8, lr=6), "south": random_cube((24, 27), seed=3)},
        task="gap-filling",
        model=folder / "absent.safetensors",
        compensate=True,
        scoring=Scoring(margin=2, metrics=("rmse", "sam", "frr"), frr_clear_rate=0.3),
        progress=False,
        out=folder,
    )
    return folder


@pytest.fixture(scope="module")
def page(out):
    return (out / "gap-filling.html").read_text(encoding="utf-8")


def data_of(page):
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.S).group(1))


def test_the_page_is_self_contained(page):
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    # What was left out tells in words where its weights are to be had.
    rest = re.sub(r'<section class="failures">.*?</section>', "", page, flags=re.S)
    assert rest != page
    assert not re.findall(r"https?://", rest)
    assert "<!--" not in page.replace("<!doctype", "")


def test_the_page_holds_summary_failures_figures_and_pictures(page):
    assert page.count("<table>") >= 12
    assert "absent.safetensors" in page
    assert "north &lt;1&gt;" in page
    assert page.count('src="data:image/svg+xml;base64,') == 4
    data = data_of(page)
    assert [cube["name"] for cube in data["cubes"]] == ["north <1>", "south"]
    runs = data["cubes"][0]["runs"]
    assert set(runs) == {f"{NAIVE}-GAPS", f"{NAIVE}-GAPS-residual"}
    pictures = runs[f"{NAIVE}-GAPS"]
    kinds = {tuple(key.split("|")[:2]) for key in pictures}
    assert kinds == {
        ("sentinel2", "true colour"),
        ("sentinel2", "false colour"),
        ("landsat", "true colour"),
        ("landsat", "false colour"),
        ("landsat", "LST"),
    }
    for shown in pictures.values():
        for name in ("prediction", "difference"):
            image = Image.open(io.BytesIO(base64.b64decode(shown[name].split(",")[1])))
            assert min(image.size) >= 8
        assert set(shown["closest"]) == {"sentinel2", "landsat"}
        for sensor, day in shown["closest"].items():
            assert f"{sensor}|{day}" in data["cubes"][0]["acquired"]


def test_names_cannot_leave_the_data_of_the_page(out):
    (text,) = re.findall(
        r'<script id="data"[^>]*>(.*?)</script>', next(out.glob("*.html")).read_text(), re.S
    )
    assert "<" not in text
    assert ">" not in text
    assert "north \\u003c1\\u003e" in text


def test_figures_are_beside_the_page(out):
    made = {path.name for path in (out / "gap-filling").glob("*.svg")}
    assert made == {
        f"{what}-{sensor}.svg"
        for what in ("errors", "frequencies")
        for sensor in ("sentinel2", "landsat")
    }


def shown(browser):
    """Return the slider's place, the heading and every image of the viewer."""
    return browser.run(
        "return [document.getElementById('slider').value, "
        "document.getElementById('when').textContent, "
        "[...document.querySelectorAll('#viewer img')].map(i => i.src)]"
    )


def test_slider_moves_and_images_change(out):
    with chromium() as browser:
        browser.open((out / "gap-filling.html").as_uri())
        assert browser.run("return document.getElementById('slider').max") == "7"
        assert "left out" in shown(browser)[1]  # it opens on what is worth a look
        browser.press("#slider", HOME)
        first = shown(browser)
        browser.press("#slider", RIGHT * 3)
        third = shown(browser)
        assert (first[0], third[0]) == ("0", "3")
        assert first[1] != third[1]
        # Reference, two given images; prediction and difference of two runs.
        assert len(first[2]) == len(third[2]) == 7
        assert first[2][0] != third[2][0]
        assert first[2][3] != third[2][3]
        loaded = "return [...document.images].every(i => i.complete && i.naturalWidth > 0)"
        assert browser.run(loaded)
        browser.click("#view button:last-child")
        assert shown(browser)[2][0] != third[2][0]
        browser.click("#sensor button:last-child")
        browser.click("#view button:last-child")
        assert "LST" in browser.run("return location.hash")
        browser.run("location.hash = 'cube=1&sensor=sentinel2'")
        # The address is read after the script has ended.
        for _ in range(50):
            if browser.run("return document.getElementById('cube').value") == "1":
                break
        assert browser.run("return document.getElementById('slider').max") == "3"


def test_tables_follow_the_metric(out):
    visible = "return [...document.querySelectorAll('.tablebox')].filter(t => !t.hidden)"
    visible += ".map(t => t.dataset.metric)"
    with chromium() as browser:
        browser.open((out / "gap-filling.html").as_uri())
        assert set(browser.run(visible)) == {"rmse"}
        browser.click("#metric button:last-child")
        assert set(browser.run(visible)) == {"frr"}


def test_large_images_are_averaged_down():
    noise = np.random.default_rng(0).integers(0, 256, (900, 700, 3), dtype=np.uint8)
    kind, data = encode(noise).split(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (image.height, kind) == (LARGEST, "data:image/jpeg;base64")


def test_differences_are_grey_where_not_known():
    bands = ("B04", "B03", "B02")
    reference = Scene(np.full((3, 8, 8), 0.2, np.float32), np.ones((8, 8), bool), bands)
    reference.valid[:4] = False
    made = Scene(np.full((3, 8, 8), 0.4, np.float32), np.ones((8, 8), bool), bands)
    data = paint_difference(made, reference, bands).split(",")[1]
    colours = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert (colours[0, 0] == colours[0, 0, 0]).sum() >= 2
    red, _, blue = colours[7, 7].astype(int)
    assert red > blue + 50


def test_six_common_bands_make_a_false_colour():
    assert views_of("sentinel2", ("B02", "B03", "B04", "B8A", "B11", "B12")) == {
        "true colour": ("B04", "B03", "B02"),
        "false colour": ("B8A", "B04", "B03"),
    }


def test_a_scene_without_data_is_painted_grey():
    nothing = Scene(np.full((3, 8, 8), np.nan, np.float32), np.zeros((8, 8), bool), ("a", "b", "c"))
    assert Painter().paint("sentinel2", nothing, ("a", "b", "c")).startswith("data:image/png")


def test_clouds_that_masks_overlook_do_not_darken_true_colour():
    """Of eleven dates, five are overcast and called clear."""
    values = np.empty((11, 10, 20, 20), np.float32)
    ramp = np.linspace(0.02, 0.12, 400, dtype=np.float32).reshape(20, 20)
    values[:] = ramp * np.linspace(1, 1.9, 10, dtype=np.float32)[:, None, None]
    clear = values[0].copy()
    values[::2][:5] = 0.8
    cube = build_cube({"sentinel2": build_group("sentinel2", values, times=days(11),
                                                grid=grid((20, 20)))})  # fmt: skip
    painter = painter_of(cube)
    low, high = np.percentile(clear[:3], [0.5, 98.5])
    for band in ("B02", "B03", "B04"):
        np.testing.assert_allclose(painter.spans["sentinel2", band], (low, high), rtol=1e-5)
    near = painter.spans["sentinel2", "B08"]
    np.testing.assert_allclose(near, np.percentile(clear[6], [0.5, 98.5]), rtol=1e-5)

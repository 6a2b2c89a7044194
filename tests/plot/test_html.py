"""What a notebook shows: true of the cube, bounded in what it reads, whatever the tree is."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree as ET

import dask
import numpy as np
import pytest
import xarray as xr
from PIL import Image
from xarray.backends.zarr import ZarrArrayWrapper

import tamrf_xr
from tamrf_xr.cube import build_cube, build_group, groups_of
from tamrf_xr.plot import html
from tests.scenes import days, grid, random_cube, rechunked


def shown(tree):
    """The page as it is parsed, strictly."""
    return ET.fromstring(tree.tamrf._repr_html_())


def words(page):
    return " ".join(page.itertext())


def picture(page):
    data = page.find(".//img").get("src").partition("base64,")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    place = tmp_path_factory.mktemp("store") / "cube.zarr"
    tamrf_xr.save_cube(random_cube((90, 150), nan=0.1), place)
    return place


@pytest.fixture
def read(monkeypatch):
    """What is read of Zarr arrays: name and index, one entry a read."""
    seen: list = []
    whole = ZarrArrayWrapper.__getitem__

    def get(self, key):
        seen.append((self._array.path, key.tuple))
        return whole(self, key)

    monkeypatch.setattr(ZarrArrayWrapper, "__getitem__", get)
    return seen


def test_it_says_where_and_when_and_what(store):
    cube = tamrf_xr.open_cube(store)
    told = words(shown(cube))
    for part in (
        *("tamrf_xr cube", "Sentinel-2", "Landsat-8/9", "2022-01-03", "2022-02-05", "90 x 150"),
        *("10 bands (B02 to B12)", "surface_temperature", "EPSG:32631", "1.5 x 0.9 km"),
        *("x 500000 to 501500", "y 4999110 to 5000010", "10 m (Sentinel-2), 30 m (Landsat-8/9)"),
    ):
        assert part in told
    dot = shown(cube).find(".//circle")
    # EPSG:32631 has its middle meridian at 3 degrees east; 5,000 km lie at 45 degrees north.
    assert float(dot.get("cx")) == pytest.approx((3 + 180) / 2, abs=0.1)
    assert float(dot.get("cy")) == pytest.approx((90 - 45.1) / 2, abs=0.1)


def test_it_reads_one_date_once_at_a_coarse_stride(store, read):
    cube = tamrf_xr.open_cube(store)
    read.clear()
    page = shown(cube)
    assert sorted(name for name, _ in read) == ["sentinel2/reflectance", "sentinel2/valid"]
    for _, key in read:
        time, y, x = (np.arange(size)[part] for size, part in zip((4, 90, 150), (key[0], *key[-2:]),
                                                                  strict=True))  # fmt: skip
        assert time.tolist() == [2]
        assert (y.tolist(), x.tolist()) == ([*range(0, 90, 2)], [*range(0, 150, 3)])
    assert picture(page).shape == (45, 50, 4)
    valid = cube["sentinel2"]["valid"].isel(time=2, y=slice(None, None, 2), x=slice(None, None, 3))
    values = cube["sentinel2"]["reflectance"].isel(time=2)[0, ::2, ::3]
    share = (valid.values & np.isfinite(values.values)).mean()
    assert f"Sentinel-2, 2022-01-25, {share:.0%} clear" in words(page)
    np.testing.assert_array_equal(picture(page)[..., 3] > 0, np.isfinite(values))


def test_what_would_be_computed_is_not(store, read):
    lazy = rechunked(random_cube(), time=1, band=-1, y=36, x=45).map_over_datasets(lambda g: g * 1)
    cube = tamrf_xr.open_cube(store)
    fused = cube.tamrf.fuse(["2022-01-10"], method="linear")
    read.clear()

    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        for tree in (lazy, fused):
            assert "what is lazy would be computed" in words(shown(tree))
    assert not read
    assert "tamrf_xr product" in words(shown(fused))


def test_chunks_that_are_large_are_not_read(store, read, monkeypatch):
    cube = tamrf_xr.open_cube(store)
    read.clear()
    monkeypatch.setattr(html, "MOST_BYTES", 2**20 // 2)
    assert "the chunks that hold one date are 1 MB" in words(shown(cube))
    assert not read


@pytest.mark.parametrize("sensor", ["sentinel2", "landsat"])
def test_one_sensor_is_enough(sensor):
    page = shown(random_cube(sensors=(sensor,)))
    assert page.find(".//img") is not None
    assert len(page.findall(".//tr")) == 2


def bare(cube):
    return xr.DataTree.from_dict(
        {name: group.drop_vars("spatial_ref") for name, group in groups_of(cube).items()}
    )


def unreadable(cube):
    class Gone(xr.backends.BackendArray):
        shape, dtype = (4, 10, 36, 45), np.dtype("float32")

        def __getitem__(self, key):
            raise OSError("the disk is gone")

    lazy = xr.Variable(("time", "band", "y", "x"), xr.core.indexing.LazilyIndexedArray(Gone()))
    group = groups_of(cube)["sentinel2"]
    return build_cube({"sentinel2": group.assign(reflectance=lazy)})


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        (xr.DataTree(), "no sensor; groups: none"),
        (xr.DataTree.from_dict({"<b>": xr.Dataset()}), "no sensor; groups: <b>"),
        (bare(random_cube()), "CubeError: no coordinate reference system"),
        (xr.DataTree.from_dict({"sentinel2": xr.Dataset()}), "KeyError"),
        (random_cube().isel(time=slice(0, 0)), "Sentinel-2 0"),
        (unreadable(random_cube()), "what is lazy would be computed"),
    ],
)
def test_whatever_the_tree_is_something_is_shown(tree, says):
    assert says in " ".join(words(shown(tree)).split())


def test_a_read_that_fails_is_told_beside_the_rest(store, monkeypatch):
    cube = tamrf_xr.open_cube(store)

    def fail(*_):
        raise OSError("disk <gone>")

    monkeypatch.setattr(ZarrArrayWrapper, "__getitem__", fail)
    told = words(shown(cube))
    assert "OSError: disk <gone>" in told
    assert "EPSG:32631" in told


def test_text_is_escaped():
    cube = random_cube()
    cube.attrs["title"] = "<script>alert('a & b')</script>"
    page = cube.tamrf._repr_html_()
    assert "<script" not in page
    assert "<script>alert('a & b')</script>" in words(shown(cube))


def test_a_product_of_temperature_alone_is_shown_without_thumbnail():
    warmth = np.full((2, 12, 12), 290, np.float32)
    where = {"times": days(2), "grid": grid((12, 12)), "attrs": {"processing_level": "fused"}}
    group = build_group("landsat", None, surface_temperature=warmth, **where)
    page = shown(build_cube({"landsat": group}))
    assert page.find(".//img") is None
    assert "surface_temperature" in words(page)

"""What goes wrong between here and a catalogue: told with item, asset and the way out."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine

from tamrf_xr.errors import DateError, IngestError, OptionError, SourceNotFoundError, TamrfError
from tamrf_xr.ingest.stac import from_stac, ingest_stac
from tamrf_xr.ingest.stac_catalogs import CATALOGS
from tamrf_xr.ingest.stac_read import Kind, _whole_numbers
from tamrf_xr.ingest.stac_scenes import scene_of
from tests.door.ramp import LEFT, TOP
from tests.stac.conftest import both, row
from tests.stac.ramp_catalog import AOI, LAYOUTS, add_ramp
from tests.stac.test_from_stac import assert_is_the_ramp

BBOX = (2.9, 45.1, 3.1, 45.2)
DAYS = "2021-01-01/2022-12-31"


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path, monkeypatch):
    """Whatever fails leaves nothing but pieces to go on from."""
    monkeypatch.chdir(tmp_path)
    yield
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"]
    assert all(path.suffix == ".npy" for path in left)
    assert left or not os.listdir(tmp_path)


def refused(error: type[TamrfError], api, match: str, **asked) -> None:
    """Both doors refuse, with the same words."""
    with pytest.raises(error, match=match):
        from_stac(row(api), **asked).compute()
    with pytest.raises(error, match=match):
        ingest_stac(row(api), "out.zarr", progress=False, **asked)


def test_an_empty_search(api):
    both(api, dates=(1, 2))
    match = r"no item of sentinel-2-c1-l2a, landsat-c2-l2 in ramp .*1990.*other ground or days"
    refused(IngestError, api, match, aoi=AOI, datetime="1990-01-01/1990-12-31")


def test_a_place_outside(api):
    both(api, dates=(1, 2))
    match = r"no item of .* \(100, 10, 101, 11; EPSG:4326\).*exchanged"
    refused(IngestError, api, match, bbox=(100, 10, 101, 11), datetime=DAYS)


def test_a_collection_that_the_catalogue_lacks(api):
    add_ramp(api, LAYOUTS["earth-search-landsat"])
    match = "no collection sentinel-2-l2a; it has landsat-c2-l2"
    refused(IngestError, api, match, aoi=AOI, collections=["sentinel-2-l2a"])


@pytest.mark.parametrize(
    ("error", "match", "asked"),
    [
        (DateError, r"2022-12-31/2021-01-01 ends before.*2021-01-01/2022-12-31",
         {"bbox": BBOX, "datetime": "2022-12-31/2021-01-01"}),
        (DateError, "soon", {"bbox": BBOX, "datetime": "soon/2022-01-01"}),
        (DateError, "no period", {"bbox": BBOX}),
        (DateError, "no end", {"bbox": BBOX, "datetime": "../.."}),
        (OptionError, "one of bbox=", {"datetime": DAYS}),
        (OptionError, "bbox and aoi", {"bbox": BBOX, "aoi": AOI}),
        (OptionError, "none in longitude", {"bbox": (499980, 0, 500580, 600), "datetime": DAYS}),
        (OptionError, "no ground", {"bbox": (3.1, 45.2, 2.9, 45.1), "datetime": DAYS}),
        (OptionError, "four numbers", {"bbox": (1, 2, 3), "datetime": DAYS}),
        (OptionError, "four numbers", {"bbox": (1, 2, 3, float("nan")), "datetime": DAYS}),
        (IngestError, "no polygon", {"geometry": {"type": "Point", "coordinates": [1, 2]},
                                     "datetime": DAYS}),
        (IngestError, "crs 'EPSG:1'", {"aoi": AOI | {"crs": "EPSG:1"}}),
        (SourceNotFoundError, "no AOI at nowhere.json", {"aoi": "nowhere.json"}),
        (OptionError, "both hold sentinel2",
         {"aoi": AOI, "collections": ["sentinel-2-l2a", "sentinel-2-c1-l2a"]}),
        (OptionError, "not understood; those that are: sentinel-2-c1-l2a",
         {"aoi": AOI, "collections": "modis"}),
        (OptionError, "crs=.*not projected in metres", {"aoi": AOI, "crs": 4326}),
        (OptionError, "retries", {"aoi": AOI, "retries": -1}),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused_before_anything_is_asked(api, error, match, asked):
    refused(error, api, match, **asked)
    assert not api.asked


def test_chunks_that_do_not_nest(api):
    with pytest.raises(OptionError, match="multiple of 3"):
        from_stac(row(api), aoi=AOI, chunks=100)


def test_an_unknown_catalogue():
    with pytest.raises(OptionError, match="earth-search, planetary-computer, cdse, usgs, lpcloud"):
        from_stac("here", aoi=AOI)


def test_an_aoi_file_that_is_no_json(api, tmp_path):
    path = tmp_path / "aoi.json"
    path.write_text("{")
    with pytest.raises(IngestError, match=r"aoi.json is no JSON"):
        from_stac(row(api), aoi=path)
    path.unlink()


def test_clouds_everywhere(api):
    both(api, dates=(1, 2))
    for item in api.items:
        item["properties"]["eo:cloud_cover"] = 95.0
    refused(
        IngestError, api, "all 4 items .* clearest 95 %; raise max_cloud=", aoi=AOI, max_cloud=50
    )


@pytest.mark.parametrize("max_cloud", [-1, 101, float("nan")])
def test_no_percentage(api, max_cloud):
    both(api, dates=(1, 2))
    refused(OptionError, api, "expected percent", aoi=AOI, max_cloud=max_cloud)


def test_a_server_that_cannot_be_reached():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    catalog = replace(CATALOGS["earth-search"], url=url)
    with pytest.raises(IngestError, match=rf"{url} could not be searched.*tried 3 times"):
        from_stac(catalog, aoi=AOI, retries=2)


def test_a_server_that_is_no_catalogue(api):
    api.answers["/"] = [200] * 9
    refused(IngestError, api, "could not be searched", aoi=AOI, retries=1)


def test_a_search_that_stumbles_is_made_again(api):
    both(api, dates=(1, 2))
    api.answers["/search"] = [503, 502, 429]
    assert from_stac(row(api), aoi=AOI)["sentinel2"].sizes["time"] == 2
    api.answers["/search"] = [503] * 9
    refused(IngestError, api, "could not be searched.*tried 2 times", aoi=AOI, retries=1)


def test_a_read_that_stumbles_is_made_again(api, caplog):
    items = both(api)
    path = items[1]["assets"]["green"]["href"].removeprefix(api.url)
    api.answers[path] = [503, 500]
    cube = from_stac(row(api), aoi=AOI).compute()
    assert_is_the_ramp(cube, {"sentinel2", "landsat"})
    assert f"item {items[1]['id']}, asset green, again" in caplog.text


def test_a_read_that_goes_on_stumbling_is_told(api):
    items = both(api, dates=(1, 2))
    path = items[1]["assets"]["green"]["href"].removeprefix(api.url)
    api.answers[path] = [503] * 99
    match = f"item {items[1]['id']}, asset green cannot be read \\(tried 3 times\\).*503.*--skip"
    refused(IngestError, api, match, aoi=AOI, retries=2)


def test_a_signature_that_expires_is_made_anew_when_the_block_is_read(api):
    """Each is good for three requests: less than one cube needs, so a graph outlives many."""
    both(api)
    left: dict[str, int] = {}

    def sign(url: str) -> str:
        token = f"sig={len(left)}"
        left[token] = 3
        return f"{url}?{token}"

    def allowed(query: str) -> bool:
        left[query] = left.get(query, 0) - 1
        return left[query] >= 0

    api.allowed = allowed
    cube = from_stac(row(api), aoi=AOI, patch_url=sign)
    assert not left, "nothing is signed before it is read"
    expired = from_stac(row(api), aoi=AOI, patch_url=lambda url: f"{url}?sig=old", retries=1)
    assert_is_the_ramp(cube, {"sentinel2", "landsat"})
    with pytest.raises(IngestError, match=r"item .*, asset .* cannot be read \(tried 2 times\)"):
        expired.compute()
    old = {"aoi": AOI, "patch_url": lambda url: f"{url}?sig=old", "retries": 1}
    with pytest.raises(IngestError, match=r"item .*, asset .* cannot be read .*403.*--skip"):
        ingest_stac(row(api), "out.zarr", progress=False, **old)


def test_what_signs_is_found_before_a_job_begins(api):
    add_ramp(api, LAYOUTS["planetary-computer"])
    catalog, days = row(api, "planetary-computer"), {"aoi": AOI, "collections": "sentinel-2-l2a"}
    signed = replace(catalog, signer="planetary_computer.sign")  # leaves other addresses alone
    assert from_stac(signed, **days)["sentinel2"]["reflectance"][0, 0].max().compute() > 0.1
    with pytest.raises(OptionError, match=r"signs its URLs.*tamrf-xr\[stac\].*patch_url="):
        from_stac(replace(catalog, signer="nowhere_at_all.sign"), **days)
    assert not [path for path in api.reads if "/3/" in path]


@pytest.mark.parametrize("wrong", ["refused", "no raster"])
def test_signatures_are_not_told(api, files, wrong, caplog):
    items = both(api, dates=(1, 2))
    (files / "text.tif").write_text("<html>sign in</html>" * 99)
    items[0]["assets"]["blue"]["href"] = api.href("text.tif")
    api.allowed = lambda query: wrong == "no raster"
    cube = from_stac(row(api), aoi=AOI, patch_url=lambda url: f"{url}?sig=secret", retries=1)
    with pytest.raises(IngestError) as told:
        cube["sentinel2/reflectance"][0, 0].compute()
    assert f"item {items[0]['id']}, asset blue" in str(told.value)
    assert "secret" not in f"{told.value} {caplog.text}"
    assert "again" in caplog.text


def test_a_date_in_a_name_is_no_answer_of_a_server(api, files):
    """404 stands in the names of all files of the fourth of April."""
    items = both(api, dates=(1, 2))
    whole = files / items[0]["assets"]["blue"]["href"].partition("/files/")[2]
    (files / "T31TCJ_20210404.tif").write_bytes(whole.read_bytes())
    items[0]["assets"]["blue"]["href"] = api.href("T31TCJ_20210404.tif")
    api.answers["/files/T31TCJ_20210404.tif"] = [503, 503]
    cube = from_stac(row(api), aoi=AOI, retries=2)
    assert np.isfinite(cube["sentinel2/reflectance"][0, 0].compute()).any()


def test_an_asset_that_is_gone_is_not_asked_for_again(api):
    items = both(api, dates=(1, 2))
    items[1]["assets"]["blue"]["href"] = api.href("gone.tif")
    match = f"item {items[1]['id']}, asset blue cannot be read .tried 1 times.*gone.tif.*--skip"
    refused(IngestError, api, match, aoi=AOI)


@pytest.mark.parametrize("share", [0.0, 0.7])
def test_a_file_that_is_cut_short(api, share, files):
    items = both(api, dates=(1, 2))
    whole = files / items[3]["assets"]["nir08"]["href"].partition("/files/")[2]
    content = whole.read_bytes()
    short = files / f"short-{share}.tif"
    short.write_bytes(content[: int(share * len(content))])
    items[3]["assets"]["nir08"]["href"] = api.href(short.name)
    match = f"item {items[3]['id']}, asset nir08 cannot be read"
    refused(IngestError, api, match, aoi=AOI, retries=1)


@pytest.mark.parametrize(
    ("dtype", "crs", "match"),
    [("float32", 32631, "float32, expected uint16"), ("uint16", None, "no coordinate reference")],
)
def test_a_file_that_is_none_of_the_product(api, files, dtype, crs, match):
    items = both(api, dates=(1, 2))
    name = f"odd-{dtype}.tif"
    options = {"driver": "GTiff", "count": 1, "height": 60, "width": 60, "dtype": dtype}
    options["transform"] = Affine(10, 0, LEFT, 0, -10, TOP)
    with rasterio.open(files / name, "w", crs=crs, **options) as file:
        file.write(np.full((1, 60, 60), 2000, dtype))
    items[0]["assets"]["blue"]["href"] = api.href(name)
    match = f"item {items[0]['id']}, asset blue .*tried 1 times.*{match}"
    refused(IngestError, api, match, aoi=AOI)


def test_a_scale_that_is_not_the_products(api):
    items = both(api, dates=(1, 2))
    items[0]["assets"]["red"]["raster:bands"][0]["scale"] = 0.0002
    match = f"item {items[0]['id']}, asset red states a scale of 0.0002, expected 0.0001"
    refused(IngestError, api, match, aoi=AOI)


def test_items_of_no_time_or_place(api):
    items = both(api, dates=(1, 2))
    for item in items:
        del item["properties"]["proj:epsg"]
    asked = {"bbox": BBOX_OF_RAMP, "datetime": DAYS}
    # The name of a tile tells its zone.
    assert from_stac(row(api), **asked)["sentinel2"].to_dataset().rio.crs.to_epsg() == 32631
    refused(IngestError, api, "in which CRS.*crs=", collections="landsat-c2-l2", **asked)
    items[1]["properties"]["datetime"] = None
    items[1]["properties"]["start_datetime"] = "some day"
    series = CATALOGS["earth-search"].series["sentinel-2-c1-l2a"]
    with pytest.raises(IngestError, match=r"some day.*skip="):
        scene_of(items[1], CATALOGS["earth-search"], series)
    with pytest.raises(IngestError, match=r"no footprint.*skip="):
        scene_of(items[0] | {"geometry": None}, CATALOGS["earth-search"], series)


BBOX_OF_RAMP = (2.9998, 45.15, 3.0073, 45.1553)


def test_a_place_across_zones_is_told(api, caplog):
    """It comes, in the zone of most ground; see the test of values in `test_from_stac`."""
    caplog.set_level("INFO", "tamrf_xr")
    items = both(api, dates=(1, 2))
    for item in items[:1]:
        item["properties"]["proj:epsg"] = 32632
    cube = from_stac(row(api), bbox=BBOX_OF_RAMP, datetime=DAYS)
    assert cube["sentinel2"].to_dataset().rio.crs.to_epsg() == 32631
    assert "EPSG:32632" in caplog.text
    assert "EPSG:32632" in cube["sentinel2"].attrs["source_crs"]


def test_without_the_extra_it_is_told_how_to_install_it(api, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pystac_client", None)
    with pytest.raises(OptionError, match=r"pip install 'tamrf-xr\[stac\]'"):
        from_stac(row(api), aoi=AOI)


def test_values_beside_no_data_are_never_mixed_with_it():
    """A hole stays a hole, and what overshoots beside bright edges stays a pixel."""
    values = np.float32([[np.nan, -40.0, 0.4, 70000.0]])
    made = _whole_numbers(values, Kind(np.dtype("uint16"), 0, classes=False))
    assert made.tolist() == [[0, 1, 1, 65535]]

"""Catalogues: valid to two validators, true to the files, whole or not there."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from pyproj import CRS
from pystac.extensions.processing import ProcessingExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.validation import validate_dict
from pystac.validation.local_validator import get_local_schema_cache
from rasterio.warp import transform_bounds
from stac_validator.stac_validator import StacValidate

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import Grid
from tamrf_xr.errors import CubeError, JobError, OptionError, OutputExistsError, SourceNotFoundError
from tamrf_xr.export.catalog import _footprint, export_stac
from tamrf_xr.export.cogs import export_cogs
from tamrf_xr.export.selecting import Selection
from tests.scenes import random_cube

DATES = ["2022-01-10", "2022-02-01"]


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("product")
    tamrf_xr.save_cube(random_cube((36, 45)), folder / "cube.zarr")
    cube = tamrf_xr.open_cube(folder / "cube.zarr")
    tamrf_xr.run_job(cube, folder / "fused.zarr", DATES, method="linear", progress=False)
    what = Selection(indices=("NDVI",))
    export_cogs(folder / "fused.zarr", folder / "cogs", what, progress=False)
    return folder / "fused.zarr"


@pytest.fixture(params=["store", "cogs"])
def source(request, product) -> Path:
    return product if request.param == "store" else product.parent / "cogs"


def documents(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))]


def test_every_document_is_valid_to_pystac(source, tmp_path):
    """By the schemas of STAC 1.1 that pystac ships; those of extensions lie on the internet."""
    export_stac(source, tmp_path / "c")
    found = documents(tmp_path / "c")
    assert len(found) == 5
    for document in found:
        assert validate_dict(document, extensions=[])
    broken = {**found[-1], "bbox": "everywhere"}
    with pytest.raises(pystac.STACValidationError):
        validate_dict(broken, extensions=[])


def schema_map(folder: Path) -> dict[str, str]:
    """The schemas that pystac ships, under their addresses: stac-validator asks the network."""
    folder.mkdir()
    made = {}
    for number, (url, schema) in enumerate(get_local_schema_cache().items()):
        made[url] = str(folder / f"{number}.json")
        Path(made[url]).write_text(json.dumps(schema))
    return made


def test_every_document_is_valid_to_stac_validator(source, tmp_path):
    export_stac(source, tmp_path / "c")
    shipped = schema_map(tmp_path / "schemas")
    for path in (tmp_path / "c").rglob("*.json"):
        validator = StacValidate(str(path), core=True, schema_map=dict(shipped))
        validator.run()
        assert validator.valid, validator.message
    path.write_text(path.read_text().replace('"datetime"', '"date"'))
    validator = StacValidate(str(path), core=True, schema_map=dict(shipped))
    validator.run()
    assert not validator.valid


def test_an_item_says_what_the_file_is(product, tmp_path):
    export_stac(product.parent / "cogs", tmp_path / "c")
    collection = pystac.Collection.from_file(tmp_path / "c" / "collection.json")
    for item in collection.get_items(recursive=True):
        asset = item.assets["bands"]
        with rasterio.open(asset.get_absolute_href()) as file:
            about = ProjectionExtension.ext(item)
            assert about.code == file.crs.to_string()
            assert list(about.shape) == list(file.shape)
            assert list(about.transform) == list(file.transform)[:6]
            assert list(about.bbox) == list(file.bounds)
            bands = asset.extra_fields["bands"]
            assert [band["name"] for band in bands] == list(file.descriptions)
            assert [band["raster:scale"] for band in bands] == list(file.scales)
            assert {band["nodata"] for band in bands} == {file.nodata}
            assert {band["data_type"] for band in bands} == set(file.dtypes)
            expected = transform_bounds(file.crs, 4326, *file.bounds)
            np.testing.assert_allclose(item.bbox, expected, atol=1e-6)
        index = item.assets["indices"].extra_fields
        assert index["bands"][0]["name"] == "NDVI"
        assert index["processing:expression"]["expression"]["NDVI"].startswith("(N-R)/(N+R) where")
    assert collection.extent.temporal.intervals[0][0].isoformat() == "2022-01-10T00:00:00+00:00"


def test_store_and_files_are_described_alike(product, tmp_path):
    for name, source in (("store", product), ("cogs", product.parent / "cogs")):
        export_stac(source, tmp_path / name)
    one, other = (
        {item.id: item for item in pystac.Collection.from_file(
            tmp_path / name / "collection.json").get_items()}
        for name in ("store", "cogs")
    )  # fmt: skip
    assert (
        set(one)
        == set(other)
        == {
            f"{sensor}_{day}"
            for sensor in ("sentinel2", "landsat")
            for day in ("20220110", "20220201")
        }
    )
    for name, item in one.items():
        assert item.properties == other[name].properties
        assert (item.bbox, item.geometry) == (other[name].bbox, other[name].geometry)
        bands = item.assets["zarr"].extra_fields["bands"]
        assert bands == other[name].assets["bands"].extra_fields["bands"]
        href = Path(item.assets["zarr"].get_absolute_href())
        assert href == product / name.split("_")[0]
        assert item.assets["zarr"].media_type == "application/vnd.zarr; version=3"


def test_where_pixels_come_from_is_told(source, product, tmp_path):
    export_stac(source, tmp_path / "c")
    attrs = tamrf_xr.open_cube(product).attrs
    for item in pystac.Collection.from_file(tmp_path / "c" / "collection.json").get_items():
        told = ProcessingExtension.ext(item)
        assert told.level == "L4"
        assert told.software["tamrf-xr"] == version("tamrf-xr")
        assert f"numpy {told.software['numpy']}" in attrs["software"]
        assert "fused by tamrf_xr, method linear" in told.lineage
        expression = item.properties["processing:expression"]
        assert expression["expression"] == json.loads(attrs["parameters"])
        assert item.properties["tamrf:method"] == "linear"


def test_links_survive_a_move_of_the_folder(product, tmp_path):
    shutil.copytree(product.parent / "cogs", tmp_path / "a")
    export_stac(tmp_path / "a", tmp_path / "a" / "stac")
    (tmp_path / "a").rename(tmp_path / "b")
    collection = pystac.Collection.from_file(tmp_path / "b" / "stac" / "collection.json")
    hrefs = [a.get_absolute_href() for i in collection.get_items() for a in i.assets.values()]
    assert len(hrefs) == 8
    assert all(Path(href).is_file() and "/b/" in href for href in hrefs)


def test_files_of_indices_alone_claim_no_band_of_a_sensor(product, tmp_path):
    what = Selection(bands=(), indices=("NDVI",), sensors=("landsat",), dates=DATES[0])
    export_cogs(product, tmp_path / "cogs", what, progress=False)
    assert export_stac(tmp_path / "cogs", tmp_path / "c") == 1
    (item,) = pystac.Collection.from_file(tmp_path / "c" / "collection.json").get_items()
    assert not any("/eo/" in url for url in item.stac_extensions)
    assert [band["nodata"] for band in item.assets["indices"].extra_fields["bands"]] == ["nan"]


def test_a_footprint_over_the_date_line_is_cut_there():
    grid = Grid(CRS(32660), Affine(10, 0, 700_000, 0, -10, 5_000_000), (100, 10_000))
    geometry, (west, south, east, north) = _footprint(grid)
    assert 179 < west < 180
    assert -180 < east < -179
    assert geometry["type"] == "MultiPolygon"
    boxes = [np.array(part[0]) for part in geometry["coordinates"]]
    assert [(box[:, 0].min(), box[:, 0].max()) for box in boxes] == [(west, 180), (-180, east)]
    assert all(box[:, 1].min() == south and box[:, 1].max() == north for box in boxes)


def test_only_catalogues_of_ours_are_replaced(product, tmp_path):
    export_stac(product, tmp_path / "c")
    with pytest.raises(OutputExistsError, match="overwrite"):
        export_stac(product, tmp_path / "c")
    assert export_stac(product, tmp_path / "c", overwrite=True) == 4
    (tmp_path / "c" / "notes.txt").write_text("precious")
    with pytest.raises(OutputExistsError, match=r"not ours \(notes.txt\)"):
        export_stac(product, tmp_path / "c", overwrite=True)
    others = tmp_path / "others"
    others.mkdir()
    (others / "collection.json").write_text('{"type": "Collection"}')
    with pytest.raises(OutputExistsError, match="of others"):
        export_stac(product, others, overwrite=True)
    with pytest.raises(OutputExistsError, match="no STAC collection"):
        export_stac(product, product.parent / "cogs", overwrite=True)
    with pytest.raises(OptionError, match="inside the other"):
        export_stac(product, product / "stac")


def test_what_is_no_source_is_told_and_leaves_nothing(product, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceNotFoundError, match="nowhere"):
        export_stac(tmp_path / "nowhere", tmp_path / "c")
    with pytest.raises(CubeError, match="holds no COG of an export"):
        export_stac(tmp_path / "empty", tmp_path / "c")
    shutil.copytree(product, tmp_path / "part.zarr")
    next((tmp_path / "part.zarr" / ".tamrf_job" / "done").iterdir()).unlink()
    with pytest.raises(JobError, match="not finished"):
        export_stac(tmp_path / "part.zarr", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_the_command_writes_and_tells(product, tmp_path, capsys):
    words = ["export", "stac", str(product), str(tmp_path / "c"), "--id", "x", "--license", "MIT"]
    assert main(words) == 0
    assert f"4 items in {tmp_path / 'c'}" in capsys.readouterr().out
    collection = pystac.Collection.from_file(tmp_path / "c" / "collection.json")
    assert (collection.id, collection.license) == ("x", "MIT")

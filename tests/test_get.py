"""What the authors published, fetched from a server that answers as Zenodo does."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.errors import DownloadError, ModelError, OptionError, StoreFullError
from tamrf_xr.ingest.published import RECORD as LS2S2
from tamrf_xr.ingest.published import get_ls2s2
from tamrf_xr.model.authors import CHECKPOINT, RECORD, published_weights
from tamrf_xr.model.checkpoint import load_model
from tamrf_xr.zenodo import MIRROR, _file, fetch, read_record
from tests.ls2s2_folder import both
from tests.scenes import random_cube
from tests.zenodo_server import serving

SMALL = Path(__file__).parent / "data" / "oracle_small"
CKPT = (SMALL / "checkpoint.ckpt").read_bytes()
CONFIG = SMALL / "config_composed.yaml"


@pytest.fixture
def zenodo(tmp_path, monkeypatch):
    with serving() as server:
        monkeypatch.setenv(MIRROR, f"{server.url}/api/records")
        monkeypatch.setenv("TAMRF_XR_CACHE", str(tmp_path / "cache"))
        yield server


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return data.getvalue()


RUN = {f"model/{CHECKPOINT}": CKPT, "model/hydra_config/config.yaml": CONFIG.read_bytes()}
LAYOUTS = {
    "files": {CHECKPOINT: CKPT, "config.yaml": CONFIG.read_bytes(), "results.zip": b"never asked"},
    "file and archive": {
        CHECKPOINT: CKPT,
        "hydra_config.zip": zipped({"hydra_config/config.yaml": CONFIG.read_bytes()}),
        "results.zip": b"never asked",
    },
    "zip": {"pretrained_model.zip": zipped(RUN), "results.zip": b"never asked" * 10**4},
    "tar": {"models.tar.gz": tarred(RUN)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_published_network_is_fetched_and_converted_once(zenodo, layout):
    zenodo.records[RECORD] = LAYOUTS[layout]
    expected = load_model(SMALL / "checkpoint.ckpt", CONFIG)
    model = load_model("published")
    assert model.config == expected.config
    for name, value in expected.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value)
    asked = list(zenodo.asked)
    assert not any("results" in path for path, _ in asked)
    header = json.loads(published_weights().with_suffix(".json").read_text())
    assert header["metadata"]["license"] == "cc-by-4.0"
    assert "zenodo.17474541" in header["metadata"]["citation"]
    load_model("published")
    assert zenodo.asked == asked


def test_fuse_takes_it_by_name(zenodo):
    zenodo.records[RECORD] = LAYOUTS["zip"]
    cube = random_cube((18, 18))
    fused = tamrf_xr.fuse(cube, "2022-01-10", model="published")
    converted = load_model(SMALL / "checkpoint.ckpt", CONFIG)
    expected = tamrf_xr.fuse(cube, "2022-01-10", model=converted)
    np.testing.assert_array_equal(fused["sentinel2/reflectance"], expected["sentinel2/reflectance"])
    assert fused["sentinel2"].attrs["weights"].endswith("968639_s1t3.safetensors")


def test_what_came_before_the_line_broke_is_not_asked_again(zenodo, tmp_path):
    data = os.urandom(3 * 2**20)
    zenodo.records[1] = {"a.bin": data}
    (file,) = read_record(1, manual="by hand").files
    zenodo.cut = [2**20, 2**20, 0]
    with pytest.raises(DownloadError, match=r"a.bin/content cannot be fetched: .*by hand"):
        fetch(file, tmp_path / "f", manual="by hand", progress=False)
    assert not (tmp_path / "f" / "a.bin").exists()
    # Another process, another day.
    path = fetch(file, tmp_path / "f", manual="by hand", progress=False)
    assert path.read_bytes() == data
    spans = zenodo.files_asked("a.bin")
    assert spans == ["", *(f"bytes={at}-" for at in (2**20, 2**21, 2**21))]
    assert [one.name for one in (tmp_path / "f").iterdir()] == ["a.bin"]


def test_a_server_without_ranges_sends_all(zenodo, tmp_path):
    data = os.urandom(2 * 2**20)
    zenodo.records[1] = {"a.bin": data}
    zenodo.ranges, zenodo.cut = False, [2**20]
    (file,) = read_record(1, manual="by hand").files
    path = fetch(file, tmp_path / "f", manual="by hand", progress=False)
    assert path.read_bytes() == data


def test_another_content_is_refused_and_fetched_anew(zenodo, tmp_path):
    zenodo.records[1] = {"a.bin": b"right"}
    (file,) = read_record(1, manual="by hand").files
    zenodo.records[1] = {"a.bin": b"wrong"}
    with pytest.raises(DownloadError, match=r"did not give a.bin as the record has it"):
        fetch(file, tmp_path / "f", manual="by hand", progress=False)
    assert list((tmp_path / "f").iterdir()) == []
    zenodo.records[1] = {"a.bin": b"right"}
    assert fetch(file, tmp_path / "f", manual="", progress=False).read_bytes() == b"right"
    # What is there and is another is replaced by the right one.
    (tmp_path / "f" / "a.bin").write_bytes(b"other")
    assert fetch(file, tmp_path / "f", manual="", progress=False).read_bytes() == b"right"


def test_a_record_that_is_not_there_and_no_network_are_told_with_the_manual_way(
    zenodo, monkeypatch, tmp_path
):
    with pytest.raises(DownloadError, match=r"not there \(404\); by hand: download 968639_s1t3"):
        load_model("published")
    monkeypatch.setenv(MIRROR, "http://127.0.0.1:1/api/records")
    with pytest.raises(DownloadError, match=r"refused.*by hand: .*tamrf-xr weights convert"):
        load_model("published")
    with pytest.raises(DownloadError, match=r"by hand: .*zenodo.org/records/15471890"):
        get_ls2s2(tmp_path / "data")
    assert not (tmp_path / "cache" / "published").exists()


def test_a_record_without_the_network_is_told(zenodo):
    zenodo.records[RECORD] = {"results.zip": zipped({"a.txt": b""}), "readme.md": b""}
    with pytest.raises(DownloadError, match=r"does not hold 968639.*it holds results.zip, readme"):
        load_model("published")
    assert not list(published_folder().glob("*.safetensors"))


def published_folder() -> Path:
    return Path(os.environ["TAMRF_XR_CACHE"]) / "published"


@pytest.mark.parametrize("name", ["../up.bin", ".hidden", "a/b.bin"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(DownloadError, match="is not fetched"):
        _file({"key": name, "size": 1, "checksum": "md5:0"}, 1)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_archives_that_lead_elsewhere_are_refused(zenodo, tmp_path, pack):
    name = "a.zip" if pack is zipped else "a.tar.gz"
    zenodo.records[LS2S2] = {name: pack({"../../evil.txt": b"x"})}
    with pytest.raises(DownloadError, match="leads elsewhere"):
        get_ls2s2(tmp_path / "data", progress=False)
    assert not list(tmp_path.rglob("evil.txt"))


def test_answers_that_are_not_the_apis_are_told(zenodo, monkeypatch):
    zenodo.records[1] = {}
    monkeypatch.setattr(zenodo, "describe", lambda _: {"files": [{}], "metadata": {}})
    with pytest.raises(DownloadError, match="not as its API was"):
        read_record(1, manual="")


def test_a_file_that_does_not_fit_is_refused_before_a_byte(zenodo, tmp_path, monkeypatch):
    zenodo.records[1] = {"a.bin": b"12345"}
    (file,) = read_record(1, manual="").files
    usage = shutil.disk_usage(tmp_path)._replace(free=4)
    monkeypatch.setattr("tamrf_xr.zenodo.shutil.disk_usage", lambda _: usage)
    with pytest.raises(StoreFullError, match="make room"):
        fetch(file, tmp_path, manual="", progress=False)
    assert zenodo.files_asked("a.bin") == []


# Configurations


def test_a_folder_with_a_composed_file_is_taken_as_that_file(tmp_path):
    folder = tmp_path / "hydra_config"
    folder.mkdir()
    shutil.copy(CONFIG, folder / "config.yaml")
    one = load_model(SMALL / "checkpoint.ckpt", folder)
    assert one.config == load_model(SMALL / "checkpoint.ckpt", CONFIG).config


def split(folder: Path, change=lambda composed: None) -> Path:
    """The configuration as the code has it: a defaults list, a file a group, an experiment."""
    composed = yaml.safe_load(CONFIG.read_text())
    change(composed)
    groups = ["datamodule", "hr_encoder", "lr_encoder", "decoder", "positional_encoding"]
    groups += ["training_module"]
    own = {name: value for name, value in composed.items() if name not in groups}
    for name in groups:
        (folder / name).mkdir(parents=True)
        (folder / name / "one.yaml").write_text(yaml.safe_dump(composed[name]))
    (folder / "decoder" / "other.yaml").write_text("name: other\n")
    (folder / "experiments").mkdir()
    chosen = "# @package _global_\ndefaults:\n  - override /decoder: one.yaml\n"
    (folder / "experiments" / "chosen.yaml").write_text(chosen)
    listed = [{name: "other.yaml" if name == "decoder" else "one.yaml"} for name in groups]
    own["defaults"] = ["_self_", *listed, {"experiments": "chosen"}]
    (folder / "config.yaml").write_text("# @package _global_\n" + yaml.safe_dump(own))
    return folder


def test_a_folder_with_a_defaults_list_is_composed(tmp_path):
    model = load_model(SMALL / "checkpoint.ckpt", split(tmp_path / "hydra"))
    assert model.config == load_model(SMALL / "checkpoint.ckpt", CONFIG).config


def test_what_a_folder_says_is_held_against_the_checkpoint(tmp_path):
    def change(composed):
        composed["hr_encoder"]["model"]["model"]["num_basic_blocks"] = 7

    with pytest.raises(ModelError, match=r"contradicts its config at hr_encoder.*num_basic_blocks"):
        load_model(SMALL / "checkpoint.ckpt", split(tmp_path / "hydra", change))


def test_statistics_are_those_of_the_checkpoint_and_others_are_told(tmp_path, caplog):
    def change(composed):
        composed["datamodule"]["hr_mean"] = [0.163] * 10
        standard = composed["training_module"]["parameters"]["standardization"]
        if isinstance(standard, dict):
            standard["hr_mean"] = [0.163] * 10

    with caplog.at_level(logging.WARNING):
        model = load_model(SMALL / "checkpoint.ckpt", split(tmp_path / "hydra", change))
    right = load_model(SMALL / "checkpoint.ckpt")
    np.testing.assert_array_equal(model.get_buffer("hr_mean"), right.get_buffer("hr_mean"))
    assert "its hr_mean is used" in caplog.text


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "is a folder without config.yaml.*found nothing"),
        ({"a.yaml": "x: 1"}, "found a.yaml"),
        ({"config.yaml": "defaults:\n  - nothing: here\n"}, "cannot be composed"),
        ({"config.yaml": "- 1"}, "expected a mapping"),
        ({"config.yaml": "a: [\n"}, "is not YAML"),
    ],
)
def test_folders_that_cannot_be_read_are_told(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match=words):
        load_model(SMALL / "checkpoint.ckpt", tmp_path)


# Data


def area(tmp_path, name: str, under: str = "") -> dict[str, bytes]:
    folder = tmp_path / "made" / name
    both(folder)
    return {
        f"{under}{name}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_areas_are_fetched_by_name_and_are_cubes(zenodo, tmp_path):
    one, other = (area(tmp_path, name) for name in ("31TCJ_12", "31TFJ_12"))
    zenodo.records[LS2S2] = {"31TCJ_12.zip": zipped(one), "31TFJ_12.tar.gz": tarred(other)}
    found = get_ls2s2(tmp_path / "data", areas=["31TCJ_12"], progress=False)
    assert found.files == ("31TCJ_12.zip",)
    assert [path.name for path in found.areas] == ["31TCJ_12"]
    assert zenodo.files_asked("31TFJ_12.tar.gz") == []
    words = ["ingest", "ls2s2", str(found.areas[0]), str(tmp_path / "c.zarr"), "--quiet"]
    assert main(words) == 0
    asked = len(zenodo.asked)
    get_ls2s2(tmp_path / "data", areas=["31TCJ_12"], progress=False)
    assert len(zenodo.asked) == asked
    found = get_ls2s2(tmp_path / "data", progress=False)
    assert [path.name for path in found.areas] == ["31TCJ_12", "31TFJ_12"]
    for name, data in (one | other).items():
        assert (tmp_path / "data" / name).read_bytes() == data
    assert not list((tmp_path / "data").glob("*.zip"))


def test_one_area_is_taken_out_of_an_archive_of_many(zenodo, tmp_path):
    files = area(tmp_path, "31TCJ_12", "data/test/") | area(tmp_path, "31TFJ_12", "data/test/")
    zenodo.records[LS2S2] = {"test.zip": zipped(files)}
    with pytest.raises(OptionError, match=r"called after 31TCJ_12; it has test.zip.*--file"):
        get_ls2s2(tmp_path / "data", areas=["31TCJ_12"], progress=False)
    how = {"files": ["test.zip"], "progress": False}
    found = get_ls2s2(tmp_path / "data", areas=["31TCJ_12"], **how)
    assert [path.name for path in found.areas] == ["31TCJ_12"]
    # The archive, which holds more, is kept: the next area costs no second download.
    found = get_ls2s2(tmp_path / "data", areas=["31TFJ_12"], **how)
    assert [path.name for path in found.areas] == ["31TCJ_12", "31TFJ_12"]
    assert len(zenodo.files_asked("test.zip")) == 1
    with pytest.raises(OptionError, match="holds no 32ABC_1"):
        get_ls2s2(tmp_path / "data", areas=["32ABC_1"], **how)
    with pytest.raises(OptionError, match=r"has no train.zip; it has test.zip"):
        get_ls2s2(tmp_path / "data", files=["train.zip"], progress=False)


def test_an_archive_that_is_broken_is_told(zenodo, tmp_path):
    zenodo.records[LS2S2] = {"a.zip": b"PK no zip"}
    with pytest.raises(DownloadError, match="no whole archive"):
        get_ls2s2(tmp_path / "data", progress=False)


def test_the_commands_show_licence_and_citation(zenodo, tmp_path, capsys):
    zenodo.records[RECORD] = LAYOUTS["zip"]
    zenodo.records[LS2S2] = {"31TCJ_12.zip": zipped(area(tmp_path, "31TCJ_12"))}
    assert main(["get", "weights", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "MICHEL, Julien; INGLADA, Jordi (2025). Support data. Zenodo." in said
    assert "licence: cc-by-4.0; please cite it" in said
    assert main(["get", "ls2s2", str(tmp_path / "d"), "--aoi", "31TCJ_12", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "1 areas" in said
    assert "zenodo.15471890" in said
    assert "10.6096/1029" in said
    words = ["get", "ls2s2", str(tmp_path / "e"), "--aoi", "99XXX_1", "--quiet"]
    assert main(words) == 1
    assert "called after 99XXX_1" in capsys.readouterr().err

"""The command line: what it writes, what it says, how it exits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tamrf_xr
from tamrf_xr.cli import build_parser, main
from tamrf_xr.model.foreign import read_tensors
from tamrf_xr.simulate import variety
from tests.oracle import shared
from tests.scenes import random_cube

SMALL = Path(__file__).parent / "data" / "oracle_small"


@pytest.fixture
def scene(tmp_path) -> Path:
    path = tmp_path / "scene.zarr"
    tamrf_xr.save_cube(random_cube((36, 45)), path)
    return path


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_fuse_with_published_weights(scene, tmp_path, capsys):
    weights = tmp_path / "small.safetensors"
    checkpoint = (SMALL / "checkpoint.ckpt", weights, "--config", SMALL / "config_composed.yaml")
    assert run("weights", "convert", *checkpoint) == 0
    dates = ("--dates", "2022-01-10", "2022-02-01")
    assert run("fuse", scene, tmp_path / "f.zarr", *dates, "--model", weights, "--quiet") == 0
    made = tamrf_xr.open_cube(tmp_path / "f.zarr")
    expected = tamrf_xr.open_cube(scene).tamrf.fuse(["2022-01-10", "2022-02-01"], model=weights)
    for path in ("sentinel2/reflectance", "landsat/reflectance"):
        np.testing.assert_allclose(made[path], expected[path], atol=0.5001e-4)
    assert len(made["sentinel2"].attrs["weights_sha256"]) == 64
    capsys.readouterr()
    assert run("info", tmp_path / "f.zarr") == 0
    said = capsys.readouterr().out
    assert "36 x 45 pixels of 10 m, EPSG:32631" in said
    assert "2 dates, 2022-01-10 to 2022-02-01" in said


def test_weights_of_other_methods_keep_their_names(tmp_path):
    state = {"b.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    out = tmp_path / "w.safetensors"
    words = ("weights", "convert", tmp_path / "w.pth", out)
    assert run(*words, "--tensors") == 0
    kept = read_tensors(str(out))
    assert list(kept) == list(state)
    assert all(torch.equal(kept[name], tensor) for name, tensor in state.items())
    assert run(*words, "--tensors", "--overwrite", "--config", "c.yaml") == 1
    assert run(*words, "--tensors") == 1  # it is there


def test_progress_is_shown(scene, tmp_path, capsys):
    dates = ("--dates", "2022-01-10/2022-02-01/5D")
    assert run("fuse", scene, tmp_path / "f.zarr", *dates, "--method", "linear") == 0
    assert "1/1" in capsys.readouterr().err


def test_simulate_fuse_and_look(tmp_path):
    scene, truth = tmp_path / "s.zarr", tmp_path / "t.zarr"
    dates = ("--dates", "2022-04-01", "2022-07-01")
    assert run("simulate", scene, "--size", 60, "--seed", 3, "--truth", truth, *dates) == 0
    assert tamrf_xr.open_cube(truth)["landsat/reflectance"].shape == (2, 7, 60, 60)
    assert run("fuse", scene, tmp_path / "f.zarr", *dates, "--method", "linear", "--quiet") == 0
    picture = tmp_path / "q.png"
    assert run("quicklook", scene, tmp_path / "f.zarr", picture) == 0
    assert np.asarray(Image.open(picture)).std() > 5


def test_ingest_the_real_pair(tmp_path):
    shared("real/pair_31UDS")
    from studies.real_pair import write_real_pair

    folder = write_real_pair(tmp_path / "31UDS")
    assert run("ingest", "ls2s2", folder, tmp_path / "pair.zarr", "--quiet") == 0
    cube = tamrf_xr.open_cube(tmp_path / "pair.zarr")
    assert cube["sentinel2"].sizes["time"] == 118


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.zarr", "f.zarr", "--dates", "2022-01-10"], "no store at nowhere.zarr"),
        (["SCENE", "f.zarr", "--dates", "2022-01-10", "--model", "no.ckpt"], "no.ckpt"),
        (["SCENE", "f.zarr", "--dates", "soon", "--method", "linear"], "not understood"),
        (
            ["SCENE", "f.zarr", "--dates", "2022-01-10", "--method", "magic"],
            "the methods are: tamrf",
        ),
        (["SCENE", "SCENE", "--dates", "2022-01-10", "--method", "linear"], "are one"),
        (["SCENE", "f.zarr", "--dates", "2022-01-10", "--model", "SCENE"], "scene.zarr"),
    ],
)
def test_errors_are_one_line_and_write_nothing(
    scene, tmp_path, capsys, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run("fuse", *(scene if word == "SCENE" else word for word in words)) == 1
    said = capsys.readouterr().err
    assert said.startswith("tamrf-xr: ")
    assert message in said
    assert "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_debug_shows_where_it_failed(tmp_path):
    with pytest.raises(tamrf_xr.TamrfError):
        run("info", tmp_path / "nowhere.zarr", "--debug")


def test_wrong_usage_exits_with_2():
    with pytest.raises(SystemExit) as stop:
        run("fuse")
    assert stop.value.code == 2


def test_every_command_has_examples():
    for words in (
        ["fuse"],
        ["info"],
        ["verify"],
        ["simulate"],
        ["quicklook"],
        ["adapt"],
        ["evaluate"],
        ["ingest", "ls2s2"],
        ["ingest", "stac"],
        ["ingest", "openeo"],
        ["weights", "convert"],
        ["get", "weights"],
        ["get", "ls2s2"],
        ["view"],
        ["export", "cog"],
        ["export", "stac"],
        ["export", "indices"],
        ["doctor"],
    ):
        parser = build_parser()
        for word in words:
            (choices,) = (a.choices for a in parser._actions if isinstance(a.choices, dict))
            parser = choices[word]
        assert f"tamrf-xr {' '.join(words)}" in parser.epilog


def test_the_command_is_installed():
    code = subprocess.run(
        [sys.executable, "-m", "tamrf_xr.cli", "--version"], check=False
    ).returncode
    assert code == 0


def test_scenes_to_train_on_are_made_once(tmp_path, capsys):
    words = ["simulate", str(tmp_path / "cubes"), "--scenes", "2", "--size", "30", "--seed", "7"]
    assert main(words) == 0
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cubes").iterdir()}
    assert [path.name for path in sorted(made)] == ["scene-00007.zarr", "scene-00008.zarr"]
    assert main(words) == 0
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "cubes").iterdir()}
    assert "2 scenes in" in capsys.readouterr().out
    assert main([*words, "--unclouded"]) == 0
    beside = (tmp_path / "cubes" / "unclouded").iterdir()
    assert {path.name for path in beside} == {path.name for path in made}
    assert main(["simulate", str(tmp_path / "one.zarr"), "--unclouded"]) == 1
    assert "--unclouded goes with --scenes" in capsys.readouterr().err


def test_scenes_of_biomes_are_told_apart_by_their_names(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(variety, "write_scene", lambda config, path, **_: path.mkdir())
    words = ["simulate", str(tmp_path / "cubes"), "--scenes", "3", "--size", "30", "--biome"]
    assert main([*words, "rice=2", "city=1"]) == 0
    names = {path.name.partition("-")[0] for path in (tmp_path / "cubes").iterdir()}
    assert names <= {"rice", "city"}
    assert main([*words, "desert"]) == 0
    assert len(list((tmp_path / "cubes").glob("desert-*.zarr"))) == 3
    for asked, message in (("tundra", "no biome 'tundra'"), ("rice=much", "'much' is no weight")):
        assert main([*words, asked]) == 1
        assert message in capsys.readouterr().err


def test_one_scene_of_a_biome_is_drawn(tmp_path):
    words = ["simulate", str(tmp_path / "scene.zarr"), "--size", "30", "--biome", "desert"]
    assert main(words) == 0
    seen = tamrf_xr.open_cube(tmp_path / "scene.zarr")["sentinel2"]["reflectance"]
    assert float(seen.sel(band="B04").median()) > 0.25


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--dates", "2022-01-10/2022-02-01"), "write 2022-01-10/2022-02-01/1D for every day"),
        (("--dates", "2022-01-10/.."), "its end is open"),
        (("--dates", "June"), "'June' not understood"),
        (("--dates", "2022-01-10", "10:30"), "'10:30' not understood"),
        (("--dates", "2022-01-10/2022-02-01/P0D"), "is nothing"),
        (("--dates", "2022-01-10", "--window", "long"), "'long' is not a duration"),
        (("--dates", "2022-01-10", "--same-day", "24h"), "same_day must be less than 24 hours"),
    ],
)
def test_dates_that_need_guessing_are_refused_and_nothing_is_written(
    scene, tmp_path, capsys, words, message
):
    assert run("fuse", scene, tmp_path / "f.zarr", *words, "--method", "linear", "--quiet") == 1
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene.zarr"]


def test_a_window_without_unit_is_days(scene, tmp_path):
    options = ("--dates", "2022-01-10/2022-02-01/P10D", "--method", "linear", "--quiet")
    assert run("fuse", scene, tmp_path / "a.zarr", *options, "--window", "365") == 0
    assert run("fuse", scene, tmp_path / "a.zarr", *options, "--window", "365D") == 0
    assert tamrf_xr.open_cube(tmp_path / "a.zarr")["sentinel2"].sizes["time"] == 3


def test_an_error_that_is_not_ours_is_told_in_a_line_too(scene, capsys, monkeypatch):
    def broken(_: object) -> str:
        raise KeyError("inside")

    monkeypatch.setattr("tamrf_xr.describe.describe", broken)
    assert run("info", scene) == 1
    said = capsys.readouterr().err
    assert said.startswith("tamrf-xr: unexpected KeyError: 'inside'")
    assert "Traceback" not in said
    with pytest.raises(KeyError):
        run("info", scene, "--debug")


def test_a_cluster_that_cannot_be_leaves_nothing(scene, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("cluster: local\noptions: {n_workers: 0}\n")
    words = ("--dates", "2022-01-10", "--method", "linear", "--cluster", tmp_path / "c.yaml")
    assert run("fuse", scene, tmp_path / "f.zarr", *words) == 1
    assert "n_workers is 0; expected 1 to" in capsys.readouterr().err
    assert not (tmp_path / "f.zarr").exists()


@pytest.mark.parametrize("out", ["mine.pt", "nowhere/mine.safetensors"])
def test_adapt_looks_at_its_output_first(scene, tmp_path, capsys, out):
    assert run("adapt", scene, tmp_path / out, "--steps", 10**6) == 1
    assert "safetensors" in (said := capsys.readouterr().err) or "does not exist" in said


def test_the_help_imports_no_network_and_the_package_no_command():
    code = (
        "import sys, tamrf_xr.cli as cli; assert 'tamrf_xr.cli.fuse' not in sys.modules; "
        "cli.build_parser(); assert not {'torch', 'matplotlib', 'tamrf_xr.evaluation'} & "
        "sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

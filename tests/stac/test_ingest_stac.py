"""Into a store: goes on where it was killed, and gives the bytes of a run that was not."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError, IngestError, JobError, OutputExistsError
from tamrf_xr.ingest.stac import from_stac, ingest_stac
from tamrf_xr.ingest.stac_keep import alone_in
from tests.ingest_tests import as_stored
from tests.stac.conftest import both, row
from tests.stac.ramp_catalog import AOI, LAYOUTS, add_ramp


def contents(store: Path) -> dict[str, bytes]:
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def staged(store: Path) -> list[Path]:
    return sorted(store.with_name(f".{store.name}.stac").glob("*.npy"))


@pytest.fixture
def aoi(tmp_path) -> Path:
    path = tmp_path / "aoi.json"
    path.write_text(json.dumps(AOI))
    return path


def words(api, aoi: Path, out: Path) -> list[str]:
    options = ["--aoi", aoi, "--catalog", "earth-search", "--url", api.url, "--quiet"]
    return ["ingest", "stac", *map(str, options), str(out)]


def test_the_store_holds_what_is_opened(api, tmp_path):
    both(api, dates=(1, 2))
    report = ingest_stac(row(api), tmp_path / "cube.zarr", aoi=AOI, progress=False)
    assert report.written == (tmp_path / "cube.zarr",)
    assert os.listdir(tmp_path) == ["cube.zarr"]
    again = groups_of(tamrf_xr.open_cube(tmp_path / "cube.zarr"))
    for name, group in groups_of(from_stac(row(api), aoi=AOI).compute()).items():
        np.testing.assert_array_equal(again[name]["valid"], group["valid"])
        for variable, scale in (("reflectance", 1e-4), ("surface_temperature", 0.1)):
            if variable in group:
                apart = as_stored(again[name][variable], scale) - group[variable].values / scale
                np.testing.assert_array_equal(np.isnan(apart), np.isnan(group[variable]))
                assert np.nanmax(abs(apart)) < 0.502


def test_killed_and_run_again_it_asks_for_the_rest_and_gives_the_same_bytes(api, aoi, tmp_path):
    both(api)
    assert main(words(api, aoi, tmp_path / "whole.zarr")) == 0
    undisturbed = dict(api.reads)
    killed_at(api, 40, words(api, aoi, tmp_path / "cube.zarr"))
    kept = staged(tmp_path / "cube.zarr")
    assert 0 < len(kept) < len(undisturbed)
    assert not (tmp_path / "cube.zarr").exists()

    api.asked.clear()
    # In another process: GDAL keeps what it read.
    command = [sys.executable, "-m", "tamrf_xr.cli", *words(api, aoi, tmp_path / "cube.zarr")]
    assert subprocess.run(command, check=False).returncode == 0
    assert contents(tmp_path / "cube.zarr") == contents(tmp_path / "whole.zarr")
    # One piece a file here: what was kept is not asked for.
    assert len(api.reads) == len(undisturbed) - len(kept)
    assert not staged(tmp_path / "cube.zarr")


def killed_at(api, reads: int, command: list[str]) -> None:
    """Run a command in a process of its own, and kill it when so many reads were served."""
    served: list[str] = []
    process = subprocess.Popen([sys.executable, "-m", "tamrf_xr.cli", *command])

    def count(path: str) -> None:
        served.append(path)
        if len(served) == reads:
            process.kill()

    api.on_read = count
    assert process.wait(120) == -signal.SIGKILL
    api.on_read = lambda _: None


def test_killed_while_the_cube_is_written_no_file_is_read_again(api, aoi, tmp_path, monkeypatch):
    both(api, dates=(1, 2))
    out = tmp_path / "cube.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("tamrf_xr.ingest.stac.save_cube", _stop)
        with pytest.raises(KeyboardInterrupt):
            ingest_stac(row(api), out, aoi=AOI, progress=False)
    api.asked.clear()
    ingest_stac(row(api), out, aoi=AOI, progress=False)
    assert api.reads == {}
    assert tamrf_xr.open_cube(out)["sentinel2"].sizes["time"] == 2


def _stop(*_, **__) -> None:
    raise KeyboardInterrupt


def test_a_piece_that_is_damaged_is_fetched_again(api, tmp_path):
    items = add_ramp(api, LAYOUTS["earth-search-c1"])
    out, what = tmp_path / "cube.zarr", {"aoi": AOI, "collections": "sentinel-2-c1-l2a"}
    good = items[3]["assets"]["red"]["href"]
    items[3]["assets"]["red"]["href"] = api.href("gone.tif")
    with pytest.raises(IngestError, match="asset red"):
        ingest_stac(row(api), out, **what, workers=1, progress=False)
    first = staged(out)[0]
    first.write_bytes(first.read_bytes()[:200])
    items[3]["assets"]["red"]["href"] = good
    ingest_stac(row(api), out, **what, progress=False)
    ingest_stac(row(api), tmp_path / "whole.zarr", **what, progress=False)
    assert contents(out) == contents(tmp_path / "whole.zarr")


def test_what_is_there_is_not_fetched_again(api, tmp_path, capsys, aoi):
    both(api, dates=(1, 2))
    out = tmp_path / "cube.zarr"
    assert main(words(api, aoi, out)) == 0
    before = contents(out)
    api.asked.clear()
    assert main(words(api, aoi, out)) == 0
    assert api.reads == {}
    assert contents(out) == before
    assert "0 written, 1 there" in capsys.readouterr().out


def test_what_is_there_of_other_scenes_is_not_replaced_unasked(api, tmp_path):
    both(api, dates=(1, 2))
    out = tmp_path / "cube.zarr"
    ingest_stac(row(api), out, aoi=AOI, max_cloud=10, progress=False)
    with pytest.raises(OutputExistsError, match=r"other scenes.*overwrite"):
        ingest_stac(row(api), out, aoi=AOI, progress=False)
    assert tamrf_xr.open_cube(out)["landsat"].sizes["time"] == 1
    ingest_stac(row(api), out, aoi=AOI, overwrite=True, progress=False)
    assert tamrf_xr.open_cube(out)["landsat"].sizes["time"] == 2


def test_the_store_is_checked_before_the_catalogue_is_asked(api, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError):
        ingest_stac(row(api), tmp_path / "mine", aoi=AOI, progress=False)
    assert not api.asked


def test_ingest_questions_values_that_opening_does_not(api, tmp_path):
    """Numbers without a baseline that are dark: it is told only when they are looked at."""
    items = add_ramp(api, LAYOUTS["earth-search-v1"])
    for item in items:
        for name in ("s2:processing_baseline", "s2:product_uri", "s2:datastrip_id"):
            del item["properties"][name]
        item["properties"].pop("earthsearch:boa_offset_applied")
        item["properties"]["datetime"] = item["properties"]["datetime"].replace("2021", "2022")
        for one in item["assets"].values():
            one.pop("raster:bands", None)
    what = {"aoi": AOI, "collections": "sentinel-2-l2a"}
    with pytest.raises(CubeError, match="harmonized=True"):
        from_stac(row(api), **what)
    ingest_stac(row(api), tmp_path / "cube.zarr", **what, progress=False)
    cube = tamrf_xr.open_cube(tmp_path / "cube.zarr")
    assert "(pixels)" in cube["sentinel2"].attrs["processing"]


def test_from_a_place_to_a_picture(api, aoi, tmp_path):
    both(api)
    scene, fused, picture = (tmp_path / name for name in ("s.zarr", "f.zarr", "p.png"))
    assert main(words(api, aoi, scene)) == 0
    dates = ["--dates", "2021-06-09", "2022-06-12", "--window", "none"]
    assert main(["fuse", str(scene), str(fused), *dates, "--method", "linear", "--quiet"]) == 0
    assert main(["quicklook", str(scene), str(fused), str(picture)]) == 0
    assert np.asarray(Image.open(picture)).std() > 5


def test_any_size_of_pieces_gives_the_same_bytes(api, tmp_path, monkeypatch):
    both(api, dates=(1, 2))
    ingest_stac(row(api), tmp_path / "whole.zarr", aoi=AOI, progress=False)
    monkeypatch.setattr("tamrf_xr.ingest.stac.CHUNK", 36)
    monkeypatch.setattr("tamrf_xr.ingest.stac.SHARD", 12)
    ingest_stac(row(api), tmp_path / "parts.zarr", aoi=AOI, progress=False)
    assert contents(tmp_path / "parts.zarr") == contents(tmp_path / "whole.zarr")


def test_a_second_run_into_one_store_is_refused(api, tmp_path):
    both(api, dates=(1, 2))
    out = tmp_path / "cube.zarr"
    with alone_in(tmp_path / ".cube.zarr.stac"), pytest.raises(JobError, match="another run"):
        ingest_stac(row(api), out, aoi=AOI, progress=False)
    assert api.reads == {}
    assert ingest_stac(row(api), out, aoi=AOI, progress=False).written == (out,)


def test_progress_tells_how_fast_it_comes(api, tmp_path, capsys):
    add_ramp(api, LAYOUTS["earth-search-c1"])
    ingest_stac(row(api), tmp_path / "cube.zarr", aoi=AOI, collections="sentinel-2-c1-l2a")
    said = capsys.readouterr().err
    assert "B/s" in said
    assert "100%" in said


def test_items_can_be_left_out(api, tmp_path, aoi):
    items = both(api, dates=(1, 2))
    bad = copy.deepcopy(items[1]["id"])
    items[1]["assets"]["red"]["href"] = api.href("gone.tif")
    out = tmp_path / "cube.zarr"
    assert main([*words(api, aoi, out), "--skip", bad]) == 0
    assert tamrf_xr.open_cube(out)["sentinel2"].sizes["time"] == 1

"""What exists is replaced only where it is ours, and only by what is whole."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rioxarray
import xarray as xr

import tamrf_xr
from tamrf_xr.cli import main
from tamrf_xr.errors import OptionError, OutputExistsError
from tamrf_xr.export.cog import write_cog
from tamrf_xr.export.quicklook import quicklook
from tamrf_xr.replaceable import LISTING, check_file, check_folder, check_store, is_ours
from tamrf_xr.replacing import fresh_file
from tests.scenes import grid, random_cube

ROOT = Path(__file__).resolve().parents[1]
REFUSED = (OptionError, OutputExistsError)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("made") / "scene.zarr"
    tamrf_xr.save_cube(random_cube((24, 24), hr=2, lr=2), path)
    return path


@pytest.fixture
def scene(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data" / "scene.zarr"))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def save(cube, out):
    tamrf_xr.save_cube(cube, out, overwrite=True)


def job(cube, out):
    how = {"method": "linear", "progress": False}
    tamrf_xr.run_job(cube, out, "2022-01-10", overwrite=True, **how)


def draw(cube, out):
    quicklook(cube, path=out, overwrite=True)


def raster(cube, out):
    image = cube["sentinel2/reflectance"].isel(time=0)
    image.tamrf.to_raster(out, overwrite=True, driver="GTiff")


DOORS = pytest.mark.parametrize("door", [save, job, draw, raster])


@DOORS
def test_places_that_must_stay_are_refused(door, scene, tmp_path, monkeypatch):
    home, work = tmp_path / "home", tmp_path / "work" / "here"
    for folder in (home, work):
        folder.mkdir(parents=True)
        (folder / "thesis.txt").write_text("precious")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    (tmp_path / "link").symlink_to(work)
    before = names(tmp_path)
    cube = tamrf_xr.open_cube(scene)
    for place in ("", " ", ".", "..", work, work.parent, "~", "/", "/proc", tmp_path / "link"):
        with pytest.raises(OptionError, match=r"empty|working folder|home folder|mount point"):
            door(cube, place)
    assert names(tmp_path) == before


@DOORS
def test_outputs_that_overlap_with_an_input_are_refused(door, scene, tmp_path):
    (tmp_path / "link.zarr").symlink_to(scene)
    before = names(tmp_path)
    for chunks in (None, {}):
        cube = tamrf_xr.open_cube(scene, chunks=chunks)
        for cube_of in (cube, cube.isel(time=slice(0, 1)) if chunks is None else cube):
            for place in (scene, scene / "fused.zarr", scene.parent, tmp_path / "link.zarr"):
                with pytest.raises(OptionError, match="are one, or one is inside the other"):
                    door(cube_of, place)
    assert names(tmp_path) == before


@DOORS
def test_what_is_not_ours_is_never_replaced(door, scene, tmp_path):
    folder, file, mixed = tmp_path / "papers", tmp_path / "thesis.txt", tmp_path / "mixed.zarr"
    folder.mkdir()
    (folder / "a.txt").write_text("precious")
    file.write_text("precious")
    shutil.copytree(scene, mixed)
    (mixed / "notes.txt").write_text("precious")
    before = names(tmp_path)
    for place in (folder, file, mixed):
        with pytest.raises(OutputExistsError, match=r"not replaced, whatever overwrite says"):
            door(tamrf_xr.open_cube(scene), place)
    assert names(tmp_path) == before
    assert (mixed / "notes.txt").read_text() == "precious"


def test_cube_in_memory_replaces_the_store_that_it_came_from(scene):
    cube = tamrf_xr.open_cube(scene).load()
    save(cube, scene)
    assert tamrf_xr.open_cube(scene).load().identical(cube)


def test_cubes_and_jobs_are_replaced(scene, tmp_path):
    cube, out = tamrf_xr.open_cube(scene), tmp_path / "out.zarr"
    save(cube, out)
    job(cube, out)
    save(cube, out)
    (tmp_path / "link.zarr").symlink_to(out)
    job(cube, tmp_path / "link.zarr")
    assert (tmp_path / "link.zarr").is_symlink()
    assert is_ours(out)
    plain = tmp_path / "plain.zarr"
    cube.tamrf.fuse("2022-01-10", method="linear").to_zarr(plain)
    save(cube, plain)
    (out / ".tamrf_job/job.json").write_text("{")
    job(cube, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("data", "link.zarr", "out.zarr", "plain.zarr")
    ]


def test_cubes_without_our_mark_are_named_and_left_to_their_owner(scene, tmp_path):
    """As older versions saved them from a tree that had none; so may others."""
    cube, old, plain = tamrf_xr.open_cube(scene), tmp_path / "old.zarr", tmp_path / "plain.zarr"
    shutil.copytree(scene, old)
    document = old / "zarr.json"
    document.write_text(document.read_text().replace("tamrf_cube_version", "title_of_old"))
    (old / LISTING).unlink()
    xr.DataTree.from_dict({"/sentinel2": cube["sentinel2"].to_dataset()}).to_zarr(plain)
    assert tamrf_xr.open_cube(old).children
    before = names(tmp_path)
    for place in (old, plain):
        for door in (save, job):
            with pytest.raises(OutputExistsError, match=r"zarr exists and holds a cube") as error:
                door(cube, place)
            assert "no tamrf_cube_version among its attributes" in str(error.value)
            assert "name another store, or remove it yourself" in str(error.value)
    assert names(tmp_path) == before
    shutil.rmtree(old)  # the way out
    save(cube, old)
    save(cube, old)


@pytest.mark.parametrize(
    "words",
    [
        ["fuse", "IN", "", "--dates", "2022-01-10", "--method", "linear"],
        ["fuse", "IN", "IN", "--dates", "2022-01-10", "--method", "linear"],
        ["fuse", "IN", "DIR", "--dates", "2022-01-10", "--method", "linear"],
        ["fuse", "IN", ".", "--dates", "2022-01-10", "--method", "linear"],
        ["simulate", ".", "--size", "30"],
        ["simulate", "OUT", "--truth", "OUT", "--size", "30"],
        ["simulate", "DIR", "--size", "30"],
        ["ingest", "ls2s2", "DIR", "DIR"],
        ["ingest", "ls2s2", "DIR", "FILE"],
        ["quicklook", "IN", "IN", "IN"],
        ["quicklook", "IN", "IN", "FILE"],
        ["quicklook", "IN", "IN", "."],
        ["adapt", "IN", "IN"],
        ["adapt", "IN", "DIR/no/mine.safetensors"],
        ["adapt", "IN", "W"],
        ["weights", "convert", "W", "W"],
    ],
)
def test_no_command_loses_a_file(words, scene, tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    (here / "dir").mkdir(parents=True)
    for name in ("dir/a.txt", "file.txt", "w.safetensors"):
        (here / name).write_text("precious")
    monkeypatch.chdir(here)
    places = {"IN": scene, "DIR": here / "dir", "FILE": here / "file.txt", "OUT": here / "o.zarr"}
    places["W"] = here / "w.safetensors"
    before = names(tmp_path)
    command = [str(places.get(word, word)).replace("DIR", str(places["DIR"])) for word in words]
    assert main([*command, "--overwrite"]) == 1
    assert capsys.readouterr().err.startswith("tamrf-xr: ")
    assert names(tmp_path) == before


@pytest.mark.parametrize("how", ["exchange", "aside"])
def test_killed_at_any_step_one_of_the_two_is_whole(how, tmp_path):
    """And nothing stays behind, or comes back."""
    command = [sys.executable, "-m", "tests.steps", str(tmp_path), how]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    steps = json.loads(said)
    assert len(steps) > 6
    # Without an exchange there is a moment between two names; the next run goes on from there.
    between = {"nothing"} if how == "aside" else set()
    assert {step[0] for step in steps} <= {"old", "new"} | between
    for _, mended, left, deleted, after, count in steps:
        assert mended in {"old", "new"}
        assert left == ["out.zarr"]
        assert (deleted, after, count) == ("nothing", "newer", 1)
    assert {step[1] for step in steps} == {"old", "new"}


def test_leftovers_of_other_containers_go_once_they_are_silent(tmp_path, monkeypatch):
    from tamrf_xr import owners

    monkeypatch.setattr(owners, "WATCH", 0.1)
    left = tmp_path / f".a.zarr.{owners.boot()[:8]}-1-7-9.partial"
    left.mkdir()
    check_store(tmp_path / "a.zarr", "store", overwrite=True)
    assert left.exists()
    os.utime(left, (1, 1))
    check_store(tmp_path / "a.zarr", "store", overwrite=True)
    assert not left.exists()


def test_files_are_replaced_whole_by_their_kind(tmp_path):
    path = tmp_path / "a.png"
    with fresh_file(path) as partial:
        partial.write_bytes(b"\x89PNG")
    assert check_file(path, "picture", overwrite=True, starts=(b"\x89PNG",)) == path
    with pytest.raises(OutputExistsError, match="exists; pass overwrite=True"):
        check_file(path, "picture", overwrite=False)
    with pytest.raises(OutputExistsError, match="a file of another kind, no picture"):
        check_file(path, "picture", overwrite=True, starts=(b"II*",))
    with pytest.raises(OutputExistsError, match="is none"):
        check_folder(tmp_path, "thing", overwrite=True, ours=lambda _: "is none")
    with contextlib.suppress(ZeroDivisionError), fresh_file(path) as partial:
        partial.write_bytes(b"half")
        raise ZeroDivisionError
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == b"\x89PNG"


def test_rasters_are_replaced_only_when_asked_and_by_what_is_whole(tmp_path, monkeypatch):
    image, path = random_cube((12, 12))["sentinel2/reflectance"].isel(time=0), tmp_path / "a.tif"
    for write in (image.tamrf.to_raster, lambda out, **how: cog(image, out, **how)):
        path.unlink(missing_ok=True)
        write(path)
        before = path.read_bytes()
        with pytest.raises(OutputExistsError, match=r"a.tif exists; pass overwrite=True"):
            write(path)
        with monkeypatch.context() as patch:
            patch.setattr("rioxarray.raster_array.RasterArray.to_raster", fail)
            patch.setattr("rasterio.shutil.copy", fail)
            with pytest.raises(ZeroDivisionError):
                write(path, overwrite=True)
        assert path.read_bytes() == before
        write(path, overwrite=True)
        assert [one.name for one in tmp_path.iterdir()] == ["a.tif"]
    (tmp_path / "notes.tif").write_text("precious")
    for name in ("notes.tif", "a.tif"):
        with pytest.raises(OutputExistsError, match="a file of another kind, no raster"):
            image[:3].tamrf.to_raster(
                tmp_path / name, overwrite=True, driver="PNG" if name == "a.tif" else None
            )
    assert (tmp_path / "notes.tif").read_text() == "precious"


def fail(_array, path, **_options):
    Path(path).write_bytes(b"half")
    raise ZeroDivisionError


def cog(image, path, **how):
    write_cog(image.values, list(image["band"].values), grid((12, 12)), path, **how)


def test_files_beside_a_raster_come_along_and_are_not_replaced_unasked(tmp_path):
    image = random_cube((12, 12))["sentinel2/reflectance"].isel(time=0)[:3]
    image = (image.fillna(0) * 100).astype("uint8")
    image.tamrf.to_raster(tmp_path / "a.png")
    made = names(tmp_path)
    assert made == ["a.png", "a.png.aux.xml"]
    image.tamrf.to_raster(tmp_path / "a.png", overwrite=True)
    assert names(tmp_path) == made
    (tmp_path / "a.png").unlink()
    with pytest.raises(OutputExistsError, match=r"a.png.aux.xml exists"):
        image.tamrf.to_raster(tmp_path / "a.png")
    assert names(tmp_path) == ["a.png.aux.xml"]
    image.tamrf.to_raster(tmp_path / "a.bil")
    with pytest.raises(OutputExistsError, match="driver EHdr writes are not replaced"):
        image.tamrf.to_raster(tmp_path / "a.bil", overwrite=True)


def test_rasters_that_cannot_be_put_in_place_whole_are_refused(tmp_path):
    image = random_cube((12, 12))["sentinel2/reflectance"].isel(time=0)
    image.tamrf.to_raster(tmp_path / "a.tif")
    opened = rioxarray.open_rasterio(tmp_path / "a.tif")
    with pytest.raises(OptionError, match="are one, or one is inside the other"):
        opened.tamrf.to_raster(tmp_path / "a.tif", overwrite=True)
    for path, how, found in (
        ("b.tif", {"compute": False}, "compute is False"),
        ("/vsimem/b.tif", {}, "a virtual file of GDAL"),
        ("b.what", {}, "names no kind of raster"),
    ):
        with pytest.raises(OptionError, match=found):
            image.tamrf.to_raster(path, **how)


def test_killed_while_a_raster_is_written_the_old_one_stays(tmp_path):
    image = random_cube((12, 12))["sentinel2/reflectance"].isel(time=0)
    path, code = (
        tmp_path / "a.tif",
        (
            "import os, sys; from pathlib import Path; from tamrf_xr.replacing import fresh_files\n"
            "with fresh_files(Path(sys.argv[1]), overwrite=True) as partial:\n"
            "    partial.write_bytes(b'half'); os._exit(9)"
        ),
    )
    image.tamrf.to_raster(path)
    before = path.read_bytes()
    subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, check=False)
    assert path.read_bytes() == before
    assert len(names(tmp_path)) == 3
    image.tamrf.to_raster(path, overwrite=True)
    assert names(tmp_path) == ["a.tif"]

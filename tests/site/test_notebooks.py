"""Notebooks as they lie in the repository, and how they are executed."""

from __future__ import annotations

import re

import nbformat
import pytest

from docsite import execute
from docsite.assemble import ROOT

FOLDER = ROOT / "notebooks"
BOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_the_readme_lists_every_notebook_and_no_other():
    text = (FOLDER / "README.md").read_text()
    assert re.findall(r"^\| \[\w+\]\((.+?)\)", text, re.M) == [path.name for path in BOOKS]
    assert len(BOOKS) == 7


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stripped_and_says_what_it_costs_and_what_is_next(path):
    book = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(book)
    for cell in book.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
    first, last = book.cells[0], book.cells[-1]
    assert (first.cell_type, last.cell_type) == ("markdown", "markdown")
    assert first.source.startswith("# ")
    assert re.search(r"^\*\*Costs\*\* .*memory.*download", first.source, re.M | re.S)
    assert re.search(r"^## Next\n\n- ", last.source, re.M)


def book_of(path, source):
    cells = [nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_a_notebook_is_executed_where_it_lies_and_one_that_fails_is_told(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(execute, "FOLDER", tmp_path)
    book_of(tmp_path / "good.ipynb", "from pathlib import Path\nprint(Path.cwd().name)")
    book_of(tmp_path / "bad.ipynb", "1 / 0")
    (tmp_path / "executed").mkdir()
    (tmp_path / "executed/bad.ipynb").write_text("of an earlier run")
    assert execute.main([]) == 1
    told = capfd.readouterr()
    assert "ZeroDivisionError" in told.err
    assert re.search(
        r"bad\.ipynb +failed\ngood\.ipynb +\d+ s\n2 notebooks in \d+ s, 1 failed", told.out
    )
    assert [path.name for path in (tmp_path / "executed").iterdir()] == ["good.ipynb"]
    (cell,) = nbformat.read(tmp_path / "executed/good.ipynb", as_version=4).cells
    assert cell.outputs[0].text == f"{tmp_path.name}\n"
    assert not nbformat.read(tmp_path / "good.ipynb", as_version=4).cells[0].outputs


def test_bars_that_are_widgets_are_dropped_from_what_is_written():
    widget = nbformat.v4.new_output("display_data", {execute._WIDGET: {}, "text/plain": "0%"})
    picture = nbformat.v4.new_output("display_data", {"image/png": ""})
    cell = nbformat.v4.new_code_cell(outputs=[widget, picture])
    execute._drop_widgets(nbformat.v4.new_notebook(cells=[cell]))
    assert cell.outputs == [picture]


def test_the_catalogue_of_the_notebook_gives_back_the_scene_it_shows(tmp_path):
    """What comes in through the catalogue is the simulated scene, within the steps of its files."""
    import numpy as np

    from notebooks.local_catalogue import serve
    from tamrf_xr.ingest import from_stac
    from tamrf_xr.simulate import SceneConfig, simulate

    left, top = 499_980, 4_830_000
    aoi = {
        "aoi": [left, top - 300, left + 300, top], "crs": "EPSG:32631",
        "start_date": "2022-06-01", "end_date": "2022-06-30",
    }  # fmt: skip
    cube = from_stac(serve(tmp_path, aoi, size_px=30), aoi=aoi).load()
    config = SceneConfig(30, seed=1, sentinel2_revisit_days=10, landsat_revisit_days=16)
    for sensor, step in (("sentinel2", 1e-4), ("landsat", 2.75e-5)):
        true = (
            simulate(config).cube[sensor].to_dataset().sel(time=slice("2022-06-01", "2022-06-30"))
        )
        came = cube[sensor].to_dataset()
        assert np.array_equal(
            came["time"].values.astype("M8[D]"), true["time"].values.astype("M8[D]")
        )
        fine = came["gsd"].values == (10 if sensor == "sentinel2" else 30)
        difference = came["reflectance"].values[:, fine] - true["reflectance"].values[:, fine]
        clear = came["valid"].values
        assert clear.any()
        assert np.nanmax(np.abs(np.where(clear[:, None], difference, np.nan))) <= step
        assert not (clear & ~true["valid"].values).any()

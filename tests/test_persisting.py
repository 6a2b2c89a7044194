"""Products in memory: the same values, each tile made once, and a bar that tells what is done."""

from __future__ import annotations

import re

import dask
import numpy as np
import pytest
import xarray as xr

import tamrf_xr
from tamrf_xr.cube import groups_of
from tamrf_xr.errors import MemoryBudgetError, OptionError
from tamrf_xr.scale import lazy, persisting
from tests.scenes import random_cube, rechunked

HOW = {"method": "linear", "tile": 18, "provenance": True}
DATES = ["2022-01-10", "2022-02-01"]
TILES = 2 * 3
"""Of 36 x 45 pixels."""


@pytest.fixture
def made(monkeypatch):
    """Tiles that are made, one entry a time."""
    seen: list = []
    whole = lazy.fuse_tile

    def fuse_tile(job, index, sources):
        seen.append(index)
        return whole(job, index, sources)

    monkeypatch.setattr(lazy, "fuse_tile", fuse_tile)
    return seen


def last_of(text):
    return re.findall(r"(\d+)/(\d+)", text.replace("\r", "\n"))


@pytest.mark.parametrize("chunked", [False, True])
def test_each_tile_is_made_once_and_counted(made, capsys, chunked):
    cube = random_cube()
    cube = rechunked(cube, time=2, band=-1, y=24, x=24) if chunked else cube
    expected = tamrf_xr.fuse(cube, DATES, **HOW).compute()
    made.clear()
    fused = tamrf_xr.fuse(cube, DATES, **HOW, persist=True)
    assert sorted(made) == sorted(np.ndindex(2, 3))
    counts = last_of(capsys.readouterr().err)
    assert counts[0] == ("0", str(TILES))
    assert counts[-1] == (str(TILES), str(TILES))
    xr.testing.assert_identical(fused.compute(), expected)
    assert len(made) == TILES


def test_a_product_of_one_variable_counts_its_tiles_too(made, capsys):
    cube = random_cube(sensors=("sentinel2",))
    fused = cube.tamrf.fuse(DATES, method="linear", tile=18, sensors="sentinel2", persist=True)
    assert last_of(capsys.readouterr().err)[-1] == (str(TILES), str(TILES))
    assert fused["sentinel2"]["reflectance"].chunks is not None
    assert len(made) == TILES


def test_the_bar_counts_a_tile_when_it_is_done_and_not_before(monkeypatch):
    counts: list = []
    whole = lazy.fuse_tile

    class Bar:
        def __init__(self, total, **_):
            self.total, self.done = total, 0

        def update(self):
            self.done += 1

        def __enter__(self):
            counts.append(self)
            return self

        def __exit__(self, *_):
            pass

    def fuse_tile(job, index, sources):
        made = whole(job, index, sources)
        order.append(counts[0].done)
        return made

    order: list = []
    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    monkeypatch.setattr(lazy, "fuse_tile", fuse_tile)
    with dask.config.set(scheduler="synchronous"):
        tamrf_xr.fuse(random_cube(), DATES, **HOW, persist=True)
    assert order == list(range(TILES))
    assert (counts[0].done, counts[0].total) == (TILES, TILES)


def test_plots_of_it_make_no_tile_again(made):
    import matplotlib as mpl

    fused = random_cube().tamrf.fuse(DATES, **HOW, persist=True, progress=False)
    lazily = random_cube().tamrf.fuse(DATES, **HOW)
    made.clear()
    with mpl.rc_context({"backend": "agg"}):
        fused.tamrf.plot.dates()
        fused.tamrf.plot.series(500_100, 5_000_000)
        assert not made
        assert "<img" in fused.tamrf._repr_html_()
        lazily.tamrf.plot.dates()
        assert len(made) >= TILES
        mpl.pyplot.close("all")


def test_without_progress_nothing_is_shown(capsys):
    random_cube().tamrf.fuse(DATES, **HOW, persist=True, progress=False)
    assert capsys.readouterr().err == ""


def test_what_does_not_fit_is_refused_before_a_tile_is_made(made, monkeypatch):
    monkeypatch.setattr(persisting, "available_memory", lambda: 1000)
    with pytest.raises(MemoryBudgetError, match=r"takes .* GiB and .* are free: .*run_job"):
        random_cube().tamrf.fuse(DATES, **HOW, persist=True)
    assert not made


def test_a_tile_that_fails_is_told(monkeypatch):
    def fail(*_):
        raise OptionError("no such thing")

    monkeypatch.setattr(lazy, "fuse_tile", fail)
    with pytest.raises(OptionError, match="no such thing"):
        random_cube().tamrf.fuse(DATES, **HOW, persist=True, progress=False)


def test_workers_keep_it_and_the_bar_follows_them(capsys):
    from distributed import Client, LocalCluster

    cube = random_cube()
    expected = tamrf_xr.fuse(cube, DATES, **HOW).compute()
    how = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**how) as cluster, Client(cluster):
        fused = cube.tamrf.fuse(DATES, **HOW, persist=True)
        assert last_of(capsys.readouterr().err)[-1] == (str(TILES), str(TILES))
        assert "lazy" in fused.tamrf._repr_html_()
        xr.testing.assert_identical(fused.compute(), expected)
    assert set(groups_of(fused)) == {"sentinel2", "landsat"}

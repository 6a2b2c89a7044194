"""The panchromatic band: where it stands, that it nests, that a tile reads its own part."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tamrf_xr import clip, fuse, open_cube, save_cube, with_panchromatic
from tamrf_xr.cube import grid_of, groups_of, validate
from tamrf_xr.errors import CubeError
from tamrf_xr.fuser import FuserSpec
from tests.fuser_tests import paired_cube, with_sharp
from tests.laid import fuse_lazily

BAND = "landsat/panchromatic"


def band_of(cube) -> xr.DataArray:
    """What was given, on axes y and x."""
    return cube[BAND].rename(y_15m="y", x_15m="x")


def test_the_band_carries_its_own_georeference():
    cube = with_sharp(paired_cube((18, 18)))
    finer = grid_of(groups_of(cube)["landsat"]).zoom(2)
    assert cube[BAND].rio.transform() == finer.transform
    assert cube[BAND].rio.crs == finer.crs
    assert cube["landsat/reflectance"].rio.resolution() == (30.0, -30.0)
    assert cube["landsat"].to_dataset().rio.resolution() == (30.0, -30.0)


def test_it_survives_a_store(tmp_path):
    cube = with_sharp(paired_cube((18, 18)))
    save_cube(cube, tmp_path / "cube.zarr")
    found = open_cube(tmp_path / "cube.zarr")
    np.testing.assert_allclose(found[BAND].values, cube[BAND].values, atol=1e-4)
    assert found[BAND].dtype == np.float32
    assert found[BAND].rio.transform() == cube[BAND].rio.transform()
    assert (
        found["landsat"].to_dataset().rio.transform()
        == grid_of(groups_of(cube)["landsat"]).transform
    )


def test_clip_cuts_it_with_the_rest():
    cube = with_sharp(paired_cube((36, 45)))
    left, bottom, right, top = grid_of(groups_of(cube)["landsat"]).bounds
    small = clip(cube, (left + 60, bottom + 30, right, top - 90))
    np.testing.assert_array_equal(small[BAND].values, cube[BAND].values[:, 6:-2, 4:])
    assert small[BAND].rio.transform() == grid_of(groups_of(small)["landsat"]).zoom(2).transform


def test_days_are_matched_and_what_is_not_there_is_no_data():
    cube = paired_cube((18, 18))
    band = band_of(with_sharp(cube))
    days = band["time"].values
    shuffled = band.isel(time=[3, 0]).assign_coords(time=days[[3, 0]] + np.timedelta64(3, "h"))
    made = with_panchromatic(cube, shuffled)[BAND].values
    np.testing.assert_array_equal(made[[0, 3]], band.values[[0, 3]])
    assert np.isnan(made[[1, 2, 4]]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.assign_coords(x=b["x"] + 7.5), "does not nest 2 to 1"),
        (lambda b: b[..., :-1], "does not nest 2 to 1"),
        (lambda b: b.isel(time=0), "lacks time"),
        (lambda b: b.assign_coords(time=b["time"] + np.timedelta64(1, "D")), "none of the 5 days"),
        (lambda b: b.isel(time=[0, 0]), "twice"),
    ],
)
def test_a_band_that_does_not_fit_is_refused(change, message):
    cube = paired_cube((18, 18))
    with pytest.raises(CubeError, match=message):
        with_panchromatic(cube, change(band_of(with_sharp(cube))))


def test_a_cube_without_landsat_is_refused():
    cube = paired_cube((18, 18))
    alone = paired_cube((18, 18), days={"sentinel2": (0, 5)})
    with pytest.raises(CubeError, match="belongs to /landsat"):
        with_panchromatic(alone, band_of(with_sharp(cube)))


def test_wrong_axes_are_an_error_of_the_cube():
    cube = with_sharp(paired_cube((18, 18)))
    cube["landsat"] = cube["landsat"].to_dataset().transpose("x_15m", ...)
    with pytest.raises(CubeError, match="panchromatic has dimensions"):
        validate(cube)


class Means:
    """Gives the mean of the 2 x 2 panchromatic pixels of each 30 m pixel, at every query."""

    def __init__(self, makes):
        self._makes = makes

    def __call__(self, series, episodes, crop):
        sharp = series["landsat"].panchromatic
        blocks = sharp.reshape(len(sharp), sharp.shape[1] // 2, 2, -1, 2).mean((2, 4))
        rows, cols = crop.within("landsat")
        fine = blocks.repeat(3, 1).repeat(3, 2)[:, None, rows, cols]
        return {"landsat": fine.astype(np.float32)}


@settings(max_examples=8)
@given(tile=st.integers(3, 40), chunk=st.sampled_from([0, 4, 9]), halo=st.integers(0, 2))
def test_a_tile_reads_its_own_part(tile, chunk, halo):
    cube = with_sharp(paired_cube((36, 45)))
    sharp = cube[BAND].values
    if chunk:
        cube = xr.DataTree.from_dict(
            {
                f"/{name}": group.chunk({d: chunk for d in group.dims if d[0] in "yx"})
                for name, group in groups_of(cube).items()
            }
        )
    spec = FuserSpec(
        method="means",
        factory="tests.test_panchromatic:Means",
        makes=(("landsat", ("B02",)),),
        halo=(("landsat", halo),),
        panchromatic=True,
    )
    days = pd.DatetimeIndex(cube["landsat"]["time"].values)
    made = fuse_lazily(cube, spec, days, tile=tile)["landsat/reflectance"].values[:, 0]
    blocks = sharp.reshape(len(sharp), 12, 2, 15, 2).mean((2, 4))
    np.testing.assert_allclose(made, blocks.repeat(3, 1).repeat(3, 2), rtol=1e-6)


def test_images_of_one_day_are_one_in_the_band_too():
    cube = with_sharp(paired_cube((18, 18)))
    group = groups_of(cube)["landsat"]
    twice = xr.concat([group, group.isel(time=[1])], "time", data_vars="minimal")
    twice["panchromatic"] = twice["panchromatic"].copy(data=twice["panchromatic"].values)
    twice["panchromatic"].values[-1] += 1
    tree = xr.DataTree.from_dict({"/sentinel2": groups_of(cube)["sentinel2"], "/landsat": twice})
    spec = FuserSpec(
        "means", "tests.test_panchromatic:Means", (("landsat", ("B02",)),), panchromatic=True
    )
    days = pd.DatetimeIndex(group["time"].values)
    one, other = (
        fuse_lazily(c, spec, days, tile=18)["landsat/reflectance"].values for c in (cube, tree)
    )
    # Alike but for the band: the first is taken throughout.
    np.testing.assert_array_equal(one, other)


def test_methods_that_ignore_it_give_the_same_with_it_and_do_not_read_it(monkeypatch):
    from tamrf_xr.scale import reading

    cube = paired_cube((18, 18))
    read = []
    kept = reading.Stored.read
    monkeypatch.setattr(
        reading.Stored, "read", lambda s, *a: read.append(s.variable.dims) or kept(s, *a)
    )
    one, other = (
        fuse(c, "2022-03-15", method="linear")["landsat/reflectance"].values
        for c in (cube, with_sharp(cube))
    )
    np.testing.assert_array_equal(one, other)
    assert read
    assert not any("y_15m" in dims for dims in read)

"""Beyond the scene: nothing, as published, or the scene mirrored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tamrf_xr.cube import build_cube, build_group, fine_grid, groups_of
from tamrf_xr.errors import OptionError
from tamrf_xr.fusion import bands_of
from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.model.checkpoint import load_model, save_model
from tamrf_xr.simulate import draw_config, simulate
from tests.scenes import grid, random_cube
from tests.test_levels import network

SMALL = Path(__file__).parents[1] / "data" / "oracle_small"
DATES = ["2022-01-08", "2022-01-21"]
VARIABLES = ("sentinel2/reflectance", "landsat/reflectance", "landsat/surface_temperature")


@pytest.fixture(scope="module")
def small():
    return load_model(SMALL / "checkpoint.ckpt", SMALL / "config_composed.yaml")


def mirrored(cube: xr.DataTree, by: int) -> xr.DataTree:
    """The cube in the middle of a larger one, which continues it by `by` pixels of 10 m."""
    shape = tuple(size + 2 * by for size in fine_grid(cube).shape)
    groups = {}
    for name, group in groups_of(cube).items():
        ratio = 3 if name == "landsat" else 1
        wide = [(0, 0)] * 2 + [(by // ratio, by // ratio)] * 2
        pads = {v: np.pad(group[v], wide[-group[v].ndim :], "symmetric") for v in group.data_vars}
        groups[name] = build_group(
            name,
            pads.pop("reflectance"),
            times=group.time.values,
            grid=grid(tuple(size // ratio for size in shape), gsd=10.0 * ratio),
            **{name: pads[name] for name in ("valid", "surface_temperature") if name in pads},
        )
    return build_cube(groups)


@pytest.mark.parametrize("knows_days", [False, True])
def test_it_is_the_scene_continued_by_hand(small, knows_days):
    cube, by, model = random_cube((36, 45), nan=0.05), 60, network() if knows_days else small
    found = cube.tamrf.fuse(DATES, model=model, method_options={"border": "mirror"}).load()
    large = mirrored(cube, by).tamrf.fuse(DATES, model=model, method_options={"border": "zeros"})
    large.load()
    for path in VARIABLES:
        expected = large[path].values[..., by:-by, by:-by]
        np.testing.assert_allclose(found[path], expected, atol=5e-6 if "refl" in path else 2e-3)


@pytest.mark.parametrize("tile", [12, 30])
def test_any_tiling_gives_the_same(small, tile):
    """Tiles, too, that lie nearer to the border than the halo reaches, and do not touch it."""
    cube = random_cube((60, 45), hr=2, lr=2)
    options = {"model": small, "method_options": {"border": "mirror"}}
    whole, tiled = (cube.tamrf.fuse(DATES, tile=edge, **options).load() for edge in (1000, tile))
    for path in VARIABLES:
        atol = 2e-6 if "refl" in path else 2e-3
        np.testing.assert_allclose(tiled[path], whole[path], atol=atol)


def test_a_scene_that_is_the_same_everywhere_stays_so(small):
    cube = random_cube((36, 45))
    flat = build_cube(
        {
            name: group.isel(y=[7] * group.sizes["y"], x=[7] * group.sizes["x"]).assign_coords(
                y=group.y, x=group.x
            )
            for name, group in groups_of(cube).items()
        }
    )
    spread = {}
    for border in ("mirror", "zeros"):
        made = flat.tamrf.fuse(DATES, model=small, method_options={"border": border})
        pixels = made["sentinel2/reflectance"].values
        spread[border] = float(np.ptp(pixels, axis=(2, 3)).max())
    assert spread["mirror"] < 1e-5
    assert spread["zeros"] > 1e-3


def test_who_was_trained_here_sees_it_mirrored(small, tmp_path):
    trained, converted = tmp_path / "trained.safetensors", tmp_path / "converted.safetensors"
    save_model(small, trained, metadata={"training": {"data": {}}})
    save_model(small, converted)
    given = bands_of(random_cube())

    def border(model: object, asked: str = "auto") -> object:
        request = Request(given, model=model, options={"border": asked}, device="cpu")
        return dict(plan_method("tamrf", request).provenance)["border"]

    for model, taken in (("default", "mirror"), (trained, "mirror"), (converted, "zeros")):
        assert border(model) == taken
    assert border(small) == "zeros"
    assert border("default", "zeros") == "zeros"
    with pytest.raises(OptionError, match="border must be one of auto, zeros, mirror, got 'wrap'"):
        border("default", "wrap")


def ring(error: np.ndarray, place: int) -> np.ndarray:
    """The pixels that lie `place` from the border, flat."""
    inner = error[..., place : error.shape[-2] - place, place : error.shape[-1] - place]
    sides = inner[..., 0, :], inner[..., -1, :], inner[..., 1:-1, 0], inner[..., 1:-1, -1]
    return np.concatenate(sides, axis=-1)


def rings(error: np.ndarray) -> list[float]:
    """RMS of the three outermost rings."""
    return [float(np.sqrt((ring(error, place) ** 2).mean())) for place in range(3)]


def test_the_border_of_a_cut_is_near_what_the_whole_scene_gives():
    """Of the default weights, whose patches had no border: with zeros there is a frame."""
    seldom = {"sentinel2_revisit_days": 20, "landsat_revisit_days": 32}
    simulated = simulate(draw_config(9_000_001, size_px=90, year=2022, **seldom))
    scene = simulated.cube
    part = build_cube(
        {
            name: group.isel({axis: slice(21 // r, 69 // r) for axis in "yx"})
            for name, group in groups_of(scene).items()
            for r in [3 if name == "landsat" else 1]
        }
    )
    dates = ["2022-04-29", "2022-07-02"]
    far = {"border": "zeros"}  # of the whole scene, farther off than its halo: not mirrored for it
    whole, truth = (
        one.isel(y=slice(21, 69), x=slice(21, 69))
        for one in (scene.tamrf.fuse(dates, method_options=far).compute(), simulated.truth(dates))
    )
    mirrored, zeros = (
        part.tamrf.fuse(dates, method_options={"border": border}).compute()
        for border in ("auto", "zeros")
    )
    for path, most in ((VARIABLES[2], 1.0), (VARIABLES[0], 0.01)):
        off = rings(mirrored[path].values - whole[path].values)
        assert max(off) < most
        assert off[0] < rings(zeros[path].values - whole[path].values)[0] / 2
    kelvin = mirrored[VARIABLES[2]].values - truth[VARIABLES[2]].values
    inside = float(np.sqrt((kelvin[..., 6:-6, 6:-6] ** 2).mean()))
    assert max(rings(kelvin)) < inside + 0.5

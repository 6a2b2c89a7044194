"""Pixels of which a date has nothing: clouds cut out, edges of swaths. Nobody attends to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from tamrf_xr.cube import build_cube, groups_of
from tamrf_xr.errors import OptionError
from tamrf_xr.fusion import bands_of
from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.model.attend import mark
from tamrf_xr.model.checkpoint import load_model
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.levels import joined
from tamrf_xr.model.network import Tamrf
from tamrf_xr.simulate import draw_config, simulate
from tests.scenes import random_cube
from tests.test_levels import network

SMALL = Path(__file__).parents[1] / "data" / "oracle_small"
DATES = ["2022-01-08", "2022-01-21"]
VARIABLES = ("sentinel2/reflectance", "landsat/reflectance", "landsat/surface_temperature")
SKIP = {"gaps": "skip"}


def close(found: xr.DataTree, wanted: xr.DataTree, times: float = 1) -> None:
    found, wanted = found.compute(), wanted.compute()  # variables at once
    for path in VARIABLES:
        atol = times * (2e-6 if "refl" in path else 2e-3)
        np.testing.assert_allclose(found[path], wanted[path], atol=atol)


def cut(cube: xr.DataTree, gone: dict[str, np.ndarray]) -> xr.DataTree:
    """The cube without the pixels (time, y, x) that are gone, per sensor."""
    groups = {}
    for name, group in groups_of(cube).items():
        there = xr.DataArray(~gone[name], dims=("time", "y", "x"))
        found = {
            v: group[v].where(there) for v in ("reflectance", "surface_temperature") if v in group
        }
        groups[name] = group.assign(found)
    return build_cube(groups)


def blobs(cube: xr.DataTree, seed: int) -> dict[str, np.ndarray]:
    """Rectangles that some dates did not see, of the same ground in no other."""
    rng = np.random.default_rng(seed)
    gone = {}
    for name, group in groups_of(cube).items():
        shape = tuple(group.sizes[axis] for axis in ("time", "y", "x"))
        gone[name] = np.zeros(shape, bool)
        for date in gone[name][:-1]:
            top, left = (int(rng.integers(size)) for size in shape[1:])
            date[top : top + shape[1] // 2, left : left + shape[2] // 2] = True
    return gone


@pytest.mark.parametrize("knows_days", [False, True])
def test_the_engine_is_the_plain_network_with_these_dates_masked(knows_days):
    """Pixel by pixel, by PyTorch's own masks of keys."""
    model, draw = network(knows_days=knows_days), torch.Generator().manual_seed(0)
    lr_days, hr_days, asked = [3.0, 40.0, 41.0], [0.0, 20.0, 55.0, 200.0], [10.0, 70.0]
    lr, hr = torch.randn(3, 8, 4, 4, generator=draw), torch.randn(4, 10, 12, 12, generator=draw)
    engine = Engine(model)
    features = {
        "lr": joined(engine.encode_lr(lr), engine.measured("lr", lr)),
        "hr": joined(engine.encode_hr(hr), engine.measured("hr", hr)),
    }
    absent = {n: torch.rand(f.shape[:3], generator=draw) < 0.5 for n, f in features.items()}
    for maps in absent.values():
        maps[:, 5, 5] = True  # of one pixel there is nothing
    absent["lr"][:, 7, 2] = True  # of one, nothing of Landsat
    absent["hr"][1, 7, 2] = False
    for name, maps in features.items():
        features[name] = mark(maps.clone(), absent[name])
    given = {"lr": (features["lr"], lr_days), "hr": (features["hr"], hr_days)}
    attended = engine.attend(given, asked)
    expected = plain(model, (lr, hr), (lr_days, hr_days, asked), (absent["lr"], absent["hr"]))
    known = ~torch.cat(list(absent.values())).all(dim=0)
    found = attended[..., : model.config.width].permute(0, 3, 1, 2)
    torch.testing.assert_close(found[..., known], expected[..., known], atol=1e-5, rtol=1e-5)
    assert attended.isfinite().all()
    if knows_days:
        for part in engine.drawing.parts:
            told = attended[..., model.config.width :][..., part.at]
            assert (told[:, 7, 2] == 0).all() == (part.stream == "lr")
            assert (told[:, 5, 5] == 0).all()
            assert (told[:, 0, 0] != 0).any()


@torch.no_grad()
def plain(model: Tamrf, images, days, absent) -> torch.Tensor:
    """Attended maps (Q, D, H, W)."""
    lr_days, hr_days, asked = (torch.tensor(part)[None] for part in days)
    tokens = model.tokens(images[0][None], lr_days, images[1][None], hr_days)[0]
    hidden = torch.cat(absent).permute(1, 2, 0).flatten(0, 1)
    hidden = hidden & ~hidden.all(dim=1, keepdim=True)
    encoded = model.transform(tokens.permute(2, 3, 0, 1).flatten(0, 1), hidden)
    query = model.queries(asked).expand(len(encoded), -1, -1)
    found = model.decoder(query, encoded, hidden)  # (P, Q, D)
    return found.permute(1, 2, 0).unflatten(-1, tokens.shape[-2:])


@pytest.mark.parametrize("border", ["zeros", "mirror"])
def test_dates_that_saw_nothing_change_nothing(border):
    cube, model = random_cube((24, 30), hr=3, lr=4, seed=1), network()
    options = {"model": model, "method_options": {**SKIP, "border": border}}
    wanted = cube.tamrf.fuse(DATES, **options)
    gone = {
        n: np.zeros((g.sizes["time"], g.sizes["y"], g.sizes["x"]), bool)
        for n, g in groups_of(cube).items()
    }
    emptied = {}
    for name, group in groups_of(cube).items():
        gone[name][0] = True
        emptied[name] = group.isel(time=slice(1, None))
    close(
        cut(cube, gone).tamrf.fuse(DATES, **options),
        build_cube(emptied).tamrf.fuse(DATES, **options),
    )
    with pytest.raises(AssertionError):
        close(wanted, build_cube(emptied).tamrf.fuse(DATES, **options))


@pytest.mark.parametrize("tile", [9, 15])
def test_any_tile_gives_the_same(tile):
    cube = random_cube((36, 45), hr=3, lr=4, seed=2)
    holed = cut(cube, blobs(cube, 0))
    options = {"model": network(), "method_options": {**SKIP, "border": "mirror"}}
    close(*(holed.tamrf.fuse(DATES, tile=edge, **options) for edge in (tile, 90)))


def test_a_latent_knows_what_was_not_seen():
    cube, model = random_cube((24, 30), hr=3, lr=4, seed=3, nan=0.02), network()
    holed = cut(cube, blobs(cube, 1))
    wanted = holed.tamrf.fuse(DATES, model=model, method_options=SKIP)
    for dtype, times in (("float32", 1), ("int8", 4e4)):
        latent = holed.tamrf.encode(model=model, dtype=dtype, tile=12, gaps="skip").load()
        before = latent["latent/tokens"].copy(deep=True)
        for tile in (15, 90):
            close(latent.tamrf.decode(DATES, model=model, tile=tile), wanted, times)
            np.testing.assert_array_equal(latent["latent/tokens"], before)


def test_published_weights_see_the_mean_as_published_and_ours_skip():
    given, small = (
        bands_of(random_cube()),
        load_model(SMALL / "checkpoint.ckpt", SMALL / "config_composed.yaml"),
    )
    for model, asked, taken in (
        ("default", "auto", "skip"), ("default", "mean", "mean"),
        (small, "auto", "mean"), (small, "skip", "skip"),
    ):  # fmt: skip
        spec = plan_method(
            "tamrf", Request(given, model=model, options={"gaps": asked}, device="cpu")
        )
        assert dict(spec.provenance).get("gaps", "mean") == taken
    with pytest.raises(OptionError, match="gaps must be one of auto, mean, skip, got 'fill'"):
        plan_method(
            "tamrf", Request(given, model="default", options={"gaps": "fill"}, device="cpu")
        )


def test_clouds_cut_out_cost_the_default_weights_nothing():
    """Of simulated land, against truth: as good as with clouds as they are, as in training."""
    seldom = {"sentinel2_revisit_days": 30, "landsat_revisit_days": 24}
    scene = simulate(draw_config(9_300_004, biome="any", size_px=30, **seldom))
    gone = {name: ~group["valid"].values for name, group in groups_of(scene.cube).items()}
    masked = cut(scene.cube, gone)
    dates = [f"{scene.config.year}-{month:02}-11" for month in (4, 7, 10)]
    truth = scene.truth(dates)[VARIABLES[0]].values

    def rms(cube: xr.DataTree, gaps: str) -> float:
        made = cube.tamrf.fuse(dates, sensors=["sentinel2"], method_options={"gaps": gaps})
        return float(np.sqrt(np.nanmean((made[VARIABLES[0]].values - truth) ** 2)))

    whole, skipped, averaged = rms(scene.cube, "auto"), rms(masked, "auto"), rms(masked, "mean")
    assert skipped < 1.1 * whole
    assert averaged > 1.5 * skipped

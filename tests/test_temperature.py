"""The temperature of days: computed as stated, alike in every product, learnt from what is held."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tamrf_xr
from tamrf_xr.errors import CubeError, ModelError
from tamrf_xr.model import footprint
from tamrf_xr.model.checkpoint import metadata_of, model_bytes, model_from_bytes
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.temperature import AVERAGED, MONTH, TemperatureHead, averaged, moved_by
from tamrf_xr.simulate import draw_config, simulate
from tamrf_xr.training.config import DataConfig
from tamrf_xr.training.temperature import Fit, fit_temperature
from tamrf_xr.training.temperature import main as fit
from tests.scenes import random_cube

DATES = ("2022-01-14", "2022-02-02")
TINY = NetworkConfig(
    latent=8, growth=4, positional=8, sensor_token=4, num_layers=1, num_heads=2, decoder_heads=2,
    feedforward=16, decoder_feedforward=16,
)  # fmt: skip
THERMAL = TINY.lr_bands - 1


def network(*, knows_days: bool = True) -> Tamrf:
    model = Tamrf(TINY, generator=torch.Generator().manual_seed(3)).eval()
    if knows_days:
        torch.manual_seed(4)  # noqa: TID251
        model.temperature = TemperatureHead(TINY.width, TINY.latent, sizes=(5, 3, 7)).eval()
    return model


@pytest.fixture(scope="module")
def cube():
    return random_cube((24, 30), hr=3, lr=4, seed=1, nan=0.1)


def test_levels_are_lines_fitted_to_clear_dates_by_weighted_least_squares():
    """Where a gate takes the line alone, it is what a solver of least squares finds."""
    torch.manual_seed(0)  # noqa: TID251
    head = TemperatureHead(TINY.width, TINY.latent, (9.0,)).double()
    features = torch.rand(5, 6, TINY.latent).double()
    encoded, attended = torch.randn(5, 6, TINY.width).double(), torch.randn(2, 5, TINY.width)
    days, asked = torch.tensor([3.0, 10, 40, 41, 90, 130]), torch.tensor([20.0, 100.0])
    with torch.no_grad():
        head.gate2.weight.zero_()
        head.gate2.bias.copy_(torch.tensor([0.0, 1.0]))
        head.log_slack.fill_(np.log(0.2))
        seen = head.seen(features, encoded)
        share, offset = head(seen, attended.double(), head.moments(days, asked)).unbind(-1)
        clear = (seen[..., 0] * head.log_scale.exp()).exp().numpy()
        values = seen[..., 1].numpy()
    assert share == pytest.approx(1)
    for p in range(5):
        for q, day in enumerate(asked.tolist()):
            apart = (days.numpy() - day) / MONTH
            weight = clear[p] * np.exp(-np.abs(apart) * MONTH / 9.0)
            weight = weight / weight.sum()
            middle = (weight * apart).sum()
            # The slope is held back as by an observation of no slope, at 0.2 of spread.
            rows = np.stack([np.ones(6), apart - middle], axis=1) * weight[:, None] ** 0.5
            rows = np.vstack([rows, [0, 0.2**0.5]])
            found, *_ = np.linalg.lstsq(rows, np.append(values[p] * weight**0.5, 0), rcond=None)
            assert float(offset[q, p]) == pytest.approx(found[0] - middle * found[1], rel=1e-6)


def test_what_it_is_moved_by_is_the_mean_of_the_pixels_around_that_there_are():
    draw = torch.Generator().manual_seed(0)
    told, kelvin = torch.rand(2, 3, 18, 25, 2, generator=draw), torch.rand(2, 3, 18, 25)
    told[:, :, :9, :9] = 0.0  # where no date of Landsat saw the pixel
    each = told[..., 1] - told[..., 0] * kelvin
    found = averaged(moved_by(kelvin, told))
    for y, x in ((0, 24), (3, 24), (7, 10), (9, 8), (17, 8)):
        rows, cols = (slice(max(at - AVERAGED, 0), at + AVERAGED + 1) for at in (y, x))
        near, says = each[:, :, rows, cols], told[:, :, rows, cols].ne(0).any(dim=-1)
        wanted = near.sum(dim=(2, 3)) / says.sum(dim=(2, 3))
        torch.testing.assert_close(found[:, :, y, x], wanted, atol=1e-6, rtol=0)
    assert (found[:, :, :5, :5] == 0).all()


def test_a_date_far_beyond_all_reaches_still_tells_a_level():
    """Where the nearest date did not see the pixel: weights are of the nearest date of all."""
    head = TemperatureHead(TINY.width, TINY.latent)
    seen = torch.tensor([[[1.0, 0.3], [2.0, -0.4], [-torch.inf, 0.0]], [[-torch.inf, 0.0]] * 3])
    days, asked = torch.tensor([0.0, 8.0, 1480.0]), torch.tensor([1481.0])
    with torch.no_grad():
        head.gate2.weight.zero_()
        head.gate2.bias.copy_(torch.tensor([1.0, 0, 0, 0, 0, 0]))  # the mean of the shortest
        share, offset = head(seen, torch.zeros(1, 2, TINY.width), head.moments(days, asked)).unbind(
            -1
        )
    assert share.tolist() == [[1.0, 0.0]]
    weights = np.exp([1.0, 2.0 + 8 / 60])  # of the longest, 60 days
    assert float(offset[0, 0]) == pytest.approx((weights @ [0.3, -0.4]) / weights.sum(), rel=1e-4)
    assert float(offset[0, 1]) == 0


def test_fine_detail_stays_what_the_decoder_made_of_it(cube, monkeypatch):
    """From one pixel to the next, a mean over 7 differs by a seventh of the range at most."""
    made, alone = (plain(cube, network(knows_days=knows))[:, THERMAL] for knows in (True, False))
    monkeypatch.setattr("tamrf_xr.model.network.averaged", lambda by: by[..., 0, :, :])
    by_pixel = plain(cube, network())[:, THERMAL] - alone
    steps = [np.abs(np.diff(moved, axis=1)).max() for moved in (made - alone, by_pixel)]
    assert steps[0] < np.ptp(by_pixel) / (2 * AVERAGED + 1)
    assert steps[0] < steps[1] / 2


def test_strips_of_rows_give_what_the_whole_gives(cube, monkeypatch):
    lst, made = "landsat/surface_temperature", []
    for rows in (1000, 5):
        monkeypatch.setattr(footprint, "strip_rows", lambda *_, rows=rows, **__: rows)
        made.append(cube.tamrf.fuse(DATES, model=network())[lst].values)
    np.testing.assert_allclose(*made, atol=1e-3)  # K


@pytest.mark.parametrize("tile", [6, 9, 15])
def test_any_tile_gives_the_same_where_the_scene_is_mirrored(cube, tile):
    lst, options = "landsat/surface_temperature", {"method_options": {"border": "mirror"}}
    whole, tiled = (
        cube.tamrf.fuse(DATES, model=network(), tile=edge, **options)[lst] for edge in (90, tile)
    )
    np.testing.assert_allclose(tiled, whole, atol=2e-3)


@settings(max_examples=4)
@given(tile=st.sampled_from([9, 12, 30]))
def test_products_are_those_of_the_plain_network_whatever_the_tile(cube, tile):
    model = network()
    made = cube.tamrf.fuse(
        DATES, model=model, tile=tile, precision="float32", method_options={"border": "zeros"}
    )
    wanted = plain(cube, model)
    kelvin = made["landsat/surface_temperature"].values
    np.testing.assert_allclose(kelvin, 1000 * wanted[:, THERMAL], atol=2e-3)
    assert np.abs(kelvin - 1000 * plain(cube, network(knows_days=False))[:, THERMAL]).max() > 0.1
    np.testing.assert_allclose(made["sentinel2/reflectance"], wanted[:, 8:], atol=2e-5)


def plain(cube, model: Tamrf) -> np.ndarray:
    """Bands (query, band, y, x) by the plain network on the whole image, zeros beyond it."""
    found, days = {}, {}
    for name, stream in (("landsat", "lr"), ("sentinel2", "hr")):
        group = cube[name].to_dataset()
        pixels = group["reflectance"].values
        if name == "landsat":
            thermal = group["surface_temperature"].values[:, None] / 1000
            pixels = np.concatenate([pixels, thermal], axis=1)
        x = torch.from_numpy(pixels.astype(np.float32))
        missing = x.isnan()
        found[stream] = model.standardise(x, stream).masked_fill(missing, 0.0)[None]
        days[stream] = since(group["time"].values)
    with torch.no_grad():
        asked = since(np.array(DATES, "M8[ns]"))
        bands = model(found["lr"], days["lr"], found["hr"], days["hr"], query_days=asked)
        return model.destandardise(bands)[0].numpy()


def since(times: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(times.astype("M8[D]").astype(float) - 18993)[None]  # 2022-01-01


def test_other_bands_are_the_same_to_the_bit_and_it_needs_none_of_them(cube):
    with_days, without = (
        cube.tamrf.fuse(DATES, model=network(knows_days=knows)) for knows in (True, False)
    )
    for name in ("sentinel2", "landsat"):
        np.testing.assert_array_equal(
            with_days[f"{name}/reflectance"], without[f"{name}/reflectance"]
        )
    some = cube.tamrf.fuse(DATES, model=network(), bands=["LST", "B04"])
    lst = "landsat/surface_temperature"
    np.testing.assert_allclose(some[lst], with_days[lst], atol=1e-3)  # K


@pytest.mark.parametrize("border", ["zeros", "mirror"])
@pytest.mark.parametrize(("dtype", "kelvin"), [("float32", 2e-3), ("bfloat16", 0.5), ("int8", 1.5)])
def test_a_latent_knows_days_too(cube, dtype, kelvin, border):
    model = network()
    latent = cube.tamrf.encode(model=model, dtype=dtype, tile=12, border=border)
    made = latent.tamrf.decode(DATES, model=model, tile=9)
    wanted = cube.tamrf.fuse(DATES, model=model, method_options={"border": border})
    lst = "landsat/surface_temperature"
    np.testing.assert_allclose(made[lst], wanted[lst], atol=kelvin)


def test_a_latent_of_sentinel2_alone_is_drawn_to_nothing(cube):
    alone = tamrf_xr.cube.build_cube({"sentinel2": cube["sentinel2"].to_dataset()})
    latent = alone.tamrf.encode(model=network(), dtype="float32")
    lst = "landsat/surface_temperature"
    made = latent.tamrf.decode(DATES, model=network())[lst]
    np.testing.assert_allclose(made, alone.tamrf.fuse(DATES, model=network())[lst], atol=2e-3)
    plain = alone.tamrf.fuse(DATES, model=network(knows_days=False))[lst]
    np.testing.assert_allclose(made, plain, atol=2e-3)


@pytest.mark.parametrize("lr", [None, 0])
def test_without_landsat_nothing_is_drawn(lr):
    hr, days = torch.randn(1, 3, 10, 9, 9), torch.tensor([[1.0, 20.0, 50.0]])
    given = (None, None) if lr is None else (torch.zeros(1, 0, 8, 3, 3), torch.zeros(1, 0))
    made = []
    for model in (network(), network(knows_days=False)):
        with torch.no_grad():
            bands = model(*given, hr, days, query_days=days)
        made.append(bands)
        fast = Engine(model).predict(
            None if lr is None else given[0][0], None if lr is None else given[1][0],
            hr[0], days[0], query_days=days[0],
        )  # fmt: skip
        torch.testing.assert_close(fast, model.destandardise(bands)[0], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(*made, rtol=0, atol=0)


def test_series_of_a_batch_are_drawn_each_by_its_own_days():
    model, draw = network(), torch.Generator().manual_seed(0)
    lr, hr = torch.randn(2, 3, 8, 3, 3, generator=draw), torch.randn(2, 2, 10, 9, 9, generator=draw)
    lr_days, hr_days = torch.rand(2, 3) * 300, torch.rand(2, 2) * 300
    asked = torch.tensor([[5.0, 90.0], [200.0, 30.0]])
    with torch.no_grad():
        both = model(lr, lr_days, hr, hr_days, query_days=asked)
        for i in range(2):
            one = slice(i, i + 1)
            alone = model(lr[one], lr_days[one], hr[one], hr_days[one], query_days=asked[one])
            torch.testing.assert_close(both[one], alone, atol=1e-5, rtol=1e-5)


def test_weights_keep_it_adapted_ones_too_and_damage_is_told():
    model = network()
    loaded = model_from_bytes(model_bytes(model))
    for name, values in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], values)
    assert model_from_bytes(model_bytes(network(knows_days=False))).temperature is None
    large = random_cube((24, 24), hr=8, lr=7, seed=1)
    how = {"steps": 1, "held_back": 0.0, "simulated": 0.0, "progress": False}
    adapted = large.tamrf.adapt(model=model, **how)
    assert not torch.equal(adapted.out1.weight, model.out1.weight)
    assert torch.equal(adapted.temperature.gate1.weight, model.temperature.gate1.weight)
    model.temperature.log_reach = torch.nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(ModelError, match=r"temperature\.log_reach is of shape \(2, 2\)"):
        model_from_bytes(model_bytes(model))
    del model.temperature.log_reach
    with pytest.raises(ModelError, match=r"temperature\.log_reach is not there"):
        model_from_bytes(model_bytes(model))


@pytest.fixture(scope="module")
def scenes():
    fixed = {"size_px": 36, "year": 2022, "sentinel2_revisit_days": 20, "landsat_revisit_days": 8}
    return [simulate(draw_config(seed, **fixed)).cube for seed in range(5)]


DATA = DataConfig(patch_m=240, stride_m=60, dates=60, validation_share=0.2)
QUICK = Fit(samples=24, checked=8, pixels=6, steps=120, batch=6)


def test_what_is_fitted_is_nearer_at_places_it_was_not_fitted_on_and_no_weight_changes(scenes):
    model = network(knows_days=False)
    fitted, checked = fit_temperature(model, scenes, QUICK, data=DATA)
    assert model.temperature is None
    for name, values in model.state_dict().items():
        assert torch.equal(fitted.state_dict()[name], values)
    assert checked.after < 0.7 * checked.before
    again, same = fit_temperature(fitted, scenes, QUICK, data=DATA)
    assert same == checked
    for name, values in fitted.state_dict().items():
        assert torch.equal(again.state_dict()[name], values)


def test_without_a_temperature_there_is_nothing_to_fit():
    cubes = [random_cube((24, 24), hr=12, lr=10, seed=seed) for seed in range(2)]
    blind = [
        tamrf_xr.cube.build_cube({
            "sentinel2": one["sentinel2"].to_dataset(),
            "landsat": one["landsat"].to_dataset().assign(
                surface_temperature=one["landsat"]["surface_temperature"] * np.nan
            ),
        })
        for one in cubes
    ]  # fmt: skip
    data = DataConfig(patch_m=240, dates=16, validation_share=0.0)
    with pytest.raises(CubeError, match="no clear temperature was held back"):
        fit_temperature(network(knows_days=False), blind, QUICK, data=data)


def test_fitting_by_command_keeps_what_is_known_of_the_weights(tmp_path):
    for seed in range(3):
        cube = random_cube((48, 48), hr=12, lr=10, seed=seed)
        tamrf_xr.save_cube(cube, tmp_path / f"c{seed}.zarr")
    weights = tamrf_xr.save_model(
        network(knows_days=False), tmp_path / "m.safetensors", metadata={"training": {"seed": 7}}
    )
    out = tmp_path / "out.safetensors"
    words = [str(weights), str(tmp_path / "c*.zarr"), str(out), "--samples", "4"]
    fit([*words, "--checked", "3", "--steps", "3"])
    told = metadata_of(out.read_bytes())
    assert told["training"] == {"seed": 7}
    assert told["temperature"]["cubes"] == 3
    assert tamrf_xr.load_model(out).temperature is not None

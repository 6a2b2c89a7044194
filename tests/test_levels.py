"""Levels of days: computed as stated, alike in every product, learnt from what is held back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tamrf_xr
from tamrf_xr.cube import groups_of
from tamrf_xr.errors import CubeError, ModelError, OptionError
from tamrf_xr.methods.tamrf import _unseen
from tamrf_xr.model import footprint
from tamrf_xr.model.checkpoint import metadata_of, model_bytes, model_from_bytes
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.engine import Engine
from tamrf_xr.model.levels import (
    AVERAGED,
    BETTER,
    ENOUGH,
    HEADS,
    LENIENT,
    MONTH,
    NEAR,
    NEARER,
    OTHER,
    REACH,
    SHARE,
    SLACK,
    SLACK_R,
    TEMPERATURE,
    WORSE,
    JoinedHead,
    ReflectanceHead,
    TemperatureHead,
    channels_of,
    least,
    measured,
    moved,
    parts_of,
    seen,
)
from tamrf_xr.model.network import Tamrf
from tamrf_xr.simulate import draw_config, simulate
from tamrf_xr.training.config import DataConfig
from tamrf_xr.training.data import Patch
from tamrf_xr.training.levels import Fit, _changes, _know_the_other, _line, _Windows, fit_levels
from tamrf_xr.training.levels import main as fit
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
        model.temperature = TemperatureHead(TINY.width, sizes=(5, 3, 7)).eval()
        model.levels_lr = ReflectanceHead(TINY.width, clear=5).eval()
        model.levels_hr = JoinedHead(TINY.width, (7, 10), clear=6).eval()
        torch.nn.init.normal_(model.levels_hr.slopes, std=0.3)
    return model


@pytest.fixture(scope="module")
def cube():
    return random_cube((24, 30), hr=3, lr=4, seed=1, nan=0.1)


@pytest.fixture(scope="module")
def told():
    """Days, queries, values and tokens of five pixels."""
    draw = torch.Generator().manual_seed(0)
    days, asked = torch.tensor([3.0, 10, 40, 41, 90, 130]), torch.tensor([20.0, 100.0])
    values = torch.rand(5, 6, 3, generator=draw).double()
    encoded = torch.randn(5, 6, TINY.width, generator=draw).double()
    return days, asked, values, encoded


def line(days, query, weight, values, nearness, slack):
    """Return the weight of dates, and the line through them at a day, (B,)."""
    apart = (np.asarray(days) - query) / MONTH
    weight = weight * nearness(np.abs(apart) * MONTH)
    share = weight / weight.sum()
    middle = (share * apart).sum()
    # The slope is held back as by an observation of no slope, at `slack` of spread.
    rows = np.stack([np.ones(len(apart)), apart - middle], axis=1) * share[:, None] ** 0.5
    rows = np.vstack([rows, [0, slack**0.5]])
    wanted = np.vstack([values * share[:, None] ** 0.5, np.zeros(values.shape[1])])
    found, *_ = np.linalg.lstsq(rows, wanted, rcond=None)
    return weight.sum(), found[0] - middle * found[1]


def _falling(apart, reach):
    return np.exp(-apart / reach)


def _nearness(apart):
    return NEARER * _falling(apart, NEAR) + _falling(apart, REACH)


def test_reflectance_is_drawn_to_the_line_that_least_squares_fit_to_clear_dates(told):
    days, asked, values, encoded = told
    torch.manual_seed(0)  # noqa: TID251
    head = ReflectanceHead(TINY.width).double()
    with torch.no_grad():
        dates = seen(head.weighed(values, encoded), values)
        made = head(dates, torch.empty(0), head.moments(days, asked))

    for p in range(5):
        for q, day in enumerate(asked.tolist()):
            odds, exact = head.tell(encoded[p]).T.detach().numpy()
            clear = np.exp(np.where(exact < 0, WORSE, BETTER) * exact)
            clear /= 1 + np.exp(-odds - LENIENT)
            weight, level = line(days, day, clear, values[p].numpy(), _nearness, SLACK_R)
            share = SHARE * weight / (weight + ENOUGH)
            np.testing.assert_allclose(made[q, p], [share, *(share * level)], rtol=1e-5)


def test_temperature_is_drawn_to_the_line_where_a_gate_takes_that_alone(told):
    days, asked, values, encoded = told
    torch.manual_seed(0)  # noqa: TID251
    head = TemperatureHead(TINY.width, reaches=(9.0,)).double()
    with torch.no_grad():
        head.gate2.weight.zero_()
        head.gate2.bias.copy_(torch.tensor([0.0, 1.0]))
        dates = seen(head.weighed(values[..., :1], encoded), values[..., :1])
        attended = torch.randn(2, 5, TINY.width).double()
        made = head(dates, attended, head.moments(days, asked))
    assert made[..., 0] == pytest.approx(1)
    for p in range(5):
        for q, day in enumerate(asked.tolist()):
            clear = dates[p, :, 0].exp().numpy()
            nearness = partial(_falling, reach=9.0)
            _, level = line(days, day, clear, values[p, :, :1].numpy(), nearness, SLACK)
            assert float(made[q, p, 1]) == pytest.approx(level[0], rel=1e-5)


def test_dates_that_did_not_see_a_pixel_or_lack_a_band_count_for_nothing(told):
    days, asked, values, encoded = told
    head = ReflectanceHead(TINY.width).double()
    absent = torch.zeros(5, 6, dtype=torch.bool)
    absent[:, 2], lacking = True, values.clone()
    lacking[:, 4, 1] = torch.nan
    kept = [0, 1, 3, 5]
    with torch.no_grad():
        some = seen(head.weighed(values[:, kept], encoded[:, kept]), values[:, kept])
        wanted = head(some, torch.empty(0), head.moments(days[kept], asked))
        made, nothing = (
            head(
                seen(head.weighed(pixels, encoded, gone), pixels),
                torch.empty(0), head.moments(days, asked),
            )
            for pixels, gone in ((lacking, absent), (values, torch.ones_like(absent)))
        )  # fmt: skip
    np.testing.assert_allclose(made, wanted, rtol=1e-6)
    assert (nothing == 0).all()


@pytest.mark.parametrize("cut", [slice(None), slice(2, 7)])
def test_what_was_measured_lies_on_lines_between_coarse_pixels_that_were_seen(cut):
    images, unseen = torch.rand(2, 3, 9, 9), torch.zeros(2, 3, 9, 9, dtype=torch.bool)
    unseen[1, :, 4, 4] = True
    fine = measured(images[..., cut, cut], unseen[..., cut, cut], 3)
    np.testing.assert_array_equal(fine[:, 1::3, 1::3].isnan(), unseen[..., cut, cut].movedim(1, -1))
    whole = measured(images, unseen, 3)
    inner = whole[:, 9:18, 9:18]  # of pixels 3 to 5, which neither cut has at its edge
    first = 0 if cut.start is None else 6
    torch.testing.assert_close(
        fine[:, 9 - first : 18 - first, 9 - first : 18 - first], inner, equal_nan=True,
        rtol=0, atol=0,
    )  # fmt: skip
    usual = torch.nn.functional.interpolate(images[:1], scale_factor=3, mode="bilinear")
    torch.testing.assert_close(whole[:1], usual.movedim(1, -1))
    assert whole[1, 12:15, 12:15].isnan().all()
    beside = torch.where(unseen, images[1, :, 4:5, 3:4], images)[1]  # what was not seen has no say
    usual = torch.nn.functional.interpolate(beside[None], scale_factor=3, mode="bilinear")
    torch.testing.assert_close(whole[1, 13, 11], usual[0, :, 13, 11])


def test_a_date_weighs_no_more_than_at_the_pixels_around_that_it_saw():
    draw = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 8, 9, generator=draw)
    maps[1, 2:5, 3] = -torch.inf
    for rows, around in ((slice(0, 8), 1), (slice(2, 5), 1), (slice(7, 8), 2), (slice(1, 4), 0)):
        found = least(maps, rows, around)
        for n, y, x in np.ndindex(3, rows.stop - rows.start, 9):
            at = rows.start + y
            near = maps[
                n, max(at - around, 0) : at + around + 1, max(x - around, 0) : x + around + 1
            ]
            there = near[~near.isneginf()]
            own = maps[n, at, x]
            assert found[n, y, x] == (own if own.isneginf() else there.min())


def test_a_temperature_is_moved_by_the_mean_of_the_pixels_around_that_there_are():
    (part,) = (one for one in parts_of(network()) if one.name == TEMPERATURE)
    draw = torch.Generator().manual_seed(0)
    told, bands = torch.rand(3, 18, 25, 2, generator=draw), torch.rand(3, TINY.bands, 18, 25)
    told[:, :9, :9] = 0.0  # where no date of Landsat saw the pixel
    each = told[..., 1] - told[..., 0] * bands[:, THERMAL]
    found = moved([part], bands, told)[:, THERMAL]
    for y, x in ((0, 24), (3, 24), (7, 10), (9, 8), (17, 8)):
        rows, cols = (slice(max(at - AVERAGED, 0), at + AVERAGED + 1) for at in (y, x))
        near, says = each[:, rows, cols], told[:, rows, cols].ne(0).any(dim=-1)
        wanted = near.sum(dim=(1, 2)) / says.sum(dim=(1, 2))
        torch.testing.assert_close(found[:, y, x], wanted, atol=1e-6, rtol=0)
    assert (found[:, :5, :5] == 0).all()


def test_a_band_is_compared_as_its_sensor_sees_it():
    """Pixels of 10 m as they are; of 20 and 30 m, what lies around counts as much."""
    (part,) = (one for one in parts_of(network()) if one.name == "levels_hr")
    bands, told = torch.rand(2, TINY.bands, 9, 9), torch.rand(2, 9, 9, part.at.stop)
    found = moved([part], bands, told)
    assert part.compared == (0, 0, 0, 1, 1, 1, 0, 1, 1, 1)
    own = told[..., part.at]
    for band, reach in enumerate(part.compared):
        channel, near = TINY.lr_bands + band, slice(4 - reach, 5 + reach)
        seen = bands[:, channel, near, near].mean(dim=(1, 2))
        wanted = own[:, 4, 4, 1 + band] - own[:, 4, 4, 0] * seen
        torch.testing.assert_close(found[:, channel, 4, 4], wanted)


def test_dates_of_landsat_move_bands_of_sentinel2_too():
    """As a mean that is shrunk of what all dates tell: of both sensors, and ENOUGH for none."""
    parts = parts_of(network())
    optical = parts[1:]
    draw, masses = torch.Generator().manual_seed(0), (4.0, 1.5)
    bands, lines = torch.randn(1, 18, 5, 5, generator=draw), torch.randn(17, generator=draw)
    lines = dict(zip(("levels_lr", "levels_hr"), lines.split([7, 10]), strict=True))
    told = torch.zeros(1, 5, 5, optical[1].at.stop)
    for part, mass in zip(optical, masses, strict=True):
        share = SHARE * mass / (mass + ENOUGH)
        told[..., part.at] = torch.cat([torch.tensor([share]), share * lines[part.name]])
    with torch.no_grad():
        found = moved(parts, bands, told)[0, :, 2, 2].numpy()

    off = {name: [] for name in lines}
    for part in optical:
        for band, reach in enumerate(part.compared):
            near = slice(2 - reach, 3 + reach)
            seen = bands[0, part.channels[band], near, near].mean()
            off[part.name] += [float(lines[part.name][band] - seen)]
    v, w = masses
    says = np.array(off["levels_lr"]) @ optical[1].head.slopes.detach().numpy()
    wanted = SHARE * (w * np.array(off["levels_hr"]) + OTHER * v * says) / (w + OTHER * v + ENOUGH)
    np.testing.assert_allclose(found[8:], wanted, rtol=1e-4, atol=1e-6)
    alone = SHARE * v * np.array(off["levels_lr"]) / (v + ENOUGH)
    np.testing.assert_allclose(found[:THERMAL], alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("silent", ["levels_lr", "levels_hr"])
def test_a_sensor_that_saw_nothing_changes_nothing_of_the_other(silent):
    parts = parts_of(network())
    heads = {part.name: part for part in parts}
    told = torch.rand(1, 5, 5, parts[-1].at.stop) / 2
    told[..., heads.pop(silent).at] = 0
    bands, (other,) = torch.rand(1, TINY.bands, 5, 5), set(heads) - {TEMPERATURE}
    own = [*heads[other].channels]
    both, alone = (moved(some, bands, told)[:, own] for some in (parts, [*heads.values()]))
    torch.testing.assert_close(both, alone)


def test_sentinel2_is_told_by_landsat_where_it_saw_nothing_itself():
    parts = parts_of(network())
    told = torch.rand(1, 5, 5, parts[-1].at.stop) / 2
    told[..., parts[-1].at] = 0
    found = moved(parts, torch.rand(1, TINY.bands, 5, 5), told)
    assert (found[:, TINY.lr_bands :] != 0).all()


def test_a_date_far_beyond_all_reaches_still_tells_a_temperature_and_no_reflectance():
    """Where the nearest date did not see the pixel: weights are of the nearest date of all."""
    head, other = TemperatureHead(TINY.width), ReflectanceHead(TINY.width)
    dates = torch.tensor([[[1.0, 0.3], [2.0, -0.4], [-torch.inf, 0.0]], [[-torch.inf, 0.0]] * 3])
    days, asked = torch.tensor([0.0, 8.0, 1480.0]), torch.tensor([1481.0])
    with torch.no_grad():
        head.gate2.weight.zero_()
        head.gate2.bias.copy_(torch.tensor([1.0, 0, 0, 0, 0, 0]))  # the mean of the shortest
        told = head(dates, torch.zeros(1, 2, TINY.width), head.moments(days, asked))
        none = other(dates, torch.empty(0), other.moments(days, asked))
    weights = np.exp([1.0, 2.0 + 8 / 60])  # of the longest, 60 days
    wanted = (weights @ [0.3, -0.4]) / weights.sum()
    np.testing.assert_allclose(told[0, 0], [1.0, wanted], rtol=1e-4)
    assert (told[0, 1] == 0).all()
    assert (none == 0).all()


def test_temperature_years_after_the_last_date_is_as_half_a_year_after_it(told):
    days, _, values, encoded = told
    torch.manual_seed(0)  # noqa: TID251
    head = TemperatureHead(TINY.width).double()
    asked = days.max() + torch.tensor([314.0, 1500, 40000])  # from all dates, more than FARTHEST
    attended = torch.randn(1, 5, TINY.width).double().expand(3, -1, -1)
    with torch.no_grad():
        dates = seen(head.weighed(values[..., :1], encoded), values[..., :1])
        made = head(dates, attended, head.moments(days, asked))
    torch.testing.assert_close(made[1:], made[:1].expand(2, -1, -1), rtol=1e-9, atol=0)


def test_fine_detail_stays_what_the_decoder_made_of_it(cube, monkeypatch):
    """From one pixel to the next, a mean over 7 differs by a seventh of the range at most."""
    made, alone = (plain(cube, network(knows_days=knows))[:, THERMAL] for knows in (True, False))
    monkeypatch.setattr("tamrf_xr.model.levels.AVERAGED", 0)
    by_pixel = plain(cube, network())[:, THERMAL] - alone
    steps = [np.abs(np.diff(moved, axis=1)).max() for moved in (made - alone, by_pixel)]
    assert steps[0] < np.ptp(by_pixel) / (2 * AVERAGED + 1)
    assert steps[0] < steps[1] / 2


def test_strips_of_rows_give_what_the_whole_gives(cube, monkeypatch):
    made = []
    for rows in (1000, 5):
        monkeypatch.setattr(footprint, "strip_rows", lambda *_, rows=rows, **__: rows)
        made.append(cube.tamrf.fuse(DATES, model=network()))
    same(*made)


@pytest.mark.parametrize("tile", [6, 9, 15])
def test_any_tile_gives_the_same_where_the_scene_is_mirrored(cube, tile):
    options = {"method_options": {"border": "mirror"}}
    same(*(cube.tamrf.fuse(DATES, model=network(), tile=edge, **options) for edge in (90, tile)))


def same(made, wanted, *, kelvin: float = 2e-3, reflectance: float = 5e-5) -> None:
    lst = "landsat/surface_temperature"
    np.testing.assert_allclose(made[lst], wanted[lst], atol=kelvin)
    for name in ("sentinel2", "landsat"):
        image = f"{name}/reflectance"
        np.testing.assert_allclose(made[image], wanted[image], atol=reflectance)


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
    np.testing.assert_allclose(made["sentinel2/reflectance"], wanted[:, 8:], atol=5e-5)
    np.testing.assert_allclose(made["landsat/reflectance"], wanted[:, :THERMAL], atol=5e-5)
    moved = np.abs(wanted - plain(cube, network(knows_days=False))).max(axis=(0, 2, 3))
    assert (moved > 1e-4).all()


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
        found[stream] = model.standardise(x, stream)[None]
        days[stream] = since(group["time"].values)
    with torch.no_grad():
        asked = since(np.array(DATES, "M8[ns]"))
        bands = model(found["lr"], days["lr"], found["hr"], days["hr"], query_days=asked)
        return model.destandardise(bands)[0].numpy()


def since(times: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(times.astype("M8[D]").astype(float) - 18993)[None]  # 2022-01-01


@pytest.mark.parametrize("name", HEADS)
def test_a_head_changes_its_own_bands_and_others_not_by_a_bit(cube, name):
    model, alone = network(knows_days=False), network(knows_days=False)
    setattr(model, name, getattr(network(), name))
    with_head, without = (plain(cube, one) for one in (model, alone))
    own = channels_of(TINY)[name]
    for channel in range(TINY.bands):
        assert (channel in own) != np.array_equal(with_head[:, channel], without[:, channel])


def test_some_bands_are_what_they_are_among_all(cube):
    made = cube.tamrf.fuse(DATES, model=network())
    some = cube.tamrf.fuse(DATES, model=network(), bands=["LST", "B05", "B04"])
    lst = "landsat/surface_temperature"
    np.testing.assert_allclose(some[lst], made[lst], atol=1e-3)  # K
    image = some["sentinel2/reflectance"]
    wanted = made["sentinel2/reflectance"].sel(band=image["band"])
    np.testing.assert_allclose(image, wanted, atol=5e-5)


@pytest.mark.parametrize("border", ["zeros", "mirror"])
@pytest.mark.parametrize(
    ("dtype", "kelvin", "reflectance"),
    [("float32", 2e-3, 5e-5), ("bfloat16", 0.5, 5e-3), ("int8", 1.5, 2e-2)],
)
def test_a_latent_knows_days_too(cube, dtype, kelvin, reflectance, border):
    model = network()
    latent = cube.tamrf.encode(model=model, dtype=dtype, tile=12, border=border)
    made = latent.tamrf.decode(DATES, model=model, tile=9)
    wanted = cube.tamrf.fuse(DATES, model=model, method_options={"border": border})
    same(made, wanted, kelvin=kelvin, reflectance=reflectance)


def test_integers_of_a_latent_span_bright_land_and_hot_land():
    dim = random_cube((12, 12), hr=3, lr=4, seed=1)
    bright = {}
    for name, group in groups_of(dim).items():
        made = group.assign(reflectance=0.7 + group["reflectance"])
        if name == "landsat":
            made["surface_temperature"] = group["surface_temperature"] + 40
        bright[name] = made
    cube, model = tamrf_xr.cube.build_cube(bright), network()
    made = cube.tamrf.encode(model=model, dtype="int8").tamrf.decode(DATES, model=model)
    same(made, cube.tamrf.fuse(DATES, model=model), kelvin=1.5, reflectance=2e-2)


def test_a_pixel_with_a_temperature_alone_has_no_reflectance_that_was_measured():
    missing = torch.zeros(1, 8, 2, 2, dtype=torch.bool)
    missing[:, :7, 0, 0] = True  # temperature alone
    missing[:, 7, 0, 1] = True  # all but temperature
    missing[:, 0, 1, 0] = True  # no coastal band
    unseen = _unseen("landsat", missing)[0]
    assert unseen[:, 0, 0].tolist() == [True] * 7 + [False]
    assert unseen[:, 0, 1].tolist() == [False] * 7 + [True]
    assert not unseen[:, 1].any()
    assert _unseen("sentinel2", missing)[0].sum() == 0


def test_days_without_pixels_are_none():
    model, hr, days = network(), torch.randn(1, 2, 10, 9, 9), torch.tensor([[1.0, 20.0]])
    with torch.no_grad():
        made = model(None, torch.tensor([[5.0]]), hr, days, query_days=days)
        wanted = model(None, None, hr, days, query_days=days)
    assert torch.equal(made, wanted)


@pytest.mark.parametrize("name", ["sentinel2", "landsat"])
def test_a_latent_of_one_sensor_is_drawn_as_its_cube_is(cube, name):
    alone = tamrf_xr.cube.build_cube({name: cube[name].to_dataset()})
    made = alone.tamrf.encode(model=network(), dtype="float32").tamrf.decode(DATES, model=network())
    same(made, alone.tamrf.fuse(DATES, model=network()))
    plain = alone.tamrf.fuse(DATES, model=network(knows_days=False))
    drawn = {
        sensor: float(np.abs(made[image] - plain[image]).max())
        for sensor in ("sentinel2", "landsat")
        for image in [f"{sensor}/reflectance"]
    }
    assert drawn["sentinel2"] > 1e-3  # Landsat tells of it, too
    assert (drawn["landsat"] > 1e-3) == (name == "landsat")


@pytest.mark.parametrize("lr", [None, 0])
def test_without_landsat_nothing_is_drawn_to_it(lr):
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
    own, alone = (bands[:, :, : TINY.lr_bands] for bands in made)
    torch.testing.assert_close(own, alone, rtol=0, atol=0)


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
    plain = model_from_bytes(model_bytes(network(knows_days=False)))
    assert [getattr(plain, name) for name in HEADS] == [None] * 3
    large = random_cube((24, 24), hr=8, lr=7, seed=1)
    how = {"steps": 1, "held_back": 0.0, "simulated": 0.0, "progress": False}
    adapted = large.tamrf.adapt(model=model, **how)
    assert not torch.equal(adapted.out1.weight, model.out1.weight)
    for name in HEADS:
        assert torch.equal(getattr(adapted, name).clear1.weight, getattr(model, name).clear1.weight)
    model.temperature.log_reach = torch.nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(ModelError, match=r"temperature\.log_reach is of shape \(2, 2\)"):
        model_from_bytes(model_bytes(model))
    del model.temperature.log_reach
    with pytest.raises(ModelError, match=r"temperature\.log_reach is not there"):
        model_from_bytes(model_bytes(model))


@pytest.fixture(scope="module")
def scenes():
    fixed = {"size_px": 36, "year": 2022, "sentinel2_revisit_days": 20, "landsat_revisit_days": 8}
    return [simulate(draw_config(seed, **fixed)) for seed in range(5)]


@pytest.fixture(scope="module")
def cubes(scenes):
    return [scene.cube for scene in scenes]


DATA = DataConfig(patch_m=240, stride_m=60, dates=60, validation_share=0.2)
QUICK = Fit(samples=24, checked=8, pixels=6, steps=120, batch=6)


def test_what_is_fitted_is_nearer_at_places_it_was_not_fitted_on_and_no_weight_changes(cubes):
    model = network(knows_days=False)
    fitted, checked = fit_levels(model, cubes, QUICK, data=DATA)
    assert [getattr(model, name) for name in HEADS] == [None] * 3
    for name, values in model.state_dict().items():
        assert torch.equal(fitted.state_dict()[name], values)
    for name, most in zip(HEADS, (0.7, 0.95, 0.95), strict=True):
        assert checked[name].after < most * checked[name].before
    again, same = fit_levels(fitted, cubes, QUICK, only=[TEMPERATURE], data=DATA)
    assert torch.equal(again.levels_hr.clear1.weight, fitted.levels_hr.clear1.weight)
    assert set(same) == {TEMPERATURE}
    assert torch.equal(again.temperature.gate1.weight, fitted.temperature.gate1.weight)


def test_clouds_that_masks_missed_weigh_little_where_it_is_learnt_against_the_land_itself(scenes):
    model = network(knows_days=False)
    fitted, _ = fit_levels(
        model, [scene.cube for scene in scenes], replace(QUICK, steps=400),
        unclouded=[scene.unclouded() for scene in scenes], only=["levels_hr"], data=DATA,
    )  # fmt: skip
    weights = {"clear": [], "missed": [], "clouded": []}
    for scene in scenes:
        group, clear = scene.cube["sentinel2"].to_dataset(), scene.clear["sentinel2"].values
        x = fitted.standardise(torch.from_numpy(group["reflectance"].values), "hr")[None]
        with torch.no_grad():
            encoded = fitted.encode(None, None, x.nan_to_num(), since(group["time"].values))[0]
            head = fitted.levels_hr
            told = head.log_weight(head.tell(encoded))[..., 0].permute(2, 0, 1).numpy()
        said, there = group["valid"].values, np.isfinite(group["reflectance"].values).all(axis=1)
        weights["clear"].append(told[clear & there])
        weights["missed"].append(told[~clear & said & there])
        weights["clouded"].append(told[~clear & there])
    typical = {name: float(np.median(np.concatenate(part))) for name, part in weights.items()}
    assert typical["clear"] == pytest.approx(0, abs=0.7)  # a typical clear date weighs 1
    # Those missed are thin, or edges, and this network's tokens are of random weights.
    assert typical["missed"] < typical["clear"]
    assert typical["clouded"] < typical["clear"] - 2


def test_changes_of_one_sensor_are_regressed_on_those_of_the_other_on_the_same_days():
    draw, days = torch.Generator().manual_seed(0), torch.tensor([3.0, 40.0, 90.0, 200.0])
    lr, to_hr = 10 * torch.rand(4, 7, 5, 5, generator=draw), torch.rand(7, 10, generator=draw)
    hr = 0.4 + torch.einsum("tlyx,lh->thyx", lr, to_hr)
    hr = hr.repeat_interleave(3, dim=-2).repeat_interleave(3, dim=-1)
    hr += torch.tensor([-1.0, 0.0, 1.0]).repeat(5)  # within a coarse pixel
    hr[3] = torch.rand(10, 15, 15, generator=draw)  # weeks away from any date of the other
    lr = torch.cat([lr, torch.full((4, 1, 5, 5), torch.nan)], dim=1)  # no temperature is needed
    hr[1, :, :3, :3] = 90.0  # a cloud, which the mask tells
    valid = torch.ones(4, 15, 15, dtype=torch.bool)
    valid[1, 1, 1] = False
    given = torch.ones(4, dtype=torch.bool)
    seen = {
        "lr": Patch(lr, torch.ones(4, 5, 5, dtype=torch.bool), days + torch.eye(4)[1], given),
        "hr": Patch(hr, valid, days + 30 * torch.eye(4)[3], given),
    }
    places = torch.cartesian_prod(torch.arange(5), torch.arange(5)).unbind(dim=1)
    found = _changes(_Windows(seen, None, places, torch.empty(0)), 3)
    assert found.shape == (2 + 3 * 24, 17)
    assert float(found.mean(dim=0).abs().max()) < 1e-5  # about each pixel's own mean

    head = JoinedHead(TINY.width, (7, 10))
    _know_the_other(head, [found])
    torch.testing.assert_close(head.slopes.data, to_hr, atol=1e-3, rtol=0)
    _know_the_other(head, [found[:0]])
    assert head.other.data == 0  # nothing is known of the other: it is not listened to


def test_without_truth_a_date_is_held_against_the_line_through_other_clear_days():
    days, draw = torch.tensor([0.0, 4, 7, 11, 300]), torch.Generator().manual_seed(0)
    values = torch.rand(2, 5, 3, generator=draw)
    values[1, 1] = torch.nan
    valid = torch.ones(2, 5, dtype=torch.bool)
    valid[0, 2] = False
    found = _line(values, valid, days).numpy()

    for p, date, others in ((0, 0, [1, 3]), (0, 2, [0, 1, 3]), (1, 1, [0, 2, 3])):
        some = values[p, others].numpy()
        _, wanted = line(days[others], float(days[date]), 1.0, some, _nearness, SLACK_R)
        np.testing.assert_allclose(found[p, date], wanted, atol=1e-5)
    assert np.isnan(found[:, 4]).all()  # no other is near


def test_what_it_is_learnt_against_is_of_every_cube_or_of_none(scenes, tmp_path):
    some = [scenes[0].unclouded()]
    with pytest.raises(OptionError, match="1 unclouded for 5 cubes"):
        fit_levels(network(), [scene.cube for scene in scenes], QUICK, unclouded=some, data=DATA)
    others = [scene.unclouded() for scene in scenes]
    for wrong in (others[::-1], [*others[:4], random_cube((36, 36), hr=3, lr=4, seed=1)]):
        with pytest.raises(CubeError, match=r"cube \d and what is given .* other dates, grids"):
            fit_levels(network(), [one.cube for one in scenes], QUICK, unclouded=wrong, data=DATA)
    for other in others:
        for group in other.children.values():
            group["valid"] = group["valid"] & False
    with pytest.raises(CubeError, match="no pixel of levels_hr was clear on a date"):
        fit_levels(
            network(), [one.cube for one in scenes], QUICK,
            unclouded=others, only=["levels_hr"], data=DATA,
        )  # fmt: skip
    for name in ("a", "b"):
        (tmp_path / f"{name}.zarr").mkdir()
    (tmp_path / "unclouded" / "a.zarr").mkdir(parents=True)
    weights = tamrf_xr.save_model(network(), tmp_path / "m.safetensors")
    with pytest.raises(CubeError, match=r"1 of 2 cubes .*b\.zarr is not there"):
        fit([str(weights), str(tmp_path / "*.zarr"), str(tmp_path / "out.safetensors")])


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
    with pytest.raises(CubeError, match=r"nothing clear was held back .* what temperature is of"):
        fit_levels(network(knows_days=False), blind, QUICK, data=data)


@pytest.mark.parametrize("together", [True, False])
def test_fitting_by_command_keeps_what_is_known_of_the_weights(tmp_path, capsys, together):
    for seed in range(3):
        cube = random_cube((48, 48), hr=12, lr=10, seed=seed)
        days = np.datetime64("2022-01-01", "ns") + np.arange(12) * np.timedelta64(10, "D")
        off = np.timedelta64(0 if together else 5, "D")
        own = cube["sentinel2"].to_dataset().assign_coords(time=days)
        other = cube["landsat"].to_dataset().assign_coords(time=days[:10] + off)
        cube = tamrf_xr.cube.build_cube({"sentinel2": own, "landsat": other})
        tamrf_xr.save_cube(cube, tmp_path / f"c{seed}.zarr")
    weights = tamrf_xr.save_model(
        network(knows_days=False), tmp_path / "m.safetensors", metadata={"training": {"seed": 7}}
    )
    out = tmp_path / "out.safetensors"
    words = [str(weights), str(tmp_path / "c*.zarr"), str(out), "--samples", "4"]
    fit([*words, "--checked", "3", "--steps", "3"])
    told = metadata_of(out.read_bytes())
    assert told["training"] == {"seed": 7}
    assert {name: one["cubes"] for name, one in told["levels"].items()} == dict.fromkeys(HEADS, 3)
    assert tamrf_xr.load_model(out).levels_hr is not None
    assert ("Landsat tells no Sentinel-2" in capsys.readouterr().out) != together

"""U-TILISE: gaps of four bands filled from the frames around them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tamrf_xr.errors import MethodError, ModelError
from tamrf_xr.fuser import Series
from tamrf_xr.methods.networks.utilise import Utilise, Widths, widths_of
from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.methods.utilise import BANDS, FRAMES, frames_around, read_network
from tests.fuser_tests import DAYS, ORIGIN, FuserTests, bands_of, paired_cube, run, series_of
from tests.laid import fuse_lazily
from tests.methods.synthetic import drawn

SMALL = Widths(bands=4, encoder=(8, 8), decoder=(4, 8), keys=8)
PUBLISHED = Widths(bands=4, encoder=(64, 64, 64, 128), decoder=(64, 64, 64, 128), keys=16)
DEEPER = Widths(bands=4, encoder=(4, 4, 8), decoder=(4, 4, 8), keys=8)
GIVEN = {"sentinel2": BANDS}


def checkpoint(path, widths=SMALL, **changes):
    """A checkpoint as the authors' training writes it."""
    state = drawn(Utilise(widths), **changes)
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 2e-4}]}
    torch.save({"epoch": 3, "model_state_dict": state, "optimizer_state_dict": optimizer}, path)
    return str(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("utilise") / "utilise_earthnet2021.pth")


def utilise(cube, weights):
    return plan_method("utilise", Request(bands_of(cube), options={"weights": weights}))


class TestUtilise(FuserTests):
    method = "utilise"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _weights(cls, weights):
        cls.options = (("weights", weights),)


def test_names_shapes_and_size_are_the_published_ones():
    with torch.device("meta"):
        network = Utilise(PUBLISHED)
    state = network.state_dict()
    assert widths_of(state) == PUBLISHED
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert shapes["in_conv.conv.conv.2.weight"] == (64, 64, 3, 3)
    assert shapes["down_blocks.2.down.conv.0.weight"] == (64, 64, 4, 4)
    assert shapes["down_blocks.2.conv2.conv.0.bias"] == (128,)
    assert shapes["temporal_encoder.0.attention_heads.fc_q.weight"] == (16, 128)
    assert shapes["temporal_encoder.0.norm2.weight"] == (128,)
    assert shapes["temporal_encoder.0.mlp.0.weight"] == (128, 128)
    assert shapes["up_blocks.0.up.convtrans.0.weight"] == (128, 64, 2, 2)
    assert shapes["up_blocks.0.skip_conv.conv.conv.0.weight"] == (64, 64, 1, 1)
    assert shapes["up_blocks.2.conv1.conv.conv.0.weight"] == (64, 128, 3, 3)
    assert shapes["out_conv.conv.conv.2.weight"] == (4, 64, 3, 3)
    assert "temporal_encoder.0.attention_heads.fc_k.bias" not in shapes
    assert sum(tensor.numel() for tensor in state.values()) == 1_075_972


@pytest.mark.parametrize("widths", [SMALL, DEEPER])
def test_network_reaches_no_further_than_is_said(widths):
    network = Utilise(widths).double()
    network.load_state_dict(drawn(network, gain=2.0))
    size = 8 * (2 * widths.reach // 8 + 2)
    images = torch.rand(2, 4, size, 16, dtype=torch.float64)
    days = torch.tensor([10.0, 40.0])
    far = 0
    with torch.inference_mode():
        before = network(images, days, 1)
        for row in range(size // 2, size // 2 + widths.step):
            other = images.clone()
            other[..., row, :] = 1
            moved = (network(other, days, 1) - before).abs().amax((0, 2)).nonzero().ravel()
            far = max(far, int(row - moved.min()), int(moved.max() - row))
    assert widths.reach - widths.step < far <= widths.reach


@pytest.mark.parametrize("tile", [33, 50])
def test_the_grid_is_halved_at_the_same_places_whatever_the_tile(tmp_path, tile):
    weights = checkpoint(tmp_path / "deeper.pth", DEEPER)
    cube = paired_cube((93, 99))
    asked = pd.DatetimeIndex([ORIGIN + pd.Timedelta(days=13)])
    whole, tiled = (
        fuse_lazily(cube, utilise(cube, weights), asked, tile=size)["sentinel2/reflectance"].values
        for size in (500, tile)
    )
    assert np.isfinite(whole).mean() > 0.99
    np.testing.assert_allclose(tiled, whole, atol=2e-6)


def test_masked_pixels_are_ones_new_dates_all_ones_and_the_rest_0_to_1():
    pixels = np.full((3, 4, 2, 2), 0.3, np.float32)
    pixels[1, :, 0, 0] = 7.0
    pixels[2, 1, 1, 1] = np.nan
    valid = np.ones((3, 2, 2), bool)
    valid[0, 1, 0] = False
    frames = frames_around(Series(pixels, valid), np.array([10.0, 20, 30]), 25.0)
    assert frames.days.tolist() == [10, 20, 25, 30]
    assert frames.answer == 2
    expected = np.full((4, 2, 2), 0.3, np.float32)
    expected[0, 1, 0] = expected[1, 0, 0] = expected[2] = expected[3, 1, 1] = 1
    np.testing.assert_array_equal(frames.images, np.repeat(expected[:, None], 4, 1))
    assert frames.known.all()


def test_what_a_cloud_hides_does_not_count(weights):
    cube = paired_cube((18, 18))
    series = series_of(cube)
    seen = series["sentinel2"]
    clouded = np.where(seen.valid[:, None], seen.pixels, 9.0).astype(np.float32)
    spec = utilise(cube, weights)
    other = {**series, "sentinel2": Series(clouded, seen.valid)}
    np.testing.assert_array_equal(
        run(spec, cube, [13, 20])["sentinel2"], run(spec, cube, [13, 20], series=other)["sentinel2"]
    )


def test_ten_frames_are_seen_and_no_more():
    count = 31
    days = np.arange(count) * 5.0
    seen = Series(np.zeros((count, 4, 1, 1), np.float32), np.ones((count, 1, 1), bool))
    for position, day in enumerate(days):
        frames = frames_around(seen, days, day)
        assert len(frames.days) == FRAMES
        assert frames.days[frames.answer] == day
        inner = 2 <= frames.answer <= FRAMES - 3
        assert inner or position < 3 or position > count - 4


def test_the_network_knows_the_season_and_not_the_year(weights):
    """A cube of another year gives the same, one of another month does not."""

    def made(start):
        cube = paired_cube((18, 18))
        shift = pd.Timestamp(start) - ORIGIN
        tree = cube.copy()
        for name in ("sentinel2", "landsat"):
            group = cube[name].to_dataset()
            tree[name] = group.assign_coords(time=group["time"] + shift.to_timedelta64())
        asked = pd.DatetimeIndex([pd.Timestamp(start) + pd.Timedelta(days=13)])
        spec = utilise(tree, weights)
        return fuse_lazily(tree, spec, asked)["sentinel2/reflectance"].values

    first = made("2022-03-01")
    np.testing.assert_array_equal(first, made("2023-03-01"))
    assert np.abs(first - made("2022-09-01")).max() > 1e-5


def test_other_acquisitions_change_the_answer(weights):
    cube = paired_cube((18, 18))
    series = series_of(cube)
    seen = series["sentinel2"]
    brighter = Series(seen.pixels + np.float32(0.2), seen.valid)
    spec = utilise(cube, weights)
    change = (
        run(spec, cube, [13])["sentinel2"]
        - run(spec, cube, [13], series={**series, "sentinel2": brighter})["sentinel2"]
    )
    assert np.abs(change).min() > 0


def test_works_without_landsat(weights):
    cube = paired_cube((18, 18), days={"sentinel2": DAYS["sentinel2"]})
    assert np.isfinite(run(utilise(cube, weights), cube, [13])["sentinel2"]).all()


def test_what_is_missing_is_named(weights, tmp_path):
    with pytest.raises(MethodError, match="needs /sentinel2"):
        plan_method("utilise", Request({"landsat": ("B02",)}, options={"weights": weights}))
    given = {"sentinel2": ("B02", "B03", "B04", "B8A")}
    with pytest.raises(MethodError, match="needs B08 of /sentinel2"):
        plan_method("utilise", Request(given, options={"weights": weights}))
    with pytest.raises(ModelError, match=r"needs weights.*utilise_earthnet2021.pth"):
        plan_method("utilise", Request(GIVEN))
    bands = Widths(13, SMALL.encoder, SMALL.decoder, SMALL.keys)
    path = checkpoint(tmp_path / "utilise_sen12mscrts_wo_s1.pth", bands)
    with pytest.raises(ModelError, match="network for 13 bands, expected 4"):
        plan_method("utilise", Request(GIVEN, options={"weights": path}))


def test_a_whole_checkpoint_is_read_without_its_optimiser(weights):
    network, widths = read_network(weights)
    assert widths == SMALL
    expected = drawn(Utilise(SMALL))
    assert all(torch.equal(t, expected[n]) for n, t in network.state_dict().items())

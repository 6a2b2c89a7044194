"""DSTFN: Landsat of the day with the detail of Sentinel-2 of another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tamrf_xr import fuse
from tamrf_xr.errors import MethodError, ModelError
from tamrf_xr.fuser import Series
from tamrf_xr.methods.dstfn import read_network
from tamrf_xr.methods.networks.dstfn import Block, Dstfn, Fusing, Sharpening, Sizes, sizes_of
from tamrf_xr.methods.registry import Request, plan_method
from tests.fuser_tests import (
    DAYS,
    FuserTests,
    bands_of,
    dates,
    paired_cube,
    run,
    series_of,
    with_sharp,
)
from tests.laid import fuse_lazily
from tests.methods.synthetic import drawn

SMALL = Sizes(width=6, growth=4, layers=2, blocks=1)
GIVEN = {
    "sentinel2": ("B02", "B03", "B04", "B8A", "B11", "B12"),
    "landsat": ("B02", "B03", "B04", "B05", "B06", "B07"),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A pickled module, as the authors publish theirs."""
    network = Dstfn(SMALL)
    network.load_state_dict(drawn(network, gain=0.7))
    path = tmp_path_factory.mktemp("dstfn") / "model_100.pth"
    torch.save(network, path)
    return str(path)


def dstfn(cube, weights):
    return plan_method("dstfn", Request(bands_of(cube), options={"weights": weights}))


class TestDstfn(FuserTests):
    method = "dstfn"
    seamless = False  # attention over channels looks at all that a tile reads

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _weights(cls, weights):
        cls.options = (("weights", weights),)

    def cube(self, shape=(36, 45), *, days=DAYS, **changes):
        cube = paired_cube(shape, days=days, **changes)
        return with_sharp(cube) if "landsat" in days else cube


@pytest.mark.parametrize("sizes", [SMALL, Sizes(64, 32, 4, 3), Sizes(32, 16, 3, 2)])
def test_sizes_are_read_off_the_shapes(sizes):
    with torch.device("meta"):
        state = Dstfn(sizes).state_dict()
    assert sizes_of([tuple(tensor.shape) for tensor in state.values()]) == sizes
    assert not any(name.endswith("bias") for name in state)


def test_network_reaches_no_further_than_is_said_attention_over_channels_apart(monkeypatch):
    pooled = "tamrf_xr.methods.networks.dstfn.adaptive_{}_pool2d".format
    for kind in ("avg", "max"):
        monkeypatch.setattr(pooled(kind), lambda x, _: torch.zeros_like(x[..., :1, :1]))
    network = Dstfn(SMALL)
    network.load_state_dict(drawn(network))
    fine, before = SMALL.reach
    size = 3 * (2 * fine // 3 + 4)
    heights = (6, size), (6, size // 3), (1, 2 * size // 3)
    inputs = [torch.rand(1, bands, height, height // 3) for bands, height in heights]
    middle = size // 6 * 3
    for place, reach in ((0, fine), (1, fine + 3 * (before + 2)), (2, fine + 3 * (before + 2))):
        other = [image.clone() for image in inputs]
        row = middle * inputs[place].shape[-2] // size
        other[place][..., row, :] += 1
        with torch.inference_mode():
            moved = (network(*other) - network(*inputs)).abs().amax((0, 1, 3)).nonzero().ravel()
        assert middle - int(moved.min()) <= reach
        assert int(moved.max()) - middle <= reach + 3


@pytest.mark.parametrize("tile", [30, 41])
def test_any_tiling_equals_the_whole_attention_over_channels_apart(tmp_path, tile):
    state = drawn(Dstfn(SMALL), gain=0.7)
    flat = {n: torch.zeros_like(t) if ".channels." in n else t for n, t in state.items()}
    torch.save(flat, tmp_path / "flat.pth")
    cube = with_sharp(paired_cube((129, 135)))
    spec, asked = dstfn(cube, str(tmp_path / "flat.pth")), dates([13])
    whole, tiled = (
        fuse_lazily(cube, spec, asked, tile=size)["sentinel2/reflectance"].values
        for size in (500, tile)
    )
    assert np.isfinite(whole).mean() > 0.5
    np.testing.assert_allclose(tiled, whole, atol=2e-6)


def test_a_pickled_module_runs_nothing_and_gives_its_tensors(weights):
    network, sizes = read_network(weights)
    expected = drawn(Dstfn(SMALL), gain=0.7)
    assert sizes == SMALL
    assert all(torch.equal(t, expected[n]) for n, t in network.state_dict().items())


def test_names_do_not_count_but_order_and_shapes_do(tmp_path):
    state = drawn(Dstfn(SMALL))
    foreign = {f"net.layer{i}": tensor for i, tensor in enumerate(state.values())}
    torch.save(foreign, tmp_path / "foreign.pth")
    network, _ = read_network(str(tmp_path / "foreign.pth"))
    assert all(torch.equal(t, state[n]) for n, t in network.state_dict().items())
    swapped = dict(reversed(list(foreign.items())))
    torch.save(swapped, tmp_path / "swapped.pth")
    with pytest.raises(ModelError, match=r"does not fit DSTFN.*it begins with net.layer"):
        read_network(str(tmp_path / "swapped.pth"))
    state["fusing.tail.weight"] = torch.zeros(5, 6, 3, 3)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"fusing.tail.weight has shape \(5, 6, 3, 3\)"):
        read_network(str(tmp_path / "other.pth"))
    torch.save({"weight": torch.zeros(3), "bias": torch.zeros(3)}, tmp_path / "biased.pth")
    with pytest.raises(ModelError, match="not every array is a convolution"):
        read_network(str(tmp_path / "biased.pth"))


def test_the_image_of_the_day_is_never_used_and_the_closest_other_is(weights):
    cube = with_sharp(paired_cube((18, 18), clear=1.0))
    series, spec = series_of(cube), dstfn(cube, weights)
    before = run(spec, cube, [20])["sentinel2"]
    changed = {}
    for day in DAYS["sentinel2"]:
        seen = series["sentinel2"]
        pixels = seen.pixels.copy()
        pixels[DAYS["sentinel2"].index(day)] += 0.3
        other = {**series, "sentinel2": Series(pixels, seen.valid)}
        changed[day] = not np.array_equal(run(spec, cube, [20], series=other)["sentinel2"], before)
    assert changed == {0: False, 5: False, 12: True, 20: False, 30: False, 44: False}


def test_clouds_of_either_image_missing_pixels_and_other_days_are_nan(weights):
    cube = with_sharp(paired_cube((18, 18)))
    cube["landsat/panchromatic"].values[2, 3, 4] = np.nan
    made = run(dstfn(cube, weights), cube, [20, 12])["sentinel2"]
    series = series_of(cube)
    cells = series["landsat"].valid[2].copy()
    cells[1, 2] = False
    known = series["sentinel2"].valid[2] & cells.repeat(3, 0).repeat(3, 1)
    np.testing.assert_array_equal(np.isfinite(made[0]), np.broadcast_to(known, made[0].shape))
    assert np.isnan(made[1]).all()


def test_blocks_keep_their_input_and_networks_their_sizes():
    x = torch.rand(1, 6, 9, 12)
    block = Block(SMALL)
    nn.init.zeros_(block.join.weight)
    assert torch.equal(block(x), x)
    assert Sharpening(SMALL)(x[:, :3], x[:, 3:]).shape == (1, 3, 9, 12)
    made = Fusing(SMALL)(x, torch.rand(1, 6, 3, 4), torch.rand(1, 1, 6, 8))
    assert made.shape == x.shape


def test_what_is_missing_is_named(weights):
    options = {"weights": weights}
    with pytest.raises(MethodError, match="needs /sentinel2"):
        plan_method("dstfn", Request({"landsat": GIVEN["landsat"]}, options=options))
    given = {**GIVEN, "sentinel2": ("B02", "B03", "B04", "B11", "B12")}
    with pytest.raises(MethodError, match="needs B8A of /sentinel2"):
        plan_method("dstfn", Request(given, options=options))
    with pytest.raises(MethodError, match="needs the panchromatic band"):
        fuse(paired_cube((18, 18)), "2022-03-21", method="dstfn", method_options=options)
    with pytest.raises(ModelError, match=r"needs weights.*model_100.pth"):
        plan_method("dstfn", Request(GIVEN))

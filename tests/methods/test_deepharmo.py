"""Deep Harmonization: Landsat as Sentinel-2 would see it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from tamrf_xr import fuse
from tamrf_xr.errors import MethodError, ModelError, OptionError, SourceNotFoundError
from tamrf_xr.methods.deepharmo import read_network
from tamrf_xr.methods.networks.deepharmo import Shape, UNet, shape_of
from tamrf_xr.methods.registry import Request, plan_method
from tests.fuser_tests import DAYS, FuserTests, bands_of, paired_cube, run, series_of, with_sharp
from tests.laid import fuse_lazily
from tests.methods.synthetic import drawn

SMALL = (Shape(2, 3, shuffle=False), Shape(3, 2, shuffle=True))
PUBLISHED = [Shape(depth, 64, shuffle=shuffle) for depth in (5, 6) for shuffle in (False, True)]
GIVEN = {"landsat": ("B02", "B03", "B04", "B05", "B06", "B07")}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder of small networks, one saved as the authors' wrapper names its parameters."""
    folder = tmp_path_factory.mktemp("deepharmo")
    for position, shape in enumerate(SMALL):
        state = drawn(UNet(shape), seed=position, gain=0.6)
        (folder / str(position)).mkdir()
        named = {f"model.{name}": tensor for name, tensor in state.items()} if position else state
        torch.save(named, folder / str(position) / "pytorch_model.bin")
    return str(folder)


def deepharmo(cube, weights, **changes):
    return plan_method(
        "deepharmo", Request(bands_of(cube), options={"weights": weights}, **changes)
    )


class TestDeepHarmo(FuserTests):
    method = "deepharmo"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _weights(cls, weights):
        cls.options = (("weights", weights),)

    def cube(self, shape=(36, 45), *, days=DAYS, **changes):
        cube = paired_cube(shape, days=days, **changes)
        return with_sharp(cube) if "landsat" in days else cube


@pytest.mark.parametrize("shape", PUBLISHED)
def test_names_and_shapes_are_the_published_ones(shape):
    with torch.device("meta"):
        state = UNet(shape).state_dict()
    assert shape_of(state) == shape
    assert state["encoding_module.0.block.0.weight"].shape == (64, 7, 3, 3)
    assert state["decoding_module.0.conv.block.1.weight"].shape == (1,)
    up = "decoding_module.0.Upsize.{}.weight".format
    deepest = 64 * 2 ** (shape.depth - 1)
    if shape.shuffle:
        assert state[up(0)].shape == (2 * deepest, deepest, 3, 3)
        assert state[up(3)].shape == (deepest // 2, deepest // 2, 3, 3)
    else:
        assert state[up(1)].shape == (deepest // 2, deepest, 1, 1)
    assert state["final.weight"].shape == (6, 64, 1, 1)


@pytest.mark.parametrize("shape", [*SMALL, Shape(3, 2, shuffle=False), Shape(4, 1, shuffle=True)])
def test_network_reaches_no_further_than_is_said(shape):
    network = UNet(shape)
    network.load_state_dict(drawn(network))
    size = 8 * (2 * shape.reach // 8 + 2)
    image = torch.rand(1, 7, size, 8)
    far = 0
    with torch.inference_mode():
        before = network(image)
        for row in range(size // 2, size // 2 + shape.step):
            other = image.clone()
            other[..., row, :] += 1
            moved = (network(other) - before).abs().amax((0, 1, 3)).nonzero().ravel()
            far = max(far, int(row - moved.min()), int(moved.max() - row))
    assert shape.reach // 2 < far <= shape.reach


@pytest.mark.parametrize("tile", [30, 41, 66])
def test_the_grid_is_halved_at_the_same_places_whatever_the_tile(weights, tile):
    cube = with_sharp(paired_cube((129, 135), clear=1.0))
    spec, asked = deepharmo(cube, weights), pd.DatetimeIndex(cube["landsat"]["time"].values[:1])
    whole, tiled = (
        fuse_lazily(cube, spec, asked, tile=size)["sentinel2/reflectance"].values
        for size in (500, tile)
    )
    assert np.isfinite(whole).all()
    np.testing.assert_allclose(tiled, whole, atol=2e-6)


def test_a_scene_of_whole_steps_is_what_the_authors_compute(weights):
    """Bicubic by torch, networks on the whole image, their mean."""
    cube = with_sharp(paired_cube((36, 48), clear=1.0))
    seen = series_of(cube)["landsat"]
    bands = torch.from_numpy(seen.pixels[:1, 1:7].copy())
    sharp = torch.from_numpy(seen.panchromatic[:1].copy())[None]
    fine = functional.interpolate(bands, size=(36, 48), mode="bicubic")
    finest = functional.interpolate(sharp, size=(36, 48), mode="bicubic")
    spec = deepharmo(cube, weights)
    with torch.inference_mode():
        made = [
            read_network(path)[0](torch.cat([fine, finest], 1))
            for path in dict(spec.options)["weights"]
        ]
    expected = torch.stack(made).mean(0)[0]
    ours = run(spec, cube, [DAYS["landsat"][0]])["sentinel2"][0]
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-5)


def test_clouds_missing_pixels_and_other_days_are_nan(weights):
    cube = with_sharp(paired_cube((18, 18)))
    cube["landsat/panchromatic"].values[1, 3, 4] = np.nan
    made = run(deepharmo(cube, weights), cube, [13, 0])["sentinel2"]
    valid = series_of(cube)["landsat"].valid[1].copy()
    valid[1, 2] = False
    known = np.broadcast_to(valid.repeat(3, 0).repeat(3, 1), made[0].shape)
    np.testing.assert_array_equal(np.isfinite(made[0]), known)
    assert np.isnan(made[1]).all()


def test_works_without_sentinel2(weights):
    cube = with_sharp(paired_cube((18, 18), days={"landsat": (5, 13)}))
    made = fuse(cube, "2022-03-14", method="deepharmo", method_options={"weights": weights})
    assert list(made["sentinel2"]["band"].values) == ["B02", "B03", "B04", "B8A", "B11", "B12"]
    assert np.isfinite(made["sentinel2/reflectance"].values).any()


def test_without_the_panchromatic_band_it_says_so(weights):
    cube = paired_cube((18, 18))
    message = "needs the panchromatic band of Landsat.*with_panchromatic"
    with pytest.raises(MethodError, match=message):
        fuse(cube, "2022-03-14", method="deepharmo", method_options={"weights": weights})
    with pytest.raises(MethodError, match=message):
        run(deepharmo(cube, weights), cube, [13])


def test_what_is_missing_is_named(weights, tmp_path):
    with pytest.raises(MethodError, match="needs /landsat"):
        plan_method("deepharmo", Request({"sentinel2": ("B02",)}, options={"weights": weights}))
    given = {"landsat": GIVEN["landsat"][:-1]}
    with pytest.raises(MethodError, match="needs B07 of /landsat"):
        plan_method("deepharmo", Request(given, options={"weights": weights}))
    with pytest.raises(ModelError, match=r"needs weights.*s2l8h-UNet-5depth-upsample"):
        plan_method("deepharmo", Request(GIVEN))
    with pytest.raises(ModelError, match="needs weights"):
        plan_method("deepharmo", Request(GIVEN, options={"weights": str(tmp_path)}))
    with pytest.raises(SourceNotFoundError, match="are not at"):
        plan_method("deepharmo", Request(GIVEN, options={"weights": "nowhere.bin"}))
    with pytest.raises(OptionError, match="float32 alone"):
        deepharmo(with_sharp(paired_cube((18, 18))), weights, precision="bfloat16")


def test_weights_given_twice_or_of_another_network_are_refused(weights, tmp_path):
    path = f"{weights}/0/pytorch_model.bin"
    with pytest.raises(ModelError, match="same weights are given twice"):
        plan_method("deepharmo", Request(GIVEN, options={"weights": [path, path]}))
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"lacks 'encoding_module.0.block.0.weight'"):
        plan_method("deepharmo", Request(GIVEN, options={"weights": str(tmp_path / "other.pt")}))
    gated = drawn(UNet(SMALL[0])) | {"decoding_module.0.attention_gate.psi": torch.zeros(1)}
    torch.save(gated, tmp_path / "gated.pt")
    with pytest.raises(ModelError, match=r"has decoding_module.0.attention_gate.psi too"):
        plan_method("deepharmo", Request(GIVEN, options={"weights": str(tmp_path / "gated.pt")}))

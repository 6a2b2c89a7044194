"""DSen2: 20 m bands at 10 m."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tamrf_xr.errors import MethodError, ModelError, OptionError, SourceNotFoundError
from tamrf_xr.fuser import Scene
from tamrf_xr.methods.dsen2 import COARSE_BANDS, SHARP, Sharpener, smooth
from tamrf_xr.methods.networks.dsen2 import REACH, DSen2
from tamrf_xr.methods.pairing import bilinear
from tamrf_xr.methods.registry import Request, plan_method
from tamrf_xr.model.foreign import read_tensors
from tests.fuser_tests import FuserTests, bands_of, paired_cube, run, series_of
from tests.methods.synthetic import drawn, write_torchscript_constants
from tests.oracle import shared

GIVEN = {"sentinel2": SHARP + COARSE_BANDS}
REAL = {"weights": os.environ.get("TAMRF_DSEN2", "installed")}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    scale = torch.tensor(0.1, dtype=torch.float64)
    tensors = [*drawn(DSen2()).values()]
    path = tmp_path_factory.mktemp("dsen2") / "L2A20M.pt"
    return write_torchscript_constants(path, [*tensors[:6], scale, *tensors[6:]])


def dsen2(cube, weights, **options):
    return plan_method("dsen2", Request(bands_of(cube), options={"weights": weights, **options}))


class TestDSen2(FuserTests):
    method = "dsen2"
    smallest_tile = 15

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _weights(cls, weights):
        cls.options = (("weights", str(weights)),)


def test_size_is_the_published_one():
    assert sum(p.numel() for p in DSen2().parameters()) == 1_789_574


def test_constants_of_torchscript_become_the_network(weights):
    state = drawn(DSen2())
    read = Sharpener.read(read_tensors(str(weights)), where="here").state_dict()
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


def test_network_reaches_as_far_as_is_said():
    network = DSen2()
    network.load_state_dict(drawn(network))
    size = 2 * REACH + 5
    images = torch.rand(1, 10, size, size)
    other = images.clone()
    other[..., 0] += 1
    with torch.inference_mode():
        change = network(images[:, :4], images[:, 4:]) - network(other[:, :4], other[:, 4:])
    moved = change.abs().amax((0, 1, 2))
    assert (moved[: REACH + 1] > 0).all()
    assert (moved[REACH + 1 :] == 0).all()


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_repeated_pixels_are_interpolated_wherever_they_start(corner):
    rng = np.random.default_rng(0)
    coarse = rng.random((2, 7, 6), dtype=np.float32)
    repeated = coarse.repeat(2, 1).repeat(2, 2)
    inside = (slice(None), slice(corner[0], 13), slice(corner[1], 11))
    np.testing.assert_array_equal(smooth(repeated[inside]), bilinear(coarse, 2)[inside])
    other = rng.random((2, 8, 8), dtype=np.float32)
    np.testing.assert_array_equal(smooth(other), other)


def test_input_is_scaled_and_ordered(weights, monkeypatch):
    """With a network that adds nothing but its first sharp band, B04 over 2000 comes back."""
    cube = paired_cube((18, 18), clear=1.0)
    fuser = dsen2(cube, weights).fuser()
    monkeypatch.setattr(fuser, "networks", [lambda sharp, coarse: coarse + sharp[:, :1]])
    pixels = series_of(cube)["sentinel2"].pixels[1]
    names = bands_of(cube)["sentinel2"]
    made = run(dsen2(cube, weights), cube, [5])["sentinel2"][0]
    expected = pixels[[names.index(b) for b in COARSE_BANDS]] + pixels[names.index("B04")]
    np.testing.assert_allclose(made, expected, rtol=1e-5)
    red = torch.full((1, 1, 3, 3), 0.4)
    seen = []
    monkeypatch.setattr(fuser, "networks", [lambda s, c: seen.append(s) or c])
    flat = np.full((10, 3, 3), 0.08, np.float32)
    fuser._sharpen(Scene(flat, np.ones((3, 3), bool), names))
    torch.testing.assert_close(seen[0][:, :1], red)


def test_real_weights_beat_bicubic_on_real_images():
    from studies.sharpening import errors, pair, predictions

    try:
        (path,) = dict(plan_method("dsen2", Request(GIVEN, options=REAL)).options)["weights"]
    except ModelError as error:
        pytest.skip(f"{error}; or name them in TAMRF_DSEN2")
    shared("real/pair_31UDS")
    sharp, coarse = (images[::10] for images in pair())
    found = {way: errors(made, coarse) for way, made in predictions(sharp, coarse, path)}
    ours = found["dsen2, B04 B03 B02 B08"]
    for band in COARSE_BANDS:
        assert ours[band] < 0.85 * found["bicubic"][band]
    assert ours["mean"] < found["dsen2, B02 B03 B04 B08"]["mean"]


def test_benchmark_runs_on_made_up_images(weights):
    from studies.sharpening import errors, predictions

    rng = np.random.default_rng(0)
    sharp, coarse = (rng.random((1, b, s, s), np.float32) for b, s in ((4, 48), (6, 24)))
    found = [errors(made, coarse) for _, made in predictions(sharp, coarse, str(weights))]
    assert len(found) == 4
    assert all(np.isfinite(list(told.values())).all() for told in found)


def test_days_without_an_image_are_nan_and_clouds_too(weights):
    cube = paired_cube((18, 18))
    made = run(dsen2(cube, weights), cube, [13, 20])["sentinel2"]
    valid = series_of(cube)["sentinel2"].valid[3]
    assert np.isnan(made[0]).all()
    np.testing.assert_array_equal(np.isfinite(made[1]), np.broadcast_to(valid, made[1].shape))


def test_works_without_landsat(weights):
    cube = paired_cube((18, 18), days={"sentinel2": (0, 20)})
    assert np.isfinite(run(dsen2(cube, weights), cube, [20])["sentinel2"]).any()


def test_what_is_missing_is_named(weights, tmp_path):
    options = {"weights": str(weights)}
    with pytest.raises(MethodError, match="needs /sentinel2"):
        plan_method("dsen2", Request({"landsat": ("B02",)}, options=options))
    with pytest.raises(MethodError, match="needs B8A, B11, B12 of /sentinel2"):
        plan_method("dsen2", Request({"sentinel2": SHARP + COARSE_BANDS[:3]}, options=options))
    with pytest.raises(SourceNotFoundError, match=r"are not at .*nowhere.pt; they are published"):
        plan_method("dsen2", Request(GIVEN, options={"weights": tmp_path / "nowhere.pt"}))
    with pytest.raises(ModelError, match=r"needs weights.*remote-sensing-processor"):
        plan_method("dsen2", Request(GIVEN))


def test_weights_are_found_where_the_package_is_installed(weights, tmp_path, monkeypatch):
    inside = tmp_path / "remote_sensing_processor/sentinel2/superres/weights/L2A20M.pt"
    inside.parent.mkdir(parents=True)
    (tmp_path / "remote_sensing_processor/__init__.py").write_text("raise ImportError('not here')")
    inside.write_bytes(weights.read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    spec = plan_method("dsen2", Request(GIVEN))
    assert dict(spec.provenance)["weights"] == str(inside)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.pt"
    torch.save({"a": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match="holds 1 arrays, expected the 28 of DSen2"):
        plan_method("dsen2", Request(GIVEN, options={"weights": str(path)}))
    torch.save([torch.zeros(3)] * 28, path)
    with pytest.raises(
        ModelError, match=r"head.weight has shape \(3,\), expected \(128, 10, 3, 3\)"
    ):
        plan_method("dsen2", Request(GIVEN, options={"weights": str(path)}))


@pytest.mark.parametrize("order", ["B02 B03 B04", "B02 B03 B04 B8A"])
def test_bad_order_is_refused(weights, order):
    with pytest.raises(OptionError, match="order is"):
        plan_method("dsen2", Request(GIVEN, options={"weights": weights, "order": order}))


def test_a_product_keeps_the_weights_it_was_planned_with_or_is_refused(tmp_path, weights):
    path, cube = tmp_path / "L2A20M.pt", paired_cube((18, 18))
    path.write_bytes(weights.read_bytes())
    spec, same = dsen2(cube, str(path)), dsen2(cube, str(weights))
    assert dict(spec.options) == dict(same.options)
    torch.save([tensor + 1 for tensor in drawn(DSen2()).values()], path)
    other = dsen2(cube, str(path))
    assert not np.array_equal(
        run(spec, cube, [20])["sentinel2"], run(other, cube, [20])["sentinel2"], equal_nan=True
    )
    kept = Path(dict(other.options)["weights"][0])
    kept.write_bytes(kept.read_bytes()[:-4] + bytes(4))
    with pytest.raises(ModelError, match="changed since the product was planned"):
        replace(other, at_once=1).fuser()
    kept.unlink()
    with pytest.raises(ModelError, match="are not here"):
        replace(other, at_once=1).fuser()

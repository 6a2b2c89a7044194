"""The losses: published values, and what must hold for any patch."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tamrf_xr import psf
from tamrf_xr.errors import OptionError
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.model.network import Tamrf, crop
from tamrf_xr.training.config import LossConfig
from tamrf_xr.training.data import Patch
from tamrf_xr.training.losses import (
    Predicted,
    data_loss,
    decorrelation_loss,
    loss_tools,
    training_loss,
    triplet_loss,
)
from tamrf_xr.training.optics import as_seen
from tests.oracle import shared
from tests.training.patches import SMALL, pair, tools

TOOLS = tools()
NO_DATES = torch.zeros(0, dtype=torch.long)


def published_pair(
    values: dict[str, np.ndarray], mask: str, *, bands: list[int] | None
) -> tuple[Tensor, Patch]:
    """Return made-up series of the oracle, cropped by 5 pixels; its masks say what is invalid."""
    images = (torch.from_numpy(values[name][0]).float() for name in ("pred", "target"))
    predicted, target = (crop(series[:, bands or slice(None)], 5) for series in images)
    days, valid = torch.from_numpy(values["doy"]).flatten(), torch.from_numpy(~values[mask][0])
    return predicted, Patch(target, crop(valid, 5), days, days > 0)


def close(found: Tensor, expected: float) -> None:
    np.testing.assert_allclose(found.item(), expected, rtol=1e-5)


def test_first_set_of_losses_agrees_with_published() -> None:
    values = dict(np.load(shared("oracle/misc/losses.npz")))
    whole = published_pair(values, "target_mask", bands=None)
    four = published_pair(values, "target_mask", bands=[0, 1, 2, 6])
    close(data_loss(*whole, LossConfig()), values["data_loss_margin5"])
    close(data_loss(*four, LossConfig()), values["data_loss_margin5_bands0126"])
    for margin, name in ((1e-5, "1e-05"), (0.1, "0.1")):
        loss = triplet_loss(*whole, LossConfig(triplet_margin=margin))
        close(loss, values[f"triplet_loss_m{name}"])
    tokens = torch.from_numpy(values["decorr_in"]).permute(0, 1, 3, 4, 2)
    close(decorrelation_loss(tokens), values["decorr_loss"])


def test_second_set_of_losses_agrees_with_published() -> None:
    values = dict(np.load(shared("oracle/extended/oracle_losses.npz")))
    told = json.loads(shared("oracle/extended/oracle_losses.json").read_text())
    whole = published_pair(values, "mask", bands=None)
    three = published_pair(values, "mask", bands=[0, 3, 7])
    close(data_loss(*whole, LossConfig()), told["data_loss"]["margin5"])
    close(data_loss(*three, LossConfig()), told["data_loss"]["margin5_bands_0_3_7"])
    strict = told["data_loss"]["margin5_min_clear_0.9"]
    close(data_loss(*whole, LossConfig(min_valid=0.9)), strict)
    for margin, days in ((m, d) for m in ("1e-5", "0.1") for d in (20, 60)):
        config = LossConfig(triplet_margin=float(margin), triplet_days=days)
        close(triplet_loss(*whole, config), told[f"triplet_loss/margin{margin}_thr{days}_spatial5"])
    bands = told["triplet_loss/margin1e-5_thr20_spatial5_bands_0_3_7"]
    close(triplet_loss(*three, LossConfig()), bands)
    tokens = torch.from_numpy(values["latent"]).permute(0, 1, 3, 4, 2)
    close(decorrelation_loss(tokens), told["decorrelation_loss"])


@pytest.mark.parametrize("bands", [TOOLS.hr, TOOLS.lr], ids=["hr", "lr"])
def test_degradation_is_that_of_psf(bands) -> None:
    images = torch.randn(2, len(bands.resolution), 33, 36, dtype=torch.float64)
    mtfs = [1.0 if gsd == 10 else 0.2 if gsd == 90 else 0.3 for gsd in bands.resolution]
    blurred = psf.blur(images.numpy(), mtfs, bands.resolution)
    expected = psf.downsample(blurred, bands.ratio)
    np.testing.assert_allclose(as_seen(images, bands), expected, atol=1e-5)


def total(predicted: Predicted, seen: dict[str, Patch], config: LossConfig = SMALL):
    return training_loss(predicted, seen, config, tools=TOOLS)


def tensors(thing: Predicted | Patch) -> list[Tensor]:
    values = (getattr(thing, item.name) for item in fields(thing))
    return [value for value in values if isinstance(value, Tensor)]


def test_losses_change_no_input() -> None:
    predicted, seen = pair()
    held = [tensor for thing in (predicted, *seen.values()) for tensor in tensors(thing)]
    before = [tensor.clone() for tensor in held]
    total(predicted, seen)[0].backward()
    assert all(torch.equal(*both) for both in zip(held, before, strict=True))


def test_total_is_the_sum_the_paper_states() -> None:
    found, told = total(*pair())
    parts = {"hr": ("data", "triplet"), "lr": ("data", "triplet")}
    of_set = {"clear": 3, "masked": 2}  # dates of each sensor, of 10 in all
    expected = 0.1 * told["decorrelation"]
    for name, dates in of_set.items():
        losses = sum(told[f"{name}_{s}_{part}"] for s in parts for part in parts[s])
        losses = (losses + told[f"{name}_perceptual"]) * dates / 10
        assert torch.isclose(told[name], losses)
        expected = expected + (1.0 if name == "clear" else 0.5) * losses
    assert torch.isclose(found, expected)
    assert all(value > 0 for value in told.values())
    groups = [told[f"clear_perceptual_{group}m"] for group in (20, 30, 90)]
    assert torch.isclose(told["clear_perceptual"], sum(groups) / 3)


def test_nothing_valid_is_no_loss_and_finite_gradients() -> None:
    predicted, seen = pair(cloudy=2.0)
    seen["hr"].pixels[:] = torch.nan
    found, told = total(predicted, seen, replace(SMALL, decorrelation_weight=0.0))
    found.backward()
    assert found == 0
    assert all(value == 0 for value in told.values())
    assert (predicted.hr.grad == 0).all()
    assert (predicted.lr.grad == 0).all()


def test_invalid_pixels_count_as_clouds_only() -> None:
    predicted, seen = pair()
    config = replace(SMALL, triplet_weight=0.0)
    before = total(predicted, seen, config)[1]
    for own in seen.values():
        own.pixels.transpose(0, 1)[:, ~own.valid] = torch.nan
    after = total(predicted, seen, config)[1]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert total(predicted, seen)[1]["clear_hr_triplet"] == 0  # no cloud was seen: no negative


def test_gradients_are_finite_and_reach_every_prediction() -> None:
    predicted, seen = pair()
    total(predicted, seen)[0].backward()
    for tensor in tensors(predicted):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0


def test_thermal_band_counts_on_given_dates_only() -> None:
    predicted, seen = pair()
    before = total(predicted, seen)[1]
    other = predicted.lr.detach().clone()
    other[:, 7] += 1
    after = total(replace(predicted, lr=other), seen)[1]
    assert {n for n in before if before[n] != after[n]} == {"clear_lr_data", "clear", "total"}


def test_thermal_band_counts_on_dates_held_back_where_asked() -> None:
    predicted, seen = pair()
    other = predicted.lr.detach().clone()
    other[:, 7] += 1
    config = replace(SMALL, masked_temperature=True)
    before, after = (
        total(one, seen, config)[1] for one in (predicted, replace(predicted, lr=other))
    )
    changed = {n for n in before if before[n] != after[n]}
    assert changed == {"clear_lr_data", "masked_lr_data", "clear", "masked", "total"}


def test_margin_is_left_out() -> None:
    predicted, seen = pair()
    config = replace(SMALL, margin=12)  # beyond the reach of the widest kernel
    before = total(predicted, seen, config)[0]
    border = torch.ones(33, 36, dtype=torch.bool)
    border[3:-3, 3:-3] = False
    moved = {
        name: torch.where(border, 9.0, getattr(predicted, name).detach())
        for name in ("hr", "lr", "lr_at_hr")
    }
    assert torch.equal(total(replace(predicted, **moved), seen, config)[0], before)


def at(predicted: Predicted, seen: dict[str, Patch], *, hr: Tensor, lr: Tensor):
    some = {"hr": predicted.hr[hr], "lr": predicted.lr[lr], "lr_at_hr": predicted.lr_at_hr[hr]}
    return replace(predicted, **some), {"hr": seen["hr"].at(hr), "lr": seen["lr"].at(lr)}


def test_order_of_dates_changes_nothing() -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    before = total(*pair())[0]
    assert torch.isclose(total(*at(*pair(), hr=order, lr=order.flip(0)))[0], before)


@pytest.mark.parametrize("missing", ["hr", "lr"])
def test_one_sensor_may_have_no_date(missing: str) -> None:
    dates = {"hr": torch.arange(5), "lr": torch.arange(5), missing: NO_DATES}
    found, told = total(*at(*pair(), **dates))
    assert found.isfinite()
    assert not any(f"_{missing}_" in name for name in told)


def test_all_dates_given_leaves_nothing_masked() -> None:
    predicted, seen = pair()
    seen = {name: replace(own, given=torch.ones_like(own.given)) for name, own in seen.items()}
    told = total(predicted, seen)[1]
    assert told["masked"] == 0
    assert not any(name.startswith("masked_") for name in told)


def test_positive_of_a_cloud_is_the_nearest_clear_date() -> None:
    days, clouds = torch.tensor([0.0, 15.0, 18.0, 40.0]), torch.tensor([0, 1, 0, 1]).bool()
    shape = (4, 1, 2, 2)
    target = torch.tensor([1.0, 5.0, 2.0, 9.0]).reshape(4, 1, 1, 1).expand(shape)
    seen = Patch(target, ~clouds[:, None, None].expand(4, 2, 2), days, clouds)
    config = LossConfig(triplet_margin=1e-9)
    for anchor, expected in ((2.0, 0.0), (1.0, 0.0), (6.0, 4.0 - 1.0), (5.0, 3.0)):
        # the day 40 cloud is 22 days from a clear one: it does not count
        found = triplet_loss(torch.full(shape, anchor), seen, config)
        assert found.item() == pytest.approx(expected, abs=1e-5)


def test_too_few_tokens_are_not_decorrelated() -> None:
    assert decorrelation_loss(torch.randn(999, 4)) == 0
    assert decorrelation_loss(torch.randn(1000, 4)) > 0


def test_losses_stay_exact_under_autocast() -> None:
    before = total(*pair())[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        after = total(*pair())[1]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_is_missing_is_refused() -> None:
    predicted, seen = pair()
    for name, message in (("lr_at_hr", "needs lr_at_hr"), ("encoded", "needs the encoded tokens")):
        with pytest.raises(OptionError, match=message):
            total(replace(predicted, **{name: None}), seen)
    with pytest.raises(OptionError, match="leave nothing inside a margin of 27"):
        total(predicted, seen, LossConfig(perceptual="off"))
    with pytest.raises(OptionError, match="built without LPIPS; build them from this"):
        total(predicted, seen, replace(SMALL, perceptual="lpips"))
    with pytest.raises(OptionError, match="train with perceptual=off"):
        loss_tools(Tamrf(NetworkConfig(hr_bands=4, latent=4, num_layers=0)), SMALL)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"perceptual": "vgg"}, "choose one of lpips, smooth_l1, off"),
        ({"margin": -1}, "loss.margin is -1; expected at least 0"),
        ({"triplet_margin": 0.0}, "triplet_margin is 0.0; expected more than 0"),
        ({"beta": float("nan")}, "beta is nan"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        LossConfig(**values)

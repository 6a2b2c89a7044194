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
from tamrf_xr.model.network import Tamrf
from tamrf_xr.training.losses import (
    data_loss,
    decorrelation_loss,
    loss_tools,
    training_loss,
    triplet_loss,
)
from tamrf_xr.training.optics import cropped, degrade
from tamrf_xr.training.views import LossConfig, View
from tests.oracle import shared
from tests.training.patches import SMALL, pair, tools, view

TOOLS = tools()
NO_DATES = torch.zeros(0, dtype=torch.long)


def published_view(values: dict[str, np.ndarray], mask: str, *, bands: list[int] | None) -> View:
    """Return made-up series of the oracle, cropped by 5 pixels; its masks say what is invalid."""
    predicted, target = (torch.from_numpy(values[name][0]) for name in ("pred", "target"))
    chosen = bands or list(range(predicted.shape[1]))
    days = torch.from_numpy(values["doy"]).flatten()
    valid = torch.from_numpy(~values[mask][0])
    return cropped(View(predicted[:, chosen], target[:, chosen], valid, days, days > 0), 5)


def close(found: Tensor, expected: float) -> None:
    np.testing.assert_allclose(found.item(), expected, rtol=1e-5)


def test_first_set_of_losses_agrees_with_published() -> None:
    values = dict(np.load(shared("oracle/misc/losses.npz")))
    whole = published_view(values, "target_mask", bands=None)
    four = published_view(values, "target_mask", bands=[0, 1, 2, 6])
    close(data_loss(whole, LossConfig()), values["data_loss_margin5"])
    close(data_loss(four, LossConfig()), values["data_loss_margin5_bands0126"])
    for margin, name in ((1e-5, "1e-05"), (0.1, "0.1")):
        loss = triplet_loss(whole, LossConfig(triplet_margin=margin))
        close(loss, values[f"triplet_loss_m{name}"])
    tokens = torch.from_numpy(values["decorr_in"]).permute(0, 1, 3, 4, 2)
    close(decorrelation_loss(tokens), values["decorr_loss"])


def test_second_set_of_losses_agrees_with_published() -> None:
    values = dict(np.load(shared("oracle/extended/oracle_losses.npz")))
    told = json.loads(shared("oracle/extended/oracle_losses.json").read_text())
    whole = published_view(values, "mask", bands=None)
    three = published_view(values, "mask", bands=[0, 3, 7])
    close(data_loss(whole, LossConfig()), told["data_loss"]["margin5"])
    close(data_loss(three, LossConfig()), told["data_loss"]["margin5_bands_0_3_7"])
    strict = told["data_loss"]["margin5_min_clear_0.9"]
    close(data_loss(whole, LossConfig(min_valid=0.9)), strict)
    for margin, days in ((m, d) for m in ("1e-5", "0.1") for d in (20, 60)):
        config = LossConfig(triplet_margin=float(margin), triplet_days=days)
        close(triplet_loss(whole, config), told[f"triplet_loss/margin{margin}_thr{days}_spatial5"])
    bands = told["triplet_loss/margin1e-5_thr20_spatial5_bands_0_3_7"]
    close(triplet_loss(three, LossConfig()), bands)
    tokens = torch.from_numpy(values["latent"]).permute(0, 1, 3, 4, 2)
    close(decorrelation_loss(tokens), told["decorrelation_loss"])


@pytest.mark.parametrize("bands", [TOOLS.hr, TOOLS.lr], ids=["hr", "lr"])
def test_degradation_is_that_of_psf(bands) -> None:
    images = torch.randn(2, len(bands.resolution), 33, 36, dtype=torch.float64)
    mtfs = [1.0 if gsd == 10 else 0.2 if gsd == 90 else 0.3 for gsd in bands.resolution]
    blurred = psf.blur(images.numpy(), mtfs, bands.resolution)
    expected = psf.downsample(blurred, bands.ratio)
    np.testing.assert_allclose(degrade(images, bands), expected, atol=1e-5)


def total(hr: View, lr: View, config: LossConfig = SMALL, **others: Tensor):
    return training_loss(hr, lr, config, tools=TOOLS, **others)


def test_losses_change_no_input() -> None:
    hr, lr, others = pair()
    held = [getattr(v, item.name) for v in (hr, lr) for item in fields(View)] + [*others.values()]
    before = [tensor.clone() for tensor in held]
    total(hr, lr, **others)[0].backward()
    assert all(torch.equal(*both) for both in zip(held, before, strict=True))


def test_total_is_the_sum_the_paper_states() -> None:
    hr, lr, others = pair()
    found, told = total(hr, lr, **others)
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
    hr, lr, others = pair(cloudy=2.0)
    hr.target[:] = torch.nan
    found, told = total(hr, lr, replace(SMALL, decorrelation_weight=0.0), **others)
    found.backward()
    assert found == 0
    assert all(value == 0 for value in told.values())
    assert (hr.predicted.grad == 0).all()
    assert (lr.predicted.grad == 0).all()


def test_invalid_pixels_count_as_clouds_only() -> None:
    hr, lr, others = pair()
    config = replace(SMALL, triplet_weight=0.0)
    before = total(hr, lr, config, **others)[1]
    for seen in (hr, lr):
        seen.target.transpose(0, 1)[:, ~seen.valid] = torch.nan
    after = total(hr, lr, config, **others)[1]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert total(hr, lr, **others)[1]["clear_hr_triplet"] == 0  # no cloud was seen: no negative


def test_gradients_are_finite_and_reach_every_prediction() -> None:
    hr, lr, others = pair()
    total(hr, lr, **others)[0].backward()
    for tensor in (hr.predicted, lr.predicted, *others.values()):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0


def test_thermal_band_counts_on_given_dates_only() -> None:
    hr, lr, others = pair()
    before = total(hr, lr, **others)[1]
    other = lr.predicted.detach().clone()
    other[:, 7] += 1
    after = total(hr, replace(lr, predicted=other), **others)[1]
    assert {n for n in before if before[n] != after[n]} == {"clear_lr_data", "clear", "total"}


def test_margin_is_left_out() -> None:
    hr, lr, others = pair()
    config = replace(SMALL, margin=12)  # beyond the reach of the widest kernel
    before = total(hr, lr, config, **others)[0]
    border = torch.ones(33, 36, dtype=torch.bool)
    border[3:-3, 3:-3] = False
    moved = [torch.where(border, 9.0, v.predicted.detach()) for v in (hr, lr)]
    others["lr_at_hr"] = torch.where(border, 9.0, others["lr_at_hr"].detach())
    hr, lr = (replace(v, predicted=m) for v, m in zip((hr, lr), moved, strict=True))
    assert torch.equal(total(hr, lr, config, **others)[0], before)


def test_order_of_dates_changes_nothing() -> None:
    hr, lr, others = pair()
    before = total(hr, lr, **others)[0]
    order = torch.tensor([3, 0, 4, 1, 2])
    others["lr_at_hr"] = others["lr_at_hr"][order]
    assert torch.isclose(total(hr.at(order), lr.at(order.flip(0)), **others)[0], before)


@pytest.mark.parametrize("missing", ["hr", "lr"])
def test_one_sensor_may_have_no_date(missing: str) -> None:
    hr, lr, others = pair()
    if missing == "hr":
        hr, others["lr_at_hr"] = hr.at(NO_DATES), others["lr_at_hr"][NO_DATES]
    else:
        lr = lr.at(NO_DATES)
    found, told = total(hr, lr, **others)
    assert found.isfinite()
    assert not any(f"_{missing}_" in name for name in told)


def test_all_dates_given_leaves_nothing_masked() -> None:
    hr, lr, others = pair()
    hr, lr = (replace(v, given=torch.ones_like(v.given)) for v in (hr, lr))
    told = total(hr, lr, **others)[1]
    assert told["masked"] == 0
    assert not any(name.startswith("masked_") for name in told)


def test_positive_of_a_cloud_is_the_nearest_clear_date() -> None:
    days, clouds = torch.tensor([0.0, 15.0, 18.0, 40.0]), torch.tensor([0, 1, 0, 1]).bool()
    shape = (4, 1, 2, 2)
    target = torch.tensor([1.0, 5.0, 2.0, 9.0]).reshape(4, 1, 1, 1).expand(shape)
    seen = replace(view(1, 1), target=target, valid=~clouds[:, None, None].expand(4, 2, 2))
    config = LossConfig(triplet_margin=1e-9)
    for anchor, expected in ((2.0, 0.0), (1.0, 0.0), (6.0, 4.0 - 1.0), (5.0, 3.0)):
        # the day 40 cloud is 22 days from a clear one: it does not count
        found = triplet_loss(replace(seen, predicted=torch.full(shape, anchor), days=days), config)
        assert found.item() == pytest.approx(expected, abs=1e-5)


def test_too_few_tokens_are_not_decorrelated() -> None:
    assert decorrelation_loss(torch.randn(999, 4)) == 0
    assert decorrelation_loss(torch.randn(1000, 4)) > 0


def test_losses_stay_exact_under_autocast() -> None:
    hr, lr, others = pair()
    before = total(hr, lr, **others)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        after = total(hr, lr, **others)[1]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_is_missing_is_refused() -> None:
    hr, lr, others = pair()
    for name, message in (("lr_at_hr", "needs lr_at_hr"), ("encoded", "needs the encoded tokens")):
        with pytest.raises(OptionError, match=message):
            total(hr, lr, **{key: value for key, value in others.items() if key != name})
    with pytest.raises(OptionError, match="leave nothing inside a margin of 27"):
        total(hr, lr, LossConfig(perceptual="off"))
    with pytest.raises(OptionError, match="built without LPIPS; build them from this"):
        total(hr, lr, replace(SMALL, perceptual="lpips"), **others)
    with pytest.raises(OptionError, match="train with perceptual=off"):
        loss_tools(Tamrf(NetworkConfig(hr_bands=4, latent=4, num_layers=0)), SMALL)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"perceptual": "vgg"}, "choose one of lpips, smooth_l1, off"),
        ({"margin": -1}, "margin is -1; expected 0 or more"),
        ({"triplet_margin": 0.0}, "triplet_margin is 0.0; expected more than 0"),
        ({"beta": float("nan")}, "beta is nan"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        LossConfig(**values)

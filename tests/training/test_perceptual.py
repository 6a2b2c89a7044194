"""Regression by 10 m bands, and the losses against it: published values and properties."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from tamrf_xr.model.network import crop
from tamrf_xr.training.config import LossConfig
from tamrf_xr.training.data import Patch
from tamrf_xr.training.perceptual import (
    Compared,
    Group,
    mean_of_kept,
    regress,
    resolution_groups,
    smooth_l1,
)
from tamrf_xr.training.together import ALONE
from tests.oracle import shared
from tests.training.patches import perceptual, tools

COMPARE = partial(smooth_l1, beta=0.1)
TEN, TWENTY = [0, 1, 2, 6], [3, 4, 5, 7, 8, 9]


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("oracle/misc/losses.npz", ("linreg_src", "linreg_tgt", "linreg_valid", "linreg_out")),
        # True is valid in this one mask of the oracle
        ("oracle/extended/oracle_losses.npz", ("reg_src", "reg_tgt", "reg_msk", "reg_out_bias1")),
    ],
)
def test_regression_agrees_with_published(file: str, names: tuple[str, ...]) -> None:
    values = np.load(shared(file))
    seen, predicted, valid, expected = (torch.from_numpy(values[name]) for name in names)
    images = (t.mT[..., None] for t in (predicted, seen))  # samples as a column of pixels
    found = regress(*images, valid[..., None])[..., 0].mT
    np.testing.assert_allclose(found, expected, atol=1e-5)


def published() -> tuple[dict[str, Tensor], dict[str, float]]:
    with np.load(shared("oracle/extended/oracle_losses.npz")) as arrays:
        names = ("pred", "target", "cca_pred_lr")
        values = {name: torch.from_numpy(arrays[name][0]) for name in names}
        values["valid"] = torch.from_numpy(~arrays["mask"][0])
    told = json.loads(shared("oracle/extended/oracle_losses.json").read_text())
    return values, told


def test_loss_of_whole_images_agrees_with_published() -> None:
    values, told = published()
    group = Group("20m", values["pred"][:, TWENTY], values["target"][:, TEN])
    found = perceptual([group], values["valid"], COMPARE, LossConfig())
    expected = told["cca_standard/per_date1_enum_NO"]
    np.testing.assert_allclose(found["20m"], expected, rtol=1e-5)


def test_losses_of_groups_agree_with_published() -> None:
    values, told = published()
    predicted, target, lr, valid = (crop(v, 5) for v in values.values())
    seen = Patch(target, valid, torch.arange(5), torch.ones(5, dtype=torch.bool))
    bands = tools()
    # The published NDVI has the near infrared in the statistics of the first red edge.
    mean, std = bands.hr.mean.clone(), bands.hr.std.clone()
    mean[6], std[6] = mean[3], std[3]
    theirs = replace(bands.hr, mean=mean, std=std)
    groups = resolution_groups(predicted, lr, seen, hr_bands=theirs, lr_bands=bands.lr)
    found = perceptual(groups, valid, COMPARE, LossConfig())
    suffixes = {"20m": "10_20", "30m": "10_30", "90m": "10_90_ndvi_scale0.1"}
    for name, suffix in suffixes.items():
        expected = told[f"module_cca_standard_spatial5/{suffix}"]
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, err_msg=name)


def random_group(dates: int = 3) -> tuple[Group, Tensor]:
    draw = torch.Generator().manual_seed(5)
    predicted = torch.randn(dates, 2, 12, 13, generator=draw)
    group = Group("20m", predicted, torch.randn(dates, 3, 12, 13, generator=draw))
    return group, torch.rand(dates, 12, 13, generator=draw) > 0.1


def test_linear_bands_are_explained_whole() -> None:
    group, valid = random_group()
    mixed = 2 * group.regressors[:, :1] - group.regressors[:, 2:] + 7
    found = regress(mixed, group.regressors, valid)
    np.testing.assert_allclose(found, mixed, atol=1e-3)


def test_constant_bands_explain_and_are_explained_by_their_mean() -> None:
    group, valid = random_group()
    flat = torch.full_like(group.predicted, 3.0).requires_grad_()
    found = regress(flat, group.regressors, valid)
    np.testing.assert_allclose(found.detach(), 3.0, atol=1e-6)
    found.sum().backward()
    assert flat.grad.isfinite().all()
    nothing = regress(group.predicted, torch.ones_like(group.regressors), valid)
    np.testing.assert_allclose(nothing.std(dim=(2, 3)), 0, atol=1e-6)


def test_invalid_pixels_have_no_say() -> None:
    group, valid = random_group()
    shown = valid[:, None]
    other = Group(
        "20m",
        torch.where(shown, group.predicted, 50.0),
        torch.where(shown, group.regressors, -50.0),
    )
    before, after = (perceptual([g], valid, COMPARE, LossConfig()) for g in (group, other))
    assert torch.equal(before["20m"], after["20m"])


def test_a_clouded_date_is_dropped_alone() -> None:
    group, valid = random_group()
    valid[1] = False
    clear = torch.tensor([0, 2])
    alone = Group("20m", group.predicted[clear], group.regressors[clear])
    found = perceptual([group], valid, COMPARE, LossConfig())
    expected = perceptual([alone], valid[clear], COMPARE, LossConfig())
    assert torch.equal(found["20m"], expected["20m"])
    assert perceptual([group], valid & False, COMPARE, LossConfig()) == {}


def test_ten_samples_a_pair_are_needed() -> None:
    group, valid = random_group()
    few = Group("20m", group.predicted[..., :7, :8], group.regressors[..., :7, :8])  # 56 < 60
    some = Group("20m", group.predicted[..., :7, :9], group.regressors[..., :7, :9])
    every = torch.ones_like(valid)
    assert perceptual([few], every[..., :7, :8], COMPARE, LossConfig()) == {}
    assert perceptual([some], every[..., :7, :9], COMPARE, LossConfig()) != {}


def test_losses_too_large_or_not_numbers_are_dropped() -> None:
    losses = torch.tensor([1.0, 11.0, torch.nan, 3.0], requires_grad=True)
    found = mean_of_kept([Compared(loss, ALONE) for loss in losses.unbind()], 10.0)
    assert found == 2
    found.backward()
    assert losses.grad.tolist() == [0.5, 0, 0, 0.5]
    assert mean_of_kept([Compared(loss, ALONE) for loss in losses[1:3].unbind()], 10.0) == 0

"""One whole training step, from raw series to gradients, agrees with the published code's."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tamrf_xr.model.checkpoint import load_model
from tamrf_xr.model.network import Tamrf
from tamrf_xr.model.published import rename
from tamrf_xr.training.config import LossConfig
from tamrf_xr.training.data import Patch
from tamrf_xr.training.losses import LossTools, Predicted, loss_tools, training_loss
from tamrf_xr.training.lpips import MaskedLpips
from tamrf_xr.training.trainer import predict
from tests.oracle import shared
from tests.training.lpips_files import published_heads, random_vgg16

VARIANTS = {
    "no_lpips/seed0": LossConfig(perceptual="off"),
    "standard_cca_decorr/seed0": LossConfig(perceptual="smooth_l1", decorrelation_weight=0.1),
    "full_RANDOM_VGG/seed0": LossConfig(perceptual="lpips"),
}
NAMES = {
    "hr_data": "hr_{}_loss",
    "lr_data": "lr_{}_loss",
    "hr_triplet": "hr_{}_triplet_loss",
    "perceptual_20m": "{}_cca_10.0_20.0_loss",
    "perceptual_30m": "{}_cca_10.0_30.0_loss",
    "perceptual_90m": "{}_cca_10.0_90.0_loss",
    "perceptual": "{}_cca_loss",
}
NIR, RED_EDGE = 6, 3


@dataclass(frozen=True)
class Step:
    """The network, and what it made of the series that the published step was given."""

    model: Tamrf
    predicted: Predicted
    seen: dict[str, Patch]


@pytest.fixture(scope="module")
def step() -> Step:
    folder = shared("oracle/extended")
    model = load_model(folder / "reference_checkpoint.ckpt", folder / "config.yaml").eval()
    with np.load(folder / "oracle_train_step_inputs.npz") as arrays:
        values = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    series = {s: model.standardise(values[f"{s}_data"].float() / 10000, s) for s in ("lr", "hr")}
    days = {sensor: values[f"{sensor}_doy"] for sensor in series}
    given = {sensor: outside_gaps(dates, gap=32) for sensor, dates in days.items()}
    seen = {
        s: Patch(pixels[0], ~values[f"{s}_mask"][0], days[s], given[s])
        for s, pixels in series.items()
    }
    return Step(model, predict(model, seen), seen)


def outside_gaps(days: Tensor, *, gap: int) -> Tensor:
    starts = range(gap, 365, 2 * gap)
    return ~torch.stack([(days > start) & (days < start + gap) for start in starts]).any(dim=0)


def published_tools(step: Step, config: LossConfig) -> LossTools:
    """Return tools for which NDVI is the published code's.

    It brings the near infrared back to reflectance with the statistics at its position among the
    10 m bands, which are those of the first red edge. Nothing else of the losses uses them.
    """
    tools = loss_tools(step.model, replace(config, perceptual="off"))
    mean, std = tools.hr.mean.clone(), tools.hr.std.clone()
    mean[NIR], std[NIR] = mean[RED_EDGE], std[RED_EDGE]
    if config.perceptual == "lpips":
        tools = replace(tools, lpips=MaskedLpips(random_vgg16(), published_heads()))
    return replace(tools, hr=replace(tools.hr, mean=mean, std=std))


def published(logs: dict[str, float], config: LossConfig) -> dict[str, float]:
    """Return the partial losses under our names."""
    renamed = {
        f"{ours}_{name}": logs[f"training/{theirs.format(short)}"]
        for ours, short in (("clear", "clr"), ("masked", "mae"))
        for name, theirs in NAMES.items()
        if f"training/{theirs.format(short)}" in logs
    }
    renamed["clear"] = logs["training/weighted_clr_loss"]
    renamed["masked"] = logs["training/weighted_mae_loss"] / config.masked_weight
    renamed["total"] = logs["training/total_loss"]
    if config.decorrelation_weight:
        renamed["decorrelation"] = logs["training/decorrelation_loss"]
    return renamed


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_training_step_agrees_with_published(step: Step, variant: str) -> None:
    config = VARIANTS[variant]
    expected = json.loads(shared("oracle/extended/oracle_train_step.json").read_text())[variant]
    tools = published_tools(step, config)
    total, partials = training_loss(step.predicted, step.seen, config, tools=tools)
    told = published(expected["logs"], config)
    alone = {"clear_lr_triplet", "masked_lr_triplet", "masked_hr_triplet"}  # no pixel qualifies
    assert set(partials) - set(told) == alone
    assert all(partials[name] == 0 for name in alone)
    for name, value in told.items():
        np.testing.assert_allclose(partials[name], value, rtol=1e-5, err_msg=name)

    norms = {f"the_modules.{name}": torch.tensor(n) for name, n in expected["grad_norms"].items()}
    parameters = dict(step.model.named_parameters())
    gradients = torch.autograd.grad(total, list(parameters.values()), retain_graph=True)
    found = {name: g.norm() for name, g in zip(parameters, gradients, strict=True)}
    for name, key in rename(norms, where="the oracle").items():
        np.testing.assert_allclose(found[name], norms[key], rtol=1e-3, err_msg=name)


def test_ndvi_of_true_reflectance_is_all_that_differs_from_published(step: Step) -> None:
    config = VARIANTS["standard_cca_decorr/seed0"]
    ours, theirs = (
        training_loss(step.predicted, step.seen, config, tools=tools)[1]
        for tools in (loss_tools(step.model, config), published_tools(step, config))
    )
    differ = {name for name in ours if ours[name] != theirs[name]}
    means = {"clear_perceptual", "masked_perceptual", "clear", "masked", "total"}
    assert differ == {"clear_perceptual_90m", "masked_perceptual_90m"} | means
    np.testing.assert_allclose(ours["total"], theirs["total"], rtol=1e-4)

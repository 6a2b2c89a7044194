"""Named runs: the paper's, its ablations, and those for small machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tamrf_xr.errors import OptionError
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.training.config import (
    DataConfig,
    LossConfig,
    MaskingConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
)


def published() -> TrainConfig:
    """Return the paper's run."""
    return TrainConfig()


def _but(**sections: Any) -> Callable[[], TrainConfig]:
    """Return an ablation: the paper's run but for some sections."""
    return lambda: replace(published(), **sections)


SMALL = NetworkConfig(
    latent=32,
    growth=16,
    positional=32,
    sensor_token=4,
    num_layers=2,
    feedforward=128,
    decoder_feedforward=128,
)
"""A network that two CPU cores can train."""


def quick() -> TrainConfig:
    """Minutes on two CPU cores: a small network on small patches."""
    return TrainConfig(
        model=SMALL,
        loss=LossConfig(margin=6, perceptual="off"),
        data=DataConfig(patch_m=360, dates=24, validation_share=0.1, turn=True),
        optim=OptimConfig(
            steps=1200, lr=2e-3, warmup=30, period=0, clip=1.0, dropout=0.0, average=0.98
        ),
        run=RunConfig(validate_every=100, validation_samples=16, keep=1),
    )


def small() -> TrainConfig:
    """Hours on two CPU cores: the network of `quick` with every loss that needs no file."""
    return replace(
        quick(),
        loss=LossConfig(margin=6, perceptual="smooth_l1"),
        # Simulated series start in January; those of users start in any month.
        data=DataConfig(patch_m=360, dates=40, shift_days=183, turn=True),
        optim=replace(quick().optim, steps=10_000, batch=2, warmup=100, average=0.995),
        run=RunConfig(validate_every=250, validation_samples=32, keep=2),
    )


def fine_tuning() -> TrainConfig:
    """Minutes on two CPU cores, from weights that are there, on cubes of one place."""
    return TrainConfig(
        # Sharpness was learnt before; on real pixels this term costs accuracy.
        loss=LossConfig(margin=6, perceptual="off"),
        # Of one place in one year, forecasts and backcasts teach the season by heart, and
        # samples that are neither moved nor turned the single days and fields.
        masking=MaskingConfig(strategies="random"),
        data=DataConfig(patch_m=360, dates=60, shift_days=60, turn=True, validation_share=0.0),
        optim=replace(quick().optim, steps=300, batch=2, lr=2e-4, warmup=20, floor=0.0),
    )


RECIPES: Mapping[str, Callable[[], TrainConfig]] = {
    "published": published,
    "quick": quick,
    "small": small,
    "adapt": fine_tuning,
    "ablation_baseline_s2t3": _but(model=NetworkConfig(num_blocks=2)),
    "ablation_baseline_s3t3": _but(model=NetworkConfig(num_blocks=3)),
    "ablation_baseline_s1t2": _but(model=NetworkConfig(num_layers=2)),
    "ablation_baseline_s1t1": _but(model=NetworkConfig(num_layers=1)),
    "encoder_linear": _but(model=NetworkConfig(encoder="linear", num_blocks=0)),
    "encoder_mlp": _but(model=NetworkConfig(encoder="mlp", num_blocks=2)),
    "encoder_unet": _but(model=NetworkConfig(encoder="unet", num_blocks=4)),
    "encoder_carn": _but(model=NetworkConfig(encoder="carn", num_blocks=3)),
    "ablation_lpips": _but(loss=LossConfig(perceptual="off")),
    "ablation_contrastive": _but(loss=LossConfig(triplet_weight=0.0)),
    "ablation_mae": _but(masking=MaskingConfig(strategies="random")),
    "ablation_sensor_tokens": _but(model=NetworkConfig(sensor_token=0)),
}


def recipe(name: str) -> TrainConfig:
    """Return a named run.

    Raises
    ------
    OptionError
        If there is no such name; those that exist are listed.
    """
    if name not in RECIPES:
        raise OptionError(f"no recipe {name!r}; those that exist: {', '.join(RECIPES)}")
    return RECIPES[name]()

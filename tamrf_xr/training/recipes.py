"""Named runs: the paper's, its ablations, and those for small machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tamrf_xr.errors import OptionError
from tamrf_xr.model.config import NetworkConfig
from tamrf_xr.training.config import (
    DataConfig,
    MaskingConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
)
from tamrf_xr.training.views import LossConfig


def published() -> TrainConfig:
    """Return the paper's run."""
    return TrainConfig()


def _sized(**sizes: int) -> Callable[[], TrainConfig]:
    return lambda: replace(published(), model=replace(NetworkConfig(), **sizes))


def without_lpips() -> TrainConfig:
    """Ablation: no perceptual term."""
    return replace(published(), loss=LossConfig(perceptual="off"))


def without_triplet() -> TrainConfig:
    """Ablation: nothing keeps clouds out but the masks of the data loss."""
    return replace(published(), loss=LossConfig(triplet_weight=0.0))


def random_masking() -> TrainConfig:
    """Ablation: dates held back at random alone."""
    return replace(published(), masking=MaskingConfig(strategies="random"))


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


RECIPES: Mapping[str, Callable[[], TrainConfig]] = {
    "published": published,
    "quick": quick,
    "small": small,
    "ablation_baseline_s2t3": _sized(num_blocks=2),
    "ablation_baseline_s3t3": _sized(num_blocks=3),
    "ablation_baseline_s1t2": _sized(num_layers=2),
    "ablation_baseline_s1t1": _sized(num_layers=1),
    "ablation_lpips": without_lpips,
    "ablation_contrastive": without_triplet,
    "ablation_mae": random_masking,
    "ablation_sensor_tokens": _sized(sensor_token=0),
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
